"""The store: everything that changes by API, kept so that any change to it that is not ours is found.

One writer (`writer`), readers with connections of their own, a journal of every revision (`journal`), the audit log in
the same transactions (`trail`), a head and an anchor that say where everything ends (`head`). It must never give out
what it has not proven, never empty itself, and never mend what somebody else has changed: it refuses, and says how to
recover.
"""

import contextlib
import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final

import apsw
import msgspec

from runbound.state import bulk, opening
from runbound.state import journal as revisions
from runbound.state.database import Readers, StateTamperedError, typed, value
from runbound.state.directory import StateUnusableError
from runbound.state.entries import Committed, Edit, Event, Note, Pending, Revision, StoredEntry, TooManyError, canonical
from runbound.state.head import Head, sealed_with
from runbound.state.opening import StoreKeys
from runbound.state.rekey import Anew, Coded, Rekeyed
from runbound.state.table import Codec, Row, Table, from_rows, parts_of
from runbound.state.writer import Tx

MAX_VIEW: Final = 256 * 1024 * 1024
"""Octets of one view of the configuration files, unpacked."""
MAX_WAIT_SECONDS: Final = 3600.0

View = tuple[tuple[str, bytes], ...]
"""The configuration files as they were read, path and octets, the main file first."""


class Picture(msgspec.Struct, frozen=True):
    """The entries of one moment."""

    revision: int
    counts: dict[str, int]
    """Kind to how many entries there are."""
    rows: Callable[[str], Iterator[bytes]]
    """Those of a kind; see `Store.rows`."""


