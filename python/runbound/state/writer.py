"""The one writer: a thread and a connection through which everything passes that changes the state.

Jobs wait in a queue. The thread takes all that wait, runs each in a savepoint of one transaction, commits once for all
(one wait for the disk), writes the anchor, and only then tells those who wait. A job that fails takes back what it did
and nothing else. It must never know what a job means, and never give out a head that is not on the disk.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import apsw
import msgspec

from runbound.state import trail
from runbound.state.database import StateTamperedError, reading, value
from runbound.state.directory import StateUnusableError
from runbound.state.entries import Event
from runbound.state.head import AnchorFile, Head, Sealer

MAX_JOBS: Final = 256
"""Jobs of one transaction: a caller waits for the slowest of its company."""
CHECKPOINT_PAGES: Final = 1000
"""Pages of 4 KiB in the log after which they are moved into the database; SQLite's own default."""
CLOSE_SECONDS: Final = 30.0
"""How long the end waits for jobs that are under way; a bulk of a million takes a few seconds."""

T = TypeVar("T")


class Tx:
    """What a job has to work with."""

    def __init__(self, db: apsw.Connection, head: Head, chain: trail.Chain, sealer: Sealer) -> None:
        self.db = db
        self.head = head
        self.chain = chain
        self.sealer = sealer
        """What seals the head at the end. Who changes it must be alone in the transaction."""
        self.now = 0
        """Unix time of the job, microseconds."""
        self.audit_every: int | None = trail.DEFAULT_EVERY

    def event(self, event: Event, time_us: int | None = None) -> None:
        """Appends to the audit log, if there is one."""
        if self.audit_every is None:
            return
        now = self.now if time_us is None else time_us
        self.line(self.chain.append(now, event))
        if self.chain.since >= self.audit_every:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Signs for the entries since the last checkpoint, if there are any."""
        if self.chain.since and self.audit_every is not None:
            self.line(self.chain.checkpoint(self.now))

    def line(self, line: str) -> None:
        """Keeps the line that the chain has just made."""
        self.db.execute("INSERT INTO audit (seq, line) VALUES (?, ?)", (self.chain.seq, line))
        self.head = msgspec.structs.replace(self.head, audit_seq=self.chain.seq, audit_link=self.chain.head)


class _Job:
    def __init__(self, work: Callable[[Tx], Any], done: Callable[[], None] | None) -> None:
        self.work = work
        self.done = done
        """Called when it is committed, before any other job; such a job has a transaction of its own."""
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Runs jobs in the order they come. Safe from every thread."""

    def __init__(
        self,
        path: str,
        db: apsw.Connection,
        head: Head,
        chain: trail.Chain,
        sealer: Sealer,
        anchor: AnchorFile,
    ) -> None:
        self.head = head
        """As it stands on the disk."""
        self.chain = chain
        self.audit_every: int | None = trail.DEFAULT_EVERY
        self.committed = threading.Condition()
        """Told after every transaction."""
        self._path = path
        self._db = db
        self._sealer = sealer
        self._anchor = anchor
        self._anchored = True
        self._version = value(db, "PRAGMA data_version")
        self._pages = 0
        db.set_wal_hook(self._logged)  # in place of SQLite's own checkpoints, which a caller would wait for
        self._jobs: list[_Job] = []
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    def submit(self, work: Callable[[Tx], T], done: Callable[[], None] | None = None) -> "Future[T]":
        """Has the thread do it, and returns at once. The result comes when it is on the disk.

        With `done` it is alone in its transaction, and `done` is called by the thread when that is committed.
        """
        job = _Job(work, done)
        with self._wake:
            if self._closing:
                job.future.set_exception(StateUnusableError("the state is closed", self._path))
                return job.future
            if self._thread is None:  # not before: privileges are dropped in a process with one thread
                self._thread = threading.Thread(target=self._run, name="state", daemon=True)
                self._thread.start()
            self._jobs.append(job)
            self._wake.notify()
        return job.future

    def run(self, work: Callable[[Tx], T]) -> T:
        """Has the thread do it, and waits until it is on the disk."""
        return self.submit(work).result()

    def anchor(self) -> str:
        """Has the anchor say what the head says, on the disk; its code. For a job alone. Raises StateUnusableError."""
        self._anchored = False
        self._catch_up()
        try:
            self._anchor.sync()
        except OSError as error:
            raise StateUnusableError(f"it cannot be written ({error.strerror})", self._anchor.path) from error
        return self._sealer.anchor(self.head).mac

    def close(self) -> None:
        """Finishes what waits, and closes the connection."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                return  # it still writes; the file is whole whenever the process ends
        with reading(self._path):
            self._db.close()
        self._anchor.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._closing:
                    self._wake.wait()
                batch = self._company()
            if not batch:
                return
            try:
                with reading(self._path):
                    self._transaction(batch)
            except BaseException as error:  # noqa: BLE001  # whoever waits must hear of it, and the thread must go on
                for job in batch:
                    job.error = job.error or error
            for job in batch:
                if job.error is not None:
                    job.future.set_exception(job.error)
                else:
                    job.future.set_result(job.result)
            with self.committed:
                self.committed.notify_all()
            if self._pages >= CHECKPOINT_PAGES:
                self._move_log()

    def _company(self) -> list[_Job]:
        """The jobs of the next transaction: all that wait, up to one that must be alone."""
        alone = next((place for place, job in enumerate(self._jobs) if job.done is not None), MAX_JOBS)
        size = max(min(alone, MAX_JOBS), 1)
        batch, self._jobs = self._jobs[:size], self._jobs[size:]
        return batch

    def _logged(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return int(apsw.SQLITE_OK)

    def _move_log(self) -> None:
        """Moves what the log holds into the database; nobody waits for it. What fails is done the next time."""
        with contextlib.suppress(apsw.Error):
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._pages = 0

    def _transaction(self, batch: list[_Job]) -> None:
        self._catch_up()
        before = self._db.total_changes()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if value(self._db, "PRAGMA data_version") != self._version:
                raise StateTamperedError("another program has written to the database while runbound runs", self._path)
            tx = Tx(self._db, self.head, self.chain.fork(), self._sealer)
            tx.audit_every = self.audit_every
            for job in batch:
                self._attempt(tx, job)
            if tx.head is self.head and self._db.total_changes() == before:
                self._db.execute("ROLLBACK")
                return
            head = msgspec.structs.replace(tx.head, epoch=self.head.epoch + 1)
            self._db.execute("UPDATE head SET body = ?, mac = ? WHERE id = 1", tx.sealer.seal(head))
            if self._db.changes() != 1:
                raise StateTamperedError("its head is missing", self._path)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self.head, self.chain, self._sealer, self._anchored = head, tx.chain, tx.sealer, False
        for job in batch:
            if job.done is not None and job.error is None:
                job.done()
        with contextlib.suppress(StateUnusableError):  # what is committed stays so; the next change must catch up
            self._catch_up()

    def _attempt(self, tx: Tx, job: _Job) -> None:
        head, chain, sealer = tx.head, tx.chain, tx.sealer
        tx.chain, tx.now = chain.fork(), time.time_ns() // 1000
        self._db.execute("SAVEPOINT job")
        try:
            with reading(self._path):
                job.result = job.work(tx)
        except BaseException as error:  # it is the caller's, and is handed over
            job.error = error
            tx.head, tx.chain, tx.sealer = head, chain, sealer
            if not self._db.in_transaction:  # SQLite itself has taken everything back: a full disk, for one
                raise
            self._db.execute("ROLLBACK TO job")
        self._db.execute("RELEASE job")

    def _catch_up(self) -> None:
        """Writes the anchor if it lags behind."""
        if self._anchored:
            return
        try:
            self._anchor.write(self._sealer.anchor(self.head))
            if self.head.epoch == self.head.rekeyed:  # no other key's anchor may stand for what comes next
                self._anchor.sync()
        except OSError as error:
            raise StateUnusableError(
                f"it cannot be written ({error.strerror})", self._anchor.path, "look at the disk"
            ) from error
        self._anchored = True
