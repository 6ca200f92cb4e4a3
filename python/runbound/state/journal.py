"""The journal: every revision there ever was, each row's code covering the one before, and what each changed.

A row is immutable: a change that failed is followed by one that leads back, and nothing is ever taken out of the
middle. What a revision changed is kept in parts, compressed: the rows that were there before and those that are there
after, so that any earlier moment can be had again. This module must never touch the entries themselves.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import apsw
import msgspec

from runbound.state.database import StateTamperedError, typed
from runbound.state.entries import Revision, Status, Summary
from runbound.state.head import Head, Key

COMPRESSION: Final = 1
"""zlib's fastest level: rows shrink to a fifth, and a change waits for it."""
MAX_PART: Final = 64 * 1024 * 1024
"""Octets of one part unpacked; ours have 10,000 rows at most."""
_encode: Final = msgspec.json.Encoder(order="deterministic").encode

Rows = bytes
"""JSON, `[[id, key, doc, revision, mac], …]`, octets in hexadecimal."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One revision as it stands in the table."""

    rev: int
    time: int
    """Unix time, microseconds."""
    actor: str
    reason: str
    op: str
    undoes: int
    """The revision that failed and that this one takes back; 0 for all others."""
    summary: Summary
    view: str
    parts: list[str]
    """SHA-256 of each part."""

    def code(self, key: Key, link: str) -> tuple[str, bytes]:
        """The row's two columns, when it follows the row whose code is `link`."""
        text = _encode(self)
        return text.decode(), key.mac(bytes.fromhex(link) + text)


class Part(msgspec.Struct, frozen=True):
    """Rows of one kind: as they were, and as they became. A key that is only in one of them was added or removed."""

    kind: str
    before: Rows
    after: Rows


class Packed(msgspec.Struct, frozen=True):
    """A part as it is kept."""

    kind: str
    before: bytes
    after: bytes
    digest: str


def pack(part: Part) -> Packed:
    """Compresses a part."""
    before, after = zlib.compress(part.before, COMPRESSION), zlib.compress(part.after, COMPRESSION)
    return Packed(part.kind, before, after, _digest(part.kind, before, after))


def write_part(db: apsw.Connection, rev: int, number: int, part: Packed) -> None:
    """Keeps a part."""
    db.execute(
        "INSERT INTO parts (rev, part, kind, before, after) VALUES (?, ?, ?, ?, ?)",
        (rev, number, part.kind, part.before, part.after),
    )


def write_row(db: apsw.Connection, key: Key, head: Head, row: Row) -> Head:
    """Appends a row, and gives the head that ends with it."""
    text, mac = row.code(key, head.link)
    db.execute("INSERT INTO journal (rev, row, mac) VALUES (?, ?, ?)", (row.rev, text, mac))
    return msgspec.structs.replace(head, revision=row.rev, link=mac.hex(), view=row.view)


def read_raw(db: apsw.Connection, rev: int, number: int) -> Part:
    """A part as it stands there, proven by nothing. Raises StateTamperedError if it is not one."""
    kind, before, after = _kept(db, rev, number, f"revision {rev}")
    return Part(kind, _unpack(before), _unpack(after))


def read_part(db: apsw.Connection, row: Row, number: int, path: str) -> Part:
    """One part of a revision whose row is known to be genuine. Raises StateTamperedError."""
    where = f"{path}: revision {row.rev}, part {number}"
    kind, before, after = _kept(db, row.rev, number, where)
    if _digest(kind, before, after) != row.parts[number]:
        raise StateTamperedError("what the revision changed was altered in the journal", where)
    return Part(kind, _unpack(before), _unpack(after))


def read_rows(db: apsw.Connection, key: Key, head: Head, path: str, *, before: int, limit: int) -> list[Row]:
    """Rows below revision `before`, newest first, proven and linked to their neighbours. Raises StateTamperedError."""
    top = min(before - 1, head.revision)
    bottom = max(top - limit + 1, head.first)
    return list(reversed(list(walk(db, key, head, path, bottom, top)))) if bottom <= top else []


def walk(
    db: apsw.Connection, key: Key, head: Head, path: str, first: int, last: int, link: str | None = None
) -> Iterator[Row]:
    """Rows `first` to `last`, oldest first. The one after `last` is asked too: it vouches for the end.

    `link` is the code of the row before `first`, where it does not stand there any more.
    """
    links = {head.first - 1: head.first_link, head.revision: head.link}
    before = link or links.get(first - 1) or link_of(db, first - 1)
    expected = first
    found = db.execute("SELECT rev, row, mac FROM journal WHERE rev BETWEEN ? AND ? ORDER BY rev", (first, last + 1))
    for rev, text, mac in typed(found, int, str, bytes):
        where = f"{path}: revision {expected}"
        if rev != expected or before is None:
            raise StateTamperedError("it is missing from the journal", where)
        if not key.verify(bytes.fromhex(before) + text.encode(), mac):
            raise StateTamperedError("its row in the journal was changed, or the row before it", where)
        if links.get(rev, mac.hex()) != mac.hex():
            raise StateTamperedError("the journal does not end as the head says", where)
        row = msgspec.json.decode(text, type=Row)
        if row.rev != rev:
            raise StateTamperedError("its row in the journal belongs to another revision", where)
        if rev <= last:
            yield row
        before, expected = mac.hex(), rev + 1
    if expected <= min(last + 1, head.revision):
        raise StateTamperedError("it is missing from the journal", f"{path}: revision {expected}")


def link_of(db: apsw.Connection, rev: int) -> str | None:
    """The code of a row as it stands there, None if there is none."""
    for (mac,) in typed(db.execute("SELECT mac FROM journal WHERE rev = ?", (rev,)), bytes):
        return str(mac.hex())
    return None


def shown(rows: Iterable[Row], head: Head, undone: set[int]) -> list[Revision]:
    """The rows as the history tells them. `undone` are the revisions that failed."""

    def status(row: Row) -> Status:
        if row.rev in undone:
            return "failed"
        return "applied" if row.rev <= head.applied else "pending"

    return [
        Revision(
            number=row.rev,
            time=row.time / 1_000_000,
            actor=row.actor,
            reason=row.reason,
            op=row.op,
            status=status(row),
            summary=row.summary,
            view=row.view,
        )
        for row in rows
    ]


def _kept(db: apsw.Connection, rev: int, number: int, where: str) -> tuple[str, bytes, bytes]:
    found = db.execute("SELECT kind, before, after FROM parts WHERE rev = ? AND part = ?", (rev, number))
    for kind, before, after in typed(found, str, bytes, bytes):
        return kind, before, after
    raise StateTamperedError("what the revision changed is missing from the journal", where)


def _digest(kind: str, before: bytes, after: bytes) -> str:
    text = kind.encode()
    sizes = b"".join(len(piece).to_bytes(8, "big") for piece in (text, before, after))
    return hashlib.sha256(sizes + text + before + after).hexdigest()


def _unpack(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        octets = unpacker.decompress(packed, MAX_PART)
    except zlib.error as error:
        raise StateTamperedError("a part of the journal is no part") from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise StateTamperedError("a part of the journal is no part")
    return octets
