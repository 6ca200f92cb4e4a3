"""Upstream servers that can be told how to misbehave, all sockets of one fleet in one child process that can be killed.

Owns what each kind of misbehaviour puts on the wire, and the one function from a name to its true address. Run as a
program it is the child: it needs nothing but the standard library, and it must never import runbound.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import heapq
import itertools
import json
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

A, TXT, SOA, OPT, IN, CH = 1, 16, 6, 41, 1, 3
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
RESPONSE, AUTHORITATIVE, TRUNCATED, AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0080
TTL_S = 3600
LIE = bytes((66, 6, 6, 6))
"""The address that no true answer has; whoever hands it out has believed a liar."""
PRIVATE = bytes((10, 6, 6, 6))
"""What an attacker rebinds a name to."""
BIG_TXT_OCTETS = 100


def true_address(qname: bytes) -> bytes:
    """The one right A record of a name in wire form, whatever its spelling: a public address, never `LIE`."""
    return b"\x5d" + hashlib.sha256(qname.lower()).digest()[:3]


def true_texts(qname: bytes) -> list[bytes]:
    """The right TXT records: as many as the first label says (`big30-…`: 30), one by default."""
    label = qname[1 : 1 + qname[0]].lower()
    count = int(label[3:].split(b"-")[0]) if label.startswith(b"big") else 1
    seed = hashlib.sha256(qname.lower()).hexdigest()
    return [(f"{number}-{seed}" * 2)[:BIG_TXT_OCTETS].encode() for number in range(count)]


class Question(NamedTuple):
    """A question as it stood in a packet."""

    id: bytes
    qname: bytes
    rtype: int
    rclass: int
    edns: bool
    tcp: bool

    @property
    def wire(self) -> bytes:
        """The question section."""
        return self.qname + struct.pack("!HH", self.rtype, self.rclass)


def read_question(packet: bytes, tcp: bool) -> Question:
    """The question of a packet from a resolver."""
    at = 12
    while packet[at]:
        at += 1 + packet[at]
    at += 1
    rtype, rclass = struct.unpack("!HH", packet[at : at + 4])
    return Question(packet[:2], packet[12:at], rtype, rclass, packet[11] > 0, tcp)


def record(owner: bytes, rtype: int, rdata: bytes, ttl: int = TTL_S) -> bytes:
    """One resource record of class IN."""
    return owner + struct.pack("!HHIH", rtype, IN, ttl, len(rdata)) + rdata


def name(text: str) -> bytes:
    """A name in wire form, without escapes."""
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def message(
    asked: Question,
    answer: Sequence[bytes] = (),
    authority: Sequence[bytes] = (),
    additional: Sequence[bytes] = (),
    rcode: int = NOERROR,
    flags: int = RESPONSE | AVAILABLE | 0x0100,
    edns: bool | None = None,
    question: bytes | None = None,
) -> bytes:
    """A reply; with EDNS when the question had it."""
    more = list(additional)
    if asked.edns if edns is None else edns:
        more.append(b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0))
    counts = struct.pack("!5H", flags | rcode, 1, len(answer), len(authority), len(more))
    return asked.id + counts + (asked.wire if question is None else question) + b"".join([*answer, *authority, *more])


def right_records(asked: Question, ttl: int = TTL_S) -> list[bytes]:
    """The true answer section."""
    owner = b"\xc0\x0c"
    if asked.rclass != IN:
        return []
    if asked.rtype == A:
        return [record(owner, A, true_address(asked.qname), ttl)]
    if asked.rtype == TXT:
        return [record(owner, TXT, bytes([len(text)]) + text, ttl) for text in true_texts(asked.qname)]
    return []


def right(asked: Question, ttl: int = TTL_S) -> bytes:
    """The true reply, truncated over UDP when it is larger than 1232 octets."""
    whole = message(asked, right_records(asked, ttl))
    if asked.tcp or len(whole) <= 1232:
        return whole
    return message(asked, flags=RESPONSE | AVAILABLE | TRUNCATED | 0x0100)


def lie(asked: Question, address: bytes = LIE, **how: object) -> bytes:
    """A well-formed reply with a wrong address."""
    return message(asked, [record(b"\xc0\x0c", A, address)], **how)  # type: ignore[arg-type]


class Close:
    """Ends the stream instead of sending."""


CLOSE = Close()
Reply = tuple[float, "bytes | Close", bool]
"""Seconds to wait, what to send, and whether it goes in an odd way: over TCP without a length before it, over UDP from
another port than the one that was asked."""


def _say(*packets: bytes, after: float = 0.0) -> list[Reply]:
    return [(after, packet, False) for packet in packets]


def _other_name(asked: Question) -> bytes:
    return b"\5other" + asked.qname + struct.pack("!HH", asked.rtype, asked.rclass)


def _swap_case(asked: Question) -> bytes:
    return asked.qname.swapcase() + struct.pack("!HH", asked.rtype, asked.rclass)


def _victim(asked: Question) -> bytes:
    """A name of the same zone that somebody else will ask for: `victim` in place of the first label."""
    return b"\6victim" + asked.qname[1 + asked.qname[0] :]


def _garbage(asked: Question) -> bytes:
    return asked.id + random.randbytes(random.randrange(0, 200))


def _half(asked: Question) -> list[Reply]:
    whole = right(asked)
    return [(0.0, struct.pack("!H", len(whole)) + whole[: len(whole) // 2], True), (0.0, CLOSE, False)]


def _truncated(asked: Question) -> bytes:
    return message(asked, flags=RESPONSE | AVAILABLE | TRUNCATED | 0x0100)


def _poison(asked: Question) -> bytes:
    victim, parent = _victim(asked), asked.qname[1 + asked.qname[0] :]
    return message(
        asked,
        [*right_records(asked), record(victim, A, LIE)],
        [record(parent, 2, _victim(asked)), record(name("net"), 2, victim)],
        [record(victim, A, LIE), record(name("victim.elsewhere.net"), A, LIE)],
    )


def _poison_alias(asked: Question) -> bytes:
    """The question's own answer, beside a chain that leads elsewhere."""
    victim = _victim(asked)
    return message(asked, [record(victim, 5, name("elsewhere.net")), *right_records(asked), record(victim, A, LIE)])


