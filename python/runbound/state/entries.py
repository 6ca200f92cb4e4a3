"""The words of the state: what is kept, what changes it, and what is told about a change.

Owns plain records alone. They must never know how they are kept: that is the store's.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol

import msgspec

from runbound.errors import RunboundError

Kind = Literal["record", "block", "upstream", "setting", "base", "unconfirmed", "negative-anchor", "user"]
"""`base` pins the view of the configuration file after a rollback; `unconfirmed` is a change that reverts by itself."""

CONFIGURATION: Final = ("record", "block", "upstream", "setting")
"""The kinds that a rollback leads back. Users are not among them: a key that was taken away must stay dead."""

Status = Literal["pending", "applied", "failed"]
Mode = Literal["add", "replace", "remove"]
"""What a bulk does: its entries are put; they are put and all others go; those with its keys go."""
Summary = dict[str, dict[str, int]]
"""Kind to counts of `added`, `changed`, `removed`; what is zero is left out."""

SAMPLE: Final = 100
"""Entries of a bulk change that are shown to people."""


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


class Bulk(Protocol):
    """Entries of one kind on their way in, sorted by key, in parts of up to 10,000; they never become objects here."""

    @property
    def kind(self) -> str: ...
    @property
    def count(self) -> int: ...
    def keys(self, part: int) -> bytes | None:
        """The keys of a part, a JSON array of hexadecimal texts; None behind the last."""

    def rows(self, part: int, first_id: int, revision: int, key: Any, standing: bytes) -> bytes | None:
        """ROWS of a part. Those that stand there already keep their id; unchanged ones are left out."""


class TooManyError(RunboundError):
    """After the change there would be more entries than there may be."""

    def __init__(self, kind: str, count: int, most: int) -> None:
        super().__init__(f"there would be {count:,} entries of kind {kind}, and there may be {most:,}")
        self.kind, self.count, self.most = kind, count, most


class Pending(msgspec.Struct, frozen=True):
    """A change on its way into the journal; it becomes one revision.

    Edits come behind a bulk or the way back, and touch other kinds than it."""

    note: Note
    edits: tuple[Edit, ...] = ()
    events: tuple[Event, ...] = ()
    view: str | None = None
    """The digest of the configuration file's view from this revision on; None if it stays."""
    bulk: Bulk | None = None
    mode: Mode = "add"
    under: tuple[bytes, ...] = ()
    """Beginnings of keys: a bulk that replaces takes away only what is below them. Empty means everything."""
    most: int | None = None
    """How many entries of the bulk's kind there may be afterwards; TooManyError if it would be more."""
    back_to: int | None = None
    """Leads the entries of `back_kinds` back to what they were after that revision."""
    back_kinds: tuple[str, ...] = CONFIGURATION


class Committed(msgspec.Struct, frozen=True):
    """A change that stands in the journal. `entries` has one for each edit, None where it deleted."""

    revision: int
    entries: tuple[StoredEntry | None, ...] = ()
    summary: Summary = {}
    sample: tuple[tuple[StoredEntry | None, StoredEntry | None], ...] = ()
    """The first SAMPLE entries it changed, before and after."""


class Revision(msgspec.Struct, frozen=True):
    """One line of the history."""

    number: int
    time: float
    """Unix time, seconds."""
    actor: str
    reason: str
    op: str
    status: Status
    summary: Summary
    view: str
    """The digest of the file's view in force."""


def canonical(doc: dict[str, Any]) -> str:
    """The one text of a document: keys sorted, no spaces, members that are None left out."""
    kept = {name: value for name, value in doc.items() if value is not None}
    return msgspec.json.encode(kept, order="sorted").decode()


def view_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """The name of a view of the configuration files: equal for equal paths and texts in the same order."""
    return hashlib.sha256(msgspec.msgpack.encode(tuple(files))).hexdigest()
