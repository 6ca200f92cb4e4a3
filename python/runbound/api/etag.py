"""Versions of what is shown: `ETag`, `If-None-Match` and `If-Match` (RFC 9110, sections 8.8.3 and 13).

An entry's tag is `"r<revision>-<id>"`, of the revision that wrote it last; a list's is `"r<revision>"`, of the whole
state. So who has read something can ask for news cheaply, and can change it only if nobody else did meanwhile. This
module must never look at what is shown.
"""

from typing import Annotated, Final

from fastapi import Depends, Header, Response
from fastapi.exceptions import HTTPException
from pydantic.json_schema import SkipJsonSchema

from runbound.api.problems import ProblemError

MAX_HEADER: Final = 1024
"""Longest list of tags that is read, in characters."""


class NotModifiedError(HTTPException):
    """Raise it under a GET: what the client has is what there is, and the answer is 304 without a body."""

    def __init__(self, tag: str) -> None:
        super().__init__(304, headers={"ETag": tag})


def entity(revision: int, id: int | str) -> str:  # noqa: A002  # the member's name everywhere
    """The tag of one entry."""
    return f'"r{revision}-{id}"'


def listing(revision: int) -> str:
    """The tag of a list."""
    return f'"r{revision}"'


class Known:
    """What the client has: show it only if there is something new."""

    def __init__(
        self,
        response: Response,
        if_none_match: Annotated[
            str | SkipJsonSchema[None],
            Header(
                max_length=MAX_HEADER,
                description="Tags the client has; 304 if one is still true",
                json_schema_extra={"format": "etags"},
            ),
        ] = None,
    ) -> None:
        self._response = response
        self._tags = if_none_match

    def show(self, tag: str) -> None:
        """Marks the answer with its tag. Raises NotModifiedError if the client has that one."""
        if self._tags is not None and _among(tag, self._tags, weak=True):
            raise NotModifiedError(tag)
        self._response.headers["ETag"] = tag


class Demand:
    """What the client wants to change: only if it is still as it was read."""

    def __init__(
        self,
        if_match: Annotated[
            str | SkipJsonSchema[None],
            Header(
                max_length=MAX_HEADER,
                description="Change it only if its tag is among these",
                json_schema_extra={"format": "etags"},
            ),
        ] = None,
    ) -> None:
        self._tags = if_match

    def hold(self, tag: str) -> None:
        """Raises the problem PRECONDITION_FAILED if the client has read something else. Ask it inside the plan."""
        if self._tags is not None and not _among(tag, self._tags, weak=False):
            raise ProblemError("PRECONDITION_FAILED", f"it is {tag} now", headers={"ETag": tag})


def _among(tag: str, text: str, *, weak: bool) -> bool:
    """Whether a tag is in a list of them. A weak one is like its strong one, but never good enough to change by."""
    tags = [item.strip() for item in text.split(",")]
    return "*" in tags or tag in ([item.removeprefix("W/") for item in tags] if weak else tags)


IfNew = Annotated[Known, Depends()]
"""A GET that has a tag takes this."""
IfSame = Annotated[Demand, Depends()]
"""A PUT, PATCH or DELETE of something with a tag takes this."""