def _oversized(asked: Question) -> bytes:
    return message(asked, right_records(asked))


def _counts_lie(asked: Question) -> bytes:
    whole = bytearray(lie(asked, edns=False))
    whole[6:8] = struct.pack("!H", 40)
    return bytes(whole)


def _pointer_loop(asked: Question) -> bytes:
    start = 12 + len(asked.wire)
    return message(asked, [record(struct.pack("!H", 0xC000 | start), A, LIE)], edns=False)


def _rdata_too_long(asked: Question) -> bytes:
    return message(asked, [b"\xc0\x0c" + struct.pack("!HHIH", A, IN, TTL_S, 4000) + LIE], edns=False)


BEHAVIOURS: dict[str, Callable[[Question], list[Reply]]] = {
    "right": lambda asked: _say(right(asked)),
    "short-lived": lambda asked: _say(right(asked, 1)),
    "silent": lambda _: [],
    "unreachable": lambda _: [],
    "slow": lambda asked: _say(right(asked), after=2.0),
    "leisurely": lambda asked: _say(right(asked), after=0.4),
    "lossy": lambda asked: _say(right(asked)) if random.random() >= 0.3 else [],
    "twice": lambda asked: _say(right(asked), right(asked)),
    # What names another question than the one asked.
    "wrong id": lambda asked: _say(lie(asked._replace(id=bytes([asked.id[0] ^ 0x55, asked.id[1]])))),
    "wrong id, then right": lambda asked: _say(
        lie(asked._replace(id=bytes([asked.id[0], asked.id[1] ^ 1]))), right(asked)
    ),
    "wrong ids, then right": lambda asked: _say(
        *(
            lie(asked._replace(id=struct.pack("!H", int.from_bytes(asked.id) ^ guess)))
            for guess in range(1, 1 if asked.tcp else 60)
        ),
        right(asked),
    ),
    "from another port": lambda asked: [(0.0, lie(asked), True)],
    "wrong name": lambda asked: _say(lie(asked, question=_other_name(asked))),
    "wrong type": lambda asked: _say(
        message(asked, [record(b"\xc0\x0c", TXT, b"\3lie")], question=asked.qname + struct.pack("!HH", TXT, IN))
    ),
    "wrong class": lambda asked: _say(lie(asked, question=asked.qname + struct.pack("!HH", A, CH))),
    "wrong case": lambda asked: _say(message(asked, right_records(asked), question=_swap_case(asked))),
    "lower case": lambda asked: _say(
        message(asked, right_records(asked), question=asked.qname.lower() + asked.wire[-4:])
    ),
    "no question": lambda asked: _say(asked.id + struct.pack("!5H", 0x8180, 0, 1, 0, 0) + record(asked.qname, A, LIE)),
    "other owner": lambda asked: _say(message(asked, [record(b"\5other" + asked.qname, A, LIE)])),
    # Too large, or cut.
    "truncated": lambda asked: _say(right(asked) if asked.tcp else _truncated(asked)),
    "truncated, no TCP": lambda asked: _say(_truncated(asked)),
    "truncated over TCP": lambda asked: _say(_truncated(asked)),
    "truncated, TCP silent": lambda asked: [] if asked.tcp else _say(_truncated(asked)),
    "truncated, TCP closes": lambda asked: [(0.0, CLOSE, False)] if asked.tcp else _say(_truncated(asked)),
    "truncated, TCP stops halfway": lambda asked: _half(asked) if asked.tcp else _say(_truncated(asked)),
    "truncated, TCP wrong id": lambda asked: _say(
        lie(asked._replace(id=bytes([asked.id[0] ^ 0x55, asked.id[1]]))) if asked.tcp else _truncated(asked)
    ),
    "truncated, TCP empty": lambda asked: _say(b"" if asked.tcp else _truncated(asked)),
    "oversized": lambda asked: _say(_oversized(asked)),
    # What is no DNS reply at all.
    "cut off": lambda asked: _say(lie(asked, edns=False)[:-2]),
    "cut in the question": lambda asked: _say(lie(asked)[:15]),
    "short header": lambda asked: _say(asked.id + b"\x81\x80\0\1\0"),
    "empty": lambda _: _say(b""),
    "pointer loop": lambda asked: _say(_pointer_loop(asked)),
    "counts lie": lambda asked: _say(_counts_lie(asked)),
    "rdata too long": lambda asked: _say(_rdata_too_long(asked)),
    "trailing garbage": lambda asked: _say(right(asked) + b"\xde\xad\xbe\xef" * 5),
    "a query": lambda asked: _say(lie(asked, flags=0x0100)),
    "other opcode": lambda asked: _say(lie(asked, flags=RESPONSE | AVAILABLE | 4 << 11)),
    "random": lambda asked: _say(_garbage(asked)),
    # Replies that are well-formed and of no use.
    "REFUSED": lambda asked: _say(message(asked, rcode=REFUSED)),
    "SERVFAIL": lambda asked: _say(message(asked, rcode=SERVFAIL)),
    "NOTIMP": lambda asked: _say(message(asked, rcode=NOTIMP)),
    "YXDOMAIN": lambda asked: _say(message(asked, rcode=6)),
    "NXDOMAIN": lambda asked: _say(message(asked, rcode=NXDOMAIN)),
    "FORMERR": lambda asked: _say(message(asked, rcode=FORMERR, edns=False)),
    # Lies about other names, and addresses that must not leave.
    "poison": lambda asked: _say(_poison(asked)),
    "poison by alias": lambda asked: _say(_poison_alias(asked)),
    "private": lambda asked: _say(lie(asked, PRIVATE)),
    # Old servers.
    "FORMERR on EDNS": lambda asked: _say(message(asked, rcode=FORMERR, edns=False) if asked.edns else right(asked)),
    "bare FORMERR on EDNS": lambda asked: _say(
        asked.id + struct.pack("!5H", 0x8181, 0, 0, 0, 0) if asked.edns else right(asked)
    ),
    "NOTIMP on EDNS": lambda asked: _say(message(asked, rcode=NOTIMP, edns=False) if asked.edns else right(asked)),
    "silent on EDNS": lambda asked: [] if asked.edns else _say(right(asked)),
    "without EDNS": lambda asked: _say(message(asked, right_records(asked), edns=False)),
}
"""Name of a behaviour -> what one packet brings. `unreachable` closes the sockets, `truncated, no TCP` the TCP one."""


