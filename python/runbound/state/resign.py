"""Coding a whole state anew: after a change of keys, or when an operator vouches for one that does not prove itself.

The new state is built beside the old one and takes its place at the end; the old files are kept under another name.
This module must never be called by the running resolver: only an operator may say that a state is good.
"""

import os
import time
from collections.abc import Iterable

import apsw
import msgspec

from runbound.state import journal, opening, trail
from runbound.state.database import StateTamperedError, connect, create, reading, typed, value
from runbound.state.directory import DATABASE_NAME, StateUnusableError
from runbound.state.entries import Event
from runbound.state.head import ANCHOR_NAME, AnchorFile, Head
from runbound.state.opening import StoreKeys, backup_key
from runbound.state.rekey import put_aside
from runbound.state.sealing import Sealing
from runbound.state.table import SHORT, Codec, Row, as_rows, from_rows
from runbound.state.verify import Report, verify


class Resigned(msgspec.Struct, frozen=True):
    """What became of it."""

    before: Report
    """How the state was found with the old keys."""
    after: Report
    kept: tuple[str, ...]
    """The old files, under their new names."""
    backups: int = 0
    """Backups that were sealed anew."""
    strange: tuple[str, ...] = ()
    """Backups that neither key proves; they were left as they are."""


def resign(folder: str, old: StoreKeys, new: StoreKeys, codec: Codec, actor: str, *, accept: bool = False) -> Resigned:
    """Codes the state of a folder, which the caller has locked, with new keys.

    With faults under the old keys it raises StateTamperedError with the first one, unless `accept` takes it as it is:
    every entry that can be read, the audit log, and as much of the end of the journal as holds together.
    """
    before = verify(folder, old, codec)
    if before.faults and not accept:
        raise StateTamperedError(
            before.faults[0],
            fix="restore a backup; or, if you have looked at it and it is good, runbound store resign --accept",
        )
    stamp = _stamp(folder)
    path, beside = os.path.join(folder, DATABASE_NAME), os.path.join(folder, ANCHOR_NAME)
    found = os.stat(path)
    owner = (found.st_uid, found.st_gid) if os.geteuid() == 0 else None
    fresh = f"{path}.new"
    for name in (fresh, f"{fresh}-wal", f"{fresh}-shm", f"{beside}.new"):
        if os.path.lexists(name):
            os.unlink(name)
    with reading(path):
        source = connect(path, write=True)
        try:
            target = create(fresh, owner)
            try:
                copy = _Copy(source, target, folder, new, codec, before, stamp)
                copy.all(actor, accept=bool(before.faults))
            finally:
                target.close()
            source.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            source.close()
    sealing = Sealing(folder, backup_key(old), backup_key(new))
    sealing.prepare()
    kept = _change_places(folder, stamp)
    sealing.finish()
    if copy.aside is not None:
        kept = (*kept, copy.aside)
    return Resigned(before, verify(folder, new, codec), kept, sealing.count, sealing.strange)


