"""What a plan sees, and what it wants: the state under the writer's lock, and the edits that it would make of it.

Owns the picture of a state in which the edits of a batch are already thought of, and how a change reads to people. It
must never write: a plan only says what it would, and may be asked twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from runbound.config.model import Config
from runbound.engine import Bulk, Scan
from runbound.ops.candidate import Files
from runbound.state.entries import Committed, Edit, Event, Mode, Pending, Revision, StoredEntry, Summary

if TYPE_CHECKING:
    from runbound.state.journal import Part

MAX_DIFF_LINES: Final = 100
"""Lines of a difference that are shown; of a bulk change nobody reads more."""

QUIET: Final = frozenset({"base", "unconfirmed"})
"""Kinds that are book-keeping: no difference shows them, and the event of the operation tells of them."""
Row = tuple[str, bytes]


class Kept(Protocol):
    """The store as changes use it; `runbound.state` tells what each means."""

    @property
    def revision(self) -> int: ...
    def get(self, kind: str, key: bytes) -> StoredEntry | None: ...
    def by_id(self, kind: str, id: int) -> StoredEntry | None: ...  # noqa: A002  # the member's name everywhere
    def count(self, kind: str) -> int: ...
    def page(
        self,
        kind: str,
        *,
        after: bytes | None,
        limit: int,
        under: bytes | None = None,
        search: str | None = None,
    ) -> list[StoredEntry]: ...
    def commit(self, batch: Sequence[Pending]) -> list[Committed]: ...
    def preview(self, pending: Pending) -> Committed: ...
    def parts_of(self, revision: int) -> "Iterable[Part]": ...
    def applied(self, revisions: Sequence[int]) -> None: ...
    def failed(self, revision: int, why: str, events: Sequence[Event] = ()) -> int: ...
    def touch(self, id: int, at: int) -> None: ...  # noqa: A002
    def last_used(self, ids: Sequence[int]) -> dict[int, int]: ...
    def journal(self, *, before: int | None, limit: int) -> list[Revision]: ...
    def change_of(self, revision: int) -> Iterable[tuple[StoredEntry | None, StoredEntry | None]]: ...
    def at(self, revision: int, kinds: Iterable[str]) -> Iterable[Edit]: ...
    def keep_view(self, files: Files) -> str: ...
    def view(self, digest: str) -> Files: ...
    @property
    def head_view(self) -> str: ...
    def rows(self, kind: str) -> Iterable[bytes]: ...
    @property
    def newest(self) -> int: ...
    @property
    def pending(self) -> list[Revision]: ...


class Plan(msgspec.Struct, frozen=True):
    """What a change would do: edits, or one bulk. Without either nothing changes, and there is no new revision."""

    edits: tuple[Edit, ...] = ()
    bulk: Bulk | None = None
    mode: Mode = "add"
    events: tuple[Event, ...] = ()
    """Audit entries in place of those that are made of the edits."""
    under: tuple[bytes, ...] = ()
    """Beginnings of keys: a bulk that replaces takes away only what is below them. Empty means everything."""
    back_to: int | None = None
    """Leads what is configured (not the users) back to what it was after that revision."""
    op: str = "edit"
    """What the history calls it."""
    files: bool = False
    """`scan` is what stands beneath the layer from now on."""
    scan: Scan | None = None
    view: str | None = None
    """The digest of those files, if it is known."""


class Again(Exception):  # noqa: N818  # no error: the plan looks at what another change of its batch writes
    """The plan has to wait until the batch before it is written."""


class Scope:
    """What the changes of a batch write, by kind and key and by id, before it is written."""

    def __init__(self) -> None:
        self.touched: set[Row] = set()
        self.ids: set[tuple[str, int]] = set()
        self.more: dict[str, int] = {}
        """Kind to how many entries the batch adds, less those it takes away."""

    def take(self, changed: "Iterable[Altered]") -> None:
        """Counts a change in."""
        for item in changed:
            self.touched.add((item.edit.kind, item.edit.key))
            self.more[item.edit.kind] = self.more.get(item.edit.kind, 0) + item.growth
            if item.before is not None:
                self.touched.add((item.before.kind, item.before.key))
                self.ids.add((item.before.kind, item.before.id))


class View:
    """The state as a plan sees it, under the writer's lock. It is good for one call of the plan."""

    def __init__(self, store: Kept, scope: Scope, config: Config, scan: Callable[[], Scan | None]) -> None:
        self._store = store
        self._scope = scope
        self._scan = scan
        self.config = config
        """The effective configuration: the file's with what the API changed."""
        self.revision = store.revision

    @property
    def scan(self) -> Scan | None:
        """The configuration file in force as it was read, with its bulk statements."""
        return self._scan()

    def get(self, kind: str, key: bytes) -> StoredEntry | None:
        """The entry of that key."""
        if (kind, key) in self._scope.touched:
            raise Again
        return self._store.get(kind, key)

    def by_id(self, kind: str, id: int) -> StoredEntry | None:  # noqa: A002  # the member's name everywhere
        """The entry of that id."""
        if (kind, id) in self._scope.ids:
            raise Again
        return self._store.by_id(kind, id)

    def count(self, kind: str) -> int:
        """How many entries of a kind there are."""
        return self._store.count(kind) + self._scope.more.get(kind, 0)

    def page(
        self,
        kind: str,
        *,
        after: bytes | None = None,
        limit: int = 1000,
        under: bytes | None = None,
        search: str | None = None,
    ) -> list[StoredEntry]:
        """Entries in the order of their keys, from behind `after`."""
        if any(of == kind and key.startswith(under or b"") for of, key in self._scope.touched):
            raise Again
        return self._store.page(kind, after=after, limit=limit, under=under, search=search)

    def all(self, kind: str) -> Iterator[StoredEntry]:
        """Every entry of a kind that has few (settings, upstreams, users)."""
        after: bytes | None = None
        while found := self.page(kind, after=after):
            yield from found
            after = found[-1].key