class _Server:
    """One address of the fleet."""

    def __init__(self, fleet: _Fleet, address: str, port: int) -> None:
        self.fleet, self.address, self.port = fleet, address, port
        self.behaviour = "right"
        self.asked = 0
        self.datagrams: socket.socket | None = None
        self.streams: socket.socket | None = None
        self.accepted: list[socket.socket] = []
        self.arrange()

    def arrange(self) -> None:
        """Opens and closes sockets as the behaviour wants."""
        reachable = self.behaviour != "unreachable"
        self._want_datagrams(reachable)
        self._want_streams(reachable and self.behaviour != "truncated, no TCP")

    def _want_datagrams(self, wanted: bool) -> None:
        if wanted and self.datagrams is None:
            self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            self.datagrams.bind((self.address, self.port))
            self.port = self.datagrams.getsockname()[1]
            self.datagrams.setblocking(False)
            self.fleet.selector.register(self.datagrams, selectors.EVENT_READ, self._datagram)
        elif not wanted and self.datagrams is not None:
            self.fleet.selector.unregister(self.datagrams)
            self.datagrams.close()
            self.datagrams = None

    def _want_streams(self, wanted: bool) -> None:
        if wanted and self.streams is None:
            self.streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.streams.bind((self.address, self.port))
            self.streams.listen(256)
            self.streams.setblocking(False)
            self.fleet.selector.register(self.streams, selectors.EVENT_READ, self._accept)
        elif not wanted and self.streams is not None:
            self.fleet.selector.unregister(self.streams)
            self.streams.close()
            self.streams = None
            for link in self.accepted:
                self.fleet.drop(link)
            self.accepted.clear()

    def _datagram(self) -> None:
        link = self.datagrams
        assert link is not None
        for _ in range(64):
            try:
                packet, client = link.recvfrom(65535)
            except OSError:
                return
            self.asked += 1
            for after, reply, odd in BEHAVIOURS[self.behaviour](read_question(packet, tcp=False)):
                if isinstance(reply, bytes):
                    way = self.fleet.elsewhere if odd else link
                    self.fleet.later(after, functools.partial(way.sendto, reply, client))

    def _accept(self) -> None:
        assert self.streams is not None
        with contextlib.suppress(OSError):
            link, _ = self.streams.accept()
            link.setblocking(False)
            self.accepted.append(link)
            buffer = bytearray()
            self.fleet.selector.register(link, selectors.EVENT_READ, lambda: self._stream(link, buffer))

    def _stream(self, link: socket.socket, buffer: bytearray) -> None:
        try:
            part = link.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        buffer += part
        if not part:
            self.fleet.drop(link)
            with contextlib.suppress(ValueError):
                self.accepted.remove(link)
            return
        while len(buffer) >= 2 and len(buffer) >= (size := 2 + int.from_bytes(buffer[:2])):
            packet = bytes(buffer[2:size])
            del buffer[:size]
            self.asked += 1
            for after, reply, raw in BEHAVIOURS[self.behaviour](read_question(packet, tcp=True)):
                if isinstance(reply, Close):
                    self.fleet.later(after, functools.partial(self.fleet.drop, link))
                else:
                    whole = reply if raw else struct.pack("!H", len(reply)) + reply
                    self.fleet.later(after, functools.partial(_send_all, link, whole))


