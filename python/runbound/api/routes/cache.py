"""`/cache`: what is remembered. Its size, its flush, its text out and in again."""

import math
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import StreamingResponse

from runbound.api import names, problems
from runbound.api.auth import Operator, Reader
from runbound.api.body import Body
from runbound.api.context import Dumps, Figures, Loads, Resolver
from runbound.api.names import DomainName, RecordType
from runbound.api.places import PlacedResponse
from runbound.api.problems import ProblemError, invalid
from runbound.ops.actions import NAMED, Cooldown, Loaded, What
from runbound.ops.dump import Cutter, NotADumpError

MAX_DUMPS: Final = 2
"""Dumps written at once: each walks the whole cache."""
MAX_LOADS: Final = 2
"""Dumps read back at once: each holds up to `dump.MAX_ENTRY_BYTES` while it comes."""
MAX_LOAD_BYTES: Final = 1024 * 1024 * 1024
"""Largest dump that is read back, in octets. It is never held in memory: the bound is for who has mistaken the file."""
DUMP_TYPE: Final = "text/plain; charset=utf-8"

router = APIRouter(tags=["cache"])


class CacheUsage(BaseModel):
    """One of the two caches."""

    entries: int
    bytes: int
    limit_bytes: int = Field(description="`msg-cache-size`, `rrset-cache-size`")
    hits: int
    misses: int
    evictions: int = Field(description="Entries that made room for others")


class CacheStats(BaseModel):
    """Both caches."""

    message: CacheUsage
    rrset: CacheUsage
    stale_hits: int = Field(description="Expired entries that were served (`serve-expired`)")


NONE: Final[dict[str, JsonValue]] = {"type": "null"}
GIVEN: Final[dict[str, JsonValue]] = {"type": "string"}
"""Members of a flush, as JSON Schema says what goes with what."""


class Flush(Body):
    """What to remove."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"what": "zone", "name": "example.com"}, {"what": "all"}],
            "oneOf": [
                {"properties": {"what": {"enum": ["all", "negative", "bogus", "infra"]}, "name": NONE, "type": NONE}},
                {"properties": {"what": {"enum": ["zone", "name"]}, "name": GIVEN, "type": NONE}, "required": ["name"]},
                {"properties": {"what": {"const": "type"}, "name": GIVEN, "type": GIVEN}, "required": ["name", "type"]},
            ],
        }
    )

    what: What = Field(
        description=(
            "`all`; `zone`: a name and all below it; `name`: all of one name; `type`: one type of one name; "
            "`negative`: NXDOMAIN and NODATA; `bogus`: what failed validation; `infra`: what is known about servers"
        )
    )
    name: DomainName | None = None
    type: RecordType | None = None


class Flushed(BaseModel):
    """What was removed."""

    what: What
    name: str | None = Field(description="Absolute, in A-labels")
    type: str | None
    removed: int = Field(description="Entries removed: RRsets, messages or servers")


class LoadResult(BaseModel):
    """What was read."""

    rrsets: int
    messages: int
    refused: int = Field(description="Lines that could not be used, or whose message is in the cache already")


@router.get("/cache/stats", summary="Size of the cache and how it does")
def get_cache_stats(resolver: Resolver, _caller: Reader) -> CacheStats:
    """Counters since the start."""
    usage = resolver.engine.cache_usage()

    def of(kind: str) -> CacheUsage:
        parts = {"entries": "entries", "bytes": "bytes", "limit_bytes": "limit"}
        parts |= {part: part for part in ("hits", "misses", "evictions")}
        return CacheUsage(**{field: usage.get(f"{kind}.{part}", 0) for field, part in parts.items()})

    return CacheStats(message=of("message"), rrset=of("rrset"), stale_hits=usage.get("stale_hits", 0))


@router.post(
    "/cache/flush",
    summary="Remove entries from the cache",
    responses=problems.documented("CACHE_FLUSH_COOLDOWN"),
)
def post_cache_flush(body: Flush, resolver: Resolver, caller: Operator) -> Flushed:
    """At once, in every worker. Between two flushes of everything lie `cache-flush-cooldown` seconds."""
    if body.what in NAMED and body.name is None:
        raise invalid("body.name", f"a flush of a {body.what} needs a name")
    if body.what not in NAMED and body.name is not None:
        raise invalid("body.name", f"a flush of {body.what} takes no name")
    if (body.what == "type") != (body.type is not None):
        raise invalid("body.type", "a flush of a type needs a type, every other takes none")
    rtype = names.numbered(body.type) if body.type else None
    try:
        removed = resolver.actions.flush(caller.name, body.what, body.name, rtype)
    except Cooldown as error:
        seconds = math.ceil(error.seconds)
        raise ProblemError(
            "CACHE_FLUSH_COOLDOWN",
            f"again in {seconds} s; a zone or a name can be flushed at any time",
            headers={"Retry-After": str(seconds)},
        ) from error
    return Flushed(what=body.what, name=body.name, type=body.type, removed=removed)


@router.get(
    "/cache/dump",
    summary="The cache as text, in Unbound's form",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "As `unbound-control dump_cache` writes it; whole if it ends with `EOF`",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems.documented("TOO_MANY_DUMPS"),
    },
)
async def get_cache_dump(resolver: Resolver, dumps: Dumps, _caller: Operator) -> PlacedResponse:
    """Written part by part while the resolver goes on, so it is no picture of one moment."""
    return PlacedResponse(_parts(resolver.engine), dumps.take(), DUMP_TYPE)


@router.post(
    "/cache/load",
    summary="Read a dump back into the cache",
    responses=problems.documented("LENGTH_REQUIRED", "TOO_MANY_LOADS"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"text/plain": {"schema": {"type": "string", "format": "cache-dump"}}},
        }
    },
)
async def post_cache_load(request: Request, resolver: Resolver, loads: Loads, caller: Operator) -> LoadResult:
    """The text of `/cache/dump`, or of `unbound-control dump_cache`. Lines that make no sense are counted and left out.

    It is read as it comes; a sender that breaks off leaves what it had sent, every entry whole.
    """
    if "content-length" not in request.headers:
        raise ProblemError("LENGTH_REQUIRED", f"Content-Length is missing; the most is {MAX_LOAD_BYTES} octets")
    cutter, total, whole = Cutter(), Loaded(), False
    with loads.take():
        try:
            async for octets in request.stream():
                for piece in cutter.feed(octets):
                    total += await anyio.to_thread.run_sync(partial(resolver.actions.load, piece))
            for piece in cutter.finish():
                total += await anyio.to_thread.run_sync(partial(resolver.actions.load, piece))
            whole = True
        except NotADumpError as error:
            raise invalid("body", str(error)) from error
        finally:
            resolver.actions.loaded(caller.name, total, whole=whole)
    return LoadResult(rrsets=total.rrsets, messages=total.messages, refused=total.refused)


async def _parts(engine: Figures) -> AsyncIterator[bytes]:
    """The dump, a part at a time. The next one is made when the client has taken this one."""
    number = 0
    while (part := await anyio.to_thread.run_sync(engine.cache_dump, number)) is not None:
        yield part
        number += 1
