"""The audit log of a running resolver: who did what.

The record is a table of the state, written in the transactions of what it tells; `state.trail` says what a line is.
This room hands in entries that belong to no change (start, end, failed authentication, acts), reads and proves what is
there, and has `outlets` write it on. It must never change an entry.
"""

import concurrent.futures
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Final, Protocol

from runbound import __version__
from runbound.config import options
from runbound.config.model import Config
from runbound.engine import verify_signature
from runbound.ops.failures import SUMMED_UP, Failures
from runbound.ops.logging import ControlLog
from runbound.ops.outlets import Outlets, SinkState, Table
from runbound.ops.sinks import Row, last_line
from runbound.state import trail
from runbound.state.database import StateTamperedError
from runbound.state.entries import Event
from runbound.state.proof import Expected, Report, verify
from runbound.state.trail import Key, Line, NotALineError

options.honour("server", "audit-log", "audit-checkpoint-every")

PAGE: Final = 500
"""Entries read at once."""
MAX_LOOKED: Final = 20_000
"""Entries that are looked through for the last ones of a kind, so that a question is answered within half a second."""
SYSTEM: Final = "runbound"
"""The actor of what nobody asked for."""


class Store(Table, Protocol):
    """The part of the state that the audit log needs."""

    audit_every: int | None

    @property
    def audit_first(self) -> int: ...
    def record(self, *events: Event, wait: bool = False) -> "Future[None]": ...
    def checkpoint(self) -> None: ...


