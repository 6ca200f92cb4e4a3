"""`/upstreams`: the servers that questions are forwarded to, how each of them does, and which there are.

Those of the file are joined by those that come by API. Changing and applying is `ops.change`'s, asking the engine's;
here is only what a caller may say and what is told.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Path, Query, Response, status
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from runbound.api import edits, entries, etag, presets, probe, problems, upstreams
from runbound.api.auth import Operator, Reader
from runbound.api.body import Body
from runbound.api.context import Context, Probes, Resolver
from runbound.api.edits import AskedRevertible, Preview
from runbound.api.entries import Comment
from runbound.api.etag import Demand, IfSame
from runbound.api.names import DomainName, IpAddress
from runbound.api.paging import Paged, cursor
from runbound.api.problems import ProblemError, invalid
from runbound.api.upstreams import DOMAIN, Said, Transport, Upstream, Upstreams
from runbound.ops.refusals import Conflict, InFile, LastUpstream, Missing, StateUnavailable
from runbound.ops.view import Plan, View
from runbound.state.entries import Edit, StoredEntry, canonical

MAX_PROBES: Final = 4
"""Servers probed at once: each holds a thread until it answers."""
OFFERED: Final = ("udp", "tcp")
"""Transports that the engine speaks to upstream servers."""

router = APIRouter(tags=["upstreams"])

Id = Annotated[str, Path(max_length=64, description="The `id` of the list")]


class NewUpstream(Body):
    """A server to be asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"zone": ".", "address": "192.0.2.1"}]})

    zone: DomainName = Field(default=".", description="The names it is asked about: this one and all below")
    address: IpAddress
    port: int = Field(default=DOMAIN, ge=1, le=65535)
    transport: Annotated[Transport, WithJsonSchema({"type": "string", "enum": [*OFFERED]})] = Field(
        default="udp", description="`dot`, `doh` and `doq` are not offered yet"
    )
    enabled: bool = True
    comment: Comment | None = None


