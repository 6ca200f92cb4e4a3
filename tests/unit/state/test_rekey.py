"""Another key while the state is open: the same is in it, whoever reads goes on, and a crash leaves the one or the
other."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from runbound import engine
from runbound.state.database import StateTamperedError
from runbound.state.directory import StateUnusableError
from runbound.state.entries import Event, Pending
from runbound.state.head import AnchorFile
from runbound.state.opening import StoreKeys
from runbound.state.origin import MAX_TEXT, Origin
from runbound.state.proof import FileSource
from runbound.state.proof import verify as prove
from runbound.state.rekey import _UPDATE
from runbound.state.store import Store
from runbound.state.verify import verify
from support.bulk import SmallBulk
from support.stores import NOTE, Opener, fill, keys, record, told

NEW = (b"t" * 32, b"b" * 32)
BOTH = ("store and audit key", keys(*NEW))
STORE = ("store key", keys(b"t" * 32))
AUDIT = ("audit key", keys(audit=b"b" * 32))
PUBLIC = StoreKeys(engine.SecretKey.public(), keys().audit, protected=False)


def content(store: Store) -> list[Any]:
    entries, by_id, _rows, revisions, changes, views, _audit, uses, pending = told(store)
    return [entries, by_id, revisions, changes, views, uses, pending]


@pytest.mark.parametrize(
    ("old", "new"),
    [(keys(), BOTH[1]), (keys(), STORE[1]), (keys(), AUDIT[1]), (PUBLIC, keys()), (keys(), PUBLIC), (keys(), keys())],
    ids=["both", "store", "audit", "from none", "to none", "the same"],
)
def test_everything_is_the_same_under_other_keys(opener: Opener, old: StoreKeys, new: StoreKeys) -> None:
    store = opener(old)
    fill(store)
    before = content(store)
    done = store.rekey(new, "anna", taken=10**9)
    assert (done.store, done.audit) == (old.store.mac(b"") != new.store.mac(b""), old.audit_name != new.audit_name)
    assert content(store) == before
    assert verify(str(opener.folder), new, engine).faults == ()
    [made] = store.commit([Pending(NOTE, (record("z", "192.0.2.7"),), (Event("record.add", "anna"),))])
    store.applied([made.revision])
    after = content(store)
    assert content(opener(new)) == after
    assert verify(str(opener.folder), new, engine).faults == ()
    if done.store or done.audit:
        with pytest.raises(StateTamperedError, match=r"another key|without a key|there is none now"):
            opener(old)
    store = opener(new)
    store.failed(store.commit([Pending(NOTE, (record("y", "192.0.2.7"),))])[0].revision, "and back")
    [back] = store.commit([Pending(NOTE, back_to=1)])
    store.applied([back.revision])
    entry = store.get("record", b"example\0a\0")
    assert entry is not None
    assert entry.doc["value"] == "192.0.2.1"
    assert store.rekey(old, "anna", taken=10**9).store == done.store
    assert verify(str(opener.folder), old, engine).faults == ()


def test_the_audit_log_goes_on_and_both_halves_are_proven(opener: Opener, tmp_path: Path) -> None:
    old, new = keys(), keys(*NEW)
    store = opener(old)
    fill(store)
    taken = store.audit_head[0] - 2
    missing = store.audit_after(taken, 100)
    done = store.rekey(new, "anna", taken=taken)
    assert done.aside is not None
    aside = Path(done.aside).read_text().splitlines()
    begins, told_again = store.audit_after(store.audit_first - 1, 100)
    assert json.loads(begins[1])["event"] == "checkpoint"
    said = json.loads(told_again[1])
    assert (said["event"], said["actor"]) == ("store.rekey", "anna")
    last, signed = json.loads(aside[-2]), json.loads(aside[-1])
    assert (last["event"], signed["event"]) == ("audit.rekey", "checkpoint")
    assert last["fields"]["next_public_key"] == json.loads(begins[1])["fields"]["public_key"]
    assert [line for _, line in store.audit_after(0, 100)][:2] == [line for _, line in missing]
    # The file that a sink writes has every line, and with both keys, or both public keys, it is proven whole.
    whole = tmp_path / "audit.log"
    whole.write_text("\n".join([*aside, *(line for _, line in store.audit_after(store.audit_first - 1, 100))]) + "\n")
    for known in (
        {"keys": [new.audit, old.audit]},
        {"public_keys": [new.audit.public_key(), old.audit.public_key()]},
    ):
        found = prove([FileSource(str(whole))], verify_signature=engine.verify_signature, **known)
        assert found.fault is None
        assert found.signed == (1, signed["seq"] - 1)
    assert prove([FileSource(str(whole))], keys=[new.audit], verify_signature=engine.verify_signature).fault is not None
    store.record(Event("auth.failure", "-"), wait=True)
    store.checkpoint()
    assert verify(str(opener.folder), new, engine).faults == ()
    assert content(opener(new))


def test_without_an_audit_log_its_key_changes_too(opener: Opener) -> None:
    store = opener()
    fill(store)
    store.audit_every = None
    store.rekey(keys(*NEW), "anna", taken=10**9)
    store = opener(keys(*NEW))
    store.record(Event("auth.failure", "-"), wait=True)
    assert verify(str(opener.folder), keys(*NEW), engine).faults == ()


def test_whoever_reads_goes_on(opener: Opener) -> None:
    store = opener()
    fill(store)
    store.commit([Pending(NOTE, bulk=SmallBulk("block", {b"%05d" % n: f'{{"name":"n{n}"}}' for n in range(500)}))])
    wanted, errors, reads, stop = content(store), [], [0], threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                assert content(store)[:2] == wanted[:2]
                reads[0] += 1
        except BaseException as error:  # noqa: BLE001  # told below
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    with store.picture() as picture:
        for turn in range(12):
            store.touch(1, turn)
            store.rekey(keys(*NEW) if turn % 2 == 0 else keys(), "anna", taken=10**9)
            store.touch(2, turn)
        assert sum(len(msgspec.json.decode(rows)) for rows in picture.rows("block")) == store.count("block")
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert reads[0]
    assert store.last_used([1, 2]) == {1: 11, 2: 11}
    assert verify(str(opener.folder), keys(), engine).faults == ()


def test_who_has_the_old_key_is_not_believed_any_more(opener: Opener) -> None:
    store = opener()
    fill(store)
    with store._readers.one() as db:
        old = db.execute("SELECT body, mac FROM head").fetchone()
    store.rekey(keys(*NEW), "anna", taken=10**9)
    store._writer._db.execute("UPDATE head SET body = ?, mac = ?", old)
    with pytest.raises(StateTamperedError):
        store.journal(before=None, limit=10)


def test_between_commit_and_anchor(opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug pulled where the database has the new key and the anchor is still the old one's."""
    store = opener()
    fill(store)
    writer, copies = store._writer, []

    def copy() -> None:
        copies.append(shutil.copytree(opener.folder, tmp_path / "copy"))

    store.rekey(keys(*NEW), "anna", taken=10**9, done=copy)
    [left] = copies
    assert verify(str(left), keys(*NEW), engine).faults == ()
    with pytest.raises(StateTamperedError, match="another key"):
        Opener(left)(keys())
    again = Opener(left)
    assert content(again(keys(*NEW))) == content(store)
    again.close()
    assert verify(str(left), keys(*NEW), engine).faults == ()
    # Only that anchor, and only until the next transaction: later it would be a way back.
    stood = (left / "state.mac").read_bytes()
    again(keys(*NEW)).record(Event("auth.failure", "-"), wait=True)
    again.close()
    assert (left / "state.mac").read_bytes() != stood
    (left / "state.mac").write_bytes(stood)
    with pytest.raises(StateTamperedError, match="anchor of the state was changed"):
        again(keys(*NEW))
    assert writer.head.rekeyed


