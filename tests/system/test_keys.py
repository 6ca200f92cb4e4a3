"""The keys of the state in a whole process: where they lie, and what a start without the right one does."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from support.live import KEY, Api, body_of
from support.servers import Resolver, StartError, free_port

SECRET = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


class Machine:
    """A folder in which one resolver after the other runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    def resolver(self, store_key: str | None = SECRET) -> Resolver:
        given = {} if store_key is None else {"RUNBOUND_STORE_KEY": store_key}
        return Resolver(body_of(self.port, free_port()), self.folder, env={"RUNBOUND_API_KEY": KEY, **given})

    def excused(self, resolver: Resolver) -> dict[str, int]:
        """The names that are not validated, and until when."""
        found = Api(resolver, self.port).call("GET", "/dnssec/negative-anchors")["negative_anchors"]
        return {row["name"]: row["until"] for row in found}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One that has excused two names, the first for a second only."""
    made = Machine(tmp_path)
    with made.resolver() as resolver:
        api = Api(resolver, made.port)
        api.made("/dnssec/negative-anchors", {"name": "short.test", "seconds": 1, "reason": "a moment"})
        api.made("/dnssec/negative-anchors", {"name": "long.test", "seconds": 600, "reason": "keys rolled"})
    return made


def test_what_is_excused_stays_so_for_what_is_left_of_its_time(machine: Machine) -> None:
    begun = time.time()
    with machine.resolver() as resolver:
        found = machine.excused(resolver)
        time.sleep(max(0.0, 1.1 - (time.time() - begun)))
    assert set(found) <= {"short.test.", "long.test."}
    assert begun + 500 < found["long.test."] < begun + 601
    with machine.resolver() as resolver:
        assert set(machine.excused(resolver)) == {"long.test."}
        Api(resolver, machine.port).open("DELETE", "/dnssec/negative-anchors/long.test").close()
    with machine.resolver() as resolver:
        assert machine.excused(resolver) == {}


@pytest.mark.parametrize("key", [None, OTHER])
def test_a_state_is_not_opened_without_its_key(machine: Machine, key: str | None) -> None:
    with pytest.raises(StartError) as caught:
        machine.resolver(key).stop()
    assert "RUNBOUND_STORE_KEY" in str(caught.value)
    assert SECRET not in str(caught.value)
    with machine.resolver() as resolver:
        assert "long.test." in machine.excused(resolver)


def test_a_poor_key_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="RUNBOUND_STORE_KEY: a secret of 5 octets is too short"):
        Machine(tmp_path).resolver("short").stop()


def test_without_a_key_it_is_said_once(tmp_path: Path) -> None:
    with Machine(tmp_path).resolver(None) as resolver:
        assert resolver.log().count("RUNBOUND_STORE_KEY is not set") == 1


def test_keys_lie_in_locked_memory_that_no_dump_shows(machine: Machine) -> None:
    with machine.resolver() as resolver:
        Api(resolver, machine.port)
        maps = Path(f"/proc/{resolver.process.pid}/smaps").read_text()
    flags = [set(line.split()[1:]) for line in re.findall(r"^VmFlags:.*", maps, re.MULTILINE)]
    assert len([one for one in flags if {"lo", "dd"} <= one]) >= 2, "the store key and the audit key at least"
