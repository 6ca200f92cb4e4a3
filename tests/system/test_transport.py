"""Sockets: interfaces, TCP as clients use it, and how questions leave for an upstream."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import pytest

from support.packets import Ask, exchange, receive_tcp
from support.servers import HEAD, Lab, Resolver, Upstream, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SO_RCVBUFFORCE = 33
QUIET = "    api-enable: no\n"
DATA = QUIET + '    local-data: "a.example. A 192.0.2.1"\n'


def forward(address: str, port: int, more: str = "") -> str:
    return f'{QUIET}forward-zone:\n    name: "."\n{more}    forward-addr: {address}@{port}\n'


def reply_to(packet: bytes, address: str = "192.0.2.99", flags: int = 0x8180) -> bytes:
    """A NOERROR answer with one A record for the packet's question."""
    end = packet.index(b"\0", 12) + 5
    head = packet[:2] + struct.pack("!5H", flags, 1, 1, 0, 0)
    return head + packet[12:end] + b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 60, 4) + socket.inet_aton(address)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


class TestInterfaces:
    """Where it listens."""

    def test_every_address_and_port(self, tmp_path: Path) -> None:
        ports = [free_port("127.0.0.2"), free_port("::1")]
        more = f"    interface: 127.0.0.2@{ports[0]}\n    interface: ::1@{ports[1]}\n    access-control: ::1 allow\n"
        with Resolver(DATA + more, tmp_path) as resolver:
            for tcp in (False, True):
                ask = Ask("a.example.", tcp=tcp)
                assert exchange(ask, resolver.at) is not None
                assert exchange(ask, ("127.0.0.2", ports[0])) is not None
                assert exchange(ask, ("::1", ports[1])) is not None

    def test_the_name_of_an_interface(self, tmp_path: Path) -> None:
        port = free_port()
        with Resolver(DATA + f"    interface: lo@{port}\n", tmp_path) as resolver:
            assert exchange(Ask("a.example."), ("127.0.0.1", port)) is not None, resolver.log()
            assert exchange(Ask("a.example.", tcp=True), ("127.0.0.1", port)) is not None

    def test_all_addresses_answer_from_the_one_asked(self, tmp_path: Path) -> None:
        head = HEAD.replace("interface: {address}@{port}", "interface-automatic: yes\n    port: {port}")
        with Resolver(DATA, tmp_path, head=head) as resolver:
            # A connected socket takes an answer from that very address alone.
            for address in ("127.0.0.1", "127.0.0.3", "127.9.9.9"):
                for tcp in (False, True):
                    assert exchange(Ask("a.example.", tcp=tcp), (address, resolver.port)) is not None, address

    def test_what_came_while_it_stood_still_is_answered(self, tmp_path: Path) -> None:
        with (
            Resolver(DATA, tmp_path) as resolver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            client.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            client.connect(resolver.at)
            client.settimeout(5.0)
            resolver.process.send_signal(signal.SIGSTOP)
            packet = Ask("a.example.").packet()
            for number in range(2000):  # the system's own buffer holds about 250
                client.send(number.to_bytes(2) + packet[2:])
            resolver.process.send_signal(signal.SIGCONT)
            assert {int.from_bytes(client.recv(4096)[:2]) for _ in range(2000)} == set(range(2000))

    def test_several_workers_share_a_port(self, tmp_path: Path) -> None:
        head = HEAD.replace("num-threads: 1", "num-threads: 2")
        with Resolver(DATA, tmp_path, head=head) as resolver:
            for _ in range(200):
                assert exchange(Ask("a.example."), resolver.at, 2.0) is not None


class TestTcp:
    """Streams."""

    def test_answers_come_out_of_order(self, lab: Lab, tmp_path: Path) -> None:
        with (
            Resolver(forward(lab.address, lab.port), tmp_path) as resolver,
            socket.create_connection(resolver.at, 5) as link,
        ):
            for identity, name in ((1, "slow.example.com."), (2, "host.example.com."), (3, "localhost.")):
                packet = Ask(name).packet(identity)
                link.sendall(struct.pack("!H", len(packet)) + packet)
            order = [int.from_bytes((receive_tcp(link) or b"")[:2]) for _ in range(3)]
            assert sorted(order) == [1, 2, 3]
            assert order[-1] == 1, "the slow one held up the others"

    def test_a_message_in_pieces(self, tmp_path: Path) -> None:
        with Resolver(DATA, tmp_path) as resolver, socket.create_connection(resolver.at, 5) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            packet = Ask("a.example.").packet()
            for octet in struct.pack("!H", len(packet)) + packet:
                link.sendall(bytes([octet]))
                time.sleep(0.005)
            assert receive_tcp(link) is not None

    def test_many_questions_in_one_segment(self, tmp_path: Path) -> None:
        with Resolver(DATA, tmp_path) as resolver, socket.create_connection(resolver.at, 5) as link:
            packet = Ask("a.example.").packet()
            link.sendall((struct.pack("!H", len(packet)) + packet) * 100)
            assert all(receive_tcp(link) is not None for _ in range(100))

    def test_an_idle_stream_is_closed(self, tmp_path: Path) -> None:
        with (
            Resolver(QUIET + "    tcp-idle-timeout: 300\n", tmp_path) as resolver,
            socket.create_connection(resolver.at, 5) as link,
        ):
            begun = time.monotonic()
            assert link.recv(1) == b""
            assert 0.2 < time.monotonic() - begun < 3

    def test_more_streams_than_allowed_do_not_stop_service(self, tmp_path: Path) -> None:
        with Resolver(DATA + "    incoming-num-tcp: 4\n", tmp_path) as resolver:
            links = [socket.create_connection(resolver.at, 5) for _ in range(20)]
            assert exchange(Ask("a.example."), resolver.at) is not None
            for link in links:
                link.close()
            end = time.monotonic() + 5
            while exchange(Ask("a.example.", tcp=True), resolver.at) is None:
                assert time.monotonic() < end, resolver.log()


class TestUpstream:
    """Questions that leave."""

    def test_identical_questions_leave_once(self, tmp_path: Path) -> None:
        def script(_: int, packet: bytes) -> list[bytes]:
            time.sleep(0.3)
            return [reply_to(packet)]

        with Upstream(script) as upstream, Resolver(forward(upstream.address, upstream.port), tmp_path) as resolver:
            answers: list[bytes | None] = []
            threads = [
                threading.Thread(target=lambda: answers.append(exchange(Ask("one.name."), resolver.at, 3.0)))
                for _ in range(10)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert all(answer is not None for answer in answers)
            assert len(upstream.seen) == 1

    def test_ports_and_ids_are_unpredictable(self, tmp_path: Path) -> None:
        with (
            Upstream(lambda _, packet: [reply_to(packet)]) as upstream,
            Resolver(forward(upstream.address, upstream.port), tmp_path) as resolver,
        ):
            for number in range(100):
                assert exchange(Ask(f"n{number}.name."), resolver.at, 3.0) is not None
            ports = [port for _, port in upstream.seen]
            ids = [int.from_bytes(packet[:2]) for packet, _ in upstream.seen]
            for values in (ports, ids):
                assert len(set(values)) > 90
                steps = [second - first for first, second in pairwise(values)]
                assert len(set(steps)) > 80, "they follow a pattern"

    @pytest.mark.parametrize("forgery", ["id", "question", "not a reply", "short"])
    def test_a_forged_reply_is_not_taken(self, tmp_path: Path, forgery: str) -> None:
        def script(_: int, packet: bytes) -> list[bytes]:
            good = reply_to(packet)
            bad = {
                "id": bytes([packet[0] ^ 1]) + reply_to(packet, "192.0.2.66")[1:],
                "question": reply_to(packet, "192.0.2.66").replace(b"\3one\4name", b"\3two\4name"),
                "not a reply": reply_to(packet, "192.0.2.66", flags=0x0100),
                "short": packet[:11],
            }[forgery]
            return [bad, good]

        with Upstream(script) as upstream, Resolver(forward(upstream.address, upstream.port), tmp_path) as resolver:
            for _ in range(2):
                reply = exchange(Ask("one.name."), resolver.at, 4.0)
                assert reply is not None
                # RFC 5452 9.1: what does not belong to the query is passed over, and the true reply counts.
                assert dns.message.from_wire(reply).answer[0][0].to_text() == "192.0.2.99"

    def test_the_next_server_is_asked_when_one_is_silent(self, tmp_path: Path) -> None:
        with Upstream(lambda *_: []) as dead, Upstream(lambda _, packet: [reply_to(packet)]) as alive:
            conf = forward(dead.address, dead.port) + f"    forward-addr: {alive.address}@{alive.port}\n"
            with Resolver(conf, tmp_path) as resolver:
                for number in range(8):
                    reply = exchange(Ask(f"n{number}.name."), resolver.at, 5.0)
                    assert reply is not None
                    assert dns.message.from_wire(reply).rcode() == dns.rcode.NOERROR

    def test_no_server_left_is_servfail(self, tmp_path: Path) -> None:
        port = free_port()
        with Resolver(forward("127.0.0.1", port), tmp_path) as resolver:
            reply = exchange(Ask("one.name."), resolver.at, 15.0)
            assert reply is not None
            assert dns.message.from_wire(reply).rcode() == dns.rcode.SERVFAIL

    def test_the_cache_counts_down(self, lab: Lab, tmp_path: Path) -> None:
        with Resolver(forward(lab.address, lab.port), tmp_path) as resolver:

            def ttl() -> int:
                reply = exchange(Ask("host.example.com."), resolver.at, 3.0)
                assert reply is not None
                return dns.message.from_wire(reply).answer[0].ttl

            first = ttl()
            time.sleep(2.1)
            assert first - ttl() in (2, 3)