def test_an_anchor_of_another_day_is_not_taken(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    fill(store)
    earlier = (opener.folder / "state.mac").read_bytes()
    store.record(Event("auth.failure", "-"), wait=True)
    store.record(Event("auth.failure", "-"), wait=True)
    copies: list[Path] = []
    store.rekey(keys(*NEW), "a", taken=9**9, done=lambda: copies.append(shutil.copytree(opener.folder, tmp_path / "c")))
    (copies[0] / "state.mac").write_bytes(earlier)
    with pytest.raises(StateTamperedError, match="anchor of the state was changed"):
        Opener(copies[0])(keys(*NEW))


def test_what_was_changed_behind_its_back_is_not_coded_anew(opener: Opener) -> None:
    store = opener()
    fill(store)
    held = store.audit_head
    store._writer._db.execute("UPDATE entries SET doc = replace(doc, '.9', '.8') WHERE id = 1")
    with pytest.raises(StateTamperedError, match="entry 1 of kind record was changed"):
        store.rekey(keys(*NEW), "anna", taken=10**9)
    store._writer._db.execute("UPDATE entries SET doc = replace(doc, '.8', '.9') WHERE id = 1")
    assert store.audit_head == held
    assert not list(opener.folder.glob("audit-*"))
    assert content(opener(keys()))


def test_a_full_disk_leaves_the_old_key(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opener()
    fill(store)
    before, coded = content(store), []

    def full(*given: Any) -> Any:
        coded.append(given)
        if len(coded) == 4:
            raise apsw.FullError("database or disk is full")
        return recode(*given)

    recode = engine.recode_rows
    monkeypatch.setattr(engine, "recode_rows", full)
    with pytest.raises(StateUnusableError, match="the disk is full, nothing was changed"):
        store.rekey(keys(*NEW), "anna", taken=10**9)
    monkeypatch.undo()
    assert content(store) == before
    assert not list(opener.folder.glob("audit-*"))
    assert content(opener(keys())) == before


TURNING = """
import sys, threading
from pathlib import Path
from runbound.state.entries import Pending
from support.stores import NOTE, Opener, keys, record
opener = Opener(Path(sys.argv[1]))
each = [keys(), keys(b"t" * 32, b"b" * 32)]
turn = int(sys.argv[2])
store = opener(each[turn])
for left in reversed(store.pending):
    store.failed(left.number, "after a crash")
sys.stdout.write("open\\n")
sys.stdout.flush()
def write():
    for number in range(100000):
        [done] = store.commit([Pending(NOTE, (record(f"n{number}", "192.0.2.1"),))])
        store.applied([done.revision])
threading.Thread(target=write, daemon=True).start()
while True:
    turn = 1 - turn
    store.rekey(each[turn], "anna", taken=10**9)
    sys.stdout.write(f"{turn}\\n")
    sys.stdout.flush()
"""


def test_killed_at_any_moment_it_opens_with_the_one_or_the_other(tmp_path: Path) -> None:
    opener = Opener(tmp_path / "state")
    opener.folder.mkdir()
    fill(opener())
    opener.close()
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    chance, turn, seen = random.Random(11), 0, set()
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", TURNING, str(opener.folder), str(turn)],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        time.sleep(chance.uniform(0.0, 0.4))
        child.send_signal(signal.SIGKILL)
        turns = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        last = int(turns[-1]) if turns else turn
        found = [
            number
            for number, given in enumerate((keys(), keys(*NEW)))
            if verify(str(opener.folder), given, engine).faults == ()
        ]
        assert found in ([last], [1 - last])  # what was told is so, or the next one was committed and not told
        [turn] = found
        seen.add((last, turn))
        store = opener((keys(), keys(*NEW))[turn])
        assert store.count("block") == 20
        opener.close()
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (
            Origin("hsm", "runbound-store-key", "extract"),
            Origin("hsm", "runbound-store-key", "in-token"),
            "was written in hsm-mode: extract, and hsm-mode: in-token makes another key of runbound-store-key",
        ),
        (
            Origin("hsm", "runbound-store-key", "extract"),
            Origin("hsm", "runbound-store-key-v2", "extract"),
            "runbound store resign --old-hsm-label runbound-store-key --old-hsm-mode extract",
        ),
        (
            Origin("environment", "RUNBOUND_STORE_KEY"),
            Origin("hsm", "runbound-store-key", "extract"),
            "was written with the key of RUNBOUND_STORE_KEY, another key than the HSM's key runbound-store-key",
        ),
    ],
)
def test_another_key_is_named(opener: Opener, was: Origin, now: Origin, says: str) -> None:
    first = msgspec.structs.replace(keys(), store_from=was)
    fill(opener(first))
    with pytest.raises(StateTamperedError) as caught:
        opener(msgspec.structs.replace(keys(*NEW), store_from=now))
    assert says in str(caught.value)
    assert content(opener(first))


