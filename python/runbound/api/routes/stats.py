"""`/stats`: the counters of all workers, under Unbound's names; once, or each second as a stream."""

import time

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from runbound.api import counters, problems
from runbound.api import feed as feed_
from runbound.api.auth import Reader
from runbound.api.context import LiveFeed, Resolver
from runbound.api.places import PlacedResponse

router = APIRouter(tags=["stats"])


class ResolvingTime(BaseModel):
    """Milliseconds within which that share of the questions was resolved that were not in the cache."""

    p50: float
    p90: float
    p99: float


class Stats(BaseModel):
    """Counters since the start."""

    uptime_secs: int
    revision: int = Field(description="Revision of the running configuration")
    cache_entries: int
    cache_bytes: int
    counters: dict[str, int] = Field(
        description=(
            "Under the names of `unbound-control stats`; times in microseconds, `total.requestlist.avg` in "
            "thousandths. More of them with `extended-statistics: yes`"
        ),
        examples=[{"total.num.queries": 1024}],
    )
    rates: dict[str, float] = Field(
        description="Those that only grow: how much a second, over the last `rates_over_secs`",
        examples=[{"total.num.queries": 17.2}],
    )
    rates_over_secs: float = Field(description="A minute, or less shortly after the start")
    resolving_ms: ResolvingTime | None = Field(
        description="From the histogram; null without `extended-statistics: yes`, and before anything was resolved"
    )


@router.get("/stats", summary="Counters, rates and percentiles")
def get_stats(resolver: Resolver, feed: LiveFeed, _caller: Reader) -> Stats:
    """Summed over the workers; nothing is reset by reading."""
    health, found = resolver.engine.health(), resolver.engine.stats()
    rates, seconds = feed.rates(found)
    return Stats(
        uptime_secs=int(time.monotonic() - resolver.started),
        revision=resolver.changes.running.revision,
        cache_entries=health.get("cache_entries", 0),
        cache_bytes=health.get("cache_bytes", 0),
        counters=found,
        rates=rates,
        rates_over_secs=round(seconds, 1),
        resolving_ms=_resolving(found),
    )


@router.get(
    "/stats/stream",
    summary="Counters each second, as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: feed_.described(
            "Events `stats` whose data is JSON: `time`, `interval_secs`, `counters`, `per_second` (of the counters "
            "that moved), `cache`, `upstreams_healthy`, `upstreams_total`"
        ),
        **problems.documented("TOO_MANY_STREAMS"),
    },
)
async def get_stats_stream(feed: LiveFeed, _caller: Reader) -> PlacedResponse:
    """Each event tells the whole state, so a client that was away has missed nothing it needs."""
    return PlacedResponse(feed.events(), feed.stream(), feed_.MEDIA_TYPE)


def _resolving(found: dict[str, int]) -> ResolvingTime | None:
    buckets = counters.histogram(found)
    p50, p90, p99 = (counters.percentile(buckets, share) for share in (0.5, 0.9, 0.99))
    if p50 is None or p90 is None or p99 is None:
        return None
    return ResolvingTime(p50=p50 / 1000, p90=p90 / 1000, p99=p99 / 1000)
