"""The store: what is written is read, in order, after a new start too, and every change is a revision."""

import pytest

from runbound.state.database import StateTamperedError
from runbound.state.entries import Edit, Event, Note, Pending, canonical
from runbound.state.store import Store
from support.stores import Opener, keys

NOTE = Note("anna", "because", "edit")


def block(name: str, **more: object) -> Edit:
    key = b"".join(label.encode() + b"\0" for label in reversed(name.rstrip(".").split("."))) + b"\0"
    return Edit("block", key, canonical({"name": name, "action": "nxdomain", **more}))


def put(store: Store, *edits: Edit, note: Note = NOTE, events: tuple[Event, ...] = ()) -> int:
    [done] = store.commit([Pending(note, edits, events)])
    store.applied([done.revision])
    return done.revision


def names(store: Store, under: bytes | None = None, search: str | None = None) -> list[str]:
    return [entry.doc["name"] for entry in store.page("block", after=None, limit=100, under=under, search=search)]


def test_what_is_put_is_there(opener: Opener) -> None:
    store = opener()
    [done] = store.commit([Pending(NOTE, (block("b.example."), block("a.example.", comment="x")))])
    first, second = done.entries
    assert first is not None
    assert second is not None
    assert (first.id, second.id, first.revision) == (1, 2, 1)
    assert store.get("block", block("a.example.").key) == second
    assert store.by_id("block", 1) == first
    assert store.by_id("record", 1) is None
    assert store.count("block") == 2
    assert names(store) == ["a.example.", "b.example."]
    store = opener()
    assert names(store) == ["a.example.", "b.example."]
    assert [row.number for row in store.pending] == [1]


def test_putting_again_keeps_the_id_and_deleting_ends_it(opener: Opener) -> None:
    store = opener()
    put(store, block("a.example."))
    put(store, block("a.example.", action="refuse"))
    entry = store.by_id("block", 1)
    assert entry is not None
    assert (entry.doc["action"], entry.revision) == ("refuse", 2)
    put(store, Edit("block", block("a.example.").key, None))
    assert store.by_id("block", 1) is None
    put(store, block("a.example."))
    assert store.by_id("block", 2) is not None


def test_an_entry_moves_to_another_key(opener: Opener) -> None:
    store = opener()
    put(store, block("a.example."), block("b.example."))
    put(store, Edit("block", block("c.example.").key, block("c.example.").doc, id=1))
    assert names(store) == ["b.example.", "c.example."]
    [(old, new)] = store.change_of(2)
    assert old is not None
    assert new is not None
    assert (old.doc["name"], new.doc["name"]) == ("a.example.", "c.example.")
    with pytest.raises(LookupError):
        put(store, Edit("block", b"x", "{}", id=77))
    assert store.newest == 2


def test_pages(opener: Opener) -> None:
    store = opener()
    put(store, *(block(f"n{number}.{zone}.") for number in range(10) for zone in ("example", "test")))
    seen: list[str] = []
    after = None
    while found := store.page("block", after=after, limit=3):
        seen += [entry.doc["name"] for entry in found]
        after = found[-1].key
    assert len(seen) == len(set(seen)) == 20
    assert names(store, under=b"test\0") == sorted(f"n{number}.test." for number in range(10))
    assert names(store, search="N7.") == ["n7.example.", "n7.test."]


def test_a_batch_is_one_transaction_and_all_or_nothing(opener: Opener) -> None:
    store = opener()
    done = store.commit([Pending(NOTE, (block(f"{name}.example."),)) for name in "abc"])
    assert [item.revision for item in done] == [1, 2, 3]
    with pytest.raises(LookupError):
        store.commit([Pending(NOTE, (block("d.example."),)), Pending(NOTE, (Edit("block", b"x", "{}", id=99),))])
    assert names(store) == ["a.example.", "b.example.", "c.example."]
    assert store.newest == 3
    assert put(store, block("e.example.")) == 4


def test_the_history(opener: Opener) -> None:
    store = opener()
    put(store, block("a.example."), block("b.example."), note=Note("otto", "first", "edit"))
    put(store, block("a.example.", comment="x"), Edit("block", block("b.example.").key, None))
    store.commit([Pending(NOTE, (block("c.example."),))])
    found = store.journal(before=None, limit=10)
    assert [(row.number, row.actor, row.status, row.summary) for row in found] == [
        (3, "anna", "pending", {"block": {"added": 1}}),
        (2, "anna", "applied", {"block": {"changed": 1, "removed": 1}}),
        (1, "otto", "applied", {"block": {"added": 2}}),
    ]
    assert [row.number for row in store.journal(before=3, limit=1)] == [2]
    assert store.journal(before=1, limit=10) == []
    with pytest.raises(LookupError):
        list(store.change_of(4))


