"""Cutting a dump that comes in: no entry is torn, nothing is lost, however the octets arrive."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbound.ops import dump
from runbound.ops.dump import Cutter, NotADumpError


def whole(rrsets: list[bytes], messages: list[bytes], end: bytes = b"\n") -> bytes:
    lines = [b"START_RRSET_CACHE", *rrsets, b"END_RRSET_CACHE", b"START_MSG_CACHE", *messages, b"END_MSG_CACHE", b"EOF"]
    return end.join([*lines, b""])


def cut(text: bytes, step: int) -> list[bytes]:
    cutter = Cutter()
    pieces = [piece for at in range(0, len(text), step) for piece in cutter.feed(text[at : at + step])]
    return [*pieces, *cutter.finish()]


def sections(pieces: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The lines of both sections of all pieces; each piece has to be a dump."""
    rrsets: list[bytes] = []
    messages: list[bytes] = []
    for piece in pieces:
        lines = piece.split(b"\n")
        middle = lines.index(b"END_RRSET_CACHE")
        assert lines[0] == b"START_RRSET_CACHE"
        assert lines[middle + 1] == b"START_MSG_CACHE"
        assert lines[-3:] == [b"END_MSG_CACHE", b"EOF", b""]
        rrsets += lines[1:middle]
        messages += lines[middle + 2 : -3]
        for part, begins in ((lines[1:middle], b";rrset"), (lines[middle + 2 : -3], b"msg ")):
            assert not part or part[0].startswith(begins)
    return rrsets, messages


@settings(max_examples=60)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 500), st.booleans())
def test_pieces_are_dumps_and_hold_everything(sets: int, messages: int, step: int, crlf: bool) -> None:
    rrsets = [line for n in range(sets) for line in (b";rrset 300 2 0 8 0", b"a%d. 300 IN A 192.0.2.1" % n, b"a. A b")]
    msgs = [line for n in range(messages) for line in (b"msg a%d. IN A 33152 1 300 0 1 0 0" % n, b"a%d. IN A 0" % n)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dump, "PIECE_BYTES", 100)
        pieces = cut(whole(rrsets, msgs, b"\r\n" if crlf else b"\n"), step)
    assert sections(pieces) == (rrsets, msgs)
    assert all(len(piece) < 400 for piece in pieces)


def test_what_follows_the_end_is_nobodys() -> None:
    text = whole([b";rrset 1", b"a. A"], [])
    assert cut(text + b";rrset more\n" * 9, 7) == cut(text, 7)


@pytest.mark.parametrize("text", [b"", b"GIF89a", b"\n\nhello\n", b"msg a. IN A\n"])
def test_what_is_no_dump(text: bytes) -> None:
    with pytest.raises(NotADumpError):
        cut(text, 3)


def test_an_endless_line_or_entry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "MAX_ENTRY_BYTES", 1000)
    monkeypatch.setattr(dump, "PIECE_BYTES", 100)
    for endless in (b"x" * 5000, b"a. IN A 192.0.2.1\n" * 500):
        with pytest.raises(NotADumpError):
            cut(b"START_RRSET_CACHE\n;rrset 1\n" + endless, 50)


def test_a_sender_that_breaks_off_leaves_whole_lines_for_the_engine_to_judge() -> None:
    cutter = Cutter()
    assert list(cutter.feed(b"START_RRSET_CACHE\n;rrset 1\na. A 1")) == []
    (piece,) = cutter.finish()
    assert sections([piece]) == ([b";rrset 1", b"a. A 1"], [])
    assert not cutter.ended
