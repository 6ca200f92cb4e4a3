"""Records and blocks as resources: what `/dns` and `/blacklist` do alike.

Owns the way from a body to the entry that is kept (Rust reads and writes the canonical form), the walk through those a
caller may see, and the plans that add, replace and remove one. It must never change anything but by `ops.change`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import Path
from pydantic import AfterValidator, Field, StringConstraints

from runbound.api import etag, paging, stated
from runbound.api.auth import Caller
from runbound.api.etag import Demand
from runbound.api.paging import Page
from runbound.api.problems import FieldError, ProblemError
from runbound.api.stated import Stated
from runbound.engine import Bulk, name_key
from runbound.ops.change import Changes
from runbound.ops.refusals import Conflict, Missing
from runbound.ops.view import Kept, Plan, View
from runbound.state.entries import Edit, StoredEntry

Kind = Literal["record", "block"]
Comment = Annotated[
    str,
    StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"),
    AfterValidator(str.strip),
    Field(description="One line, without control characters: for who reads the list later"),
]
Number = Annotated[int, Path(ge=1, le=2**63 - 1, description="The `id` of the list")]

MAX_LOOKED: Final = 10_000
"""Entries looked at for one page of a filtered list: what is rare comes on a later page, and no call takes long."""
STEP: Final = 1000
"""Entries read at once."""

MAX_CLEARED: Final = 1000
"""Entries of one name that go in one call; more is a list."""
MAX_BESIDE: Final = 2
"""Records of a name that are looked at to find a CNAME: it has a low type number, and once there nothing joins it."""
END: Final = b"\0"
"""What ends a name in a key: behind it stands what the entry says of exactly that name."""


def canonical(kind: Kind, doc: dict[str, Any]) -> tuple[bytes, str]:
    """Key and document of one entry. Raises ProblemError naming the fields that Rust finds wrong."""
    bulk = Bulk(kind, "json")
    bulk.feed(msgspec.json.encode({name: value for name, value in doc.items() if value is not None}))
    if errors := bulk.finish():
        raise ProblemError(
            "VALIDATION_FAILED",
            errors=[
                FieldError(field=f"body.{field}", message=message, hint=hint) for _, field, message, hint in errors
            ],
        )
    return bulk.entries(0)[0]


def exactly(name: str) -> bytes:
    """The prefix of the keys of exactly this name."""
    return name_key(name) + END


def ranges(caller: Caller, wanted: bytes = b"") -> list[bytes]:
    """The prefixes of what a caller may see below a wanted one: in order, none within another."""
    zones = sorted(name_key(zone) for zone in caller.zones) if caller.zones else [b""]
    found: list[bytes] = []
    for zone in zones:
        part = wanted if wanted.startswith(zone) else zone if zone.startswith(wanted) else None
        if part is not None and not (found and part.startswith(found[-1])):
            found.append(part)
    return found


def walk(
    store: Kept, kind: str, prefixes: Sequence[bytes], after: bytes | None, search: str | None = None, step: int = STEP
) -> Iterator[list[StoredEntry]]:
    """The entries below these prefixes in the order of their keys, some at a time."""
    for prefix in prefixes:
        if after is not None and prefix and after >= prefix[:-1] + b"\x01":  # a prefix ends in 00
            continue
        last = after if after is not None and after >= prefix else None
        while rows := store.page(kind, after=last, limit=step, under=prefix or None, search=search):
            yield rows
            last = rows[-1].key
            if len(rows) < step:
                break


def page(
    store: Kept,
    kind: Kind,
    wanted: Page,
    prefixes: Sequence[bytes],
    *,
    keep: Callable[[StoredEntry], bool] | None = None,
    search: str | None = None,
) -> tuple[list[StoredEntry], str | None]:
    """One page, and the cursor of the next. With `keep` it may be shorter than asked for although more follows."""

    def key_of(id: int) -> bytes | None:  # noqa: A002  # the member's name everywhere
        entry = store.by_id(kind, id)
        return None if entry is None else entry.key

    found: list[StoredEntry] = []
    looked = 0
    step = wanted.limit + 1 if keep is None else STEP
    for rows in walk(store, kind, prefixes, wanted.key(key_of), search, step):
        for row in rows:
            if len(found) == wanted.limit:
                return found, paging.cursor(found[-1].key, found[-1].id)
            if keep is None or keep(row):
                found.append(row)
        looked += len(rows)
        if keep is not None and looked >= MAX_LOOKED:
            return found, paging.cursor(rows[-1].key, rows[-1].id)
    return found, None


Origin = Literal["api", "file"]


class Filter(msgspec.Struct, frozen=True):
    """Which entries of a list are wanted. What is said of a name is checked already."""

    caller: Caller
    name: str | None = None
    under: str | None = None
    search: str | None = None
    origin: Origin | None = None
    keep: Callable[[StoredEntry], bool] | None = None
    """Of those that came by API."""
    heed: Callable[[Stated], bool] = lambda _row: True
    """Of those in the file."""

    @property
    def prefixes(self) -> list[bytes]:
        """Of the keys of those that came by API."""
        if self.name is not None:
            inside = self.under is None or exactly(self.name).startswith(name_key(self.under))
            return ranges(self.caller, exactly(self.name)) if inside else []
        return ranges(self.caller, b"" if self.under is None else name_key(self.under))

    def wants(self, row: Stated) -> bool:
        """Whether it is one of those in the file."""
        text = self.search is None or self.search.lower() in f"{row.name} {row.type} {row.value}".lower()
        inside = self.under is None or name_key(row.name).startswith(name_key(self.under))
        return text and inside and self.heed(row) and self.caller.may(row.name)


def listed(
    changes: Changes, kind: Kind, wanted: Page, only: Filter
) -> tuple[list[StoredEntry], list[Stated], str | None]:
    """One page: of what came by API, and behind it of what stands in the file; and the cursor of the next."""
    found: list[StoredEntry] = []
    begin = wanted.place
    if begin is None and only.origin != "file":
        found, following = page(changes.store, kind, wanted, only.prefixes, keep=only.keep, search=only.search)
        if following is not None or only.origin == "api":
            return found, [], following
    left = wanted.limit - len(found)
    name = only.name or only.under
    scan = changes.scan
    said, more = stated.page(scan, begin or 0, left, only.wants, name, under=only.name is None)
    return found, said, None if more is None else paging.place(more)


def clear(
    kind: Kind, name: str, caller: Caller, wanted: Callable[[dict[str, Any]], bool], heed: Callable[[Stated], bool]
) -> Callable[[View], Plan]:
    """Deletes the entries of a name that are wanted. If the file alone has such, that is said."""

    def plan(view: View) -> Plan:
        found = [row for row in view.page(kind, under=exactly(name), limit=MAX_CLEARED) if wanted(row.doc)]
        if not found:
            stated.refuse(view.scan, name, heed)
            raise Missing(f"there is nothing of {name} that came by API", fix="list them")
        return Plan(edits=tuple(Edit(kind, row.key, None) for row in found))

    caller.require(name)
    return plan


def add(kind: Kind, key: bytes, doc: str) -> Callable[[View], Plan]:
    """Puts an entry, or changes the one of that key."""

    def plan(view: View) -> Plan:
        if view.get(kind, key) is None:
            _alone(view, kind, key, doc, None)
        return Plan(edits=(Edit(kind, key, doc),))

    return plan


def replace(kind: Kind, id: int, key: bytes, doc: str, caller: Caller, same: Demand) -> Callable[[View], Plan]:  # noqa: A002
    """Gives the entry of that id another content."""

    def plan(view: View) -> Plan:
        entry = present(view.by_id(kind, id), id)
        caller.require(entry.doc["name"])
        same.hold(etag.entity(entry.revision, id))
        other = view.get(kind, key)
        if other is not None and other.id != id:
            raise Conflict(f"{kind} {other.id} has that content already", fix=f"delete one of {id} and {other.id}")
        _alone(view, kind, key, doc, id)
        return Plan(edits=(Edit(kind, key, doc, id),))

    return plan


def _alone(view: View, kind: Kind, key: bytes, doc: str, id: int | None) -> None:  # noqa: A002
    """Raises Conflict for a CNAME beside other data of its name (RFC 2181, section 10.1). `id` is what gives way."""
    if kind != "record":
        return
    made = msgspec.json.decode(doc)
    for other in view.page(kind, under=exactly(made["name"]), limit=MAX_BESIDE):
        if other.id != id and other.key != key and "CNAME" in (made["type"], other.doc["type"]):
            raise Conflict(
                f"{made['name']} has {other.doc['type']} {other.doc['value']}, and a CNAME stands alone",
                fix=f"delete record {other.id} first",
            )


def remove(kind: Kind, id: int, caller: Caller, same: Demand) -> Callable[[View], Plan]:  # noqa: A002
    """Deletes the entry of that id."""

    def plan(view: View) -> Plan:
        entry = present(view.by_id(kind, id), id)
        caller.require(entry.doc["name"])
        same.hold(etag.entity(entry.revision, id))
        return Plan(edits=(Edit(kind, entry.key, None),))

    return plan


def present(entry: StoredEntry | None, id: int) -> StoredEntry:  # noqa: A002
    """The entry, which has to be there. Raises Missing."""
    if entry is None:
        raise Missing(f"there is no entry {id}", fix="list them")
    return entry
