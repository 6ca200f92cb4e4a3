"""`/logs`: the query log. What was asked lately, what is being asked, and the way to have it forgotten.

The engine keeps the log and knows what of a client's address may stand in it; nothing here adds to that. Entries go
from the engine to the client as the JSON the engine made.
"""

import datetime
import ipaddress
import re
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Query
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError
from starlette.responses import Response, StreamingResponse

from runbound.api import feed, paging, problems
from runbound.api.auth import Admin, Operator
from runbound.api.context import LiveTail, Resolver
from runbound.api.names import DomainName, RecordType
from runbound.api.places import PlacedResponse
from runbound.api.problems import ProblemError
from runbound.api.tail import MAX_ENTRIES, Filter
from runbound.engine import EngineError

BACKLOG: Final = 10
"""Entries a stream begins with if nothing else is said."""
MAX_DIGITS: Final = 18
"""Digits of the number of an entry: those that fit into 63 bits whatever they are."""

_PSEUDONYM: Final = re.compile("p-[0-9a-f]{16}")
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LEAP: Final = re.compile(r"(T\d\d:\d\d):60")

router = APIRouter(tags=["logs"])

Action = Literal["resolved", "cached", "stale", "local", "blocked", "refused", "rejected", "dropped"]


def _client(text: str) -> str:
    if _PSEUDONYM.fullmatch(text):
        return text
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise PydanticCustomError("client", "no address, network or pseudonym") from None
    if isinstance(network, ipaddress.IPv6Network) and "%" in text:
        raise PydanticCustomError("client", "an address in the log has no scope")
    return text if "/" not in text else str(network)


Client = Annotated[
    str,
    Field(
        max_length=64,
        description="An address, a network or a pseudonym, as the log shows it. Under `log-client-ip: pseudonym` an "
        "address finds its pseudonym, as long as the process runs",
        json_schema_extra={"format": "log-client"},
    ),
    AfterValidator(_client),
]


def _moment(text: str) -> datetime.datetime:
    """The moment. A leap second is the one before."""
    return datetime.datetime.fromisoformat(_LEAP.sub(r"\g<1>:59", text.upper()))


def _dated(text: str) -> str:
    try:
        if not _RFC3339.fullmatch(text):
            raise ValueError(text)
        _moment(text).timestamp()
    except (ValueError, OverflowError):
        raise PydanticCustomError("date", "no date and time of RFC 3339: 2026-11-23T20:15:00Z") from None
    return text


