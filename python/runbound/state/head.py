"""The head: one row that says where everything ends, and the file `state.mac` beside the database that repeats it.

A code on each row cannot tell that a row is missing, or is its own older self. The head can: it holds the last link of
the journal and of the audit log, and for each kind of entry how many there are and the sum of their codes. It is
written in every transaction. Its newest form stands outside the database too, so that a database put back whole is
found.

The sum is masked by a number made from a nonce and the key (the construction MSet-Add-Hash): whoever could read sums in
the clear after every change could learn the codes of single rows, and look for other rows with the same sum.

This module must never decide what to do about a head that is wrong.
"""

import os
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from runbound.state.database import FILE_MODE, StateTamperedError

ANCHOR_NAME: Final = "state.mac"
SLOT: Final = 512
"""Octets of one of the two places in the anchor: what a disk writes whole."""
NOTHING: Final = "0" * 64
"""The link before the first."""
MODULUS: Final = 1 << 256
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Key(Protocol):
    """A secret that codes; it never shows itself."""

    def mac(self, data: bytes) -> bytes: ...
    def verify(self, data: bytes, mac: bytes) -> bool: ...
    def derive(self, purpose: str) -> "Key": ...


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where everything ends."""

    epoch: int = 0
    """Transactions since the beginning."""
    revision: int = 0
    """The newest in the journal."""
    link: str = NOTHING
    """The code of the journal's newest row."""
    applied: int = 0
    """The newest revision that the engine has taken; those after it are pending."""
    first: int = 1
    """The oldest revision that the journal still has."""
    first_link: str = NOTHING
    """The link before that one."""
    next_id: int = 1
    audit_seq: int = 0
    audit_link: str = NOTHING
    audit_first: int = 1
    """The oldest line that the audit table still has."""
    view: str = ""
    """Digest of the configuration file's view that is in force."""
    audit_key: str = ""
    """Tells audit keys apart; empty in a state of before they were told apart."""
    rekeyed: int = 0
    """The transaction that coded everything with the key of now; 0 if none ever did."""
    before: str = ""
    """The code of the anchor that stood beside the database then: see `opening.check_anchor`."""
    sets: dict[str, tuple[int, int]] = {}
    """Kind to number of entries and sum of their codes."""

    def with_rows(self, kind: str, count: int, total: int) -> "Head":
        """The head after so many rows more, whose codes add up to `total`; both may be negative."""
        had, sum_ = self.sets.get(kind, (0, 0))
        return msgspec.structs.replace(self, sets={**self.sets, kind: (had + count, (sum_ + total) % MODULUS)})


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The row as it stands in the table: the sums masked."""

    nonce: str
    head: Head
    masked: dict[str, str]
    key: str = ""
    """The name of the key that sealed it."""


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file beside the database says."""

    epoch: int
    revision: int
    link: str
    audit_seq: int
    audit_link: str
    key: str
    """Tells keys apart without giving one away; "public" if integrity is off."""
    mac: str = ""
    store: str | msgspec.UnsetType = msgspec.UNSET
    """Where the key came from, for who has another: `Origin.text`."""
    audit: str | msgspec.UnsetType = msgspec.UNSET
    """Where the audit key came from."""

    def octets(self) -> bytes:
        """What the code covers."""
        return _encode(msgspec.structs.replace(self, mac=""))


class Sealer:
    """Writes and reads heads with one key."""

    def __init__(self, key: Key, name: str, store: str = "", audit: str = "") -> None:
        """`key` is for heads alone; the others are what `Anchor` shows."""
        self._key = key
        self._mask = key.derive("mask of the sums")
        self._store = store or msgspec.UNSET
        self._audit = audit or msgspec.UNSET
        self.name = name

    def seal(self, head: Head) -> tuple[str, bytes]:
        """The row's two columns."""
        nonce = os.urandom(16)
        masked = {
            kind: f"{(total + self._of(nonce, kind)) % MODULUS:064x}" for kind, (_count, total) in head.sets.items()
        }
        shown = msgspec.structs.replace(head, sets={kind: (count, 0) for kind, (count, _) in head.sets.items()})
        body = _encode(_Kept(nonce.hex(), shown, masked, self.name))
        return body.decode(), self._key.mac(body)

    def open(self, body: str, mac: bytes, path: str) -> Head:
        """The head of that row. Raises StateTamperedError."""
        octets = body.encode()
        if not self._key.verify(octets, mac):
            raise StateTamperedError("its head was changed, or was written with another key", path)
        kept = msgspec.json.decode(octets, type=_Kept)
        nonce = bytes.fromhex(kept.nonce)
        sets = {
            kind: (count, (int(kept.masked[kind], 16) - self._of(nonce, kind)) % MODULUS)
            for kind, (count, _zero) in kept.head.sets.items()
        }
        return msgspec.structs.replace(kept.head, sets=sets)

    def anchor(self, head: Head) -> Anchor:
        """What the file beside the database is to say."""
        open_ = Anchor(
            *(head.epoch, head.revision, head.link, head.audit_seq, head.audit_link, self.name),
            store=self._store,
            audit=self._audit,
        )
        return msgspec.structs.replace(open_, mac=self._key.mac(open_.octets()).hex())

    def genuine(self, anchor: Anchor) -> bool:
        """Whether this key wrote it."""
        try:
            return self._key.verify(anchor.octets(), bytes.fromhex(anchor.mac))
        except ValueError:
            return False

    def _of(self, nonce: bytes, kind: str) -> int:
        return int.from_bytes(self._mask.mac(nonce + kind.encode()), "little")


class AnchorFile:
    """`state.mac`: two places written in turn, so that a write that is cut off leaves the one before it."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def open(
        cls, path: str, owner: tuple[int, int] | None = None, *, create: bool = False, read_only: bool = False
    ) -> "AnchorFile":
        """Raises OSError; FileNotFoundError if there is none and none is to be made."""
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        fd = os.open(path, flags, FILE_MODE)
        if owner is not None:
            os.fchown(fd, *owner)
        return cls(path, fd)

    def read(self) -> list[Anchor]:
        """What stands in the two places, where it can be read; nothing is proven yet."""
        found = []
        for place in (0, 1):
            octets = os.pread(self._fd, SLOT, place * SLOT)
            try:
                found.append(msgspec.json.decode(octets, type=Anchor))
            except (msgspec.MsgspecError, UnicodeError):
                continue
        return found

    def write(self, anchor: Anchor) -> None:
        """Puts it in the place that its epoch has; the other keeps the one before. Raises OSError."""
        octets = _encode(anchor).ljust(SLOT - 1) + b"\n"
        if os.pwrite(self._fd, octets, anchor.epoch % 2 * SLOT) != SLOT:
            raise OSError(28, "could not be written whole", self.path)

    def sync(self) -> None:
        """Waits until it is on the disk. Raises OSError."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self._fd)


class _Sealed(msgspec.Struct):
    key: str = ""


def sealed_with(body: object) -> str:
    """The name of the key that a head says it was sealed with; it proves nothing."""
    try:
        return msgspec.json.decode(body, type=_Sealed).key if isinstance(body, str) else ""
    except msgspec.MsgspecError:
        return ""


def newest(anchors: Sequence[Anchor]) -> Anchor | None:
    """The one with the highest epoch."""
    return max(anchors, key=lambda anchor: anchor.epoch, default=None)
