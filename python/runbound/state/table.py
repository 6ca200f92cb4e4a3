"""The table of entries: rows with their codes, read and written a few at a time.

Each row has a code over all its fields; each change keeps the head's sums of codes in step. It must never write without
having proven what it replaces.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import apsw
import msgspec

from runbound.state import journal
from runbound.state.database import StateTamperedError, typed
from runbound.state.entries import Edit, StoredEntry
from runbound.state.head import Key
from runbound.state.writer import Tx

SHORT: Final = 16
"""Octets of a row's code that the row keeps; the sums have all 32."""
CHUNK: Final = 10_000
"""Rows of one piece, here as in the native code."""
COLUMNS: Final = "id, key, doc, rev, mac"
AS_ROWS: Final = "json_group_array(json_array(id, lower(hex(key)), doc, rev, lower(hex(mac))))"
"""Rows as the native code reads and writes them."""


class Codec(Protocol):
    """The codes of rows, computed in Rust; it takes the keys it knows."""

    def mac_row(self, key: Any, kind: str, number: int, k: bytes, doc: str, rev: int, /) -> bytes: ...
    def check_rows(self, key: Any, kind: str, rows: bytes, /) -> tuple[int, bytes, list[int]]: ...
    def recode_rows(
        self, old: Any, new: Any, kind: str, rows: bytes, /
    ) -> tuple[bytes, int, bytes, bytes, list[int]]: ...


class Row(msgspec.Struct, frozen=True):
    """One row."""

    kind: str
    key: bytes
    id: int
    doc: str
    rev: int
    mac: bytes
    """What the row keeps of its code."""

    def entry(self) -> StoredEntry:
        """The row as others see it."""
        return StoredEntry(self.id, self.kind, self.key, msgspec.json.decode(self.doc), self.rev)


class Table:
    """Reads and writes entries with one key."""

    def __init__(self, key: Key, codec: Codec, path: str) -> None:
        self.key = key
        self.codec = codec
        self.path = path

    def one(self, db: apsw.Connection, kind: str, key: bytes) -> Row | None:
        """The entry of that key. Raises StateTamperedError."""
        return next(self._proven(kind, db.execute(f"{_SELECT} AND key = ?", (kind, key))), None)

    def by_id(self, db: apsw.Connection, kind: str, number: int) -> Row | None:
        """The entry of that id. Raises StateTamperedError."""
        return next(self._proven(kind, db.execute(f"{_SELECT} AND id = ?", (kind, number))), None)

    def page(
        self, db: apsw.Connection, kind: str, after: bytes | None, limit: int, under: bytes | None, search: str | None
    ) -> list[Row]:
        """Entries in the order of their keys. Raises StateTamperedError."""
        where, values = filters(kind, after, under, search)
        found = db.execute(
            f"SELECT {COLUMNS} FROM entries WHERE {where} ORDER BY key LIMIT :limit",  # noqa: S608  # our own words
            {**values, "limit": limit},
        )
        rows = list(self._proven(kind, found))
        for row in rows:
            self._in_order(kind, after, row.key)
            after = row.key
        return rows

    def pieces(self, db: apsw.Connection, kind: str) -> Iterator[bytes]:
        """All rows of a kind in the order of their keys, in pieces of CHUNK, not proven yet."""
        after: bytes | None = None
        while True:
            where, values = filters(kind, after, None, None)
            found = db.execute(
                f"SELECT {AS_ROWS}, max(key) FROM "  # noqa: S608
                f"(SELECT {COLUMNS} FROM entries WHERE {where} ORDER BY key LIMIT {CHUNK})",
                values,
            ).fetchone()
            rows, last = found or ("", None)
            if last is None:
                return
            self._in_order(kind, after, last)
            yield rows.encode()
            after = last

    def check(self, kind: str, rows: bytes) -> tuple[int, int]:
        """Proves each of a piece's rows; how many there are, and the sum of their codes. Raises StateTamperedError."""
        try:
            count, total, wrong = self.codec.check_rows(self.key, kind, rows)
        except ValueError as error:
            raise StateTamperedError(f"entries of kind {kind} do not read as they were written", self.path) from error
        if wrong:
            raise self._changed(kind, wrong[0])
        return count, int.from_bytes(total, "little")

    def recode(self, kind: str, rows: bytes, new: Key) -> tuple[bytes, int, int, int]:
        """Proves each of a piece's rows and codes it with another key: the rows, how many, and the sums of their codes
        before and after. Raises StateTamperedError."""
        try:
            made, count, before, after, wrong = self.codec.recode_rows(self.key, new, kind, rows)
        except ValueError as error:
            raise StateTamperedError(f"entries of kind {kind} do not read as they were written", self.path) from error
        if wrong:
            raise self._changed(kind, wrong[0])
        return made, count, int.from_bytes(before, "little"), int.from_bytes(after, "little")

    def edit(self, tx: Tx, edit: Edit, revision: int) -> tuple[Row | None, Row | None]:
        """Makes one edit: the row that was there, and the one that is there now."""
        before = self.one(tx.db, edit.kind, edit.key) if edit.id is None else self.by_id(tx.db, edit.kind, edit.id)
        if edit.id is not None and before is None:
            raise LookupError(f"there is no {edit.kind} with id {edit.id}")
        if before is not None:
            self._delete(tx, before)
        if edit.doc is None:
            return before, None
        if before is None:
            number, tx.head = tx.head.next_id, msgspec.structs.replace(tx.head, next_id=tx.head.next_id + 1)
        else:
            number = before.id
        mac = self.codec.mac_row(self.key, edit.kind, number, edit.key, edit.doc, revision)
        after = Row(edit.kind, edit.key, number, edit.doc, revision, mac[:SHORT])
        tx.db.execute(
            f"INSERT INTO entries (kind, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
            (after.kind, after.id, after.key, after.doc, after.rev, after.mac),
        )
        tx.head = tx.head.with_rows(edit.kind, 1, int.from_bytes(mac, "little"))
        return before, after

    def _delete(self, tx: Tx, row: Row) -> None:
        mac = self.codec.mac_row(self.key, row.kind, row.id, row.key, row.doc, row.rev)
        tx.db.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (row.kind, row.key))
        if tx.db.changes() != 1:
            raise StateTamperedError(f"entry {row.id} of kind {row.kind} is missing", self.path)
        tx.head = tx.head.with_rows(row.kind, -1, -int.from_bytes(mac, "little"))

    def _proven(self, kind: str, found: Iterable[tuple[int, bytes, str, int, bytes]]) -> Iterator[Row]:
        for number, key, doc, rev, mac in typed(found, int, bytes, str, int, bytes):
            if self.codec.mac_row(self.key, kind, number, key, doc, rev)[:SHORT] != mac:
                raise self._changed(kind, number)
            yield Row(kind, key, number, doc, rev, mac)

    def _in_order(self, kind: str, before: bytes | None, key: object) -> None:
        """In a damaged tree a search from a key may lead back to where it came from, for ever."""
        if not isinstance(key, bytes) or (before is not None and key <= before):
            raise StateTamperedError(f"entries of kind {kind} are not in their order", self.path)

    def _changed(self, kind: str, number: int) -> StateTamperedError:
        return StateTamperedError(f"entry {number} of kind {kind} was changed behind runbound's back", self.path)


