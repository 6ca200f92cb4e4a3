"""Edits of the state: plans, groups, and what each caller learns."""

import contextlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from runbound.engine import Bulk
from runbound.ops.candidate import Running
from runbound.ops.change import Change, Changes, Edited, Rejected
from runbound.ops.logging import ControlLog
from runbound.ops.refusals import Conflict, StateUnavailable, TooManyBlocks
from runbound.ops.view import Plan, View
from runbound.state.entries import Edit, canonical
from runbound.state.store import Store
from support.control import FakeEngine, FakeSource, server_config
from support.stores import Opener

BY_TEST = Change("test", "to see", {"method": "POST", "path": "/users"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A state of this test."""
    with contextlib.closing(Opener(tmp_path)) as opener:
        yield opener()


def make(store: Store | StateUnavailable | None) -> tuple[FakeEngine, Changes]:
    engine = FakeEngine()
    config = server_config()
    source = FakeSource(config)
    changes = Changes(engine, Running(1, config, 0.0), source, ControlLog(engine.log), store)
    return engine, changes


def put(name: str, **doc: object) -> Edit:
    return Edit("user", name.encode(), canonical({"name": name, **doc}))


def edit(changes: Changes, *edits: Edit, dry_run: bool = False) -> Edited:
    result = changes.edit(BY_TEST, lambda _view: Plan(edits), dry_run=dry_run)
    assert isinstance(result, Edited)
    return result


def test_an_edit_is_a_revision_with_who_and_why(store: Store) -> None:
    _, changes = make(store)
    result = edit(changes, put("ann", role="read"))
    (entry,) = result.entries
    assert entry is not None
    assert entry.doc == {"name": "ann", "role": "read"}
    assert result.diff.lines == ("+ user ann read",)
    assert result.diff.summary == {"user": {"added": 1}}
    (revision,) = store.journal(before=None, limit=10)
    assert (revision.number, revision.actor, revision.reason, revision.status) == (1, "test", "to see", "applied")
    ((_, line),) = store.audit_after(0, 10)
    event = json.loads(line)
    assert (event["event"], event["actor"]) == ("user.add", "test")
    assert event["fields"] == {
        "method": "POST",
        "path": "/users",
        "reason": "to see",
        "revision": 1,
        "name": "ann",
        "role": "read",
    }


def test_what_changes_nothing_is_no_revision(store: Store) -> None:
    _, changes = make(store)
    first = edit(changes, put("ann"))
    again = edit(changes, put("ann"))
    assert again.revision == first.revision
    assert again.entries == first.entries
    assert again.diff.lines == ()
    assert edit(changes, Edit("user", b"nobody", None)).revision == first.revision


def test_a_dry_run_says_what_would_change_and_changes_nothing(store: Store) -> None:
    _, changes = make(store)
    edit(changes, put("ann"))
    result = edit(changes, put("ann", role="admin"), Edit("user", b"nobody", None), dry_run=True)
    assert result.dry_run
    assert result.diff.lines == ("- user ann", "+ user ann admin")
    entry = store.get("user", b"ann")
    assert entry is not None
    assert entry.doc == {"name": "ann"}
    assert store.revision == 1


def test_what_a_plan_raises_reaches_its_caller_alone(store: Store) -> None:
    _, changes = make(store)

    def refuse(view: View) -> Plan:
        raise Conflict(f"{view.count('user')} users are enough")

    with pytest.raises(Conflict, match="0 users are enough"):
        changes.edit(BY_TEST, refuse)
    assert edit(changes, put("ann")).revision == 1


def test_without_a_state_nothing_can_be_changed() -> None:
    _, changes = make(StateUnavailable("the disk is read-only"))
    with pytest.raises(StateUnavailable, match="read-only"):
        edit(changes, put("ann"))


def test_many_at_once_share_transactions_and_each_learns_its_own(store: Store) -> None:
    _, changes = make(store)
    gate = threading.Event()
    results: dict[str, object] = {}

    def slow(_view: View) -> Plan:
        gate.wait(5)
        return Plan()

    def one(name: str) -> None:
        def plan(view: View) -> Plan:
            if view.get("user", name.encode()) is not None:
                raise Conflict(f"{name} is there")
            return Plan((put(name),))

        try:
            results[f"{name} {threading.get_ident()}"] = changes.edit(BY_TEST, plan)
        except Conflict as error:
            results[f"{name} {threading.get_ident()}"] = error

    threads = [threading.Thread(target=changes.edit, args=(BY_TEST, slow))]
    threads += [threading.Thread(target=one, args=(name,)) for name in ["ann", "bob", "cid", "dan"] * 2]
    for thread in threads:
        thread.start()
    while len(changes._waiting) < len(threads):  # until all of them wait
        pass
    gate.set()
    for thread in threads:
        thread.join()
    made = [result for result in results.values() if isinstance(result, Edited)]
    assert len(made) == 4
    assert sorted(entry.doc["name"] for result in made for entry in result.entries if entry) == [
        *("ann", "bob", "cid", "dan")
    ]
    assert {result.revision for result in made} == {1, 2, 3, 4}
    assert store.revision == 4


def test_what_breaks_on_the_way_to_the_engine_is_taken_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, changes = make(store)
    bulk = Bulk("block", "json")
    bulk.feed(b'{"name":"ads.example","action":"null"}')
    assert bulk.finish() == []
    ((key, doc),) = bulk.entries(0)

    def breaks(_revision: int, _delta: object) -> None:
        raise ZeroDivisionError("no engine error at all")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "amend", breaks)
        with pytest.raises(ZeroDivisionError):
            edit(changes, Edit("block", key, doc))
    assert store.get("block", key) is None
    edit(changes, put("ann"))
    found = [(row.op, row.status) for row in store.journal(before=None, limit=10)]
    assert found == [("edit", "applied"), ("undo", "applied"), ("edit", "failed")]
    edit(changes, Edit("block", key, doc))
    assert store.get("block", key) is not None


def block(name: str) -> Edit:
    key = b"\0".join(reversed(name.rstrip(".").encode().split(b"."))) + b"\0\0"
    return Edit("block", key, canonical({"name": name, "action": "nxdomain"}))


def test_what_the_engine_refuses_is_taken_back(store: Store) -> None:
    engine, changes = make(store)
    engine.refuse = "amend"
    result = changes.edit(BY_TEST, lambda _view: Plan((block("ads.example."),)))
    assert isinstance(result, Rejected)
    assert result.diagnostics[0].text == "amend does not work"
    assert store.count("block") == 0
    assert [row.status for row in store.journal(before=None, limit=9)] == ["applied", "failed"]
    engine.refuse = None
    assert edit(changes, block("ads.example.")).revision == 3
    assert store.count("block") == 1
    assert store.pending == []


def test_blocks_of_many_callers_are_one_amendment(store: Store) -> None:
    engine, changes = make(store)
    gate = threading.Event()

    def slow(_view: View) -> Plan:
        gate.wait(5)
        return Plan()

    threads = [threading.Thread(target=changes.edit, args=(BY_TEST, slow))]
    for number in range(10):
        plan = Plan((block(f"ads-{number}.example."),))
        threads.append(threading.Thread(target=changes.edit, args=(BY_TEST, partial(lambda found, _view: found, plan))))
    for thread in threads:
        thread.start()
    while len(changes._waiting) < len(threads):  # until all of them wait
        pass
    gate.set()
    for thread in threads:
        thread.join()
    assert engine.amended == [(10, 10)]
    assert len(store.journal(before=None, limit=99)) == 10


def test_there_may_be_only_so_many(store: Store) -> None:
    _, changes = make(store)
    few = msgspec.structs.replace(changes.running.config.server, max_blocks=2)
    config = msgspec.structs.replace(changes.running.config, server=few)
    changes._running = msgspec.structs.replace(changes.running, config=config)
    edit(changes, block("one.example."), block("two.example."))
    with pytest.raises(TooManyBlocks, match="max-blocks is 2"):
        edit(changes, block("three.example."))
    edit(changes, Edit("block", block("one.example.").key, None), block("three.example."))
    assert store.count("block") == 2
