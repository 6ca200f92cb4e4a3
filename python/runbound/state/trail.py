"""The audit log's line: how an entry is written, sealed, chained to the one before, and signed for.

One entry is one line, and the line is what is kept, sent and proven: there is no second form of it that could differ.
Members stand in the order of `Line`, without spaces, the keys of `fields` sorted. `mac` is HMAC-SHA256 with the audit
key over the octets of the line without its member `mac`; `prev` is the `mac` of the line before, zeros at the first.

A checkpoint is an ordinary entry whose fields hold an Ed25519 signature over the entries since the one before it: how
many, from which on, the SHA-256 of their lines, and the last one's MAC. So who has the public key alone can prove what
stands between two checkpoints. This module must never keep anything, and never know who reads.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import msgspec

from runbound.errors import RunboundError
from runbound.state.entries import Event

NOTHING: Final = "0" * 64
"""`prev` of the first entry."""
CHECKPOINT: Final = "checkpoint"
DEFAULT_EVERY: Final = 10_000
"""Entries between two checkpoints if nobody says otherwise (`audit-checkpoint-every`)."""
MAX_TEXT: Final = 2000
"""Characters kept of one text in an entry: the journal has what was changed whole, the audit log says who and what."""
MAX_ITEMS: Final = 100
"""Members kept of one list or object in an entry."""
MAX_DEPTH: Final = 4
MAX_FIELDS: Final = 16 * 1024
"""Octets of the fields of an entry; a longer one keeps its short members. A datagram for syslog must hold the line."""
CUT: Final = "…"
_SIGNED: Final = b"runbound audit checkpoint 1\n"
"""Stands before what a checkpoint signs, so that the signature says nothing in any other place."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_encoder: Final = msgspec.json.Encoder(order="deterministic")


class Key(Protocol):
    """The audit key, wherever it is kept."""

    def mac(self, data: bytes) -> bytes: ...
    def verify(self, data: bytes, mac: bytes) -> bool: ...
    def sign(self, data: bytes) -> bytes: ...
    def public_key(self) -> bytes: ...


class NotALineError(RunboundError):
    """Octets that are no line of an audit log, or not as one is written."""


class BrokenTrailError(RunboundError):
    """The kept entries do not hold together. `seq` is the first that is wrong."""

    def __init__(self, seq: int, what: str) -> None:
        super().__init__(f"audit entry {seq}: {what}")
        self.seq = seq


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry, in the order its members are written."""

    seq: int
    time: str
    """RFC 3339, UTC, with microseconds."""
    event: str
    actor: str
    fields: dict[str, Any]
    prev: str
    mac: str = ""

    def octets(self) -> bytes:
        """The line, without the end of line."""
        return _encoder.encode(self)

    def sealed(self) -> bytes:
        """What the MAC covers: the octets without the member `mac`."""
        whole = _encoder.encode(msgspec.structs.replace(self, mac=""))
        return whole[: -len(b',"mac":""}')] + b"}"

    def genuine(self, key: Key) -> bool:
        """Whether the MAC is of that key and these contents."""
        return key.verify(self.sealed(), bytes.fromhex(self.mac))


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a checkpoint, without `signature`: what it says about the entries before it."""

    count: int
    """Entries it covers."""
    digest: str
    """SHA-256 of their lines, each with its end of line."""
    first: int
    """The `seq` of the first of them: the checkpoint before, or 1."""
    head: str
    """The MAC of the last of them."""
    public_key: str

    def signed(self, seq: int) -> bytes:
        """What the signature covers."""
        return _SIGNED + _encoder.encode({"seq": seq, **msgspec.structs.asdict(self)})


class _Checkpoint(Statement, frozen=True, forbid_unknown_fields=True):
    signature: str


_decoder: Final = msgspec.json.Decoder(Line)


def parse(octets: bytes) -> Line:
    """Reads a line, without its end. Raises NotALineError for anything that is not written as `Line.octets` does."""
    try:
        line = _decoder.decode(octets)
        if line.octets() != octets:
            raise NotALineError("it is not written as runbound writes it")
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NotALineError(f"it is no entry of an audit log ({error})") from error
    if not (_is_hex(line.prev, 64) and _is_hex(line.mac, 64)) or line.seq < 1:
        raise NotALineError("its seq, prev or mac is none")
    return line


def statement(line: Line) -> tuple[Statement, bytes] | None:
    """What a checkpoint says, and its signature; None if the line is no checkpoint, or none that can be read."""
    if line.event != CHECKPOINT:
        return None
    try:
        found = msgspec.convert(line.fields, _Checkpoint)
        signature, public = bytes.fromhex(found.signature), bytes.fromhex(found.public_key)
    except (msgspec.MsgspecError, ValueError):
        return None
    if len(signature) != 64 or len(public) != 32:
        return None
    parts = {name: getattr(found, name) for name in Statement.__struct_fields__}
    return Statement(**parts), signature


