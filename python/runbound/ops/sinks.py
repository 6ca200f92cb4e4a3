"""Where the audit log is written besides the state: a file, syslog, the journal of systemd.

A sink knows the number of the last entry it has and takes those after it in order. It may be killed between any two
system calls: the file's own last line says where to go on, so that it has each entry once; syslog and the journal get
what was under way again. It must never decide what is written, and never change a line.
"""

import errno
import gzip
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from runbound.state import trail
from runbound.state.trail import Line, NotALineError

FILE_MODE: Final = 0o600
TAIL_BYTES: Final = 256 * 1024
"""Octets read of a file's end to find its last line; a line is a tenth of that at most."""
SEND_SECONDS: Final = 2.0
"""How long one message may wait for a daemon that does not read."""
SYSLOG_SOCKET: Final = "/dev/log"
JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
SYSLOG_VARIABLE: Final = "RUNBOUND_SYSLOG_SOCKET"
JOURNAL_VARIABLE: Final = "RUNBOUND_JOURNAL_SOCKET"
"""Environment variables that name other sockets than the system's."""
AUTHPRIV_INFO: Final = 10 * 8 + 6
"""Facility and severity: what administrators read, and nobody else."""
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Row = tuple[int, str]
"""An entry's number and line."""


class Sink(Protocol):
    """Somewhere that lines go."""

    name: str
    seq: int
    """The last entry it has."""

    def write(self, rows: Sequence[Row]) -> None:
        """Takes the entries that follow, in order. Raises OSError; `seq` then says which it has."""

    def reopen(self) -> None:
        """Somebody has moved it. Raises OSError, and goes on where it was."""

    def close(self) -> None:
        """Gives back what it holds open."""


class Mark(Protocol):
    """What was noted of a file: how far it came, and which file it was."""

    @property
    def seq(self) -> int: ...
    @property
    def inode(self) -> tuple[int, int] | None: ...


class FileSink:
    """Appends lines to a file, each once, whatever kills the process."""

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        """Opens the file, and makes it if it is missing; `owner` (uid, gid) then gets it. Raises OSError."""
        self.name = "file"
        self.path = path
        self.seq = 0
        self._owner = owner
        self._fd = self._open()
        self.last: Line | None = None
        """The last whole line that can be read, as it was at the opening."""
        try:
            self._mend()
        except OSError:
            os.close(self._fd)
            raise

    @property
    def inode(self) -> tuple[int, int]:
        """Which file it is, whatever its name is by now."""
        found = os.fstat(self._fd)
        return found.st_dev, found.st_ino

    def go_on(self, mark: Mark | None) -> None:
        """Finds the last entry that was written: here, or in the file that was here when `mark` was made."""
        if self.last is not None:
            self.seq = self.last.seq
            return
        self.seq = mark.seq if mark is not None else 0
        if mark is not None and mark.inode is not None and mark.inode != self.inode:
            moved = last_line(_find(os.path.dirname(self.path) or ".", mark.inode))
            self.seq = max(self.seq, moved.seq if moved is not None else 0)

    def write(self, rows: Sequence[Row]) -> None:
        octets = "".join(f"{line}\n" for _, line in rows).encode()
        size = os.fstat(self._fd).st_size
        try:
            done = 0
            while done < len(octets):
                done += os.write(self._fd, octets[done:])
        except OSError:
            os.ftruncate(self._fd, size)  # a full disk: nothing of it, or the rest would come in the middle of a line
            raise
        self.seq = rows[-1][0]

    def reopen(self) -> None:
        fd = self._open()
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        made = not os.path.lexists(self.path)
        fd = os.open(self.path, flags, FILE_MODE)
        if made and self._owner is not None:
            os.fchown(fd, *self._owner)
        return fd

    def _mend(self) -> None:
        """Takes away a line that broke off, which only a crash leaves, and reads the last whole one."""
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, TAIL_BYTES, max(size - TAIL_BYTES, 0))
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            os.ftruncate(self._fd, size - len(tail) + whole)
        self.last = _last_of(tail[:whole])


class SyslogSink:
    """Sends lines to the system's syslog as messages of `runbound`, in the form that local programs use (RFC 3164)."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.name = "syslog"
        self.seq = 0
        self._wire = _Socket(environ.get(SYSLOG_VARIABLE, SYSLOG_SOCKET))

    def write(self, rows: Sequence[Row]) -> None:
        now = time.localtime()
        stamp = f"{MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
        head = f"<{AUTHPRIV_INFO}>{stamp} runbound[{os.getpid()}]: "
        for seq, line in rows:
            self._wire.send((head + line).encode())
            self.seq = seq

    def reopen(self) -> None:
        self._wire.close()

    def close(self) -> None:
        self._wire.close()


class JournalSink:
    """Sends lines to the journal of systemd in its native protocol. MESSAGE is the line, to the octet."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.name = "journald"
        self.seq = 0
        self._wire = _Socket(environ.get(JOURNAL_VARIABLE, JOURNAL_SOCKET))

    def write(self, rows: Sequence[Row]) -> None:
        for seq, line in rows:
            entry = json.loads(line)
            fields = {
                "MESSAGE": line,
                "PRIORITY": "6",
                "SYSLOG_FACILITY": "10",
                "SYSLOG_IDENTIFIER": "runbound",
                "RUNBOUND_AUDIT_SEQ": str(seq),
                "RUNBOUND_AUDIT_EVENT": entry["event"],
                "RUNBOUND_AUDIT_ACTOR": entry["actor"],
            }
            # A value with a line feed would need the protocol's other form; no member is worth it.
            text = "".join(f"{name}={value.replace(chr(10), ' ')}\n" for name, value in fields.items())
            self._wire.send(text.encode())
            self.seq = seq

    def reopen(self) -> None:
        self._wire.close()

    def close(self) -> None:
        self._wire.close()


class _Socket:
    """A connection to a local daemon, made when it is needed and again after it broke."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._end = b""

    def send(self, message: bytes) -> None:
        """Hands over one message. Raises OSError."""
        if self._socket is None:
            self._socket = self._connect()
        try:
            if self._end:
                self._socket.sendall(message + self._end)
            else:
                self._socket.send(message)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """The next message connects anew."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        try:
            made = _connected(self._path, socket.SOCK_DGRAM)
            self._end = b""
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
            made = _connected(self._path, socket.SOCK_STREAM)
            self._end = b"\n"
        return made


def last_line(path: str | None) -> Line | None:
    """The last whole line of a file of the audit log; None if there is none that can be read."""
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            if file.peek(2)[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=file) as plain:
                    tail = b""
                    while piece := plain.read(TAIL_BYTES):
                        tail = (tail + piece)[-TAIL_BYTES:]
            else:
                file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
                tail = file.read()
    except (OSError, EOFError):
        return None
    return _last_of(tail[: tail.rfind(b"\n") + 1])


def _last_of(tail: bytes) -> Line | None:
    """The last line that is one; what stands after it is not ours, or was damaged."""
    for octets in reversed(tail.split(b"\n")):
        try:
            return trail.parse(octets)
        except NotALineError:
            continue
    return None


def _find(folder: str, inode: tuple[int, int]) -> str | None:
    """The file of a folder that is this one, under whatever name."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                status = entry.stat(follow_symlinks=False)
                if (status.st_dev, status.st_ino) == inode:
                    return entry.path
    except OSError:
        pass
    return None


def _connected(path: str, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    try:
        made.settimeout(SEND_SECONDS)
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made
