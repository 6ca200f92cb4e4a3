"""The way of the audit log from the state's table to where people look for it.

One thread reads the lines in their order and hands them to the sinks that the configuration asks for. A sink that fails
is tried again until it works, and holds up nobody. How far each came is noted beside the state, so that the next
process goes on there. It must never change a line, and never write one that is not in the table.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

import msgspec

from runbound.config import options
from runbound.config.model import Config
from runbound.ops.logging import ControlLog
from runbound.ops.sinks import FileSink, JournalSink, Row, Sink, SyslogSink
from runbound.state.trail import Line

options.honour("server", "audit-log-path", "audit-log-syslog", "audit-log-journald")

FILE_NAME: Final = "audit.log"
"""Name of the file in the state directory, where the configuration names none."""
MARKS_NAME: Final = "audit.sinks"
"""File of the state directory that notes how far each sink came."""
BATCH: Final = 500
"""Lines written at once."""
IDLE_SECONDS: Final = 1.0
"""How often the thread looks at the configuration, and calls `tick`, when no entry wakes it."""
GATHER_SECONDS: Final = 0.02
"""How long the thread waits for company of an entry: many at once cost little more than one."""
RETRY_SECONDS: Final = 5.0
"""How long a sink that failed is left alone."""
MARK_SECONDS: Final = 1.0
"""How often at most it is noted how far the sinks came; after a crash, syslog gets so much once more."""
STOP_SECONDS: Final = 3.0
"""How long the end waits for sinks to take what there is."""


Outlet = Literal["file", "syslog", "journald"]


class Table(Protocol):
    """Where the lines come from: a part of the store."""

    @property
    def audit_head(self) -> tuple[int, str]: ...
    def audit_after(self, seq: int, limit: int) -> list[Row]: ...
    def audit_wait(self, seq: int, timeout: float) -> bool: ...


class Mark(msgspec.Struct, frozen=True):
    """How far a sink came."""

    seq: int
    inode: tuple[int, int] | None = None
    """Device and number of the file."""


class SinkState(msgspec.Struct, frozen=True):
    """How a sink does, for who asks."""

    name: Outlet
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


class Outlets:
    """The sinks of one process, and the thread that serves them."""

    def __init__(
        self,
        table: Table,
        folder: str,
        resolve: Callable[[str], str],
        owner: tuple[int, int] | None,
        log: ControlLog,
        *,
        tick: Callable[[Config], None],
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` is the state directory, `resolve` makes a path of a file name of the configuration, `owner` (uid,
        gid) gets what is made. `tick` is called by the thread in every turn."""
        self._table = table
        self._folder = folder
        self._resolve = resolve
        self._owner = owner
        self._log = log
        self._tick = tick
        self._environ = environ
        self._clock = clock
        self._attached: dict[Outlet, _Attached] = {}
        self._path = ""
        self._config: Callable[[], Config] = Config
        self._marks = _read_marks(os.path.join(folder, MARKS_NAME))
        self._marked = 0.0
        self._reopen = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def file_path(self, config: Config) -> str:
        """Where the file of the audit log is."""
        given = config.server.audit_log_path
        return self._resolve(given) if given else os.path.join(self._folder, FILE_NAME)

    def start(self, config: Callable[[], Config]) -> None:
        """Begins to write on. `config` gives the configuration in force."""
        self._config = config
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def reopen(self) -> None:
        """Somebody has moved the file: from the next turn on, lines go to a new one."""
        self._reopen.set()

    def states(self) -> list[SinkState]:
        """How each sink does."""
        head = self._table.audit_head[0]
        return [
            SinkState(name, found.place, found.sink.seq, max(head - found.sink.seq, 0), found.error)
            for name, found in sorted(self._attached.items())
        ]

    def stop(self) -> None:
        """Gives the sinks a moment to take what there is, and closes them."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                return  # it hangs in a sink; what is missing there is written at the next start
        for found in self._attached.values():
            found.sink.close()

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
                newest = min((found.sink.seq for found in self._attached.values()), default=self._table.audit_head[0])
                if self._table.audit_wait(newest, IDLE_SECONDS):
                    self._stopping.wait(GATHER_SECONDS)
            elif all(found.error for found in self._attached.values() if self._lags(found)):
                if stopping:
                    self._mark(force=True)
                    return
                self._stopping.wait(IDLE_SECONDS)

    def _turn(self) -> bool:
        """Writes one batch to each sink. Whether any of them lags behind still."""
        config = self._config()
        self.settle(config)
        if self._reopen.is_set():
            self._reopen.clear()
            self._reopened()
        self._tick(config)
        now = self._clock()
        for name, found in self._attached.items():
            if found.error is not None and now < found.retry and not self._stopping.is_set():
                continue
            rows = self._table.audit_after(found.sink.seq, BATCH)
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
        return found.sink.seq < self._table.audit_head[0]

    def _failed(self, name: Outlet, found: _Attached, error: OSError) -> None:
        reason = error.strerror or str(error) or type(error).__name__
        if found.error != reason:
            self._log.warning(
                "audit log: a line could not be written on, it is tried again; nothing is lost",
                sink=name,
                place=found.place or "",
                error=reason,
            )
        found.error, found.retry = reason, self._clock() + RETRY_SECONDS

    def settle(self, config: Config) -> None:
        """Makes the sinks those that the configuration asks for."""
        server = config.server
        wanted: dict[Outlet, bool] = {"syslog": server.audit_log_syslog, "journald": server.audit_log_journald}
        new = False
        for name, on in wanted.items():
            if on and name not in self._attached:
                sink = SyslogSink(self._environ) if name == "syslog" else JournalSink(self._environ)
                mark = self._marks.get(name)
                # One that is new gets what happens from now on: the past is in the file.
                sink.seq = self._bounded(mark.seq) if mark is not None else self._table.audit_head[0]
                self._attached[name] = _Attached(sink)
                new = new or mark is None
            elif not on and name in self._attached:
                self._attached.pop(name).sink.close()
                self._marks.pop(name, None)
        path = self.file_path(config)
        if path != self._path:
            self._open_file(path)
        if new:  # or a crash before the first note would make it begin later than here
            self._mark(force=True)

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

    def _ours(self, line: Line) -> bool:
        """Whether the state has this very line, or goes on from it, as it does after a change of keys."""
        kept = self._table.audit_after(line.seq - 1, 1)
        if not kept or kept[0][0] == line.seq:
            return bool(kept) and kept[0][1] == line.octets().decode()
        return kept[0][0] == line.seq + 1 and f'"prev":"{line.mac}"' in kept[0][1]

    def _bounded(self, seq: int) -> int:
        """A number from a file, which may say anything."""
        return min(max(seq, 0), self._table.audit_head[0])

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
            _write_whole(path, msgspec.json.encode(marks), self._owner)
        except OSError as error:
            self._log.warning("audit log: cannot note how far it was written on", file=path, error=error.strerror)
        self._marks, self._marked = marks, now


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


def _read_marks(path: str) -> dict[str, Mark]:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(4096), type=dict[str, Mark])
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return {}


def _write_whole(path: str, content: bytes, owner: tuple[int, int] | None) -> None:
    """Replaces a file so that a crash leaves the old or the new."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if owner is not None and os.geteuid() == 0:
            os.fchown(fd, *owner)
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
