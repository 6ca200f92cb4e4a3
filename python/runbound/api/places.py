"""Places for what costs something while it lasts: streams, dumps, lookups.

One more than there are places is refused at once with a problem of its own; nobody queues. Used by the API's event loop
alone, so it needs no lock.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from runbound.api.problems import ProblemError


class Places:
    """So many at once. `code` is the problem of one too many, `retry_after` the seconds a client is told to wait."""

    def __init__(self, limit: int, code: str, retry_after: int) -> None:
        self._limit = limit
        self._code = code
        self._retry_after = retry_after
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Holds one place. Raises ProblemError when none is free."""
        if self.taken >= self._limit:
            raise ProblemError(
                self._code, f"the limit is {self._limit}", headers={"Retry-After": str(self._retry_after)}
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class PlacedResponse(StreamingResponse):
    """A streamed response that holds its place from the first octet until it is over, however it ends."""

    def __init__(self, content: Any, place: AbstractContextManager[None], media_type: str) -> None:
        super().__init__(content, media_type=media_type)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)
