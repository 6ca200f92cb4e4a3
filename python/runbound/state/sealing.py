"""The seals of backups under another key.

Each backup's new seal is written beside the one in force first, and takes its place when the state has its other key:
whatever a crash leaves in between, the next start finds for each backup the seal of the key that the state has. A seal
that the key until now does not prove stays as it is. This module must never touch what is sealed.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

import msgspec

from runbound.state.backup import FOLDER, ID, MAX_LINE, BackupError, Seal, read_seal, write_seal
from runbound.state.directory import StateUnusableError
from runbound.state.trail import Key

NEXT: Final = ".next"
"""Behind the name of a seal: the one that takes its place."""


class Sealing:
    """One change of the key that seals backups: `prepare`, then `finish` or `forget`."""

    def __init__(self, folder: str, old: Key, new: Key) -> None:
        """`folder` is the state directory."""
        self._folder = os.path.join(folder, FOLDER)
        self._old = old
        self._new = new
        self._ready: list[str] = []
        self.strange: tuple[str, ...] = ()
        """Backups that the key until now does not prove."""

    @property
    def count(self) -> int:
        """Backups that get a new seal."""
        return len(self._ready)

    def prepare(self) -> None:
        """Writes the new seals beside those in force. Raises StateUnusableError."""
        public_key = self._new.public_key().hex()
        if public_key == self._old.public_key().hex():
            return
        owner = _owner(self._folder)
        for path in _seals(self._folder):
            seal = _kept(path)
            if seal is None or not proven(seal, self._old):
                self.strange = (*self.strange, os.path.basename(path).removesuffix(".json.mac"))
                continue
            named = msgspec.structs.replace(seal, public_key=public_key)
            covered = named.covered()
            mac, signature = self._new.mac(covered).hex(), self._new.sign(covered).hex()
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path + NEXT)
                write_seal(path + NEXT, msgspec.structs.replace(named, mac=mac, signature=signature))
                if owner is not None:
                    os.chown(path + NEXT, *owner, follow_symlinks=False)
            except OSError as error:
                self._ready.append(path)
                self.forget()
                raise StateUnusableError(f"cannot write it: {error.strerror}", path + NEXT, "make room") from error
            self._ready.append(path)

    def finish(self) -> None:
        """The state has its other key: the new seals take their places. What fails is done at the next start."""
        for path in self._ready:
            with contextlib.suppress(OSError):
                os.rename(path + NEXT, path)

    def forget(self) -> None:
        """The state keeps its key: takes the new seals away."""
        for path in self._ready:
            with contextlib.suppress(OSError):
                os.unlink(path + NEXT)
        self._ready = []


def settle(folder: str, key: Key) -> None:
    """What a crash left of a change of keys: the seals of the key that the state has take their places."""
    for path in _seals(os.path.join(folder, FOLDER), NEXT):
        seal, waiting = _kept(path), _kept(path + NEXT)
        with contextlib.suppress(OSError):
            if waiting is not None and proven(waiting, key) and not (seal is not None and proven(seal, key)):
                os.rename(path + NEXT, path)
            else:
                os.unlink(path + NEXT)


def proven(seal: Seal, key: Key) -> bool:
    """Whether the key made the seal."""
    try:
        return key.verify(seal.covered(), bytes.fromhex(seal.mac))
    except ValueError:
        return False


def _seals(folder: str, suffix: str = "") -> Iterator[str]:
    """The seals of a folder by path, those that another file with this suffix stands beside."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(folder)):
            seal = name.removesuffix(suffix)
            if name.endswith(f".json.mac{suffix}") and ID.fullmatch(seal.removesuffix(".json.mac")):
                yield os.path.join(folder, seal)


def _kept(path: str) -> Seal | None:
    try:
        with open(path, "rb") as file:
            return read_seal(file.read(MAX_LINE))
    except (OSError, BackupError):
        return None


def _owner(folder: str) -> tuple[int, int] | None:
    """Whose the folder is, so that what root makes there stays theirs."""
    if os.geteuid() != 0:
        return None
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_uid, found.st_gid
