"""What a batch of changes means for the engine: the records and blocks that come and go.

Owns where they are taken from: a few are told from here, of many the journal has the rows. It must never apply them.
"""

from collections.abc import Iterable

from runbound.engine import Delta
from runbound.ops.answers import ANSWERS, rows_of
from runbound.ops.asked import Ready
from runbound.ops.view import Kept
from runbound.state.entries import Committed


def delta(store: Kept, batch: Iterable[tuple[Ready, Committed]]) -> Delta:
    """All that the batch puts and removes."""
    found = Delta()
    for planned, done in batch:
        if planned.plan.bulk is None and planned.plan.back_to is None:
            _few(found, planned, done)
        else:
            _many(found, store, planned, done)
    return found


def _few(found: Delta, planned: Ready, done: Committed) -> None:
    befores = (item.before for _, item in planned.altered)
    for entries, take in ((befores, found.remove_rows), (done.entries, found.put_rows)):
        for entry in entries:
            if entry is not None and entry.kind in ANSWERS:
                take(entry.kind, rows_of(entry))


def _many(found: Delta, store: Kept, planned: Ready, done: Committed) -> None:
    plan = planned.plan
    if plan.bulk is None or plan.mode != "add" or planned.touches(*ANSWERS):
        for part in store.parts_of(done.revision):
            bulky = plan.bulk is not None and part.kind == plan.bulk.kind
            if part.kind in ANSWERS and not (bulky and plan.mode == "add"):
                found.remove_rows(part.kind, part.before)
                if not bulky:  # edits beside the bulk, or the way back
                    found.put_rows(part.kind, part.after)
    if plan.bulk is not None and plan.mode != "remove":
        found.put(plan.bulk)
