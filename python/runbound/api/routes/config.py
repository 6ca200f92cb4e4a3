"""`/config`: what is in effect, where each value was said, and every change that led there.

Values that are secrets are left out.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from runbound.api import problems
from runbound.api.auth import Reader
from runbound.api.context import Resolver
from runbound.ops import effective
from runbound.state.entries import Revision

router = APIRouter(tags=["config"])


class Origin(BaseModel):
    """Where a value comes from."""

    kind: str = Field(description="`default`, or `file` with its place", examples=["file"])
    file: str | None = None
    line: int | None = None
    column: int | None = None


class Option(BaseModel):
    """One option in effect."""

    clause: str = Field(examples=["server"])
    name: str | None = Field(description="The zone's or view's name where a clause may stand more than once")
    option: str = Field(examples=["port"])
    value: bool | int | float | str | list[str] | None
    secret: bool = Field(description="True: the value exists and is not shown")
    origin: list[Origin] = Field(description="One entry, or one for each line of a list")


class EffectiveConfig(BaseModel):
    """The whole effective configuration."""

    revision: int
    file: str = Field(description="The main configuration file")
    since: float = Field(description="Unix time at which this revision took effect")
    options: list[Option]


@router.get("/config", summary="The effective configuration with the origin of each value")
def get_config(
    resolver: Resolver,
    _caller: Reader,
    given: Annotated[bool, Query(description="Only what stands in a file")] = False,
) -> EffectiveConfig:
    """`local-zone` and `local-data` of the file are the engine's and are not listed here."""
    running = resolver.changes.running
    options = [_option(setting) for setting in effective.settings(running.config) if setting.given or not given]
    return EffectiveConfig(revision=running.revision, file=resolver.path, since=running.since, options=options)


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


class History(BaseModel):
    """Changes, the newest first."""

    items: list[RevisionItem]


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
    found = resolver.changes.store.journal(before=before, limit=limit)
    return History(items=[_revision(row) for row in found])


def _revision(row: Revision) -> RevisionItem:
    return RevisionItem(
        revision=row.number,
        time=row.time,
        actor=row.actor,
        reason=row.reason,
        op=row.op,
        status=row.status,
        summary=row.summary,
    )


def _option(setting: effective.Setting) -> Option:
    hidden = setting.secret and bool(setting.value)
    return Option(
        clause=setting.clause,
        name=setting.name or None,
        option=setting.option,
        value=None if hidden else _plain(setting.value),
        secret=hidden,
        origin=[Origin(kind="file", file=at.file, line=at.line, column=at.column) for at in setting.given]
        or [Origin(kind="default")],
    )


def _plain(value: object) -> bool | int | float | str | list[str] | None:
    if isinstance(value, list):
        return [str(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
