"""Changes of any size: entries taken in, replaced, taken out and led back in pieces of 10,000.

Rows cross from the native code to SQLite and to the journal as JSON, and no entry becomes a Python object. While SQLite
writes one piece, a second thread has the next one coded and compressed. This module must never decide what is allowed.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import apsw
import msgspec

from runbound.state import journal
from runbound.state.database import StateTamperedError, value
from runbound.state.entries import SAMPLE, Bulk, Mode, StoredEntry, Summary
from runbound.state.table import AS_ROWS, CHUNK, COLUMNS, Table, beyond, from_rows
from runbound.state.writer import Tx

NOTHING: Final = b"[]"
Changed = tuple[StoredEntry | None, StoredEntry | None]


class Tally:
    """What a change comes to: its parts in the journal, its counts, and the first entries for people."""

    def __init__(self, tx: Tx, revision: int) -> None:
        self.digests: list[str] = []
        self.summary: Summary = {}
        self.sample: list[Changed] = []
        self._db = tx.db
        self._revision = revision

    def take(self, part: journal.Part, packed: journal.Packed, added: int, changed: int, removed: int) -> None:
        """Keeps a part, and counts it in."""
        journal.write_part(self._db, self._revision, len(self.digests), packed)
        self.digests.append(packed.digest)
        counts = self.summary.setdefault(part.kind, {})
        for word, number in (("added", added), ("changed", changed), ("removed", removed)):
            if number:
                counts[word] = counts.get(word, 0) + number
        if len(self.sample) < SAMPLE:
            self.sample += changes(part)[: SAMPLE - len(self.sample)]

    def count(self, part: journal.Part) -> None:
        """Keeps a part, and counts in what its rows tell."""
        if (part.before, part.after) != (NOTHING, NOTHING):
            old, new = _ids(part.before), _ids(part.after)
            self.take(part, journal.pack(part), len(new - old), len(new & old), len(old - new))


def changes(part: journal.Part) -> list[Changed]:
    """A part's entries before and after."""
    before = {row.id: row for row in from_rows(part.kind, part.before)}
    found: list[Changed] = []
    for row in from_rows(part.kind, part.after):
        old = before.pop(row.id, None)
        found.append((None if old is None else old.entry(), row.entry()))
    return found + [(row.entry(), None) for row in before.values()]


def take_rows(tx: Tx, table: Table, kind: str, rows: bytes) -> int:
    """Takes out rows that were just read, proving them. How many."""
    if rows == NOTHING:
        return 0
    count, total = table.check(kind, rows)
    tx.db.execute(
        "DELETE FROM entries WHERE kind = ? AND key IN (SELECT unhex(value ->> 1) FROM jsonb_each(jsonb(?)))",
        (kind, rows.decode()),
    )
    if tx.db.changes() != count:
        raise StateTamperedError(f"entries of kind {kind} are missing", table.path)
    tx.head = tx.head.with_rows(kind, -count, -total)
    return count


def put_rows(tx: Tx, table: Table, kind: str, rows: bytes, checked: tuple[int, int] | None = None) -> int:
    """Writes rows that are not there. How many."""
    if rows == NOTHING:
        return 0
    count, total = checked or table.check(kind, rows)
    tx.db.execute(
        f"INSERT INTO entries (kind, {COLUMNS}) "  # noqa: S608  # our own words
        "SELECT ?, value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, unhex(value ->> 4) "
        "FROM jsonb_each(jsonb(?))",  # binary: each value is read five times
        (kind, rows.decode()),
    )
    tx.head = tx.head.with_rows(kind, count, total)
    return count


def carry_out(tx: Tx, table: Table, bulk: Bulk, mode: Mode, under: Sequence[bytes], revision: int) -> Tally:
    """Does what the mode says with the entries of a bulk."""
    tally = Tally(tx, revision)
    if mode == "remove":
        for keys in _keys(bulk):
            _remove(tx, table, tally, bulk.kind, _standing(tx.db, bulk.kind, keys))
        return tally
    if mode == "replace":
        _clear(tx, table, tally, bulk, under)
    _put(tx, table, tally, bulk, revision)
    return tally


