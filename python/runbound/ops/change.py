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

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from runbound.config.diagnostics import Diagnostic
from runbound.config.model import Config
from runbound.engine import Delta, EngineError, Overlay, Scan
from runbound.errors import RunboundError
from runbound.ops import limits, overlay, revert, told
from runbound.ops.amending import delta
from runbound.ops.answers import ANSWERS, answers
from runbound.ops.asked import Asked, Ready
from runbound.ops.candidate import Candidate, Running, Source, compare, small, tell, texts
from runbound.ops.logging import ControlLog
from runbound.ops.nowhere import Nowhere
from runbound.ops.outcome import Change, Edited, Rejected
from runbound.ops.refusals import NothingToConfirm, StateUnavailable, Unconfirmed
from runbound.ops.view import Again, Altered, Kept, Plan, Scope, View, difference, difference_of
from runbound.state.entries import Committed, Edit, Note, Pending, StoredEntry, view_digest

__all__ = ["Change", "Changes", "Edited", "Rejected"]

MAX_BATCH: Final = 256
"""Changes that share a transaction: enough that its disk write is nobody's wait, few enough that the first of them does
not wait long for the last."""
DOCUMENT: Final = (*overlay.LAID, revert.BASE[0])
"""Kinds that the configuration is built from."""
RETRY_SECONDS: Final = 30.0
"""When an unconfirmed change that could not be taken back is tried again."""
NO_STATE: Final = "name a folder with state-dir:"


