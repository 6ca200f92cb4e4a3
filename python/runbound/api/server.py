"""uvicorn on sockets that are open already, in an event loop of this thread.

Imports the whole web stack, so only the API's thread may import it. It must never touch signals: they belong to the
main thread.
"""

import asyncio
import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Final

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from runbound.api import problems
from runbound.api.apikey import Holder
from runbound.api.app import build
from runbound.api.auth import CALLER
from runbound.api.companion import Listeners
from runbound.api.context import Context
from runbound.api.feed import Feed
from runbound.api.identify import PEER
from runbound.api.tail import Tail
from runbound.ops.logging import ControlLog

if TYPE_CHECKING:
    import ssl

KEEP_ALIVE_SECONDS: Final = 15
"""How long an idle connection is kept."""
REQUEST_SECONDS: Final = 30
"""How long a client may take to send a request, body and all, counted from the connection or from the request before:
one that only connects would keep its descriptor for ever. Longer than KEEP_ALIVE_SECONDS, so the last idle moment
leaves time for a request. Who has shown the key may take longer, as long as octets keep coming."""
TAKE_SECONDS: Final = 30
"""How long a client may leave what is sent to it untaken: one that stops reading would hold its stream for ever."""
MAX_CONNECTIONS: Final = 512
"""Connections at once, all listeners of a kind together; one more is closed unread. Strangers cannot take the
descriptors that DNS needs."""
STOP_SECONDS: Final = 1
"""How long a running request may take when the API stops; then it is answered with `STOPPING`."""
STOP_LIMIT_SECONDS: Final = STOP_SECONDS + 1
"""When uvicorn ends what has not ended by then."""
STOP_POLL_SECONDS: Final = 0.1
"""How often the loop looks whether it should stop."""


def serve(context: Context, key: Holder, listeners: Listeners, stop: threading.Event) -> None:
    """Serves until `stop` is set, then finishes what is in flight and closes the sockets."""
    _carry_library_logs(context.log)
    app = build(context, key)
    asyncio.run(_serve(app, context.log, listeners, stop))


async def _serve(app: FastAPI, log: ControlLog, listeners: Listeners, stop: threading.Event) -> None:
    servers = [
        (_Server(_config(app, tls)), list(sockets))
        for sockets, tls in ((listeners.tcp, listeners.tls), (listeners.unix, None))
        if sockets
    ]
    feed: Feed = app.state.feed
    tail: Tail = app.state.tail
    tasks = [asyncio.create_task(server.serve(sockets)) for server, sockets in servers]
    tasks.append(asyncio.create_task(feed.run()))
    tasks.append(asyncio.create_task(tail.run()))
    log.info("API is up", addresses=", ".join(_names([*listeners.tcp, *listeners.unix])))
    while not stop.is_set():
        await asyncio.sleep(STOP_POLL_SECONDS)
    feed.close()
    tail.close()
    for server, _ in servers:
        server.should_exit = True
    await asyncio.wait(tasks, timeout=STOP_SECONDS)
    for server, _ in servers:
        for request in server.server_state.tasks:
            request.cancel()
    await asyncio.gather(*tasks)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves signals alone."""
        yield


class _Protocol(H11Protocol):
    """uvicorn's, with bounds on what a client that sends nothing, or slowly, may hold."""

    _patience: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None
    _came = False
    """Whether octets have come since the patience was last counted anew."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if (peer := _peer(transport)) is not None:
            self.app_state = {**self.app_state, PEER: peer}
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_came()
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._came = True
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._request_came()
        elif self._patience is None:
            self._expect_request()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered with a problem too."""
        answer = problems.response(problems.problem("MALFORMED_REQUEST", msg))
        head = h11.Response(status_code=answer.status_code, headers=[*answer.raw_headers, (b"connection", b"close")])
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _expect_request(self) -> None:
        self._came = False
        self._patience = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        if self._came and self.conn.their_state is h11.SEND_BODY and self.scope.get(CALLER) is not None:
            self._expect_request()
        else:
            self.transport.abort()

    def _taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _request_came(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _config(app: FastAPI, tls: "ssl.SSLContext | None") -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_LIMIT_SECONDS,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )


def _peer(transport: asyncio.Transport) -> int | None:
    """User id of the process at the other end of a Unix socket, as it was when it connected; None for TCP."""
    channel = transport.get_extra_info("socket")
    if channel is None or channel.family != socket.AF_UNIX:
        return None
    credentials = struct.Struct("3i")  # pid, uid, gid
    _, uid, _ = credentials.unpack(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    return int(uid)


def _names(sockets: Sequence[socket.socket]) -> list[str]:
    names = []
    for listener in sockets:
        name = listener.getsockname()
        names.append(name if isinstance(name, str) else f"{name[0]}@{name[1]}")
    return names


def _carry_library_logs(log: ControlLog) -> None:
    """Sends what uvicorn and asyncio log to our log: of uvicorn errors alone, its warnings are of clients' nonsense."""
    handler = _Handler(log)
    for name, level in (("uvicorn", logging.ERROR), ("asyncio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _Handler(logging.Handler):
    """One record, one line; tracebacks are the gate's to log, with the request id."""

    def __init__(self, log: ControlLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        (self._log.error if record.levelno >= logging.ERROR else self._log.warning)(
            record.getMessage().split("\n", 1)[0], library=record.name
        )
