"""A state coded anew has the same in it, proves itself with the new keys, and the old one is kept."""

import os
from pathlib import Path
from typing import Any

import pytest

from runbound import engine
from runbound.state.database import StateTamperedError
from runbound.state.opening import StoreKeys
from runbound.state.resign import Resigned, resign
from runbound.state.verify import verify
from support.stores import Opener, fill, keys, sql, told

NEW = (b"t" * 32, b"b" * 32)


def again(folder: Path, old: StoreKeys, new: StoreKeys, **more: Any) -> Resigned:
    return resign(str(folder), old, new, engine, "root", **more)


def public() -> StoreKeys:
    return StoreKeys(engine.SecretKey.public(), keys().audit, protected=False)


@pytest.fixture
def filled(opener: Opener) -> Path:
    fill(opener())
    opener.close()
    return opener.folder


def content(opener: Opener, given: StoreKeys) -> list[Any]:
    said = told(opener(given))
    entries, by_id, _rows, revisions, changes, views, _audit, uses, pending = said
    opener.close()
    return [entries, by_id, revisions, changes, views, uses, pending]


def test_with_other_keys_everything_is_the_same(filled: Path, opener: Opener) -> None:
    before = content(opener, keys())
    done = again(filled, keys(), keys(*NEW))
    assert (done.before.faults, done.after.faults) == ((), ())
    assert content(opener, keys(*NEW)) == before
    assert {Path(name).name[:9] for name in done.kept} == {"state.db.", "state.mac", "audit-202"}
    with pytest.raises(StateTamperedError, match="another key"):
        opener(keys())
    store = opener(keys(*NEW))
    first, line = store.audit_after(0, 1)[0]
    assert '"event":"checkpoint"' in line
    assert first > 8
    assert '"event":"store.resign","actor":"root"' in store.audit_after(first, 1)[0][1]
    old = next(Path(name) for name in done.kept if "audit-" in name)
    assert len(old.read_text().splitlines()) == first - 1
    for revision in reversed(store.journal(before=None, limit=3)):
        list(store.change_of(revision.number))


def test_again_and_again_in_one_second(filled: Path, opener: Opener) -> None:
    before = content(opener, keys())
    for _ in range(3):
        again(filled, keys(), keys(*NEW))
        again(filled, keys(*NEW), keys())
    assert content(opener, keys()) == before
    assert len(list(filled.glob("state.db.*"))) == 6


def test_a_crash_between_the_two_names(filled: Path, opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has its place, the anchor not yet: the new key opens it, whose head knows the anchor beside it."""
    before, rename = content(opener, keys()), os.rename

    def pulled(source: str, target: str) -> None:
        if target.endswith("state.mac"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", pulled)
    with pytest.raises(KeyboardInterrupt):
        again(filled, keys(), keys(*NEW))
    monkeypatch.undo()
    assert verify(str(filled), keys(*NEW), engine).faults == ()
    assert content(opener, keys(*NEW)) == before


def test_from_no_key_to_one(opener: Opener) -> None:
    fill(opener(public()))
    before = content(opener, public())
    with pytest.raises(StateTamperedError, match="written without a key"):
        opener(keys())
    done = again(opener.folder, public(), keys())
    assert done.after.protected
    assert content(opener, keys()) == before
    with pytest.raises(StateTamperedError, match="written with a key, and there is none now"):
        opener(public())
    assert not any("audit-" in name for name in done.kept)


def test_what_does_not_prove_itself_needs_somebody_who_accepts_it(filled: Path, opener: Opener) -> None:
    sql(filled, "UPDATE entries SET doc = replace(doc, '.9', '.8') WHERE id = 1", "DELETE FROM entries WHERE id = 2")
    with pytest.raises(StateTamperedError, match="entry 1 of kind record was changed") as caught:
        again(filled, keys(), keys())
    assert "--accept" in str(caught.value)
    assert verify(str(filled), keys(), engine).faults
    done = again(filled, keys(), keys(), accept=True)
    assert len(done.before.faults) == 1
    assert done.after.faults == ()
    store = opener()
    entry = store.by_id("record", 1)
    assert entry is not None
    assert entry.doc["value"] == "192.0.2.8"
    assert store.count("record") == 2
    assert '"accepted":true' in store.audit_after(0, 1000)[-1][1]


@pytest.mark.parametrize(
    ("damage", "oldest"),
    [
        ("DELETE FROM journal WHERE rev = 3", 4),
        ("UPDATE parts SET after = x'00' WHERE rev = 2 AND part = 0", 3),
        ("DELETE FROM journal", 7),
        ("UPDATE audit SET line = 'x' WHERE seq = 4", 1),
        ("DELETE FROM head", 1),
        ("UPDATE head SET body = 'x'", 1),
    ],
)
def test_as_much_as_holds_together(filled: Path, opener: Opener, damage: str, oldest: int) -> None:
    sql(filled, damage)
    done = again(filled, keys(), keys(), accept=True)
    assert done.after.faults == ()
    store = opener()
    assert store.count("block") == 20
    assert [row.number for row in store.journal(before=None, limit=100)] == list(range(6, oldest - 1, -1))
