"""Negative trust anchors (RFC 7646) that outlive a restart.

Owns what the state keeps of them: an entry each, until its time is over. What is in force is the engine's; it is asked
first and the state follows, so that what the state cannot keep is not in force either. Without a state they hold until
the process ends. An anchor that ended early, because its name validates again, is not looked for: after a restart
it holds until the engine sees that anew.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from runbound.engine import EngineError
from runbound.errors import RunboundError
from runbound.ops.actions import Actions
from runbound.ops.change import Changes
from runbound.ops.logging import ControlLog
from runbound.ops.outcome import Change
from runbound.ops.refusals import StateUnavailable
from runbound.ops.view import Plan, View
from runbound.state.entries import Edit, canonical

KIND: Final = "negative-anchor"


class Excusing(Protocol):
    """The part of the engine that a start needs."""

    def excuse(self, name: str, seconds: int, recheck_s: int, reason: str) -> bool: ...


def excuse(
    actions: Actions,
    changes: Changes,
    change: Change,
    name: str,
    seconds: int,
    reason: str,
    *,
    recheck_s: int,
    clock: Callable[[], float] = time.time,
) -> bool:
    """Does not validate a name for so many seconds; False if there are too many such names.

    `name` is absolute and in presentation form. Raises EngineError for a name that is none, and RunboundError if the
    state cannot keep it: then it is not in force.
    """
    if not actions.excuse(change.actor, name, seconds, reason, recheck_s=recheck_s):
        return False
    doc = {"name": name.lower(), "until": int(clock()) + seconds, "reason": reason, "recheck_s": recheck_s}
    try:
        _keep(changes, change, Edit(KIND, _key(name), canonical(doc)))
    except RunboundError:
        actions.excuse_no_more(change.actor, name)
        raise
    return True


def excuse_no_more(actions: Actions, changes: Changes, change: Change, name: str) -> bool:
    """Validates a name again; False if it is not excused. Raises as `excuse`; then a restart makes it again."""
    ended = actions.excuse_no_more(change.actor, name)
    _keep(changes, change, Edit(KIND, _key(name), None))
    return ended


def resume(engine: Excusing, changes: Changes, log: ControlLog, clock: Callable[[], float] = time.time) -> None:
    """Excuses again, at a start, what was excused before it, and forgets those whose time is over."""
    try:
        entries = changes.store.page(KIND, after=None, limit=1000)
    except StateUnavailable:
        return
    now = int(clock())
    over = [entry for entry in entries if entry.doc["until"] <= now]
    for entry in entries:
        if entry.doc["until"] > now:
            doc = entry.doc
            try:
                engine.excuse(doc["name"], doc["until"] - now, doc["recheck_s"], doc["reason"])
                log.notice("negative trust anchor made again", name=doc["name"], until=doc["until"])
            except EngineError as error:
                log.error("a negative trust anchor could not be made again", name=doc["name"], error=str(error))
    if over:
        edits = tuple(Edit(entry.kind, entry.key, None) for entry in over)
        try:
            changes.edit(Change("runbound", "the time of negative trust anchors is over"), lambda _view: Plan(edits))
        except RunboundError as error:
            log.warning("negative trust anchors whose time is over stay in the state", error=str(error))


def _key(name: str) -> bytes:
    return name.lower().encode()


def _keep(changes: Changes, change: Change, edit: Edit) -> None:
    def plan(_view: View) -> Plan:
        return Plan((edit,))

    try:
        changes.edit(change, plan)
    except StateUnavailable:
        return
