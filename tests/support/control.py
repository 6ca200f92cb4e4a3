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
from runbound.ops.candidate import Candidate
from support.querylog import FakeLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from runbound.config.layers import Above
    from runbound.engine import Delta, Overlay, Scan
    from runbound.ops.candidate import Files

WHERE = Position("test.conf", 1, 1)


def server(**parts: object) -> dict[str, object]:
    """A row of `upstreams()` with these parts changed."""
    return {
        "zone": ".",
        "address": "192.0.2.1@53",
        "transport": "udp",
        "tls_name": None,
        "state": "up",
        "srtt_ms": 12.5,
        "wait_ms": 376,
        "queries": 10,
        "answers": 9,
        "failures": 1,
        "timeouts": 1,
        "wins": 2,
        "last_error": None,
        "retry_in_ms": None,
        **parts,
    }


def step(**parts: object) -> dict[str, object]:
    """A step of an explanation, as the engine tells it."""
    return {
        "at_ms": 0,
        "question": 1,
        "depth": 0,
        "name": "www.example.",
        "type": "A",
        "room": "resolve",
        "what": "asks",
        "text": "→ 192.0.2.1 over UDP",
        "data": {"server": "192.0.2.1@53"},
        **parts,
    }


def link(**parts: object) -> dict[str, object]:
    """A link of the chain of trust, as the engine tells it."""
    return {
        "name": ".",
        "type": None,
        "under": None,
        "security": "secure",
        "by": "anchor",
        "ds": [],
        "keys": [],
        "signature": None,
        "wildcard": None,
        "denies": None,
        "reason": None,
        **parts,
    }


def trusted(**parts: object) -> dict[str, object]:
    """What is trusted and what is excused, as the engine tells it."""
    key = {"algorithm": 8, "algorithm_name": "RSASHA256", "kind": "dnskey", "since": 1_700_000_000}
    follows = {
        "file": "/var/lib/runbound/root.key",
        "last_probe": 1_700_000_000,
        "last_success": 1_700_000_000,
        "next_probe": 1_700_040_000,
        "failed": 0,
        "revoked": False,
    }
    return {
        "validating": True,
        "permissive": False,
        "insecure": ["lan."],
        "anchors": [
            {
                "zone": ".",
                "follows": follows,
                "keys": [{**key, "tag": 20326, "state": "valid"}, {**key, "tag": 38696, "state": "pending"}],
            },
            {
                "zone": "corp.example.",
                "follows": None,
                "keys": [{**key, "tag": 1, "state": "valid", "kind": "ds", "since": 0}],
            },
        ],
        "negative": [],
        **parts,
    }


