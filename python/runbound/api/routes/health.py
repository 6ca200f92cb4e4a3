"""`/health`: is this resolver well? Open to everybody, so it says nothing a stranger should not know."""

import time

from fastapi import APIRouter
from pydantic import BaseModel, Field

from runbound.api import upstreams
from runbound.api.context import Resolver
from runbound.engine import EngineError

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The state of the resolver in one glance."""

    status: str = Field(
        description="`ok`, or `degraded` when every upstream fails or a worker does not answer", examples=["ok"]
    )
    node: str = Field(description="Name of this node (`node-id`)")
    uptime_secs: int
    revision: int = Field(description="Revision of the running configuration")
    hsm: bool = Field(description="Whether keys come from an HSM")
    upstreams_healthy: int
    upstreams_total: int
    cache_entries: int
    reason: str | None = Field(description="Why the status is not `ok`")


@router.get("/health", summary="Health of the resolver (no key needed)")
def get_health(resolver: Resolver) -> Health:
    """A wrong key is ignored here: monitoring needs none."""
    figures = resolver.engine.health()
    servers, trouble = [], None
    try:
        servers = upstreams.read(resolver.engine.upstreams())
    except EngineError as error:
        trouble = str(error)
    total, healthy = len(servers), upstreams.healthy(servers)
    reason = trouble or ("no upstream answers" if total and not healthy else None)
    return Health(
        status="degraded" if reason else "ok",
        node=resolver.node,
        uptime_secs=int(time.monotonic() - resolver.started),
        revision=resolver.changes.running.revision,
        hsm=False,
        upstreams_healthy=healthy,
        upstreams_total=total,
        cache_entries=figures.get("cache_entries", 0),
        reason=reason,
    )
