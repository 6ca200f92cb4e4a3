"""The audit log of a running resolver: from the table of the state to file, syslog and journal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from runbound.engine import verify_signature
from runbound.ops import outlets, sinks
from runbound.ops.audit import Audit
from runbound.ops.logging import ControlLog
from runbound.state import proof
from runbound.state.database import StateTamperedError
from runbound.state.entries import Event
from runbound.state.proof import Expected, FileSource
from support.control import server_config
from support.servers import ROOT
from support.stores import Opener, keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runbound.config.model import Config
    from runbound.state.store import Store


class Bench:
    """An audit log over a real store, with a configuration that can change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opener = Opener(folder)
        self.lines: list[tuple[str, str]] = []
        self.config: Config = server_config()
        self.path = folder / "audit.log"
        self.store: Store
        self.audit: Audit

    def open(self) -> Audit:
        self.store = self.opener()
        log = ControlLog(lambda level, text: self.lines.append((level, text)))
        self.audit = Audit.open(self.store, keys().audit, str(self.folder), self.config, str, None, log)
        return self.audit

    def start(self) -> Audit:
        self.open().start(lambda: self.config, file="runbound.conf", revision=3)
        return self.audit

    def set(self, **options: Any) -> None:
        self.config = msgspec.structs.replace(
            self.config, server=msgspec.structs.replace(self.config.server, **options)
        )

    def stop(self, reason: str = "SIGTERM") -> None:
        self.audit.stop(reason)
        self.opener.close()

    def written(self, path: Path | None = None) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (path or self.path).read_text().splitlines()]

    def lives(self) -> list[str]:
        """How the life before each start ended."""
        return [line["fields"]["before"] for line in self.written() if line["event"] == "service.start"]

    def until(self, seq: int, name: str = "file") -> None:
        """Waits until a sink has that entry."""
        end = time.monotonic() + 10
        while not any(found.name == name and found.seq >= seq for found in self.audit.states()):
            assert time.monotonic() < end, (self.audit.states(), self.lines)
            time.sleep(0.01)

    def verify(self, *files: Path) -> proof.Report:
        """Of files in their order, against what the state ends with."""
        store = self.opener()
        expected = Expected(*store.audit_head, "the state", newest=True)
        sources = [FileSource(str(path)) for path in files or (self.path,)]
        return proof.verify(sources, keys=[keys().audit], verify_signature=verify_signature, expected=expected)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.opener.close()


def test_a_life_from_start_to_stop_is_written_and_proven(bench: Bench) -> None:
    bench.start()
    bench.audit.record("cache.flush", "alice", what="all", removed=3)
    bench.stop()
    first, second, third, last = bench.written()
    assert (first["event"], first["actor"]) == ("service.start", "runbound")
    assert first["fields"]["before"] == "none"
    assert first["fields"]["revision"] == 3
    assert (second["event"], second["actor"]) == ("cache.flush", "alice")
    assert second["fields"] == {"what": "all", "removed": 3}
    assert (third["event"], third["fields"]) == ("service.stop", {"reason": "SIGTERM"})
    assert last["event"] == "checkpoint"
    assert last["fields"]["count"] == 3
    assert bench.verify().ok


def test_the_next_start_says_how_the_last_life_ended(bench: Bench) -> None:
    bench.start()
    bench.stop()
    bench.start()
    bench.stop()
    assert bench.lives() == ["none", "stopped"]
    assert bench.verify().ok


def test_rotation_keeps_the_chain(bench: Bench) -> None:
    bench.start()
    bench.until(1)
    moved = bench.folder / "audit.log.1"
    bench.path.rename(moved)
    bench.audit.record("before.reopening", "alice")
    bench.until(2)
    bench.audit.reopen()
    end = time.monotonic() + 10
    while not bench.path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    bench.audit.record("after.reopening", "alice")
    bench.stop()
    assert [line["event"] for line in bench.written(moved)] == ["service.start", "before.reopening"]
    assert [line["seq"] for line in bench.written()] == [3, 4, 5]
    assert bench.verify(moved, bench.path).ok
    report = bench.verify()
    assert report.ok
    assert report.first == 3


