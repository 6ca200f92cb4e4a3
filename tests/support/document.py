"""A document whose blocks are executed: `docs/hsm.md` read as scripts, chapter by chapter.

Owns what the first line of a fenced block means. ```sh runs, each line has to succeed, and what stands after `# →` has
to be in what the lines before it printed (`…` stands for anything). A path after `conf` or `ini` is the file that the
block is. ```text journal has to be in the service's log, line by line in this order. ```yaml is a CI job. A block
marked `elsewhere` is not run; one marked `stand-in` runs with the module that the caller names. A chapter with
`<!-- after: TITLE -->` is run on a machine where that chapter was run before.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
AFTER = re.compile(r"<!-- after: (.*?) -->")
EXPECTED = re.compile(r"^# → (.*)$", re.MULTILINE)
MODULE = re.compile(r"^( *hsm-pkcs11-lib: +).*$", re.MULTILINE)
MARK = "=====expected====="


class Block(NamedTuple):
    """What it is (sh, conf, ini, text, yaml), what its first line says of it, and its text."""

    kind: str
    note: str
    text: str


class Chapter(NamedTuple):
    """A part of the document under one title."""

    title: str
    text: str
    after: str | None
    blocks: tuple[Block, ...]

    @property
    def runs(self) -> bool:
        """Whether anything in it is executed as commands."""
        return any(block.kind == "sh" and block.note != "elsewhere" for block in self.blocks)


def chapters(path: Path) -> dict[str, Chapter]:
    """The chapters of a document by title; those of the third level stand for themselves."""
    found = {}
    for part in re.split(r"^##+ ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        after = AFTER.search(text)
        blocks = tuple(Block(kind, note or "", body) for kind, note, body in BLOCK.findall(text))
        found[title] = Chapter(title, text, after and after[1], blocks)
    return found


def script(chapter: Chapter, module: str | None = None) -> tuple[str, list[str]]:
    """What somebody would type who follows the chapter, and what the document says they will see, in order.

    `module` takes the place of the one that the document's configurations name. Each expectation ends a piece of what
    is printed; the pieces are told apart by `MARK`.
    """
    lines, expected = ["set -eo pipefail"], []
    for block in chapter.blocks:
        if block.note == "elsewhere":
            continue
        if block.kind == "sh":
            text = EXPECTED.sub(f"echo {MARK}", block.text)
            expected += EXPECTED.findall(block.text)
            lines += ["set -x", text, "{ set +x; } 2>/dev/null"]
        elif block.kind in {"conf", "ini"}:
            name = "/etc/runbound/runbound.conf" if block.note == "stand-in" else block.note
            text = block.text if module is None else MODULE.sub(rf"\g<1>{module}", block.text)
            lines.append(f"printf %s {shlex.quote(text)} | install -D -m 644 /dev/stdin {name}")
        elif block.note == "journal":
            lines.append("echo journal; cat /run/journal")
    return "\n".join(lines), expected


def fits(expected: str, printed: str) -> bool:
    """Whether a line that the document shows is in what was printed."""
    return re.search(".*".join(map(re.escape, expected.strip().split("…"))), printed) is not None


def missing(chapter: Chapter, expected: list[str], printed: str) -> list[str]:
    """What the document shows and was not seen."""
    pieces = re.split(rf"^{MARK}\n", printed, flags=re.MULTILINE)
    lost = [f"# → {line}" for line, piece in zip(expected, pieces, strict=False) if not fits(line, _said(piece))]
    if len(pieces) != len(expected) + 1:
        lost.append(f"{len(pieces) - 1} of {len(expected)} expectations were reached")
    at = 0
    for block in chapter.blocks:
        if block.kind == "text" and block.note == "journal":
            for line in block.text.splitlines():
                found = printed.find(line, at)
                if found < 0:
                    lost.append(f"in the journal: {line}")
                else:
                    at = found + len(line)
    return lost


def _said(piece: str) -> str:
    """What commands printed, without the lines by which the shell shows what it does."""
    return "\n".join(line for line in piece.splitlines() if not re.match(r"\++ ", line))
