"""uvicorn on sockets that are open already, in an event loop of this thread.

Imports the whole web stack, so only the API's thread may import it. It must never touch signals: they belong to the
main thread.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Final

import uvicorn
from fastapi import FastAPI

from runbound.api.app import build
from runbound.api.auth import KeyCheck
from runbound.api.companion import Listeners
from runbound.api.context import Context
from runbound.api.settings import ApiKey
from runbound.ops.logging import ControlLog

if TYPE_CHECKING:
    import ssl

KEEP_ALIVE_SECONDS: Final = 15
"""How long an idle connection is kept."""
MAX_CONNECTIONS: Final = 512
"""Connections and running requests at once; beyond it uvicorn answers 503. Strangers cannot take all descriptors."""
STOP_SECONDS: Final = 1
"""How long a running request may take when the API stops."""
STOP_POLL_SECONDS: Final = 0.1
"""How often the loop looks whether it should stop."""


def serve(context: Context, key: ApiKey, listeners: Listeners, stop: threading.Event) -> None:
    """Serves until `stop` is set, then finishes what is in flight and closes the sockets."""
    _carry_library_logs(context.log)
    app = build(context, KeyCheck(key.secret))
    asyncio.run(_serve(app, context.log, listeners, stop))


async def _serve(app: FastAPI, log: ControlLog, listeners: Listeners, stop: threading.Event) -> None:
    servers = [
        (_Server(_config(app, tls)), list(sockets))
        for sockets, tls in ((listeners.tcp, listeners.tls), (listeners.unix, None))
        if sockets
    ]
    tasks = [asyncio.create_task(server.serve(sockets)) for server, sockets in servers]
    log.info("API is up", addresses=", ".join(_names([*listeners.tcp, *listeners.unix])))
    while not stop.is_set():
        await asyncio.sleep(STOP_POLL_SECONDS)
    for server, _ in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves signals alone."""
        yield


def _config(app: FastAPI, tls: "ssl.SSLContext | None") -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )


def _names(sockets: Sequence[socket.socket]) -> list[str]:
    names = []
    for listener in sockets:
        name = listener.getsockname()
        names.append(name if isinstance(name, str) else f"{name[0]}@{name[1]}")
    return names


def _carry_library_logs(log: ControlLog) -> None:
    """Sends what uvicorn and asyncio log at warning and above to our log."""
    handler = _Handler(log)
    for name in ("uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.WARNING)
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