class Store:
    """The open state of one process. Safe from every thread."""

    def __init__(self, opened: opening.Opened) -> None:
        self.path = opened.path
        self._coded = Coded(opened.keys, opened.codes, opened.table)
        self._coming: Coded | None = None
        """What is being coded with, while the keys change."""
        self._rekeying = threading.Lock()
        self._writer = opened.writer
        self._readers = Readers(opened.path)
        self._undone = opened.undone
        self._applied = self._writer.head.applied

    @classmethod
    def open(cls, folder: str, keys: StoreKeys, codec: Codec, owner: tuple[int, int] | None = None) -> "Store":
        """Opens the state in a folder that the caller has locked, or makes a new one; no thread is started yet.

        Raises StateTamperedError if anything is not as it was written, StateUnusableError if it cannot be used.
        """
        return cls(opening.open_(folder, keys, codec, owner))

    # What there is.

    @property
    def protected(self) -> bool:
        """Whether a secret key codes what is kept; without one only accidents are found."""
        return self._coded.keys.protected

    @property
    def keys(self) -> StoreKeys:
        """The keys in force."""
        return self._coded.keys

    @property
    def revision(self) -> int:
        """The newest that the engine has taken."""
        return self._applied

    @property
    def newest(self) -> int:
        """The newest in the journal, applied or not."""
        return self._writer.head.revision

    @property
    def pending(self) -> list[Revision]:
        """Revisions that were committed and never said to be applied, oldest first: what a crash left."""
        newest, applied = self.newest, self._applied
        return list(reversed(self.journal(before=newest + 1, limit=newest - applied))) if newest > applied else []

    def get(self, kind: str, key: bytes) -> StoredEntry | None:
        """The entry of that key. Raises StateTamperedError."""
        with self._reading() as (db, coded):
            return _entry(coded.table.one(db, kind, key))

    def by_id(self, kind: str, id: int) -> StoredEntry | None:  # noqa: A002  # the member's name everywhere
        """The entry of that id. Raises StateTamperedError."""
        with self._reading() as (db, coded):
            return _entry(coded.table.by_id(db, kind, id))

    def count(self, kind: str) -> int:
        """How many entries of a kind there are."""
        return self._writer.head.sets.get(kind, (0, 0))[0]

    def page(
        self,
        kind: str,
        *,
        after: bytes | None,
        limit: int,
        under: bytes | None = None,
        search: str | None = None,
    ) -> list[StoredEntry]:
        """Entries in the order of their keys from behind `after`; `under` is the beginning of their keys.

        `search` is looked for in names, values and comments. Raises StateTamperedError.
        """
        with self._reading() as (db, coded):
            return [row.entry() for row in coded.table.page(db, kind, after, limit, under, search)]

    def rows(self, kind: str) -> Iterator[bytes]:
        """All entries of a kind as ROWS, in pieces. Raises StateTamperedError, at the end too: what came before is
        good for nothing then."""
        with self.picture() as picture:
            yield from picture.rows(kind)

    @contextlib.contextmanager
    def picture(self) -> "Iterator[Picture]":
        """Everything as it is at this moment, whatever changes meanwhile."""
        with self._reading() as (db, coded):
            head = self._head(db, coded)

            def rows(kind: str) -> Iterator[bytes]:
                count = total = 0
                for piece in coded.table.pieces(db, kind):
                    more, sum_ = coded.table.check(kind, piece)
                    count, total = count + more, total + sum_
                    yield piece
                opening.compare(head, kind, count, total, self.path)

            yield Picture(head.revision, {kind: count for kind, (count, _) in head.sets.items()}, rows)

    # What changes it.

    def commit(self, batch: Sequence[Pending]) -> list[Committed]:
        """Writes changes, each a revision of its own with its journal row and audit entries, in one transaction.

        They are pending until `applied` or `failed` says what became of them. If one cannot be written, none is.
        """
        return self._writer.run(lambda tx: [self._commit(tx, pending) for pending in batch])

    def preview(self, pending: Pending) -> Committed:
        """What `commit` would do with it; everything is taken back. Raises what `commit` would."""

        def attempt(tx: Tx) -> None:
            raise _Previewed(self._commit(tx, pending))

        try:
            self._writer.run(attempt)
        except _Previewed as previewed:
            return previewed.done
        raise AssertionError("a preview always ends so")

    def applied(self, revisions: Sequence[int]) -> None:
        """The engine has taken these. Waits for the disk: what a caller is told of must not be taken back later.

        If the disk cannot take it, they stay committed and would be tried once more; the next change tells.
        """
        newest = max(revisions, default=0)
        self._applied = max(self._applied, newest)

        def mark(tx: Tx) -> None:
            if newest > tx.head.applied:
                tx.head = msgspec.structs.replace(tx.head, applied=newest)

        with contextlib.suppress(StateUnusableError):
            self._writer.run(mark)

    def failed(self, revision: int, why: str, events: Sequence[Event] = ()) -> int:
        """The engine has refused the newest revision: takes its edits back, by a revision whose number is returned.

        Raises ValueError if it is not the newest, or was applied.
        """

        def undo(tx: Tx) -> int:
            # Those that were undone before stand between it and the end of the journal, and changed nothing in sum.
            if revision <= tx.head.applied or revision in self._undone:
                raise ValueError(f"revision {revision} is not pending")
            if any(later not in self._undone for later in self._between(tx, revision)):
                raise ValueError(f"revision {revision} is not the newest one pending")
            number = tx.head.revision + 1
            tally = bulk.lead_back(tx, self._coded.table, self._parts(tx, revision), number)
            view = self._row(tx, revision - 1).view if revision > tx.head.first else ""
            note = Note("runbound", why, "undo")
            self._write(tx, number, note, tally, view, undoes=revision)
            for event in events:
                tx.event(_with_revision(event, revision))
            return number

        number = self._writer.run(undo)
        self._undone[revision] = number
        if all(
            row in self._undone or row in self._undone.values() for row in range(self._applied + 1, self.newest + 1)
        ):
            self.applied([self.newest])
        return number

    def record(self, *events: Event, wait: bool = False) -> "Future[None]":
        """Appends audit entries that belong to no change. With `wait`, they are on the disk afterwards.

        Without, whoever wants to know asks the result, and nobody has to.
        """

        def append(tx: Tx) -> None:
            for event in events:
                tx.event(event)

        future = self._writer.submit(append)
        if wait:
            future.result()
        return future

    def checkpoint(self) -> None:
        """Signs for the audit entries since the last checkpoint, if there are any; waits for the disk."""
        self._writer.run(lambda tx: tx.checkpoint())

    def rekey(self, new: StoreKeys, actor: str, *, taken: int, done: Callable[[], None] | None = None) -> Rekeyed:
        """Codes everything with other keys, while reading goes on and writing waits; see `rekey.Anew`.

        `taken` is the last audit entry that stands elsewhere too. `done` is called when it is committed, before anybody
        writes anything more. Raises StateTamperedError or StateUnusableError, and then the keys are those of before.
        """
        codec, codes = self._coded.table.codec, opening.codes_of(new)
        coming = Coded(new, codes, Table(codes.rows, codec, self.path))
        begun: list[Anew] = []

        def work(tx: Tx) -> Rekeyed:
            anew = Anew(self._coded, coming, os.path.dirname(self.path), actor, taken)
            begun.append(anew)
            self._coming = coming
            return anew.run(tx, self._writer.anchor())

        def committed() -> None:
            self._coded = coming
            if done is not None:
                done()

        with self._rekeying:
            try:
                return self._writer.submit(work, committed).result()
            except BaseException:
                for anew in begun:
                    if self._coded is not coming:
                        anew.forget()
                raise
            finally:
                self._coming = None

    # History.

    def journal(self, *, before: int | None, limit: int) -> list[Revision]:
        """Revisions, the newest first, from below `before`. Raises StateTamperedError."""
        with self._reading() as (db, coded):
            head = self._head(db, coded)
            rows = revisions.read_rows(
                db, coded.codes.journal, head, self.path, before=before or head.revision + 1, limit=limit
            )
        shown = msgspec.structs.replace(head, applied=max(head.applied, self._applied))
        return revisions.shown(rows, shown, set(self._undone))

    def parts_of(self, revision: int) -> Iterator[revisions.Part]:
        """What a revision changed, in pieces of ROWS. Raises StateTamperedError, LookupError."""
        with self._reading() as (db, coded):
            head = self._head(db, coded)
            rows = revisions.read_rows(db, coded.codes.journal, head, self.path, before=revision + 1, limit=1)
            if not rows or rows[0].rev != revision:
                raise LookupError(f"there is no revision {revision}")
            for number in range(len(rows[0].parts)):
                yield revisions.read_part(db, rows[0], number, self.path)

    def change_of(self, revision: int) -> Iterator[tuple[StoredEntry | None, StoredEntry | None]]:
        """What a revision changed: each entry before and after. Raises StateTamperedError, LookupError."""
        for part in self.parts_of(revision):
            yield from bulk.changes(part)

    def at(self, revision: int, kinds: Iterable[str]) -> Iterator[Edit]:
        """The edits that lead from what is kept now to what was kept after `revision`, for kinds with few entries.

        Raises StateTamperedError, and LookupError if the journal no longer goes back so far.
        """
        wanted = set(kinds)
        then: dict[tuple[str, bytes], StoredEntry | None] = {}
        for number in range(self.newest, revision, -1):
            for part in self.parts_of(number):
                if part.kind in wanted:
                    then.update({(row.kind, row.key): None for row in from_rows(part.kind, part.after)})
                    then.update({(row.kind, row.key): row.entry() for row in from_rows(part.kind, part.before)})
        for (kind, key), entry in then.items():
            now = self.get(kind, key)
            if entry is None and now is not None:
                yield Edit(kind, key, None)
            elif entry is not None and (now is None or now.doc != entry.doc):
                yield Edit(kind, key, canonical(entry.doc))

    # The configuration files as they were.

    def keep_view(self, files: Iterable[tuple[str, bytes]]) -> str:
        """Keeps what the configuration files said; the digest is what a `Pending.view` names."""
        body = msgspec.msgpack.encode(tuple(files))
        digest = hashlib.sha256(body).hexdigest()  # as `view_digest`
        with self._readers.one() as db:
            known = db.execute("SELECT 1 FROM views WHERE digest = ?", (digest,)).fetchone()
        if known is None:
            packed = zlib.compress(body, revisions.COMPRESSION)
            self._writer.run(
                lambda tx: (
                    tx.db.execute("INSERT OR IGNORE INTO views (digest, body) VALUES (?, ?)", (digest, packed)) and None
                )
            )
        return digest

    def view(self, digest: str) -> View:
        """What `keep_view` kept, by a digest that it or a revision gave. Raises StateTamperedError."""
        with self._readers.one() as db:
            bodies = db.execute("SELECT body FROM views WHERE digest = ?", (digest,))
            for (body,) in typed(bodies, bytes):
                return check_view(digest, body, self.path)
        raise StateTamperedError(f"the configuration files kept as {digest[:16]} are missing", self.path)

    @property
    def head_view(self) -> str:
        """The digest of the view in force, empty if none was ever kept."""
        return self._writer.head.view

    # The audit log, for those who write it elsewhere.

    @property
    def audit_every(self) -> int | None:
        """Entries between two checkpoints; None if nothing is written to the audit log."""
        return self._writer.audit_every

    @audit_every.setter
    def audit_every(self, entries: int | None) -> None:
        self._writer.audit_every = entries

    @property
    def audit_first(self) -> int:
        """The oldest entry that the key of now has sealed; older ones that are still in the table prove nothing."""
        return self._writer.head.audit_first

    @property
    def audit_head(self) -> tuple[int, str]:
        """The last entry on the disk: its number and its MAC."""
        head = self._writer.head
        return head.audit_seq, head.audit_link

    def audit_after(self, seq: int, limit: int) -> list[tuple[int, str]]:
        """Entries behind `seq`, number and line. Whoever reads them checks the chain."""
        with self._readers.one() as db:
            found = db.execute("SELECT seq, line FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
            return [(number, line) for number, line in typed(found, int, str)]

    def audit_wait(self, seq: int, timeout: float) -> bool:
        """Waits until there is an entry behind `seq`, `timeout` seconds at most. Whether there is."""
        with self._writer.committed:
            return self._writer.committed.wait_for(
                lambda: self._writer.head.audit_seq > seq, min(timeout, MAX_WAIT_SECONDS)
            )

    # When users came last. Not in the journal: it changes with every call and proves nothing.

    def touch(self, id: int, time: int) -> None:  # noqa: A002
        """Notes when an entry was used, Unix time in seconds. Does not wait for the disk."""

        def note(tx: Tx) -> None:
            mac = self._coded.codes.use(id, time)
            tx.db.execute("INSERT OR REPLACE INTO uses (id, time, mac) VALUES (?, ?, ?)", (id, time, mac))

        self._writer.submit(note)

    def last_used(self, ids: Iterable[int]) -> dict[int, int]:
        """When these entries were used last, of those that ever were. Raises StateTamperedError."""
        found = {}
        with self._reading() as (db, coded):
            for number in ids:
                uses = db.execute("SELECT time, mac FROM uses WHERE id = ?", (number,))
                for time, mac in typed(uses, int, bytes):
                    coded.codes.check_use(number, time, mac, self.path)
                    found[number] = time
        return found

    def close(self) -> None:
        """Finishes what is under way and closes the files."""
        self._writer.close()
        self._readers.close()

    # Inside.

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[apsw.Connection, Coded]]:
        """A connection that sees one moment, and what that moment is coded with."""
        before = self._coded
        with self._readers.one() as db:
            name = sealed_with(value(db, "SELECT body FROM head WHERE id = 1"))
            # In this order: a change of keys takes its own away after it has set that in force.
            known = (before, self._coming, self._coded)
            yield db, next((coded for coded in known if coded and coded.codes.sealer.name == name), before)

    def _head(self, db: apsw.Connection, coded: Coded) -> Head:
        return opening.read_head(db, coded.codes, self.path)

    def _commit(self, tx: Tx, pending: Pending) -> Committed:
        number = tx.head.revision + 1
        tally = bulk.Tally(tx, number)
        if pending.bulk is not None:
            tally = bulk.carry_out(tx, self._coded.table, pending.bulk, pending.mode, pending.under, number)
            count = tx.head.sets.get(pending.bulk.kind, (0, 0))[0]
            if pending.most is not None and count > pending.most:
                raise TooManyError(pending.bulk.kind, count, pending.most)
        elif pending.back_to is not None:
            if not tx.head.first - 1 <= pending.back_to <= tx.head.revision:
                raise LookupError(f"the journal has no revision {pending.back_to}")
            since = range(tx.head.revision, pending.back_to, -1)
            later = (part for revision in since for part in self._parts(tx, revision))
            tally = bulk.back_to(tx, self._coded.table, later, pending.back_kinds, number)
        changes = [self._coded.table.edit(tx, edit, number) for edit in pending.edits]
        entries = tuple(_entry(after) for _before, after in changes)
        for part in parts_of(changes):
            tally.count(part)
        self._write(tx, number, pending.note, tally, pending.view or tx.head.view)
        for event in pending.events:
            tx.event(_with_revision(event, number))
        return Committed(number, entries, tally.summary, tuple(tally.sample))

    def _write(self, tx: Tx, number: int, note: Note, tally: bulk.Tally, view: str, undoes: int = 0) -> None:
        row = revisions.Row(
            number, tx.now, note.actor, note.reason, note.op, undoes, tally.summary, view, tally.digests
        )
        tx.head = revisions.write_row(tx.db, self._coded.codes.journal, tx.head, row)

    def _row(self, tx: Tx, revision: int) -> revisions.Row:
        return revisions.read_rows(tx.db, self._coded.codes.journal, tx.head, self.path, before=revision + 1, limit=1)[
            0
        ]

    def _parts(self, tx: Tx, revision: int) -> Iterator[revisions.Part]:
        row = self._row(tx, revision)
        return (revisions.read_part(tx.db, row, place, self.path) for place in range(len(row.parts)))

    def _between(self, tx: Tx, revision: int) -> list[int]:
        undoing = set(self._undone.values())
        return [number for number in range(revision + 1, tx.head.revision + 1) if number not in undoing]


class _Previewed(Exception):  # noqa: N818  # no error: it makes the writer take everything back
    def __init__(self, done: Committed) -> None:
        super().__init__()
        self.done = done


def check_view(digest: str, body: bytes, path: str) -> View:
    """The view kept in `body`. Raises StateTamperedError if it is not that of the digest."""
    with contextlib.suppress(zlib.error, msgspec.MsgspecError):
        octets = zlib.decompressobj().decompress(body, MAX_VIEW)
        if hashlib.sha256(octets).hexdigest() == digest:
            return msgspec.msgpack.decode(octets, type=View)
    raise StateTamperedError(f"the configuration files kept as {digest[:16]} were changed", path)


def _entry(row: Row | None) -> StoredEntry | None:
    return None if row is None else row.entry()


def _with_revision(event: Event, revision: int) -> Event:
    return msgspec.structs.replace(event, fields={**event.fields, "revision": revision})
