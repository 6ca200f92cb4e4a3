"""Who changes something and why, and what came of it: the words that callers of the write path use.

Owns plain records alone.
"""

from collections.abc import Callable

import msgspec

from runbound.config.diagnostics import Diagnostic
from runbound.ops.candidate import Changed
from runbound.ops.view import Diff
from runbound.state.entries import StoredEntry


def _nothing() -> None:
    """Nobody wants to know."""


class Change(msgspec.Struct, frozen=True):
    """Who changes something, and why. Both end up in the log, the history and the audit trail.

    `request` is what the audit trail says besides: method and path of a call. `written` is called once the change's
    audit entry stands in the state.
    """

    actor: str
    reason: str
    request: dict[str, object] = {}
    written: Callable[[], None] = _nothing


class Edited(msgspec.Struct, frozen=True):
    """What a change did, or with `dry_run` would do. It runs in every worker."""

    revision: int
    """The new one; the one in force if nothing changed."""
    entries: tuple[StoredEntry | None, ...] = ()
    """One for each edit of the plan as it is now, None where it deleted. Of a dry run: as it was."""
    diff: Diff = Diff({}, ())
    dry_run: bool = False
    changes: tuple[Changed, ...] = ()
    """Options of the configuration that changed with it."""
    warnings: tuple[Diagnostic, ...] = ()
    confirm: str | None = None
    """The token that keeps the change, where it reverts by itself."""
    pinned: int | None = None
    """The revision whose view of the configuration file is in force instead of the file as it is, after a rollback."""

    @property
    def needs_restart(self) -> tuple[str, ...]:
        """Options that changed and wait for a restart."""
        return tuple(item.option for item in self.changes if item.effect == "restart")


class Rejected(msgspec.Struct, frozen=True):
    """Nothing changed; the diagnostics (errors first come as they stand in the file) say why."""

    diagnostics: tuple[Diagnostic, ...]
