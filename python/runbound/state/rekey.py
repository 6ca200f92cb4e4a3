"""Another key while the resolver runs: everything that a key codes is coded anew, in one transaction.

One job of the writer's thread, alone in its transaction: entries, journal, uses, the audit log's chain and the head.
Readers go on with what was there before, and from the commit on with what is there after; whoever writes waits. A crash
before the commit leaves the state under the key until then, one after it under the new key; for the moment between
commit and anchor the head knows the anchor that stood there. What the audit key until now has sealed is signed for a
last time and put aside as `state.resign` does. This module must never write what it has not proven.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from typing import Final

import apsw
import msgspec

from runbound.state import journal, opening, trail
from runbound.state.database import StateTamperedError, typed
from runbound.state.directory import StateUnusableError
from runbound.state.entries import Event
from runbound.state.opening import Codes, StoreKeys
from runbound.state.table import Table
from runbound.state.writer import Tx

OLD_AUDIT: Final = "audit-{stamp}.jsonl"
"""Where audit entries go that the new key did not seal: the lines as they were, for who has the old key."""
REVISIONS: Final = 500
"""Revisions whose rows are in memory at once."""


class Rekeyed(msgspec.Struct, frozen=True):
    """What became of it."""

    store: bool
    """Whether entries and journal have another key; else only the audit log has."""
    audit: bool
    entries: int
    revisions: int
    seconds: float
    aside: str | None = None
    """Where the audit log's lines are that the key until now has sealed."""


class Coded(msgspec.Struct, frozen=True):
    """Keys, and what they code."""

    keys: StoreKeys
    codes: Codes
    table: Table


