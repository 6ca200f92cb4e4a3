"""Proving a whole state, without changing it: what `runbound store verify` does.

The opening proves what must be proven before anything is served, and the rest is proven when it is read. Here
everything is read, and what is wrong is collected instead of ending at the first. It works beside a running runbound.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

import apsw
import msgspec

from runbound.errors import RunboundError
from runbound.state import journal, opening, trail
from runbound.state.database import StateTamperedError, check_schema, connect, reading, typed, value
from runbound.state.directory import DATABASE_NAME, StateUnusableError
from runbound.state.head import ANCHOR_NAME, AnchorFile, Head
from runbound.state.opening import Codes, StoreKeys
from runbound.state.store import check_view
from runbound.state.table import Codec, Table


class Report(msgspec.Struct, frozen=True):
    """What was found. Without faults everything is what runbound wrote."""

    path: str
    protected: bool
    revision: int
    epoch: int
    entries: dict[str, int]
    audit_entries: int
    faults: tuple[str, ...]
    fix: str | None = None
    """What to do, where the keys are others than those of the state."""


def verify(folder: str, keys: StoreKeys, codec: Codec) -> Report:
    """Proves the state in a folder. Raises StateUnusableError if it cannot be read at all."""
    path, beside = os.path.join(folder, DATABASE_NAME), os.path.join(folder, ANCHOR_NAME)
    if not os.path.lexists(path) and not os.path.lexists(beside):
        raise StateUnusableError("there is no state", path, "runbound makes one when it starts")
    faults: list[str] = []
    fixes: list[str] = []
    head = Head()
    with _noting(faults), reading(path):
        anchor = _anchor(beside)
        db = _connect(path)
        try:
            head = _examine(db, anchor, keys, codec, path, faults, fixes) or head
        finally:
            db.close()
            anchor.close()
    counts = {kind: count for kind, (count, _sum) in sorted(head.sets.items()) if count}
    return Report(path, keys.protected, head.revision, head.epoch, counts, head.audit_seq, tuple(faults), *fixes[:1])


def _anchor(beside: str) -> AnchorFile:
    """Opened before the database is looked at: it may lag behind what is read then, and never be ahead of it."""
    try:
        return AnchorFile.open(beside, read_only=True)
    except FileNotFoundError:
        raise StateTamperedError("the anchor of the state is missing", beside) from None
    except OSError as error:
        raise StateUnusableError(f"it cannot be opened ({error.strerror})", beside) from error


def _connect(path: str) -> apsw.Connection:
    if not os.path.lexists(path):
        raise StateTamperedError("it is missing, but its anchor state.mac is there", path)
    return connect(path, write=False)


def _examine(
    db: apsw.Connection,
    anchor: AnchorFile,
    keys: StoreKeys,
    codec: Codec,
    path: str,
    faults: list[str],
    fixes: list[str],
) -> Head | None:
    codes = opening.codes_of(keys)
    anchors = anchor.read()
    db.execute("BEGIN")
    with _noting(faults), reading(path):
        problems = [text for (text,) in db.execute("PRAGMA integrity_check(10)")]
        faults += [f"{path}: the database is damaged: {text}" for text in problems if text != "ok"]
    with _noting(faults), reading(path):
        check_schema(db, path)
    head = None
    with _noting(faults, fixes), reading(path):
        head = opening.first_head(db, keys, codes, anchors, anchor.path, path)
    if head is None:
        return None
    for check in _checks(db, codes, Table(codes.rows, codec, path), head, keys, path):
        with _noting(faults), reading(path):
            check()
    with _noting(faults), reading(path):
        opening.check_anchor(db, codes, head, anchors, anchor.path, path)
    return head


def _checks(
    db: apsw.Connection, codes: Codes, table: Table, head: Head, keys: StoreKeys, path: str
) -> Iterator[Callable[[], object]]:
    yield lambda: opening.check_journal(db, codes, head, path)
    yield lambda: _parts(db, codes, head, path)
    yield lambda: opening.check_kinds(db, head, path)
    for kind in head.sets:
        yield lambda kind=kind: opening.check_kind(db, table, head, kind)  # type: ignore[misc]
    yield lambda: _ids(db, head, path)
    yield lambda: _views(db, path)
    yield lambda: _uses(db, codes, path)
    yield lambda: _audit(db, keys, head, path)


def _parts(db: apsw.Connection, codes: Codes, head: Head, path: str) -> None:
    """What each revision changed is there, whole, and nothing else."""
    known, views = 0, {head.view} - {""}
    for row in journal.walk(db, codes.journal, head, path, head.first, head.revision):
        for number in range(len(row.parts)):
            journal.read_part(db, row, number, path)
        known += len(row.parts)
        views |= {row.view} - {""}
    if value(db, "SELECT count(*) FROM parts") != known:
        raise StateTamperedError("the journal has parts that none of its revisions knows", path)
    missing = views - {digest for (digest,) in db.execute("SELECT digest FROM views")}
    if missing:
        raise StateTamperedError(f"the configuration files kept as {min(missing)[:16]} are missing", path)


def _ids(db: apsw.Connection, head: Head, path: str) -> None:
    last = value(db, "SELECT max(id) FROM entries") or 0
    if last >= head.next_id:
        raise StateTamperedError(f"entry {last} has an id that was never given out", path)


def _views(db: apsw.Connection, path: str) -> None:
    for digest, body in typed(db.execute("SELECT digest, body FROM views"), str, bytes):
        check_view(digest, body, path)


def _uses(db: apsw.Connection, codes: Codes, path: str) -> None:
    for number, time, mac in typed(db.execute("SELECT id, time, mac FROM uses"), int, int, bytes):
        codes.check_use(number, time, mac, path)


def _audit(db: apsw.Connection, keys: StoreKeys, head: Head, path: str) -> None:
    """Every line of the audit log that is still kept, and that the key of now has sealed."""
    found = db.execute("SELECT line FROM audit WHERE seq >= ? ORDER BY seq", (head.audit_first,))
    lines = (line.encode() for (line,) in typed(found, str))
    try:
        chain = trail.Chain.resume(keys.audit, lines)
    except trail.BrokenTrailError as error:
        raise StateTamperedError(error.what, path) from error
    opening.check_audit_end(chain, head, path)


@contextlib.contextmanager
def _noting(faults: list[str], fixes: list[str] | None = None) -> Iterator[None]:
    try:
        yield
    except StateUnusableError:
        raise
    except RunboundError as error:
        faults.append(f"{error.where}: {error.what}" if error.where else error.what)
        if fixes is not None and error.fix:
            fixes.append(error.fix)
