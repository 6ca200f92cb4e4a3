"""The one write path: nothing else may apply a change to a running resolver.

A file reload, an API call, a feed's refresh, a renewed certificate, a replicated revision: each is a `Change` (who, and
why) and takes the same steps, in this order:

1. take the single writer lock; whoever has it takes along what waits (a batch);
2. ask the plan what it wants, given the state as it is (`View`), or read the file again;
3. build the next configuration if it is what changes, and collect **all** diagnostics; an error rejects the change;
4. let Rust compile it, nothing changed yet (part of the candidate's diagnostics);
5. commit journal and audit in one transaction, as pending;
6. apply: returns when every worker has acknowledged; if it fails, what ran before still runs and the state takes the
   edits back;
7. mark it applied, release the lock, answer the caller;
8. tell those who listen (hooks, replicas, streams).

Records and blocks change no configuration: many such changes share one transaction and one `amend`. It must never apply
half a change, and never hold the lock while it waits for the network.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol

import msgspec

from runbound.config import options
from runbound.config.diagnostics import Diagnostic, has_errors
from runbound.config.model import Config
from runbound.engine import EngineError, Scan
from runbound.ops.effective import changed
from runbound.ops.logging import ControlLog
from runbound.ops.refusals import StateUnavailable
from runbound.ops.view import Again, Altered, Diff, Kept, Plan, Scope, View, difference
from runbound.state.entries import Committed, Event, Note, Pending, StoredEntry

Effect = Literal["live", "restart"]

MAX_BATCH: Final = 256
"""Changes that share a transaction: enough that its disk write is nobody's wait, few enough that the first of them does
not wait long for the last."""
DOCUMENT: Final = frozenset({"setting", "upstream", "base"})
"""Kinds that the configuration is built from."""
ANSWERS: Final = frozenset({"record", "block"})
"""Kinds that the engine is amended with."""


def _nothing() -> None:
    """Nobody wants to know."""


class Change(msgspec.Struct, frozen=True):
    """Who changes something, and why. Both end up in the log, the history and the audit trail.

    `request` is what the audit trail says besides: method and path of a call. `written` is called once the change's
    audit entry stands in the state.
    """

    actor: str
    reason: str
    request: dict[str, object] = {}
    written: Callable[[], None] = _nothing


class Changed(msgspec.Struct, frozen=True):
    """One thing that changed, and whether it works already or waits for a restart."""

    option: str
    effect: Effect


class Applied(msgspec.Struct, frozen=True):
    """The change runs in every worker."""

    revision: int
    changes: tuple[Changed, ...]
    warnings: tuple[Diagnostic, ...]


class Edited(msgspec.Struct, frozen=True):
    """What an edit did, or with `dry_run` would do."""

    revision: int
    """The new one; the one in force if nothing changed."""
    entries: tuple[StoredEntry | None, ...] = ()
    """One for each edit of the plan as it is now, None where it deleted. Of a dry run: as it was."""
    diff: Diff = Diff({}, ())
    dry_run: bool = False
    changes: tuple[Changed, ...] = ()
    """Options of the configuration that changed with it."""
    warnings: tuple[Diagnostic, ...] = ()
    confirm: str | None = None
    """The token that keeps the change, where it reverts by itself."""

    @property
    def needs_restart(self) -> tuple[str, ...]:
        """Options that changed and wait for a restart."""
        return tuple(item.option for item in self.changes if item.effect == "restart")


class Rejected(msgspec.Struct, frozen=True):
    """Nothing changed; the diagnostics (errors first come as they stand in the file) say why."""

    diagnostics: tuple[Diagnostic, ...]


class Candidate(msgspec.Struct, frozen=True):
    """A configuration that could run next: built and checked, nothing applied. Without errors it is fit to apply."""

    config: Config
    diagnostics: tuple[Diagnostic, ...]
    scan: Scan | None = None

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What should be said when it is applied."""
        return tuple(finding for finding in self.diagnostics if finding.severity == "warning")


class Running(msgspec.Struct, frozen=True):
    """What the workers run: the revision, its configuration, and since when (Unix time in seconds)."""

    revision: int
    config: Config
    since: float
    scan: Scan | None = None


class DataPlane(Protocol):
    """The part of the engine that a change needs."""

    def apply(self, document: bytes, scan: Scan | None) -> list[tuple[str, str]]: ...


