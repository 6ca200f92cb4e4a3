"""Other keys for the state of a running resolver: everything they seal is sealed anew, or nothing is.

Owns the order: seals of backups are made ready, the store codes itself anew in one transaction, the audit log goes on
under its key, the new seals take their places. A crash leaves the state under the one key or the other, and the backups
under the same (`state.rekey`, `state.sealing`). DNS and whoever reads go on; whoever writes waits. This module must
never see where keys come from.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from runbound.state.opening import StoreKeys, backup_key
from runbound.state.rekey import Rekeyed
from runbound.state.sealing import Sealing
from runbound.state.trail import Key


class Store(Protocol):
    """The part of the store that has keys."""

    @property
    def keys(self) -> StoreKeys: ...
    def rekey(self, new: StoreKeys, actor: str, *, taken: int, done: Callable[[], None] | None = None) -> Rekeyed: ...


class Audit(Protocol):
    """The part of the audit log that has a key."""

    @property
    def taken(self) -> int: ...
    def rekey(self, key: Key) -> None: ...


class Backups(Protocol):
    """The part of the backups that has a key."""

    def rekeying(self, key: Key) -> AbstractContextManager[None]: ...


class Rekey:
    """Changes the keys of one state. Safe from every thread: one change at a time."""

    def __init__(self, store: Store, audit: Audit, backups: Backups, folder: str) -> None:
        self._store = store
        self._audit = audit
        self._backups = backups
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def keys(self) -> StoreKeys:
        """Those in force."""
        return self._store.keys

    def differs(self, keys: StoreKeys) -> tuple[bool, bool]:
        """Whether these are another store key, and another audit key, than those in force."""
        now = self._store.keys
        return now.store_name != keys.store_name, now.audit_name != keys.audit_name

    def run(self, keys: StoreKeys, actor: str) -> tuple[Rekeyed, int]:
        """Takes other keys into use: what was coded, and how many backups were sealed anew.

        Raises StateTamperedError if something is not as it was written, StateUnusableError if it cannot be written; the
        keys are those of before then.
        """
        with self._lock:
            sealing = Sealing(self._folder, backup_key(self._store.keys), backup_key(keys))
            with self._backups.rekeying(backup_key(keys)):
                sealing.prepare()
                try:
                    done = self._store.rekey(
                        keys, actor, taken=self._audit.taken, done=lambda: self._audit.rekey(keys.audit)
                    )
                except BaseException:
                    sealing.forget()
                    raise
                sealing.finish()
            return done, sealing.count
