"""The words of the state: what is kept, what changes it, and what is told about a change.

Owns plain records alone. They must never know how they are kept: that is the store's.
"""

from typing import Any, Final, Literal

import msgspec

Kind = Literal["record", "block", "upstream", "setting", "base", "unconfirmed", "negative-anchor", "user"]
"""`base` pins the view of the configuration file after a rollback; `unconfirmed` is a change that reverts by itself."""

CONFIGURATION: Final = ("record", "block", "upstream", "setting")
"""The kinds that a rollback leads back. Users are not among them: a key that was taken away must stay dead."""

Status = Literal["pending", "applied", "failed"]


class StoredEntry(msgspec.Struct, frozen=True):
    """One thing that is kept: unique by kind and key, and by its id, which is never given out twice."""

    id: int
    kind: str
    key: bytes
    doc: dict[str, Any]
    revision: int
    """The one that wrote it last."""


class Edit(msgspec.Struct, frozen=True):
    """One entry put, or deleted when `doc` is None. Putting a key that is there keeps its id."""

    kind: str
    key: bytes
    doc: str | None
    """A canonical JSON object: keys sorted, no spaces, no null members."""
    id: int | None = None
    """The entry that gets this key and document, where the key itself changes; None means: the one of that key."""


class Event(msgspec.Struct, frozen=True):
    """An entry of the audit log, to be."""

    event: str
    actor: str
    fields: dict[str, object] = {}


class Note(msgspec.Struct, frozen=True):
    """What the journal keeps about a change besides its edits."""

    actor: str
    reason: str
    op: str
    """`edit`, `reload`, `rollback`, `revert`, `start`, …"""


class Pending(msgspec.Struct, frozen=True):
    """A change on its way into the journal; it becomes one revision."""

    note: Note
    edits: tuple[Edit, ...] = ()
    events: tuple[Event, ...] = ()
    view: str | None = None
    """The digest of the configuration file's view from this revision on; None if it stays."""


class Committed(msgspec.Struct, frozen=True):
    """A change that stands in the journal. `entries` has one for each edit, None where it deleted."""

    revision: int
    entries: tuple[StoredEntry | None, ...]


class Revision(msgspec.Struct, frozen=True):
    """One line of the history."""

    number: int
    time: float
    """Unix time, seconds."""
    actor: str
    reason: str
    op: str
    status: Status
    summary: dict[str, dict[str, int]]
    """Kind to counts of `added`, `changed`, `removed`."""
    view: str
    """The digest of the file's view in force."""


def canonical(doc: dict[str, Any]) -> str:
    """The one text of a document: keys sorted, no spaces, members that are None left out."""
    kept = {name: value for name, value in doc.items() if value is not None}
    return msgspec.json.encode(kept, order="sorted").decode()
