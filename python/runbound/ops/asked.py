"""A change on its way through the steps: what was asked, and what came of the asking.

Owns the two records that `change` hands from step to step. They must never act.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from runbound.ops import revert
from runbound.ops.candidate import Candidate, Changed
from runbound.ops.outcome import Change, Edited, Rejected
from runbound.ops.view import Altered, Diff, Plan, View
from runbound.state.entries import StoredEntry

ALONE: Final = ("unconfirmed", "negative-anchor")
"""Kinds with an effect of their own behind the commit: such a change shares its transaction with nobody."""


class Asked:
    """An edit that waits for its turn, and what came of it."""

    def __init__(
        self, change: Change, plan: Callable[[View], Plan], *, dry_run: bool = False, wait: revert.Wait | None = None
    ) -> None:
        self.change = change
        self.plan = plan
        self.dry_run = dry_run
        self.wait = wait
        self.result: Edited | Rejected | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None


class Ready(msgspec.Struct):
    """An edit that has been planned and may be committed."""

    asked: Asked
    plan: Plan
    entries: list[StoredEntry | None]
    """For each edit of the plan what is there already, None for those that change something."""
    altered: list[tuple[int, Altered]]
    """Position in the plan, and what it changes."""
    diff: Diff
    candidate: Candidate | None = None
    """The next configuration, where the edit changes it."""
    changes: tuple[Changed, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether it may share its transaction with nobody."""
        plan = self.plan
        return bool(self.candidate or plan.bulk or plan.back_to or self.asked.wait or self.touches(*ALONE))

    def touches(self, *kinds: str) -> bool:
        """Whether it changes an entry of one of these kinds."""
        return any(item.edit.kind in kinds for _, item in self.altered)
