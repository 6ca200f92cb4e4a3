"""Lists that come and go as streams: hundreds of thousands of entries in one call, never held as text and never as
Python objects.

Owns how a body becomes a `Bulk` of the engine (which form it has, names in Unicode, its limits) and how entries become
a stream. What an entry means is Rust's; what is done with it is the route's and `ops.change`'s. It must never let
entries through that have an error: such a list changes nothing, and the problem tells the first hundred.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final, Literal

import anyio.to_thread
import msgspec
from fastapi import Request
from pydantic import BaseModel, Field
from pydantic_core import PydanticCustomError

from runbound.api import names, problems
from runbound.api.auth import Caller
from runbound.api.edits import Terms
from runbound.api.problems import FieldError, ProblemError, invalid
from runbound.engine import Bulk, name_key
from runbound.ops.change import Changes
from runbound.ops.refusals import too_many
from runbound.ops.view import Plan, View
from runbound.state.entries import StoredEntry

MAX_BULKS: Final = 4
"""Lists read at once: each is held by the engine until it is in force, about 100 octets an entry."""
MAX_EXPORTS: Final = 4
"""Lists written at once."""
SHARE: Final = 2
"""Of both, how many one caller may have."""
PATIENCE_SECONDS: Final = 30.0
"""How long a sender may make us wait in all, before its list has to come at LEAST_RATE."""
LEAST_RATE: Final = 4 * 1024
"""Octets a second of waiting for them, at least: a list that trickles in would hold its place for ever."""
MAX_BYTES: Final = 1024 * 1024 * 1024
"""Largest list, in octets: twice what five million records take. It is never held as text: the bound is for who has
mistaken the file."""
PIECE_BYTES: Final = 256 * 1024
"""Octets handed to the engine at once: some thousand entries, read in milliseconds."""

MAX_LINE_BYTES: Final = 64 * 1024
"""Octets of a line that are waited for: a name is far shorter, and whatever it is, it passes as it is."""

Mode = Literal["add", "replace", "remove"]

MANY: Final = 2
"""How many times as many entries as the limit allows are read before it is clear that most do not occur twice."""
MEDIA_TYPES: Final = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    **dict.fromkeys(("zone", "names"), "text/plain; charset=utf-8"),
}
"""Media type of each form that a list is written in."""
NDJSON: Final = "application/x-ndjson"
JSON: Final = ("application/json", NDJSON)
TEXT: Final = "text/plain"

_NAME: Final = re.compile(rb'("(?:name|target)"\s*:\s*")([^"\\]*[\x80-\xff][^"\\]*)"')
"""A name of a JSON object with something in it that is not ASCII."""


class Imported(BaseModel):
    """What became of a list. Entries that were there already, with the same content, are in none of the counts."""

    dry_run: bool = Field(description="Nothing has been done, the counts are what would be")
    revision: int = Field(description="The revision in force now")
    received: int = Field(description="Entries of the list, those that occur twice counted once")
    merged: int = Field(description="Entries that occur more than once; the last one counts")
    added: int
    changed: int
    removed: int


def form(request: Request, lines: str) -> str:
    """The form of the body; `lines` is what text means here. Raises ProblemError."""
    kind = _kind(request)
    if kind in JSON:
        return "json"
    if kind == TEXT:
        return lines
    raise invalid("header.content-type", f"a list comes as {', '.join(JSON)} or {TEXT}")


def _kind(request: Request) -> str:
    """The media type of the body."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def defaults(**members: object) -> bytes:
    """What entries have that do not say it themselves."""
    return msgspec.json.encode({name: value for name, value in members.items() if value is not None})


async def bring(
    request: Request, bulk: Bulk, lines: str, mode: Mode, changes: Changes, caller: Caller, terms: Terms, most: int
) -> Imported:
    """Reads the body and makes the change it asks for: all or nothing. Raises ProblemError and Refusal.

    The engine reads and the state writes in threads of their own, so other calls go on.
    """
    await _read(request, bulk, lines, most)
    await _check_zones(bulk, caller)
    change = caller.change(f"POST {request.url.path}")

    def plan(_view: View) -> Plan:
        return Plan(bulk=bulk, mode=mode, under=tuple(map(name_key, caller.zones)))

    made = await anyio.to_thread.run_sync(terms.make, changes, change, plan)
    counts = made.diff.summary.get(bulk.kind, {})
    parts = {part: counts.get(part, 0) for part in ("added", "changed", "removed")}
    return Imported(dry_run=made.dry_run, revision=made.revision, received=bulk.count, merged=bulk.merged, **parts)


