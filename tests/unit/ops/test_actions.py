"""Acts on the running resolver: the cooldown, and that each is written down with who did it."""

import pytest

from runbound.engine import EngineError
from runbound.ops.actions import Actions, Cooldown, Loaded
from runbound.ops.logging import ControlLog
from support.control import FakeEngine, server_config


class Desk:
    """Actions with a clock of their own."""

    def __init__(self, cooldown: int = 60) -> None:
        self.engine = FakeEngine()
        self.now = 1000.0
        self.config = server_config(cache_flush_cooldown=cooldown)
        self.actions = Actions(self.engine, lambda: self.config, ControlLog(self.engine.log), lambda: self.now)


def test_a_flush_is_written_down_with_its_actor() -> None:
    desk = Desk()
    assert desk.actions.flush("anna", "type", "a.example.", "TYPE15") == 3
    assert desk.engine.said("cache flushed actor=anna what=type name=a.example. rtype=TYPE15 removed=3")
    desk.actions.flush("anna", "name", "x\ny error forged=1")
    assert desk.engine.said('name="x\\ny error forged=1"')


def test_the_cooldown_is_the_configurations_and_counts_from_the_last_that_was_allowed() -> None:
    desk = Desk(cooldown=10)
    desk.actions.flush("anna", "all")
    desk.now += 4
    with pytest.raises(Cooldown) as refused:
        desk.actions.flush("bert", "all")
    assert refused.value.seconds == 6
    assert desk.engine.calls == ["cache_flush all None None"]
    desk.now += 6
    desk.actions.flush("bert", "all")
    desk.config = server_config(cache_flush_cooldown=0)
    desk.actions.flush("bert", "all")
    assert len(desk.engine.calls) == 3


def test_what_the_engine_refuses_is_not_written_down_as_done() -> None:
    desk = Desk()
    desk.engine.refuse = "cache_flush zone a. None"
    with pytest.raises(EngineError):
        desk.actions.flush("anna", "zone", "a.")
    assert not desk.engine.lines


def test_a_load_is_written_down_once_for_all_its_pieces() -> None:
    desk = Desk()
    total = Loaded()
    for _ in range(3):
        total += desk.actions.load(b";rrset\nmsg a\n")
    desk.actions.loaded("anna", total, whole=True)
    assert total == Loaded(3, 3, 0)
    assert [text for _, text in desk.engine.lines] == ["cache loaded actor=anna rrsets=3 messages=3 refused=0"]