class _Copy:
    def __init__(
        self,
        source: apsw.Connection,
        target: apsw.Connection,
        folder: str,
        keys: StoreKeys,
        codec: Codec,
        report: Report,
        stamp: str,
    ) -> None:
        self.source = source
        self.target = target
        self.folder = folder
        self.keys = keys
        self.codes = opening.codes_of(keys)
        self.codec = codec
        self.stamp = stamp
        self.aside: str | None = None
        self.head = msgspec.structs.replace(_last_head(source, report), audit_key=keys.audit_name)

    def all(self, actor: str, *, accept: bool) -> None:
        """Copies everything, and writes head and anchor."""
        self.target.execute("BEGIN IMMEDIATE")
        self._entries()
        self._journal()
        self._others()
        self._audit(actor, accept)
        stood = opening.written_with(self.folder)
        before = "" if stood is None else stood.mac
        self.head = msgspec.structs.replace(self.head, rekeyed=self.head.epoch, before=before)
        self.target.execute("INSERT INTO head (id, body, mac) VALUES (1, ?, ?)", self.codes.sealer.seal(self.head))
        self.target.execute("COMMIT")
        owner = os.stat(os.path.join(self.folder, DATABASE_NAME))
        anchor = AnchorFile.open(
            os.path.join(self.folder, f"{ANCHOR_NAME}.new"),
            (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None,
            create=True,
        )
        anchor.write(self.codes.sealer.anchor(self.head))
        anchor.sync()
        anchor.close()

    def _row(self, row: Row) -> tuple[Row, int]:
        mac = self.codec.mac_row(self.codes.rows, row.kind, row.id, row.key, row.doc, row.rev)
        return msgspec.structs.replace(row, mac=mac[:SHORT]), int.from_bytes(mac, "little")

    def _entries(self) -> None:
        last = self.head.next_id - 1
        found = self.source.execute("SELECT kind, key, id, doc, rev, mac FROM entries ORDER BY kind, key")
        for columns in typed(found, str, bytes, int, str, int, bytes):
            row, code = self._row(Row(*columns))
            msgspec.json.decode(row.doc, type=dict)
            self.target.execute(
                "INSERT INTO entries (kind, key, id, doc, rev, mac) VALUES (?, ?, ?, ?, ?, ?)",
                (row.kind, row.key, row.id, row.doc, row.rev, row.mac),
            )
            self.head = self.head.with_rows(row.kind, 1, code)
            last = max(last, row.id)
        self.head = msgspec.structs.replace(self.head, next_id=last + 1)

    def _journal(self) -> None:
        first = self.head.revision + 1
        for rev, text in self.source.execute(
            "SELECT rev, row FROM journal WHERE rev <= ? ORDER BY rev DESC", (self.head.revision,)
        ):
            if rev != first - 1 or not _whole(self.source, rev, text):
                break
            first = rev
        self.head = msgspec.structs.replace(self.head, first=first, first_link=trail.NOTHING, link=trail.NOTHING)
        newest = self.head.revision
        for rev in range(first, newest + 1):
            text = value(self.source, "SELECT row FROM journal WHERE rev = ?", (rev,))
            row = msgspec.json.decode(text, type=journal.Row)
            digests = []
            for number in range(len(row.parts)):
                packed = journal.pack(self._part(rev, number))
                journal.write_part(self.target, rev, number, packed)
                digests.append(packed.digest)
            row = msgspec.structs.replace(row, parts=digests)
            self.head = journal.write_row(self.target, self.codes.journal, self.head, row)

    def _part(self, rev: int, number: int) -> journal.Part:
        part = journal.read_raw(self.source, rev, number)
        before, after = (
            as_rows(self._row(row)[0] for row in from_rows(part.kind, rows)) for rows in (part.before, part.after)
        )
        return journal.Part(part.kind, before, after)

    def _others(self) -> None:
        for digest, body in self.source.execute("SELECT digest, body FROM views"):
            self.target.execute("INSERT INTO views (digest, body) VALUES (?, ?)", (digest, body))
        for number, moment in self.source.execute("SELECT id, time FROM uses"):
            mac = self.codes.use(number, moment)
            self.target.execute("INSERT INTO uses (id, time, mac) VALUES (?, ?, ?)", (number, moment, mac))

    def _audit(self, actor: str, accept: bool) -> None:
        """The log goes on where it ended. If the key is another, or it does not hold together, it begins anew there."""
        begin = self.head.audit_first
        lines = list(self.source.execute("SELECT seq, line FROM audit WHERE seq >= ? ORDER BY seq", (begin,)))
        try:
            chain = trail.Chain.resume(self.keys.audit, (line.encode() for _seq, line in lines))
            for seq, line in lines:
                self.target.execute("INSERT INTO audit (seq, line) VALUES (?, ?)", (seq, line))
            first = lines[0][0] if lines else 1
        except trail.BrokenTrailError:
            self.aside = put_aside(self.folder, (line for _seq, line in lines), self.stamp)
            seq, link = _last_line(lines) or (self.head.audit_seq, self.head.audit_link)
            chain, first = trail.Chain.after(self.keys.audit, seq, link), seq + 1
            self._line(chain, chain.checkpoint(time.time_ns() // 1000))
        event = Event("store.resign", actor, {"accepted": accept, "revision": self.head.revision})
        self._line(chain, chain.append(time.time_ns() // 1000, event))
        self.head = msgspec.structs.replace(self.head, audit_seq=chain.seq, audit_link=chain.head, audit_first=first)

    def _line(self, chain: trail.Chain, line: str) -> None:
        self.target.execute("INSERT INTO audit (seq, line) VALUES (?, ?)", (chain.seq, line))


def _last_head(source: apsw.Connection, report: Report) -> Head:
    """Where the state ended, from what can still be read; the sums begin at nothing."""
    newest = max(value(source, "SELECT max(rev) FROM journal") or 0, report.revision)
    body = value(source, "SELECT body FROM head") or ""
    try:
        kept = msgspec.json.decode(body, type=_HeadRow).head
    except msgspec.MsgspecError:
        kept = Head(epoch=report.epoch, revision=newest, applied=newest)
    return msgspec.structs.replace(kept, sets={}, epoch=kept.epoch + 2, revision=max(kept.revision, newest))


class _HeadRow(msgspec.Struct):
    head: Head


def _whole(source: apsw.Connection, rev: int, text: str) -> bool:
    """Whether a revision and all its parts can be read."""
    try:
        row = msgspec.json.decode(text, type=journal.Row)
        for number in range(len(row.parts)):
            part = journal.read_raw(source, rev, number)
            from_rows(part.kind, part.before)
            from_rows(part.kind, part.after)
    except (StateTamperedError, msgspec.MsgspecError, ValueError):
        return False
    return row.rev == rev


def _last_line(lines: Iterable[tuple[int, str]]) -> tuple[int, str] | None:
    last = None
    for _seq, text in lines:
        try:
            line = trail.parse(text.encode())
        except trail.NotALineError:
            continue
        last = (line.seq, line.mac)
    return last


def _change_places(folder: str, stamp: str) -> tuple[str, ...]:
    """The old files get another name besides, then the new ones take theirs, the database first.

    A crash before that leaves the old state. One after it leaves the new one, whose head knows the anchor beside it.
    """
    kept = []
    try:
        for name in (ANCHOR_NAME, DATABASE_NAME):
            path = os.path.join(folder, name)
            if os.path.lexists(path):
                os.link(path, f"{path}.{stamp}", follow_symlinks=False)
                kept.append(f"{path}.{stamp}")
        _settle(folder)
        for suffix in ("-wal", "-shm"):  # empty: the connection that closed last has moved what was there
            if os.path.lexists(left := os.path.join(folder, DATABASE_NAME) + suffix):
                os.unlink(left)
        for name in (DATABASE_NAME, ANCHOR_NAME):
            path = os.path.join(folder, name)
            os.rename(f"{path}.new", path)
            _settle(folder)
    except OSError as error:
        raise StateUnusableError(f"cannot put the new state in its place: {error.strerror}", folder) from error
    return tuple(reversed(kept))


def _stamp(folder: str) -> str:
    """The time, as no old file has it yet."""
    now = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    taken = {name.partition(f"{DATABASE_NAME}.")[2] for name in os.listdir(folder)}
    return next(stamp for stamp in (now, *(f"{now}-{number}" for number in range(1, 10_000))) if stamp not in taken)


def _settle(folder: str) -> None:
    """Puts the names of a folder on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
