"""What the resolver did, minute by minute, for a day.

Owns the points: each is what the counters grew by between two readings that lie a minute apart. Used by the API's event
loop alone. It must never grow beyond `POINTS`, and ends with the process.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from runbound.api.counters import MICROSECONDS

STEP_SECONDS: Final = 60.0
"""Between two points."""
POINTS: Final = 24 * 60
"""Points kept: a day."""

COUNTED: Final = {
    "queries": "total.num.queries",
    "cache_hits": "total.num.cachehits",
    "resolved": "total.num.recursivereplies",
    "expired": "total.num.expired",
    "blocked": "num.answer.blocked",
    "servfail": "total.num.answers_servfail",
}
"""Member of a point and the counter it comes from."""


class Point(msgspec.Struct, frozen=True):
    """What happened in the `seconds` before `time` (since 1970)."""

    time: float
    seconds: float
    queries: int
    cache_hits: int
    resolved: int
    expired: int
    blocked: int
    servfail: int
    resolving_ms: float | None
    """The mean over what had to be resolved; None if nothing had."""


def between(time: float, seconds: float, before: Mapping[str, int], after: Mapping[str, int]) -> Point:
    """What counters say that lie some seconds apart. One that `before` lacks stood at 0."""

    def grown(name: str) -> int:
        return max(0, after.get(name, 0) - before.get(name, 0))

    counts = {member: grown(name) for member, name in COUNTED.items()}
    resolved, spent = counts["resolved"], grown("total.recursion.time.sum")
    mean = round(spent / resolved / (MICROSECONDS / 1000), 3) if resolved else None
    return Point(time=round(time, 3), seconds=round(seconds, 3), **counts, resolving_ms=mean)


class History:
    """The points of the last day."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._last: tuple[float, Mapping[str, int]] | None = None

    def add(self, time: float, clock: float, stats: Mapping[str, int]) -> None:
        """Takes a reading, at `time` since 1970 and `clock` on the monotonic clock; each minute one becomes a point."""
        if self._last is None:
            self._last = (clock, stats)
        since, before = self._last
        if clock - since >= STEP_SECONDS:
            self._points.append(between(time, clock - since, before, stats))
            self._last = (clock, stats)

    def points(self, most: int) -> Sequence[Point]:
        """The newest points, the oldest of them first."""
        return tuple(self._points)[-most:]