class Anew:
    """One change of keys."""

    def __init__(self, old: Coded, new: Coded, folder: str, actor: str, taken: int) -> None:
        """`taken` is the last audit entry that every sink has: those after it stay in the table until they are."""
        self.old = old
        self.new = new
        self._folder = folder
        self._actor = actor
        self._taken = taken
        self._entries = 0
        self._revisions = 0
        self._aside: str | None = None

    @property
    def store(self) -> bool:
        """Whether the store key is another."""
        return self.old.codes.sealer.name != self.new.codes.sealer.name

    @property
    def audit(self) -> bool:
        """Whether the audit key is another."""
        return self.old.keys.audit_name != self.new.keys.audit_name

    def run(self, tx: Tx, anchor: str) -> Rekeyed:
        """Does it. `anchor` is the code of the anchor that stands beside the database now. Raises what reading raises;
        then everything is as it was."""
        begin = time.monotonic()
        try:
            if self.store:
                self._code_entries(tx)
                self._code_journal(tx)
                self._code_uses(tx)
            self._code_audit(tx)
        except BaseException:
            self.forget()
            raise
        tx.head = msgspec.structs.replace(
            tx.head, audit_key=self.new.keys.audit_name, rekeyed=tx.head.epoch + 1, before=anchor
        )
        tx.sealer = self.new.codes.sealer
        seconds = time.monotonic() - begin
        return Rekeyed(self.store, self.audit, self._entries, self._revisions, seconds, self._aside)

    def forget(self) -> None:
        """It was not committed: takes away the copy of the audit log's lines."""
        if self._aside is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._aside)

    def _code_entries(self, tx: Tx) -> None:
        for kind in tx.head.sets:
            count = before = after = 0
            for piece in self.old.table.pieces(tx.db, kind):
                rows, more, was, is_ = self._rows(kind, piece)
                tx.db.execute(_UPDATE, (rows.decode(), kind))
                if tx.db.changes() != more:
                    raise StateTamperedError(f"entries of kind {kind} are missing", self.old.table.path)
                count, before, after = count + more, before + was, after + is_
            opening.compare(tx.head, kind, count, before, self.old.table.path)
            tx.head = tx.head.with_rows(kind, 0, after - before)
            self._entries += count

    def _code_journal(self, tx: Tx) -> None:
        path, key, head = self.old.table.path, self.old.codes.journal, tx.head
        link, was = head.first_link, head.first_link
        for first in range(head.first, head.revision + 1, REVISIONS):
            last = min(first + REVISIONS - 1, head.revision)
            rows = list(journal.walk(tx.db, key, head, path, first, last, was))
            was = journal.link_of(tx.db, last) or ""
            for row in rows:
                digests = [self._part(tx.db, row, number, path) for number in range(len(row.parts))]
                text, mac = msgspec.structs.replace(row, parts=digests).code(self.new.codes.journal, link)
                tx.db.execute("UPDATE journal SET row = ?, mac = ? WHERE rev = ?", (text, mac, row.rev))
                link = mac.hex()
            self._revisions += len(rows)
        tx.head = msgspec.structs.replace(head, link=link)

    def _part(self, db: apsw.Connection, row: journal.Row, number: int, path: str) -> str:
        part = journal.read_part(db, row, number, path)
        before, after = self._rows(part.kind, part.before)[0], self._rows(part.kind, part.after)[0]
        packed = journal.pack(journal.Part(part.kind, before, after))
        db.execute(
            "UPDATE parts SET before = ?, after = ? WHERE rev = ? AND part = ?",
            (packed.before, packed.after, row.rev, number),
        )
        return packed.digest

    def _rows(self, kind: str, rows: bytes) -> tuple[bytes, int, int, int]:
        """Rows with their new codes, how many, and the sums of the codes before and after."""
        return self.old.table.recode(kind, rows, self.new.table.key)

    def _code_uses(self, tx: Tx) -> None:
        old, new = self.old.codes, self.new.codes
        found = list(typed(tx.db.execute("SELECT id, time, mac FROM uses"), int, int, bytes))
        for number, moment, mac in found:
            old.check_use(number, moment, mac, self.old.table.path)
            tx.db.execute("UPDATE uses SET mac = ? WHERE id = ?", (new.use(number, moment), number))

    def _code_audit(self, tx: Tx) -> None:
        """The audit log goes on. If its key is another, the one until now says so and signs for what it has sealed."""
        was, now = self.old.keys, self.new.keys
        said: dict[str, object] = {
            "store": self.store,
            "audit": self.audit,
            "store_key": now.store_from.text,
            "audit_key": now.audit_from.text,
        }
        if self.audit:
            keys = {"public_key": was.audit.public_key().hex(), "next_public_key": now.audit.public_key().hex()}
            tx.event(Event("audit.rekey", self._actor, {**said, **keys}))
            tx.checkpoint()
            first, last = tx.head.audit_first, tx.chain.seq
            self._put_aside(_lines(tx.db, first))
            tx.db.execute("DELETE FROM audit WHERE seq <= ?", (min(self._taken, last),))
            tx.chain = trail.Chain.after(now.audit, last, tx.chain.head)
            tx.line(tx.chain.checkpoint(tx.now))  # though the audit log be off: here the chain's other key begins
            tx.head = msgspec.structs.replace(tx.head, audit_first=tx.chain.seq)
            said |= {"before": keys["public_key"]}
        tx.event(Event("store.rekey", self._actor, {**said, "revision": tx.head.revision}))

    def _put_aside(self, lines: Iterable[str]) -> None:
        self._aside = put_aside(self._folder, lines, time.strftime("%Y%m%d-%H%M%S", time.gmtime()))


_UPDATE: Final = (  # A table of its own, and the piece's range of keys: else each piece looks at every entry there is.
    "WITH r (key, mac) AS MATERIALIZED (SELECT unhex(value ->> 1), unhex(value ->> 4) FROM jsonb_each(jsonb(?))) "
    "UPDATE entries SET mac = r.mac FROM r WHERE entries.kind = ? AND entries.key = r.key "
    "AND entries.key BETWEEN (SELECT min(key) FROM r) AND (SELECT max(key) FROM r)"
)


def _lines(db: apsw.Connection, first: int) -> Iterator[str]:
    for (line,) in typed(db.execute("SELECT line FROM audit WHERE seq >= ? ORDER BY seq", (first,)), str):
        yield line


def put_aside(folder: str, lines: Iterable[str], stamp: str) -> str | None:
    """Writes lines that the next key does not seal into a file of their own; its path, None if there are none.

    Raises StateUnusableError.
    """
    path, number = os.path.join(folder, OLD_AUDIT.format(stamp=stamp)), 0
    try:
        while os.path.lexists(path):
            number += 1
            path = os.path.join(folder, OLD_AUDIT.format(stamp=f"{stamp}-{number}"))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            written = os.fstat(fd).st_size
            os.fsync(fd)
    except OSError as error:
        raise StateUnusableError(f"cannot write it: {error.strerror}", path, "make room") from error
    if written:
        return path
    os.unlink(path)
    return None
