"""`/dns`: local records, added, changed and removed while DNS goes on.

They join what `local-data` says in the file as if they stood there. The form of a record is Rust's to judge; keeping
and applying it is `ops.change`'s. Nothing here answers a question.
"""

import contextlib
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError
from starlette.responses import StreamingResponse

from runbound.api import bulk, edits, entries, etag, names, problems
from runbound.api.auth import Editor, ZoneReader
from runbound.api.body import Body
from runbound.api.bulk import Imported, Mode
from runbound.api.context import Bulks, Exports, Resolver
from runbound.api.edits import Asked, Preview
from runbound.api.entries import Comment, Filter, Number, Origin
from runbound.api.etag import IfNew, IfSame
from runbound.api.names import MAX_TEXT, DomainName, RecordType
from runbound.api.paging import Items, Paged
from runbound.api.places import PlacedResponse
from runbound.api.problems import ProblemError, invalid
from runbound.api.stated import Stated
from runbound.engine import Bulk
from runbound.state.entries import StoredEntry

TTL: Final = 3600
"""Lifetime of a record if nothing else is said, seconds."""
MAX_TTL: Final = 2**31 - 1
"""Longest lifetime that can be written (RFC 2181, section 8); it is kept as MAX_KEPT_TTL."""
MAX_KEPT_TTL: Final = 86_400
"""Longest lifetime that is given out, seconds: what is wrong is forgotten everywhere within a day."""
MAX_VALUE: Final = 60_000
"""Longest data of a record in presentation form, in characters; longer ones come as a list."""

router = APIRouter(tags=["dns"])

Value = Annotated[str, StringConstraints(min_length=1, max_length=MAX_VALUE, strip_whitespace=True)]
Ttl = Annotated[int, Field(ge=0, le=MAX_TTL)]


