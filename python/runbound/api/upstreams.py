"""The servers that questions go to, as every part of the API shows them.

One reading of the engine's rows, so that `/upstreams`, `/health`, `/metrics` and the stream cannot differ, and of where
each server was said: in the file or by API. It must never ask an upstream server anything.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

import msgspec
from pydantic import BaseModel, Field

from runbound.api.paging import Items
from runbound.config.layers import ABOVE
from runbound.config.model import Config, Position
from runbound.config.values import canonical_name
from runbound.engine.compile import split_forward
from runbound.state.entries import StoredEntry

State = Literal["unknown", "up", "down"]
Transport = Literal["udp", "tcp", "dot", "doh", "doq"]

ID_BYTES: Final = 8
"""Octets of an id: two servers of one resolver do not meet by chance."""
DOMAIN: Final = 53
"""The port of name servers."""


class Upstream(BaseModel):
    """One server of one zone."""

    id: str = Field(description="Stable: made of zone, address, transport and TLS name", examples=["5f2b0c61d0e7a944"])
    zone: str = Field(description="The forward zone it serves", examples=["."])
    address: str = Field(examples=["192.0.2.1@53"])
    transport: str = Field(description="`udp` or `tcp`", examples=["udp"])
    tls_name: str | None = Field(description="Name its certificate must have")
    enabled: bool = Field(default=True, description="False: it is left alone until somebody enables it")
    origin: Literal["file", "api", "system"] = Field(
        default="file", description="Where it was said; `system`: found out, as `resolv-fallback` does"
    )
    file: str | None = Field(default=None, description="The file in which it stands")
    line: int | None = None
    comment: str | None = None
    revision: int | None = Field(default=None, description="Of one that came by API: what wrote it last")
    state: State = Field(
        description="`up`: it answered; `down`: it is left alone for a while; `unknown`: not asked yet"
    )
    rtt_ms: float | None = Field(description="Smoothed time of its answers; null before the first")
    timeout_ms: int = Field(description="How long its next answer is waited for; 0 if it is not asked")
    queries: int
    answers: int
    failures: int = Field(description="Answers that were of no use: SERVFAIL, REFUSED, malformed")
    timeouts: int
    wins: int = Field(description="How often its answer was first when several were asked")
    last_error: str | None
    retry_in_ms: int | None = Field(description="When a server that is down is tried again; null if it is not down")


class Upstreams(Items[Upstream]):
    """Some servers, ordered by zone; and how many of all answer."""

    healthy: int = Field(description="Those that are enabled and not down")


class Said(msgspec.Struct, frozen=True):
    """One server as it was said, in the file or by API."""

    zone: str
    """Lower case, with its last dot."""
    address: str
    port: int
    transport: str
    enabled: bool
    at: Position | None
    """Where it stands in the file; None if it came by API."""
    entry: StoredEntry | None = None

    @property
    def id(self) -> str:
        """What the engine's row of it is called too."""
        return identity(self.zone, f"{self.address}@{self.port}", self.transport, None)

    @property
    def place(self) -> tuple[str, str, int]:
        """What makes it this server and no other, whatever the transport."""
        return self.zone, self.address, self.port


def identity(zone: str, address: str, transport: str, tls_name: str | None) -> str:
    """The id of a server."""
    text = "\0".join((zone, address, transport, tls_name or ""))
    return hashlib.blake2b(text.lower().encode(), digest_size=ID_BYTES).hexdigest()


def read(rows: Iterable[Mapping[str, object]]) -> list[Upstream]:
    """The engine's rows, ordered by zone and address."""
    return _ordered(_upstream(row) for row in rows)


def merged(rows: Iterable[Mapping[str, object]], said: Iterable[Said]) -> list[Upstream]:
    """The engine's rows with where each was said, and those that it does not ask."""
    told = {server.id: server for server in said}
    found = [_placed(row, told.pop(row.id, None)) for row in read(rows)]
    return _ordered([*found, *map(_unasked, told.values())])


def healthy(upstreams: Iterable[Upstream]) -> int:
    """How many are worth asking. One that was never asked counts: nothing speaks against it."""
    return sum(upstream.enabled and upstream.state != "down" for upstream in upstreams)


def said(config: Config, entries: Iterable[StoredEntry]) -> list[Said]:
    """Every server of a forward zone: those of the configuration in force, and those that are switched off."""
    stored = {_of_entry(entry).place: _of_entry(entry) for entry in entries}
    found: dict[tuple[str, str, int], Said] = {}
    for zone in config.forward_zones:
        transport = "tcp" if zone.forward_tcp_upstream else "udp"
        for entry in zone.forward_addr:
            address, port = split_forward(entry.values[0], DOMAIN)
            server = Said(canonical_name(zone.name), plain(address), port, transport, True, entry.at)
            found[server.place] = stored.pop(server.place, server) if entry.at.file == ABOVE else server
    return [*found.values(), *stored.values()]


def plain(address: str) -> str:
    """An address in the one form that can be compared."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _of_entry(entry: StoredEntry) -> Said:
    doc = entry.doc
    return Said(doc["zone"], doc["address"], doc["port"], doc["transport"], doc.get("enabled", True), None, entry)


def order(upstream: Upstream) -> bytes:
    """What upstream servers are sorted by: their zones from the right, then their addresses."""
    zone = "\0".join([*upstream.zone.split(".")[::-1], ""])
    return f"{zone}\0{upstream.address}\0{upstream.transport}\0{upstream.tls_name or ''}".encode()


def _ordered(upstreams: Iterable[Upstream]) -> list[Upstream]:
    return sorted(upstreams, key=order)


def _placed(row: Upstream, server: Said | None) -> Upstream:
    if server is None:
        return row.model_copy(update={"origin": "system"})
    return row.model_copy(update=_origin(server))


def _origin(server: Said) -> dict[str, Any]:
    if server.entry is not None:
        doc = server.entry.doc
        return {
            "origin": "api",
            "enabled": server.enabled,
            "comment": doc.get("comment"),
            "revision": server.entry.revision,
        }
    assert server.at is not None
    return {"origin": "file", "file": server.at.file, "line": server.at.line}


def _unasked(server: Said) -> Upstream:
    """One that the engine has no row of: it is switched off, or its zone is not used."""
    return Upstream(
        id=server.id,
        zone=server.zone,
        address=f"{server.address}@{server.port}",
        transport=server.transport,
        tls_name=None,
        state="unknown",
        rtt_ms=None,
        timeout_ms=0,
        queries=0,
        answers=0,
        failures=0,
        timeouts=0,
        wins=0,
        last_error=None,
        retry_in_ms=None,
        **_origin(server),
    )


def _upstream(row: Mapping[str, object]) -> Upstream:
    given = cast("dict[str, Any]", row)
    return Upstream(
        id=identity(given["zone"], given["address"], given["transport"], given["tls_name"]),
        zone=given["zone"],
        address=given["address"],
        transport=given["transport"],
        tls_name=given["tls_name"],
        state=given["state"],
        rtt_ms=given["srtt_ms"],
        timeout_ms=given["wait_ms"],
        queries=given["queries"],
        answers=given["answers"],
        failures=given["failures"],
        timeouts=given["timeouts"],
        wins=given["wins"],
        last_error=given["last_error"],
        retry_in_ms=given["retry_in_ms"],
    )
