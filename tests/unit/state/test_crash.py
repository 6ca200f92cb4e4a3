"""What was acknowledged is there after any crash, nothing is there by half, and a full disk changes nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runbound import engine
from runbound.state.database import value
from runbound.state.directory import StateUnusableError
from runbound.state.entries import Event, Pending
from runbound.state.verify import verify
from support.bulk import SmallBulk
from support.stores import NOTE, Opener, keys, record

WRITER = """
import sys, threading
from pathlib import Path
from runbound.state.entries import Event, Pending
from support.bulk import SmallBulk
from support.stores import NOTE, Opener, record

store = Opener(Path(sys.argv[1]))()
for left in reversed(store.pending):
    store.failed(left.number, "after a crash")
begin = store.newest

def write(thread):
    for number in range(100000):
        name = f"t{begin}-{thread}-{number}"
        if number % 7:
            edits = (record(name, "192.0.2.1"), record(f"also-{name}", "192.0.2.2"))
            made = Pending(NOTE, edits, (Event("record.add", name),))
        else:
            entries = {f"{name}-{i}".encode(): '{"name":"%s"}' % name for i in range(50)}
            made = Pending(NOTE, bulk=SmallBulk("block", entries, 20), events=(Event("block.import", name),))
        [done] = store.commit([made])
        store.applied([done.revision])
        sys.stdout.write(f"{done.revision} {name}\\n")
        sys.stdout.flush()

threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    acknowledged: dict[int, str] = {}
    chance = random.Random(7)
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], env=environ, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.3))
        child.send_signal(signal.SIGKILL)
        for line in [first, *child.stdout.read().splitlines(keepends=True)]:
            if line.endswith("\n"):
                revision, actor = line.split()
                acknowledged[int(revision)] = actor
        child.wait()
        child.stdout.close()
        assert verify(str(tmp_path), keys(), engine).faults == ()
    opener = Opener(tmp_path)
    try:
        store = opener()
        assert len(acknowledged) > 20
        events = {json.loads(line)["actor"]: json.loads(line)["fields"] for _, line in store.audit_after(0, 1_000_000)}
        for number, name in acknowledged.items():
            assert events[name]["revision"] == number
            changes = list(store.change_of(number))
            assert len(changes) in (2, 50)
            for _before, after in changes:
                assert after is not None
                assert store.get(after.kind, after.key) == after
        for left in reversed(store.pending):
            assert left.number not in acknowledged
    finally:
        opener.close()


def test_a_full_disk_changes_nothing(opener: Opener) -> None:
    store = opener()
    store.commit([Pending(NOTE, (record("a", "192.0.2.1"),))])
    pages = store._writer.run(lambda tx: value(tx.db, "PRAGMA page_count"))
    store._writer.run(lambda tx: tx.db.execute(f"PRAGMA max_page_count = {pages + 3}").fetchall() and None)
    many = SmallBulk("block", {b"%06d" % n: json.dumps({"name": f"{n:0200}"}) for n in range(2000)}, 500)
    waiting = store.record(Event("auth.failure", "-"))
    with pytest.raises(StateUnusableError, match="the disk is full, nothing was changed"):
        store.commit([Pending(NOTE, bulk=many)])
    waiting.result()
    assert (store.newest, store.count("block"), store.count("record")) == (1, 0, 1)
    store._writer.run(lambda tx: tx.db.execute("PRAGMA max_page_count = 1000000").fetchall() and None)
    assert store.commit([Pending(NOTE, bulk=many)])[0].revision == 2
    opener.close()
    assert verify(str(opener.folder), keys(), engine).faults == ()


def test_an_anchor_that_cannot_be_written_stops_the_next_change(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opener()
    broken = True
    write = store._writer._anchor.write

    def failing(anchor: object) -> None:
        if broken:
            raise OSError(5, "Input/output error")
        write(anchor)  # type: ignore[arg-type]

    monkeypatch.setattr(store._writer._anchor, "write", failing)
    assert store.commit([Pending(NOTE, (record("a", "192.0.2.1"),))])[0].revision == 1
    with pytest.raises(StateUnusableError, match=r"state\.mac: it cannot be written"):
        store.commit([Pending(NOTE, (record("b", "192.0.2.1"),))])
    broken = False
    assert store.commit([Pending(NOTE, (record("c", "192.0.2.1"),))])[0].revision == 2
    opener.close()
    assert verify(str(opener.folder), keys(), engine).faults == ()