def test_checkpoints_come_as_often_as_configured_and_at_the_end(bench: Bench) -> None:
    bench.set(audit_checkpoint_every=5)
    bench.start()
    for number in range(12):
        bench.audit.record("a.b", "alice", number=number)
    bench.stop()
    events = [line["event"] for line in bench.written()]
    assert [place for place, event in enumerate(events, 1) if event == "checkpoint"] == [6, 12, 17]
    assert bench.verify().checkpoints == 3


def test_another_path_and_none_at_all(bench: Bench) -> None:
    bench.start()
    bench.until(1)
    other = bench.folder / "elsewhere.log"
    bench.set(audit_log_path=str(other))
    bench.audit.record("a.b", "alice")
    end = time.monotonic() + 10
    while not other.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    bench.until(2)
    bench.set(audit_log=False)
    while bench.store.audit_every is not None:
        assert time.monotonic() < end
        time.sleep(0.01)
    bench.audit.record("not.written", "alice")
    bench.stop()
    events = [line["event"] for line in bench.written(bench.path)] + [line["event"] for line in bench.written(other)]
    assert [event for event in events if event != "a.b"] == ["service.start", "audit.off"]


def test_a_file_that_cannot_be_written_is_told_and_caught_up_with(bench: Bench) -> None:
    folder = bench.folder / "missing"
    bench.set(audit_log_path=str(folder / "audit.log"))
    bench.start()
    bench.audit.record("a.b", "alice")
    assert [level for level, text in bench.lines if "audit log: a line could not" in text] == ["warning"]
    (state,) = bench.audit.states()
    assert state.error == "No such file or directory"
    folder.mkdir()
    bench.stop()
    bench.start()
    bench.stop()
    assert [line["seq"] for line in bench.written(folder / "audit.log")] == list(range(1, 8))


def test_syslog_and_the_journal_get_what_happens_from_then_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start()
    bench.stop()
    names = {sinks.SYSLOG_VARIABLE: bench.folder / "log", sinks.JOURNAL_VARIABLE: bench.folder / "journal"}
    daemons = []
    for name, path in names.items():
        monkeypatch.setenv(name, str(path))
        daemons.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        daemons[-1].bind(str(path))
        daemons[-1].settimeout(10)
    bench.set(audit_log_syslog=True, audit_log_journald=True)
    bench.start()
    bench.stop()
    got = [[daemon.recv(65536).decode() for _ in range(3)] for daemon in daemons]
    for daemon in daemons:
        daemon.close()
    assert [json.loads(message.split(": ", 1)[1])["seq"] for message in got[0]] == [4, 5, 6]
    assert ["RUNBOUND_AUDIT_SEQ=4\n" in got[1][0], "RUNBOUND_AUDIT_SEQ=6\n" in got[1][2]] == [True, True]


def test_a_crash_before_the_first_note_costs_a_new_sink_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sinks.SYSLOG_VARIABLE, str(bench.folder / "nobody"))
    bench.set(audit_log_syslog=True)
    bench.open()
    bench.store.record(Event("a.b", "alice"), wait=True)  # and the thread never comes to it
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(bench.folder / "nobody"))
        daemon.settimeout(10)
        bench.start()
        bench.stop()
        assert '"event":"a.b"' in daemon.recv(65536).decode()


def test_a_dead_syslog_holds_up_neither_the_file_nor_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sinks.SYSLOG_VARIABLE, str(bench.folder / "nobody"))
    bench.set(audit_log_syslog=True)
    bench.start()
    bench.until(1)
    begin = time.monotonic()
    bench.stop()
    assert time.monotonic() - begin < outlets.STOP_SECONDS
    assert [line["seq"] for line in bench.written()] == [1, 2, 3]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(bench.folder / "nobody"))
        bench.start()
        bench.stop()
        got = [json.loads(daemon.recv(65536).decode().split(": ", 1)[1])["seq"] for _ in range(6)]
    assert got == [1, 2, 3, 4, 5, 6], "what it missed comes later"


