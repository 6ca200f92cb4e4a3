"""The application over a fake engine, called through starlette's test client. Owns no test."""

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from starlette.testclient import TestClient

from runbound.api.apikey import Holder, KeyCheck
from runbound.api.app import build
from runbound.api.context import Context
from runbound.api.places import Places
from runbound.config.model import ForwardZone
from runbound.ops.actions import Actions
from runbound.ops.audit import Audit
from runbound.ops.backup import Keeper
from runbound.ops.candidate import Candidate, Running
from runbound.ops.change import Changes
from runbound.ops.logging import ControlLog
from runbound.state.entries import Note, Pending
from runbound.state.store import Store
from support.backups import backups
from support.control import WHERE, FakeEngine, FakeSource, entry, server_config
from support.stores import Opener, keys

KEY = "0123456789abcdef0123456789abcdef"


class FakeKeyFile:
    """Keeps the API key as the state directory does; `broken` is why it cannot."""

    def __init__(self) -> None:
        self.key: str | None = None
        self.broken: Exception | None = None

    def kept_api_key(self) -> str | None:
        return self.key

    def keep_api_key(self, key: str) -> str:
        if self.broken is not None:
            raise self.broken
        self.key = key
        return "/state/api.key"


class FakeTrail:
    """Keeps what would stand in the audit log."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, object]]] = []

    def record(self, event: str, actor: str, /, **fields: object) -> None:
        self.entries.append((event, actor, fields))


class Api(msgspec.Struct):
    """All that a test may want to look at."""

    client: TestClient
    engine: FakeEngine
    source: FakeSource
    changes: Changes
    now: list[float]
    context: Context
    dumps: Places
    store: Store
    trail: FakeTrail
    files: FakeKeyFile

    @property
    def key(self) -> dict[str, str]:
        """The header of a caller with the key."""
        return {"Authorization": f"Bearer {KEY}"}


@contextmanager
def listening(api: Api) -> Iterator[tuple[int, threading.Event]]:
    """The API of that context on a real socket of loopback: its port, and the event that stops it."""
    from runbound.api import server
    from runbound.api.companion import Listeners

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        arguments = (api.context, Holder(KeyCheck(KEY)), Listeners(tcp=(listener,)), stop)
        thread = threading.Thread(target=server.serve, args=arguments)
        thread.start()
        try:
            yield listener.getsockname()[1], stop
        finally:
            stop.set()
            thread.join()


@contextmanager
def open_api() -> Iterator[Api]:
    """The application of one test, with a state of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Opener(Path(folder))) as opener:
        yield from _api(opener())


def configure(api: Api, **options: Any) -> None:
    """Puts other options into the configuration in force, and a forward zone into its file."""
    running = api.changes.running
    zone = ForwardZone(at=WHERE, name=".", forward_addr=(entry("192.0.2.1"),))
    server = msgspec.structs.replace(running.config.server, **options)
    config = msgspec.structs.replace(running.config, server=server, forward_zones=(zone,))
    api.source.next = Candidate(config, ())
    api.changes._running = msgspec.structs.replace(running, config=config)


def _api(store: Store) -> Iterator[Api]:
    engine = FakeEngine()
    config = server_config(
        verbosity=2, api_key=KEY, cookie_secret="c" * 32, access_control=(entry("10.0.0.0/8", "allow"),)
    )
    source = FakeSource(config)
    store.commit([Pending(Note("runbound", "start of service", "start"))])
    store.applied([1])
    log = ControlLog(engine.log)
    trail, files = FakeTrail(), FakeKeyFile()
    changes = Changes(engine, Running(1, config, time.time()), source, log, store)
    now = [0.0]
    actions = Actions(engine, lambda: changes.running.config, log, lambda: now[0])
    audit = Audit.open(store, keys().audit, os.path.dirname(store.path), config, str, None, log)
    keeper = Keeper(store, backups(os.path.dirname(store.path)))
    context = Context(engine, changes, actions, log, time.monotonic(), "node-1", source.path, trail, audit, keeper)
    app = build(context, Holder(KeyCheck(KEY), file=files), lambda: now[0])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Api(client, engine, source, changes, now, context, app.state.dumps, store, trail, files)
    audit.stop("end of the test")
