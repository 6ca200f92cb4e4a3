"""The API as the service sees it: opened with the other sockets, started after the first answer, stopped first.

Light on purpose: the web stack is imported inside the API's thread, after the engine answers. A failure there is a line
in the log and never the end of the resolver.
"""

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from runbound.api.settings import ApiKey, ApiSettings, bind, given_keys, kept_key, tls_context
from runbound.config.model import Config
from runbound.errors import RunboundError
from runbound.ops.actions import Actions, Cache
from runbound.ops.beside import Opening
from runbound.ops.change import Changes
from runbound.ops.logging import ControlLog
from runbound.state.directory import StateDirectory, StateUnusableError

if TYPE_CHECKING:
    import ssl

    from runbound.api.apikey import Holder
    from runbound.api.context import Figures
    from runbound.ops.audit import Audit
    from runbound.ops.backup import Keeper
    from runbound.ops.hsm import ApiTag, Hsm
    from runbound.ops.hsm_reload import HsmReload

    class Engine(Figures, Cache, Protocol):
        """All that the API needs of the engine."""


KEY_HELP = "give it in the environment as RUNBOUND_API_KEY, or leave it out and use the generated one"

DEAD_HELP = "take it out there: the key in force is in api.key in the state directory"

LABEL_HELP = "hsm-api-key-label: names one in the token"

IMPORT_HELP = "the account the resolver serves as must be able to read Python's files and the installed packages"


class Listeners(msgspec.Struct, frozen=True):
    """The open sockets of the API. TLS is spoken on the TCP ones; the Unix ones are protected by their mode."""

    tcp: tuple[socket.socket, ...] = ()
    unix: tuple[socket.socket, ...] = ()
    tls: "ssl.SSLContext | None" = None


