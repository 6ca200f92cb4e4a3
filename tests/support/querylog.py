"""A query log of a fake engine: entries in a list. Owns no test."""

import json
from typing import Any

import msgspec

from runbound.engine import EngineError


def row(**parts: object) -> dict[str, Any]:
    """A row of a list of clients or names, as the engine makes it."""
    return {
        "queries": 12.5,
        "error": 0.0,
        "failed": 1.0,
        "actions": {"cached": 11.5, "resolved": 1.0},
        "since": "2026-11-23T20:15:38.000001Z",
        "last": "2026-11-23T20:16:38.000001Z",
        **parts,
    }


class FakeLog:
    """What an engine keeps of queries. A filter looks at `client`, `before` and `after` alone, and is remembered."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.wanted: list[dict[str, Any]] = []
        self.stuck = False
        self.blind = False
        self.top: dict[str, list[dict[str, Any]]] = {
            "all": [row(name="www.example.")],
            "blocked": [row(name="ads.example.")],
            "failed": [],
        }
        self.clients = [row(client="192.0.2.7"), row(client="2001:db8::1")]

    def ask(self, name: str | None, **parts: object) -> None:
        """A query is answered."""
        entry = {
            "seq": len(self.entries) + 1,
            "time": "2026-11-23T20:15:38.123456Z",
            "client": "192.0.2.7",
            "name": name,
            "type": "A",
            "class": "IN",
            "action": "cached",
            "rcode": "NOERROR",
            "latency_us": 12,
            "transport": "udp",
            "origin": "cache",
            "security": "secure",
            "size": 44,
        }
        self.entries.append({**entry, **parts})

    def _found(self, packed: bytes) -> list[dict[str, Any]]:
        wanted = msgspec.msgpack.decode(packed)
        self.wanted.append(wanted)
        before, after, client = wanted.get("before") or 2**62, wanted.get("after", 0), wanted.get("client")
        return [e for e in self.entries if after < e["seq"] < before and client in (None, e["client"])]

    def query_log(self, wanted: bytes, limit: int) -> bytes:
        found = self._found(wanted)[::-1]
        following = str(found[limit - 1]["seq"]) if len(found) > limit else None
        return json.dumps({"items": found[:limit], "next": following, "total": len(found)}).encode()

    def query_log_tail(self, wanted: bytes, limit: int) -> tuple[int, int, bytes]:
        if self.blind:
            raise EngineError("a worker does not answer")
        found = self._found(wanted)
        end = min(len(self.entries), (self.wanted[-1].get("before") or 2**62) - 1)
        shown = found[max(0, len(found) - limit) :]
        return end, len(found) - len(shown), json.dumps(shown, separators=(",", ":")).encode()

    def query_log_erase(self, client: str | None) -> dict[str, int]:
        before = len(self.entries)
        self.entries = [e for e in self.entries if client not in (None, e["client"])]
        if self.stuck:
            raise EngineError("query-log-file: the disk is full")
        return {"ring": before - len(self.entries), "lists": 1, "file": 0}

    def top_names(self, kind: str, limit: int) -> bytes:
        return json.dumps(self.top[kind][:limit]).encode()

    def top_clients(self, client: str | None, limit: int) -> bytes:
        return json.dumps([r for r in self.clients if client in (None, r["client"])][:limit]).encode()
