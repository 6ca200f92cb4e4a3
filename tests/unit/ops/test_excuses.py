"""Negative trust anchors in the state: kept with the one in force, made again at a start, forgotten when over."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbound.engine import EngineError
from runbound.ops import excuses
from runbound.ops.actions import Actions
from runbound.ops.candidate import Running
from runbound.ops.change import Change, Changes
from runbound.ops.logging import ControlLog
from runbound.ops.refusals import StateUnavailable
from runbound.state.directory import StateUnusableError
from runbound.state.store import Store
from support.control import FakeEngine, FakeSource, server_config
from support.stores import Opener

NOW = 1_800_000_000
BY_TEST = Change("test", "keys rolled")


class Floor:
    """An engine, what acts on it, and a state."""

    def __init__(self, store: Store | StateUnavailable | None) -> None:
        self.engine = FakeEngine()
        config = server_config()
        self.log = ControlLog(self.engine.log)
        self.changes = Changes(self.engine, Running(1, config, 0.0), FakeSource(config), self.log, store)
        self.actions = Actions(self.engine, lambda: config, self.log)

    def excuse(self, name: str, seconds: int = 60) -> bool:
        return excuses.excuse(self.actions, self.changes, BY_TEST, name, seconds, "why", recheck_s=5, clock=lambda: NOW)

    def end(self, name: str) -> bool:
        return excuses.excuse_no_more(self.actions, self.changes, BY_TEST, name)

    def resume(self, at: int) -> list[str]:
        """What the engine is asked at a start at that time."""
        before = len(self.engine.calls)
        excuses.resume(self.engine, self.changes, self.log, lambda: at)
        return [call for call in self.engine.calls[before:] if call.startswith("excuse")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A state of this test."""
    with contextlib.closing(Opener(tmp_path)) as opener:
        yield opener()


def kept(store: Store) -> list[dict[str, object]]:
    return [entry.doc for entry in store.page(excuses.KIND, after=None, limit=100)]


def test_it_is_kept_and_written_down(store: Store) -> None:
    floor = Floor(store)
    assert floor.excuse("Example.com.")
    assert kept(store) == [{"name": "example.com.", "reason": "why", "recheck_s": 5, "until": NOW + 60}]
    assert floor.excuse("example.COM.", 120)
    assert [doc["until"] for doc in kept(store)] == [NOW + 120]
    assert floor.end("EXAMPLE.com.")
    assert kept(store) == []
    events = [json.loads(line)["event"] for _, line in store.audit_after(0, 10)]
    assert events == ["anchor.excuse", "anchor.excuse", "anchor.validate"]


def test_a_start_makes_it_again_for_what_is_left_and_forgets_what_is_over(store: Store) -> None:
    floor = Floor(store)
    floor.excuse("long.test.", 600)
    floor.excuse("short.test.", 60)
    assert Floor(store).resume(NOW + 60) == ["excuse long.test. 540 5 why"]
    assert [doc["name"] for doc in kept(store)] == ["long.test."]
    revision = store.revision
    assert Floor(store).resume(NOW + 60) == ["excuse long.test. 540 5 why"]
    assert store.revision == revision, "nothing was over, so nothing changed"


def test_what_is_refused_is_not_kept(store: Store) -> None:
    floor = Floor(store)
    floor.engine.full = True
    assert not floor.excuse("example.com.")
    assert kept(store) == []


def test_what_cannot_be_kept_is_not_in_force(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    floor = Floor(store)

    def full(_batch: object) -> None:
        raise StateUnusableError("the disk is full, nothing was changed")

    monkeypatch.setattr(store, "commit", full)
    with pytest.raises(StateUnusableError):
        floor.excuse("example.com.")
    assert floor.engine.trusted["negative"] == []


def test_one_that_ended_by_itself_is_forgotten_too(store: Store) -> None:
    floor = Floor(store)
    floor.excuse("example.com.")
    floor.engine.trusted["negative"] = []
    assert not floor.end("example.com.")
    assert kept(store) == []


def test_without_a_state_it_holds_until_the_end_of_the_process() -> None:
    floor = Floor(None)
    assert floor.excuse("example.com.")
    assert floor.end("example.com.")
    assert floor.resume(NOW) == []


def test_a_start_goes_on_when_the_engine_refuses(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    floor = Floor(store)
    floor.excuse("example.com.")

    def refuse(*_: object) -> bool:
        raise EngineError("no such name")

    monkeypatch.setattr(floor.engine, "excuse", refuse)
    floor.resume(NOW)
    assert floor.engine.said("a negative trust anchor could not be made again name=example.com.")
