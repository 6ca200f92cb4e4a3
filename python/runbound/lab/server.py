"""The lab's sockets: one pair, UDP and TCP, for each address of each name server and for the two resolvers.

Owns the transports and how a server misbehaves on them: delay, loss, silence, truncation, refused connections, missing
EDNS. It must never decide what an answer holds; `authority` and `resolver` do.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from typing import TYPE_CHECKING, Final, cast

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from runbound.lab import authority, resolver
from runbound.lab.answer import PAYLOAD, Reply
from runbound.lab.behaviour import PLAIN, Behaviour
from runbound.lab.names import ROOT, key_of
from runbound.lab.world import RESOLVER, VALIDATOR, Server, World

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PORT: Final = 65535
PORT_TRIES: Final = 20
"""Tries to find one port that is free everywhere when the port asked for is 0."""
HEADER: Final = 12
QR: Final = 0x80


class Responder:
    """What stands behind one address: an authoritative server, or one of the resolvers (`server` is None)."""

    def __init__(self, world: World, server: Server | None = None, *, validate: bool = False) -> None:
        self.world = world
        self.server = server
        self.validate = validate
        self.behaviour: Behaviour = PLAIN if server is None else server.entry
        self._chance = random.Random(server.name.to_text() if server is not None else "")

    def reply(self, packet: bytes, *, over_tcp: bool) -> tuple[float, bytes] | None:
        """Seconds to wait and the octets to send then; None for silence."""
        if len(packet) < HEADER or packet[2] & QR:
            return None
        try:
            query = dns.message.from_wire(packet)
        except dns.exception.DNSException:
            opcode = packet[2] & 0x78
            return 0.0, packet[:2] + struct.pack("!BBHHHH", QR | opcode, dns.rcode.FORMERR, 0, 0, 0, 0)
        question = query.question[0] if query.question else None
        named = PLAIN if question is None else self.world.how(key_of(question.name))
        ways = (self.behaviour, named)
        if any(way.silent for way in ways) or (not over_tcp and any(self._lost(way) for way in ways)):
            return None
        if query.edns >= 0 and any(way.edns == "formerr" for way in ways):
            query.use_edns(False)
            answer = dns.message.make_response(query)
            answer.set_rcode(dns.rcode.FORMERR)
            return sum(way.delay for way in ways), answer.to_wire()
        if any(way.edns == "ignored" for way in ways):
            query.use_edns(False)
        message, seconds = self._answer(query, ways)
        if over_tcp:
            return seconds + sum(way.delay for way in ways), message.to_wire(max_size=65535)
        room = min(max(query.payload, 512), PAYLOAD) if query.edns >= 0 else 512
        return seconds + sum(way.delay for way in ways), _fit(message, room, cut=any(way.truncate for way in ways))

    def _lost(self, way: Behaviour) -> bool:
        return way.loss > 0 and self._chance.random() < way.loss

    def _answer(self, query: dns.message.Message, ways: tuple[Behaviour, ...]) -> tuple[dns.message.Message, float]:
        message = dns.message.make_response(query, recursion_available=self.server is None, our_payload=PAYLOAD, pad=0)
        dnssec = query.edns >= 0 and bool(query.ednsflags & dns.flags.DO)
        if dnssec:
            message.want_dnssec()
        forced = next((way.rcode for way in ways if way.rcode != "NOERROR"), None)
        if query.edns > 0:
            message.set_rcode(dns.rcode.BADVERS)
        elif query.opcode() != dns.opcode.QUERY:
            message.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            message.set_rcode(dns.rcode.FORMERR)
        elif forced is not None:
            message.set_rcode(dns.rcode.from_text(forced))
        elif query.question[0].rdclass != dns.rdataclass.IN:
            message.set_rcode(dns.rcode.REFUSED)
        else:
            question = query.question[0]
            reply = Reply(message, question.name, dnssec=dnssec)
            return message, self._search(reply, question.rdtype, query.flags)
        return message, 0.0

    def _search(self, reply: Reply, rdtype: dns.rdatatype.RdataType, flags: int) -> float:
        if self.server is None:
            message = reply.message
            message.flags |= flags & dns.flags.CD
            wants_ad = reply.dnssec or bool(flags & dns.flags.AD)
            seconds = resolver.answer(
                self.world, reply, rdtype, validate=self.validate, checking=not flags & dns.flags.CD
            )
            if not wants_ad:
                message.flags &= ~dns.flags.AD
            return seconds
        if self.server.entry.upward:
            authority.upward(self.world.zones[ROOT], reply)
        else:
            authority.answer(self.server.zones, reply, rdtype)
        return 0.0


def _fit(message: dns.message.Message, room: int, *, cut: bool) -> bytes:
    """The octets of a datagram: what does not fit is left out as a whole, with TC."""
    if not cut:
        with contextlib.suppress(dns.exception.TooBig):
            return message.to_wire(max_size=room)
    message.answer, message.authority, message.additional = [], [], []
    message.flags |= dns.flags.TC
    return message.to_wire(max_size=room)


class Lab:
    """A running lab. `close` ends it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.address = ""
        self.port = 0
        self._udp: list[asyncio.DatagramTransport] = []
        self._tcp: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, address: str, port: int) -> None:
        """Binds every socket. Raises OSError if one cannot be had, ValueError if that is no port.

        `address` is one more address of the resolver that does not validate; with an empty one it has its own alone.
        """
        if not 0 <= port <= MAX_PORT:
            raise ValueError(f"{port} is not a port (0 to {MAX_PORT})")
        tries = 1 if port else PORT_TRIES
        for left in reversed(range(tries)):
            try:
                await self._open(address or self.world.place(RESOLVER), port)
            except OSError:
                await self.close()
                if not left:
                    raise
                continue
            return

    async def _open(self, address: str, port: int) -> None:
        world = self.world
        plain = Responder(world)
        self.address, self.port = address, await self._listen(plain, address, port)
        if (own := world.place(RESOLVER)) != address:
            await self._listen(plain, own, self.port)
        await self._listen(Responder(world, validate=True), world.place(VALIDATOR), self.port)
        for server in world.servers.values():
            responder = Responder(world, server)
            for its in server.addresses:
                await self._listen(responder, its, self.port)

    async def _listen(self, responder: Responder, address: str, port: int) -> int:
        """Opens one address; the port it got."""
        loop = asyncio.get_running_loop()
        try:
            udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(responder), local_addr=(address, port))
            self._udp.append(udp)
            bound = int(udp.get_extra_info("sockname")[1])
            if responder.behaviour.tcp:
                stream = _Streams(responder, self.start)
                self._tcp.append(await asyncio.start_server(stream.serve, address, bound))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address} port {port}: {error.strerror}") from error
        return bound

    async def close(self) -> None:
        """Stops listening and drops what is in flight."""
        for udp in self._udp:
            udp.close()
        for task in list(self._tasks):
            task.cancel()
        for tcp in self._tcp:
            tcp.close()
        for tcp in self._tcp:
            await tcp.wait_closed()
        self._udp.clear()
        self._tcp.clear()

    def start(self, work: asyncio.Task[None]) -> None:
        """Keeps a task alive until it has ended."""
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    """UDP's callbacks; an answer that waits is a timer, so it holds up nobody."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if (answer := self._responder.reply(data, over_tcp=False)) is not None:
            seconds, octets = answer
            if seconds:
                asyncio.get_running_loop().call_later(seconds, self._send, octets, addr)
            else:
                self._send(octets, addr)

    def _send(self, octets: bytes, addr: tuple[str | int, ...]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):
                self._transport.sendto(octets, addr)


class _Streams:
    """TCP's connections, the questions of each answered one after another."""

    def __init__(self, responder: Responder, keep: Callable[[asyncio.Task[None]], None]) -> None:
        self._responder = responder
        self._keep = keep

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until its peer ends it."""
        if (task := asyncio.current_task()) is not None:
            self._keep(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                packet = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                if (answer := self._responder.reply(packet, over_tcp=True)) is not None:
                    seconds, octets = answer
                    if seconds:
                        await asyncio.sleep(seconds)
                    writer.write(len(octets).to_bytes(2) + octets)
                    await writer.drain()
        writer.close()


async def serve(world: World, address: str = "127.0.0.1", port: int = 0) -> Lab:
    """Starts a lab; port 0 takes one that is free everywhere, found afterwards in `Lab.port`."""
    lab = Lab(world)
    await lab.open(address, port)
    return lab
