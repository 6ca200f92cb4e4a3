"""The effective configuration as a flat list: every option with its value and where it was said.

Used twice: `ops.change` compares two lists to tell what a change changed, and the API shows one. It must never change
anything, and marks secrets (`options.SECRETS`), which nobody may show.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from runbound.config import options
from runbound.config.model import Config, Entry, Position


class Setting(msgspec.Struct, frozen=True):
    """One option of one clause. `name` tells clauses of a kind apart (a zone's name), empty for single ones."""

    clause: str
    name: str
    option: str
    value: object
    given: tuple[Position, ...]

    @property
    def secret(self) -> bool:
        """Whether the value must not be shown."""
        return self.option in options.SECRETS

    @property
    def title(self) -> str:
        """How a person names it: `port`, `forward-zone "example.": forward-addr`."""
        if self.clause == "server":
            return self.option
        return f'{self.clause} "{self.name}": {self.option}' if self.name else f"{self.clause}: {self.option}"


def settings(config: Config) -> Iterator[Setting]:
    """Every option of the configuration, in the order of the model."""
    for field in config.__struct_fields__:
        value = getattr(config, field)
        if isinstance(value, tuple):
            for clause in value:
                if isinstance(clause, msgspec.Struct) and not isinstance(clause, Entry | Position):
                    yield from _clause(config, field.removesuffix("s").replace("_", "-"), clause, single=False)
        elif isinstance(value, msgspec.Struct):
            yield from _clause(config, field.replace("_", "-"), value, single=True)


def changed(before: Config, after: Config) -> Iterator[Setting]:
    """The options whose value differs. One that went away is reported with the value None."""
    old = {(s.clause, s.name, s.option): s for s in settings(before)}
    for setting in settings(after):
        previous = old.pop((setting.clause, setting.name, setting.option), None)
        if previous is None or previous.value != setting.value:
            yield setting
    for gone in old.values():
        yield Setting(gone.clause, gone.name, gone.option, None, ())


def _clause(config: Config, keyword: str, clause: msgspec.Struct, *, single: bool) -> Iterator[Setting]:
    name = "" if single else str(getattr(clause, "name", ""))
    for field in clause.__struct_fields__:
        value = getattr(clause, field)
        if isinstance(value, Position):
            continue
        option = field.replace("_", "-")
        plain, positions = _plain(value)
        if not positions:
            positions = _places(config, keyword, clause, field, single=single)
        yield Setting(keyword, name, option, plain, positions)


def _places(config: Config, keyword: str, clause: msgspec.Struct, field: str, *, single: bool) -> tuple[Position, ...]:
    """Where an option with one value stands. Of a clause that may be repeated only its opening is known."""
    if single:
        return config.given(keyword, field.replace("_", "-"))
    if getattr(clause, field) == getattr(type(clause)(), field):
        return ()
    at = getattr(clause, "at", None)
    return (at,) if isinstance(at, Position) else ()


def _plain(value: Any) -> tuple[object, tuple[Position, ...]]:
    """The value without positions, and the positions. A list option becomes a list of texts as one would write them."""
    if isinstance(value, tuple):
        entries = [item for item in value if isinstance(item, Entry)]
        if len(entries) == len(value):
            return [" ".join(entry.values) for entry in entries], tuple(entry.at for entry in entries)
        return [_plain(item)[0] for item in value], ()
    return value, ()
