"""`/audit`: who did what, and the proof that nobody has changed it since.

What an entry is and how it is proven decides `state.trail` and `state.proof`; who may ask, admins alone. It must never
change an entry, and never leave out that one is not as it was written.
"""

from typing import Annotated, Any, Final, Literal

import anyio.to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from runbound.api import problems
from runbound.api.auth import Admin
from runbound.api.context import Context, Proofs, Resolver
from runbound.ops.audit import Audit
from runbound.ops.refusals import StateUnavailable

MAX_PROOFS: Final = 1
"""Proofs under way at once: each reads the whole table, and takes a core for seconds."""
MAX_LIMIT: Final = 1000
MAX_SEQ: Final = 2**53 - 1
MAX_WORD: Final = 200

router = APIRouter(tags=["audit"])


class AuditEntry(BaseModel):
    """One line of the audit log."""

    seq: int = Field(description="From 1, without a gap", examples=[4711])
    time: str = Field(examples=["2026-11-23T20:18:04.123456Z"])
    event: str = Field(examples=["record.add"])
    actor: str = Field(examples=["alice"])
    fields: dict[str, Any] = Field(examples=[{"revision": 12, "name": "nas.example."}])
    prev: str = Field(description="The `mac` of the entry before")
    mac: str = Field(description="HMAC-SHA256 with the audit key over the line without this member")
    genuine: bool = Field(description="Whether it is as it was written")


class AuditTail(BaseModel):
    """Entries in their order."""

    items: list[AuditEntry]
    head: int = Field(description="The number of the newest entry there is")


class AuditFault(BaseModel):
    """The first thing that is wrong."""

    kind: str = Field(description="`edited`, `removed`, `inserted`, `reordered`, `twice`, `truncated`, …")
    seq: int | None
    what: str


class AuditSink(BaseModel):
    """Where lines are written besides the state."""

    name: Literal["file", "syslog", "journald"]
    place: str | None = Field(description="The file's path")
    seq: int = Field(description="The last entry it has")
    behind: int = Field(description="Entries it does not have yet")
    error: str | None


class AuditProof(BaseModel):
    """What is proven about the audit log."""

    ok: bool
    fault: AuditFault | None
    entries: int = Field(description="Read before the fault, or in all")
    last: int | None
    head: str = Field(description="The `mac` of that entry: keep both elsewhere, and a later rollback can be proven")
    checkpoints: int
    public_key: str | None = Field(description="What checkpoints are signed with (Ed25519): keep it elsewhere too")
    told: list[str] = Field(description="What is proven and what is not, in words")
    sinks: list[AuditSink]


@router.get(
    "/audit/tail", summary="The last entries of the audit log", responses=problems.documented("STATE_UNAVAILABLE")
)
def get_audit_tail(
    resolver: Resolver,
    _caller: Admin,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The most entries")] = 100,
    after: Annotated[
        int | None, Query(ge=0, le=MAX_SEQ, description="Entries behind this number, instead of the last ones")
    ] = None,
    event: Annotated[str, Query(max_length=MAX_WORD, description="Only events that begin so")] = "",
    actor: Annotated[str, Query(max_length=MAX_WORD, description="Only what this actor did")] = "",
) -> AuditTail:
    """Oldest first. To follow it, ask again with `after` set to the last `seq`."""
    audit = _audit(resolver)
    head = audit.store.audit_head[0]
    return AuditTail(
        head=head,
        items=[
            AuditEntry(
                seq=line.seq,
                time=line.time,
                event=line.event,
                actor=line.actor,
                fields=line.fields,
                prev=line.prev,
                mac=line.mac,
                genuine=genuine,
            )
            for line, genuine in audit.tail(limit, after, event, actor)
        ],
    )


@router.post(
    "/audit/verify",
    summary="Prove the audit log",
    responses=problems.documented("STATE_UNAVAILABLE", "TOO_MANY_PROOFS"),
)
async def post_audit_verify(resolver: Resolver, proofs: Proofs, _caller: Admin) -> AuditProof:
    """Reads every entry that the state has, with the key. `runbound audit verify FILE` proves the files, offline."""
    audit = _audit(resolver)
    with proofs.take():
        report = await anyio.to_thread.run_sync(audit.prove)
    fault = report.fault
    return AuditProof(
        ok=report.ok,
        fault=None if fault is None else AuditFault(kind=fault.kind, seq=fault.seq, what=fault.what),
        entries=report.entries,
        last=report.last,
        head=report.head,
        checkpoints=report.checkpoints,
        public_key=report.public_key,
        told=report.told(),
        sinks=[
            AuditSink(name=sink.name, place=sink.place, seq=sink.seq, behind=sink.behind, error=sink.error)
            for sink in audit.states()
        ],
    )


def _audit(resolver: Context) -> Audit:
    """The audit log. Raises the refusal that says why there is none."""
    if resolver.audit is None:
        resolver.changes.store  # noqa: B018  # raises where there is no state at all
        raise StateUnavailable("there is no audit log", fix="see the log of the start")
    return resolver.audit
