"""Off-path forgery: replies from the right address, with the right question, while the true answer takes its time.

The attacker sees no packet of the resolver's. It knows whom the resolver asks and what (it has asked itself), and has
to guess the port and the id (RFC 5452). So it sends to every port there is, each with an id of its own.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

import dns.message
import dns.rcode

from support.packets import Ask, exchange, receive_tcp
from support.servers import Resolver

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

TRUTH, LIE = "192.0.2.99", "192.0.2.66"
FLOOD_SECONDS = 60.0
"""How long the flood of one question may take at most; the true answer is held back until it is over."""
NAMES = 6
PORTS = range(1024, 65536)


def reply(question: bytes, identity: int, address: str) -> bytes:
    """An authoritative answer with one address."""
    head = struct.pack("!6H", identity, 0x8580, 1, 1, 0, 0)
    record = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 3600, 4) + socket.inet_aton(address)
    return head + question + record


class Slow:
    """A server that answers a datagram when it is let, and a stream at once; whoever holds it may send in its name."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.asked = threading.Event()
        self.over = threading.Event()
        self.seen: list[tuple[int, int]] = []
        """Port and id of each query that came as a datagram."""
        self.threads = [threading.Thread(target=serve, daemon=True) for serve in (self._datagrams, self._streams)]

    def _datagrams(self) -> None:
        held: list[threading.Thread] = []
        while True:
            try:
                packet, client = self.udp.recvfrom(4096)
            except OSError:
                break
            if client is None:
                break
            self.seen.append((client[1], int.from_bytes(packet[:2])))
            self.asked.set()
            held.append(threading.Thread(target=self._later, args=(packet, client)))
            held[-1].start()
        self.over.set()
        for thread in held:
            thread.join()

    def _later(self, packet: bytes, client: tuple[str, int]) -> None:
        self.over.wait(FLOOD_SECONDS)
        with contextlib.suppress(OSError):
            self.udp.sendto(self._truth(packet), client)

    def _streams(self) -> None:
        while True:
            try:
                link, _ = self.tcp.accept()
            except OSError:
                return
            with link, contextlib.suppress(OSError):
                while (packet := receive_tcp(link)) is not None:
                    answer = self._truth(packet)
                    link.sendall(len(answer).to_bytes(2) + answer)

    @staticmethod
    def _truth(packet: bytes) -> bytes:
        end = packet.index(b"\0", 12) + 5
        return reply(packet[12:end], int.from_bytes(packet[:2]), TRUTH)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self.threads:
            thread.join()


def flood(server: Slow, name: str, chance: random.Random) -> dict[int, int]:
    """A forged reply to every port, in any order; the id each was sent."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.strip(".").split("."))
    question = labels + b"\0\0\1\0\1"
    forged = bytearray(reply(question, 0, LIE))
    sent = {}
    for port in chance.sample(PORTS, len(PORTS)):
        sent[port] = chance.getrandbits(16)
        forged[:2] = sent[port].to_bytes(2)
        with contextlib.suppress(OSError):  # nobody listens there, says the system of an earlier one
            server.udp.sendto(forged, ("127.0.0.1", port))
    return sent


def hold_on(ask: Ask, resolver: tuple[str, int], told: list[bytes | None]) -> None:
    """A client in a thread of its own."""
    told.append(exchange(ask, resolver, 30.0))


def test_rfc5452_a_flood_of_forged_replies_gets_none_accepted(tmp_path: Path) -> None:
    chance = random.Random()
    with Slow() as server:
        conf = "    do-not-query-localhost: no\nforward-zone:\n    name: .\n"
        conf += f"    forward-addr: 127.0.0.1@{server.port}\n"
        with Resolver(conf, tmp_path) as resolver:
            server.over.set()  # what it asks for itself is not held back
            assert exchange(Ask("ready.example."), resolver.at, 5.0) is not None
            reached = 0
            for number in range(NAMES):
                name = f"target-{number}.bank.example."
                server.over.clear()
                server.asked.clear()
                server.seen.clear()
                told: list[bytes | None] = []
                ask = Ask(name, tcp=True)  # who holds on for the answer as long as it takes
                client = threading.Thread(target=hold_on, args=(ask, resolver.at, told))
                client.start()
                assert server.asked.wait(10.0)
                sent = flood(server, name, chance)
                queries = list(server.seen)
                server.over.set()
                client.join()
                reached += sum(port in sent for port, _ in queries)
                if any(sent.get(port) == identity for port, identity in queries):
                    continue  # one in 65,536 guesses is right
                for answer in (*told, exchange(Ask(name), resolver.at, 5.0)):
                    assert answer is not None
                    addresses = [item.to_text() for rrset in dns.message.from_wire(answer).answer for item in rrset]
                    assert LIE not in addresses
                settled = exchange(Ask(name), resolver.at, 5.0)
                assert settled is not None
                message = dns.message.from_wire(settled)
                assert message.rcode() == dns.rcode.NOERROR
                assert message.answer[0][0].to_text() == TRUTH
            assert reached >= NAMES, "the flood missed the resolver: it proves nothing"
            assert resolver.process.poll() is None
