"""Opening the state: everything is proven here that is not proven when it is read.

The order: database and anchor must both be there or both not; the schema must be ours; the head must be genuine; the
anchor's head must lie in the journal and in the audit log (it may lag behind, never be ahead); the journal must be one
chain; the audit log must be one from its last checkpoint on; kinds with few entries are counted and summed. Records and
blocks are summed when they are loaded (`Store.rows`). It must never repair anything.
"""

import os
from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from runbound.state import journal, trail
from runbound.state.database import (
    RECOVER,
    StateTamperedError,
    check_schema,
    connect,
    create,
    reading,
    typed,
    value,
)
from runbound.state.directory import DATABASE_NAME, StateUnusableError
from runbound.state.head import ANCHOR_NAME, Anchor, AnchorFile, Head, Key, Sealer, newest
from runbound.state.table import SHORT, Codec, Table
from runbound.state.writer import Writer

LARGE_KINDS: Final = ("record", "block")
"""Kinds with up to millions of entries; they are summed when they are loaded, not at the opening."""
PUBLIC: Final = "public"


class StoreKeys(msgspec.Struct, frozen=True):
    """The two keys of a state."""

    store: Key
    audit: trail.Key
    protected: bool
    """False if `store` is the key that everybody knows."""


class Codes(msgspec.Struct, frozen=True):
    """A key for each purpose."""

    rows: Key
    journal: Key
    uses: Key
    sealer: Sealer

    def use(self, number: int, time: int) -> bytes:
        """The code of when an entry was used last."""
        return self.uses.mac(b"%d %d" % (number, time))[:SHORT]

    def check_use(self, number: int, time: int, mac: bytes, path: str) -> None:
        """Raises StateTamperedError."""
        if self.use(number, time) != mac:
            raise StateTamperedError(f"the last use of entry {number} was changed", path)


class Opened(msgspec.Struct, frozen=True):
    """An open state, proven."""

    path: str
    keys: StoreKeys
    codes: Codes
    table: Table
    writer: Writer
    undone: dict[int, int]
    """Revisions that failed, and those that took them back."""


def codes_of(keys: StoreKeys) -> Codes:
    """The keys of each purpose."""
    name = keys.store.derive("name of the key").mac(b"")[:8].hex() if keys.protected else PUBLIC
    derive = keys.store.derive
    return Codes(
        derive("state: rows"), derive("state: journal"), derive("state: uses"), Sealer(derive("state: head"), name)
    )


def written_without_key(folder: str) -> bool:
    """Whether the anchor says that there was no key. It proves nothing, and only tells which key to try."""
    try:
        file = AnchorFile.open(os.path.join(folder, ANCHOR_NAME), read_only=True)
    except OSError:
        return False
    try:
        found = newest(file.read())
    finally:
        file.close()
    return found is not None and found.key == PUBLIC


def open_(folder: str, keys: StoreKeys, codec: Codec, owner: tuple[int, int] | None) -> Opened:
    """Opens the state of a folder, or makes it."""
    path, beside = os.path.join(folder, DATABASE_NAME), os.path.join(folder, ANCHOR_NAME)
    codes = codes_of(keys)
    with reading(path):
        try:
            if not os.path.lexists(path):
                db, anchor, head = _new(path, beside, codes, owner)
            else:
                db, anchor, head = _existing(path, beside, codes)
        except OSError as error:
            raise StateUnusableError(f"it cannot be opened ({error.strerror})", error.filename or path) from error
        try:
            table = Table(codes.rows, codec, path)
            undone = check_journal(db, codes, head, path)
            chain = check_audit(db, keys, head, path)
            for kind in head.sets:
                if kind not in LARGE_KINDS:
                    check_kind(db, table, head, kind)
            check_kinds(db, head, path)
        except BaseException:
            db.close()
            anchor.close()
            raise
    writer = Writer(path, db, head, chain, codes.sealer, anchor)
    return Opened(path, keys, codes, table, writer, undone)


def _new(
    path: str, beside: str, codes: Codes, owner: tuple[int, int] | None
) -> tuple[apsw.Connection, AnchorFile, Head]:
    if os.path.lexists(beside):
        raise StateTamperedError("it is missing, but its anchor state.mac is there", path)
    db = create(path, owner)
    head = Head()
    with db:
        db.execute("INSERT INTO head (id, body, mac) VALUES (1, ?, ?)", codes.sealer.seal(head))
    anchor = AnchorFile.open(beside, owner, create=True)
    anchor.write(codes.sealer.anchor(head))
    return db, anchor, head


def _existing(path: str, beside: str, codes: Codes) -> tuple[apsw.Connection, AnchorFile, Head]:
    db = connect(path, write=True)
    try:
        check_schema(db, path)
        try:
            anchor = AnchorFile.open(beside)
        except FileNotFoundError:
            raise StateTamperedError("the anchor of the state is missing", beside) from None
        try:
            anchors = anchor.read()
            check_name(anchors, beside, codes)
            head = read_head(db, codes, path)
            check_anchor(db, codes, head, anchors, beside, path)
        except BaseException:
            anchor.close()
            raise
    except BaseException:
        db.close()
        raise
    return db, anchor, head