class _Asked:
    """An edit that waits for its turn, and what came of it."""

    def __init__(self, change: Change, plan: Callable[[View], Plan], *, dry_run: bool) -> None:
        self.change = change
        self.plan = plan
        self.dry_run = dry_run
        self.result: Edited | Rejected | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None


class _Ready(msgspec.Struct):
    """An edit that has been planned and may be committed."""

    asked: _Asked
    entries: list[StoredEntry | None]
    """For each edit of the plan what is there already, None for those that change something."""
    altered: list[tuple[int, Altered]]
    """Position in the plan, and what it changes."""
    diff: Diff
    alone: bool


class Changes:
    """The write path of one process. Safe from every thread; changes wait for each other."""

    def __init__(
        self,
        engine: DataPlane,
        started: Running,
        load: Callable[[], Candidate],
        document: Callable[[Config, int], bytes],
        log: ControlLog,
        store: Kept | StateUnavailable | None = None,
    ) -> None:
        """`started` is what the process began with; `load` reads the operator's file again, as it did at start.

        `store` is where changes are kept, or why there is none; then the file alone can change anything.
        """
        self._engine = engine
        self._load = load
        self._document = document
        self._log = log
        self._store = store or StateUnavailable("there is no state directory", fix="name a folder with state-dir:")
        self._lock = threading.Lock()
        self._waiting: deque[_Asked] = deque()
        self._at_start = started.config
        self._running = started

    @property
    def running(self) -> Running:
        """What runs now. A single reference, so reading it needs no lock."""
        return self._running

    @property
    def store(self) -> Kept:
        """Where changes are kept, for reading. Raises StateUnavailable, which says why there is nothing."""
        if isinstance(self._store, StateUnavailable):
            raise self._store
        return self._store

    def edit(
        self,
        change: Change,
        plan: Callable[[View], Plan],
        *,
        dry_run: bool = False,
        confirm_within: int | None = None,
    ) -> Edited | Rejected:
        """Asks the plan what to edit, and does it. What the plan raises is raised here, and nothing has changed.

        The plan is called under the writer's lock, perhaps in another thread and perhaps twice: it must be quick, and
        do nothing but look at the view and say what it wants. With `dry_run` nothing changes. With `confirm_within`
        the change is taken back after so many seconds unless `confirm` is called with the token of the result.

        Raises StateUnavailable if there is nowhere to keep it.
        """
        self.store  # noqa: B018  # raises
        asked = _Asked(change, plan, dry_run=dry_run)
        self._waiting.append(asked)
        while not asked.done:
            with self._lock:
                if not asked.done:
                    self._batch()
        if asked.error is not None:
            raise asked.error
        assert asked.result is not None
        return asked.result

    def _batch(self) -> None:
        """Takes what waits through the steps: as many changes as may share a transaction."""
        ready: list[_Ready] = []
        scope = Scope()
        while self._waiting and len(ready) < MAX_BATCH:
            asked = self._waiting[0]
            try:
                planned = self._planned(asked, scope)
            except Again:
                break
            except BaseException as error:  # noqa: BLE001  # it is the caller's, and the others go on
                asked.error = error
                self._waiting.popleft()
                continue
            if planned is not None and planned.alone and ready:
                break
            self._waiting.popleft()
            if planned is None:
                continue
            ready.append(planned)
            scope.take(item for _, item in planned.altered)
            if planned.alone:
                break
        if ready:
            try:
                self._commit(ready)
            except BaseException as error:  # noqa: BLE001  # each caller learns of it
                for planned in ready:
                    planned.asked.error = planned.asked.error or error

    def _planned(self, asked: _Asked, scope: Scope) -> _Ready | None:
        """Steps 2 to 4 for one edit; None if it is answered already."""
        store = self.store
        view = View(store, scope, self._running.config, lambda: self._running.scan)
        plan = asked.plan(view)
        entries: list[StoredEntry | None] = []
        altered: list[tuple[int, Altered]] = []
        for position, edit in enumerate(plan.edits):
            before = view.get(edit.kind, edit.key) if edit.id is None else view.by_id(edit.kind, edit.id)
            same = before is not None and edit.doc is not None and msgspec.json.decode(edit.doc) == before.doc
            entries.append(before if same or asked.dry_run else None)
            if not same and (before is not None or edit.doc is not None):
                altered.append((position, Altered(edit, before)))
        diff = difference(item for _, item in altered)
        if asked.dry_run or not altered:
            asked.result = Edited(store.revision, tuple(entries), diff, asked.dry_run)
            return None
        alone = any(item.edit.kind in DOCUMENT for _, item in altered)
        return _Ready(asked, entries, altered, diff, alone)

    def _commit(self, ready: list[_Ready]) -> None:
        """Steps 5 to 7 for a batch."""
        store = self.store
        committed = store.commit([self._pending(planned) for planned in ready])
        revisions = [done.revision for done in committed]
        for planned in ready:
            planned.asked.change.written()
        store.applied(revisions)
        self._running = msgspec.structs.replace(self._running, revision=revisions[-1])
        for planned, done in zip(ready, committed, strict=True):
            planned.asked.result = self._edited(planned, done)

    def _pending(self, planned: _Ready) -> Pending:
        change = planned.asked.change
        event = Event("change", change.actor, {**change.request, "reason": change.reason})
        edits = tuple(item.edit for _, item in planned.altered)
        return Pending(Note(change.actor, change.reason, "edit"), edits, (event,))

    def _edited(self, planned: _Ready, done: Committed) -> Edited:
        entries = list(planned.entries)
        for (position, _), entry in zip(planned.altered, done.entries, strict=True):
            entries[position] = entry
        return Edited(done.revision, tuple(entries), planned.diff)

    def reload(self, change: Change) -> Applied | Rejected:
        """Reads the file again and applies what it says. A broken file changes nothing."""
        return self.commit(change, lambda _running: self._load())

    def commit(self, change: Change, build: Callable[[Running], Candidate]) -> Applied | Rejected:
        """Takes one change through the steps above.

        A candidate with errors, or one that the engine refuses, is Rejected. Raises RunboundError when `build` could
        not even begin (the file cannot be read).
        """
        with self._lock:
            before = self._running
            candidate = build(before)
            if has_errors(candidate.diagnostics):
                return self._rejected(change, candidate.diagnostics)
            revision = before.revision + 1
            try:
                reported = self._engine.apply(self._document(candidate.config, revision), candidate.scan)
            except EngineError as error:
                return self._rejected(change, (*candidate.diagnostics, Diagnostic("error", "", 0, 0, 0, str(error))))
            self._running = Running(revision, candidate.config, time.time(), candidate.scan)
            self._log.verbosity = candidate.config.server.verbosity
            changes = self._changes(before.config, candidate.config, reported)
        tell(self._log, candidate.warnings)
        fields = {
            title: ", ".join(item.option for item in changes if item.effect == effect)
            for title, effect in (("changed", "live"), ("needs_restart", "restart"))
        }
        self._log.info(
            "change applied",
            revision=revision,
            actor=change.actor,
            reason=change.reason,
            **{title: names for title, names in fields.items() if names},
        )
        return Applied(revision, changes, candidate.warnings)

    def _rejected(self, change: Change, diagnostics: tuple[Diagnostic, ...]) -> Rejected:
        tell(self._log, diagnostics)
        self._log.error("change refused, nothing changed", actor=change.actor, reason=change.reason)
        return Rejected(diagnostics)

    def _changes(self, before: Config, after: Config, reported: Iterable[tuple[str, str]]) -> tuple[Changed, ...]:
        """What changed, by the model and by the engine's own report (which alone knows the bulk statements).

        An option that is read at start only is compared with what the process started with, so that it is named until
        somebody restarts, and no longer once it is back where it was.
        """
        found: dict[str, Effect] = {}
        for setting in changed(before, after):
            if not needs_restart(setting.clause, setting.option):
                found[setting.title] = "live"
        for setting in changed(self._at_start, after):
            if needs_restart(setting.clause, setting.option):
                found[setting.title] = "restart"
        for option, effect in reported:
            if effect == "restart" or option not in found:
                found[option] = "restart" if effect == "restart" else "live"
        return tuple(Changed(option, effect) for option, effect in found.items())


def tell(log: ControlLog, diagnostics: Iterable[Diagnostic]) -> None:
    """Writes errors and warnings to the log, a line each: place and text; the level says how bad it is."""
    for finding in diagnostics:
        if finding.severity != "note":
            where = f"{finding.where}: " if finding.where else ""
            (log.error if finding.severity == "error" else log.warning)(f"{where}{finding.text}")


def needs_restart(clause: str, option: str) -> bool:
    """Whether the option is read once, when the process starts. The options table says so."""
    known = options.find(clause, option)
    return known is not None and known.live == "restart"
