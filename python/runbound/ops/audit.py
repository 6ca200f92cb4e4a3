"""The audit log of a running resolver: who did what, and its way to where people look for it.

The record is a table of the state, written in the transactions of what it tells; `state.trail` says what a line is.
This room hands entries in that belong to no change (start, end, failed authentication, acts), and has one thread that
writes the lines on in their order: to a file, to syslog, to the journal. A sink that fails is tried again until it
works; it holds up nobody. It must never change an entry, and never write one that is not in the table.
"""

import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final, Protocol

import msgspec

from runbound import __version__
from runbound.config import options
from runbound.config.model import Config
from runbound.ops.failures import SUMMED_UP, Failures
from runbound.ops.logging import ControlLog
from runbound.ops.sinks import FileSink, JournalSink, Row, Sink, SyslogSink, last_line
from runbound.state import trail
from runbound.state.database import StateTamperedError
from runbound.state.entries import Event
from runbound.state.trail import Key, NotALineError

options.honour(
    "server",
    *("audit-log", "audit-log-path", "audit-log-syslog", "audit-log-journald", "audit-checkpoint-every"),
)

FILE_NAME: Final = "audit.log"
"""Name of the file in the state directory, where the configuration names none."""
MARKS_NAME: Final = "audit.sinks"
"""File of the state directory that notes how far each sink came."""
BATCH: Final = 500
"""Lines written at once."""
IDLE_SECONDS: Final = 1.0
"""How often the thread looks at the configuration and at failures that want to be told, when no entry wakes it."""
GATHER_SECONDS: Final = 0.02
"""How long the thread waits for company of an entry: many at once cost little more than one."""
RETRY_SECONDS: Final = 5.0
"""How long a sink that failed is left alone."""
MARK_SECONDS: Final = 1.0
"""How often at most it is noted how far the sinks came; after a crash, syslog gets so much once more."""
STOP_SECONDS: Final = 3.0
"""How long the end waits for sinks to take what there is."""
SYSTEM: Final = "runbound"
"""The actor of what nobody asked for."""


class Store(Protocol):
    """The part of the state that the audit log needs."""

    audit_every: int | None

    @property
    def audit_head(self) -> tuple[int, str]: ...
    def audit_after(self, seq: int, limit: int) -> list[Row]: ...
    def audit_wait(self, seq: int, timeout: float) -> bool: ...
    def record(self, *events: Event, wait: bool = False) -> "Future[None]": ...
    def checkpoint(self) -> None: ...


class Mark(msgspec.Struct, frozen=True):
    """How far a sink came."""

    seq: int
    inode: tuple[int, int] | None = None
    """Device and number of the file."""


class SinkState(msgspec.Struct, frozen=True):
    """How a sink does, for who asks."""

    name: str
    place: str | None
    seq: int
    behind: int
    """Entries that it does not have yet."""
    error: str | None


class _Attached:
    """A sink, and what is known about its troubles."""

    def __init__(self, sink: Sink, place: str | None = None) -> None:
        self.sink = sink
        self.place = place
        self.error: str | None = None
        self.retry = 0.0


