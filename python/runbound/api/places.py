"""Places for what costs something while it lasts: streams, dumps, lookups.

One more than there are places is refused at once with a problem of its own; nobody queues. Used by the API's event loop
alone, so it needs no lock.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from runbound.api.problems import ProblemError


class Places:
    """So many at once. `code` is the problem of one too many, `retry_after` the seconds a client is told to wait.

    `share` is how many one holder may have, so that nobody keeps the others out.
    """

    def __init__(self, limit: int, code: str, retry_after: int, share: int | None = None) -> None:
        self._limit = limit
        self._code = code
        self._retry_after = retry_after
        self._share = limit if share is None else share
        self._holders: Counter[str] = Counter()
        self.taken = 0

    @contextmanager
    def take(self, holder: str = "") -> Iterator[None]:
        """Holds one place. Raises ProblemError when none is free, or the holder has enough."""
        if self._holders[holder] >= self._share:
            raise self._refused(f"the limit is {self._share} for each caller")
        if self.taken >= self._limit:
            raise self._refused(f"the limit is {self._limit}")
        self.taken += 1
        self._holders[holder] += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._holders -= Counter((holder,))  # nothing is kept of who has none

    def _refused(self, text: str) -> ProblemError:
        return ProblemError(self._code, text, headers={"Retry-After": str(self._retry_after)})


class PlacedResponse(StreamingResponse):
    """A streamed response that holds its place from the first octet until it is over, however it ends."""

    def __init__(self, content: Any, place: AbstractContextManager[None], media_type: str) -> None:
        super().__init__(content, media_type=media_type)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)
