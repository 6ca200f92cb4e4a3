"""A client that accounts for every question it asks: answered once, answered twice, or lost, over UDP and over TCP.

Owns pacing and bookkeeping, and counts apart what its own socket buffers had no room for. What an answer has to say is
the caller's business; it must never judge, and never ask a question again.
"""

from __future__ import annotations

import collections
import contextlib
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PATIENCE_S = 5.0
"""How long a client waits: what stub resolvers do before they give up (resolv.conf `timeout`)."""
SO_RXQ_OVFL = 40
"""Linux: each datagram tells how many its socket has dropped for want of room."""
RECEIVE_BUFFER = 4 << 20


@dataclass(slots=True)
class Asked:
    """One question and what became of it."""

    packet: bytes
    tcp: bool
    owner: str = ""
    rtype: str = "A"
    sent: float = 0.0
    replies: list[tuple[float, bytes]] = field(default_factory=list)
    failed: str = ""

    @property
    def lost(self) -> bool:
        """Whether nothing came while the client waited."""
        return not self.replies

    @property
    def seconds(self) -> float:
        """How long the first reply took."""
        return self.replies[0][0] - self.sent


@dataclass
class Ledger:
    """All that was asked. `dropped` counts replies that came and found this client's buffers full."""

    asked: list[Asked] = field(default_factory=list)
    stray: int = 0
    dropped: int = 0

    @property
    def lost(self) -> list[Asked]:
        """Questions without a reply."""
        return [one for one in self.asked if one.lost]

    @property
    def doubled(self) -> list[Asked]:
        """Questions with more than one."""
        return [one for one in self.asked if len(one.replies) > 1]

    @property
    def slowest(self) -> float:
        """Seconds of the slowest first reply."""
        return max((one.seconds for one in self.asked if not one.lost), default=0.0)


class _Stream:
    """One TCP connection with questions under way."""

    def __init__(self, server: tuple[str, int], source: str) -> None:
        self.link = socket.create_connection(server, PATIENCE_S, (source, 0))
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.link.setblocking(False)
        self.out, self.got = bytearray(), bytearray()
        self.waiting: dict[int, Asked] = {}

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self.out[: self.link.send(self.out)]


