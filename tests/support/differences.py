"""Where runbound answers otherwise than Unbound on purpose: each with its reason.

Owns the table that the differential test allows and that `docs/differences.md` shows. Nothing else may excuse a
difference; a row that no question meets any more fails the test of the whole table in `./dev accept`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.packets import Ask, Seen


@dataclass(frozen=True)
class Difference:
    """One difference that is meant."""

    what: str
    unbound: str
    runbound: str
    why: str
    applies: Callable[[str, Ask, str, Seen, Seen], bool]
    """Scene, question, the field that differs, Unbound's answer, runbound's."""


DIFFERENCES: tuple[Difference, ...] = ()
"""Every difference allowed."""


def allowed(scene: str, ask: Ask, field: str, unbound: Seen, runbound: Seen) -> Difference | None:
    """The row that covers one differing field, if there is one."""
    for row in DIFFERENCES:
        if row.applies(scene, ask, field, unbound, runbound):
            return row
    return None
