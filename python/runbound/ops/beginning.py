"""The state at the start: what it says is laid over the file before the first answer.

Owns the order: what a crash left behind is tried once, a change that nobody confirmed is taken back, a view of the file
that a rollback pinned holds as long as the file is as it was then. What is read is proven by the store. It writes
nothing before the process has become who it will be, but for a change left behind that cannot be had.
"""

import time
from collections.abc import Iterable
from typing import Protocol

from runbound.config.layers import NOTHING
from runbound.config.model import Config
from runbound.engine import Overlay, Scan
from runbound.errors import ConfigError
from runbound.ops import overlay, revert
from runbound.ops.answers import answers
from runbound.ops.candidate import Candidate, Running, Source, small, texts
from runbound.ops.logging import ControlLog
from runbound.ops.nowhere import Nowhere
from runbound.ops.view import Kept, Scope, View
from runbound.state.directory import StateUnusableError
from runbound.state.entries import Edit, Event, Note, Pending, StoredEntry, view_digest


class Startable(Protocol):
    """The part of the engine that a start needs."""

    def start(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> None: ...


class Beginning:
    """One start from a state. First `candidate` says what will run; `settle`, with rights dropped, makes it so."""

    def __init__(self, source: Source, store: Kept, alone: Candidate, log: ControlLog) -> None:
        """`alone` is the file by itself. Raises ConfigError if it and the state do not go together, StateTamperedError
        from the store."""
        self._source = source
        self._store = store
        self._log = log
        self._alone = alone
        self._files = texts(alone.scan)
        self._edits: list[Edit] = []
        """What is undone or unpinned with this start."""
        self._op = "start"
        self._scan = self._pinned(alone.scan)
        self._take_back()
        self.candidate = self._build()
        for revision in [row for row in reversed(store.pending) if row.status == "pending"]:
            if self.candidate.ok:
                break
            why = next(finding.headline for finding in self.candidate.diagnostics if finding.severity == "error")
            log.error("a change left behind cannot be had and is taken back", revision=revision.number, why=why)
            store.failed(revision.number, why)
            self._edits = [edit for edit in self._edits if edit.kind == revert.BASE[0]]
            self._take_back()
            self.candidate = self._build()
        if not self.candidate.ok:
            raise ConfigError(
                self.candidate.diagnostics,
                "the configuration has errors with what was changed by API",
                source.path,
                "what stands in API: is kept in the state; mend the file, or see runbound store --help",
            )

    def settle(self, engine: Startable) -> Running:
        """Writes what this start changes, and starts the engine. Raises EngineError."""
        store, scan, config = self._store, self.candidate.scan, self.candidate.config
        view = "" if isinstance(store, Nowhere) else view_digest(texts(scan))
        if self._edits:  # what is loaded has to be as it will be
            self._commit(view)
        engine.start(self._source.document(config, max(store.newest, 1)), scan, answers(store))
        if view != store.head_view:  # that the file was edited is written once questions are answered
            self._commit(view)
        store.applied([store.newest])
        return Running(store.newest, config, time.time(), small(scan), store.head_view)

    def _pinned(self, scan: Scan | None) -> Scan | None:
        """The file, or what a rollback pinned in its place."""
        base = self._store.get(*revert.BASE)
        if base is None:
            return scan
        if base.doc["over"] != view_digest(self._files):
            self._edits.append(Edit(*revert.BASE, None))
            self._log.notice("the file was edited since the rollback, and holds again", to=base.doc["revision"])
            return scan
        self._log.warning(
            "the configuration file is the one of an older revision; a reload takes the file as it is",
            revision=base.doc["revision"],
        )
        return self._source.remember(self._store.view(base.doc["view"]))

    def _take_back(self) -> None:
        """Undoes a change that waited for its confirmation when the process ended."""
        entry = self._store.get(*revert.UNCONFIRMED)
        if entry is None:
            return
        view = View(self._store, Scope(), self._source.build(self._scan).config, lambda: self._scan)
        self._edits += [Edit(*revert.UNCONFIRMED, None), *revert.undo(view, self._store.change_of(entry.revision))]
        made, *before = revert.rows(self._store, entry.revision)
        if before and before[0].view != made.view == view_digest(texts(self._scan)):
            self._edits.append(revert.pin(before[0].number, before[0].view, view_digest(self._files)))
            self._scan = self._source.remember(self._store.view(before[0].view))
        self._op = "revert"
        self._log.warning("a change that nobody confirmed is taken back", revision=entry.revision)

    def _build(self) -> Candidate:
        above = overlay.above(overlay.after(self._laid(), self._edits))
        if above == NOTHING and self._scan is self._alone.scan:
            return self._alone
        return self._source.build(self._scan, above)

    def _laid(self) -> Iterable[StoredEntry]:
        view = View(self._store, Scope(), Config(), lambda: self._scan)
        return [entry for kind in overlay.LAID for entry in view.all(kind)]

    def _commit(self, view: str) -> None:
        """The revision of this start. A state that cannot be written any more keeps nobody from being answered."""
        note = Note("runbound", "start of service", self._op)
        told = (Event(f"config.{self._op}", note.actor, {"reason": note.reason}),) if self._op != "start" else ()
        try:
            self._store.keep_view(texts(self.candidate.scan))
            self._store.commit([Pending(note, tuple(self._edits), told, view)])
        except StateUnusableError as error:
            self._log.error("the state cannot be written", error=error.what, help=error.fix)
