"""A reading of the resolver each second, for rates and for everybody who watches.

One task in the API's event loop takes it, whoever listens; each listener waits for the next one. A listener that is
slow misses readings and delays nobody. It must never keep a stream open when the server stops.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import msgspec

from runbound.api import upstreams
from runbound.api.counters import per_second
from runbound.api.history import History
from runbound.api.places import Places
from runbound.ops.logging import ControlLog

INTERVAL_SECONDS: Final = 1.0
"""Between two readings."""
WINDOW: Final = 60
"""Readings that rates are made of, so a minute."""
MAX_STREAMS: Final = 128
"""Streams open at once: more than any dashboard needs, far fewer than the connections the server takes."""
MEDIA_TYPE: Final = "text/event-stream"
RETRY_MS: Final = 2000
"""When a client that lost its stream should come again, in milliseconds."""


def described(events: str) -> dict[str, object]:
    """The OpenAPI form of a response that is a stream of server-sent events; `events` says what they carry."""
    members = {"id": "Grows with each event", "event": "Its kind", "data": "JSON"}
    properties = {name: {"type": "string", "description": text} for name, text in members.items()}
    return {"description": events, "content": {MEDIA_TYPE: {"schema": {"type": "object", "properties": properties}}}}


class Watched(msgspec.Struct, frozen=True):
    """What only a stream shows, so that it is read only while there is one."""

    cache: dict[str, int]
    healthy: int
    total: int


class Reading(msgspec.Struct, frozen=True):
    """The resolver at one moment. `clock` is monotonic, in seconds."""

    number: int
    time: float
    clock: float
    stats: dict[str, int]
    watched: Watched | None


class Event(msgspec.Struct, frozen=True):
    """What a stream carries each second, as JSON."""

    time: float
    interval_secs: float
    counters: dict[str, int]
    per_second: dict[str, float]
    cache: dict[str, int]
    upstreams_healthy: int
    upstreams_total: int


class Feed:
    """Takes the readings and hands them out. Used by the API's event loop alone, but for `rates`."""

    def __init__(
        self,
        stats: Callable[[], dict[str, int]],
        usage: Callable[[], dict[str, int]],
        rows: Callable[[], list[dict[str, object]]],
        log: ControlLog,
        started: float,
    ) -> None:
        """`started` is when every counter stood at 0, on the monotonic clock."""
        self._stats = stats
        self._usage = usage
        self._rows = rows
        self._log = log
        self._readings = deque([Reading(0, 0.0, started, {}, None)], maxlen=WINDOW + 1)
        self._rendered: tuple[int, int, bytes] = (0, 0, b"")
        """The last event: of which two readings it is, and its octets, which all listeners share."""
        self.history = History()
        self._places = Places(MAX_STREAMS, "TOO_MANY_STREAMS", RETRY_MS // 1000)
        self._closed = False
        self._wake = asyncio.Event()
        self._next = asyncio.Event()

    async def run(self) -> None:
        """Takes readings until `close`. One that fails is a line in the log, and the next is tried."""
        failing = False
        while not self._closed:
            began = time.monotonic()
            self._wake.clear()
            try:
                reading = await anyio.to_thread.run_sync(partial(self._read, watched=self._places.taken > 0))
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  # whatever it is, streams go on when it is over
                if not failing:
                    self._log.error("no reading for the streams", error=repr(error))
                failing = True
            else:
                failing = False
                self._readings.append(reading)
                self.history.add(reading.time, reading.clock, reading.stats)
                self._tell()
            left = began + INTERVAL_SECONDS - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def close(self) -> None:
        """Ends every stream, now."""
        self._closed = True
        self._wake.set()
        self._tell()

    def rates(self, stats: dict[str, int]) -> tuple[dict[str, float], float]:
        """How fast counters grow, and over how many seconds that was measured: a minute, or since the start.

        Never less than one interval, so that the first second shows no wild figures.
        """
        oldest = self._readings[0]
        seconds = max(INTERVAL_SECONDS, time.monotonic() - oldest.clock)
        return per_second(oldest.stats, stats, seconds), seconds

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Counts one stream while it is open. Raises ProblemError when there are as many as may be."""
        with self._places.take():
            if self._readings[-1].watched is None:
                self._wake.set()
            yield

    async def events(self) -> AsyncIterator[bytes]:
        """The stream, in the form of server-sent events; the first comes at once."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        before: Reading | None = None
        while not self._closed:
            following, newest = self._next, self._readings[-1]
            if newest.watched is None or newest is before:
                await following.wait()
                continue
            before = before or self._readings[-2]
            yield self._event(before, newest, newest.watched)
            before = newest

    def _event(self, before: Reading, now: Reading, watched: Watched) -> bytes:
        """The octets of an event, made once for all who are to have it."""
        first, last, octets = self._rendered
        if (first, last) != (before.number, now.number):
            data = msgspec.json.encode(_event(before, now, watched))
            octets = b"id: %d\nevent: stats\ndata: %b\n\n" % (now.number, data)
            self._rendered = (before.number, now.number, octets)
        return octets

    def oldest(self) -> Reading:
        """The reading of a minute ago, or the first."""
        return self._readings[0]

    def _read(self, *, watched: bool) -> Reading:
        number = self._readings[-1].number + 1
        seen = None
        if watched:
            found = upstreams.read(self._rows())
            seen = Watched(self._usage(), upstreams.healthy(found), len(found))
        return Reading(number, time.time(), time.monotonic(), self._stats(), seen)

    def _tell(self) -> None:
        told, self._next = self._next, asyncio.Event()
        told.set()


def _event(before: Reading, now: Reading, watched: Watched) -> Event:
    seconds = now.clock - before.clock
    changed = {name: rate for name, rate in per_second(before.stats, now.stats, seconds).items() if rate}
    return Event(
        time=round(now.time, 3),
        interval_secs=round(seconds, 3),
        counters=now.stats,
        per_second=changed,
        cache=watched.cache,
        upstreams_healthy=watched.healthy,
        upstreams_total=watched.total,
    )
