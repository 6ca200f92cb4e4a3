"""The state of a process that has none: it counts revisions, so that reloads have their numbers, and keeps nothing.

It must never take an edit: `ops.change` refuses those and says why.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from runbound.ops.candidate import Files
from runbound.ops.refusals import StateUnavailable
from runbound.state.entries import Committed, Edit, Event, Pending, Revision, StoredEntry

if TYPE_CHECKING:
    from runbound.state.journal import Part


class Nowhere:
    """What stands in for the store. `why` is what whoever wants to change something is told."""

    def __init__(self, why: StateUnavailable, revision: int = 1) -> None:
        self.why = why
        self.revision = revision
        self.head_view = ""
        self.pending: list[Revision] = []

    @property
    def newest(self) -> int:
        return self.revision

    def get(self, _kind: str, _key: bytes) -> StoredEntry | None:
        return None

    def by_id(self, _kind: str, _id: int) -> StoredEntry | None:
        return None

    def count(self, _kind: str) -> int:
        return 0

    def page(
        self,
        _kind: str,
        *,
        after: bytes | None,
        limit: int,
        under: bytes | None = None,
        search: str | None = None,
    ) -> list[StoredEntry]:
        return []

    def rows(self, _kind: str) -> Iterable[bytes]:
        return ()

    def commit(self, batch: Sequence[Pending]) -> list[Committed]:
        committed = []
        for pending in batch:
            assert not pending.edits
            self.revision += 1
            committed.append(Committed(self.revision, ()))
        return committed

    def preview(self, _pending: Pending) -> Committed:
        return Committed(self.revision)

    def parts_of(self, _revision: int) -> "Iterable[Part]":
        return ()

    def applied(self, _revisions: Sequence[int]) -> None:
        pass

    def failed(self, _revision: int, _why: str, _events: Sequence[Event] = ()) -> int:
        return self.revision

    def touch(self, _id: int, _at: int) -> None:
        pass

    def last_used(self, _ids: Sequence[int]) -> dict[int, int]:
        return {}

    def journal(self, *, before: int | None, limit: int) -> list[Revision]:
        return []

    def change_of(self, _revision: int) -> Iterable[tuple[StoredEntry | None, StoredEntry | None]]:
        return ()

    def at(self, _revision: int, _kinds: Iterable[str]) -> Iterable[Edit]:
        return ()

    def keep_view(self, _files: Files) -> str:
        return ""

    def view(self, digest: str) -> Files:
        raise LookupError(digest)