def lead_back(tx: Tx, table: Table, parts: Iterable[journal.Part], revision: int) -> Tally:
    """Takes a revision back: its entries become just what they were, id and revision too."""
    tally = Tally(tx, revision)
    found = list(parts)
    for part in found:  # all that goes first: a key may have moved from one part to another
        take_rows(tx, table, part.kind, part.after)
    for part in found:
        put_rows(tx, table, part.kind, part.before)
        tally.count(journal.Part(part.kind, part.after, part.before))
    return tally


def back_to(tx: Tx, table: Table, later: Iterable[journal.Part], kinds: Sequence[str], revision: int) -> Tally:
    """Leads entries back to what they were before all of `later`, which are the parts since, the newest first."""
    tally = Tally(tx, revision)
    tx.db.execute("DROP TABLE IF EXISTS temp.past")
    tx.db.execute(
        "CREATE TEMP TABLE past (id INTEGER PRIMARY KEY, kind TEXT, key BLOB, doc TEXT, rev INTEGER, mac BLOB)"
    )
    for part in later:
        if part.kind in kinds:
            for rows, there in ((part.after, 0), (part.before, 1)):
                tx.db.execute(_PAST, (part.kind, there, there, rows.decode()))
    for kind in kinds:
        for span in _spans(tx.db, kind):
            part = journal.Part(kind, _rows(tx.db, _GOES, span), _rows(tx.db, _COMES, span))
            take_rows(tx, table, kind, part.before)
            tally.count(part)
    for kind in kinds:  # all that goes is gone now, and no key is taken twice
        for span in _spans(tx.db, kind):
            put_rows(tx, table, kind, _rows(tx.db, _COMES, span))
    tx.db.execute("DROP TABLE temp.past")
    return tally


def _spans(db: apsw.Connection, kind: str) -> Iterator[tuple[str, int, int]]:
    """Ranges of ids with CHUNK of the past's entries of a kind: above the first, up to the second."""
    after = -1
    while (last := value(db, _LAST, (kind, after, CHUNK))) is not None:
        yield kind, after, last
        after = last


_PAST: Final = (
    f"INSERT OR REPLACE INTO temp.past (kind, {COLUMNS}) SELECT ?, value ->> 0, unhex(value ->> 1), value ->> 2, "  # noqa: S608
    "iif(?, value ->> 3, NULL), iif(?, unhex(value ->> 4), NULL) FROM jsonb_each(jsonb(?))"
)
_LAST: Final = "SELECT max(id) FROM (SELECT id FROM temp.past WHERE kind = ? AND id > ? ORDER BY id LIMIT ?)"
_GOES: Final = (
    f"SELECT {AS_ROWS} FROM (SELECT e.id, e.key, e.doc, e.rev, e.mac FROM temp.past p JOIN main.entries e "  # noqa: S608
    "ON e.id = p.id WHERE p.kind = ? AND p.id > ? AND p.id <= ? AND e.mac IS NOT p.mac ORDER BY e.id)"
)
_COMES: Final = (
    f"SELECT {AS_ROWS} FROM (SELECT p.id, p.key, p.doc, p.rev, p.mac FROM temp.past p LEFT JOIN main.entries e "  # noqa: S608
    "ON e.id = p.id WHERE p.kind = ? AND p.id > ? AND p.id <= ? AND p.mac IS NOT NULL AND e.mac IS NOT p.mac "
    "ORDER BY p.id)"
)


