"""What the configuration file says of names: `local-data` and `local-zone`, beside what came by API.

Owns the walk through those statements, which stay in the engine's scan and become objects a page at a time. Nobody
changes them by API: who tries is told file and line. It must never read the file again.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from runbound.config.model import Position
from runbound.engine import Scan
from runbound.ops.refusals import InFile

STEP: Final = 1000
"""Statements read at once."""
MAX_LOOKED: Final = 10_000
"""Statements looked at for one page: what is rare comes on a later page, and no call takes long."""
BLOCKS: Final = {
    "always_nxdomain": "nxdomain",
    "always_nodata": "nodata",
    "always_null": "null",
    "always_refuse": "refuse",
    "refuse": "refuse",
}
"""Types of `local-zone` that answer as a block does, and which one."""


class Stated(msgspec.Struct, frozen=True, array_like=True):
    """One statement."""

    number: int
    """Its place among all of them."""
    option: str
    name: str
    """Absolute, lower case."""
    type: str
    """Of the record, or of the zone."""
    ttl: int | None
    value: str
    file: str
    line: int

    @property
    def is_record(self) -> bool:
        """Whether it is data, no zone."""
        return self.option != "local-zone"

    @property
    def action(self) -> str | None:
        """What it blocks with; None if it is no block."""
        return None if self.is_record else BLOCKS.get(self.type)


def walk(scan: Scan | None, begin: int = 0, name: str | None = None, *, under: bool = False) -> Iterator[list[Stated]]:
    """Statements from a number on, in the order of the file, some at a time; with `name` those about it."""
    while scan is not None:
        rows = scan.local_data(begin, STEP, name, under)
        files = scan.files
        yield [Stated(*row[:6], files[row[6]], row[7]) for row in rows]
        if len(rows) < STEP:
            return
        begin = rows[-1][0] + 1


def page(
    scan: Scan | None, begin: int, limit: int, keep: Callable[[Stated], bool], name: str | None, *, under: bool
) -> tuple[list[Stated], int | None]:
    """Those wanted of a page, and the number at which the next one begins; None if there is none."""
    found: list[Stated] = []
    looked = 0
    for rows in walk(scan, begin, name, under=under):
        for row in rows:
            if len(found) == limit:
                return found, row.number
            if keep(row):
                found.append(row)
        looked += len(rows)
        if looked >= MAX_LOOKED:
            return found, rows[-1].number + 1
    return found, None


def refuse(scan: Scan | None, name: str, wanted: Callable[[Stated], bool]) -> None:
    """Raises InFile if the file says it of that name."""
    for rows in walk(scan, 0, name):
        for row in rows:
            if wanted(row):
                text = f"{row.name} {row.type} {row.value}" if row.is_record else f"{row.name} {row.type}"
                raise InFile(f"{row.option}: {text}", Position(row.file, row.line, 1))