def test_another_audit_key_is_named(opener: Opener) -> None:
    was = Origin("hsm", "runbound-audit-key", "extract")
    fill(opener(msgspec.structs.replace(keys(), audit_from=was)))
    now = msgspec.structs.replace(keys(audit=b"b" * 32), audit_from=Origin("file", "/x/audit.key"))
    with pytest.raises(StateTamperedError) as caught:
        opener(now)
    assert "the audit log was written with the HSM's key runbound-audit-key in mode extract" in str(caught.value)
    assert "--old-audit-hsm-label runbound-audit-key --old-hsm-mode extract" in str(caught.value)


def test_what_stands_in_the_anchor_fits_into_its_place(opener: Opener) -> None:
    long = Origin("hsm", 'ä"\\\n' * 40, "in-token")
    assert len(long.text) == MAX_TEXT
    given = msgspec.structs.replace(keys(), store_from=long, audit_from=long)
    store = opener(given)
    fill(store)
    store._writer.head = msgspec.structs.replace(store._writer.head, epoch=2**63 - 9)
    store.record(Event("auth.failure", "-"), wait=True)
    file = AnchorFile.open(str(opener.folder / "state.mac"), read_only=True)
    assert [anchor.store for anchor in file.read()] == [long.text, long.text]
    file.close()
    assert Origin.read(Origin("hsm", "a b", "in-token").text) == Origin("hsm", "a b", "in-token")
    assert Origin.read("what is this") == Origin()


def test_more_than_one_piece_of_entries(opener: Opener) -> None:
    """Each piece looks at its own entries alone: with each of them at all, a million would take many minutes."""
    store = opener()
    many = engine.Bulk("record", "zone")
    many.feed("".join(f"n{number}.example. 60 IN A 192.0.2.1\n" for number in range(25_000)).encode())
    assert many.finish() == []
    store.commit([Pending(NOTE, bulk=many)])
    before = [entry.doc for entry in store.page("record", after=None, limit=25_000)]
    assert store.rekey(keys(*NEW), "anna", taken=10**9).entries == 25_000
    assert [entry.doc for entry in store.page("record", after=None, limit=25_000)] == before
    assert verify(str(opener.folder), keys(*NEW), engine).faults == ()
    with store._readers.one() as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {_UPDATE}", ("[]", "record"))]
    assert "SEARCH entries USING PRIMARY KEY (kind=? AND key>? AND key<?)" in plan
    assert not any(step.startswith("SCAN entries") for step in plan)
