"""How the audit log and the caller are told of a change.

Owns the words: one audit entry for each thing that changed, or one with the count where they are many. It must never
tell more of an entry than a difference shows: no key and no secret.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from runbound.config.diagnostics import Diagnostic
from runbound.ops import users
from runbound.ops.outcome import Change
from runbound.ops.view import QUIET, Altered, Plan, shown
from runbound.state.entries import Event

MAX_EVENTS: Final = 100
"""Audit entries of one change; one that changes more is told in an entry for each kind, with the count."""
WORDS: Final = {"added": "add", "changed": "change", "removed": "delete"}
SPECIAL: Final = {
    ("setting", "added"): "setting.change",
    ("setting", "removed"): "setting.change",
    ("negative-anchor", "added"): "anchor.excuse",
    ("negative-anchor", "changed"): "anchor.excuse",
    ("negative-anchor", "removed"): "anchor.validate",
}
"""Kind and what happened to it → event, where it is not kind.word."""


def events(change: Change, plan: Plan, altered: Sequence[Altered]) -> tuple[Event, ...]:
    """The audit entries of a change."""
    actor, op = change.actor, plan.op
    common = {**change.request, "reason": change.reason}
    loud = [item for item in altered if item.edit.kind not in QUIET]
    if plan.bulk is not None:
        return (Event(f"{plan.bulk.kind}.import", actor, {**common, "mode": plan.mode, "count": plan.bulk.count}),)
    if plan.back_to is not None:
        return (Event(f"config.{op}", actor, {**common, "to": plan.back_to}),)
    if op != "edit":
        words = Counter(f"{item.edit.kind}.{item.word}" for item in loud)
        return (Event(f"config.{op}", actor, {**common, **words}),)
    if len(loud) <= MAX_EVENTS:
        return tuple(Event(_event(item), actor, {**common, **shown(item.edit.kind, item.doc)}) for item in loud)
    kinds: dict[str, Counter[str]] = {}
    for item in loud:
        kinds.setdefault(item.edit.kind, Counter())[item.word] += 1
    return tuple(Event(f"{kind}.import", actor, {**common, **counts}) for kind, counts in kinds.items())


def refused(error: Exception) -> Diagnostic:
    """What the engine says against a change, as a finding without a place."""
    return Diagnostic("error", "", 0, 0, 0, str(error))


def _event(item: Altered) -> str:
    if item.edit.kind == users.KIND and _rotated(item):
        return "key.rotate"
    return SPECIAL.get((item.edit.kind, item.word), f"{item.edit.kind}.{WORDS[item.word]}")


def _rotated(item: Altered) -> bool:
    """Whether a user has another key now, or the API key is another."""
    if not users.names_user(item.edit.key):
        return True
    return item.before is not None and item.edit.doc is not None and item.doc["key"] != item.before.doc["key"]