class Altered(msgspec.Struct, frozen=True):
    """One edit that changes something, and what stood there before."""

    edit: Edit
    before: StoredEntry | None

    @property
    def growth(self) -> int:
        """1 for a new entry, -1 for one that goes."""
        return (self.edit.doc is not None) - (self.before is not None)

    @property
    def after(self) -> dict[str, Any] | None:
        """The document as it will be, None if it goes."""
        return None if self.edit.doc is None else dict(msgspec.json.decode(self.edit.doc))

    @property
    def doc(self) -> dict[str, Any]:
        """The document as it will be, or as it was before it goes."""
        return self.after or (self.before.doc if self.before is not None else {})

    @property
    def word(self) -> str:
        """What happens to it, as the summary counts it."""
        return {1: "added", 0: "changed", -1: "removed"}[self.growth]


class Diff(msgspec.Struct, frozen=True):
    """What a change changes, for people."""

    summary: Summary
    """Kind to counts of `added`, `changed`, `removed`."""
    lines: tuple[str, ...]
    """`+ …` and `- …`, MAX_DIFF_LINES at most."""
    more: int = 0
    """Lines left out."""


def difference(altered: Sequence[Altered]) -> Diff:
    """What these edits change."""
    summary: Summary = {}
    for item in altered:
        if item.edit.kind not in QUIET:
            counts = summary.setdefault(item.edit.kind, {})
            counts[item.word] = counts.get(item.word, 0) + 1
    return _diff(summary, ((item.edit.kind, _doc(item.before), item.after) for item in altered))


def difference_of(done: Committed) -> Diff:
    """What a change has done, by its sample: of many entries the first are shown."""
    summary = {kind: counts for kind, counts in done.summary.items() if kind not in QUIET}
    pairs = ((before or after, before, after) for before, after in done.sample)
    return _diff(summary, ((either.kind, _doc(before), _doc(after)) for either, before, after in pairs if either))


def _doc(entry: StoredEntry | None) -> dict[str, Any] | None:
    return None if entry is None else entry.doc


def _diff(summary: Summary, changed: Iterable[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]) -> Diff:
    lines: list[str] = []
    for kind, before, after in changed:
        for sign, doc in (("-", before), ("+", after)) if kind not in QUIET else ():
            if doc is not None:
                lines.append(f"{sign} {line(kind, doc)}")
    whole = sum(count * (1 + (word == "changed")) for counts in summary.values() for word, count in counts.items())
    return Diff(summary, tuple(lines[:MAX_DIFF_LINES]), whole - min(len(lines), MAX_DIFF_LINES))


_SHOWN: Final = {
    "setting": ("option", "values"),
    "record": ("name", "ttl", "type", "value"),
    "block": ("name", "action", "target"),
    "upstream": ("zone", "address", "port", "transport", "tls_name"),
    "negative-anchor": ("name", "until", "reason"),
    "user": ("name", "role", "zones"),
    "base": ("revision",),
    "unconfirmed": ("revision", "until"),
}
"""The members of a document that a difference shows, by kind. What is not named here stays out: keys above all."""


def line(kind: str, doc: dict[str, Any]) -> str:
    """A document on one line."""
    if kind == "setting":
        return f"{doc['option']}: {', '.join(map(str, doc['values']))}"
    parts = [value for value in shown(kind, doc).values() if value not in (None, [], "")]
    words = [" ".join(map(str, part)) if isinstance(part, list) else str(part) for part in parts]
    words += [word for member, word in (("enabled", "(disabled)"), ("disabled", "(disabled)")) if _off(doc, member)]
    return " ".join([kind, *words])


def shown(kind: str, doc: dict[str, Any]) -> dict[str, Any]:
    """The members of a document that people may see everywhere."""
    return {member: doc[member] for member in _SHOWN.get(kind, ()) if member in doc}


def _off(doc: dict[str, Any], member: str) -> bool:
    value = doc.get(member)
    return value is False if member == "enabled" else value is True
