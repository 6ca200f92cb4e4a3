"""`/stats`: the counters of all workers, under Unbound's names; once, each second as a stream, or minute by minute; and
the names that come most."""

import time
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from runbound.api import counters, history, paging, problems
from runbound.api import feed as feed_
from runbound.api.auth import Reader
from runbound.api.context import LiveFeed, Resolver
from runbound.api.places import PlacedResponse
from runbound.api.routes.clients import Counted

HOUR_MINUTES: Final = 60

router = APIRouter(tags=["stats"])

Kind = Literal["all", "blocked", "failed"]


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


class TopName(Counted):
    """A name and how often it was asked for."""

    name: str = Field(description="Absolute, in presentation form, in lower case", examples=["www.example.com."])


class TopNames(paging.Items[TopName]):
    """The names that come most, the most first."""

    total: int = Field(description="How many are shown")
    kind: Kind


class HistoryPoint(BaseModel):
    """What happened in the `seconds` before `time`."""

    time: float = Field(description="Seconds since 1970")
    seconds: float
    queries: int
    cache_hits: int
    resolved: int
    expired: int = Field(description="Answered after their time to live")
    blocked: int
    servfail: int
    resolving_ms: float | None = Field(description="The mean over what had to be resolved; null if nothing had")


class StatsHistory(BaseModel):
    """A point a minute, the oldest first."""

    step_secs: float
    points: list[HistoryPoint]


@router.get("/stats/top-domains", summary="The names that come most")
def get_top_domains(
    resolver: Resolver,
    _caller: Reader,
    kind: Annotated[
        Kind, Query(description="`all`; `blocked`: those that are blocked; `failed`: those that ended in SERVFAIL")
    ] = "all",
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT, description="The most rows")] = paging.LIMIT,
) -> TopNames:
    """Part of the query log: empty with `log-retention: 0` and no `query-log-file`. At very high rates counts are made
    from a sample."""
    rows = msgspec.json.decode(resolver.engine.top_names(kind, limit))
    return TopNames(items=rows, next=None, total=len(rows), kind=kind)


@router.get("/stats/history", summary="Minute by minute, for a day")
async def get_stats_history(
    feed: LiveFeed,
    _caller: Reader,
    minutes: Annotated[int, Query(ge=1, le=history.POINTS, description="How far back")] = HOUR_MINUTES,
) -> StatsHistory:
    """Kept since the start of the resolver."""
    points = feed.history.points(minutes)
    return StatsHistory(
        step_secs=history.STEP_SECONDS, points=[HistoryPoint(**msgspec.structs.asdict(point)) for point in points]
    )


def _resolving(found: dict[str, int]) -> ResolvingTime | None:
    buckets = counters.histogram(found)
    p50, p90, p99 = (counters.percentile(buckets, share) for share in (0.5, 0.9, 0.99))
    if p50 is None or p90 is None or p99 is None:
        return None
    return ResolvingTime(p50=p50 / 1000, p90=p90 / 1000, p99=p99 / 1000)