class Audit:
    """The audit log of one process. Safe from every thread."""

    def __init__(
        self,
        store: Store,
        key: Key,
        folder: str,
        log: ControlLog,
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key` is the audit key, `folder` the state directory."""
        self.store = store
        self.key = key
        self._folder = folder
        self._log = log
        self._environ = environ
        self._clock = clock
        self._failures = Failures(clock)
        self._attached: dict[str, _Attached] = {}
        self._path = ""
        self._config: Callable[[], Config] = Config
        self._resolve: Callable[[str], str] = str
        self._owner: tuple[int, int] | None = None
        self._marks: dict[str, Mark] = {}
        self._marked = 0.0
        self._reopen = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        store: Store,
        key: Key,
        folder: str,
        config: Config,
        resolve: Callable[[str], str],
        owner: tuple[int, int] | None,
        log: ControlLog,
    ) -> "Audit":
        """Opens the file while it can be opened, and compares its end with the state's.

        `resolve` makes a path of a file name of the configuration, `owner` (uid, gid) gets what is made. Starts no
        thread. Raises StateTamperedError if the file knows an entry that the state has lost.
        """
        audit = cls(store, key, folder, log)
        audit._resolve, audit._owner = resolve, owner
        audit._marks = _read_marks(os.path.join(folder, MARKS_NAME))
        path = audit._file_path(config)
        witnessed(store, key, path)
        audit._config = lambda: config
        audit._settle(config)
        return audit

    def start(self, config: Callable[[], Config], *, file: str, revision: int) -> None:
        """DNS is answered: writes that down, and begins to write on. `config` gives the configuration in force."""
        self._config = config
        head = self.store.audit_head[0]
        last = self.store.audit_after(max(head - 2, 0), 2)
        ended = any('"event":"service.stop"' in line for _, line in last)
        before = "none" if not last else "stopped" if ended else "died"
        self.record(
            "service.start",
            SYSTEM,
            version=__version__,
            process=os.getpid(),
            file=file,
            revision=revision,
            before=before,
        )
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def record(self, event: str, actor: str, /, **fields: object) -> None:
        """Takes an entry that belongs to no change. Never raises, never waits.

        What strangers cause is summed up, so that they cannot fill the log.
        """
        if event not in SUMMED_UP:
            self._record(Event(event, actor, fields))
        elif (told := self._failures.add(event, fields)) is not None:
            self._record(told)

    def reopen(self) -> None:
        """Somebody has moved the file: from the next entry on, lines go to a new one. The chain goes on."""
        self._reopen.set()

    def states(self) -> list[SinkState]:
        """How each sink does."""
        head = self.store.audit_head[0]
        return [
            SinkState(name, found.place, found.sink.seq, max(head - found.sink.seq, 0), found.error)
            for name, found in sorted(self._attached.items())
        ]

    def stop(self, reason: str) -> None:
        """Writes down the end, signs for it, and gives the sinks a moment to take it."""
        for event in self._failures.due(end=True):
            self._record(event)
        self.record("service.stop", SYSTEM, reason=reason)
        try:
            self.store.checkpoint()
        except Exception as error:  # noqa: BLE001  # the end comes all the same
            self._log.error("audit log: the last checkpoint could not be written", error=str(error))
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                return  # it hangs in a sink; what is missing there is written at the next start
        for found in self._attached.values():
            found.sink.close()

    def _record(self, event: Event, *, wait: bool = False) -> None:
        """Whoever acts has acted, so it is told and no error of theirs if it cannot be written down."""

        def done(future: "Future[None]") -> None:
            if (error := future.exception()) is not None:
                self._log.error("audit log: an entry could not be written", what=event.event, error=str(error))

        future = self.store.record(event)
        future.add_done_callback(done)
        if wait:
            concurrent.futures.wait([future])

    def _run(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            try:
                behind = self._turn()
            except Exception as error:  # noqa: BLE001  # the thread must go on
                self._log.error("audit log: writing it on failed, it is tried again", error=repr(error))
                behind = True
            if stopping and not behind:
                self._mark(force=True)
                return
            if not behind:
                newest = min((found.sink.seq for found in self._attached.values()), default=self.store.audit_head[0])
                if self.store.audit_wait(newest, IDLE_SECONDS):
                    self._stopping.wait(GATHER_SECONDS)
            elif all(found.error for found in self._attached.values() if self._lags(found)):
                if stopping:
                    self._mark(force=True)
                    return
                self._stopping.wait(IDLE_SECONDS)

    def _turn(self) -> bool:
        """Writes one batch to each sink. Whether any of them lags behind still."""
        config = self._config()
        self._settle(config)
        if self._reopen.is_set():
            self._reopen.clear()
            self._reopened()
        for event in self._failures.due():
            self._record(event)
        now = self._clock()
        for name, found in self._attached.items():
            if found.error is not None and now < found.retry and not self._stopping.is_set():
                continue
            rows = self.store.audit_after(found.sink.seq, BATCH)
            if not rows:
                continue
            try:
                found.sink.write(rows)
            except OSError as error:
                self._failed(name, found, error)
            else:
                if found.error is not None:
                    self._log.notice("audit log: writing works again", sink=name)
                found.error = None
        self._mark()
        return any(self._lags(found) for found in self._attached.values())

    def _lags(self, found: _Attached) -> bool:
        return found.sink.seq < self.store.audit_head[0]

    def _failed(self, name: str, found: _Attached, error: OSError) -> None:
        reason = error.strerror or str(error) or type(error).__name__
        if found.error != reason:
            self._log.warning(
                "audit log: a line could not be written on, it is tried again; nothing is lost",
                sink=name,
                place=found.place or "",
                error=reason,
            )
        found.error, found.retry = reason, self._clock() + RETRY_SECONDS

    def _settle(self, config: Config) -> None:
        """Makes the sinks those that the configuration asks for."""
        server = config.server
        every = max(server.audit_checkpoint_every, 1) if server.audit_log else None
        if every != self.store.audit_every:
            if every is None and self._thread is not None:
                self._record(Event("audit.off", SYSTEM), wait=True)
            self.store.audit_every = every
        wanted = {"syslog": server.audit_log_syslog, "journald": server.audit_log_journald}
        for name, on in wanted.items():
            if on and name not in self._attached:
                sink = SyslogSink(self._environ) if name == "syslog" else JournalSink(self._environ)
                mark = self._marks.get(name)
                # One that is new gets what happens from now on: the past is in the file.
                sink.seq = self._bounded(mark.seq) if mark is not None else self.store.audit_head[0]
                self._attached[name] = _Attached(sink)
            elif not on and name in self._attached:
                self._attached.pop(name).sink.close()
                self._marks.pop(name, None)
        path = self._file_path(config)
        if path != self._path:
            self._open_file(path)

    def _open_file(self, path: str) -> None:
        """Takes another file than before. If it cannot be opened, the one before goes on."""
        if (found := self._attached.get("file")) is not None and self._clock() < found.retry:
            return
        try:
            sink = FileSink(path, self._owner)
        except OSError as error:
            if found is None:
                found = self._attached["file"] = _Attached(_Nowhere(), path)
            self._failed("file", found, error)
            return
        sink.go_on(self._marks.get("file"))
        if sink.last is not None and not self._ours(sink.last):
            self._log.error(
                "audit log: the end of the file is not what was written there; runbound audit verify says more",
                file=path,
            )
            mark = self._marks.get("file")
            sink.seq = mark.seq if mark is not None else sink.seq
        sink.seq = self._bounded(sink.seq)
        if found is not None:
            found.sink.close()
        self._attached["file"] = _Attached(sink, path)
        self._path = path

    def _ours(self, line: trail.Line) -> bool:
        """Whether the state has this very line."""
        kept = self.store.audit_after(line.seq - 1, 1)
        return bool(kept) and kept[0] == (line.seq, line.octets().decode())

    def _bounded(self, seq: int) -> int:
        """A number from a file, which may say anything."""
        return min(max(seq, 0), self.store.audit_head[0])

    def _reopened(self) -> None:
        for name, found in self._attached.items():
            try:
                found.sink.reopen()
            except OSError as error:
                self._failed(name, found, error)
        self._mark(force=True)

    def _mark(self, *, force: bool = False) -> None:
        """Notes how far the sinks came."""
        now = self._clock()
        marks = dict(self._marks)
        for name, found in self._attached.items():
            if not isinstance(found.sink, _Nowhere):
                inode = found.sink.inode if isinstance(found.sink, FileSink) else None
                marks[name] = Mark(found.sink.seq, inode)
        if marks == self._marks or (now - self._marked < MARK_SECONDS and not force):
            return
        path = os.path.join(self._folder, MARKS_NAME)
        try:
            _write_whole(path, msgspec.json.encode(marks))
        except OSError as error:
            self._log.warning("audit log: cannot note how far it was written on", file=path, error=error.strerror)
        self._marks, self._marked = marks, now

    def _file_path(self, config: Config) -> str:
        given = config.server.audit_log_path
        return self._resolve(given) if given else os.path.join(self._folder, FILE_NAME)


class _Nowhere:
    """The file that could not be opened; it is opened when it can be."""

    name = "file"
    seq = 0

    def write(self, rows: object) -> None:
        raise OSError("it could not be opened")

    def reopen(self) -> None:
        """There is nothing."""

    def close(self) -> None:
        """There is nothing."""


def witnessed(store: Store, key: Key, path: str) -> None:
    """Compares the end of the file with the state. Raises StateTamperedError if the file proves that the state was put
    back to an earlier day: only who has the key can have written a line, so a genuine one that is missing was lost."""
    line = last_line(path)
    if line is None or not line.genuine(key):
        return
    head = store.audit_head[0]
    if line.seq > head:
        what = f"the audit log in {path} knows entry {line.seq}, and the state ends with entry {head}"
    else:
        kept = store.audit_after(line.seq - 1, 1)
        with contextlib.suppress(NotALineError):
            if kept and trail.parse(kept[0][1].encode()).mac == line.mac:
                return
        what = f"the audit log in {path} has another entry {line.seq} than the state"
    raise StateTamperedError(
        f"{what}: the state was put back to an earlier day",
        None,
        f"put the newer state back; if going back is meant, move {path} away (and keep it) and start again",
    )


def _read_marks(path: str) -> dict[str, Mark]:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(4096), type=dict[str, Mark])
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return {}


def _write_whole(path: str, content: bytes) -> None:
    """Replaces a file so that a crash leaves the old or the new."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
