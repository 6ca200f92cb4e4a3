"""The state directory: `state-dir:`, created 0700, locked by one process, home of the generated keys.

It must never hand a secret to a log line or leave a file readable by others, and it must refuse a second process,
naming the first: two writers of one journal would each be right and both be lost.
"""

import base64
import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from typing import Final

from runbound.config import options
from runbound.errors import RunboundError

options.honour("server", "state-dir")

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
LOCK_NAME: Final = "lock"
API_KEY_NAME: Final = "api.key"
DATABASE_NAME: Final = "state.db"
API_KEY_BYTES: Final = 32
"""Octets of randomness in a generated key; 43 characters when written."""
AUDIT_KEY_NAME: Final = "audit.key"
AUDIT_KEY_BYTES: Final = 32
"""Octets of randomness in a generated key of the audit log: as many as the code it makes."""
MAX_KEY_FILE: Final = 4096
"""Octets read of a key file: a key is one short line, anything longer is the wrong file."""


class StateUnusableError(RunboundError):
    """The state directory, or a file in it, cannot be used."""


class StateInUseError(RunboundError):
    """Another process holds the state directory."""


def locate(configured: str | None, directory: str, environ: Mapping[str, str] = os.environ) -> str:
    """Which folder holds the state: the option, else systemd's $STATE_DIRECTORY, else `<directory>/state`."""
    if configured:
        return os.path.join(directory, configured)
    managed = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return managed or os.path.join(directory, "state")


class StateDirectory:
    """An open and locked state directory. Closing it releases the lock."""

    def __init__(self, path: str, lock: int, owner: tuple[int, int] | None) -> None:
        self.path = path
        self._lock: int | None = lock
        self._owner = owner

    @classmethod
    def open(cls, path: str, owner: tuple[int, int] | None = None) -> "StateDirectory":
        """Creates the folder if it is missing, gives it to `owner` (uid, gid), and locks it.

        Raises StateUnusableError if it cannot be made or is not ours to close, StateInUseError if another process
        holds it.
        """
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, DIRECTORY_MODE)
            _make_private(path, owner)
            lock = _open_private(os.path.join(path, LOCK_NAME), os.O_RDWR | os.O_CREAT, owner)
        except OSError as error:
            raise StateUnusableError(
                f"state-dir: cannot use {path}: {error.strerror}",
                fix="name a folder that the account can write to with state-dir:",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StateUnusableError(f"state-dir: cannot lock {path}: {error.strerror}") from error
            raise StateInUseError(
                f"state-dir: {path} is in use by process {holder or '(unknown)'}",
                fix="stop that process, or give this one a state-dir of its own",
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return cls(path, lock, owner)

    def api_key(self) -> tuple[str, str]:
        """The key in `api.key`, made at the first call ever, and the path of that file.

        Raises StateUnusableError if the file cannot be read or written, or holds no key.
        """
        return self._kept(API_KEY_NAME) or self.new_api_key()

    def audit_key(self) -> tuple[str, str]:
        """The key in `audit.key` as hexadecimal digits, made at the first call ever, and the path of that file.

        Raises StateUnusableError as `api_key`.
        """
        key = os.urandom(AUDIT_KEY_BYTES).hex()
        return self._kept(AUDIT_KEY_NAME) or (key, self._keep(AUDIT_KEY_NAME, key))

    def new_api_key(self) -> tuple[str, str]:
        """Makes a key, keeps it in `api.key`, and gives it with its path. Raises StateUnusableError."""
        key = base64.urlsafe_b64encode(os.urandom(API_KEY_BYTES)).decode().rstrip("=")
        return key, self.keep_api_key(key)

    def kept_api_key(self) -> str | None:
        """The key in `api.key`; None if there is no such file. Raises StateUnusableError."""
        found = self._kept(API_KEY_NAME)
        return None if found is None else found[0]

    def keep_api_key(self, key: str) -> str:
        """Writes the key into `api.key`, in place of what is there. The path; raises StateUnusableError."""
        return self._keep(API_KEY_NAME, key)

    def _kept(self, name: str) -> tuple[str, str] | None:
        """The key in a file and the file's path; None if there is no such file. Raises StateUnusableError."""
        path = os.path.join(self.path, name)
        try:
            return _read_key(path), path
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusableError(f"state-dir: cannot use {path}: {error.strerror}") from error

    def _keep(self, name: str, key: str) -> str:
        """Writes a key into a file, in place of what is there; the path. Raises StateUnusableError."""
        path = os.path.join(self.path, name)
        try:
            self._write(name, f"{key}\n".encode())
        except OSError as error:
            raise StateUnusableError(f"state-dir: cannot use {path}: {error.strerror}") from error
        return path

    def close(self) -> None:
        """Releases the lock. The lock file stays: removing it would race with a process that waits for it."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def _write(self, name: str, content: bytes) -> None:
        """Writes a file that appears whole or not at all."""
        path = os.path.join(self.path, name)
        temporary = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        fd = _open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._owner)
        try:
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read_key(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            os.fchmod(file.fileno(), FILE_MODE)
        key = file.read(MAX_KEY_FILE).decode("utf-8", "replace").strip()
    if not key:
        raise StateUnusableError(f"{path} is empty", fix="delete it, a new key is made at the next start")
    return key


def _make_private(path: str, owner: tuple[int, int] | None) -> None:
    """Takes all rights of others from the folder, through a descriptor so that nobody can swap it meanwhile.

    Only a folder that is ours is changed (empty, or with our lock in it): `state-dir: /etc` must be an error, not the
    end of that machine.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        foreign = owner is not None and found.st_uid != owner[0]
        shared = stat.S_IMODE(found.st_mode) & 0o077 != 0
        if not foreign and not shared:
            return
        names = os.listdir(fd)
        if names and LOCK_NAME not in names:
            raise StateUnusableError(
                f"state-dir: {path} is not empty and {'others can read it' if shared else 'is not ours'}",
                fix="name a folder of its own with state-dir:, or give it to the account and take the rights of others",
            )
        if owner is not None and foreign:
            os.fchown(fd, *owner)
        os.fchmod(fd, DIRECTORY_MODE)
    finally:
        os.close(fd)


def _open_private(path: str, flags: int, owner: tuple[int, int] | None) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        os.fchmod(fd, FILE_MODE)
        if owner is not None:
            os.fchown(fd, *owner)
    except OSError:
        os.close(fd)
        raise
    return fd
