"""`check --report`: what became of every directive that a file uses.

Owns the rows and their form as a table of plain text. It must never decide what is honoured: `start` and
the registry in `options` do. Before calling it, import every room that registers options, or nothing is honoured.
"""

from collections.abc import Iterable

import msgspec

from runbound.config import options, start
from runbound.config.model import Config


class Row(msgspec.Struct, frozen=True):
    """One directive."""

    clause: str
    directive: str
    times: int
    first: str
    """Where it stands first."""
    state: start.State
    detail: str
    """What it is mapped to, why it has no effect, or what is missing."""
    stops_start: bool


def rows(config: Config, bulk_counts: dict[str, tuple[int, int, int, int]] | None = None) -> tuple[Row, ...]:
    """A row for each directive used, in the order of the table. `bulk_counts` is the scan's."""
    found = []
    for use in start.uses(config):
        times = len(use.places)
        if use.clause == "server" and bulk_counts and use.name in bulk_counts:
            times = bulk_counts[use.name][0]
        directive = use.name or f"{use.clause}:"
        found.append(Row(use.clause, directive, times, str(use.places[0]), use.state, use.why, use.stops))
    return tuple(found)


def as_table(found: Iterable[Row]) -> str:
    """The rows as text, and how many there are of each kind."""
    listed = list(found)
    head = ("clause", "directive", "times", "first", "state", "detail")
    lines = [head]
    for row in listed:
        detail = f"{row.detail}; stops the start" if row.stops_start else row.detail
        lines.append((row.clause, row.directive, str(row.times), row.first, row.state, detail))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    table = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=True)), line[-1])).rstrip()
        for line in lines
    ]
    states: dict[str, int] = {}
    for row in listed:
        states[row.state] = states.get(row.state, 0) + 1
    stopping = sum(row.stops_start for row in listed)
    order = ("honoured", "mapped", "without effect", "not yet")
    summary = ", ".join(f"{states.get(state, 0)} {state}" for state in order)
    return "\n".join([*table, "", f"{len(listed)} directives: {summary} ({stopping} of them stop the start)"])


def value_of(config: Config, name: str) -> str | None:
    """What `-o name` prints: the value in force, one line an entry, None if there is no such option.

    Lists come newest first, as unbound-checkconf prints them. The clauses are looked through in the order of the
    table, `server` first; items such as forward zones have no single value and are left out.
    """
    for clause in options.SINGLE_CLAUSES:
        option = options.find(clause, name)
        if option is None:
            continue
        target = options.canonical(option)
        if not target.in_model:
            return None
        value = getattr(getattr(config, clause.replace("-", "_")), target.field)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return "\n".join(" ".join(entry.values) for entry in reversed(value))
        return str(value)
    return None
