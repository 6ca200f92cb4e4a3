"""Opening the state: everything is proven here that is not proven when it is read.

The order: database and anchor must both be there or both not; the schema must be ours; the head must be genuine; the
anchor's head must lie in the journal and in the audit log (it may lag behind, never be ahead); the journal must be one
chain; the audit log must be one from its last checkpoint on; kinds with few entries are counted and summed. Records and
blocks are summed when they are loaded (`Store.rows`). It must never repair anything.
"""

import os
from collections.abc import Sequence
from typing import Any, Final

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
from runbound.state.origin import Origin, again, resign_with
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
    store_from: Origin = Origin()
    audit_from: Origin = Origin()
    flags: str = ""
    """What a command needs to find this state and these keys, for the commands that are named to a person."""

    @property
    def store_name(self) -> str:
        """Tells store keys apart without giving one away."""
        return self.store.derive("name of the key").mac(b"")[:8].hex() if self.protected else PUBLIC

    @property
    def audit_name(self) -> str:
        """Tells audit keys apart without giving one away."""
        return self.audit.public_key().hex()[:16]


def backup_key(keys: StoreKeys) -> trail.Key:
    """What seals backups: derived from the store key, or without one from the audit key, which is always secret."""
    key: Any = keys.store if keys.protected else keys.audit
    derived: trail.Key = key.derive("backup")
    return derived


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
    derive = keys.store.derive
    sealer = Sealer(derive("state: head"), keys.store_name, keys.store_from.text, keys.audit_from.text)
    return Codes(derive("state: rows"), derive("state: journal"), derive("state: uses"), sealer)


def written_without_key(folder: str) -> bool:
    """Whether the anchor says that there was no key. It proves nothing, and only tells which key to try."""
    found = written_with(folder)
    return found is not None and found.key == PUBLIC


def written_with(folder: str) -> Anchor | None:
    """What the anchor says of the keys; None if there is none that can be read. It proves nothing."""
    try:
        file = AnchorFile.open(os.path.join(folder, ANCHOR_NAME), read_only=True)
    except OSError:
        return None
    try:
        return newest(file.read())
    finally:
        file.close()


def audit_name_of(folder: str) -> str:
    """The name of the audit key that the head says, `StoreKeys.audit_name`; empty if it cannot be read or says none. It
    proves nothing."""
    path = os.path.join(folder, DATABASE_NAME)
    try:
        db = connect(path, write=False)
        try:
            body = value(db, "SELECT body FROM head WHERE id = 1")
            return msgspec.json.decode(body, type=_Told).head.audit_key
        finally:
            db.close()
    except (apsw.Error, msgspec.MsgspecError, TypeError):
        return ""


class _ToldHead(msgspec.Struct):
    audit_key: str = ""


class _Told(msgspec.Struct):
    head: _ToldHead


def open_(folder: str, keys: StoreKeys, codec: Codec, owner: tuple[int, int] | None) -> Opened:
    """Opens the state of a folder, or makes it."""
    path, beside = os.path.join(folder, DATABASE_NAME), os.path.join(folder, ANCHOR_NAME)
    codes = codes_of(keys)
    with reading(path):
        try:
            if not os.path.lexists(path):
                db, anchor, head = _new(path, beside, keys, codes, owner)
            else:
                db, anchor, head = _existing(path, beside, keys, codes)
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
    head = msgspec.structs.replace(head, audit_key=keys.audit_name)
    writer = Writer(path, db, head, chain, codes.sealer, anchor)
    return Opened(path, keys, codes, table, writer, undone)


def _new(
    path: str, beside: str, keys: StoreKeys, codes: Codes, owner: tuple[int, int] | None
) -> tuple[apsw.Connection, AnchorFile, Head]:
    if os.path.lexists(beside):
        raise StateTamperedError("it is missing, but its anchor state.mac is there", path)
    db = create(path, owner)
    head = Head(audit_key=keys.audit_name)
    with db:
        db.execute("INSERT INTO head (id, body, mac) VALUES (1, ?, ?)", codes.sealer.seal(head))
    anchor = AnchorFile.open(beside, owner, create=True)
    anchor.write(codes.sealer.anchor(head))
    return db, anchor, head


