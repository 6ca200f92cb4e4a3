"""`/backup`: copies of what was changed by API, and the way back to one.

What a backup is and whether it is genuine decides `state.backup`, how it is restored `ops.backup`; a restore takes the
one write path. Users and their keys are in none. It must never answer with a backup that was not proven first.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Final, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, Field
from starlette.concurrency import iterate_in_threadpool

from runbound.api import edits, problems
from runbound.api.auth import Admin, Caller
from runbound.api.body import Body
from runbound.api.context import Context, Copies, Resolver
from runbound.api.edits import AskedRevertible, Preview, Reason, ReasonHeader
from runbound.api.places import PlacedResponse
from runbound.api.problems import ProblemError
from runbound.ops.backup import Keeper, restoring
from runbound.ops.refusals import StateUnavailable
from runbound.state.backup import BackupError, Found, NoBackupError, TooManyBackupsError

MAX_COPIES: Final = 2
"""Backups written or read at once: each goes through everything that is kept."""
MAX_IMPORT_BYTES: Final = 4 * 1024 * 1024 * 1024
"""Largest backup that is taken in, in octets: ten million entries. It is never held in memory."""
NDJSON: Final = "application/x-ndjson"
CODES: Final = ("NOT_FOUND", "BACKUP_INVALID", "STATE_UNAVAILABLE")

router = APIRouter(tags=["backup"])
T = TypeVar("T")

BackupId = Annotated[str, Field(max_length=64, description="Its name", examples=["20261123T211500Z-r42"])]


class Backup(BaseModel):
    """One backup."""

    id: str = Field(examples=["20261123T211500Z-r42"])
    time: str = Field(description="When it was made", examples=["2026-11-23T21:15:00Z"])
    revision: int = Field(description="The revision it holds")
    counts: dict[str, int] = Field(description="Entries of each kind", examples=[{"record": 12, "block": 3}])
    bytes: int
    actor: str = Field(description="Who made it, or brought it here")
    reason: str
    public_key: str = Field(description="What its seal is signed with (Ed25519); needed to import it elsewhere")
    origin: str = Field(description="The public key of the state it was made from")


class BackupList(BaseModel):
    """Every backup, the newest first."""

    items: list[Backup]


class Restore(Body):
    """Which one."""

    id: BackupId


class Restored(BaseModel):
    """What a restore did."""

    id: str
    revision: int = Field(description="The new one")
    summary: dict[str, dict[str, int]] = Field(
        description="For each kind how many entries were `added`, `changed` and `removed`"
    )
    diff: list[str] = Field(description="The first of what came (`+`) and went (`-`)")
    more: int = Field(description="Lines of the difference that are left out")
    needs_restart: list[str]


@router.get("/backup", summary="The backups", responses=problems.documented("STATE_UNAVAILABLE"))
def get_backup(resolver: Resolver, _caller: Admin) -> BackupList:
    """Whether one is genuine is looked at before it is restored or exported, and by `GET /backup/{id}`."""
    return BackupList(items=[_shown(found) for found in _keeper(resolver).backups.all()])


@router.post(
    "/backup",
    summary="Make a backup",
    status_code=status.HTTP_201_CREATED,
    responses=problems.documented("TOO_MANY_BACKUPS", "TOO_MANY_BULKS", "STATE_UNAVAILABLE"),
)
async def post_backup(
    resolver: Resolver, copies: Copies, caller: Admin, reason: Reason = "", x_reason: ReasonHeader = ""
) -> Backup:
    """Records, blocks, upstreams and settings as they are at this moment. Users are in no backup."""
    keeper, why = _keeper(resolver), reason or x_reason
    with copies.take():
        made = await _told(partial(keeper.make, caller.name, why))
    _record(resolver, caller, "backup.make", made, why)
    return _shown(made)


@router.get(
    "/backup/export",
    summary="A backup to take elsewhere",
    response_class=Response,
    responses={
        200: {
            "description": "An object a line; the last is the seal",
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
        **problems.documented(*CODES, "TOO_MANY_BULKS"),
    },
)
async def get_backup_export(
    resolver: Resolver,
    copies: Copies,
    _caller: Admin,
    id: Annotated[str, Query(max_length=64, description="Which one")],  # noqa: A002  # the member's name everywhere
) -> PlacedResponse:
    """It is proven first, every octet. Take its `public_key` along if it is for another resolver."""
    backups = _keeper(resolver).backups
    place = copies.take()
    with place:
        await _told(partial(backups.proven, id))
    return PlacedResponse(iterate_in_threadpool(backups.stream(id)), copies.take(), NDJSON)


@router.post(
    "/backup/import",
    summary="Take a backup in",
    status_code=status.HTTP_201_CREATED,
    responses=problems.documented("BACKUP_INVALID", "TOO_MANY_BACKUPS", "TOO_MANY_BULKS", "STATE_UNAVAILABLE"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {NDJSON: {"schema": {"type": "string", "format": "backup"}}},
        }
    },
)
async def post_backup_import(
    request: Request,
    resolver: Resolver,
    copies: Copies,
    caller: Admin,
    public_key: Annotated[
        str | None,
        Query(pattern="^[0-9a-f]{64}$", description="That of the resolver it comes from, if it is another one"),
    ] = None,
    reason: Reason = "",
    x_reason: ReasonHeader = "",
) -> Backup:
    """What `/backup/export` gave. It is kept as a backup and restored by nobody but you: `POST /backup/restore`."""
    backups, why = _keeper(resolver).backups, reason or x_reason
    with copies.take():
        incoming = await _told(backups.incoming)
        try:
            async for octets in request.stream():
                await _told(partial(incoming.feed, octets))
            taken = await _told(partial(incoming.finish, caller.name, why, public_key))
        finally:
            incoming.close()
    _record(resolver, caller, "backup.import", taken, why)
    return _shown(taken)


@router.post(
    "/backup/restore",
    summary="Go back to a backup",
    response_model=None,
    responses={
        200: {"model": Restored | Preview, "description": "With `dry_run`: what would change"},
        **edits.documented(
            *("NOT_FOUND", "BACKUP_INVALID", "OPTION_NOT_SETTABLE"),
            *("TOO_MANY_BULKS", "TOO_MANY_RECORDS", "TOO_MANY_BLOCKS"),
        ),
    },
)
async def post_backup_restore(
    body: Restore, resolver: Resolver, copies: Copies, caller: Admin, terms: AskedRevertible
) -> Restored | Preview:
    """Atomic and live: records, blocks, upstreams and settings become what the backup says, or nothing changes.

    It is a revision like any other, so a rollback undoes it. Users stay as they are.
    """
    backups = _keeper(resolver).backups
    change = caller.change(terms.reason or f"restore of {body.id}")
    with copies.take():
        plan = await _told(partial(restoring, backups, body.id, change))
        made = await anyio.to_thread.run_sync(partial(terms.make, resolver.changes, change, plan))
    if made.dry_run:
        return edits.preview(made)
    return Restored(
        id=body.id,
        revision=made.revision,
        summary=made.diff.summary,
        diff=list(made.diff.lines),
        more=made.diff.more,
        needs_restart=list(made.needs_restart),
    )


@router.get("/backup/{id}", summary="One backup, proven", responses=problems.documented(*CODES, "TOO_MANY_BULKS"))
async def get_backup_one(id: str, resolver: Resolver, copies: Copies, _caller: Admin) -> Backup:  # noqa: A002
    """Every octet is looked at. One that was changed is the problem `BACKUP_INVALID`."""
    backups = _keeper(resolver).backups
    with copies.take():
        return _shown(await _told(partial(backups.proven, id)))


@router.delete(
    "/backup/{id}",
    summary="Delete a backup",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems.documented("NOT_FOUND", "STATE_UNAVAILABLE"),
)
async def delete_backup(
    id: str,  # noqa: A002
    resolver: Resolver,
    caller: Admin,
    reason: Reason = "",
    x_reason: ReasonHeader = "",
) -> None:
    """For good."""
    await _told(partial(_keeper(resolver).backups.delete, id))
    caller.call.written()
    resolver.trail.record("backup.delete", caller.name, **caller.call.fields, backup=id, reason=reason or x_reason)


def _keeper(resolver: Context) -> Keeper:
    """The backups. Raises the refusal that says why there are none."""
    if resolver.backups is None:
        resolver.changes.store  # noqa: B018  # raises where there is no state at all
        raise StateUnavailable("there is no folder for backups", fix="see the log of the start")
    return resolver.backups


async def _told(act: Callable[[], T]) -> T:
    """Does it in a thread; what is wrong with a backup becomes a problem."""
    try:
        return await anyio.to_thread.run_sync(act)
    except NoBackupError as error:
        raise ProblemError("NOT_FOUND", str(error)) from error
    except TooManyBackupsError as error:
        raise ProblemError("TOO_MANY_BACKUPS", str(error)) from error
    except BackupError as error:
        raise ProblemError("BACKUP_INVALID", str(error)) from error
    except OSError as error:
        raise ProblemError("STATE_UNAVAILABLE", f"the backups cannot be used: {error.strerror}") from error


def _record(resolver: Context, caller: Caller, event: str, found: Found, reason: str) -> None:
    caller.call.written()
    resolver.trail.record(
        event, caller.name, **caller.call.fields, backup=found.id, of=found.head.revision, reason=reason
    )


def _shown(found: Found) -> Backup:
    return Backup(
        id=found.id,
        time=found.head.time,
        revision=found.head.revision,
        counts=found.head.counts,
        bytes=found.size,
        actor=found.seal.actor,
        reason=found.seal.reason,
        public_key=found.seal.public_key,
        origin=found.seal.origin,
    )