class Client:
    """Sockets towards one server. Use `play` once; a context manager closes what is open."""

    def __init__(
        self, server: tuple[str, int], datagrams: int = 8, streams: int = 2, source: str = "127.0.0.1"
    ) -> None:
        self.server, self.source = server, source
        self.ledger = Ledger()
        self.selector = selectors.DefaultSelector()
        self.waiting: dict[tuple[int, int], Asked] = {}
        self.dropped: dict[int, int] = {}
        self.serial = 0
        self.links = [self._datagrams() for _ in range(datagrams)]
        self.streams: list[_Stream | None] = [None] * streams

    def _datagrams(self) -> socket.socket:
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        link.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        link.bind((self.source, 0))
        link.connect(self.server)
        link.setblocking(False)
        self.selector.register(link, selectors.EVENT_READ, lambda: self._receive(link))
        return link

    def play(
        self,
        questions: Iterable[Asked],
        rate: float,
        patience: float = PATIENCE_S,
        until: Callable[[], bool] | None = None,
    ) -> Ledger:
        """Sends at `rate` a second, whatever comes back, until `until` says so or the questions end; then waits."""
        source: Iterator[Asked] = iter(questions)
        begun = time.monotonic()
        count, last = 0, begun
        while until is None or not until():
            now = time.monotonic()
            due = int((now - begun) * rate) + 1 - count
            ended = False
            for _ in range(due):
                if (one := next(source, None)) is None:
                    ended = True
                    break
                self._send(one)
                count += 1
                last = one.sent
            if ended:
                break
            self._poll(max(0.0, begun + count / rate - time.monotonic()))
        while time.monotonic() < last + patience and self._outstanding():
            self._poll(0.05)
        if not self._outstanding():
            self._poll(0.05)  # a second reply to the last question
        self.ledger.dropped = sum(self.dropped.values())
        return self.ledger

    def _outstanding(self) -> bool:
        return any(not one.replies and not one.failed for one in reversed(self.ledger.asked))

    def _send(self, one: Asked) -> None:
        self.ledger.asked.append(one)
        self.serial += 1
        number = self.serial
        if one.tcp:
            return self._send_stream(one, number % len(self.streams), number & 0xFFFF)
        link = self.links[number % len(self.links)]
        # Each socket counts its own ids up, so that none is in use twice within many seconds.
        identity = (number // len(self.links) * 7919) & 0xFFFF
        one.sent = time.monotonic()
        self.waiting[link.fileno(), identity] = one
        try:
            link.send(struct.pack("!H", identity) + one.packet[2:])
        except OSError as error:  # a port that nobody listens on
            one.failed = str(error)
        return None

    def _send_stream(self, one: Asked, place: int, identity: int) -> None:
        one.sent = time.monotonic()
        stream = self.streams[place]
        if stream is None:
            try:
                stream = _Stream(self.server, self.source)
            except OSError as error:
                one.failed = f"connect: {error}"
                return
            opened = stream
            self.streams[place] = stream
            self.selector.register(stream.link, selectors.EVENT_READ, lambda: self._read_stream(opened, place))
        stream.waiting[identity] = one
        stream.out += struct.pack("!HH", len(one.packet), identity) + one.packet[2:]
        try:
            stream.flush()
        except OSError as error:
            self._end_stream(stream, place, str(error))

    def _poll(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            key.data()
        for place, stream in enumerate(self.streams):
            if stream is not None and stream.out:
                try:
                    stream.flush()
                except OSError as error:
                    self._end_stream(stream, place, str(error))

    def _receive(self, link: socket.socket) -> None:
        for _ in range(64):
            try:
                reply, notes, _, _ = link.recvmsg(65535, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            now = time.monotonic()
            for level, kind, octets in notes:
                if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
                    self.dropped[link.fileno()] = int.from_bytes(octets, "little")
            one = self.waiting.get((link.fileno(), int.from_bytes(reply[:2])))
            if one is None:
                self.ledger.stray += 1
            else:
                one.replies.append((now, reply))

    def _read_stream(self, stream: _Stream, place: int) -> None:
        try:
            part = stream.link.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            self._end_stream(stream, place, str(error))
            return
        if not part:
            self._end_stream(stream, place, "the server closed the connection")
            return
        stream.got += part
        now = time.monotonic()
        while len(stream.got) >= 2 and len(stream.got) >= (size := 2 + int.from_bytes(stream.got[:2])):
            reply = bytes(stream.got[2:size])
            del stream.got[:size]
            one = stream.waiting.get(int.from_bytes(reply[:2]))
            if one is None:
                self.ledger.stray += 1
            else:
                one.replies.append((now, reply))

    def _end_stream(self, stream: _Stream, place: int, why: str) -> None:
        for one in stream.waiting.values():
            if one.lost:
                one.failed = why
        self.selector.unregister(stream.link)
        stream.link.close()
        if self.streams[place] is stream:
            self.streams[place] = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        for link in self.links:
            link.close()
        for stream in self.streams:
            if stream is not None:
                stream.link.close()
        self.selector.close()


@dataclass(frozen=True)
class Brief:
    """The little of a reply that a load test looks at."""

    rcode: int
    addresses: frozenset[str]
    """The A records of its answer section."""


def brief(one: Asked) -> Brief:
    """Reads the first reply fast; fails when it is no clean reply to the question, spelt as it was asked."""
    reply = one.replies[0][1]
    _, flags, questions, answers = struct.unpack("!4H", reply[:8])
    end = one.packet.index(b"\0", 12) + 5
    assert flags & 0x8000, "not a reply"
    assert not flags & 0x0200, "truncated"
    if flags & 15 == 5 and len(reply) == 12:  # refused by access control: nothing of the question is repeated
        return Brief(5, frozenset())
    assert questions == 1, reply.hex()
    assert reply[12:end] == one.packet[12:end], "another question"
    addresses = []
    at = end
    for _ in range(answers):
        while (length := reply[at]) and length < 0xC0:
            at += 1 + length
        at += 2 if reply[at] else 1
        rtype, _, _, size = struct.unpack("!HHIH", reply[at : at + 10])
        at += 10 + size
        assert at <= len(reply), "the reply is cut"
        if rtype == 1:
            addresses.append(socket.inet_ntoa(reply[at - 4 : at]))
    return Brief(flags & 15, frozenset(addresses))


def tally(ledger: Ledger) -> str:
    """One line of counts, for a report."""
    kinds = collections.Counter("tcp" if one.tcp else "udp" for one in ledger.asked)
    return (
        f"{len(ledger.asked)} asked ({kinds['udp']} udp, {kinds['tcp']} tcp), {len(ledger.lost)} lost, "
        f"{len(ledger.doubled)} doubled, {ledger.dropped} dropped by the client, slowest {ledger.slowest:.3f} s"
    )
