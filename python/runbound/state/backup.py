"""Backups: what was changed by API, as it was at one moment, in a file that proves itself.

A backup is `ID.json`, one JSON object a line: first a head (what it is, when, of which revision, how many entries of
which kind), then the entries, then nothing. `ID.json.mac` beside it is its seal: the SHA-256 of all octets, who made it
and why, a MAC with the state's key over both, and an Ed25519 signature that the public key alone can prove. On its way
elsewhere the seal is the last line of the same stream.

Users are in no backup: a key that was taken away must stay dead, and no copy lies around to guess at. This module must
never change the state.
"""

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, Any, Final

import msgspec

from runbound.errors import RunboundError
from runbound.state.directory import DIRECTORY_MODE, FILE_MODE
from runbound.state.entries import CONFIGURATION, canonical
from runbound.state.store import Picture
from runbound.state.trail import Key

FOLDER: Final = "backups"
MAX_BACKUPS: Final = 100
"""Backups kept at once. Nobody deletes old ones but an operator: what to keep is a decision."""
MAX_LINE: Final = 1024 * 1024
"""Octets of a line; a record's data and a comment are below 200 KiB."""
FORM: Final = "runbound backup 1"
ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-r[0-9]{1,15}(?:-[0-9]{1,3})?")
KEYED: Final = ("upstream", "setting")
"""Kinds whose entries carry their key; that of records and blocks follows from the document."""
_encode: Final = msgspec.json.Encoder(order="deterministic").encode

SEALED: Final = b'{"seal":'


class BackupError(RunboundError):
    """A backup that is not there, or is not what was written."""


class NoBackupError(BackupError):
    """There is no backup of that name."""


class BrokenBackupError(BackupError):
    """It is not what was sealed."""


class TooManyBackupsError(BackupError):
    """As many backups as are kept."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    form: str
    time: str
    revision: int
    counts: dict[str, int]


class Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What proves a backup."""

    sha256: str
    actor: str
    """Who made it, or brought it here."""
    reason: str
    origin: str
    """The public key of the state it was made from."""
    public_key: str = ""
    mac: str = ""
    signature: str = ""

    def covered(self) -> bytes:
        """What MAC and signature cover."""
        return b"runbound backup seal 1\n" + _encode(msgspec.structs.replace(self, mac="", signature=""))


class Found(msgspec.Struct, frozen=True):
    """One backup."""

    id: str
    head: Head
    seal: Seal
    size: int
    """Octets."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry."""

    kind: str
    doc: dict[str, Any]
    key: str = ""
    """In hexadecimal, for the kinds of KEYED."""


