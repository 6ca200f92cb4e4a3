"""`/blacklist`: names that are blocked, with all below them.

What a block answers and which one counts is the engine's; keeping and applying it is `ops.change`'s. Nothing here
answers a question.
"""

from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict
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
from runbound.api.names import DomainName
from runbound.api.paging import Items, Paged
from runbound.api.places import PlacedResponse
from runbound.api.problems import invalid
from runbound.api.stated import Stated
from runbound.engine import Bulk
from runbound.state.entries import StoredEntry

MAX_TARGET: Final = 2048
"""Longest target of a redirect, in characters: a name, or some dozens of addresses."""

router = APIRouter(tags=["blacklist"])

Action = Literal["nxdomain", "refuse", "nodata", "null", "redirect"]
Target = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TARGET, strip_whitespace=True),
    Field(json_schema_extra={"format": "block-target"}),
]
ACTION: Final = (
    "`nxdomain`: there is no such name; `refuse`: REFUSED; `nodata`: the name is there, with nothing; `null`: 0.0.0.0 "
    "and ::; `redirect`: what `target` says"
)
TARGET: Final = "Of `redirect`: addresses, separated by blanks, or one name, which is answered as an alias"
_NONE: Final[JsonDict] = {"type": "null"}
_GIVEN: Final[JsonDict] = {"type": "string"}