class Audit:
    """The audit log of one process. Safe from every thread."""

    def __init__(
        self,
        store: Store,
        key: Key,
        folder: str,
        resolve: Callable[[str], str],
        owner: tuple[int, int] | None,
        log: ControlLog,
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key` is the audit key; for the others see `Outlets`."""
        self.store = store
        self.key = key
        self._log = log
        self._failures = Failures(clock)
        self._started = False
        self._outlets = Outlets(store, folder, resolve, owner, log, tick=self._tick, environ=environ, clock=clock)

    @classmethod
    def open(
        cls,
        store: Store,
        key: Key,
        folder: str,
        config: Config,
        resolve: Callable[[str], str],
        owner: tuple[int, int] | None,
        log: ControlLog,
    ) -> "Audit":
        """Opens the file while it can be opened, and compares its end with the state's. Starts no thread.

        Raises StateTamperedError if the file knows an entry that the state has lost.
        """
        audit = cls(store, key, folder, resolve, owner, log)
        witnessed(store, key, audit._outlets.file_path(config))
        audit._set(config)
        audit._outlets.settle(config)
        return audit

    def start(self, config: Callable[[], Config], *, file: str, revision: int) -> None:
        """DNS is answered: writes that down, and begins to write on. `config` gives the configuration in force."""
        head = self.store.audit_head[0]
        last = self.store.audit_after(max(head - 2, 0), 2)
        ended = any('"event":"service.stop"' in line for _, line in last)
        self.record(
            "service.start",
            SYSTEM,
            version=__version__,
            process=os.getpid(),
            file=file,
            revision=revision,
            before="none" if not last else "stopped" if ended else "died",
        )
        self._started = True
        self._outlets.start(config)

    def record(self, event: str, actor: str, /, **fields: object) -> None:
        """Takes an entry that belongs to no change. Never raises, never waits.

        What strangers cause is summed up, so that they cannot fill the log.
        """
        if event not in SUMMED_UP:
            self._record(Event(event, actor, fields))
        elif (told := self._failures.add(event, fields)) is not None:
            self._record(told)

    def reopen(self) -> None:
        """Somebody has moved the file: from the next entry on, lines go to a new one. The chain goes on."""
        self._outlets.reopen()

    @property
    def taken(self) -> int:
        """The last entry that every sink has."""
        return min((sink.seq for sink in self._outlets.states()), default=0)

    def rekey(self, key: Key) -> None:
        """The log goes on under another key, from the entry `audit_first` of the store on."""
        self.key = key

    def states(self) -> list[SinkState]:
        """How each sink does."""
        return self._outlets.states()

    def tail(self, limit: int, after: int | None = None, event: str = "", actor: str = "") -> list[tuple[Line, bool]]:
        """Entries in their order, and whether each is genuine: the first `limit` behind `after`, or the last ones.

        `event` is the beginning of an event's name. Without `after`, so many entries are looked through at most as
        `MAX_LOOKED` says.
        """
        found: list[tuple[Line, bool]] = []
        first = self.store.audit_first - 1
        if after is not None:
            after = max(after, first)
            while len(found) < limit and (rows := self.store.audit_after(after, PAGE)):
                found += self._chosen(rows, event, actor)
                after = rows[-1][0]
            return found[:limit]
        upper = self.store.audit_head[0]
        oldest = max(upper - MAX_LOOKED, first)
        while upper > oldest and len(found) < limit:
            lower = max(upper - PAGE, oldest)
            rows = self.store.audit_after(lower, upper - lower)
            found = [*self._chosen(rows, event, actor), *found]
            upper = lower
        return found[-limit:]

    def prove(self) -> Report:
        """Looks at every entry of the table that this key has sealed, and at where it ends."""
        while True:
            key = self.key
            expected = Expected(*self.store.audit_head, "the head of the state")
            source = _Lines(self.store)
            report = verify([source], keys=[key], verify_signature=verify_signature, expected=expected)
            if key is self.key:  # else it was changed meanwhile, and both have sealed what was read
                return report

    def stop(self, reason: str) -> None:
        """Writes down the end, signs for it, and gives the sinks a moment to take it. Without a start there is none."""
        if self._started:
            for event in self._failures.due(end=True):
                self._record(event)
            self.record("service.stop", SYSTEM, reason=reason)
            try:
                self.store.checkpoint()
            except Exception as error:  # noqa: BLE001  # the end comes all the same
                self._log.error("audit log: the last checkpoint could not be written", error=str(error))
        self._outlets.stop()

    def _tick(self, config: Config) -> None:
        """What is done now and then."""
        self._set(config)
        for event in self._failures.due():
            self._record(event)

    def _set(self, config: Config) -> None:
        """Takes over what the configuration says about the record itself."""
        server = config.server
        every = max(server.audit_checkpoint_every, 1) if server.audit_log else None
        if every != self.store.audit_every:
            if every is None and self._started:
                self._record(Event("audit.off", SYSTEM), wait=True)
            self.store.audit_every = every

    def _chosen(self, rows: list[Row], event: str, actor: str) -> list[tuple[Line, bool]]:
        chosen = []
        for seq, octets in rows:
            try:
                line = trail.parse(octets.encode())
            except NotALineError:
                line = Line(seq, "", "unreadable", "", {}, "", "")
            if line.event.startswith(event) and actor in ("", line.actor):
                chosen.append((line, line.seq == seq and bool(line.mac) and line.genuine(self.key)))
        return chosen

    def _record(self, event: Event, *, wait: bool = False) -> None:
        """Whoever acts has acted, so it is told and no error of theirs if it cannot be written down."""

        def done(future: "Future[None]") -> None:
            if (error := future.exception()) is not None:
                self._log.error("audit log: an entry could not be written", what=event.event, error=str(error))

        future = self.store.record(event)
        future.add_done_callback(done)
        if wait:
            concurrent.futures.wait([future])


class _Lines:
    """The table of the state as lines."""

    name = "audit table"

    def __init__(self, table: Store) -> None:
        self._table = table
        self._first = table.audit_first

    def lines(self) -> Iterator[bytes]:
        seq = self._first - 1
        while rows := self._table.audit_after(seq, PAGE):
            for _, line in rows:
                yield line.encode() + b"\n"
            seq = rows[-1][0]


def witnessed(store: Store, key: Key, path: str) -> None:
    """Compares the end of the file with the state. Raises StateTamperedError if the file proves that the state was put
    back to an earlier day: only who has the key can have written a line, so a genuine one that is missing was lost."""
    line = last_line(path)
    if line is None or not line.genuine(key):
        return
    head = store.audit_head[0]
    if line.seq > head:
        what = f"the audit log in {path} knows entry {line.seq}, and the state ends with entry {head}"
    else:
        kept = store.audit_after(line.seq - 1, 1)
        with contextlib.suppress(NotALineError):
            if kept and trail.parse(kept[0][1].encode()).mac == line.mac:
                return
        what = f"the audit log in {path} has another entry {line.seq} than the state"
    raise StateTamperedError(
        f"{what}: the state was put back to an earlier day",
        None,
        f"put the newer state back; if going back is meant, move {path} away (and keep it) and start again",
    )