def _existing(path: str, beside: str, keys: StoreKeys, codes: Codes) -> tuple[apsw.Connection, AnchorFile, Head]:
    db = connect(path, write=True)
    try:
        check_schema(db, path)
        try:
            anchor = AnchorFile.open(beside)
        except FileNotFoundError:
            raise StateTamperedError("the anchor of the state is missing", beside) from None
        try:
            anchors = anchor.read()
            head = first_head(db, keys, codes, anchors, beside, path)
            check_anchor(db, codes, head, anchors, beside, path)
        except BaseException:
            anchor.close()
            raise
    except BaseException:
        db.close()
        raise
    return db, anchor, head


def first_head(
    db: apsw.Connection, keys: StoreKeys, codes: Codes, anchors: Sequence[Anchor], beside: str, path: str
) -> Head:
    """The head, if the keys are those that it was written with. Raises StateTamperedError; it tells a key that is
    another from a state that was changed."""
    try:
        head = read_head(db, codes, path)
    except StateTamperedError:
        _check_name(anchors, beside, keys, codes)
        raise
    if head.audit_key not in ("", keys.audit_name):
        found = newest(anchors)
        was = Origin.read(found.audit or "") if found is not None else Origin()
        raise _another("the audit log", was, keys, "audit", path)
    return head


def _check_name(anchors: Sequence[Anchor], beside: str, keys: StoreKeys, codes: Codes) -> None:
    found = newest(anchors)
    if found is None or found.key == codes.sealer.name:
        return
    was = Origin.read(found.store or "")
    if found.key == PUBLIC:
        what = "the state was written without a key"
        fix = f"runbound store resign{keys.flags} takes it over with the key"
        raise StateTamperedError(what, beside, f"{fix}; {RECOVER}")
    if codes.sealer.name == PUBLIC:
        what = f"the state was written with {was.words() or 'a key'}, and there is none now"
        raise StateTamperedError(
            what, beside, f"{again(was, 'store')}, or take that key off: {resign_with(was, 'store', keys.flags)}"
        )
    raise _another("the state", was, keys, "store", beside)


def _another(what: str, was: Origin, keys: StoreKeys, role: str, where: str) -> StateTamperedError:
    """What to say and to do when the key is not the one it was."""
    now = keys.store_from if role == "store" else keys.audit_from
    told = f"{what} was written with another key"
    if was.kind:
        told = f"{what} was written with {was.words()}, another key than {now.words() or 'the one of now'}"
    if was.kind == now.kind == "hsm" and was.name == now.name and was.mode != now.mode:
        told = f"{what} was written in hsm-mode: {was.mode}, and hsm-mode: {now.mode} makes another key of {was.name}"
    fix = f"{again(was, role)}; or code it anew with the key of now: {resign_with(was, role, keys.flags)}"
    return StateTamperedError(told, where, fix)


def read_head(db: apsw.Connection, codes: Codes, path: str) -> Head:
    """The head in the database. Raises StateTamperedError."""
    for body, mac in typed(db.execute("SELECT body, mac FROM head WHERE id = 1"), str, bytes):
        return codes.sealer.open(body, mac, path)
    raise StateTamperedError("its head is missing", path)


def check_anchor(
    db: apsw.Connection, codes: Codes, head: Head, anchors: Sequence[Anchor], beside: str, path: str
) -> None:
    """The anchor may lag behind the database, for a crash may come between them; never the other way round.

    Between the transaction that codes everything anew and its anchor the one of the key until then stands there, and
    the head knows it.
    """
    anchor = newest([found for found in anchors if codes.sealer.genuine(found)])
    if anchor is None and head.epoch == head.rekeyed and head.before in [found.mac for found in anchors]:
        return
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
