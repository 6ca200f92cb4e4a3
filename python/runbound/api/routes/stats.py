"""`/stats`: the counters of all workers, under Unbound's names."""

import time

from fastapi import APIRouter
from pydantic import BaseModel, Field

from runbound.api.auth import Actor
from runbound.api.context import Resolver

router = APIRouter(tags=["stats"])


class Stats(BaseModel):
    """Counters since the start."""

    uptime_secs: int
    revision: int = Field(description="Revision of the running configuration")
    cache_entries: int
    cache_bytes: int
    counters: dict[str, int] = Field(
        description="Under the names of `unbound-control stats`", examples=[{"total.num.queries": 1024}]
    )


@router.get("/stats", summary="Counters")
def get_stats(resolver: Resolver, _actor: Actor) -> Stats:
    """Summed over the workers; nothing is reset by reading."""
    health = resolver.engine.health()
    return Stats(
        uptime_secs=int(time.monotonic() - resolver.started),
        revision=resolver.changes.running.revision,
        cache_entries=health.get("cache_entries", 0),
        cache_bytes=health.get("cache_bytes", 0),
        counters=resolver.engine.stats(),
    )