def _send_all(link: socket.socket, octets: bytes) -> None:
    link.setblocking(True)
    link.settimeout(1.0)
    link.sendall(octets)
    link.setblocking(False)


class _Fleet:
    """The child: one loop over all sockets. Orders come by standard input, answers go to standard output, as JSON."""

    def __init__(self, addresses: Sequence[str], ports: Sequence[int]) -> None:
        self.selector = selectors.DefaultSelector()
        self.elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.due: list[tuple[float, int, Callable[[], object]]] = []
        self.serial = itertools.count()
        self.servers = [_Server(self, address, port) for address, port in zip(addresses, ports, strict=True)]
        self.selector.register(sys.stdin, selectors.EVENT_READ, self._order)

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        if seconds:
            heapq.heappush(self.due, (time.monotonic() + seconds, next(self.serial), act))
        else:
            with contextlib.suppress(OSError):
                act()

    def drop(self, link: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(link)
        link.close()

    def _order(self) -> None:
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        order = json.loads(line)
        for number in order["servers"]:
            server = self.servers[number]
            server.behaviour = order.get("behaviour", server.behaviour)
            server.arrange()
        self.say({"asked": [self.servers[number].asked for number in order["servers"]]})

    @staticmethod
    def say(what: object) -> None:
        print(json.dumps(what), flush=True)

    def run(self) -> None:
        self.say({"ports": [server.port for server in self.servers]})
        while True:
            wait = max(0.0, self.due[0][0] - time.monotonic()) if self.due else None
            for key, _ in self.selector.select(wait):
                if key.fileobj is sys.stdin or key.fileobj.fileno() >= 0:  # type: ignore[union-attr]
                    key.data()
            while self.due and self.due[0][0] <= time.monotonic():
                _, _, act = heapq.heappop(self.due)
                with contextlib.suppress(OSError):
                    act()


class Fleet:
    """The parent's side: starts the child, tells it how each server is to behave, kills it."""

    def __init__(self, addresses: Sequence[str], ports: Sequence[int] | None = None) -> None:
        self.addresses = list(addresses)
        ports = ports or [0] * len(self.addresses)
        command = [sys.executable, "-I", os.path.abspath(__file__), json.dumps([self.addresses, ports])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports: list[int] = self._read()["ports"]

    def _read(self) -> dict[str, list[int]]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the upstream process ended"
        answer: dict[str, list[int]] = json.loads(line)
        return answer

    def _order(self, order: object) -> list[int]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()["asked"]

    def behave(self, servers: Sequence[int], behaviour: str) -> None:
        """From now on these servers do this."""
        assert behaviour in BEHAVIOURS, behaviour
        self._order({"servers": list(servers), "behaviour": behaviour})

    def asked(self, servers: Sequence[int]) -> list[int]:
        """How many packets each has got so far."""
        return self._order({"servers": list(servers)})

    def at(self, number: int) -> str:
        """A server as `forward-addr` wants it."""
        return f"{self.addresses[number]}@{self.ports[number]}"

    def kill(self) -> None:
        """SIGKILL: whatever is in flight is never answered, and the ports close."""
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def _end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.stdout is not None and not self.process.stdout.closed:
            self._end()


if __name__ == "__main__":
    _Fleet(*json.loads(sys.argv[1])).run()