class DataPlane(Protocol):
    """The part of the engine that a change needs."""

    def apply(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> list[tuple[str, str]]: ...
    def amend(self, revision: int, delta: Delta) -> None: ...


class Changes:
    """The write path of one process. Safe from every thread; changes wait for each other."""

    def __init__(
        self,
        engine: DataPlane,
        started: Running,
        source: Source,
        log: ControlLog,
        store: Kept | StateUnavailable | None = None,
    ) -> None:
        """`started` is what the process began with, `source` the operator's file.

        `store` is where changes are kept, or why there is none; then the file alone can change anything.
        """
        self._engine = engine
        self._source = source
        self._log = log
        if store is None or isinstance(store, StateUnavailable):
            store = Nowhere(store or StateUnavailable("there is no state directory", fix=NO_STATE), started.revision)
        self._store: Kept = store
        self._lock = threading.Lock()
        self._waiting: deque[Asked] = deque()
        self._timer: threading.Timer | None = None
        self._at_start = started.config
        self._running = started

    @property
    def running(self) -> Running:
        """What runs now. A single reference, so reading it needs no lock."""
        return self._running

    @property
    def store(self) -> Kept:
        """Where changes are kept, for reading. Raises StateUnavailable, which says why there is nothing."""
        if isinstance(self._store, Nowhere):
            raise self._store.why
        return self._store

    @property
    def kept(self) -> Kept:
        """The same for whoever is content with nothing: without a state there are no entries."""
        return self._store

    def count(self, kind: str) -> int:
        """How many entries of a kind there are."""
        return self._store.count(kind)

    @property
    def scan(self) -> Scan | None:
        """The configuration file in force, as it was read, with its bulk statements."""
        running = self._running
        return running.scan if running.scan is not None or not running.view else self._remember(running.view)

    @property
    def file(self) -> Config:
        """What the configuration would be without what the API changed."""
        return self._source.build(self.scan).config

    def file_differs(self) -> bool:
        """Whether the file says something else by now than what is in force, or cannot be read."""
        running = self._running
        try:
            now = self._source.read()
        except RunboundError:
            return True
        if running.view:
            return view_digest(texts(now)) != running.view
        return running.scan is not None and texts(now) != texts(running.scan)

    @property
    def pinned(self) -> int | None:
        """The revision whose view of the configuration file is in force instead of the file itself."""
        base = self._store.get(*revert.BASE)
        return None if base is None else int(base.doc["revision"])

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
        wait = None if confirm_within is None or dry_run else revert.Wait.make(confirm_within)
        return self._do(Asked(change, plan, dry_run=dry_run, wait=wait))

    def reload(self, change: Change, *, dry_run: bool = False, confirm_within: int | None = None) -> Edited | Rejected:
        """Reads the file again and applies what it says, beneath what the API changed. A broken file changes nothing.

        Raises RunboundError if it cannot be read.
        """

        def plan(view: View) -> Plan:
            edits = (Edit(*revert.BASE, None),) if view.get(*revert.BASE) else ()
            return Plan(edits, files=True, scan=self._source.read(), op="reload")

        if dry_run or confirm_within is not None:
            return self.edit(change, plan, dry_run=dry_run, confirm_within=confirm_within)
        return self._do(Asked(change, plan))

    def rollback(
        self, change: Change, revision: int, *, dry_run: bool = False, confirm_within: int | None = None
    ) -> Edited | Rejected:
        """Leads back to what was configured after that revision: the entries, and the file as it was then.

        The file itself is not written: its view of that time is pinned until the next reload, or until somebody edits
        the file. Users are not rolled back. Raises NoSuchRevision.
        """

        def plan(view: View) -> Plan:
            then = revert.target(self._store, revision)
            if not then.view or then.view == self._running.view:
                return Plan(back_to=revision, op="rollback")
            pin = self._pin(view, revision, then.view)
            return Plan(pin, back_to=revision, op="rollback", **self._files(then.view))

        return self.edit(change, plan, dry_run=dry_run, confirm_within=confirm_within)

    def confirm(self, change: Change, token: str, *, dry_run: bool = False) -> Edited | Rejected:
        """Keeps the change that waits under this token. Raises NothingToConfirm."""

        def plan(view: View) -> Plan:
            revert.waiting(view.get(*revert.UNCONFIRMED), token)
            return Plan((Edit(*revert.UNCONFIRMED, None),), op="confirm")

        return self.edit(change, plan, dry_run=dry_run)

    def take_back(
        self, change: Change, token: str | None = None, *, only: int | None = None, dry_run: bool = False
    ) -> Edited | Rejected:
        """Undoes the change that waits, where nobody has changed its entries since.

        With `token` the one of that token, with `only` the one of that revision. Raises NothingToConfirm.
        """

        def plan(view: View) -> Plan:
            entry = revert.waiting(view.get(*revert.UNCONFIRMED), token, only)
            edits = [Edit(*revert.UNCONFIRMED, None)]
            now, before = self._store.journal(before=entry.revision + 1, limit=2)
            last = self._store.newest == entry.revision
            if not last:
                edits += revert.undo(view, self._store.change_of(entry.revision))
            back_to = before.number if last else None
            if now.view == before.view or now.view != self._running.view:
                return Plan(tuple(edits), back_to=back_to, op="revert")
            edits += self._pin(view, before.number, before.view)
            return Plan(tuple(edits), back_to=back_to, op="revert", **self._files(before.view))

        return self.edit(change, plan, dry_run=dry_run)

    def watch(self) -> None:
        """Takes the change that waits back when its time is over. Call it when one may have begun to wait."""
        entry = self._store.get(*revert.UNCONFIRMED)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if entry is not None:
            self._expire(entry.revision, max(entry.doc["until"] - time.time(), 0))

    def close(self) -> None:
        """Forgets the change that waits; the next start takes it back."""
        if self._timer is not None:
            self._timer.cancel()

    # Inside.

    def _expire(self, revision: int, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._expired, (revision,))
        self._timer.daemon = True
        self._timer.start()

    def _expired(self, revision: int) -> None:
        """Takes the change of that revision back, and tries again as long as it cannot."""
        why = ""
        try:
            result = self.take_back(Change("runbound", "nobody confirmed it in time"), only=revision)
            if isinstance(result, Edited):
                self._log.warning("a change was taken back, nobody confirmed it in time", revision=revision)
                return
            why = next(finding.headline for finding in result.diagnostics if finding.severity == "error")
        except NothingToConfirm:
            return
        except Exception as error:  # noqa: BLE001  # a full disk, say: it passes, and nobody else would try
            why = str(error)
        self._log.error("an unconfirmed change cannot be taken back, it is tried again", revision=revision, error=why)
        self._expire(revision, RETRY_SECONDS)

    def _do(self, asked: Asked) -> Edited | Rejected:
        """Waits until the edit had its turn; whoever gets the lock does what waits."""
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
        ready: list[Ready] = []
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

    def _planned(self, asked: Asked, scope: Scope) -> Ready | None:
        """Steps 2 to 4 for one edit; None if it is answered already."""
        view = View(self._store, scope, self._running.config, lambda: self.scan)
        plan = asked.plan(view)
        if asked.wait is not None:
            if view.get(*revert.UNCONFIRMED) is not None:
                raise Unconfirmed("another change waits for its confirmation", fix="confirm it, or wait for its end")
            plan = msgspec.structs.replace(plan, edits=(*plan.edits, asked.wait.edit(time.time())))
        entries: list[StoredEntry | None] = []
        altered: list[tuple[int, Altered]] = []
        for position, edit in enumerate(plan.edits):
            before = view.get(edit.kind, edit.key) if edit.id is None else view.by_id(edit.kind, edit.id)
            same = before is not None and edit.doc is not None and msgspec.json.decode(edit.doc) == before.doc
            same = same and before is not None and before.key == edit.key
            entries.append(before if same or asked.dry_run else None)
            if not same and (before is not None or edit.doc is not None):
                altered.append((position, Altered(edit, before)))
        limits.hold(view, [item for _, item in altered])
        ready = Ready(asked, plan, entries, altered, difference([item for _, item in altered]))
        back = [] if plan.back_to is None else list(self._store.at(plan.back_to, overlay.LAID))
        if plan.files or back or ready.touches(*DOCUMENT):
            candidate = self._built(ready, view, back)
            if not candidate.ok:
                asked.result = self._rejected(asked.change, candidate.diagnostics)
                return None
            ready.candidate = candidate
            ready.changes = compare(self._at_start, self._running.config, candidate.config)
        many = plan.bulk is not None or plan.back_to is not None
        if asked.dry_run and many:
            with limits.held():
                ready.diff = difference_of(self._store.preview(self._pending(ready)))
        if asked.dry_run or not (altered or many or plan.files):
            asked.result = self._edited(ready, self._running.revision)
            return None
        return ready

    def _built(self, ready: Ready, view: View, back: Sequence[Edit]) -> Candidate:
        """The configuration as it would be with these edits."""
        laid = [entry for kind in overlay.LAID for entry in view.all(kind)]
        entries = overlay.after(laid, (*back, *(item.edit for _, item in ready.altered)))
        scan = ready.plan.scan if ready.plan.files else self.scan
        return self._source.build(scan, overlay.above(entries))

    def _commit(self, ready: list[Ready]) -> None:
        """Steps 5 to 7 for a batch."""
        with limits.held():
            committed = self._store.commit([self._pending(planned) for planned in ready])
        revisions = [done.revision for done in committed]
        for planned in ready:
            planned.asked.change.written()
        try:
            self._take(ready, committed)
        except BaseException as error:  # whatever it was: what the engine did not take must not stay behind as applied
            for number in reversed(revisions):
                self._store.failed(number, str(error))
            if not isinstance(error, EngineError):
                raise
            for planned in ready:
                planned.asked.result = self._rejected(planned.asked.change, (told.refused(error),))
            return
        self._store.applied(revisions)
        for planned, done in zip(ready, committed, strict=True):
            for (position, _), entry in zip(planned.altered, done.entries, strict=True):
                planned.entries[position] = entry
            if planned.plan.bulk is not None or planned.plan.back_to is not None:
                planned.diff = difference_of(done)
            planned.asked.result = self._edited(planned, done.revision)
            self._say(planned, done.revision)
        if any(planned.touches(revert.UNCONFIRMED[0]) for planned in ready):
            self.watch()

    def _take(self, ready: list[Ready], committed: list[Committed]) -> None:
        """Step 6: hands the engine what is new. Raises EngineError, and then nothing has changed there."""
        first, revision = ready[0], committed[-1].revision
        answered = any(kind in done.summary for done in committed for kind in ANSWERS)
        if first.candidate is None:
            if answered:
                self._engine.amend(revision, delta(self._store, zip(ready, committed, strict=True)))
            self._running = msgspec.structs.replace(self._running, revision=revision)
            return
        config, scan = first.candidate.config, first.candidate.scan
        whole = answers(self._store) if answered else None
        reported = self._engine.apply(self._source.document(config, revision), scan, whole)
        first.changes = compare(self._at_start, self._running.config, config, reported)
        self._running = Running(revision, config, time.time(), small(scan), self._store.head_view)
        self._log.verbosity = config.server.verbosity

    def _pending(self, planned: Ready) -> Pending:
        change, plan = planned.asked.change, planned.plan
        altered = [item for _, item in planned.altered]
        view = plan.view
        if plan.files and view is None:
            view = self._store.keep_view(texts(plan.scan))
        return Pending(
            Note(change.actor, change.reason, plan.op),
            tuple(item.edit for item in altered),
            plan.events or told.events(change, plan, altered),
            view or None,
            bulk=plan.bulk,
            mode=plan.mode,
            under=plan.under,
            most=None if plan.bulk is None else limits.most(self._running.config, plan.bulk.kind),
            back_to=plan.back_to,
        )

    def _edited(self, planned: Ready, revision: int) -> Edited:
        asked = planned.asked
        return Edited(
            revision,
            tuple(planned.entries),
            planned.diff,
            asked.dry_run,
            planned.changes,
            planned.candidate.warnings if planned.candidate else (),
            asked.wait.token if asked.wait else None,
            self.pinned,
        )

    def _say(self, planned: Ready, revision: int) -> None:
        """Writes down what was done. Of changes that come by the thousand the journal and the audit log tell enough."""
        change = planned.asked.change
        if planned.candidate is None:
            self._log.debug("change applied", revision=revision, actor=change.actor, reason=change.reason)
            return
        tell(self._log, planned.candidate.warnings)
        fields = {
            title: ", ".join(item.option for item in planned.changes if item.effect == effect)
            for title, effect in (("changed", "live"), ("needs_restart", "restart"))
        }
        self._log.info(
            "change applied",
            revision=revision,
            actor=change.actor,
            reason=change.reason,
            **{title: names for title, names in fields.items() if names},
        )

    def _rejected(self, change: Change, diagnostics: tuple[Diagnostic, ...]) -> Rejected:
        tell(self._log, diagnostics)
        self._log.error("change refused, nothing changed", actor=change.actor, reason=change.reason)
        return Rejected(diagnostics)

    def _remember(self, view: str) -> Scan | None:
        return self._source.remember(self._store.view(view))

    def _files(self, view: str) -> dict[str, Any]:
        """What a plan says to have these files beneath the layer."""
        return {"files": True, "scan": self._remember(view), "view": view}

    def _pin(self, view: View, revision: int, digest: str) -> tuple[Edit, ...]:
        """The edit that holds that view of the file in place of the file as it is."""
        over = ""
        with contextlib.suppress(RunboundError):  # a file that cannot be read differs from every view
            over = view_digest(texts(self._source.read()))
        edit = revert.pin(revision, digest, over)
        return (edit,) if edit.doc is not None or view.get(*revert.BASE) is not None else ()
