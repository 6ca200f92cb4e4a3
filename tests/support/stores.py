"""Stores for tests: on a disk, with keys of the native floor."""

from pathlib import Path
from typing import Any, Final

import apsw

from runbound import engine
from runbound.state.entries import Edit, Event, Note, Pending, canonical
from runbound.state.opening import StoreKeys
from runbound.state.store import Store
from support.bulk import SmallBulk

NOTE: Final = Note("anna", "because", "edit")


def keys(secret: bytes = b"s" * 32, audit: bytes = b"a" * 32) -> StoreKeys:
    """Keys of a state; the same secrets give the same."""
    return StoreKeys(engine.SecretKey(secret), engine.SecretKey(audit), protected=True)


class Opener:
    """Opens the store of one folder, again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: Store | None = None

    def __call__(self, given: StoreKeys | None = None) -> Store:
        """Closes the store that is open, and opens it anew."""
        self.close()
        self._open = Store.open(str(self.folder), given or keys(), engine)
        return self._open

    def close(self) -> None:
        """Closes the store."""
        if self._open is not None:
            self._open.close()
            self._open = None


def record(name: str, value: str) -> Edit:
    doc = canonical({"name": name, "type": "A", "ttl": 60, "value": value})
    return Edit("record", b"example\0" + name.encode() + b"\0", doc)


def fill(store: Store) -> None:
    """A state with something in every table, an entry that was changed, and a revision that failed."""
    view = store.keep_view([("/etc/runbound.conf", b"server:\n")])
    steps = [
        Pending(NOTE, (record("a", "192.0.2.1"), record("b", "192.0.2.2")), (Event("record.add", "anna"),), view),
        Pending(NOTE, (record("a", "192.0.2.9"), Edit("user", b"otto", '{"name":"otto","role":"admin"}'))),
        Pending(NOTE, bulk=SmallBulk("block", {b"%d\0" % n: f'{{"name":"n{n}"}}' for n in range(20)})),
        Pending(NOTE, (Edit("user", b"otto", '{"name":"otto","role":"read"}'), record("c", "192.0.2.3"))),
    ]
    for pending in steps:
        store.applied([item.revision for item in store.commit([pending])])
        store.record(Event("auth.failure", "-", {"address": "192.0.2.77"}))
    [failed] = store.commit([Pending(NOTE, (record("d", "192.0.2.4"),))])
    store.failed(failed.revision, "the engine refused", [Event("record.add", "anna", {"result": "refused"})])
    store.touch(1, 1000)
    store.audit_every = 4
    store.record(*(Event("auth.failure", "-") for _ in range(3)), wait=True)


def told(store: Store) -> list[Any]:
    """Everything a store says."""
    kinds = ("record", "block", "user")
    revisions = store.journal(before=None, limit=100)
    return [
        [entry for kind in kinds for entry in store.page(kind, after=None, limit=100)],
        [store.by_id(kind, number) for kind in kinds for number in range(30)],
        [b"".join(store.rows(kind)) for kind in kinds],
        revisions,
        [list(store.change_of(row.number)) for row in revisions],
        [store.view(row.view) for row in revisions],
        store.audit_after(0, 1000),
        store.last_used(range(30)),
        store.pending,
    ]


def sql(state: Path, *statements: str) -> None:
    """What somebody with the rights of root and a copy of sqlite3 can do."""
    db = apsw.Connection(str(state / "state.db"))
    try:
        for statement in statements:
            db.execute(statement)
            assert db.changes() or not statement.lstrip().upper().startswith(("UPDATE", "DELETE", "INSERT")), statement
    finally:
        db.close()
