"""What is wrong with a configuration, where, and what to do: one record and its printed form.

Owns the shape of messages about configuration files. It must never decide whether something is wrong, and never read
a file: the source line is handed in.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

Severity = Literal["error", "warning", "note"]

_RED, _YELLOW, _BLUE, _BOLD, _OFF = "\x1b[31m", "\x1b[33m", "\x1b[34m", "\x1b[1m", "\x1b[0m"
_MAX_LINE = 160
"""Characters of a source line that are shown; a longer one is cut around the caret."""


class Diagnostic(msgspec.Struct, frozen=True):
    """One message about a configuration. `line` 0 means no place in a file."""

    severity: Severity
    file: str
    line: int
    column: int
    """From 1, in octets."""
    length: int
    """Octets of the line it is about; 0 draws a single caret."""
    text: str
    hint: str | None = None
    source: str = ""
    """The line of the file, without its end."""

    @property
    def where(self) -> str:
        """`file:line:column`, or the file alone."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    @property
    def headline(self) -> str:
        """One line: where and what."""
        word = "" if self.severity == "error" else f"{self.severity}: "
        place = f"{_clean(self.where)}: " if self.where else ""
        return f"{place}{word}{_clean(self.text)}"

    def __str__(self) -> str:
        return self.render()

    def render(self, *, color: bool = False) -> str:
        """The headline, the source line with a caret below, and the hint."""
        lines = [self._paint(self.headline) if color else self.headline]
        if self.line and self.source:
            source, at, width = self._excerpt()
            margin = f"{self.line:>6} | "
            caret = " " * at + "^" * width
            if color:
                caret = f"{self._color()}{caret}{_OFF}"
            lines += [f"{margin}{source}", f"{' ' * (len(margin) - 2)}| {caret}"]
        if self.hint:
            word = f"{_BLUE}help{_OFF}" if color else "help"
            lines.append(f"       {word}: {_clean(self.hint)}")
        return "\n".join(lines)

    def _color(self) -> str:
        return _RED if self.severity == "error" else _YELLOW

    def _paint(self, headline: str) -> str:
        place = _clean(self.where)
        if place and headline.startswith(place):
            return f"{_BOLD}{place}{_OFF}{self._color()}{headline[len(place) :]}{_OFF}"
        return f"{self._color()}{headline}{_OFF}"

    def _excerpt(self) -> tuple[str, int, int]:
        """The part of the line worth showing, and where in it the caret starts and how wide it is, in characters."""
        octets = self.source.encode("utf-8", "surrogateescape")
        before = _clean(octets[: self.column - 1].decode("utf-8", "replace"))
        marked = _clean(octets[self.column - 1 : self.column - 1 + max(self.length, 1)].decode("utf-8", "replace"))
        behind = _clean(octets[self.column - 1 + max(self.length, 1) :].decode("utf-8", "replace"))
        if len(before) > _MAX_LINE // 2:
            before = "…" + before[-_MAX_LINE // 2 :]
        if len(marked) > _MAX_LINE // 2:
            marked, behind = marked[: _MAX_LINE // 2] + "…", ""
        room = max(_MAX_LINE - len(before) - len(marked), 0)
        behind = behind if len(behind) <= room else behind[:room] + "…"
        return before + marked + behind, len(before), max(len(marked), 1)


def _clean(text: str) -> str:
    """The text with nothing in it that a terminal would obey; a tab becomes one blank so that carets stay below."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\t", " ")
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether any of them is an error."""
    return any(item.severity == "error" for item in diagnostics)


def count_errors(diagnostics: Iterable[Diagnostic]) -> int:
    """How many of them are errors."""
    return sum(item.severity == "error" for item in diagnostics)