class Backups:
    """The backups of one state directory. Safe from every thread: each file appears whole, and never changes."""

    def __init__(self, folder: str, key: Key, verify_signature: Callable[[bytes, bytes, bytes], bool]) -> None:
        """`folder` is the state directory, `key` one for this purpose alone."""
        self.folder = os.path.join(folder, FOLDER)
        self._key = key
        self._verify_signature = verify_signature
        self._sealing = threading.Lock()
        """Held while a seal is made, and while the key changes."""

    @contextlib.contextmanager
    def rekeying(self, key: Key) -> Iterator[None]:
        """Nothing is sealed meanwhile; afterwards this is the key, unless an error is raised."""
        with self._sealing:
            yield
            self._key = key

    @property
    def public_key(self) -> str:
        """What proves the backups of this state elsewhere, in hexadecimal."""
        return self._key.public_key().hex()

    def all(self) -> list[Found]:
        """What there is, the newest first. Files that are none, or whose seal cannot be read, are left out."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                id_ = name.removesuffix(".json")
                if name.endswith(".json") and ID.fullmatch(id_):
                    with contextlib.suppress(BackupError):
                        found.append(self.get(id_))
        return sorted(found, key=lambda one: (one.head.time, one.id), reverse=True)

    def get(self, id: str) -> Found:  # noqa: A002  # the member's name everywhere
        """One of them, its contents not proven. Raises NoBackupError, BrokenBackupError."""
        path = self._path(id)
        try:
            with open(path, "rb") as file:
                head = _head(file.readline(MAX_LINE))
                size = os.fstat(file.fileno()).st_size
            with open(f"{path}.mac", "rb") as file:
                seal = read_seal(file.read(MAX_LINE))
        except FileNotFoundError as error:
            if os.path.exists(path):
                raise BrokenBackupError(f"backup {id} has lost its seal") from error
            raise NoBackupError(f"there is no backup {id}") from error
        return Found(id, head, seal, size)

    def make(self, picture: Picture, actor: str, reason: str) -> Found:
        """Writes what there is. Raises TooManyBackupsError, OSError, and what reading the state raises."""
        self._room()
        head = Head(FORM, _now(), picture.revision, {kind: picture.counts.get(kind, 0) for kind in CONFIGURATION})
        return self._write(_lines(head, picture), lambda digest: Seal(digest, actor, reason, self.public_key))

    def delete(self, id: str) -> None:  # noqa: A002
        """Takes one away. Raises NoBackupError."""
        path = self._path(id)
        try:
            os.unlink(path)
        except FileNotFoundError as error:
            raise NoBackupError(f"there is no backup {id}") from error
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.mac")

    def proven(self, id: str) -> Found:  # noqa: A002
        """One of them, every octet proven. Raises NoBackupError, BrokenBackupError."""
        found = self.get(id)
        self.prove(found.seal, None)
        digest = hashlib.sha256()
        with open(self._path(id), "rb") as file:
            while piece := file.read(MAX_LINE):
                digest.update(piece)
        if digest.hexdigest() != found.seal.sha256:
            raise BrokenBackupError(f"backup {id} was changed: it is not what was sealed")
        return found

    def entries(self, id: str, kind: str) -> Iterator[Line]:  # noqa: A002
        """The entries of a kind. Whether they are genuine says `proven`. Raises BrokenBackupError."""
        begin = f'{{"kind":"{kind}",'.encode()
        with open(self._path(id), "rb") as file:
            file.readline(MAX_LINE)
            yield from (_entry(octets) for octets in file if octets.startswith(begin))

    def documents(self, id: str, kind: str) -> Iterator[bytes]:  # noqa: A002
        """The documents of a kind that is not in KEYED, as the text that they are. Raises BrokenBackupError."""
        begin = f'{{"kind":"{kind}","doc":'.encode()
        with open(self._path(id), "rb") as file:
            file.readline(MAX_LINE)
            for octets in file:
                if octets.startswith(begin):
                    yield octets[len(begin) : -len(b"}\n")]

    def stream(self, id: str) -> Iterator[bytes]:  # noqa: A002
        """All of one, the seal as the last line, for somewhere else. Prove it before."""
        with open(self._path(id), "rb") as file:
            while piece := file.read(MAX_LINE):
                yield piece
        yield _encode({"seal": self.get(id).seal}) + b"\n"

    def incoming(self) -> "Incoming":
        """A place for a stream from elsewhere. Raises TooManyBackupsError, OSError."""
        self._room()
        return Incoming(self)

    def prove(self, seal: Seal, public_key: str | None) -> None:
        """Raises BrokenBackupError if a seal is not of this state, nor of the public key that is given."""
        covered, foreign = seal.covered(), public_key not in (None, self.public_key)
        signer = public_key if foreign and public_key is not None else self.public_key
        with contextlib.suppress(ValueError):
            signed = self._verify_signature(bytes.fromhex(signer), covered, bytes.fromhex(seal.signature))
            if signed and (foreign or self._key.verify(covered, bytes.fromhex(seal.mac))):
                return
        raise BrokenBackupError(
            "its seal is not one of this state" if public_key is None else "its seal is not one of that public key",
            fix="if it comes from another resolver, give the public key that runbound backup list shows there",
        )

    def _room(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.folder, DIRECTORY_MODE)
        if len(self.all()) >= MAX_BACKUPS:
            raise TooManyBackupsError(f"there are {MAX_BACKUPS} backups", fix="delete those that are not needed")

    def _write(self, lines: Iterable[bytes], seal: Callable[[str], Seal]) -> Found:
        path = os.path.join(self.folder, f".new-{os.getpid()}-{os.urandom(4).hex()}")
        digest = hashlib.sha256()
        try:
            with _private(path) as file:
                for octets in lines:
                    digest.update(octets)
                    file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            with open(path, "rb") as file:
                head = _head(file.readline(MAX_LINE))
            return self.keep(path, head, seal(digest.hexdigest()))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def keep(self, path: str, head: Head, unsigned: Seal) -> Found:
        """Gives a written file its name, its seal first, so that no backup is ever without one."""
        with self._sealing:
            return self._keep(path, head, unsigned)

    def _keep(self, path: str, head: Head, unsigned: Seal) -> Found:
        named = msgspec.structs.replace(unsigned, public_key=self.public_key)
        covered = named.covered()
        seal = msgspec.structs.replace(named, mac=self._key.mac(covered).hex(), signature=self._key.sign(covered).hex())
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-r{head.revision}"
        for number in range(1000):
            id_ = f"{stamp}-{number}" if number else stamp
            target = self._path(id_)
            try:
                write_seal(f"{target}.mac", seal)
            except FileExistsError:
                continue
            os.rename(path, target)
            _settle(self.folder)
            return Found(id_, head, seal, os.stat(target).st_size)
        raise TooManyBackupsError("there are too many backups of this second")

    def _path(self, id: str) -> str:  # noqa: A002
        if not ID.fullmatch(id):
            raise NoBackupError(f"there is no backup {id}")
        return os.path.join(self.folder, f"{id}.json")


class Incoming:
    """A stream from elsewhere, written down as it comes; `finish` proves it, `close` forgets what was not finished."""

    def __init__(self, backups: Backups) -> None:
        self._backups = backups
        self._path = os.path.join(backups.folder, f".new-{os.getpid()}-{os.urandom(4).hex()}")
        self._file = _private(self._path)
        self._digest = hashlib.sha256()
        self._rest = b""
        self._head: Head | None = None
        self._seal: Seal | None = None

    def feed(self, piece: bytes) -> None:
        """The next octets, cut anywhere. Raises BrokenBackupError, OSError."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise BrokenBackupError("it has a line that no backup has")
        for octets in lines:
            if self._seal is not None:
                raise BrokenBackupError("something stands behind its seal")
            if octets.startswith(SEALED):
                self._seal = read_seal(octets.removeprefix(SEALED).removesuffix(b"}"))
                continue
            if self._head is None:
                self._head = _head(octets)
            else:
                _entry(octets)
            self._digest.update(octets + b"\n")
            self._file.write(octets + b"\n")

    def finish(self, actor: str, reason: str, public_key: str | None) -> Found:
        """All has come: proves it, and keeps it under a seal of our own. Raises BrokenBackupError, OSError.

        `public_key` (hexadecimal) is that of the state it comes from, if that is another one.
        """
        head, seal = self._head, self._seal
        if head is None or seal is None or self._rest:
            raise BrokenBackupError("it broke off: its seal is missing")
        if self._digest.hexdigest() != seal.sha256:
            raise BrokenBackupError("it was changed: it is not what was sealed")
        self._backups.prove(seal, public_key)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._backups.keep(self._path, head, Seal(seal.sha256, actor, reason, seal.origin))

    def close(self) -> None:
        """Takes away what was not finished."""
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def _lines(head: Head, picture: Picture) -> Iterator[bytes]:
    """The lines of a backup. A document is kept as the canonical text that it is, and goes out untouched."""
    yield _encode(head) + b"\n"
    for kind in CONFIGURATION:
        for rows in picture.rows(kind):
            decoded = msgspec.json.decode(rows, type=list[tuple[int, str, str, int, str]])
            yield b"".join(
                _line(kind, key.lower() if kind in KEYED else "", doc) + b"\n" for _, key, doc, _, _ in decoded
            )


