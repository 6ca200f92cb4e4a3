"""`/config/history`, `/config/rollback`, `/config/confirm`: every change that led here, and the ways back."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from runbound.api import edits, problems
from runbound.api.auth import Operator, Reader
from runbound.api.body import Body
from runbound.api.context import Resolver
from runbound.api.edits import Asked, AskedRevertible
from runbound.api.outcome import Outcome, outcome
from runbound.ops import revert
from runbound.ops.view import QUIET, difference_of
from runbound.state.entries import Revision

router = APIRouter(tags=["config"])

Number = Annotated[int, Path(ge=1, le=2**53 - 1)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class RevisionItem(BaseModel):
    """One change."""

    revision: int
    time: float = Field(description="Unix time")
    actor: str
    reason: str
    op: str = Field(description="What kind of change", examples=["edit", "reload", "rollback"])
    status: Literal["pending", "applied", "failed"]
    summary: dict[str, dict[str, int]] = Field(
        description="How many entries of each kind it added, changed and removed",
        examples=[{"record": {"added": 2, "removed": 1}}],
    )


class Waiting(BaseModel):
    """A change that is taken back unless somebody confirms it."""

    revision: int
    until: int = Field(description="Unix time at which it is taken back")


class History(BaseModel):
    """Changes, the newest first."""

    items: list[RevisionItem]
    waiting: Waiting | None = Field(description="The change that waits for its confirmation, if there is one")


class RevisionDetail(RevisionItem):
    """One change, with what it changed."""

    diff: list[str] = Field(description="`+` what came, `-` what went; 100 lines at most")
    more: int = Field(description="Lines of the difference that are left out")
    file_changed: bool = Field(description="Whether the configuration file was another one from here on")


class Confirmation(Body):
    """The token of a change that waits."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "pVx0M3T4g0WmQqgqk3m3uA"}]})

    token: Token = Field(description="`confirm` of the answer that made the change")


@router.get(
    "/config/history",
    summary="Every change: who, when, why, and how much",
    responses=problems.documented("STATE_UNAVAILABLE"),
)
def get_config_history(
    resolver: Resolver,
    _caller: Reader,
    before: Annotated[int | None, Query(ge=1, description="Only revisions older than this one")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> History:
    """Revisions only grow. Those that failed are listed too."""
    store = resolver.changes.store
    found = store.journal(before=before, limit=limit)
    entry = store.get(*revert.UNCONFIRMED)
    waiting = None if entry is None else Waiting(revision=entry.revision, until=entry.doc["until"])
    return History(items=[RevisionItem(**_members(row)) for row in found], waiting=waiting)


@router.get(
    "/config/history/{revision}",
    summary="One change, and what it changed",
    responses=problems.documented("STATE_UNAVAILABLE", "NO_SUCH_REVISION"),
)
def get_config_revision(revision: Number, resolver: Resolver, caller: Reader) -> RevisionDetail:
    """Of a change of many entries the first are shown; users are shown to admins alone."""
    store = resolver.changes.store
    row, *older = revert.rows(store, revision)
    diff = difference_of(revert.done(store, row, () if caller.has("admin") else ("user",)))
    changed = bool(older) and older[0].view != row.view
    return RevisionDetail(**_members(row), diff=list(diff.lines), more=diff.more, file_changed=changed)


@router.post(
    "/config/rollback/{revision}",
    summary="Go back to what was configured after a revision",
    responses=edits.documented("NO_SUCH_REVISION", "CONFIRM_PENDING"),
)
def post_config_rollback(revision: Number, resolver: Resolver, caller: Operator, terms: AskedRevertible) -> Outcome:
    """Records, blocks, upstream servers and options are what they were; so is the view of the configuration file.

    The file itself is not written: where it says something else by now, `pinned` says that its older view is in force,
    until the next reload, or a restart after somebody has edited it. Users and keys stay as they are: a key that was
    taken away must not come back. The way back is a revision like every other and can be led back.
    """
    change = terms.of(caller.change(f"POST /config/rollback/{revision}"))
    made = resolver.changes.rollback(change, revision, dry_run=terms.dry_run, confirm_within=terms.confirm_within)
    return outcome(terms.made(made))


@router.post(
    "/config/confirm",
    summary="Keep a change that would be taken back",
    responses=edits.documented("NOTHING_TO_CONFIRM"),
)
def post_config_confirm(body: Confirmation, resolver: Resolver, caller: Operator, terms: Asked) -> Outcome:
    """For a change made with `confirm_within`."""
    change = terms.of(caller.change("POST /config/confirm"))
    return outcome(terms.made(resolver.changes.confirm(change, body.token, dry_run=terms.dry_run)))


@router.post(
    "/config/revert",
    summary="Take a change back that waits for its confirmation",
    responses=edits.documented("NOTHING_TO_CONFIRM"),
)
def post_config_revert(body: Confirmation, resolver: Resolver, caller: Operator, terms: Asked) -> Outcome:
    """At once, instead of when its time is over. What somebody has changed again since stays as it is."""
    change = terms.of(caller.change("POST /config/revert"))
    return outcome(terms.made(resolver.changes.take_back(change, body.token, dry_run=terms.dry_run)))


def _members(row: Revision) -> dict[str, Any]:
    return {
        "revision": row.number,
        "time": row.time,
        "actor": row.actor,
        "reason": row.reason,
        "op": row.op,
        "status": row.status,
        "summary": {kind: counts for kind, counts in row.summary.items() if kind not in QUIET},
    }
