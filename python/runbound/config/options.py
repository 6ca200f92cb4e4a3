"""The options table: every option of unbound.conf and of ours, what it means, and whether code honours it.

Owns `options.tsv`, which Rust's scanner reads too, and the registry of honoured options. A room that reads an option
says so here with `honour()` at the top of the module that reads it; nothing else makes an option count as honoured.
This module must never import another room and must stay quick: everything that starts imports it.
"""

import os
from collections.abc import Iterator
from functools import cache
from typing import Final, Literal, cast

import msgspec

Tier = Literal["honour", "map", "accept"]
Effect = Literal["encrypts", "filters", "restricts", "answers", "anchors", "upkeep"]

BULK: Final = frozenset({"local-zone", "local-data", "local-data-ptr"})
"""Options of `server:` that never become Python objects; see the scanner."""

SINGLE_CLAUSES: Final = ("server", "remote-control", "python", "dynlib", "dnscrypt", "cachedb", "ipset", "dnstap")
"""Clauses that go on where they were left when they are opened again."""

ITEM_CLAUSES: Final = ("forward-zone", "stub-zone", "auth-zone", "rpz", "view")
"""Clauses of which every opening is an item of its own."""


SECRETS: Final = frozenset(
    {
        "api-key",
        "audit-log-hmac-key",
        "cookie-secret",
        "hsm-pin",
        "redis-server-password",
        "redis-replica-server-password",
        "secret-seed",
        "sync-key",
    }
)
"""Options whose value is a secret itself (not a path to one): it is never shown, nor a line that holds it."""


class Option(msgspec.Struct, frozen=True):
    """One row of the table."""

    clause: str
    """Empty for a clause keyword."""
    name: str
    alias_of: str
    """The option of the same clause that this is another name of; empty if it is none."""
    arity: int
    value_type: str
    """A word of `values` for each value."""
    default: str
    """As it would be written; empty where there is none or where it is found out at start."""
    repeatable: str
    """`no` (the last wins), `yes` (they add up), `once` (a second is an error); for clauses `merge` or `yes`."""
    since: str
    tier: Tier
    """`honour`: does what Unbound does. `map`: does it our way. `accept`: is read and has no effect, ever."""
    reason: str
    """What a mapped option becomes, or why an accepted one has no effect."""
    effect: Effect
    """What would be missing if it is not honoured yet; says whether a resolver may start without it."""
    live: str
    """`yes`: a reload applies it. `restart`: read once, when the process starts. `no`: nothing reads its value."""
    doc: str

    @property
    def many(self) -> bool:
        """Whether its values add up to a list."""
        return self.repeatable == "yes"

    @property
    def types(self) -> tuple[str, ...]:
        """The type of each value."""
        return tuple(self.value_type.split())

    @property
    def field(self) -> str:
        """Its name in the model."""
        return self.name.replace("-", "_")

    @property
    def in_model(self) -> bool:
        """Whether the model has a field for it: not for aliases, clauses, removed options and bulk."""
        if self.alias_of or not self.clause or self.value_type == "ignored":
            return False
        return not (self.clause == "server" and self.name in BULK)


class Table(msgspec.Struct, frozen=True):
    """The whole table."""

    rows: tuple[Option, ...]
    by_name: dict[tuple[str, str], Option]


@cache
def table() -> Table:
    """The table, read once."""
    with open(os.path.join(os.path.dirname(__file__), "options.tsv"), encoding="utf-8") as file:
        lines = file.read().splitlines()[1:]
    rows = []
    for line in lines:
        clause, name, alias, arity, kind, default, repeat, since, tier, reason, effect, live, doc = line.split("\t")
        rows.append(
            Option(
                *(clause, name, alias, int(arity), kind, default, repeat, since),
                *(cast("Tier", tier), reason, cast("Effect", effect), live, doc),
            )
        )
    return Table(tuple(rows), {(row.clause, row.name): row for row in rows})


def every(clause: str | None = None) -> Iterator[Option]:
    """The options of a clause, or of all, in the order of the table; no clause keywords."""
    return (row for row in table().rows if row.clause and clause in (None, row.clause))


def find(clause: str, name: str) -> Option | None:
    """The option of that name in that clause, if there is one."""
    return table().by_name.get((clause, name))


def canonical(option: Option) -> Option:
    """The option an alias stands for; any other is itself."""
    return table().by_name[option.clause, option.alias_of] if option.alias_of else option


_honoured: Final[set[tuple[str, str]]] = set()


def honour(clause: str, *names: str) -> None:
    """Registers options that the calling module reads. Raises ValueError for a name that is not in the table."""
    for name in names:
        option = find(clause, name)
        if option is None:
            raise ValueError(f"{clause}: {name} is not in the options table")
        _honoured.add((clause, canonical(option).name))


def honoured(option: Option) -> bool:
    """Whether some room has registered for this option, under this name or the one it is an alias of."""
    return (option.clause, canonical(option).name) in _honoured