Moment = Annotated[
    str,
    Field(
        max_length=64,
        description="A date and time of RFC 3339",
        examples=["2026-11-23T20:15:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
    AfterValidator(_dated),
]


class LogEntry(BaseModel):
    """What became of one query."""

    seq: int = Field(description="Its number since the start of the resolver")
    time: datetime.datetime = Field(description="When it was answered, UTC")
    client: str | None = Field(
        description="As `log-client-ip` says: null, a pseudonym, or the address", examples=["p-3f9a0c77d1e2b845"]
    )
    name: str | None = Field(
        description="Absolute, in presentation form: what is no graphic ASCII stands as `\\DDD`. Null if none was read",
        examples=["www.example.com."],
    )
    type: str | None = Field(examples=["AAAA"])
    class_: str | None = Field(alias="class", examples=["IN"])
    action: Action = Field(
        description="`resolved`: upstream servers were asked; `cached`; `stale`: remembered, its time over; `local`: "
        "local zones and data; `blocked`; `refused`: the client or what it wants is not served; `rejected`: no query "
        "that can be answered; `dropped`: there was no answer"
    )
    rcode: str | None = Field(examples=["NOERROR"])
    latency_us: int = Field(description="From its arrival until the answer left, microseconds")
    transport: Literal["udp", "tcp"]
    origin: Literal["upstream", "cache", "policy"]
    security: Literal["unchecked", "bogus", "indeterminate", "insecure", "secure"] | None = Field(
        description="What is known of the answer's truth; null if there was nothing to prove"
    )
    size: int = Field(description="Octets of the answer")


class LogPage(paging.Items[LogEntry]):
    """Entries of the query log, the newest first."""

    total: int = Field(description="How many entries of the ring fit the filters")


class Erased(BaseModel):
    """What was forgotten."""

    ring: int = Field(description="Entries of the ring")
    lists: int = Field(description="Rows of the lists of clients and names")
    file: int = Field(description="Lines of `query-log-file`")


def _filter(
    action: Annotated[list[Action] | None, Query(description="One or several")] = None,
    client: Annotated[Client | None, Query()] = None,
    name: Annotated[DomainName | None, Query(description="A name: it and all below it")] = None,
    type: Annotated[RecordType | None, Query()] = None,  # noqa: A002  # the member's name
    rcode: Annotated[
        str | None, Query(pattern="^[A-Za-z0-9]{1,16}$", description="A response code", examples=["SERVFAIL"])
    ] = None,
    since: Annotated[Moment | None, Query()] = None,
) -> Filter:
    """The filter that the query members make."""
    since_us = 0 if since is None else max(0, int(_moment(since).timestamp() * 1_000_000))
    return Filter(tuple(action or ()), client, name, type, rcode, since_us)


Wanted = Annotated[Filter, Depends(_filter)]


@router.get(
    "/logs",
    summary="What was asked lately, the newest first",
    response_model=LogPage,
    responses=problems.documented("VALIDATION_FAILED"),
)
def get_logs(
    resolver: Resolver,
    wanted: Wanted,
    _caller: Operator,
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT, description="The most of one page")] = paging.LIMIT,
    cursor: Annotated[
        str | None, Query(pattern=f"^[0-9]{{1,{MAX_DIGITS}}}$", description="`next` of the page before")
    ] = None,
) -> Response:
    """The last `log-retention` queries, whatever became of them. All filters must fit."""
    before = None if cursor is None else int(cursor)
    packed = msgspec.structs.replace(wanted, before=before).packed()
    return Response(resolver.engine.query_log(packed, limit), media_type="application/json")


@router.get(
    "/logs/stream",
    summary="What is asked, as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: feed.described(
            "Events `log`, one a second at most, whose data is JSON: `entries`, as `/logs` has them but the oldest "
            f"first, at most {MAX_ENTRIES}, and `skipped`, how many more there were. The id is the number of the last "
            "entry looked at: a client that comes again with it as `Last-Event-ID` goes on from there"
        ),
        **problems.documented("TOO_MANY_STREAMS"),
    },
)
async def get_logs_stream(
    tail: LiveTail,
    wanted: Wanted,
    _caller: Operator,
    backlog: Annotated[int, Query(ge=0, le=MAX_ENTRIES, description="Entries to begin with")] = BACKLOG,
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event seen; any other is passed over")
    ] = None,
) -> PlacedResponse:
    """The same filters as `/logs`."""
    number = last_event_id or ""
    seen = int(number) if number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS else None
    return PlacedResponse(tail.events(wanted, seen, backlog), tail.stream(), feed.MEDIA_TYPE)


@router.delete(
    "/logs",
    summary="Forget one client, or all",
    responses=problems.documented("ERASURE_INCOMPLETE"),
)
def delete_logs(resolver: Resolver, caller: Admin, client: Annotated[Client | None, Query()] = None) -> Erased:
    """In the ring, in the lists of clients and names, and in `query-log-file` as it stands now: not in files that were
    rotated away. Without `client` everything goes. The audit log says that it was done, and does not say of whom."""
    whom = "all" if client is None else "one client"
    fields = caller.call.fields | {"client": whom}
    try:
        erased = resolver.actions.erase(caller.name, client)
    except EngineError as error:
        resolver.trail.record("log.erase", caller.name, **fields, result="incomplete")
        caller.call.written()
        raise ProblemError("ERASURE_INCOMPLETE", str(error)) from error
    resolver.trail.record("log.erase", caller.name, **fields, **erased)
    caller.call.written()
    return Erased(**erased)