class FakeEngine(FakeLog):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.documents: list[bytes] = []
        self.refuse: str | None = None
        self.amended: list[tuple[int, int]] = []
        self.reports: list[tuple[str, str]] = []
        self.inherited: tuple[int, ...] = ()
        self.drained = threading.Event()
        self.drain_seconds: float | None = None
        self.dump: list[bytes] = [b"START_RRSET_CACHE\n", b"END_RRSET_CACHE\nSTART_MSG_CACHE\nEND_MSG_CACHE\nEOF\n"]
        self.loaded: list[bytes] = []
        self.silent = False
        self.release = threading.Event()
        self.release.set()
        self.trusted = trusted()
        self.full = False
        self.counters = {"total.num.queries": 7, "total.num.cachehits": 3}
        self.servers = [server(), server(address="192.0.2.2@53", state="down", retry_in_ms=900, last_error="refused")]
        self.answer: dict[str, object] = {
            "rcode": "NOERROR",
            "answer": ["www.example. 300 IN A 192.0.2.1"],
            "authority": [],
            "additional": [],
            "elapsed_us": 1500,
            "from_cache": False,
            "stale": False,
            "authentic": False,
            "security": "unchecked",
            "ede": [],
            "why": None,
        }
        self.explanation: dict[str, object] = {
            "question": "www.example. IN A",
            "elapsed_us": 1500,
            "end": "answered",
            "told": self.answer,
            "steps": [step(room="access", what="access", question=0, text="the client is served"), step()],
            "left_out": 0,
            "chain": [],
        }

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.refuse == name:
            raise EngineError(f"{name} does not work")

    def open_log(self, document: bytes) -> None:
        self._call("open_log")

    def bind(self, document: bytes, inherited: Sequence[int]) -> None:
        self.inherited = tuple(inherited)
        self._call("bind")

    def start(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> None:
        self.documents.append(document)
        self._call("start")

    def amend(self, revision: int, delta: Delta) -> None:
        self._call("amend")
        self.amended.append((revision, len(delta)))

    def apply(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> list[tuple[str, str]]:
        self._call("apply")
        self.documents.append(document)
        return self.reports

    def stats(self) -> dict[str, int]:
        return dict(self.counters)

    def health(self) -> dict[str, int]:
        return {"upstreams_total": 2, "upstreams_healthy": 1, "cache_entries": 5, "cache_bytes": 4096}

    def cache_usage(self) -> dict[str, int]:
        parts = ("entries", "bytes", "limit", "hits", "misses", "evictions")
        found = {f"{kind}.{part}": n for kind in ("message", "rrset") for n, part in enumerate(parts, 1)}
        return {**found, "stale_hits": 9}

    def cache_flush(self, what: str, name: str | None, rtype: str | None) -> int:
        self._call(f"cache_flush {what} {name} {rtype}")
        return 3

    def cache_dump(self, part: int) -> bytes | None:
        self._call(f"cache_dump {part}")
        return self.dump[part] if part < len(self.dump) else None

    def cache_load(self, text: bytes) -> tuple[int, int, int]:
        self._call("cache_load")
        self.loaded.append(text)
        return text.count(b";rrset"), text.count(b"msg "), 0

    def lookup(self, name: str, rtype: str, checking_disabled: bool, timeout_s: float) -> dict[str, object]:
        self._call(f"lookup {name} {rtype} {checking_disabled}")
        self.release.wait(5)
        if self.silent:
            raise TimeoutError
        return {**self.answer, "question": f"{name} IN {rtype}"}

    def trust(self) -> bytes:
        self._call("trust")
        return msgspec.msgpack.encode(self.trusted)

    def excuse(self, name: str, seconds: int, recheck_s: int, reason: str) -> bool:
        self._call(f"excuse {name} {seconds} {recheck_s} {reason}")
        if self.full:
            return False
        row = {"name": name.lower(), "since": 0, "until": seconds, "recheck_s": recheck_s, "reason": reason}
        self.trusted["negative"] = [row]
        return True

    def excuse_no_more(self, name: str) -> bool:
        self._call(f"excuse_no_more {name}")
        found = bool(self.trusted["negative"])
        self.trusted["negative"] = []
        return found

    def explain(
        self,
        name: str,
        rtype: str,
        client: IPv4Address | IPv6Address,
        checking_disabled: bool,
        fresh: bool,
        timeout_s: float,
    ) -> bytes:
        self._call(f"explain {name} {rtype} {client} {checking_disabled} {fresh}")
        self.release.wait(5)
        return msgspec.msgpack.encode(self.explanation)

    def upstreams(self) -> list[dict[str, object]]:
        return self.servers

    def system(self) -> dict[str, int]:
        figures = {"workers": 2, "resident_bytes": 20 << 20, "racing_wins": 4}
        return {**figures, "sockets.udp": 2, "sockets.tcp_listen": 1}

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
        self.above: Above | None = None
        self.remembered: list[tuple[str, bytes]] = []

    def read(self) -> None:
        if isinstance(self.next, Exception):
            raise self.next

    def remember(self, files: Files) -> None:
        self.remembered = list(files)

    def build(self, scan: Scan | None, above: Above | None = None) -> Candidate:
        assert not isinstance(self.next, Exception)
        self.above = above
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
