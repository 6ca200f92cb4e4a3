"""The life of the process: start, signals, reload, end.

The order of a start is fixed, and each step is where it is for a reason:

1. parse and check the file, refuse what would be dangerous to ignore: nothing has been touched yet;
2. open the log, so that everything after this is written where the operator looks;
3. block the signals in this thread before any other exists, so that every thread inherits the mask and the main thread
   alone receives them;
4. load the keys of a security module, if the file names one: it is asked before anything is opened, because without its
   keys nothing may be served;
5. open the state, prove it, and lay over the file what was changed by API: a state that is not as it was written stops
   the start, none at all does not;
6. open everything else that needs rights: DNS sockets (or the service manager's), API sockets, pidfile;
7. drop privileges; 8. start the workers: from here on DNS is answered;
9. tell systemd, write the pidfile, and only then start the companion (the API), which loads in a thread of its own.

The main thread then waits for signals and does nothing else: no query passes here. SIGHUP reloads through
`ops.change`, SIGUSR1 opens the log anew, SIGTERM and SIGINT drain and end with exit code 0 (a second one cuts the
draining short).
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from runbound import __version__
from runbound.config import options, paths
from runbound.config.model import Config
from runbound.engine import Delta, EngineError, Overlay, Scan, drop_privileges
from runbound.errors import EXIT_CONFIG, ConfigError, RunboundError
from runbound.keys import names_module
from runbound.ops import excuses, privileges
from runbound.ops.beginning import Beginning
from runbound.ops.beside import Companion, Opening
from runbound.ops.candidate import Source, tell
from runbound.ops.change import Change, Changes, Edited
from runbound.ops.logging import ControlLog
from runbound.ops.notify import Notifier, inherited_sockets
from runbound.ops.nowhere import Nowhere
from runbound.ops.pidfile import PidFile
from runbound.ops.refusals import StateUnavailable
from runbound.ops.view import Kept
from runbound.state.directory import DATABASE_NAME, StateDirectory, StateUnusableError, locate

if TYPE_CHECKING:
    from runbound.ops.audit import Audit
    from runbound.ops.backup import Keeper
    from runbound.ops.hsm import Hsm
    from runbound.ops.hsm_reload import HsmReload
    from runbound.ops.keys import Given
    from runbound.state.store import Store

options.honour("server", "directory", "chroot", "drain-timeout", "use-systemd", "do-daemonize", "num-threads")

SIGNALS: Final = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
IDLE_SECONDS: Final = 3600.0
"""How long the main thread sleeps when nobody watches it; any value does, a signal wakes it."""
COMPANION_STOP_SECONDS: Final = 3.0
"""How long an API request in flight may delay the end."""
DRAIN_POLL_SECONDS: Final = 0.05
"""How often the end of draining is looked for while a second signal could still come."""


class Engine(Protocol):
    """The engine as the service uses it; tests hand in one of their own."""

    def open_log(self, document: bytes) -> None: ...
    def bind(self, document: bytes, inherited: tuple[int, ...]) -> None: ...
    def start(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> None: ...
    def apply(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> list[tuple[str, str]]: ...
    def amend(self, revision: int, delta: Delta) -> None: ...
    def excuse(self, name: str, seconds: int, recheck_s: int, reason: str) -> bool: ...
    def stats(self) -> dict[str, int]: ...
    def health(self) -> dict[str, int]: ...
    def listening(self) -> list[str]: ...
    def log(self, level: str, text: str) -> None: ...
    def reopen_log(self) -> None: ...
    def drain(self, seconds: float) -> None: ...
    def stop(self) -> None: ...


class Service:
    """One running resolver."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        companion: Companion | None = None,
        *,
        pidfile: bool = True,
        notifier: Notifier | None = None,
    ) -> None:
        self.engine = engine
        self.source = source
        self.log = ControlLog(engine.log)
        self.notifier = notifier or Notifier()
        self._companion = companion
        self._want_pidfile = pidfile
        self._pidfile: PidFile | None = None
        self._state: StateDirectory | None = None
        self._store: Store | None = None
        self._audit: Audit | None = None
        self._backups: Keeper | None = None
        self._hsm: Hsm | None = None
        self._given: Given | None = None
        self._ended_by = "error"
        self._changes: Changes | None = None

    @property
    def changes(self) -> Changes:
        """The write path; exists once the service has started."""
        if self._changes is None:
            raise RuntimeError("the service has not started")
        return self._changes

    def run(self, ready: Callable[["Service"], None] | None = None) -> int:
        """Starts, serves until told to stop, cleans up. Returns the exit code.

        `ready` is called once when DNS is answered and systemd knows. Raises ConfigError or RunboundError when the
        start fails; everything opened until then has been closed again.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.start()
            if ready is not None:
                ready(self)
            self._serve()
            self._drain()
        finally:
            self._close()
        return 0

    def start(self) -> None:
        """Steps 1 to 9 of the start."""
        scan = self.source.read()
        alone = self.source.build(scan)
        if not alone.ok:
            raise ConfigError(alone.diagnostics, where=self.source.path)
        try:
            self._enter(alone.config)
            self.log.verbosity = alone.config.server.verbosity
            self.engine.open_log(self.source.document(alone.config, 1))
            plan = privileges.plan(*_username(alone.config))
            if plan.note:
                self.log.warning(plan.note)
            owner = (plan.account.uid, plan.account.gid) if plan.account else None
            self._open_hsm(alone.config, plan.account)
            with _for_good(self._hsm):
                store = self._open_store(alone.config, owner)
            begun = Beginning(self.source, store, alone, self.log)
            config = begun.candidate.config
            document = self.source.document(config, 1)
            if config != alone.config:
                self.log.verbosity = config.server.verbosity
                self.engine.open_log(document)
            tell(self.log, begun.candidate.warnings)
            self._open(config, document, owner)
            if plan.account is not None:
                drop_privileges(plan.account.uid, plan.account.gid, plan.account.groups)
            running = begun.settle(self.engine)
        except EngineError as error:
            raise RunboundError(str(error)) from error
        self._changes = Changes(self.engine, running, self.source, self.log, store)
        self._changes.watch()
        excuses.resume(self.engine, self._changes, self.log)
        self.notifier.ready(f"answering on {', '.join(self.engine.listening())}")
        if self._pidfile is not None:
            self._pidfile.write()
        self.log.notice(f"start of service (runbound {__version__})", file=self.source.path)
        if self._audit is not None:
            self._audit.start(lambda: self.changes.running.config, file=self.source.path, revision=running.revision)
        if self._hsm is not None:
            self._hsm.start(self._audit)
        if self._companion is not None:
            self._companion.start(self._changes, self.log, self.source.path)

    def reload(self) -> None:
        """Reads the file again, as SIGHUP asks. A broken file changes nothing and the log says why."""
        self.notifier.reloading()
        self._reopen_log()
        try:
            result = self.changes.reload(Change("signal", "SIGHUP"))
            if isinstance(result, Edited):
                status = f"answering, revision {result.revision}"
            else:
                status = "answering, the last reload was refused: see the log"
        except (RunboundError, EngineError) as error:
            self.log.error("reload failed, nothing changed", error=str(error))
            status = "answering, the last reload failed: see the log"
        except Exception as error:  # noqa: BLE001  # a mistake of ours; what runs goes on running
            self.log.error("reload failed, nothing changed", error=repr(error))
            status = "answering, the last reload failed: see the log"
        self.notifier.ready(status)

    def _enter(self, config: Config) -> None:
        """Goes to the working directory, where relative names of the file start, the log's first."""
        folder = paths.working_directory(config, self.source.path)
        try:
            os.chdir(folder)
        except OSError as error:
            raise RunboundError(f"directory: cannot enter {folder}: {error.strerror}") from error

    def _open(self, config: Config, document: bytes, owner: tuple[int, int] | None) -> None:
        """Step 6: everything that may need rights."""
        server = config.server
        if owner is not None and server.logfile and not server.use_syslog:
            _give(self._path(config, server.logfile), owner)
        if self._companion is not None and self._companion.wanted(config):
            self._companion.open(
                Opening(
                    config,
                    owner,
                    self._state,
                    self.log,
                    lambda name: self._path(config, name),
                    self._audit,
                    self._backups,
                    self._hsm,
                    self._reloading(),
                )
            )
        if self._want_pidfile and server.pidfile:
            self._pidfile = PidFile(self._path(config, server.pidfile))
            try:
                self._pidfile.open(owner)
            except RunboundError as error:
                self.log.error(error.what)
                self._pidfile = None
            else:
                if self._pidfile.warning:
                    self.log.warning(self._pidfile.warning)
        self.engine.bind(document, inherited_sockets())

    def _open_hsm(self, config: Config, account: privileges.Account | None) -> None:
        """The keys of a security module. Who names none pays nothing for it. Raises RunboundError (exit code 78)."""
        if names_module(config):
            from runbound.ops.hsm import Hsm

            become = None if account is None else (account.uid, account.gid, list(account.groups))
            self._hsm = Hsm.load(config, become, self.log, lambda name: self._path(config, name))

    def _open_store(self, config: Config, owner: tuple[int, int] | None) -> Kept:
        """The store in the state directory, or what stands in for it and says why there is none.

        Raises StateTamperedError if it is not as it was written: then nothing is served.
        """
        try:
            self._open_state(config, owner)
            if self._state is None:
                return Nowhere(StateUnavailable("there is no state directory", fix="name a folder with state-dir:"))
            from runbound import engine
            from runbound.ops import keys
            from runbound.ops.audit import Audit
            from runbound.ops.backup import Keeper
            from runbound.state import sealing
            from runbound.state.backup import Backups
            from runbound.state.store import Store

            self._given = keys.Given.take()
            chosen = keys.choose(config, self._state, self._given, self._hsm)
            for what, fix in chosen.notes:
                self.log.notice(what, help=fix)
            for what, fix in chosen.warnings:
                self.log.warning(what, help=fix)
            folder = self._state.path
            found = msgspec.structs.replace(chosen.keys, flags=keys.flags(self.source.path, folder, config))
            self._store = Store.open(folder, found, engine, owner)
            self._audit = Audit.open(
                *(self._store, chosen.keys.audit, folder, config, lambda name: self._path(config, name), owner),
                self.log,
            )
            sealing.settle(folder, chosen.backup)
            self._backups = Keeper(self._store, Backups(folder, chosen.backup, engine.verify_signature))
        except StateUnusableError as error:
            if config.given("server", "state-dir"):
                raise
            self.log.warning(error.what, help=error.fix)
            return Nowhere(StateUnavailable(error.what, fix=error.fix))
        return self._store

    def _reloading(self) -> "HsmReload | None":
        """How the module's keys are loaded anew, where there is a module."""
        if self._hsm is None:
            return None
        from runbound.ops import keys
        from runbound.ops.hsm_reload import HsmReload
        from runbound.ops.rekey import Rekey

        state, store, audit, backups, given = self._state, self._store, self._audit, self._backups, self._given
        if state is None or store is None or audit is None or backups is None or given is None:
            return HsmReload(self._hsm, self.source, None, None, audit, self.log)
        return HsmReload(
            self._hsm,
            self.source,
            lambda config, prepared: keys.choose(config, state, given, prepared).keys,
            Rekey(store, audit, backups.backups, state.path),
            audit,
            self.log,
        )

    def _open_state(self, config: Config, owner: tuple[int, int] | None) -> None:
        """The state directory, where something needs it: the API, or what was changed by it before.

        One that the file names must be usable. One that we chose ourselves and cannot have (a read-only /etc, say)
        costs what is kept there, not the resolver, unless another process holds it: that is a second start by
        mistake.
        """
        named = bool(config.given("server", "state-dir"))
        path = locate(config.server.state_dir, paths.working_directory(config, self.source.path))
        wanted = self._companion is not None and self._companion.wanted(config)
        if named or wanted or os.path.exists(os.path.join(path, DATABASE_NAME)):
            self._state = StateDirectory.open(path, owner)

    def _serve(self) -> None:
        """Waits for signals until one asks to stop."""
        watchdog = self.notifier.watchdog_seconds
        while True:
            received = signal.sigtimedwait(SIGNALS, watchdog or IDLE_SECONDS)
            if watchdog:
                self.notifier.watchdog()
            if received is None:
                continue
            if received.si_signo in STOP_SIGNALS:
                self._ended_by = signal.Signals(received.si_signo).name
                self.log.notice("stopping", signal=self._ended_by)
                return
            if received.si_signo == signal.SIGHUP:
                self.reload()
            else:
                self._reopen_log()

    def _reopen_log(self) -> None:
        """Opens the log files anew after somebody moved them. If that fails, lines go where they went."""
        if self._audit is not None:
            self._audit.reopen()
        try:
            self.engine.reopen_log()
        except EngineError as error:
            self.log.error(str(error))

    def _drain(self) -> None:
        """Finishes what is in flight, for `drain-timeout` seconds at most or until a second signal."""
        self.notifier.stopping()
        if self._companion is not None:
            self._companion.stop()
        seconds = float(self.changes.running.config.server.drain_timeout)
        draining = threading.Thread(target=self.engine.drain, args=(seconds,), name="drain", daemon=True)
        draining.start()
        while draining.is_alive():
            if signal.sigtimedwait(STOP_SIGNALS, 0) is not None:
                break
            draining.join(DRAIN_POLL_SECONDS)

    def _close(self) -> None:
        if self._companion is not None:
            self._companion.close(COMPANION_STOP_SECONDS)
        if self._changes is not None:
            self._changes.close()
            self.log.notice("service stopped")
            self.engine.stop()
        if self._audit is not None:
            self._audit.stop(self._ended_by)
        if self._store is not None:
            self._store.close()
        if self._pidfile is not None:
            self._pidfile.remove()
        if self._state is not None:
            self._state.close()
        if self._hsm is not None:
            self._hsm.close()

    def _path(self, config: Config, name: str) -> str:
        return paths.resolve(config, self.source.path, name)


@contextlib.contextmanager
def _for_good(hsm: "Hsm | None") -> Iterator[None]:
    """A state that is not as it was written will be so at the next start too, and with keys in a token each start is a
    login: the service manager must not try again and again."""
    try:
        yield
    except RunboundError as error:
        if hsm is not None:
            from runbound.state.database import StateTamperedError

            if isinstance(error, StateTamperedError):
                error.exit_code = EXIT_CONFIG
        raise


def _username(config: Config) -> tuple[str | None, str | None]:
    """The account the file asks for and where; None if it does not say."""
    given = config.given("server", "username")
    if not given:
        return None, None
    return config.server.username or "", str(given[-1])


def _give(path: str, owner: tuple[int, int]) -> None:
    """Gives a file opened as root to the account that will open it anew after rotation."""
    with contextlib.suppress(OSError):  # /dev/stdout, a pipe: nothing that is opened anew
        os.chown(path, *owner, follow_symlinks=False)
