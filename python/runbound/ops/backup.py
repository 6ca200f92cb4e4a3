"""Backups as an operator uses them: made of what is kept now, and restored as one change.

A restore is a change like any other: it has a revision, a reason, a dry run, may have to be confirmed, and is undone by
a rollback. It takes the one write path. What the backup has is put, what it lacks goes; users stay as they are. This
module must never write the state itself.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from runbound.engine import Bulk
from runbound.ops import overlay
from runbound.ops.outcome import Change
from runbound.ops.view import Plan, View
from runbound.state.backup import KEYED, Backups, BrokenBackupError, Found, Line
from runbound.state.entries import Edit, Event, canonical
from runbound.state.store import Picture

PIECE: Final = 2000
"""Entries handed to the engine's reader at once."""


class Pictured(Protocol):
    """The part of the store that is copied."""

    def picture(self) -> AbstractContextManager[Picture]: ...


class Keeper:
    """The backups of a running resolver. Safe from every thread."""

    def __init__(self, store: Pictured, backups: Backups) -> None:
        self.backups = backups
        self._store = store

    def make(self, actor: str, reason: str) -> Found:
        """Keeps what is configured by API now. Raises TooManyBackupsError, OSError, StateTamperedError."""
        with self._store.picture() as picture:
            return self.backups.make(picture, actor, reason)


def restoring(backups: Backups, id: str, change: Change) -> Callable[[View], Plan]:  # noqa: A002  # its name everywhere
    """The plan that makes what is configured by API what a backup says: all of it or nothing.

    Raises NoBackupError, BrokenBackupError, and NotByApi for an option that no call could set.
    """
    found = backups.proven(id)
    counts = found.head.counts
    # One list goes as it is; the other is compared entry by entry, so it should be the smaller one.
    large, small = ("record", "block") if counts.get("record", 0) > counts.get("block", 0) else ("block", "record")
    bulk = _bulk(backups, id, large)
    wanted = {kind: _keyed(backups.entries(id, kind)) for kind in KEYED}
    for key, text in wanted["setting"].items():
        doc = msgspec.json.decode(text)
        with contextlib.suppress(KeyError, TypeError, AttributeError):  # it may have been sealed elsewhere
            if overlay.setting(doc["option"], doc["values"]) == Edit("setting", key, text):
                continue
        raise BrokenBackupError(f"backup {id} has a setting that is none")
    other = _bulk(backups, id, small)
    wanted[small] = dict(_entries(other))

    def plan(view: View) -> Plan:
        edits = [edit for kind, docs in wanted.items() for edit in _edits(view, kind, docs)]
        event = Event("backup.restore", change.actor, {**change.request, "reason": change.reason, "backup": id})
        return Plan(tuple(edits), bulk=bulk, mode="replace", events=(event,), op="restore")

    return plan


def _bulk(backups: Backups, id: str, kind: str) -> Bulk:  # noqa: A002
    """The records or blocks of a backup, read and checked as if they came anew."""
    bulk = Bulk(kind, "json")
    piece: list[bytes] = []
    for doc in backups.documents(id, kind):
        piece.append(doc)
        if len(piece) == PIECE:
            bulk.feed(b"\n".join(piece) + b"\n")
            piece.clear()
    bulk.feed(b"\n".join(piece) + b"\n" if piece or bulk.count else b"[]")
    for place, field, message, _hint in bulk.finish():
        raise BrokenBackupError(f"{kind} {place} of backup {id} cannot be had any more: {field}: {message}")
    return bulk


def _entries(bulk: Bulk) -> Iterator[tuple[bytes, str]]:
    part = 0
    while rows := bulk.entries(part):
        yield from rows
        part += 1


def _keyed(lines: Iterator[Line]) -> dict[bytes, str]:
    return {bytes.fromhex(line.key): canonical(line.doc) for line in lines}


def _edits(view: View, kind: str, wanted: dict[bytes, str]) -> Iterator[Edit]:
    """What leads from the entries of a kind that are there to these."""
    missing = dict(wanted)
    for entry in view.all(kind):
        doc = missing.pop(entry.key, None)
        if doc is None:
            yield Edit(kind, entry.key, None)
        elif msgspec.json.decode(doc) != entry.doc:
            yield Edit(kind, entry.key, doc)
    yield from (Edit(kind, key, doc) for key, doc in missing.items())
