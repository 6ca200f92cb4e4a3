"""The audit log of a whole process: what lands in it, rotation, a crash, syslog, and what an offline proof says."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.live import KEY, Api
from support.servers import RUNBOUND, Resolver, StartError, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = {"RUNBOUND_API_KEY": KEY, "RUNBOUND_STORE_KEY": "5" * 64, "RUNBOUND_AUDIT_HMAC_KEY": "a" * 64}
RECORD = {"name": "nas.home.arpa.", "type": "A", "value": "192.0.2.7"}


@contextmanager
def running(folder: Path, more: str = "", env: dict[str, str] | None = None) -> Iterator[Api]:
    """A resolver on the state of that folder."""
    port = free_port()
    body = f"    api-port: {port}\n    local-zone: test. static\n{more}"
    with Resolver(body, folder, env={**SECRETS, **(env or {})}) as resolver:
        yield Api(resolver, port)


def verify(*words: object) -> subprocess.CompletedProcess[str]:
    """`runbound audit verify`, without any resolver."""
    command = [str(word) for word in (RUNBOUND, "audit", "verify", *words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **SECRETS})


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def until(path: Path, text: str) -> str:
    """What stands in a file once it has that text."""
    end = time.monotonic() + 10
    while text not in (seen := path.read_text() if path.exists() else ""):
        assert time.monotonic() < end, seen
        time.sleep(0.02)
    return seen


def test_who_did_what_is_written_and_proven_without_the_resolver(tmp_path: Path) -> None:
    log, state = tmp_path / "state" / "audit.log", tmp_path / "state"
    with running(tmp_path) as api:
        made = api.made("/dns?reason=a+test", RECORD)
        api.call("POST", "/cache/flush", {"what": "all"})
        for _ in range(5):
            refused = api.open("GET", "/stats", Authorization="Bearer " + "x" * 40)
            assert refused.status in (401, 429)
        user = api.made("/users", {"name": "carol", "role": "read"})
        api.resolver.signal(signal.SIGHUP)
        until(log, '"config.reload"')
        api.call("POST", "/audit/verify")
    found = entries(log)
    events = [line["event"] for line in found]
    assert events[0] == "service.start"
    assert events[-2:] == ["service.stop", "checkpoint"]
    added = next(line for line in found if line["event"] == "record.add")
    assert added["actor"] == "api-key"
    assert added["fields"]["name"] == RECORD["name"]
    assert (added["fields"]["method"], added["fields"]["reason"]) == ("POST", "a test")
    assert made["revision"] == added["fields"]["revision"]
    assert "user.add" in events
    failures = [line["fields"]["count"] for line in found if line["event"] == "auth.failure"]
    assert 2 <= sum(failures) <= 5
    assert user["secret"] not in log.read_text()
    assert KEY not in log.read_text()
    done = verify(log, "--state", state)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "proven: every entry is as it was written" in done.stdout
    assert f"its end agrees with the state in {state}" in done.stdout


def test_rotation_and_a_crash_lose_and_double_nothing(tmp_path: Path) -> None:
    log, old = tmp_path / "state" / "audit.log", tmp_path / "state" / "audit.log.1"
    with running(tmp_path) as api:
        api.made("/dns", RECORD)
        until(log, "record.add")
        log.rename(old)
        api.resolver.signal(signal.SIGUSR1)
        end = time.monotonic() + 10
        while not log.exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        api.made("/blacklist", {"name": "ads.example."})
        api.resolver.signal(signal.SIGKILL)
        api.resolver.process.wait()
    with running(tmp_path) as api:
        api.made("/dns", {**RECORD, "value": "192.0.2.8"})
    starts = [line["fields"]["before"] for line in [*entries(old), *entries(log)] if line["event"] == "service.start"]
    assert starts == ["none", "died"]
    done = verify(log, old, "--state", tmp_path / "state")
    assert done.returncode == 0, done.stdout + done.stderr
    assert verify(old, "--state", tmp_path / "state").returncode == 1


def test_an_edit_is_named_with_its_line(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        api.made("/dns", RECORD)
    log = tmp_path / "state" / "audit.log"
    lines = log.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines, 1) if "record.add" in line)
    log.write_text("".join(lines).replace("nas.home.arpa.", "nas.evil.test."))
    done = verify(log)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{log}:{place}: edited: entry {place} was changed")
    log.write_text("".join([*lines[: place - 1], *lines[place:]]))
    assert verify(log).stdout.startswith(f"{log}:{place}: removed: entry {place} is missing")
    log.write_text("".join(lines[:-1]))
    assert f"{log}:{len(lines)}: truncated:" in verify(log, "--state", tmp_path / "state").stdout


def test_a_state_put_back_is_refused_because_of_the_file(tmp_path: Path) -> None:
    elsewhere = f"    audit-log-path: {tmp_path}/elsewhere.log\n"
    state = tmp_path / "state"
    with running(tmp_path, elsewhere):
        pass
    early = {path: path.read_bytes() for path in (state / "state.db", state / "state.mac")}
    with running(tmp_path, elsewhere) as api:
        api.made("/dns", RECORD)
    for path, content in early.items():
        path.write_bytes(content)
    for path in state.glob("state.db-*"):
        path.unlink()
    with pytest.raises(StartError, match="put back to an earlier day"), running(tmp_path, elsewhere):
        pass
    (tmp_path / "elsewhere.log").rename(tmp_path / "kept.log")
    with running(tmp_path, elsewhere) as api:
        assert api.call("GET", "/dns")["total"] == 0


def test_syslog_has_each_line_and_it_is_proven_too(tmp_path: Path) -> None:
    path = tmp_path / "syslog"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(10)
        with running(tmp_path, "    audit-log-syslog: yes\n", {"RUNBOUND_SYSLOG_SOCKET": str(path)}) as api:
            api.made("/dns", RECORD)
        messages: list[str] = []
        while not messages or '"checkpoint"' not in messages[-1]:
            messages.append(daemon.recv(65536).decode())
    sent = tmp_path / "messages"
    sent.write_text("".join(f"Nov 23 20:00:00 host {message.split('>', 1)[1]}\n" for message in messages))
    done = verify(sent, "--forwarded", "--state", tmp_path / "state")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_tampered_table_stops_the_start_or_is_named(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        api.made("/dns", RECORD)
    with sqlite3.connect(tmp_path / "state" / "state.db") as db:
        db.execute("UPDATE audit SET line = replace(line, 'record.add', 'record.del') WHERE line LIKE '%record.add%'")
    db.close()
    try:
        with running(tmp_path) as api:
            found = api.call("POST", "/audit/verify")
            assert found["fault"]["kind"] == "edited"
    except StartError as error:
        assert "audit" in str(error)  # noqa: PT017  # either way it is found