def test_failed_authentication_cannot_fill_the_log(bench: Bench) -> None:
    bench.start()
    for _ in range(1000):
        bench.audit.record("auth.failure", "stranger", address="192.0.2.1", why="wrong-key", path="/dns")
    bench.stop()
    failures = [line["fields"] for line in bench.written() if line["event"] == "auth.failure"]
    assert failures[0] == {"address": "192.0.2.1", "why": "wrong-key", "path": "/dns", "count": 1}
    assert [found["count"] for found in failures] == [1, 999]


def test_a_state_put_back_to_an_earlier_day_is_found_by_the_file(bench: Bench) -> None:
    bench.start()
    bench.stop()
    early = {name: (bench.folder / name).read_bytes() for name in ("state.db", "state.mac")}
    bench.start()
    bench.stop()
    for name, content in early.items():
        (bench.folder / name).write_bytes(content)
    for left_over in bench.folder.glob("state.db-*"):
        left_over.unlink()
    with pytest.raises(StateTamperedError, match="knows entry 6, and the state ends with entry 3"):
        bench.open()
    bench.path.unlink()
    bench.start()
    bench.stop()
    assert [line["seq"] for line in bench.written()][-1] == 6


def test_another_history_than_the_files_is_found(bench: Bench) -> None:
    bench.start()
    bench.stop()
    for name in ("state.db", "state.mac", outlets.MARKS_NAME):
        (bench.folder / name).unlink()
    store = bench.opener()
    for number in range(9):
        store.record(Event("other", "mallory", {"number": number}), wait=True)
    with pytest.raises(StateTamperedError, match="another entry 3"):
        bench.open()


def test_an_edited_file_is_told_and_the_record_goes_on(bench: Bench) -> None:
    bench.start()
    bench.stop()
    text = bench.path.read_text()
    bench.path.write_text(text.replace('"event":"checkpoint"', '"event":"checkpaint"'))
    bench.start()
    bench.stop()
    assert any("is not what was written there" in line for level, line in bench.lines if level == "error")
    fault = bench.verify().fault
    assert fault is not None
    assert (fault.kind, fault.line, fault.seq) == ("edited", 3, 3)
    assert [line["seq"] for line in bench.written()] == [1, 2, 3, 4, 5, 6]


CHILD = """
import os, sys, threading, time
from pathlib import Path
from tests_bench import Bench
bench = Bench(Path(sys.argv[1]))
bench.set(audit_checkpoint_every=50, audit_log_syslog=True)
bench.open()
before = bench.store.audit_head[0]
bench.audit.start(lambda: bench.config, file="runbound.conf", revision=3)
while bench.store.audit_head[0] == before:
    time.sleep(0.001)
print("ready", flush=True)
number = 0
while True:
    bench.audit.record("a.b", "alice", number=number)
    number += 1
    if number % 5 == 0:
        time.sleep(0.001)
"""


def test_killed_at_any_moment_the_file_has_each_line_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "tests_bench.py").write_text("from unit.ops.test_audit import Bench\n")
    path = tmp_path / "log"
    environ = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'python'}:{ROOT / 'tests'}:{tmp_path / 'modules'}",
        sinks.SYSLOG_VARIABLE: str(path),
    }
    sent: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.setblocking(False)

        def take() -> None:
            while True:
                try:
                    sent.append(json.loads(daemon.recv(65536).decode().split(": ", 1)[1])["seq"])
                except BlockingIOError:
                    return

        for round_ in range(6):
            command = [sys.executable, "-c", CHILD, str(tmp_path)]
            with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, cwd=tmp_path) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == b"ready\n"
                end = time.monotonic() + 0.1 + 0.07 * round_
                while time.monotonic() < end:
                    take()
                    time.sleep(0.002)
                child.send_signal(signal.SIGKILL)
            take()
        monkeypatch.setenv(sinks.SYSLOG_VARIABLE, str(path))
        bench.set(audit_log_syslog=True)
        bench.start()
        end = time.monotonic() + 10
        while bench.audit.states()[1].behind and time.monotonic() < end:
            take()
            time.sleep(0.002)
        bench.stop()
        take()
    report = bench.verify()
    assert report.ok, report.fault
    assert report.entries == report.last
    assert report.entries > 20
    assert bench.lives() == ["none", *["died"] * 6]
    assert sorted(set(sent)) == list(range(1, report.entries + 1))