class ChangedUpstream(Body):
    """What is to be different; what is left out or null stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}], "minProperties": 1})

    enabled: bool | None = None
    comment: Comment | None = Field(default=None, description="An empty one takes it away")


class Probe(BaseModel):
    """What one question to the server came to."""

    id: str
    answered: bool
    rtt_ms: float | None = Field(description="Until its reply was there")
    rcode: str | None = Field(examples=["NOERROR"])
    recursion: bool | None = Field(description="Whether it resolves names for us (RA)")
    signatures: Literal["yes", "no", "unknown"] = Field(
        description="Whether signatures come with its answers; `no`: it strips them, and what it says cannot be "
        "validated; `unknown`: the zone may have none"
    )
    error: str | None = Field(description="Why there is no reply")


class Preset(BaseModel):
    """A public resolver."""

    name: str
    operator: str
    addresses: list[str]
    tls_name: str
    filters: bool = Field(description="Whether it leaves out names that it holds to be harmful")
    validates: bool = Field(description="Whether it checks signatures itself")


class Presets(BaseModel):
    """Public resolvers, as their operators publish them."""

    presets: list[Preset]


class Reconnected(BaseModel):
    """What was forgotten."""

    servers: int = Field(description="Servers, upstream and others, of which something was known")


@router.get("/upstreams", summary="Every upstream server, its health and its counters")
def get_upstreams(resolver: Resolver, _caller: Reader, page: Paged) -> Upstreams:
    """A server that serves several zones has a row for each."""
    found = _all(resolver)
    after = page.after or b""
    begin = next((number for number, row in enumerate(found) if upstreams.order(row) > after), len(found))
    items = found[begin : begin + page.limit]
    more = begin + page.limit < len(found)
    return Upstreams(
        items=items,
        next=cursor(upstreams.order(items[-1]), 0) if more else None,
        total=len(found),
        healthy=upstreams.healthy(found),
    )


@router.post(
    "/upstreams",
    summary="Ask another server",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": Upstream | Preview, "description": "It was there already; or what would change"},
        **edits.documented("CONFIRM_PENDING", "CONFLICT", "NOT_OFFERED"),
    },
)
def post_upstreams(
    body: NewUpstream, resolver: Resolver, caller: Operator, terms: AskedRevertible, response: Response
) -> Upstream | Preview:
    """It joins the servers of its zone; a zone that has none yet is forwarded from now on.

    The servers of a zone have one transport. A server that is there already, in the file or by API, gets what this call
    says, and the answer is 200.
    """
    if body.transport not in OFFERED:
        raise ProblemError("NOT_OFFERED", f"{body.transport} to upstream servers; there are {' and '.join(OFFERED)}")
    server = Said(body.zone.lower(), str(body.address), body.port, body.transport, body.enabled, None)

    def plan(view: View) -> Plan:
        known = _find(_said(view), lambda other: other.place == server.place)
        if known is not None and known.entry is None and known.enabled == server.enabled and not body.comment:
            return Plan()
        _one_transport(view, server)
        return Plan(edits=(_edit(server, body.comment or None, known),))

    made = terms.make(resolver.changes, caller.change("POST /upstreams"), plan)
    if made.dry_run or not made.diff.summary.get("upstream", {}).get("added"):
        response.status_code = status.HTTP_200_OK
    return edits.preview(made) if made.dry_run else _one(resolver, server.id, response)


@router.get("/upstreams/presets", summary="Public resolvers one may forward to")
def get_upstreams_presets(_caller: Reader) -> Presets:
    """As their operators publish them; none is recommended."""
    rows = (
        Preset(
            name=row.name,
            operator=row.operator,
            addresses=list(row.addresses),
            tls_name=row.tls_name,
            filters=row.filters,
            validates=row.validates,
        )
        for row in presets.PRESETS
    )
    return Presets(presets=list(rows))


@router.post("/upstreams/reconnect", summary="Try every server anew")
def post_upstreams_reconnect(resolver: Resolver, caller: Operator) -> Reconnected:
    """Forgets which servers were down, slow or odd, here and at authoritative servers: the next question asks anew."""
    return Reconnected(servers=resolver.actions.flush(caller.name, "infra"))


@router.get("/upstreams/{id}", summary="One upstream server", responses=problems.documented("NOT_FOUND"))
def get_upstream(id: Id, resolver: Resolver, _caller: Reader, response: Response) -> Upstream:  # noqa: A002
    """The id is that of the list. The tag stands for what was said of it, not for how it does."""
    return _one(resolver, id, response)


@router.patch(
    "/upstreams/{id}",
    summary="Switch a server off or on",
    responses=edits.documented("CONFIRM_PENDING", "NOT_FOUND", "LAST_UPSTREAM", "PRECONDITION_FAILED"),
)
def patch_upstream(
    id: Id,  # noqa: A002  # the name in the path
    body: ChangedUpstream,
    resolver: Resolver,
    caller: Operator,
    terms: AskedRevertible,
    same: IfSame,
    response: Response,
) -> Upstream | Preview:
    """One of the file can be switched off too; the file stays as it is. Address, port and transport make the server:
    for others, add another one."""
    if not body.model_fields_set:
        raise invalid("body", "nothing to change")

    def plan(view: View) -> Plan:
        known = _known(view, id, same)
        enabled = known.enabled if body.enabled is None else body.enabled
        if known.enabled and not enabled:
            _others(view, known)
        before = known.entry.doc.get("comment") if known.entry is not None else None
        comment = before if body.comment is None else body.comment or None
        server = Said(known.zone, known.address, known.port, known.transport, enabled, None)
        return Plan(edits=(_edit(server, comment, known),))

    made = terms.make(resolver.changes, caller.change(f"PATCH /upstreams/{id}"), plan)
    return edits.preview(made) if made.dry_run else _one(resolver, id, response)


@router.delete(
    "/upstreams/{id}",
    summary="Ask a server no more",
    status_code=status.HTTP_204_NO_CONTENT,
    response_model=None,
    responses=edits.emptied("CONFIRM_PENDING", "NOT_FOUND", "IN_FILE", "LAST_UPSTREAM", "PRECONDITION_FAILED"),
)
def delete_upstream(
    id: Id,  # noqa: A002  # the name in the path
    resolver: Resolver,
    caller: Operator,
    terms: AskedRevertible,
    same: IfSame,
    zone: Annotated[
        bool, Query(description="Also if it is the last one: its zone, which came by API, is forwarded no more")
    ] = False,
) -> Response:
    """The last server of a zone stays, 409 `LAST_UPSTREAM`, unless `zone=1`. One of the file cannot be removed, only
    switched off; one that was switched off by API is as the file says again."""

    def plan(view: View) -> Plan:
        known = _known(view, id, same)
        if known.entry is None:
            assert known.at is not None
            raise InFile(f"forward-addr: {known.address}@{known.port}", known.at)
        if known.enabled and not zone:
            _others(view, known)
        return Plan(edits=(Edit("upstream", known.entry.key, None),))

    return edits.empty(terms, terms.make(resolver.changes, caller.change(f"DELETE /upstreams/{id}"), plan))


@router.post(
    "/upstreams/{id}/probe",
    summary="Ask a server one question now",
    responses=problems.documented("NOT_FOUND", "TOO_MANY_LOOKUPS"),
)
async def post_upstream_probe(id: Id, resolver: Resolver, _caller: Operator, probes: Probes) -> Probe:  # noqa: A002
    """The SOA record of its zone, with DO. The answer comes within seconds, whether the server's does or not."""
    server = await anyio.to_thread.run_sync(_wanted, resolver, id)
    address, _, port = server.address.partition("@")
    with probes.take():
        found = await anyio.to_thread.run_sync(probe.ask, server.zone, address, int(port), server.transport)
    return Probe(id=id, **msgspec.structs.asdict(found))


