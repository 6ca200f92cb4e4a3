"""A fake engine and a fake configuration source, for tests of the control plane without a data plane.

Owns what they remember; they must never open a socket or read a file.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from runbound.config.diagnostics import Diagnostic
from runbound.config.model import Config, Entry, Position
from runbound.engine import EngineError
from runbound.ops.change import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbound.engine import Scan

WHERE = Position("test.conf", 1, 1)


class FakeEngine:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.documents: list[bytes] = []
        self.refuse: str | None = None
        self.reports: list[tuple[str, str]] = []
        self.inherited: tuple[int, ...] = ()
        self.drained = threading.Event()
        self.drain_seconds: float | None = None

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.refuse == name:
            raise EngineError(f"{name} does not work")

    def open_log(self, document: bytes) -> None:
        self._call("open_log")

    def bind(self, document: bytes, inherited: Sequence[int]) -> None:
        self.inherited = tuple(inherited)
        self._call("bind")

    def start(self, document: bytes, scan: Scan | None) -> None:
        self.documents.append(document)
        self._call("start")

    def apply(self, document: bytes, scan: Scan | None) -> list[tuple[str, str]]:
        self._call("apply")
        self.documents.append(document)
        return self.reports

    def stats(self) -> dict[str, int]:
        return {"total.num.queries": 7, "total.num.cachehits": 3}

    def health(self) -> dict[str, int]:
        return {"upstreams_total": 2, "upstreams_healthy": 1, "cache_entries": 5, "cache_bytes": 4096}

    def listening(self) -> list[str]:
        return ["127.0.0.1@5335"]

    def log(self, level: str, text: str) -> None:
        self.lines.append((level, text))

    def reopen_log(self) -> None:
        self._call("reopen_log")

    def drain(self, seconds: float) -> None:
        self.drain_seconds = seconds
        self._call("drain")
        self.drained.wait(seconds)

    def stop(self) -> None:
        self._call("stop")

    def said(self, part: str) -> bool:
        """Whether some log line contains this."""
        return any(part in text for _, text in self.lines)


class FakeSource:
    """Gives out what `next` holds."""

    def __init__(self, config: Config, path: str = "/nonexistent/test.conf") -> None:
        self.path = path
        self.next: Candidate | Exception = Candidate(config, ())

    def load(self) -> Candidate:
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def document(self, config: Config, revision: int) -> bytes:
        return document(config, revision)


def server_config(given: Sequence[str] = (), **options: Any) -> Config:
    """A configuration with these options of `server:`; those in `options` count as standing in the file."""
    names = [*given, *(name.replace("_", "-") for name in options)]
    config = Config(places={("server", name): (WHERE,) for name in names})
    return msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **options))


def entry(*values: str) -> Entry:
    """One value of a list option."""
    return Entry(values, WHERE)


def wrong(text: str = "this is wrong", severity: Any = "error") -> Diagnostic:
    """A diagnostic with a place."""
    return Diagnostic(severity, "test.conf", 3, 5, 4, text, "do it so", "    port: x")


def document(config: Config, revision: int) -> bytes:
    """A document that says which revision it is."""
    return f"revision {revision}".encode()


def send(number: signal.Signals) -> None:
    """A signal to this process; blocked ones wait for whoever asks."""
    signal.raise_signal(number)
