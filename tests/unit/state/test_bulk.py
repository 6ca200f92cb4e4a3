"""Changes of any size do what the same changes one by one would, and can be taken back."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbound.state.entries import Edit, Note, Pending, TooManyError
from runbound.state.store import Store
from support.bulk import SmallBulk
from support.stores import Opener

NOTE = Note("anna", "because", "edit")
Model = dict[bytes, str]


def entries(store: Store) -> Model:
    return {entry.key: json.dumps(entry.doc) for entry in store.page("block", after=None, limit=1000)}


def commit(store: Store, **more: Any) -> int:
    [done] = store.commit([Pending(NOTE, **more)])
    return done.revision


def many(prefix: bytes, numbers: range, text: str = "x") -> Model:
    return {prefix + b"%05d\0" % number: json.dumps({"name": f"{number}", "comment": text}) for number in numbers}


def test_add_keeps_ids_and_leaves_alone_what_is_the_same(opener: Opener) -> None:
    store = opener()
    commit(store, bulk=SmallBulk("block", many(b"a\0", range(10))))
    revision = commit(store, bulk=SmallBulk("block", many(b"a\0", range(8)) | many(b"a\0", range(8, 15), "y")))
    found = store.page("block", after=None, limit=100)
    assert [(entry.id, entry.revision) for entry in found] == [
        *((number, 1) for number in range(1, 9)),
        *((number, 2) for number in range(9, 16)),
    ]
    assert store.journal(before=None, limit=1)[0].summary == {"block": {"added": 5, "changed": 2}}
    changes = list(store.change_of(revision))
    assert len(changes) == 7
    assert sum(before is not None for before, _ in changes) == 2
    assert sum(len(json.loads(piece)) for piece in store.rows("block")) == 15


def test_replace_within_prefixes_and_with_nothing(opener: Opener) -> None:
    store = opener()
    all_of = many(b"a\0", range(7)) | many(b"b\0", range(7)) | many(b"c\xff\0", range(7))
    commit(store, bulk=SmallBulk("block", all_of))
    commit(store, bulk=SmallBulk("block", many(b"b\0", range(5, 9))), mode="replace", under=(b"b\0",))
    assert entries(store) == many(b"a\0", range(7)) | many(b"b\0", range(5, 9)) | many(b"c\xff\0", range(7))
    commit(store, bulk=SmallBulk("block", {}), mode="replace", under=(b"c\xff\0", b"a\0"))
    assert entries(store) == many(b"b\0", range(5, 9))
    commit(store, bulk=SmallBulk("block", {}), mode="replace")
    assert entries(store) == {}
    commit(store, back_to=1)
    assert entries(store) == all_of


def test_more_than_a_piece_is_taken_out(opener: Opener) -> None:
    store = opener()
    commit(store, bulk=SmallBulk("block", many(b"a\0", range(25_000)), 10_000))
    commit(store, bulk=SmallBulk("block", {}), mode="replace")
    assert store.count("block") == 0
    commit(store, back_to=1)
    assert store.count("block") == 25_000
    assert sum(len(json.loads(piece)) for piece in store.rows("block")) == 25_000


def test_the_limit_holds_and_a_preview_leaves_nothing(opener: Opener) -> None:
    store = opener()
    with pytest.raises(TooManyError, match="there would be 10 entries of kind block, and there may be 9"):
        commit(store, bulk=SmallBulk("block", many(b"", range(10))), most=9)
    preview = store.preview(Pending(NOTE, bulk=SmallBulk("block", many(b"", range(200)))))
    assert preview.summary == {"block": {"added": 200}}
    assert len(preview.sample) == 100
    assert (store.newest, store.count("block"), entries(store)) == (0, 0, {})
    assert commit(store, bulk=SmallBulk("block", many(b"", range(9))), most=9) == 1


KEYS = st.sampled_from([prefix + bytes([n]) + b"\0" for prefix in (b"a\0", b"b\0", b"b\0c\0") for n in range(5)])
DOCS = st.sampled_from(['{"name": "1"}', '{"name": "2"}'])
MODELS = st.dictionaries(KEYS, DOCS, max_size=8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), MODELS),
        st.tuples(st.just("remove"), MODELS),
        st.tuples(st.just("replace"), MODELS),
        st.tuples(st.just("replace below"), MODELS),
        st.tuples(st.just("edit"), st.lists(st.tuples(KEYS, st.none() | DOCS), max_size=4)),
        st.tuples(st.just("move"), st.tuples(KEYS, KEYS)),
        st.tuples(st.just("back"), st.integers(0, 30)),
        st.tuples(st.just("preview"), MODELS),
    ),
    max_size=12,
)


class Walk:
    """A store and what ought to be in it after each revision."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now: Model = {}
        self.past: dict[int, Model] = {0: {}}

    def step(self, what: str, given: Any) -> None:
        pending, then = self._plan(what, given)
        if what == "preview":
            self.store.preview(pending)
            return
        [done] = self.store.commit([pending])
        assert sum(sum(counts.values()) for counts in done.summary.values()) == len(
            list(self.store.change_of(done.revision))
        )
        self.now, self.past[done.revision] = then, then

    def _plan(self, what: str, given: Any) -> tuple[Pending, Model]:
        if what in ("add", "preview"):
            return Pending(NOTE, bulk=SmallBulk("block", given)), self.now | given
        if what == "remove":
            left = {key: doc for key, doc in self.now.items() if key not in given}
            return Pending(NOTE, bulk=SmallBulk("block", given), mode="remove"), left
        if what == "replace":
            return Pending(NOTE, bulk=SmallBulk("block", given, 2), mode="replace"), given
        if what == "replace below":
            given = {key: doc for key, doc in given.items() if key.startswith(b"b\0")}
            kept = {key: doc for key, doc in self.now.items() if not key.startswith(b"b\0")}
            return Pending(NOTE, bulk=SmallBulk("block", given), mode="replace", under=(b"b\0",)), kept | given
        if what == "edit":
            then = dict(self.now)
            for key, doc in given:
                then.pop(key, None)
                then |= {} if doc is None else {key: doc}
            return Pending(NOTE, tuple(Edit("block", key, doc) for key, doc in given)), then
        if what == "move":
            old, new = given
            entry = self.store.get("block", old)
            if entry is None or new in self.now:
                return Pending(NOTE), self.now
            then = {key: doc for key, doc in self.now.items() if key != old} | {new: self.now[old]}
            return Pending(NOTE, (Edit("block", new, self.now[old], entry.id),)), then
        revision = min(given, self.store.newest)
        return Pending(NOTE, back_to=revision), self.past[revision]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_it_is_as_if_one_by_one(steps: list[tuple[str, Any]]) -> None:
    folder = Path(tempfile.mkdtemp())
    opener = Opener(folder)
    try:
        walk = Walk(opener())
        for what, given_ in steps:
            walk.step(what, given_)
            assert entries(walk.store) == walk.now
        walk.store = opener()
        assert entries(walk.store) == walk.now
        assert sum(len(json.loads(piece)) for piece in walk.store.rows("block")) == len(walk.now)
        ids = [entry.id for entry in walk.store.page("block", after=None, limit=100)]
        assert len(set(ids)) == len(ids)
        for pending in reversed(walk.store.pending):
            walk.store.failed(pending.number, "no")
            assert entries(walk.store) == walk.past[pending.number - 1]
        assert walk.store.pending == []
    finally:
        opener.close()
        shutil.rmtree(folder)
