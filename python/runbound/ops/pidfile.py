"""The pidfile: who runs here, for scripts that still ask a file.

Owns opening (as root, while that is still possible), writing once the service answers, and taking it away at the end.
As with Unbound a pidfile that cannot be written is an error in the log and never stops the service.
"""

import contextlib
import os
from typing import Final

from runbound.config import options
from runbound.errors import RunboundError

options.honour("server", "pidfile")

MODE: Final = 0o644


class PidFile:
    """One pidfile, opened by `open`, filled by `write`, removed by `remove`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd: int | None = None
        self.warning: str | None = None

    def open(self, owner: tuple[int, int] | None) -> None:
        """Opens the file and gives it to `owner` (uid, gid), so that it can be emptied after the switch.

        A number in it that belongs to a living process is overwritten and remembered in `warning`. Never follows a
        symbolic link: the folder may belong to someone else. Raises RunboundError if the file cannot be opened.
        """
        other = living_pid(self.path)
        if other is not None and other != os.getpid():
            self.warning = f"pidfile {self.path} named process {other}, which still runs; it is overwritten"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self.path, flags, MODE)
            if owner is not None:
                os.fchown(self._fd, *owner)
        except OSError as error:
            raise RunboundError(
                f"pidfile: cannot write {self.path}: {error.strerror}",
                fix='name a file in a folder that exists, or write pidfile: ""',
            ) from error

    def write(self) -> None:
        """Writes our process id and closes the file."""
        if self._fd is None:
            return
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())
        os.close(self._fd)
        self._fd = None

    def remove(self) -> None:
        """Takes the file away; where the folder is no longer ours, empties it. Leaves another process's file alone."""
        if self._fd is not None:
            ours = os.fstat(self._fd).st_size == 0
            os.close(self._fd)
            self._fd = None
            if not ours:
                return
        elif read_pid(self.path) != os.getpid():
            return
        try:
            os.unlink(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, 0)


def read_pid(path: str) -> int | None:
    """The number in a pidfile, None if there is none."""
    try:
        with open(path, "rb") as file:
            return int(file.read(32).strip())
    except (OSError, ValueError):
        return None


def living_pid(path: str) -> int | None:
    """The number in a pidfile if a process of that number exists."""
    pid = read_pid(path)
    if pid is None or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return pid
    return pid
