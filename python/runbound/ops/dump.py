"""A cache dump that comes in octet by octet, cut into small dumps that can be read one after another.

Owns the one thing it knows about Unbound's form: where an entry begins (`;rrset …` in the first section, `msg …` in the
second), so that no entry is ever torn. What an entry means is the engine's. It must never hold more than one piece.

Each piece is a dump of its own, with both sections and the closing line, and needs nothing of the piece before it but
that it was loaded: messages come last, as in the whole.
"""

from collections.abc import Iterator
from typing import Final

PIECE_BYTES: Final = 256 * 1024
"""Text handed to the engine at once, in octets: some thousand entries, read in milliseconds."""
MAX_ENTRY_BYTES: Final = 8 * 1024 * 1024
"""Longest entry, in octets: a set fills 64 KiB at most on the wire, but every record repeats the owner's name, and an
octet may take four. What is longer is no dump."""

_RRSETS: Final = (b"START_RRSET_CACHE", b"END_RRSET_CACHE")
_MESSAGES: Final = (b"START_MSG_CACHE", b"END_MSG_CACHE")
_END: Final = b"EOF"


class NotADumpError(ValueError):
    """What came is no dump; the text says why."""


class Cutter:
    """Cuts one dump. Feed it, then say `finish`; both give the pieces that are ready."""

    def __init__(self) -> None:
        self._rest = b""
        """The line that is not yet whole."""
        self._lines: list[bytes] = []
        self._size = 0
        self._section: tuple[bytes, bytes] | None = None
        self._started = False
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the closing line has come."""
        return self._ended

    def feed(self, octets: bytes) -> Iterator[bytes]:
        """Takes more of the text. Raises NotADumpError."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        if len(self._rest) > MAX_ENTRY_BYTES:
            raise NotADumpError(f"a line is longer than {MAX_ENTRY_BYTES} octets")
        for line in lines:
            yield from self._line(line)

    def finish(self) -> Iterator[bytes]:
        """The end of the text. Raises NotADumpError when nothing of a dump has come."""
        if self._rest:
            yield from self._line(self._rest)
            self._rest = b""
        yield from self._piece()
        if not self._started:
            raise NotADumpError("there is no START_RRSET_CACHE in it")

    def _line(self, line: bytes) -> Iterator[bytes]:
        line = line.rstrip(b"\r")
        if self._ended:
            return
        if line in (_RRSETS[0], _MESSAGES[0]):
            yield from self._piece()
            self._started = True
            self._section = _RRSETS if line == _RRSETS[0] else _MESSAGES
        elif line in (_RRSETS[1], _MESSAGES[1]):
            yield from self._piece()
            self._section = None
        elif line == _END:
            yield from self._piece()
            self._ended = True
        elif self._section is not None:
            if self._size >= PIECE_BYTES and line.startswith((b";rrset", b"msg ")):
                yield from self._piece()
            self._lines.append(line)
            self._size += len(line) + 1
            if self._size > PIECE_BYTES + MAX_ENTRY_BYTES:
                raise NotADumpError(f"an entry is longer than {MAX_ENTRY_BYTES} octets")
        elif line and not self._started:
            raise NotADumpError("it does not begin with START_RRSET_CACHE")

    def _piece(self) -> Iterator[bytes]:
        if self._lines and self._section is not None:
            inside = {section: self._lines if section is self._section else [] for section in (_RRSETS, _MESSAGES)}
            text = [line for section, lines in inside.items() for line in (section[0], *lines, section[1])]
            yield b"\n".join([*text, _END, b""])
        self._lines = []
        self._size = 0
