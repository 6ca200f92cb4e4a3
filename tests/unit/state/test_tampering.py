"""Whoever changes what is kept is found, whatever it was, and is told what and how to recover."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbound import engine
from runbound.errors import RunboundError
from runbound.state.database import StateTamperedError
from runbound.state.entries import Edit, Pending
from runbound.state.store import Store
from runbound.state.verify import Report, verify
from support.stores import NOTE, Opener, fill, keys, record, sql, told

FILES = ("state.db", "state.db-wal", "state.mac")


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """The files of a state as a crash leaves them, the log not yet in the database, and what it says."""
    folder = Path(tempfile.mkdtemp())
    opener = Opener(folder / "work")
    opener.folder.mkdir()
    fill(opener())
    (folder / "crash").mkdir()
    for name in FILES:
        shutil.copy(opener.folder / name, folder / "crash" / name)
    opener.close()
    yield folder / "crash"
    shutil.rmtree(folder)


@pytest.fixture
def state(whole: Path, tmp_path: Path) -> Path:
    """A copy to change, closed in good order."""
    return copy(whole, tmp_path / "state")


def copy(whole: Path, to: Path) -> Path:
    shutil.copytree(whole, to)
    Opener(to)().close()
    return to


def outcome(state: Path) -> tuple[Report, str]:
    """What verify finds, and what the opening and reading everything says."""
    report = verify(str(state), keys(), engine)
    opener = Opener(state)
    try:
        told(opener())
    except StateTamperedError as error:
        return report, str(error)
    finally:
        opener.close()
    return report, ""


def test_what_nobody_touched_is_whole(state: Path) -> None:
    report, said = outcome(state)
    assert report.faults == ()
    assert said == ""
    assert (report.revision, report.entries) == (6, {"block": 20, "record": 3, "user": 1})


CHANGES = {
    "entries.kind": ("UPDATE entries SET kind = 'block' WHERE id = 1", "entry 1 of kind block was changed"),
    "entries.key": ("UPDATE entries SET key = x'00' WHERE id = 1", "entry 1 of kind record was changed"),
    "entries.id": ("UPDATE entries SET id = 999 WHERE id = 1", "entry 999 of kind record was changed"),
    "entries.doc": ("UPDATE entries SET doc = replace(doc, '.9', '.8') WHERE id = 1", "entry 1 of kind record"),
    "entries.rev": ("UPDATE entries SET rev = 1 WHERE id = 1", "entry 1 of kind record was changed"),
    "entries.mac": ("UPDATE entries SET mac = zeroblob(16) WHERE id = 1", "entry 1 of kind record was changed"),
    "entries less": ("DELETE FROM entries WHERE id = 2", "there are 2 entries of kind record, and 3 were written"),
    "entries all less": ("DELETE FROM entries WHERE kind = 'block'", "there are 0 entries of kind block"),
    "entries more": (
        "INSERT INTO entries SELECT kind, CAST(key || 'x' AS BLOB), 502, doc, rev, mac FROM entries WHERE id = 2",
        "entry 502 of kind record was changed",
    ),
    "entries new kind": (
        "INSERT INTO entries SELECT 'webhook', key, id + 500, doc, rev, mac FROM entries WHERE id = 2",
        "entries of kind webhook, which were never written",
    ),
    "journal.row": ("UPDATE journal SET row = replace(row, 'anna', 'otto') WHERE rev = 2", "revision 2"),
    "journal.mac": ("UPDATE journal SET mac = zeroblob(32) WHERE rev = 2", "revision 2"),
    "journal middle": ("DELETE FROM journal WHERE rev = 3", "revision 3: it is missing from the journal"),
    "journal first": ("DELETE FROM journal WHERE rev = 1", "revision 1: it is missing from the journal"),
    "journal end": ("DELETE FROM journal WHERE rev >= 5", "it is missing"),
    "journal more": ("INSERT INTO journal SELECT 99, row, mac FROM journal WHERE rev = 6", "its head does not know"),
    "journal moved": ("UPDATE journal SET rev = 77 WHERE rev = 6", "it is missing"),
    "parts.before": ("UPDATE parts SET before = after WHERE rev = 2 AND part = 0", "revision 2, part 0"),
    "parts.after": ("UPDATE parts SET after = before WHERE rev = 2 AND part = 0", "revision 2, part 0"),
    "parts.kind": ("UPDATE parts SET kind = 'block' WHERE rev = 2 AND part = 0", "revision 2, part 0"),
    "parts.part": ("UPDATE parts SET part = 99 WHERE rev = 2 AND part = 0", "revision 2, part 0"),
    "parts.rev": ("UPDATE parts SET rev = 99 WHERE rev = 1", "revision 1, part 0"),
    "parts less": ("DELETE FROM parts WHERE rev = 1", "revision 1, part 0"),
    "views less": ("DELETE FROM views", "are missing"),
    "views.body": ("UPDATE views SET body = zeroblob(9)", "the configuration files kept as"),
    "uses.time": ("UPDATE uses SET time = 999", "the last use of entry 1"),
    "uses.id": ("UPDATE uses SET id = 2", "the last use of entry 2"),
    "uses.mac": ("UPDATE uses SET mac = zeroblob(16)", "the last use of entry 1"),
    "audit.line": ("UPDATE audit SET line = replace(line, '-', '+') WHERE seq = 9", "audit entry"),
    "audit no json": ("UPDATE audit SET line = 'x' WHERE seq = 9", "audit entry"),
    "audit end": ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", "audit entry"),
    "audit all": ("DELETE FROM audit", "audit"),
    "audit.seq": ("UPDATE audit SET seq = 99 WHERE seq = (SELECT max(seq) FROM audit)", "audit entry"),
    "head.body": ("UPDATE head SET body = replace(body, '\"applied\":6', '\"applied\":5')", "head was changed"),
    "head.mac": ("UPDATE head SET mac = zeroblob(32)", "head was changed"),
    "head less": ("DELETE FROM head", "its head is missing"),
    "a trigger": (
        "CREATE TRIGGER quiet AFTER INSERT ON audit BEGIN DELETE FROM audit WHERE seq = new.seq; END",
        "not those that runbound makes",
    ),
    "an index": ("DROP INDEX entries_id", "not those that runbound makes"),
    "a column": ("ALTER TABLE head ADD COLUMN more TEXT", "not those that runbound makes"),
    "whose it is": ("PRAGMA application_id = 7", "its header was changed"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_field_of_every_table(state: Path, what: str) -> None:
    statement, expected = CHANGES[what]
    sql(state, statement)
    report, said = outcome(state)
    assert expected in said
    assert "help: " in said
    assert "runbound store resign" in said
    assert any(expected in fault for fault in report.faults), report.faults


def test_what_only_verify_reads(state: Path) -> None:
    """The audit log before its last checkpoint, and parts and views that nobody asks for."""
    sql(state, "UPDATE audit SET line = replace(line, 'auth.failure', 'auth.success') WHERE seq = 2")
    assert outcome(state)[0].faults == (
        f"{state}/state.db: audit entry 2: it was changed, or the audit key is another than when it was written",
    )


def older(state: Path, change: Callable[[Store], None]) -> Path:
    """The state as it was before a change that was made since."""
    before = state.with_name("before")
    shutil.copytree(state, before)
    opener = Opener(state)
    change(opener())
    opener.close()
    return before


def demote(store: Store) -> None:
    store.applied([store.commit([Pending(NOTE, (record("a", "192.0.2.66"),))])[0].revision])


@pytest.mark.parametrize("kind", ["record", "user"])
def test_an_entry_that_is_its_older_self(state: Path, kind: str) -> None:
    edit = record("a", "192.0.2.66") if kind == "record" else Edit("user", b"otto", '{"name":"otto"}')
    before = older(state, lambda store: store.applied([store.commit([Pending(NOTE, (edit,))])[0].revision]))
    sql(
        state,
        f"ATTACH '{before}/state.db' AS old",
        f"DELETE FROM entries WHERE kind = '{kind}' AND rev = 7",
        f"INSERT OR REPLACE INTO entries SELECT * FROM old.entries WHERE kind = '{kind}'",
    )
    report, said = outcome(state)
    assert f"an entry of kind {kind} is missing, or is an older form of itself" in said
    assert len(report.faults) == 1


def test_a_head_that_is_its_older_self(state: Path) -> None:
    before = older(state, demote)
    sql(state, f"ATTACH '{before}/state.db' AS old", "UPDATE head SET (body, mac) = (SELECT body, mac FROM old.head)")
    report, said = outcome(state)
    assert "it was rolled back" in said
    assert any("journal has revisions that its head does not know" in fault for fault in report.faults)


def test_everything_rolled_back_but_the_anchor(state: Path) -> None:
    before = older(state, demote)
    shutil.copy(before / "state.db", state / "state.db")
    report, said = outcome(state)
    assert "it was rolled back: it ends at revision 6" in said
    assert "its anchor knows revision 7" in said
    assert len(report.faults) == 1


def test_the_log_of_a_crash_thrown_away(whole: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(whole, state)
    (state / "state.db-wal").unlink()
    assert outcome(state)[1] != ""


def test_another_past_with_the_same_key(state: Path) -> None:
    """Two copies of a state go different ways, and one is put in the place of the other."""
    other = state.with_name("other")
    shutil.copytree(state, other)
    for folder, value in ((state, "192.0.2.66"), (other, "192.0.2.67")):
        opener = Opener(folder)
        store = opener()
        for _ in range(1 if folder == state else 3):
            store.applied([store.commit([Pending(NOTE, (record("a", value),))])[0].revision])
        opener.close()
    shutil.copy(other / "state.db", state / "state.db")
    assert "its past is another than its anchor knows" in outcome(state)[1]


def test_an_anchor_that_lags_is_good(state: Path) -> None:
    """A crash between the transaction and the anchor."""
    before = older(state, demote)
    shutil.copy(before / "state.mac", state / "state.mac")
    report, said = outcome(state)
    assert (report.faults, said) == ((), "")


def test_without_the_anchor_or_without_the_database(state: Path) -> None:
    kept = (state / "state.mac").read_bytes()
    (state / "state.mac").unlink()
    report, said = outcome(state)
    assert "the anchor of the state is missing" in said
    assert len(report.faults) == 1
    (state / "state.mac").write_bytes(kept)
    (state / "state.db").unlink()
    report, said = outcome(state)
    assert "it is missing, but its anchor state.mac is there" in said
    assert len(report.faults) == 1
    (state / "state.db").write_bytes(b"")
    assert outcome(state)[1] != ""


@pytest.mark.parametrize("content", [b"", b"x" * 1024, b"\0" * 1024, b"{}" * 512])
def test_an_anchor_that_is_none(state: Path, content: bytes) -> None:
    (state / "state.mac").write_bytes(content)
    assert "the anchor of the state was changed or cut" in outcome(state)[1]


def test_another_key_is_said_to_be_one(state: Path) -> None:
    opener = Opener(state)
    with pytest.raises(StateTamperedError, match="written with another key") as caught:
        opener(keys(b"t" * 32))
    assert "RUNBOUND_STORE_KEY" in str(caught.value)


def test_a_program_that_writes_while_we_run(opener: Opener) -> None:
    store = opener()
    fill(store)
    sql(opener.folder, "UPDATE audit SET line = 'x' WHERE seq = 1")
    with pytest.raises(StateTamperedError, match="another program has written"):
        store.commit([Pending(NOTE, (record("z", "192.0.2.5"),))])
    sql(opener.folder, "UPDATE entries SET doc = '{}' WHERE id = 1")
    with pytest.raises(StateTamperedError, match="entry 1 of kind record"):
        store.get("record", record("a", "").key)


class Flips:
    """A state and what it says, to change octets of it."""

    def __init__(self, whole: Path) -> None:
        self.whole = whole
        self.folder = Path(tempfile.mkdtemp())
        self.said = self.read(whole)

    def read(self, source: Path) -> list[Any] | RunboundError:
        """What a copy of these files says, or why it says nothing."""
        shutil.rmtree(self.folder)
        shutil.copytree(source, self.folder)
        return self.ask()

    def ask(self) -> list[Any] | RunboundError:
        opener = Opener(self.folder)
        try:
            found = told(opener())
            opener.close()
            report = verify(str(self.folder), keys(), engine)
        except RunboundError as error:
            return error
        finally:
            opener.close()
        return StateTamperedError(report.faults[0]) if report.faults else found

    def flip(self, name: str, changes: list[tuple[int, int]]) -> list[Any] | RunboundError:
        shutil.rmtree(self.folder)
        shutil.copytree(self.whole, self.folder)
        octets = bytearray((self.folder / name).read_bytes())
        for place, mask in changes:
            octets[place % len(octets)] ^= mask
        (self.folder / name).write_bytes(octets)
        return self.ask()


@pytest.fixture(scope="module")
def flips(whole: Path) -> Iterator[Flips]:
    found = Flips(whole)
    yield found
    shutil.rmtree(found.folder)


@pytest.fixture(scope="module")
def closed_flips(whole: Path) -> Iterator[Flips]:
    """The same, everything in the database and no log."""
    folder = Path(tempfile.mkdtemp())
    found = Flips(copy(whole, folder / "state"))
    yield found
    shutil.rmtree(found.folder)
    shutil.rmtree(folder)


FLIPS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=4)
often = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@often
@given(FLIPS)
def test_flipped_octets_of_the_database(closed_flips: Flips, changes: list[tuple[int, int]]) -> None:
    after = closed_flips.flip("state.db", changes)
    assert isinstance(after, RunboundError) or after == closed_flips.said


@often
@given(FLIPS)
def test_flipped_octets_of_the_log(flips: Flips, changes: list[tuple[int, int]]) -> None:
    after = flips.flip("state.db-wal", changes)
    assert isinstance(after, RunboundError) or after == flips.said


@often
@given(FLIPS)
def test_flipped_octets_of_the_anchor(flips: Flips, changes: list[tuple[int, int]]) -> None:
    after = flips.flip("state.mac", changes)
    assert isinstance(after, RunboundError) or after == flips.said
