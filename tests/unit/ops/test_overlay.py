"""What the API changes is laid over the file, checked like the file, and there again after a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbound.errors import ConfigError
from runbound.ops import overlay
from runbound.ops.change import Edited
from runbound.ops.refusals import NotByApi
from runbound.ops.view import Plan
from runbound.state.entries import Edit, Note, Pending
from support.plane import BY_TEST, FILE, Plane, upstream


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path)
    yield made
    made.close()


def test_an_option_wins_over_the_file_and_is_there_after_a_restart(plane: Plane) -> None:
    done = plane.edit(overlay.setting("verbosity", ["3"]), overlay.setting("prefetch", ["yes"]))
    assert [(item.option, item.effect) for item in done.changes] == [("verbosity", "live"), ("prefetch", "live")]
    for _ in range(2):
        config = plane.changes.running.config
        assert (config.server.verbosity, config.server.prefetch) == (3, True)
        assert [at.file for at in config.given("server", "verbosity")] == ["API"]
        plane.start()
    assert plane.file.read_text() == FILE


def test_a_list_option_replaces_the_list_of_the_file(plane: Plane) -> None:
    plane.edit(overlay.setting("access-control", ["192.168.0.0/16 allow", "192.168.7.0/24 refuse"]))
    rules = [entry.values for entry in plane.changes.running.config.server.access_control]
    assert rules == [("192.168.0.0/16", "allow"), ("192.168.7.0/24", "refuse")]
    plane.edit(overlay.setting("access-control", []))
    assert not plane.changes.running.config.server.access_control
    plane.edit(overlay.setting("access-control", None))
    assert [entry.values for entry in plane.changes.running.config.server.access_control] == [("10.0.0.0/8", "allow")]


def test_an_alias_is_the_option(plane: Plane) -> None:
    plane.edit(overlay.setting("ip-address", ["127.0.0.1"]))
    assert [entry.values for entry in plane.changes.running.config.server.interface] == [("127.0.0.1",)]


def test_everything_wrong_is_told_with_its_place_and_nothing_changes(plane: Plane) -> None:
    before = plane.store.revision
    told = plane.rejected(
        overlay.setting("verbosity", ["loud"]),
        overlay.setting("access-control", ["10.0.0.0/8 perhaps"]),
        overlay.setting("do-udp", ["no"]),
        overlay.setting("do-tcp", ["no"]),
    )
    assert [line for line in told if "verbosity" in line] == ['API:5:16: verbosity: "loud" is not a number']
    assert any(line.startswith("API:2:") and "perhaps" in line for line in told)
    assert any(line.startswith("API:") and "UDP and TCP are both switched off" in line for line in told)
    assert plane.store.revision == before
    assert plane.changes.running.config.server.verbosity == 1


def test_what_rust_finds_has_its_place_too(plane: Plane) -> None:
    (told,) = plane.rejected(overlay.setting("private-domain", ["a..b"]))
    assert told.startswith("API:2:")


@pytest.mark.parametrize(
    "value", ["1\n  port: 54", '"1" port: "54', "1\" port: '54", "1 include: /etc/passwd", "\\", "\x00"]
)
def test_a_value_says_one_thing(plane: Plane, value: str) -> None:
    try:
        plan = Plan((overlay.setting("verbosity", [value]),))
    except NotByApi:
        return
    done = plane.changes.edit(BY_TEST, lambda _view: plan)
    found = done.warnings if isinstance(done, Edited) else done.diagnostics
    assert all("verbosity" in item.text and "root" not in item.source for item in found)
    assert plane.changes.running.config.server.port == 53


@pytest.mark.parametrize(
    "name",
    [
        "api-key",
        "state-dir",
        "logfile",
        "root-hints",
        "local-data",
        "fake-sha1",
        "no-such",
        "api-port",
        "audit-log",
        "hsm-uri",
    ],
)
def test_what_the_file_alone_can_say(name: str) -> None:
    with pytest.raises(NotByApi):
        overlay.setting(name, ["1"])


def test_servers_join_those_of_the_file(plane: Plane) -> None:
    plane.edit(upstream("192.0.2.9"))
    assert plane.servers() == ["192.0.2.1", "192.0.2.2@5353", "192.0.2.9@53"]
    plane.edit(upstream("192.0.2.2", port=5353, enabled=False))
    assert plane.servers() == ["192.0.2.1", "192.0.2.9@53"]
    plane.start()
    assert plane.servers() == ["192.0.2.1", "192.0.2.9@53"]
    for entry in plane.store.page("upstream", after=None, limit=9):
        plane.edit(Edit("upstream", entry.key, None))
    assert plane.servers() == ["192.0.2.1", "192.0.2.2@5353"]


def test_servers_make_a_zone_that_the_file_has_not(plane: Plane) -> None:
    plane.edit(upstream("192.0.2.9", "corp.example.", transport="tcp"))
    (zone,) = [zone for zone in plane.changes.running.config.forward_zones if zone.name == "corp.example."]
    assert zone.forward_tcp_upstream
    assert plane.servers("corp.example.") == ["192.0.2.9@53"]


def test_one_zone_has_one_transport(plane: Plane) -> None:
    (told,) = plane.rejected(upstream("192.0.2.9", transport="tcp"))
    assert "is asked over UDP, and its new server over TCP" in told


def test_a_reload_reads_the_file_beneath(plane: Plane) -> None:
    plane.edit(overlay.setting("verbosity", ["3"]), upstream("192.0.2.9"))
    text = FILE.replace("verbosity: 1", "verbosity: 4\n    prefetch: yes")
    plane.file.write_text(text.replace("192.0.2.1", "192.0.2.8"))
    done = plane.changes.reload(BY_TEST)
    assert isinstance(done, Edited)
    assert {item.option for item in done.changes} == {"prefetch", 'forward-zone ".": forward-addr'}
    assert plane.changes.running.config.server.verbosity == 3
    assert plane.servers() == ["192.0.2.8", "192.0.2.2@5353", "192.0.2.9@53"]


def test_a_file_that_no_longer_goes_with_what_was_changed_stops_the_start(plane: Plane) -> None:
    plane.edit(overlay.setting("resolution", ["forward"]))
    plane.file.write_text("server:\n    verbosity: 1\n")
    with pytest.raises(ConfigError) as error:
        plane.start()
    assert "API:2:" in str(error.value)
    plane.file.write_text(FILE)
    plane.start()


def test_a_change_left_behind_is_tried_once(plane: Plane) -> None:
    good = Pending(Note("test", "", "edit"), (overlay.setting("verbosity", ["2"]),))
    bad = Pending(Note("test", "", "edit"), (overlay.setting("prefetch", ["perhaps"]),))
    plane.store.commit([good])
    plane.start()
    assert plane.changes.running.config.server.verbosity == 2
    plane.store.commit([bad])
    plane.start()
    assert plane.changes.running.config.server.verbosity == 2
    assert plane.store.get("setting", b"server/prefetch") is None
    assert plane.engine.said("a change left behind cannot be had")
    assert plane.store.pending == []
