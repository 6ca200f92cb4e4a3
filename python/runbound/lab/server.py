"""The lab's sockets: UDP and TCP on one address and port, answered from a `World`.

Owns the transports: truncation to the asker's size, TCP's two-octet lengths, slow and silent names. It must never
decide what an answer holds; `world` does.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

import dns.exception
import dns.flags
import dns.message
import dns.name

if TYPE_CHECKING:
    from runbound.lab.world import World

DATAGRAM_LIMIT = 1232
"""Octets of the largest UDP answer, whatever the asker allows: the size that is never fragmented (RFC 9715)."""
MAX_PORT = 65535
PORT_TRIES = 20
"""Tries to find one free port for both UDP and TCP when the port asked for is 0."""


class Lab:
    """A running lab. `close` ends it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.address = ""
        self.port = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, address: str, port: int) -> None:
        """Binds both sockets. Raises OSError if one cannot be had, ValueError if that is no port."""
        if not 0 <= port <= MAX_PORT:
            raise ValueError(f"{port} is not a port (0 to {MAX_PORT})")
        loop = asyncio.get_running_loop()
        tries = 1 if port else PORT_TRIES
        for left in reversed(range(tries)):
            udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(address, port))
            bound = int(udp.get_extra_info("sockname")[1])
            try:
                self._tcp = await asyncio.start_server(self._stream, address, bound)
            except OSError:
                udp.close()
                if not left:
                    raise
                continue
            self._udp, self.address, self.port = udp, address, bound
            return

    async def close(self) -> None:
        """Stops listening and drops what is in flight."""
        if self._udp is not None:
            self._udp.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()

    def start(self, work: asyncio.Task[None]) -> None:
        """Keeps a task alive until it has ended."""
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    async def reply(self, packet: bytes, over_tcp: bool) -> bytes | None:
        """The octets to send back, after the name's delay; None for silence."""
        try:
            query = dns.message.from_wire(packet)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR:
            return None
        how = self.world.how(query.question[0].name) if query.question else self.world.how(dns.name.root)
        if how.silent:
            return None
        if how.delay:
            await asyncio.sleep(how.delay)
        answer = self.world.answer(query)
        if over_tcp:
            return answer.to_wire(max_size=65535)
        if how.truncate:
            answer.answer, answer.authority = [], []
            answer.flags |= dns.flags.TC
        room = min(max(query.payload, 512), DATAGRAM_LIMIT) if query.edns >= 0 else 512
        try:
            return answer.to_wire(max_size=room)
        except dns.exception.TooBig:
            answer.answer, answer.authority, answer.additional = [], [], []
            answer.flags |= dns.flags.TC
            return answer.to_wire(max_size=room)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self.start(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int.from_bytes(await reader.readexactly(2))
                packet = await reader.readexactly(length)
                if (answer := await self.reply(packet, over_tcp=True)) is not None:
                    writer.write(len(answer).to_bytes(2) + answer)
                    await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    """UDP's callbacks; each question is a task, so a slow name holds up nobody."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self.lab.start(asyncio.get_running_loop().create_task(self._answer(data, addr)))

    async def _answer(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        answer = await self.lab.reply(data, over_tcp=False)
        if answer is not None and self.transport is not None:
            with contextlib.suppress(OSError):
                self.transport.sendto(answer, addr)


async def serve(world: World, address: str = "127.0.0.1", port: int = 0) -> Lab:
    """Starts a lab on one address; port 0 takes a free one, found afterwards in `Lab.port`."""
    lab = Lab(world)
    await lab.open(address, port)
    return lab
