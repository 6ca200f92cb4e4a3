"""The query log as it grows, for everybody who watches.

What came since is fetched and rendered once a second for each filter that somebody watches by, and all who do share the
octets. A listener that was slow or away fetches what it missed by itself and is in step again, so nobody waits for
anybody. It must never keep a stream open when the server stops, and asks the engine nothing while nobody watches.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import anyio.to_thread
import msgspec

from runbound.api.feed import RETRY_MS
from runbound.api.places import Places
from runbound.ops.logging import ControlLog

INTERVAL_SECONDS: Final = 1.0
"""Between two looks."""
MAX_STREAMS: Final = 128
"""Streams open at once."""
MAX_ENTRIES: Final = 500
"""Entries of one event at most, the newest; `skipped` says how many it lacks. More a second nobody reads."""
SILENCE_SECONDS: Final = 15.0
"""How long a stream says nothing at most: then a comment tells both ends that the other is there."""

ReadTail = Callable[[bytes, int], tuple[int, int, bytes]]
"""`Engine.query_log_tail`."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which entries are wanted, as the engine reads it; `runbound.engine` says what each member means."""

    actions: tuple[str, ...] = ()
    client: str | None = None
    name: str | None = None
    rtype: str | None = None
    rcode: str | None = None
    since_us: int = 0
    before: int | None = None
    after: int = 0

    def packed(self) -> bytes:
        """The form that crosses to the engine."""
        return msgspec.msgpack.encode(self)


class _Channel:
    """What is new for one filter: the entries after `begin` up to `end`, rendered."""

    def __init__(self, end: int) -> None:
        self.begin = end
        self.end = end
        self.octets = b""
        self.listeners = 0
        self.next = asyncio.Event()

    def tell(self) -> None:
        told, self.next = self.next, asyncio.Event()
        told.set()


class Tail:
    """Hands the log out as it grows. Used by the API's event loop alone."""

    def __init__(self, read: ReadTail, log: ControlLog) -> None:
        self._read = read
        self._log = log
        self._channels: dict[Filter, _Channel] = {}
        self._places = Places(MAX_STREAMS, "TOO_MANY_STREAMS", RETRY_MS // 1000)
        self._closed = False
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Looks for what is new until `close`, while somebody watches. A look that fails is a line in the log."""
        failing = False
        while not self._closed:
            self._wake.clear()
            if not self._channels:
                await self._wake.wait()
                continue
            for wanted, channel in tuple(self._channels.items()):
                try:
                    end, octets = await self._fetch(wanted, channel.end, None)
                except Exception as error:  # noqa: BLE001  # whatever it is, streams go on when it is over
                    if not failing:
                        self._log.error("no look at the query log for the streams", error=repr(error))
                    failing = True
                    continue
                failing = False
                if end > channel.end:
                    channel.begin, channel.end, channel.octets = channel.end, end, octets
                    channel.tell()
            await asyncio.sleep(INTERVAL_SECONDS)

    def close(self) -> None:
        """Ends every stream, now."""
        self._closed = True
        self._wake.set()
        for channel in self._channels.values():
            channel.tell()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Counts one stream while it is open. Raises ProblemError when there are as many as may be."""
        with self._places.take():
            yield

    async def events(self, wanted: Filter, seen: int | None, backlog: int) -> AsyncIterator[bytes]:
        """The stream, in the form of server-sent events.

        It goes on behind the entry of number `seen`, if that is given, else it begins with the newest `backlog`. The
        first event comes at once, even if it has no entries: its id says where the stream stands.
        """
        yield f"retry: {RETRY_MS}\n\n".encode()
        channel = await self._enter(wanted)
        try:
            at = channel.end
            if seen is None:
                at, octets = await self._fetch(wanted, 0, at + 1, backlog, first=True)
            else:
                at, octets = await self._fetch(wanted, min(seen, at), at + 1)
            yield octets or _event(at, b"[]", 0)
            while not self._closed:
                following = channel.next
                if channel.end == at:
                    try:
                        async with asyncio.timeout(SILENCE_SECONDS):
                            await following.wait()
                    except TimeoutError:
                        yield b":\n\n"
                    continue
                if channel.begin == at:
                    at, octets = channel.end, channel.octets
                else:
                    at, octets = await self._fetch(wanted, at, channel.end + 1)
                if octets:
                    yield octets
        finally:
            self._leave(wanted, channel)

    async def _enter(self, wanted: Filter) -> _Channel:
        channel = self._channels.get(wanted)
        if channel is None:
            end, _ = await self._fetch(wanted, 0, None, 0)
            channel = self._channels.setdefault(wanted, _Channel(end))
        channel.listeners += 1
        self._wake.set()
        return channel

    def _leave(self, wanted: Filter, channel: _Channel) -> None:
        channel.listeners -= 1
        if not channel.listeners:
            self._channels.pop(wanted, None)

    async def _fetch(
        self, wanted: Filter, after: int, before: int | None, most: int = MAX_ENTRIES, *, first: bool = False
    ) -> tuple[int, bytes]:
        """The number of the last entry there is (below `before`), and the event; no octets if there is none.

        Who begins has missed none of the entries that are left out.
        """
        packed = msgspec.structs.replace(wanted, after=after, before=before).packed()
        end, skipped, entries = await anyio.to_thread.run_sync(partial(self._read, packed, most))
        skipped = 0 if first else skipped
        if entries == b"[]" and not skipped:
            return max(end, after), b""
        return max(end, after), _event(end, entries, skipped)


def _event(end: int, entries: bytes, skipped: int) -> bytes:
    return b'id: %d\nevent: log\ndata: {"entries":%b,"skipped":%d}\n\n' % (end, entries, skipped)
