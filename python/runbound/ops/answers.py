"""Records and blocks on their way to the engine: all of them at a start, single ones as they change.

Owns the form in which entries of the state cross. It must never make an entry a Python object that need not be one.
"""

import threading
from typing import Final

import msgspec

from runbound.engine import Overlay
from runbound.ops.view import Kept
from runbound.state.entries import StoredEntry, canonical

ANSWERS: Final = ("record", "block")
"""Kinds that the engine answers from."""
_NO_CODE: Final = "0" * 32
"""In the place of a row's code: what is read from the state was proven there."""


def answers(store: Kept) -> Overlay:
    """Everything there is, proven. Raises StateTamperedError.

    A second thread takes one piece while this one reads and proves the next: a million entries hold up a start. No pool
    of the library does it: rights are dropped by now, and its files may be where this account cannot read.
    """
    whole = Overlay()
    broken: list[ValueError] = []
    loading: threading.Thread | None = None

    def load(kind: str, piece: bytes) -> None:
        try:
            whole.load(kind, piece)
        except ValueError as error:
            broken.append(error)

    def wait() -> None:
        if loading is not None:
            loading.join()
        if broken:
            # A row can be genuine and say what no entry says, where the key is one that everybody knows.
            from runbound.state.database import StateTamperedError  # it brings SQLite

            raise StateTamperedError(str(broken[0])) from broken[0]

    for kind in ANSWERS:
        for piece in store.rows(kind):
            wait()
            loading = threading.Thread(target=load, args=(kind, piece), name="overlay")
            loading.start()
    wait()
    return whole


def rows_of(entry: StoredEntry) -> bytes:
    """One entry as ROWS."""
    return msgspec.json.encode([[entry.id, entry.key.hex(), canonical(entry.doc), entry.revision, _NO_CODE]])