class NewBlock(Body):
    """A name to be blocked."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "ads.example"}, {"name": "ads.example", "action": "redirect", "target": "192.0.2.1"}],
            "oneOf": [
                {"properties": {"action": {"enum": ["nxdomain", "refuse", "nodata", "null", None]}, "target": _NONE}},
                {
                    "properties": {"action": {"const": "redirect"}, "target": _GIVEN},
                    "required": ["action", "target"],
                },
            ],
        }
    )

    name: DomainName
    action: Action | None = Field(default=None, description=f"{ACTION}; `nxdomain` if left out")
    target: Target | None = Field(default=None, description=TARGET)
    comment: Comment | None = None

    def doc(self) -> dict[str, Any]:
        """What Rust makes the canonical form of."""
        if (self.action == "redirect") != (self.target is not None):
            raise invalid("body.target", "a redirect needs a target, every other action takes none")
        target = _target("body.target", self.target)
        return {
            "name": self.name,
            "action": self.action or "nxdomain",
            "target": target,
            "comment": self.comment or None,
        }


class Block(BaseModel):
    """A blocked name."""

    id: int | None = Field(description="It stays as long as the name is blocked; null in the file")
    name: str = Field(description="This name and all below; lower case, in A-labels", examples=["ads.example."])
    action: Action = Field(description=ACTION)
    target: str | None = Field(default=None, description=TARGET)
    comment: str | None = None
    revision: int | None = Field(description="The one that wrote it last; null in the file")
    origin: Origin = "api"
    file: str | None = Field(default=None, description="Where it stands, if it is a `local-zone` of the file")
    line: int | None = None


class Blocks(Items[Block]):
    """Some blocked names: those by API, ordered from the right; then those of the file."""

    total: int | None = Field(description="How many came by API; null for callers limited to zones, who may not know")


@router.get("/blacklist", summary="Blocked names", responses=problems.documented("STATE_UNAVAILABLE"))
def get_blacklist(
    resolver: Resolver,
    caller: ZoneReader,
    page: Paged,
    news: IfNew,
    under: Annotated[DomainName | None, Query(description="Only this name and those below")] = None,
    action: Annotated[Action | None, Query(description="Only those with this action")] = None,
    search: Annotated[
        str | None, Query(min_length=1, max_length=names.MAX_TEXT, description="Only those with this text in them")
    ] = None,
    origin: Annotated[Origin | None, Query(description="Only those by API, or of the file")] = None,
) -> Blocks:
    """Those that came by API, and behind them each `local-zone` of the file that answers as a block does.

    With filters a page may be shorter than `limit` and still have a `next`.
    """
    news.show(etag.listing(resolver.changes.running.revision))
    only = Filter(
        caller,
        None,
        under,
        search,
        origin,
        keep=None if action is None else lambda entry: bool(entry.doc["action"] == action),
        heed=lambda row: row.action is not None and action in (None, row.action),
    )
    found, said, following = entries.listed(resolver.changes, "block", page, only)
    total = None if caller.zones else 0 if origin == "file" else resolver.changes.store.count("block")
    return Blocks(items=[*map(_shown, found), *map(_stated, said)], next=following, total=total)


@router.post(
    "/blacklist",
    summary="Block a name and all below",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": Block | Preview, "description": "It was blocked already; or what would change"},
        **edits.documented("TOO_MANY_BLOCKS"),
    },
)
def post_blacklist(
    body: NewBlock, resolver: Resolver, caller: Editor, terms: Asked, response: Response
) -> Block | Preview:
    """In force when the answer comes, in every worker; what the cache knows of the name does not help it.

    A name that is blocked already gets the action and comment of this call, and keeps its id.
    """
    caller.require(body.name)
    key, doc = entries.canonical("block", body.doc())
    made = terms.make(resolver.changes, caller.change("POST /blacklist"), entries.add("block", key, doc))
    if made.dry_run or not made.diff.summary.get("block", {}).get("added"):
        response.status_code = status.HTTP_200_OK
    return edits.preview(made) if made.dry_run else _shown(edits.kept(response, made))


@router.post(
    "/blacklist/bulk",
    summary="Block or unblock many names",
    responses=edits.documented("TOO_MANY_BLOCKS", "BULK_INVALID", "TOO_MANY_BULKS", "TOO_SLOW"),
    openapi_extra=bulk.body_of(
        "NewBlock", "A name a line; `#` begins a comment; lines of a hosts file too", "names-list"
    ),
)
async def post_blacklist_bulk(
    request: Request,
    resolver: Resolver,
    caller: Editor,
    bulks: Bulks,
    terms: Asked,
    mode: Annotated[Mode, Query(description="`replace` unblocks all that are not in the list")] = "add",
    action: Annotated[
        Literal["nxdomain", "refuse", "nodata", "null"], Query(description="Of those that say none")
    ] = "nxdomain",
    target: Annotated[Target | None, Query(description="Redirects those that say nothing there instead")] = None,
) -> Imported:
    """All of it or nothing, as one revision. An error names its line, or its place in the array; a hundred are told.

    The list is read as it comes, and may be as long as the limit of blocked names allows. A plain list has a name a
    line; a hosts file (`0.0.0.0 ads.example`) is one too.
    """
    form = bulk.form(request, "names")
    said = {"action": action} if target is None else {"action": "redirect", "target": _target("query.target", target)}
    try:
        listed = Bulk("block", form, bulk.defaults(**said))
    except ValueError as error:
        raise invalid("query.target", str(error)) from error
    most = resolver.changes.running.config.server.max_blocks
    with bulks.take(caller.name):
        return await bulk.bring(request, listed, form, mode, resolver.changes, caller, terms, most)


@router.get(
    "/blacklist/export",
    summary="Every blocked name, as a stream",
    response_class=StreamingResponse,
    responses=bulk.streamed("What `/blacklist/bulk` takes back"),
)
async def get_blacklist_export(
    resolver: Resolver,
    caller: ZoneReader,
    exports: Exports,
    form: Annotated[
        Literal["names", "ndjson", "json"], Query(description="Names in lines, objects in lines, or an array")
    ] = "ndjson",
) -> PlacedResponse:
    """Written part by part while changes go on, so it is no picture of one moment. Names alone lose the actions."""
    pages = entries.walk(resolver.changes.store, "block", entries.ranges(caller), None)
    line = _name_line if form == "names" else bulk.as_json
    return PlacedResponse(
        bulk.stream(pages, line, array=form == "json"), exports.take(caller.name), bulk.MEDIA_TYPES[form]
    )


@router.delete(
    "/blacklist",
    summary="Unblock a name by its name",
    status_code=status.HTTP_204_NO_CONTENT,
    response_model=None,
    responses=edits.emptied("NOT_FOUND", "IN_FILE"),
)
def delete_blacklist(
    resolver: Resolver,
    caller: Editor,
    terms: Asked,
    name: Annotated[DomainName, Query(description="Exactly this name, as it was blocked")],
) -> Response:
    """What stands in the file stays: 409 names file and line."""
    plan = entries.clear("block", name, caller, lambda _doc: True, lambda row: row.action is not None)
    return edits.empty(terms, terms.make(resolver.changes, caller.change("DELETE /blacklist"), plan))


@router.get(
    "/blacklist/{id}", summary="One blocked name", responses=problems.documented("NOT_FOUND", "STATE_UNAVAILABLE")
)
def get_blacklist_one(id: Number, resolver: Resolver, caller: ZoneReader, news: IfNew) -> Block:  # noqa: A002
    """One that came by API."""
    entry = entries.present(resolver.changes.store.by_id("block", id), id)
    caller.require(entry.doc["name"])
    news.show(etag.entity(entry.revision, entry.id))
    return _shown(entry)


@router.delete(
    "/blacklist/{id}",
    summary="Unblock a name",
    status_code=status.HTTP_204_NO_CONTENT,
    response_model=None,
    responses=edits.emptied("NOT_FOUND", "PRECONDITION_FAILED"),
)
def delete_blacklist_one(
    id: Number,  # noqa: A002  # the name in the path
    resolver: Resolver,
    caller: Editor,
    terms: Asked,
    same: IfSame,
) -> Response:
    """In force when the answer comes, in every worker."""
    change = caller.change(f"DELETE /blacklist/{id}")
    return edits.empty(terms, terms.make(resolver.changes, change, entries.remove("block", id, caller, same)))


def _target(field: str, text: str | None) -> str | None:
    """A target with its name in A-labels."""
    if text is None or text.isascii():
        return text
    try:
        return names.domain(text)
    except PydanticCustomError as error:
        raise invalid(field, error.message()) from error


def _shown(entry: StoredEntry) -> Block:
    return Block(id=entry.id, revision=entry.revision, **entry.doc)


def _stated(row: Stated) -> Block:
    assert row.action is not None
    action = cast("Action", row.action)
    return Block(id=None, name=row.name, action=action, revision=None, origin="file", file=row.file, line=row.line)


def _name_line(doc: dict[str, Any]) -> str:
    return str(doc["name"])