def _stored(resolver: Context) -> list[StoredEntry]:
    """Those that came by API; none where nothing is kept."""
    try:
        return [row for rows in entries.walk(resolver.changes.store, "upstream", [b""], None) for row in rows]
    except StateUnavailable:
        return []


def _all(resolver: Context) -> list[Upstream]:
    said = upstreams.said(resolver.changes.running.config, _stored(resolver))
    return upstreams.merged(resolver.engine.upstreams(), said)


def _wanted(resolver: Context, id: str) -> Upstream:  # noqa: A002
    found = next((row for row in _all(resolver) if row.id == id), None)
    if found is None:
        raise Missing("no upstream server has this id", fix="GET /upstreams lists them")
    return found


def _one(resolver: Context, id: str, response: Response) -> Upstream:  # noqa: A002
    found = _wanted(resolver, id)
    response.headers["ETag"] = etag.entity(found.revision or 0, found.id)
    return found


def _said(view: View) -> list[Said]:
    return upstreams.said(view.config, view.all("upstream"))


def _find(servers: list[Said], wanted: Callable[[Said], bool]) -> Said | None:
    return next((server for server in servers if wanted(server)), None)


def _known(view: View, id: str, same: Demand) -> Said:  # noqa: A002
    known = _find(_said(view), lambda server: server.id == id)
    if known is None:
        raise Missing("no upstream server that was said has this id", fix="GET /upstreams lists them")
    same.hold(etag.entity(known.entry.revision if known.entry is not None else 0, id))
    return known


def _one_transport(view: View, server: Said) -> None:
    """Raises Conflict if the others of its zone are asked another way."""
    for other in _said(view):
        both = server.enabled and other.enabled and other.zone == server.zone and other.place != server.place
        if both and other.transport != server.transport:
            raise Conflict(
                f"{server.zone} is asked over {other.transport}, and a zone has one transport",
                fix=f"say transport {other.transport}",
            )


def _others(view: View, server: Said) -> None:
    """Raises LastUpstream if nobody else is asked about its zone."""
    zone = [other for other in _said(view) if other.zone == server.zone and other.enabled]
    hosts = any(
        found.forward_host
        for found in view.config.forward_zones
        if found.name.strip(".").lower() == server.zone.strip(".")
    )
    if len(zone) < 2 and not hosts:
        raise LastUpstream(
            f"{server.address}@{server.port} is the last server of {server.zone}", fix="add another first"
        )


def _edit(server: Said, comment: str | None, known: Said | None) -> Edit:
    """The entry of a server. One that is known under another transport keeps its id."""
    key = "\0".join((server.zone, f"{server.address}@{server.port}", server.transport)).encode()
    doc: dict[str, Any] = {
        "zone": server.zone,
        "address": server.address,
        "port": server.port,
        "transport": server.transport,
        "enabled": server.enabled,
        "comment": comment,
    }
    entry = known.entry if known is not None else None
    return Edit("upstream", key, canonical(doc), entry.id if entry is not None and entry.key != key else None)
