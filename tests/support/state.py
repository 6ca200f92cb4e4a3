"""A store in memory, for tests of what stands upon the state. Owns what it keeps; it must never touch a disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from runbound.state.entries import Committed, Edit, Event, Pending, Revision, StoredEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class FakeStore:
    """Keeps entries and a journal as the store does, without keys and without chains."""

    def __init__(self) -> None:
        self.revision = 0
        self.rows: dict[tuple[str, bytes], StoredEntry] = {}
        self.history: list[Revision] = []
        self.changes: dict[int, list[tuple[StoredEntry | None, StoredEntry | None]]] = {}
        self.events: list[Event] = []
        self.batches: list[int] = []
        self.used: dict[int, int] = {}
        self._last_id = 0

    def get(self, kind: str, key: bytes) -> StoredEntry | None:
        return self.rows.get((kind, key))

    def by_id(self, kind: str, id: int) -> StoredEntry | None:  # noqa: A002
        return next((row for row in self.rows.values() if row.kind == kind and row.id == id), None)

    def count(self, kind: str) -> int:
        return sum(row.kind == kind for row in self.rows.values())

    def page(
        self,
        kind: str,
        *,
        after: bytes | None,
        limit: int,
        under: bytes | None = None,
        search: str | None = None,
    ) -> list[StoredEntry]:
        rows = [
            row
            for row in self.rows.values()
            if row.kind == kind
            and (after is None or row.key > after)
            and row.key.startswith(under or b"")
            and (search or "") in str(row.doc)
        ]
        return sorted(rows, key=lambda row: row.key)[:limit]

    def commit(self, batch: Sequence[Pending]) -> list[Committed]:
        self.batches.append(len(batch))
        return [self._commit(pending) for pending in batch]

    def _commit(self, pending: Pending) -> Committed:
        self.revision += 1
        changes: list[tuple[StoredEntry | None, StoredEntry | None]] = []
        entries = []
        summary: dict[str, dict[str, int]] = {}
        for edit in pending.edits:
            before, after = self._edit(edit)
            changes.append((before, after))
            entries.append(after)
            word = "changed" if before and after else "added" if after else "removed"
            counts = summary.setdefault(edit.kind, {})
            counts[word] = counts.get(word, 0) + 1
        note = pending.note
        view = pending.view or (self.history[-1].view if self.history else "")
        self.history.append(
            Revision(self.revision, time.time(), note.actor, note.reason, note.op, "pending", summary, view)
        )
        self.changes[self.revision] = changes
        self.events += pending.events
        return Committed(self.revision, tuple(entries))

    def _edit(self, edit: Edit) -> tuple[StoredEntry | None, StoredEntry | None]:
        before = self.get(edit.kind, edit.key) if edit.id is None else self.by_id(edit.kind, edit.id)
        if before is not None:
            del self.rows[before.kind, before.key]
        if edit.doc is None:
            return before, None
        if before is None:
            self._last_id += 1
        number = before.id if before is not None else self._last_id
        after = StoredEntry(number, edit.kind, edit.key, msgspec.json.decode(edit.doc), self.revision)
        self.rows[edit.kind, edit.key] = after
        return before, after

    def applied(self, revisions: Sequence[int]) -> None:
        self._mark(revisions, "applied")

    def failed(self, revision: int, why: str, events: Sequence[Event] = ()) -> None:
        for before, after in reversed(self.changes[revision]):
            if after is not None:
                del self.rows[after.kind, after.key]
            if before is not None:
                self.rows[before.kind, before.key] = before
        self.events += events
        self._mark([revision], "failed")

    def _mark(self, revisions: Sequence[int], status: str) -> None:
        self.history = [
            msgspec.structs.replace(row, status=status) if row.number in revisions else row for row in self.history
        ]

    def touch(self, id: int, at: int) -> None:  # noqa: A002
        self.used[id] = at

    def last_used(self, ids: Sequence[int]) -> dict[int, int]:
        return {id_: self.used[id_] for id_ in ids if id_ in self.used}

    def journal(self, *, before: int | None, limit: int) -> list[Revision]:
        found = [row for row in reversed(self.history) if before is None or row.number < before]
        return found[:limit]

    def change_of(self, revision: int) -> Iterable[tuple[StoredEntry | None, StoredEntry | None]]:
        return list(self.changes[revision])
