"""The one write path: everything or nothing, and an honest list of what changed."""

import threading
from typing import Any

import msgspec
import pytest

from runbound.config.model import Config, ForwardZone
from runbound.errors import RunboundError
from runbound.ops.candidate import Candidate, Changed, Running
from runbound.ops.change import Change, Changes, Edited, Rejected
from runbound.ops.logging import ControlLog
from support.control import FakeEngine, FakeSource, entry, server_config, wrong

BY_TEST = Change("test", "to see")


def make(config: Config) -> tuple[FakeEngine, FakeSource, Changes]:
    engine = FakeEngine()
    source = FakeSource(config)
    return engine, source, Changes(engine, Running(1, config, 0.0), source, ControlLog(engine.log))


def test_a_reload_says_what_changed_and_how() -> None:
    engine, source, changes = make(server_config())
    source.next = Candidate(
        server_config(verbosity=3, num_threads=4, access_control=(entry("10.0.0.0/8", "allow"),)),
        (wrong("odd", "warning"),),
    )
    engine.reports = [("local-data", "live"), ("port", "restart")]
    result = changes.reload(BY_TEST)
    assert isinstance(result, Edited)
    assert result.revision == 2
    assert set(result.changes) == {
        Changed("verbosity", "live"),
        Changed("access-control", "live"),
        Changed("num-threads", "restart"),
        Changed("local-data", "live"),
        Changed("port", "restart"),
    }
    assert [finding.text for finding in result.warnings] == ["odd"]
    assert engine.documents == [b"revision 2"]
    assert changes.running.revision == 2
    assert engine.said('changed="verbosity, access-control, local-data" needs_restart="num-threads, port"')


def test_what_needs_a_restart_is_named_until_it_is_back() -> None:
    _, source, changes = make(server_config(num_threads=2))
    source.next = Candidate(server_config(num_threads=4), ())
    for _ in range(2):
        result = changes.reload(BY_TEST)
        assert isinstance(result, Edited)
        assert result.changes == (Changed("num-threads", "restart"),)
    source.next = Candidate(server_config(num_threads=2), ())
    result = changes.reload(BY_TEST)
    assert isinstance(result, Edited)
    assert result.changes == ()


@pytest.mark.parametrize(("option", "value"), [("api_key", "k" * 32), ("so_rcvbuf", 1 << 20), ("so_sndbuf", 1 << 20)])
def test_what_is_read_at_start_alone_is_not_called_live(option: str, value: Any) -> None:
    _, source, changes = make(server_config())
    source.next = Candidate(server_config(**{option: value}), ())
    result = changes.reload(BY_TEST)
    assert isinstance(result, Edited)
    assert result.changes == (Changed(option.replace("_", "-"), "restart"),)


def test_a_moved_line_is_no_change() -> None:
    config = server_config(interface=(entry("127.0.0.1"),))
    _, source, changes = make(config)
    there = msgspec.structs.replace(entry("127.0.0.1"), at=msgspec.structs.replace(entry("").at, line=99))
    source.next = Candidate(server_config(interface=(there,)), ())
    result = changes.reload(BY_TEST)
    assert isinstance(result, Edited)
    assert result.changes == ()


def test_zones_are_named() -> None:
    config = server_config()
    _, source, changes = make(config)
    zone = ForwardZone(name="example.", forward_addr=(entry("192.0.2.1"),))
    source.next = Candidate(msgspec.structs.replace(config, forward_zones=(zone,)), ())
    result = changes.reload(BY_TEST)
    assert isinstance(result, Edited)
    assert Changed('forward-zone "example.": forward-addr', "live") in result.changes
    source.next = Candidate(config, ())
    result = changes.reload(BY_TEST)
    assert isinstance(result, Edited)
    assert Changed('forward-zone "example.": forward-addr', "live") in result.changes


def test_a_broken_file_changes_nothing_and_says_why() -> None:
    engine, source, changes = make(server_config())
    source.next = Candidate(server_config(verbosity=5), (wrong("port is not a number"), wrong("odd", "warning")))
    result = changes.reload(BY_TEST)
    assert isinstance(result, Rejected)
    assert len(result.diagnostics) == 2
    assert engine.calls == []
    assert changes.running.revision == 1
    assert ("error", "test.conf:3:5: port is not a number") in engine.lines


def test_what_the_engine_refuses_changes_nothing() -> None:
    engine, source, changes = make(server_config())
    engine.refuse = "apply"
    source.next = Candidate(server_config(verbosity=5), ())
    result = changes.reload(BY_TEST)
    assert isinstance(result, Rejected)
    assert result.diagnostics[0].text == "apply does not work"
    assert changes.running.revision == 1


def test_a_file_that_cannot_be_read_is_raised() -> None:
    _, source, changes = make(server_config())
    source.next = RunboundError("cannot read", "x.conf")
    with pytest.raises(RunboundError):
        changes.reload(BY_TEST)
    source.next = Candidate(server_config(), ())
    assert isinstance(changes.reload(BY_TEST), Edited)


def test_changes_wait_for_each_other() -> None:
    engine, source, changes = make(server_config())
    source.next = Candidate(server_config(), ())
    threads = [threading.Thread(target=changes.reload, args=(BY_TEST,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.documents == [f"revision {n}".encode() for n in range(2, 22)]
