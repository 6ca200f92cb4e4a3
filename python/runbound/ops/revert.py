"""The way back: the edits that undo one revision, or that lead to an older one, and the changes that wait to be kept.

Owns what a rollback means for the configuration file (its view of that time is pinned, as long as the operator does not
touch the file or reload it), and the entry that stands in the state while a change is not confirmed. It must never
write: it says what to edit.
"""

import hashlib
import hmac
import secrets
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from runbound.ops.refusals import NoSuchRevision, NothingToConfirm
from runbound.ops.view import Kept, View
from runbound.state.entries import SAMPLE, Committed, Edit, Revision, StoredEntry, canonical

BASE: Final = ("base", b"file")
"""Kind and key of the entry that pins a view of the configuration file."""
UNCONFIRMED: Final = ("unconfirmed", b"change")
"""Kind and key of the entry of a change that waits for its confirmation; the revision that wrote it is the change's."""
TOKEN_OCTETS: Final = 16


class Wait(msgspec.Struct, frozen=True):
    """A change that is taken back unless somebody comes with the token in time."""

    token: str
    seconds: int

    @classmethod
    def make(cls, seconds: int) -> "Wait":
        """With a new token."""
        return cls(secrets.token_urlsafe(TOKEN_OCTETS), seconds)

    def edit(self, now: float) -> Edit:
        """What notes it in the state: the end, and the token's digest."""
        return Edit(*UNCONFIRMED, canonical({"token": _digest(self.token), "until": int(now) + self.seconds}))


def fits(entry: StoredEntry, token: str) -> bool:
    """Whether this is the token of the change that waits."""
    return hmac.compare_digest(str(entry.doc.get("token", "")), _digest(token))


def waiting(entry: StoredEntry | None, token: str | None = None, only: int | None = None) -> StoredEntry:
    """The change that waits, if it is the one of that token and revision. Raises NothingToConfirm."""
    meant = entry is not None and (token is None or fits(entry, token)) and only in (None, entry.revision)
    if entry is None or not meant:
        raise NothingToConfirm("no change waits for this confirmation: it was confirmed, or has been taken back")
    return entry


def undo(view: View, changes: Iterable[tuple[StoredEntry | None, StoredEntry | None]]) -> Iterator[Edit]:
    """The edits that take back what a revision did to entries that nobody has changed since."""
    for before, after in changes:
        there = after or before
        assert there is not None
        if there.kind in (BASE[0], UNCONFIRMED[0]):
            continue
        now = view.by_id(there.kind, there.id) if after is not None else view.get(there.kind, there.key)
        if after is None:
            if now is None:
                yield _put(there, None)
        elif now is not None and (now.key, now.doc) == (after.key, after.doc):
            yield Edit(after.kind, after.key, None, after.id) if before is None else _put(before, after.id)


def pin(revision: int, view: str, over: str) -> Edit:
    """Holds a view of the configuration file in place of `over`, the file as it is now; the same view ends that."""
    if view == over:
        return Edit(*BASE, None)
    return Edit(*BASE, canonical({"revision": revision, "view": view, "over": over}))


def rows(store: Kept, revision: int) -> list[Revision]:
    """That line of the history and the one before it, if there is one. Raises NoSuchRevision."""
    found = store.journal(before=revision + 1, limit=2)
    if not found or found[0].number != revision:
        raise NoSuchRevision(f"there is no revision {revision}", fix="GET /config/history lists them")
    return found


def target(store: Kept, revision: int) -> Revision:
    """The revision to go back to. Raises NoSuchRevision."""
    found = rows(store, revision)[0]
    if found.status != "applied":
        raise NoSuchRevision(f"revision {revision} was never in force, it is {found.status}")
    return found


def done(store: Kept, row: Revision, without: Container[str] = ()) -> Committed:
    """What a revision changed, kinds left out that not everybody may see: its counts, and the first entries."""
    changes = store.change_of(row.number)
    shown = ((before, after) for before, after in changes if (there := after or before) and there.kind not in without)
    summary = {kind: counts for kind, counts in row.summary.items() if kind not in without}
    return Committed(row.number, (), summary, tuple(islice(shown, SAMPLE)))


def _put(entry: StoredEntry, number: int | None) -> Edit:
    return Edit(entry.kind, entry.key, canonical(entry.doc), number)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