class Digest:
    """The SHA-256 over lines since a checkpoint."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, octets: bytes) -> None:
        """Takes one line, without its end."""
        self._sum.update(octets)
        self._sum.update(b"\n")

    def hex(self) -> str:
        """Of all so far."""
        return self._sum.hexdigest()

    def copy(self) -> "Digest":
        """One that goes its own way from here."""
        other = Digest()
        other._sum = self._sum.copy()
        return other


class Chain:
    """The end of an audit log: makes the next entry. A writer that may have to take entries back works on a `fork`."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._digest = Digest()
        self._first = 1
        self.seq = 0
        """Of the last entry."""
        self.head = NOTHING
        """The MAC of the last entry."""
        self.since = 0
        """Entries since the last checkpoint."""

    @classmethod
    def resume(cls, key: Key, lines: Iterable[bytes]) -> "Chain":
        """The chain after these kept lines: all of them, or those from the last checkpoint on, with it.

        Raises BrokenTrailError if one is not what it was when it was written.
        """
        chain = cls(key)
        for octets in lines:
            line = chain._genuine(octets)
            if chain.seq == 0:
                chain._first = line.seq
            chain._follow(line, octets)
        return chain

    @classmethod
    def after(cls, key: Key, seq: int, head: str) -> "Chain":
        """The chain after an entry that another key has sealed.

        What comes next must be a checkpoint: it covers nothing, and says that from here on this key seals.
        """
        chain = cls(key)
        chain.seq, chain.head, chain._first = seq, head, seq + 1
        return chain

    def fork(self) -> "Chain":
        """The same end, which can go on without this one noticing."""
        other = Chain(self._key)
        other._digest, other._first = self._digest.copy(), self._first
        other.seq, other.head, other.since = self.seq, self.head, self.since
        return other

    def append(self, time_us: int, event: Event) -> str:
        """The next line, without its end; `time_us` is Unix time in microseconds."""
        return self._append(time_us, event.event, event.actor, fields(event.fields))

    def checkpoint(self, time_us: int) -> str:
        """The next line, a checkpoint over all entries since the last one, which is covered too."""
        said = Statement(
            count=self.seq + 1 - self._first,
            digest=self._digest.hex(),
            first=self._first,
            head=self.head,
            public_key=self._key.public_key().hex(),
        )
        signature = self._key.sign(said.signed(self.seq + 1)).hex()
        return self._append(time_us, CHECKPOINT, "runbound", {**msgspec.structs.asdict(said), "signature": signature})

    def _append(self, time_us: int, event: str, actor: str, shown: dict[str, Any]) -> str:
        open_ = Line(self.seq + 1, moment(time_us), text(event), text(actor), shown, self.head)
        line = msgspec.structs.replace(open_, mac=self._key.mac(open_.sealed()).hex())
        octets = line.octets()
        self._follow(line, octets)
        return octets.decode()

    def _genuine(self, octets: bytes) -> Line:
        """The line, if it is genuine and follows what was taken before."""
        try:
            line = parse(octets)
        except NotALineError as error:
            raise BrokenTrailError(self.seq + 1, error.what) from error
        if self.seq == 0 and line.seq != 1 and line.event != CHECKPOINT:
            raise BrokenTrailError(line.seq, "those before it are missing")
        if self.seq and line.seq != self.seq + 1:
            raise BrokenTrailError(self.seq + 1, "it is missing")
        if (self.seq or line.seq == 1) and line.prev != self.head:
            raise BrokenTrailError(line.seq, "it does not follow the one before")
        if not line.genuine(self._key):
            raise BrokenTrailError(line.seq, "it was changed, or the audit key is another than when it was written")
        return line

    def _follow(self, line: Line, octets: bytes) -> None:
        if line.event == CHECKPOINT:
            self._digest, self._first, self.since = Digest(), line.seq, 0
        else:
            self.since += 1
        self._digest.add(octets)
        self.seq, self.head = line.seq, line.mac


def moment(time_us: int) -> str:
    """Unix time in microseconds as RFC 3339 has it."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def fields(given: Mapping[str, object]) -> dict[str, Any]:
    """The fields as an entry holds them: what JSON knows and every reader reads alike, bounded in length."""
    kept = _plain(given, 0)
    assert isinstance(kept, dict)
    size = len(_encoder.encode(kept))
    if size <= MAX_FIELDS:
        return kept
    short = {name: value for name, value in kept.items() if not isinstance(value, dict | list)}
    while short and len(_encoder.encode(short)) > MAX_FIELDS // 2:
        del short[max(short, key=lambda name: len(str(short[name])))]
    return {**short, "cut": size}


def text(value: str) -> str:
    """A text that every reader reads alike: bounded, what is no character becomes the replacement character."""
    whole = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - 1] + CUT


def _plain(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**53) < value < 2**53 else str(value)
    if isinstance(value, str):
        return text(value)
    if depth >= MAX_DEPTH:
        return CUT
    if isinstance(value, Mapping):
        items = list(value.items())[:MAX_ITEMS]
        return {text(str(name)): _plain(item, depth + 1) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return text(str(value))


def _is_hex(value: str, length: int) -> bool:
    return len(value) == length and all(c in "0123456789abcdef" for c in value)