_SELECT: Final = f"SELECT {COLUMNS} FROM entries WHERE kind = ?"  # noqa: S608


def filters(kind: str, after: bytes | None, under: bytes | None, search: str | None) -> tuple[str, dict[str, object]]:
    """A WHERE clause and its values."""
    where, values = ["kind = :kind"], {"kind": kind}
    more: Sequence[tuple[str, str, object]] = (
        ("key > :after", "after", after),
        ("key >= :under AND key < :beyond", "under", under),
        (_SEARCH, "search", search and search.lower()),
    )
    bound: dict[str, object] = dict(values)
    for clause, name, given in more:
        if given is not None and given != "":
            where.append(clause)
            bound[name] = given
    if under:
        bound["beyond"] = beyond(under)
    return " AND ".join(where), bound


_SEARCH: Final = (
    "("
    + " OR ".join(
        f"instr(lower(doc ->> '{member}'), :search)"
        for member in ("name", "value", "comment", "target", "address", "zone")
    )
    + ")"
)


def beyond(prefix: bytes) -> bytes:
    """The first octets behind all those that begin with the prefix."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def parts_of(changes: Iterable[tuple[Row | None, Row | None]]) -> Iterator[journal.Part]:
    """The parts of a journal that say what a few edits changed: one of each kind, an entry once."""
    kinds: dict[str, tuple[dict[int, Row], dict[int, Row]]] = {}
    for before, after in changes:
        one = before or after
        if one is None:
            continue
        old, new = kinds.setdefault(one.kind, ({}, {}))
        if before is not None and new.pop(before.id, None) is None:
            old[before.id] = before
        if after is not None:
            new[after.id] = after
    for kind, (old, new) in kinds.items():
        yield journal.Part(kind, as_rows(old.values()), as_rows(new.values()))


def as_rows(rows: Iterable[Row]) -> bytes:
    return msgspec.json.encode([(row.id, row.key.hex(), row.doc, row.rev, row.mac.hex()) for row in rows])


def from_rows(kind: str, rows: bytes) -> list[Row]:
    """The rows of a part."""
    found = msgspec.json.decode(rows, type=list[tuple[int, str, str, int, str]])
    return [Row(kind, bytes.fromhex(key), number, doc, rev, bytes.fromhex(mac)) for number, key, doc, rev, mac in found]
