"""`/health`: is this resolver well? Open to everybody, so it says nothing a stranger should not know."""

import time
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from runbound.api import problems, upstreams
from runbound.api.context import LiveFeed, Resolver
from runbound.api.feed import INTERVAL_SECONDS, WINDOW
from runbound.api.history import Point, between
from runbound.api.problems import ProblemError
from runbound.config.model import Server
from runbound.engine import EngineError

router = APIRouter(tags=["health"])

LEAST: Final = 20
"""Queries in a minute below which a share or a mean says nothing."""
MINUTE: Final = WINDOW * INTERVAL_SECONDS - 1
"""Seconds that must have been watched before few queries are too few."""


class Health(BaseModel):
    """The state of the resolver in one glance."""

    status: str = Field(
        description="`ok`, or `degraded` when every upstream fails, a worker does not answer or the HSM is lost",
        examples=["ok"],
    )
    node: str = Field(description="Name of this node (`node-id`)")
    uptime_secs: int
    revision: int = Field(description="Revision of the running configuration")
    hsm: bool = Field(
        description="Whether keys come from an HSM, and it is there if they stay in it; if not, `reason` says why"
    )
    upstreams_healthy: int
    upstreams_total: int
    cache_entries: int
    reason: str | None = Field(description="Why the status is not `ok`")


@router.get(
    "/health",
    summary="Health of the resolver (no key needed)",
    responses=problems.documented("UNHEALTHY"),
)
def get_health(resolver: Resolver, feed: LiveFeed) -> Health:
    """A wrong key is ignored here: monitoring needs none. Unhealthy is who crossed one of `health-servfail-threshold`,
    `health-latency-threshold` and `health-min-qps` in the last minute."""
    figures = resolver.engine.health()
    servers, trouble = [], None
    try:
        servers = upstreams.read(resolver.engine.upstreams())
    except EngineError as error:
        trouble = str(error)
    total, healthy = len(servers), upstreams.healthy(servers)
    hsm, lost = (False, None) if resolver.hsm is None else resolver.hsm.healthy()
    reasons = [trouble or ("no upstream answers" if total and not healthy else None), lost]
    reason = "; ".join(one for one in reasons if one) or None
    before = feed.oldest()
    minute = between(time.time(), time.monotonic() - before.clock, before.stats, resolver.engine.stats())
    crossed = _crossed(resolver.changes.running.config.server, minute)
    if crossed:
        raise ProblemError("UNHEALTHY", "; ".join(crossed))
    return Health(
        status="degraded" if reason else "ok",
        node=resolver.node,
        uptime_secs=int(time.monotonic() - resolver.started),
        revision=resolver.changes.running.revision,
        hsm=hsm,
        upstreams_healthy=healthy,
        upstreams_total=total,
        cache_entries=figures.get("cache_entries", 0),
        reason=reason,
    )


def _crossed(server: Server, minute: Point) -> list[str]:
    """Which thresholds the last minute crossed, in words. 0 is off."""
    found = []
    percent = 100 * minute.servfail / max(1, minute.queries)
    if 0 < server.health_servfail_threshold <= percent and minute.queries >= LEAST:
        found.append(f"{percent:.0f} % of the answers are SERVFAIL")
    if 0 < server.health_latency_threshold <= (minute.resolving_ms or 0) and minute.resolved >= LEAST:
        found.append(f"resolving takes {minute.resolving_ms:.0f} ms")
    rate = minute.queries / max(1.0, minute.seconds)
    if rate < server.health_min_qps and minute.seconds >= MINUTE:
        found.append(f"{rate:.1f} queries a second come")
    return found
