"""Records and blocks on their way to the engine: all of them at a start, single ones as they change.

Owns the form in which entries of the state cross. It must never make an entry a Python object that need not be one.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from runbound.engine import Overlay
from runbound.ops.view import Kept
from runbound.state.entries import StoredEntry, canonical

if TYPE_CHECKING:
    from concurrent.futures import Future

ANSWERS: Final = ("record", "block")
"""Kinds that the engine answers from."""
_NO_CODE: Final = "0" * 32
"""In the place of a row's code: what is read from the state was proven there."""


def answers(store: Kept) -> Overlay:
    """Everything there is, proven. Raises StateTamperedError.

    A second thread takes one piece while this one reads and proves the next: a million entries hold up a start.
    """
    from concurrent.futures import (
        ThreadPoolExecutor,
    )  # it brings logging: not before the first answer of an empty state

    whole = Overlay()
    loading: Future[None] | None = None
    with ThreadPoolExecutor(1, "overlay") as aside:
        for kind in ANSWERS:
            for piece in store.rows(kind):
                _taken(loading)
                loading = aside.submit(whole.load, kind, piece)
        _taken(loading)
    return whole


def rows_of(entry: StoredEntry) -> bytes:
    """One entry as ROWS."""
    return msgspec.json.encode([[entry.id, entry.key.hex(), canonical(entry.doc), entry.revision, _NO_CODE]])


def _taken(loading: "Future[None] | None") -> None:
    """Waits for a piece. A row can be genuine and say what no entry says, where the key is one that everybody knows."""
    try:
        if loading is not None:
            loading.result()
    except ValueError as error:
        from runbound.state.database import StateTamperedError  # it brings SQLite

        raise StateTamperedError(str(error)) from error
