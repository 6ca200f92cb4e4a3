"""Lists, a page at a time: the same words for every resource that has many things.

Owns the query members `limit` and `cursor` and the shape of a page. A cursor says behind which key the next page
begins, so entries that come and go meanwhile make no other one appear twice or not at all. It must never be read by a
client, and never name anything that the client has not been shown.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from runbound.api.problems import invalid

LIMIT: Final = 100
"""Things of a page if nothing else is said."""
MAX_LIMIT: Final = 1000
"""The most of a page: some hundred kilobytes of JSON, made in milliseconds."""
MAX_KEY_BYTES: Final = 1024
"""Longest key that a cursor carries, in octets: a record's key holds its data, and an address has to stay short. Behind
a longer one the cursor names the entry by its id."""
MAX_CURSOR: Final = 1400
"""Longest cursor, in characters: such a key in base64, and its mark."""

_KEY: Final = b"k"
_ID: Final = b"i"
_PLACE: Final = b"p"

T = TypeVar("T")


class Items(BaseModel, Generic[T]):
    """A page of a list. A resource makes its own of it, with a name."""

    items: list[T]
    next: str | None = Field(description="The `cursor` of the next page; null on the last")
    total: int | None = Field(description="How many there are in all, whatever the filters")


class Page(msgspec.Struct, frozen=True):
    """What part of a list is wanted."""

    limit: int = LIMIT
    after: bytes | None = None
    """The key behind which it begins; None is the beginning."""
    after_id: int | None = None
    """The entry behind which it begins, if its key is too long for a cursor."""
    place: int | None = None
    """Of things that are counted and have no key: the number at which it begins."""

    def key(self, of: Callable[[int], bytes | None]) -> bytes | None:
        """The key behind which it begins. `of` tells the key of an id, None if that is gone. Raises ProblemError."""
        if self.after_id is None:
            return self.after
        found = of(self.after_id)
        if found is None:
            raise invalid("query.cursor", "the entry it names is gone; begin again")
        return found


def cursor(key: bytes, id: int) -> str:  # noqa: A002  # the member's name everywhere
    """The cursor of what comes behind this entry."""
    text = _KEY + key if len(key) <= MAX_KEY_BYTES else _ID + str(id).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def place(number: int) -> str:
    """The cursor of things that are counted, from this number on."""
    return base64.urlsafe_b64encode(_PLACE + str(number).encode()).rstrip(b"=").decode()


def _page(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The most of one page")] = LIMIT,
    cursor: Annotated[
        str | None,
        Query(max_length=MAX_CURSOR, description="`next` of the page before", json_schema_extra={"format": "cursor"}),
    ] = None,
) -> Page:
    if cursor is None:
        return Page(limit)
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        text = b""
    mark, rest = text[:1], text[1:]
    if mark == _KEY:
        return Page(limit, rest)
    if mark in (_ID, _PLACE) and rest.isdigit() and len(rest) < 19:
        return Page(limit, after_id=int(rest)) if mark == _ID else Page(limit, place=int(rest))
    raise invalid("query.cursor", "no cursor of this list: take `next` of the page before")


Paged = Annotated[Page, Depends(_page)]
"""A list route takes this."""