def test_what_failed_is_taken_back_as_it_was(opener: Opener) -> None:
    store = opener()
    put(store, block("a.example."))
    before = store.get("block", block("a.example.").key)
    done = store.commit(
        [
            Pending(NOTE, (block("a.example.", comment="x"), block("b.example."))),
            Pending(NOTE, (block("c.example."), Edit("block", block("b.example.").key, None))),
        ]
    )
    with pytest.raises(ValueError, match="newest"):
        store.failed(2, "no")
    for item in reversed(done):
        store.failed(item.revision, "the engine refused", [Event("block.add", "anna", {"result": "refused"})])
    assert store.get("block", block("a.example.").key) == before
    assert names(store) == ["a.example."]
    assert [row.status for row in store.journal(before=None, limit=9)] == [
        "applied", "applied", "failed", "failed", "applied",
    ]  # fmt: skip
    assert store.pending == []
    store = opener()
    assert store.pending == []
    assert store.revision == 5
    assert names(store) == ["a.example."]


def test_the_way_back(opener: Opener) -> None:
    store = opener()
    put(store, block("a.example."), block("b.example."), block("c.example."))
    put(store, block("a.example.", comment="x"), Edit("block", block("b.example.").key, None), block("d.example."))
    put(store, Edit("block", block("z.example.").key, block("z.example.").doc, id=3), Edit("user", b"u", "{}"))
    was = names(store)
    [done] = store.commit([Pending(NOTE, back_to=1)])
    assert done.summary == {"block": {"added": 1, "changed": 2, "removed": 1}}
    assert names(store) == ["a.example.", "b.example.", "c.example."]
    assert [(entry.id, entry.doc.get("comment")) for entry in store.page("block", after=None, limit=9)] == [
        (1, None), (2, None), (3, None),
    ]  # fmt: skip
    assert store.count("user") == 1
    put(store, *store.at(3, ["block"]))
    assert names(store) == was
    with pytest.raises(LookupError):
        store.commit([Pending(NOTE, back_to=99)])


def test_audit_entries_go_with_their_change(opener: Opener) -> None:
    store = opener()
    put(store, block("a.example."), events=(Event("block.add", "anna", {"name": "a.example."}),))
    store.record(Event("auth.failure", "-"), wait=True)
    lines = store.audit_after(0, 10)
    assert [seq for seq, _ in lines] == [1, 2]
    assert '"event":"block.add","actor":"anna","fields":{"name":"a.example.","revision":1}' in lines[0][1]
    assert store.audit_head[0] == 2
    assert store.audit_wait(1, 0.1)
    assert not store.audit_wait(2, 0.01)
    store.audit_every = 2
    store.record(*(Event("x", "y") for _ in range(4)), wait=True)
    assert [seq for seq, line in store.audit_after(0, 99) if '"checkpoint"' in line] == [4, 7]
    store = opener()
    store.checkpoint()
    store.checkpoint()
    assert store.audit_head[0] == 9
    with pytest.raises(Exception, match="another"):
        opener(keys(audit=b"b" * 32))


def test_views_and_uses(opener: Opener) -> None:
    store = opener()
    files = (("/etc/runbound.conf", b"server:\n\xff"), ("/etc/more.conf", b""))
    digest = store.keep_view(files)
    assert store.keep_view(files) == digest
    store.commit([Pending(NOTE, view=digest)])
    assert store.head_view == digest
    assert store.view(digest) == files
    assert store.journal(before=None, limit=1)[0].view == digest
    with pytest.raises(StateTamperedError, match="are missing"):
        store.view("0" * 64)
    store.touch(7, 1000)
    store.touch(7, 2000)
    store.touch(8, 3000)
    store.record(wait=True)
    assert store.last_used([7, 8, 9]) == {7: 2000, 8: 3000}


def test_the_log_is_moved_into_the_database(opener: Opener) -> None:
    store = opener()
    for number in range(3):
        put(store, *(block(f"n{number}-{more}.example.", comment="x" * 200) for more in range(4000)))
        store.record(wait=True)
    size = (opener.folder / "state.db").stat().st_size
    log = (opener.folder / "state.db-wal").stat().st_size
    assert size > 3_000_000
    assert log < 3 * size
    assert len(opener().page("block", after=None, limit=100_000)) == 12_000