class NewRecord(Body):
    """A record as it is written."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "nas.example", "type": "A", "value": "192.0.2.7"}],
            "format": "record",
        }
    )

    name: DomainName
    type: RecordType
    value: Value = Field(
        description="The data in presentation form (RFC 1035, section 5.1; RFC 3597); names in it are absolute"
    )
    ttl: Ttl | None = Field(default=None, description=f"Seconds; kept as {MAX_KEPT_TTL} at most, {TTL} if left out")
    comment: Comment | None = None

    def doc(self) -> dict[str, Any]:
        """What Rust makes the canonical form of."""
        try:
            value = names.target(self.type, self.value)
        except PydanticCustomError as error:
            raise invalid("body.value", error.message()) from error
        return {
            "name": self.name,
            "type": names.numbered(self.type),
            "ttl": min(TTL if self.ttl is None else self.ttl, MAX_KEPT_TTL),
            "value": value,
            "comment": self.comment or None,
        }


class LocalRecord(BaseModel):
    """A local record."""

    id: int | None = Field(description="It stays, whatever becomes of the rest; null in the file")
    name: str = Field(description="Absolute, lower case, in A-labels", examples=["nas.example."])
    type: str = Field(examples=["A"])
    ttl: int = Field(description="Seconds")
    value: str = Field(description="The data as the wire says it, in presentation form", examples=["192.0.2.7"])
    comment: str | None = None
    revision: int | None = Field(description="The one that wrote it last; null in the file")
    origin: Origin = "api"
    file: str | None = Field(default=None, description="Where it stands, if it is `local-data` of the file")
    line: int | None = None


class LocalRecords(Items[LocalRecord]):
    """Some records: those by API, ordered by name (from the right), type and data; then those of the file."""

    total: int | None = Field(description="How many came by API; null for callers limited to zones, who may not know")


@router.get("/dns", summary="Local records", responses=problems.documented("STATE_UNAVAILABLE"))
def get_dns(
    resolver: Resolver,
    caller: ZoneReader,
    page: Paged,
    news: IfNew,
    name: Annotated[DomainName | None, Query(description="Only those of this name")] = None,
    under: Annotated[DomainName | None, Query(description="Only those of this name and all below")] = None,
    type: Annotated[RecordType | None, Query(description="Only those of this type")] = None,  # noqa: A002  # the member
    search: Annotated[
        str | None, Query(min_length=1, max_length=MAX_TEXT, description="Only those with this text in them")
    ] = None,
    origin: Annotated[Origin | None, Query(description="Only those by API, or of the file")] = None,
) -> LocalRecords:
    """Those that came by API, and behind them `local-data` of the file. Built-in zones are not among them.

    With filters a page may be shorter than `limit` and still have a `next`.
    """
    news.show(etag.listing(resolver.changes.running.revision))
    only = Filter(
        caller,
        name,
        under,
        search,
        origin,
        keep=None if type is None else lambda entry: bool(entry.doc["type"] == type),
        heed=lambda row: row.is_record and type in (None, row.type),
    )
    found, said, following = entries.listed(resolver.changes, "record", page, only)
    total = None if caller.zones else 0 if origin == "file" else resolver.changes.store.count("record")
    return LocalRecords(items=[*map(_shown, found), *map(_stated, said)], next=following, total=total)


@router.post(
    "/dns",
    summary="Add a local record",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": LocalRecord | Preview, "description": "It was there already; or what would change"},
        **edits.documented("TOO_MANY_RECORDS", "CONFLICT"),
    },
)
def post_dns(
    body: NewRecord, resolver: Resolver, caller: Editor, terms: Asked, response: Response
) -> LocalRecord | Preview:
    """In force when the answer comes, in every worker.

    The same name, type and data again is the same record: the answer is 200 and nothing changes, but for a TTL or
    comment that differs. A CNAME stands alone at its name: beside others the answer is 409 `CONFLICT`.
    """
    caller.require(body.name)
    key, doc = entries.canonical("record", body.doc())
    plan = entries.add("record", key, doc)
    made = terms.make(resolver.changes, caller.change("POST /dns"), plan)
    if made.dry_run or not made.diff.summary.get("record", {}).get("added"):
        response.status_code = status.HTTP_200_OK
    return edits.preview(made) if made.dry_run else _shown(edits.kept(response, made))


@router.post(
    "/dns/bulk",
    summary="Add, replace or remove many local records",
    responses=edits.documented("TOO_MANY_RECORDS", "BULK_INVALID", "TOO_MANY_BULKS", "TOO_SLOW"),
    openapi_extra=bulk.body_of("NewRecord", "Lines of a zone file", "zone-lines"),
)
async def post_dns_bulk(
    request: Request,
    resolver: Resolver,
    caller: Editor,
    bulks: Bulks,
    terms: Asked,
    mode: Annotated[Mode, Query(description="`replace` removes all that are not in the list")] = "add",
    ttl: Annotated[int, Query(ge=0, le=MAX_TTL, description="Of those that say none")] = TTL,
) -> Imported:
    """All of it or nothing, as one revision. An error names its line, or its place in the array; a hundred are told.

    The list is read as it comes, and may be as long as the limit of records allows. Text is as in a zone file: owner,
    TTL, class, type, data, with `$ORIGIN` and `$TTL`; names are absolute where no origin is given.
    """
    defaults = bulk.defaults(ttl=min(ttl, MAX_KEPT_TTL))
    form = bulk.form(request, "zone")
    listed = Bulk("record", form, defaults)
    most = resolver.changes.running.config.server.max_records
    with bulks.take(caller.name):
        return await bulk.bring(request, listed, form, mode, resolver.changes, caller, terms, most)


@router.get(
    "/dns/export",
    summary="Every local record, as a stream",
    response_class=StreamingResponse,
    responses=bulk.streamed("What `/dns/bulk` takes back"),
)
async def get_dns_export(
    resolver: Resolver,
    caller: ZoneReader,
    exports: Exports,
    form: Annotated[
        Literal["zone", "ndjson", "json"], Query(description="Lines of a zone file, objects in lines, or an array")
    ] = "zone",
) -> PlacedResponse:
    """Written part by part while changes go on, so it is no picture of one moment. Comments are in the JSON forms."""
    pages = entries.walk(resolver.changes.store, "record", entries.ranges(caller), None)
    line = _zone_line if form == "zone" else bulk.as_json
    return PlacedResponse(
        bulk.stream(pages, line, array=form == "json"), exports.take(caller.name), bulk.MEDIA_TYPES[form]
    )


@router.delete(
    "/dns",
    summary="Remove the local records of a name",
    status_code=status.HTTP_204_NO_CONTENT,
    response_model=None,
    responses=edits.emptied("NOT_FOUND", "IN_FILE"),
)
def delete_dns(
    resolver: Resolver,
    caller: Editor,
    terms: Asked,
    name: Annotated[DomainName, Query(description="Of exactly this name")],
    type: Annotated[RecordType | None, Query(description="Only those of this type")] = None,  # noqa: A002
    value: Annotated[Value | None, Query(description="Only the one with this data")] = None,
) -> Response:
    """All that came by API, or those of a type, or one. What stands in the file stays: 409 names file and line."""
    if value is not None and type is not None:
        with contextlib.suppress(ProblemError):  # what is no data of that type is nowhere
            _, doc = entries.canonical("record", NewRecord(name=name, type=type, value=value).doc())
            value = msgspec.json.decode(doc)["value"]

    def wanted(rtype: str, data: str) -> bool:
        return type in (None, rtype) and value in (None, data)

    plan = entries.clear(
        "record",
        name,
        caller,
        lambda doc: wanted(doc["type"], doc["value"]),
        lambda row: row.is_record and wanted(row.type, row.value),
    )
    return edits.empty(terms, terms.make(resolver.changes, caller.change("DELETE /dns"), plan))


@router.get("/dns/{id}", summary="One local record", responses=problems.documented("NOT_FOUND", "STATE_UNAVAILABLE"))
def get_dns_one(id: Number, resolver: Resolver, caller: ZoneReader, news: IfNew) -> LocalRecord:  # noqa: A002
    """One that came by API."""
    entry = entries.present(resolver.changes.store.by_id("record", id), id)
    caller.require(entry.doc["name"])
    news.show(etag.entity(entry.revision, entry.id))
    return _shown(entry)


@router.put(
    "/dns/{id}",
    summary="Give a local record another content",
    responses=edits.documented("NOT_FOUND", "CONFLICT", "PRECONDITION_FAILED"),
)
def put_dns_one(
    id: Number,  # noqa: A002  # the name in the path
    body: NewRecord,
    resolver: Resolver,
    caller: Editor,
    terms: Asked,
    same: IfSame,
    response: Response,
) -> LocalRecord | Preview:
    """The id stays. All of the content is replaced: what the body leaves out has its default afterwards."""
    caller.require(body.name)
    key, doc = entries.canonical("record", body.doc())
    plan = entries.replace("record", id, key, doc, caller, same)
    made = terms.make(resolver.changes, caller.change(f"PUT /dns/{id}"), plan)
    return edits.preview(made) if made.dry_run else _shown(edits.kept(response, made))


@router.delete(
    "/dns/{id}",
    summary="Remove a local record",
    status_code=status.HTTP_204_NO_CONTENT,
    response_model=None,
    responses=edits.emptied("NOT_FOUND", "PRECONDITION_FAILED"),
)
def delete_dns_one(
    id: Number,  # noqa: A002  # the name in the path
    resolver: Resolver,
    caller: Editor,
    terms: Asked,
    same: IfSame,
) -> Response:
    """Gone from every worker when the answer comes."""
    change = caller.change(f"DELETE /dns/{id}")
    return edits.empty(terms, terms.make(resolver.changes, change, entries.remove("record", id, caller, same)))


def _shown(entry: StoredEntry) -> LocalRecord:
    return LocalRecord(id=entry.id, revision=entry.revision, **entry.doc)


def _stated(row: Stated) -> LocalRecord:
    return LocalRecord(
        id=None,
        name=row.name,
        type=row.type,
        ttl=row.ttl or 0,
        value=row.value,
        revision=None,
        origin="file",
        file=row.file,
        line=row.line,
    )


def _zone_line(doc: dict[str, Any]) -> str:
    return f"{doc['name']} {doc['ttl']} IN {doc['type']} {doc['value']}"