def check_name(anchors: Sequence[Anchor], beside: str, codes: Codes) -> None:
    """Tells a key that is another from a state that was changed."""
    found = newest(anchors)
    if found is None or found.key == codes.sealer.name:
        return
    if found.key == PUBLIC:
        what, fix = "the state was written without a key", "runbound store resign takes it over with the key"
    elif codes.sealer.name == PUBLIC:
        what, fix = "the state was written with a key, and there is none now", "set RUNBOUND_STORE_KEY as it was"
    else:
        what, fix = "the state was written with another key", "set RUNBOUND_STORE_KEY as it was"
    raise StateTamperedError(what, beside, f"{fix}; {RECOVER}")


def read_head(db: apsw.Connection, codes: Codes, path: str) -> Head:
    """The head in the database. Raises StateTamperedError."""
    for body, mac in typed(db.execute("SELECT body, mac FROM head WHERE id = 1"), str, bytes):
        return codes.sealer.open(body, mac, path)
    raise StateTamperedError("its head is missing", path)


def check_anchor(
    db: apsw.Connection, codes: Codes, head: Head, anchors: Sequence[Anchor], beside: str, path: str
) -> None:
    """The anchor may lag behind the database, for a crash may come between them; never the other way round."""
    anchor = newest([found for found in anchors if codes.sealer.genuine(found)])
    if anchor is None:
        raise StateTamperedError("the anchor of the state was changed or cut", beside)
    if anchor.epoch > head.epoch:
        raise StateTamperedError(
            f"it was rolled back: it ends at revision {head.revision} (transaction {head.epoch}), "
            f"but its anchor knows revision {anchor.revision} (transaction {anchor.epoch})",
            path,
        )
    fork = StateTamperedError("its past is another than its anchor knows: it was replaced by another state", path)
    if anchor.revision > head.revision or anchor.audit_seq > head.audit_seq:
        raise fork
    ends = {0: "0" * 64, head.first - 1: head.first_link, head.revision: head.link}
    if (ends.get(anchor.revision) or journal.link_of(db, anchor.revision)) != anchor.link:
        raise fork
    if anchor.audit_seq >= head.audit_first:
        line = value(db, "SELECT line FROM audit WHERE seq = ?", (anchor.audit_seq,))
        if line is None or not str(line).endswith(f'"mac":"{anchor.audit_link}"}}'):
            raise StateTamperedError(f"audit entry {anchor.audit_seq} is missing or not the one its anchor knows", path)


def check_journal(db: apsw.Connection, codes: Codes, head: Head, path: str) -> dict[int, int]:
    """Proves the whole chain. Which revisions failed, and which took them back."""
    undone = {
        row.undoes: row.rev
        for row in journal.walk(db, codes.journal, head, path, head.first, head.revision)
        if row.undoes
    }
    extra = value(db, "SELECT count(*) FROM journal WHERE rev < ? OR rev > ?", (head.first, head.revision))
    if extra:
        raise StateTamperedError("the journal has revisions that its head does not know", path)
    return undone


def check_audit(db: apsw.Connection, keys: StoreKeys, head: Head, path: str) -> trail.Chain:
    """Proves the audit log from its last checkpoint on. The chain to go on with."""
    # By the text alone: what was changed may be no JSON any more.
    written = """'{"seq":' || seq || ',"time":"___________________________","event":"checkpoint",%'"""
    start = value(
        db,
        f"SELECT max(seq) FROM (SELECT seq, line FROM audit WHERE seq > ?) WHERE line LIKE {written}",  # noqa: S608
        (head.audit_seq - 2 * trail.DEFAULT_EVERY,),
    )
    lines = db.execute("SELECT line FROM audit WHERE seq >= ? ORDER BY seq", (start or 0,))
    try:
        chain = trail.Chain.resume(keys.audit, (line.encode() for (line,) in typed(lines, str)))
    except trail.BrokenTrailError as error:
        raise StateTamperedError(error.what, path) from error
    check_audit_end(chain, head, path)
    return chain


def check_audit_end(chain: trail.Chain, head: Head, path: str) -> None:
    """The audit log must end where the head says."""
    if (chain.seq, chain.head) != (head.audit_seq, head.audit_link):
        raise StateTamperedError(f"the audit log does not end at entry {head.audit_seq} as the head says", path)


def check_kind(db: apsw.Connection, table: Table, head: Head, kind: str) -> None:
    """Proves every entry of a kind, and that none is missing, added or older than it was."""
    count = total = 0
    for piece in table.pieces(db, kind):
        more, sum_ = table.check(kind, piece)
        count, total = count + more, total + sum_
    compare(head, kind, count, total, table.path)


def compare(head: Head, kind: str, count: int, total: int, path: str) -> None:
    """Raises StateTamperedError if so many entries with that sum of codes are not what the head knows."""
    known, sum_ = head.sets.get(kind, (0, 0))
    if count != known:
        raise StateTamperedError(f"there are {count} entries of kind {kind}, and {known} were written", path)
    if total % (1 << 256) != sum_:
        raise StateTamperedError(f"an entry of kind {kind} is missing, or is an older form of itself", path)


def check_kinds(db: apsw.Connection, head: Head, path: str) -> None:
    """No kinds but those that the head knows."""
    kind: str | None = ""
    while kind is not None:
        kind = value(db, "SELECT min(kind) FROM entries WHERE kind > ?", (kind,))
        if kind is not None and kind not in head.sets:
            raise StateTamperedError(f"it has entries of kind {kind}, which were never written", path)
