"""`/clients`: who asks most. As much of it as `log-client-ip` lets anybody know.

The lists go on learning: what came often once gives way to what comes often now. Counts are of the last hours, each
hour old ones count half.
"""

import datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from runbound.api import paging, problems
from runbound.api.auth import Operator
from runbound.api.context import Resolver
from runbound.api.problems import ProblemError
from runbound.api.routes.logs import Client, LogEntry
from runbound.api.tail import Filter

RECENT: Final = 20
"""Entries of the log that are shown of one client."""

router = APIRouter(tags=["stats"])


class Counted(BaseModel):
    """How often something came lately: a query counts half after an hour, a quarter after two."""

    queries: float
    error: float = Field(description="By how much `queries` may be too high: what it had when it took its place")
    failed: float = Field(description="Of these, answered with SERVFAIL")
    actions: dict[str, float] = Field(description="Of these, what became of them", examples=[{"cached": 12.5}])
    since: datetime.datetime = Field(description="On the list since")
    last: datetime.datetime = Field(description="Last seen")


class ClientRow(Counted):
    """A client and how much it asked."""

    client: str = Field(description="Address or pseudonym", examples=["192.0.2.7"])


class Clients(paging.Items[ClientRow]):
    """Who asks most, the most first."""

    total: int = Field(description="How many are shown")
    addresses: str = Field(
        description="`log-client-ip`: `no`, `pseudonym` or `yes`; with `no` nobody is known and the list is empty"
    )


class ClientReport(ClientRow):
    """One client, and what it asked last."""

    recent: list[LogEntry] = Field(description="The newest entries of the query log, the newest first")


@router.get("/clients", summary="Who asks most")
def get_clients(
    resolver: Resolver,
    _caller: Operator,
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT, description="The most rows")] = paging.LIMIT,
) -> Clients:
    """Counts are of the last hours. At very high rates they are made from a sample."""
    rows = msgspec.json.decode(resolver.engine.top_clients(None, limit))
    known = resolver.changes.running.config.server.log_client_ip
    return Clients(items=rows, next=None, total=len(rows), addresses=known)


@router.get("/clients/{client}", summary="One client", responses=problems.documented("NOT_FOUND"))
def get_client(
    resolver: Resolver, _caller: Operator, client: Annotated[Client, Path(description="Address or pseudonym")]
) -> ClientReport:
    """An address finds its pseudonym, where those are shown."""
    rows = msgspec.json.decode(resolver.engine.top_clients(client, 1))
    if not rows:
        known = resolver.changes.running.config.server.log_client_ip
        why = "log-client-ip: no, so no client is known" if known == "no" else "it has not asked lately"
        raise ProblemError("NOT_FOUND", why)
    entries = msgspec.json.decode(resolver.engine.query_log(Filter(client=client).packed(), RECENT))
    return ClientReport(**rows[0], recent=entries["items"])
