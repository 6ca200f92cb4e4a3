"""The servers that questions go to, as every part of the API shows them.

One reading of the engine's rows, so that `/upstreams`, `/health`, `/metrics` and the stream cannot differ. It must
never ask an upstream server anything.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

from pydantic import BaseModel, Field

State = Literal["unknown", "up", "down"]

ID_BYTES: Final = 8
"""Octets of an id: two servers of one resolver do not meet by chance."""


class Upstream(BaseModel):
    """One server of one zone."""

    id: str = Field(description="Stable: made of zone, address, transport and TLS name", examples=["5f2b0c61d0e7a944"])
    zone: str = Field(description="The forward zone it serves", examples=["."])
    address: str = Field(examples=["192.0.2.1@53"])
    transport: str = Field(description="`udp` or `tcp`", examples=["udp"])
    tls_name: str | None = Field(description="Name its certificate must have")
    state: State = Field(
        description="`up`: it answered; `down`: it is left alone for a while; `unknown`: not asked yet"
    )
    rtt_ms: float | None = Field(description="Smoothed time of its answers; null before the first")
    timeout_ms: int = Field(description="How long its next answer is waited for")
    queries: int
    answers: int
    failures: int = Field(description="Answers that were of no use: SERVFAIL, REFUSED, malformed")
    timeouts: int
    wins: int = Field(description="How often its answer was first when several were asked")
    last_error: str | None
    retry_in_ms: int | None = Field(description="When a server that is down is tried again; null if it is not down")


class Upstreams(BaseModel):
    """All servers, and how many of them answer."""

    healthy: int = Field(description="Those that are not down")
    total: int
    upstreams: list[Upstream]


def read(rows: Iterable[Mapping[str, object]]) -> list[Upstream]:
    """The engine's rows, ordered by zone and then as the engine has them."""
    found = [_upstream(row) for row in rows]
    return sorted(found, key=lambda upstream: upstream.zone.split(".")[::-1])


def healthy(upstreams: Iterable[Upstream]) -> int:
    """How many are worth asking. One that was never asked counts: nothing speaks against it."""
    return sum(upstream.state != "down" for upstream in upstreams)


def _upstream(row: Mapping[str, object]) -> Upstream:
    given = cast("dict[str, Any]", row)
    identity = "\0".join(str(given[part] or "") for part in ("zone", "address", "transport", "tls_name"))
    return Upstream(
        id=hashlib.blake2b(identity.lower().encode(), digest_size=ID_BYTES).hexdigest(),
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
