"""Records and blocks on their way from the state to the engine."""

import contextlib
import json
from pathlib import Path

import pytest

from runbound import engine
from runbound.engine import Bulk, SecretKey, mac_row
from runbound.ops.answers import answers
from runbound.state.database import StateTamperedError
from runbound.state.entries import Note, Pending
from support.stores import Opener


class Rows:
    """A store that has just these rows of blocks."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def rows(self, kind: str) -> tuple[bytes, ...]:
        return self.pieces if kind == "block" else ()


def test_everything_kept_is_taken(tmp_path: Path) -> None:
    names = Bulk("block", "names")
    names.feed(b"".join(b"n%d.example\n" % n for n in range(20_001)))
    assert names.finish() == []
    with contextlib.closing(Opener(tmp_path)) as opener:
        store = opener()
        store.commit([Pending(Note("test", "", "edit"), bulk=names)])
        assert isinstance(answers(store), engine.Overlay)


def test_a_row_that_is_genuine_and_says_nothing_is_refused_by_name() -> None:
    doc, key = '{"name":"a.example.","action":"explode"}', SecretKey.public()
    mac = mac_row(key, "block", 7, b"example\0a\0\0", doc, 1)[:16].hex()
    rows = json.dumps([[7, b"example\0a\0\0".hex(), doc, 1, mac]]).encode()
    with pytest.raises(StateTamperedError, match="block 7: action"):
        answers(Rows(b"[]", rows, b"[]"))  # type: ignore[arg-type]  # no more of it is used