async def _read(request: Request, bulk: Bulk, lines: str, most: int) -> None:
    """Reads the body into the bulk and finishes it. Raises ProblemError, and the refusal of far too many."""
    cut = Cutter(lines)
    waiting, begun = bytearray(), False
    async for octets in paced(request.stream()):
        waiting += octets
        if len(waiting) >= PIECE_BYTES:
            await anyio.to_thread.run_sync(bulk.feed, cut.feed(bytes(waiting)))
            waiting.clear()
            begun = True
            if bulk.count > MANY * most:
                raise too_many(bulk.kind, bulk.count, most)
    if not (begun or waiting) and _kind(request) == NDJSON:
        waiting += b"[]"  # no lines are no objects, as an export of nothing has them
    await anyio.to_thread.run_sync(bulk.feed, cut.feed(bytes(waiting)) + cut.finish())
    errors = await anyio.to_thread.run_sync(bulk.finish)
    if errors:
        raise ProblemError(
            "BULK_INVALID",
            f"{bulk.error_count} errors" if bulk.error_count > 1 else "1 error",
            errors=[
                FieldError(line=line, field=field, message=message, hint=hint) for line, field, message, hint in errors
            ],
        )


async def paced(stream: AsyncIterator[bytes], clock: Callable[[], float] = time.monotonic) -> AsyncIterator[bytes]:
    """The same stream, given up when it comes too slowly. Raises ProblemError.

    Only the time in which we wait for the sender counts; one that says nothing at all is the server's to drop.
    """
    waited, received = 0.0, 0
    began = clock()
    async for octets in stream:
        waited += clock() - began
        received += len(octets)
        if waited > PATIENCE_SECONDS and received < LEAST_RATE * (waited - PATIENCE_SECONDS):
            raise ProblemError(
                "TOO_SLOW", f"the least is {LEAST_RATE} octets a second", headers={"Connection": "close"}
            )
        yield octets
        began = clock()


async def _check_zones(bulk: Bulk, caller: Caller) -> None:
    """Raises the problem OUT_OF_ZONE if the caller may not change every name of the list."""
    if not caller.zones:
        return

    def check() -> None:
        part = 0
        while rows := bulk.entries(part):
            for _, doc in rows:
                caller.require(msgspec.json.decode(doc)["name"])
            part += 1

    await anyio.to_thread.run_sync(check)


def body_of(model: str, text: str, format: str) -> dict[str, Any]:  # noqa: A002  # the word of JSON Schema
    """OpenAPI of a body that is a list: objects of that model, or text of that format, which `text` describes."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": {"$ref": f"#/components/schemas/{model}"}},
                },
                "application/x-ndjson": {"schema": {"type": "string", "format": f"{format}-ndjson"}},
                "text/plain": {"schema": {"type": "string", "description": text, "format": format}},
            },
        }
    }


def streamed(text: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a route that writes a list."""
    lines = {"schema": {"type": "string"}}
    content = {"text/plain": lines, "application/x-ndjson": lines, "application/json": {"schema": {"type": "array"}}}
    return {
        200: {"description": text, "content": content},
        **problems.documented("TOO_MANY_BULKS", "STATE_UNAVAILABLE"),
    }


async def stream(
    pages: Iterator[list[StoredEntry]], line: Callable[[dict[str, Any]], str], *, array: bool = False
) -> AsyncIterator[bytes]:
    """Documents as lines, or as one JSON array. The next page is read when the client has taken this one."""
    if array:
        yield b"["
    first = True
    while (page := await anyio.to_thread.run_sync(partial(next, pages, None))) is not None:
        text = (",\n" if array else "\n").join(line(entry.doc) for entry in page)
        if text:
            lead = "" if first else ",\n" if array else ""
            yield f"{lead}{text}{'' if array else chr(10)}".encode()
            first = False
    if array:
        yield b"]\n"


def as_json(doc: dict[str, Any]) -> str:
    """A document on one line."""
    return msgspec.json.encode(doc).decode()


class Cutter:
    """Turns names in Unicode into A-labels on their way to the engine, which knows none. ASCII passes as it is.

    What cannot be turned passes too: the engine names the line it stands on.
    """

    def __init__(self, lines: str) -> None:
        """`lines` is the form: `json`, `zone` or `names`."""
        self._form = lines
        self._rest = b""

    def feed(self, octets: bytes) -> bytes:
        """What may be handed on of all that came so far."""
        octets = self._rest + octets
        end = octets.rfind(b"\n")
        if self._form == "json":
            end = max(end, octets.rfind(b"}"))
        if end < 0 and len(octets) > MAX_LINE_BYTES:
            end = len(octets) - 1
        self._rest = octets[end + 1 :]
        return self._turned(octets[: end + 1])

    def finish(self) -> bytes:
        """The rest."""
        rest, self._rest = self._rest, b""
        return self._turned(rest)

    def _turned(self, octets: bytes) -> bytes:
        if octets.isascii():
            return octets
        if self._form == "json":
            return _NAME.sub(lambda found: found[1] + _a_labels(found[2]) + b'"', octets)
        return b"\n".join(map(self._line, octets.split(b"\n")))

    def _line(self, line: bytes) -> bytes:
        if line.isascii():
            return line
        if self._form == "zone":
            owner, blank, rest = line.partition(b" ") if b" " in line else line.partition(b"\t")
            return _a_labels(owner) + blank + rest
        text, mark, comment = line.partition(b"#")
        return b" ".join(map(_a_labels, text.split())) + mark + comment


def _a_labels(octets: bytes) -> bytes:
    if octets.isascii():
        return octets
    try:
        return names.domain(octets.decode()).encode()
    except (UnicodeDecodeError, PydanticCustomError):
        return octets
