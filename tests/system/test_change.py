"""Changes by API against a whole process: options over the file, the way back, restarts, a state somebody changed."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import dns.message
import pytest

from support.live import KEY, Api
from support.packets import Ask, exchange
from support.servers import ROOT, RUNBOUND, Process, Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRONMENT = {"RUNBOUND_API_KEY": KEY, "RUNBOUND_STORE_KEY": "5" * 64}


class Machine:
    """One resolver after another over the same file and state."""

    def __init__(self, folder: Path, state: str = "state-dir: {folder}/kept") -> None:
        self.port = free_port()
        self.body = f'    api-port: {self.port}\n    {state}\n    local-data: "file.example. A 192.0.2.1"\n'
        self.resolver = Resolver(self.body, folder, env=ENVIRONMENT)
        self.api = Api(self.resolver, self.port)

    def restart(self) -> None:
        """Ends it and starts it anew."""
        self.resolver.stop()
        command: list[str | Path] = [RUNBOUND, "-d", "-c", self.resolver.conf]
        Process.__init__(self.resolver, command, self.resolver.folder, ENVIRONMENT)
        self.resolver._wait(None)
        self.api = Api(self.resolver, self.port)

    def option(self, name: str) -> tuple[Any, list[str]]:
        """The value of an option, and who said it."""
        (found,) = [row for row in self.api.call("GET", "/config")["options"] if row["option"] == name]
        return found["value"], [origin["kind"] for origin in found["origin"]]

    def address(self, name: str) -> str:
        """What a name is answered with."""
        reply = exchange(Ask(name, "A"), self.resolver.at)
        assert reply is not None
        return " ".join(rrset.to_text() for rrset in dns.message.from_wire(reply).answer)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.resolver.stop()


def test_an_option_set_by_api_is_live_and_stays(machine: Machine) -> None:
    assert machine.option("cache-max-ttl") == (86400, ["default"])
    tried = machine.api.call("PATCH", "/config?dry_run=1", {"server": {"cache-max-ttl": 600, "num-threads": 2}})
    assert tried["dry_run"]
    assert {(row["option"], row["effect"]) for row in tried["changes"]} == {
        ("cache-max-ttl", "live"),
        ("num-threads", "restart"),
    }
    assert machine.option("cache-max-ttl") == (86400, ["default"])
    done = machine.api.call("PATCH", "/config?reason=shorter", {"server": {"cache-max-ttl": 600}})
    assert done["diff"] == ["+ cache-max-ttl: 600"]
    machine.restart()
    assert machine.option("cache-max-ttl") == (600, ["api"])
    newest = machine.api.call("GET", "/config/history")["items"][0]
    assert (newest["revision"], newest["reason"], newest["status"]) == (done["revision"], "shorter", "applied")
    assert "cache-max-ttl: 600" in machine.api.open("GET", "/config/export").read().decode()
    (laid,) = machine.api.call("GET", "/config/diff")["options"]
    assert laid == {"option": "cache-max-ttl", "file": 86400, "value": 600}
    machine.api.call("PATCH", "/config", {"server": {"cache-max-ttl": None}})
    assert machine.option("cache-max-ttl") == (86400, ["default"])


def test_what_the_file_could_not_say_is_refused_with_its_place(machine: Machine) -> None:
    body = {"server": {"cache-max-ttl": "long", "access-control": ["10.0.0.0/33 allow"]}}
    told = machine.api.call("PATCH", "/config", body, 422)
    assert told["code"] == "CONFIG_INVALID"
    assert {row["file"] for row in told["diagnostics"] if row["severity"] == "error"} == {"API"}
    told = machine.api.call("PATCH", "/config", {"server": {"access-control": ["10.0.0.0/33 allow"]}}, 422)
    assert [(row["file"], row["line"]) for row in told["diagnostics"] if row["severity"] == "error"] == [("API", 2)]
    assert machine.option("access-control") == ([], ["default"])


def test_the_way_back_includes_the_file(machine: Machine) -> None:
    begun = machine.api.call("GET", "/config/history")["items"][0]["revision"]
    machine.api.made("/dns", {"name": "api.example", "type": "A", "value": "192.0.2.7"})
    machine.resolver.write(machine.body.replace("192.0.2.1", "192.0.2.2"))
    machine.api.call("POST", "/reload")
    assert "192.0.2.2" in machine.address("file.example")
    assert "192.0.2.7" in machine.address("api.example")
    done = machine.api.call("POST", f"/config/rollback/{begun}")
    assert done["pinned"] == begun
    assert done["summary"] == {"record": {"removed": 1}}
    for again in (False, True):
        if again:
            machine.restart()
        assert "192.0.2.1" in machine.address("file.example")
        assert "192.0.2.7" not in machine.address("api.example")
        assert machine.api.call("GET", "/config/diff")["file_differs"]
    machine.api.call("POST", f"/config/rollback/{done['revision'] - 1}")
    assert "192.0.2.7" in machine.address("api.example")
    machine.api.call("POST", "/reload")
    assert "192.0.2.2" in machine.address("file.example")
    assert machine.api.call("GET", "/config")["pinned"] is None


def test_a_change_that_nobody_confirms_is_taken_back(machine: Machine) -> None:
    kept = machine.api.call("PATCH", "/config?confirm_within=60", {"server": {"cache-max-ttl": 500}})
    machine.api.call("POST", "/config/confirm", {"token": kept["confirm"]})
    machine.api.call("PATCH", "/config?confirm_within=5", {"server": {"cache-max-ttl": 400}})
    assert machine.option("cache-max-ttl")[0] == 400
    end = time.monotonic() + 20
    while machine.option("cache-max-ttl")[0] != 500:
        assert time.monotonic() < end
        time.sleep(0.2)
    machine.api.call("PATCH", "/config?confirm_within=3600", {"server": {"cache-max-ttl": 400}})
    machine.resolver.process.kill()
    machine.restart()
    assert machine.option("cache-max-ttl")[0] == 500


def test_what_the_guide_types_does_what_it_says(machine: Machine) -> None:
    page = (ROOT / "docs" / "how-to" / "change-and-undo.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    runbound (.*)$", page, re.MULTILINE)
    assert len(lines) >= 6
    machine.api.call("PATCH", "/config", {"server": {"cache-max-ttl": 500}})
    revision = machine.api.call("GET", "/config/history")["items"][0]["revision"]
    token = ""
    for line in [*lines, "config show", "config diff", "config export", "config unset cache-max-ttl", "config reload"]:
        words = shlex.split(line.replace(" 17", f" {revision}"))
        words = [token if word == "pVx0M3T4g0WmQqgqk3m3uA" else word for word in words]
        command = [str(RUNBOUND), *words, "-c", str(machine.resolver.conf)]
        typed = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
        assert typed.returncode == 0, (line, typed.stdout, typed.stderr)
        token = (re.findall(r"runbound config confirm (\S+)", typed.stdout) or [token])[-1]
    assert machine.option("access-control") == (["192.168.7.0/24 allow"], ["api"])
    assert machine.option("cache-max-ttl") == (86400, ["default"])


def test_a_state_that_somebody_changed_is_never_served(machine: Machine) -> None:
    machine.api.made("/dns", {"name": "api.example", "type": "A", "value": "192.0.2.7"})
    machine.resolver.stop()
    with sqlite3.connect(machine.resolver.folder / "kept" / "state.db") as db:
        db.execute("UPDATE entries SET doc = replace(doc, '192.0.2.7', '192.0.2.8')")
    db.close()
    command = [str(RUNBOUND), "-d", "-c", str(machine.resolver.conf)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert "state.db" in ended.stderr
    assert "help: " in ended.stderr
    assert "runbound store verify" in ended.stderr


def test_without_a_state_the_file_alone_rules(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    made = Machine(tmp_path, state="")
    try:
        told = made.api.call("PATCH", "/config", {"server": {"cache-max-ttl": 500}}, 503)
        assert told["code"] == "STATE_UNAVAILABLE"
        made.resolver.write(made.body.replace("192.0.2.1", "192.0.2.2"))
        made.api.call("POST", "/reload")
        assert "192.0.2.2" in made.address("file.example")
    finally:
        made.resolver.stop()