def _put(tx: Tx, table: Table, tally: Tally, bulk: Bulk, revision: int) -> None:
    """Puts the entries of a bulk, a piece ahead of SQLite."""
    empty = tx.head.sets.get(bulk.kind, (0, 0))[0] == 0

    def prepare(part: int, standing: bytes, first_id: int) -> _Prepared | None:
        rows = bulk.rows(part, first_id, revision, table.key, standing)
        if rows is None:
            return None
        if rows == NOTHING:
            return _Prepared(NOTHING, NOTHING, (0, 0), None)
        old = NOTHING if standing == NOTHING else _of_same_id(standing, rows)
        return _Prepared(rows, old, table.check(bulk.kind, rows), journal.pack(journal.Part(bulk.kind, old, rows)))

    def standing(part: int) -> bytes:
        keys = None if empty else bulk.keys(part)
        return NOTHING if keys is None else _standing(tx.db, bulk.kind, keys)

    with ThreadPoolExecutor(1, "state-bulk") as aside:
        part = 0
        ready = aside.submit(prepare, part, standing(part), tx.head.next_id)
        while (found := ready.result()) is not None:
            changed = len(_ids(found.old))
            added = found.checked[0] - changed
            tx.head = msgspec.structs.replace(tx.head, next_id=tx.head.next_id + added)
            part += 1
            # The next part's entries have other keys: what this one writes changes nothing for them.
            ready = aside.submit(prepare, part, standing(part), tx.head.next_id)
            if found.packed is not None:
                take_rows(tx, table, bulk.kind, found.old)
                put_rows(tx, table, bulk.kind, found.rows, found.checked)
                tally.take(journal.Part(bulk.kind, found.old, found.rows), found.packed, added, changed, 0)


class _Prepared(msgspec.Struct, frozen=True):
    rows: bytes
    old: bytes
    checked: tuple[int, int]
    packed: journal.Packed | None


def _clear(tx: Tx, table: Table, tally: Tally, bulk: Bulk, under: Sequence[bytes]) -> None:
    """Takes out what is not in the bulk. Both are in the order of keys, so that each part says what goes before it."""
    within: list[tuple[bytes, bytes | None]] = [(prefix, beyond(prefix)) for prefix in under] or [(b"", None)]
    low = b""
    for keys in _keys(bulk):
        high = value(tx.db, "SELECT max(unhex(value)) FROM json_each(?)", (keys.decode(),)) + b"\0"
        for first, end in within:
            _clear_range(tx, table, tally, bulk.kind, keys, max(low, first), high if end is None else min(high, end))
        low = high
    for first, end in within:
        _clear_range(tx, table, tally, bulk.kind, NOTHING, max(low, first), end)


def _clear_range(tx: Tx, table: Table, tally: Tally, kind: str, keys: bytes, low: bytes, high: bytes | None) -> None:
    """Takes out what stands from `low` to before `high` and is not among the keys."""
    end = "" if high is None else "AND key < :high"
    select = (
        f"SELECT {AS_ROWS} FROM (SELECT {COLUMNS} FROM entries WHERE kind = :kind AND key >= :low {end} "  # noqa: S608
        f"AND key NOT IN (SELECT unhex(value) FROM json_each(:keys)) ORDER BY key LIMIT {CHUNK})"
    )
    values: dict[str, object] = {
        "kind": kind,
        "low": low,
        "keys": keys.decode(),
        **({} if high is None else {"high": high}),
    }
    while (rows := _rows(tx.db, select, values)) != NOTHING:
        _remove(tx, table, tally, kind, rows)


def _remove(tx: Tx, table: Table, tally: Tally, kind: str, rows: bytes) -> None:
    if rows != NOTHING:
        count = take_rows(tx, table, kind, rows)
        part = journal.Part(kind, rows, NOTHING)
        tally.take(part, journal.pack(part), 0, 0, count)


def _keys(bulk: Bulk) -> Iterator[bytes]:
    part = 0
    while (keys := bulk.keys(part)) is not None:
        yield keys
        part += 1


def _standing(db: apsw.Connection, kind: str, keys: bytes) -> bytes:
    """What stands under these keys."""
    return _rows(
        db,
        f"SELECT {AS_ROWS} FROM (SELECT {COLUMNS} FROM entries WHERE kind = ? "  # noqa: S608
        "AND key IN (SELECT unhex(value) FROM json_each(?)) ORDER BY key)",
        (kind, keys.decode()),
    )


def _rows(db: apsw.Connection, sql: str, bindings: tuple[object, ...] | dict[str, object]) -> bytes:
    return str(value(db, sql, bindings)).encode()


def _ids(rows: bytes) -> set[int]:
    return {row[0] for row in msgspec.json.decode(rows)}


def _of_same_id(standing: bytes, rows: bytes) -> bytes:
    """Those of the standing rows that the new ones replace."""
    replaced = _ids(rows)
    return msgspec.json.encode([row for row in msgspec.json.decode(standing) if row[0] in replaced])
