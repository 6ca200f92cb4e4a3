"""The one write path: nothing else may apply a change to a running resolver.

A file reload, an API call, a feed's refresh, a renewed certificate, a replicated revision: each is a `Change` (who, and
why) and takes the same steps, in this order:

1. take the single writer lock;
2. build the next configuration (`build`, given the running one);
3. collect **all** diagnostics; an error rejects the change;
4. compile it to the engine's document and let Rust check it, nothing changed yet (part of `build`'s diagnostics);
5. commit journal and audit in one transaction, as pending (the room of `state`, between check and apply);
6. apply: returns when every worker has acknowledged; if it fails, what ran before still runs;
7. mark it applied, release the lock, answer the caller;
8. tell those who listen (hooks, replicas, streams).

It must never apply half a change, and never hold the lock while it waits for the network.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec

from runbound.config import options
from runbound.config.diagnostics import Diagnostic, has_errors
from runbound.config.model import Config
from runbound.engine import EngineError, Scan
from runbound.ops.effective import changed
from runbound.ops.logging import ControlLog

Effect = Literal["live", "restart"]


class Change(msgspec.Struct, frozen=True):
    """Who changes something, and why. Both end up in the log and in the audit trail."""

    actor: str
    reason: str


class Changed(msgspec.Struct, frozen=True):
    """One thing that changed, and whether it works already or waits for a restart."""

    option: str
    effect: Effect


class Applied(msgspec.Struct, frozen=True):
    """The change runs in every worker."""

    revision: int
    changes: tuple[Changed, ...]
    warnings: tuple[Diagnostic, ...]


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


class DataPlane(Protocol):
    """The part of the engine that a change needs."""

    def apply(self, document: bytes, scan: Scan | None) -> list[tuple[str, str]]: ...


class Changes:
    """The write path of one process. Safe from every thread; changes wait for each other."""

    def __init__(
        self,
        engine: DataPlane,
        started: Running,
        load: Callable[[], Candidate],
        document: Callable[[Config, int], bytes],
        log: ControlLog,
    ) -> None:
        """`started` is what the process began with; `load` reads the operator's file again, as it did at start."""
        self._engine = engine
        self._load = load
        self._document = document
        self._log = log
        self._lock = threading.Lock()
        self._at_start = started.config
        self._running = started

    @property
    def running(self) -> Running:
        """What runs now. A single reference, so reading it needs no lock."""
        return self._running

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
            self._running = Running(revision, candidate.config, time.time())
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