def _line(kind: str, key: str, doc: str) -> bytes:
    """An entry as a backup has it; there is one way to write it."""
    return (f'{{"kind":"{kind}","doc":{doc},"key":"{key}"}}' if key else f'{{"kind":"{kind}","doc":{doc}}}').encode()


def _head(octets: bytes) -> Head:
    try:
        head = msgspec.json.decode(octets, type=Head)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BrokenBackupError("it is no backup of runbound") from error
    if head.form != FORM:
        raise BrokenBackupError("it was made by another runbound, whose backups this one does not read")
    return head


def read_seal(octets: bytes) -> Seal:
    """A seal as its file has it. Raises BrokenBackupError."""
    try:
        return msgspec.json.decode(octets, type=Seal)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BrokenBackupError("its seal cannot be read") from error


def write_seal(path: str, seal: Seal) -> None:
    """Makes the file of a seal, and waits for the disk. Raises OSError."""
    with _private(path) as file:
        file.write(_encode(seal) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _entry(octets: bytes) -> Line:
    try:
        line = msgspec.json.decode(octets, type=Line)
        bytes.fromhex(line.key)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BrokenBackupError("a line of it is no entry") from error
    written = _line(line.kind, line.key, canonical(line.doc))
    if line.kind not in CONFIGURATION or (line.kind in KEYED) != bool(line.key) or written != octets.rstrip(b"\n"):
        raise BrokenBackupError("a line of it is no entry that a backup has")
    return line


def _private(path: str) -> IO[bytes]:
    """A new file that nobody else may read."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    return open(fd, "wb")


def _settle(folder: str) -> None:
    """Puts the names of a folder on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