class Api:
    """The control plane's API beside one service."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._started = time.monotonic()
        self.urls: list[str] = []
        """Where it listens, for people."""
        self._settings: ApiSettings | None = None
        self._keys: list[ApiKey] = []
        self._state: StateDirectory | None = None
        self._audit: Audit | None = None
        self._backups: Keeper | None = None
        self._hsm: Hsm | None = None
        self._hsm_reload: HsmReload | None = None
        self._listeners = Listeners()
        self._thread: threading.Thread | None = None
        self._stop_requested = threading.Event()

    def wanted(self, config: Config) -> bool:
        """Whether the file wants an API."""
        return config.server.api_enable

    def open(self, opening: Opening) -> None:
        """Finds the key and opens sockets and certificate, while the process may.

        A key that cannot be kept anywhere leaves the API off. Raises RunboundError for a key or certificate that is no
        good, and for an address that the file names and that cannot be had.
        """
        settings = ApiSettings.of(opening.config, opening.resolve)
        log = opening.log

        self._state, self._audit, self._backups = opening.state, opening.audit, opening.backups
        self._hsm, self._hsm_reload = opening.hsm, opening.hsm_reload
        self._keys = given_keys(opening.config.server.api_key)
        if self._hsm is not None:
            _tell_chain(log, self._hsm, self._keys)
        if not self._keys and (self._hsm is None or self._hsm.api is None):
            try:
                self._keys = [_generated(opening.state)]
            except StateUnusableError as error:
                log.error(f"the API stays off: {error.what}", help=error.fix)
                return
        if any(key.from_file for key in self._keys) and (self._hsm is None or self._hsm.api is None):
            log.warning("api-key: a key in the configuration file is read by whoever reads the file", help=KEY_HELP)
        tls = tls_context(*settings.tls) if settings.tls else None
        tcp, unix = bind(settings, opening.owner, log.error)
        self._listeners = Listeners(tuple(tcp), tuple(unix), tls)
        self.urls = [f"{'https' if tls else 'http'}://{_authority(listener)}" for listener in tcp]
        self._settings = settings

    def start(self, changes: Changes, log: ControlLog, path: str) -> None:
        """Starts the thread, if there is anything to listen on. `path` is the main configuration file."""
        settings, listeners = self._settings, self._listeners
        if settings is None or not (listeners.tcp or listeners.unix):
            return

        def body() -> None:
            try:
                from runbound.api import server
                from runbound.api.context import Context, NoTrail

                log.structure()
                actions = Actions(self._engine, lambda: changes.running.config, log)
                parts = (self._engine, changes, actions, log, self._started, settings.node, path)
                context = Context(
                    *parts, self._audit or NoTrail(), self._audit, self._backups, self._hsm, self._hsm_reload
                )
                server.serve(context, self._holder(changes, log), listeners, self._stop_requested)
            except ImportError as error:
                log.error("the API is off: a part of it cannot be loaded", error=str(error), help=IMPORT_HELP)
            except Exception as error:  # noqa: BLE001  # whatever it is, DNS goes on
                log.error("the API failed; the resolver goes on without it", error=repr(error))
            finally:
                self._release()

        self._thread = threading.Thread(target=body, name="api", daemon=True)
        self._thread.start()

    def _holder(self, changes: Changes, log: ControlLog) -> "Holder":
        """The key in force: that of a security module, else the first by the chain that is not dead.

        While a module has the key none is made in the state directory, which would look like one in force.
        """
        from runbound.api.apikey import Dead, Holder, KeyCheck, TokenCheck

        def died(key: ApiKey) -> None:
            log.warning(f"the API key from {key.source} was changed by API and is dead", help=DEAD_HELP)

        dead, state, hsm = Dead.read(changes), self._state, self._hsm
        given = [dead.check(key).mark[1] for key in self._keys]
        living = dead.living(self._keys, died)
        known = None if living is None else dead.check(living)
        self._keys = []

        def made() -> KeyCheck:
            key = _generated(state)
            if dead.holds(key):
                died(key)
                assert state is not None  # _generated has said so
                key = kept_key(state.new_api_key())
            return dead.check(key)

        if hsm is None or hsm.api is None:
            holder = Holder(known or made(), file=state, given=given)
        else:
            holder = Holder(known, token=TokenCheck(hsm.api.tag, hsm.api.nonce), file=state, given=given)

        def changed(api: "ApiTag | None") -> None:
            if api is not None:
                holder.take(TokenCheck(api.tag, api.nonce))
                return
            try:
                holder.give_up_token(made)
            except RunboundError as error:
                log.error(f"the API has no key: {error.what}", help=error.fix)

        if hsm is not None:
            hsm.api_changed = changed
        return holder

    def stop(self) -> None:
        """Asks it to finish."""
        self._stop_requested.set()

    def close(self, seconds: float) -> None:
        """Waits for the thread, so long at most, and takes the sockets away."""
        self.stop()
        if self._thread is not None:
            self._thread.join(seconds)
        self._release()
        if self._listeners.unix and self._settings is not None and self._settings.socket_path:
            with contextlib.suppress(OSError):
                os.unlink(self._settings.socket_path)

    def _release(self) -> None:
        """Closes the sockets, so that nobody waits for an answer that will not come."""
        for listener in (*self._listeners.tcp, *self._listeners.unix):
            listener.close()


def _tell_chain(log: ControlLog, hsm: "Hsm", keys: list[ApiKey]) -> None:
    """Which API key is not the one that somebody may think, where there is a security module."""
    if hsm.api is None:
        source = keys[0].source if keys else "the state directory"
        log.notice(f"the API key does not come from the HSM, but from {source}", help=LABEL_HELP)
    for key in keys if hsm.api is not None else ():
        log.notice(f"the API key from {key.source} is not used: the HSM's key comes first", help="take it out there")


def _generated(state: StateDirectory | None) -> ApiKey:
    """The key of the state directory. Raises StateUnusableError if there is none, or it cannot be had."""
    if state is None:
        raise StateUnusableError(
            "there is no state directory to keep its key in",
            fix="name a folder with state-dir:, or give the key in the environment as RUNBOUND_API_KEY",
        )
    return kept_key(state.api_key())


def _authority(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
