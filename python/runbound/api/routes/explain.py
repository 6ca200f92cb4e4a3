"""`/dns/explain`: one question with everything that happened to it, and why.

The engine tells the steps in words and as named values; what they mean stands in docs/api/explain.md. Nothing here asks
or decides anything.
"""

import ipaddress
from functools import partial
from typing import Any, Final, Literal

import anyio
import anyio.to_thread
import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from runbound.api import names, problems
from runbound.api.auth import ZoneReader
from runbound.api.body import Body
from runbound.api.context import Explains, Resolver
from runbound.api.names import DomainName, IpAddress, RecordType
from runbound.api.routes.lookup import ExtendedError, ResourceRecord, extended_error, record

EXPLAIN_SECONDS: Final = 10.0
"""How long one question may take; what happened until then is told."""
MAX_EXPLAINS: Final = 4
"""Questions explained at once. Each holds a thread of the API, and a fresh one a worker and a cache of its own."""

router = APIRouter(tags=["dns"])

Security = Literal["unchecked", "bogus", "indeterminate", "insecure", "secure"]


class Inquiry(Body):
    """What to explain."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "www.example.com"}]})

    name: DomainName
    type: RecordType = "A"
    class_: Literal["IN"] = Field(default="IN", alias="class", description="Only `IN` is resolved")
    client: IpAddress = Field(
        default=ipaddress.IPv4Address("127.0.0.1"), description="The address whose eyes it is seen with"
    )
    checking_disabled: bool = Field(default=False, description="Set the CD flag: take data that fails validation")
    fresh: bool = Field(
        default=False,
        description="As if nothing were known: from the root, with an empty cache that is forgotten afterwards",
    )


class Step(BaseModel):
    """One thing that happened."""

    at_ms: int = Field(description="Milliseconds since the question came")
    question: int = Field(
        description="Equal numbers are one question; others are asked because that one needs to know, say an address"
    )
    depth: int = Field(description="How many questions wait for this one, one for the other; 0 is the client's")
    name: str = Field(description="The name that is looked for at the moment")
    type: str
    room: Literal["access", "policy", "cache", "resolve", "validate", "end"]
    what: str = Field(description="A stable word for the kind of step, which says what `data` holds", examples=["asks"])
    text: str = Field(description="The step in words, for people; no program should read it")
    data: dict[str, Any] = Field(description="The same as values")


class DelegationSigner(BaseModel):
    """A DS record, or what a trust anchor says."""

    tag: int = Field(description="Tag of the key it means", examples=[20326])
    algorithm: int
    algorithm_name: str = Field(examples=["RSASHA256"])
    digest: int = Field(description="0 for an anchor that is a key itself")
    digest_name: str = Field(examples=["SHA-256"])


class ZoneKey(BaseModel):
    """A key of a zone."""

    tag: int
    algorithm: int
    algorithm_name: str
    flags: int = Field(description="257 for a key signing key, 256 for others, 128 more if it is revoked")
    bits: int | None
    named: bool = Field(description="The parent's DS record, or the anchor, means this one")
    signed: bool = Field(description="It signed the set of keys, and that was believed")


class Signature(BaseModel):
    """A signature that was believed."""

    zone: str = Field(description="Whose key it is by")
    tag: int
    algorithm: int
    algorithm_name: str
    until: int = Field(description="When it ends: seconds since 1970, modulo 2^32")


class Link(BaseModel):
    """A zone of the chain of trust, or records that were checked with a zone's keys."""

    name: str
    type: str | None = Field(description="Type of the records; null for a zone")
    under: str | None = Field(description="The zone above, or the zone whose keys signed; null where the chain begins")
    security: Security
    by: str | None = Field(
        description="Who vouches: `anchor`, `ds`, `memory` for a zone's keys, `nsec` or `nsec3` for a zone that is "
        "proven to have none; `key` for records, `nsec`, `nsec3` or `nothing` for records that are not there"
    )
    ds: list[DelegationSigner]
    keys: list[ZoneKey]
    signature: Signature | None = Field(description="Of the records, or of a zone's DS records")
    wildcard: str | None = Field(description="The wildcard that the records were made from")
    denies: Literal["name", "type", "closer"] | None = Field(
        description="What is proven not to be there: the name, records of the type, anything closer than a wildcard"
    )
    reason: str | None = Field(description="Why it is not secure")


class Explanation(BaseModel):
    """The answer, and how it came about."""

    name: str = Field(description="The name that was asked: absolute, in A-labels")
    type: str
    client: str
    end: Literal["answered", "dropped", "open"] = Field(
        description=f"`dropped`: the client gets no answer; `open`: none came within {EXPLAIN_SECONDS:.0f} s"
    )
    status: str | None = Field(description="Response code; null without an answer", examples=["NOERROR"])
    answers: list[ResourceRecord]
    authority: list[ResourceRecord]
    additional: list[ResourceRecord]
    elapsed_ms: float
    from_cache: bool
    stale: bool = Field(description="Whether it had expired and was served all the same")
    authentic: bool = Field(description="The AD flag")
    security: Security
    ede: list[ExtendedError]
    why: str | None = Field(description="In words, why there is no good answer")
    steps: list[Step]
    steps_left_out: int = Field(description="Steps beyond the 2,000 that are written down")
    chain: list[Link] = Field(description="The chain of trust: zones from the top down, then what they signed")


@router.post(
    "/dns/explain",
    summary="Resolve one name and tell every step of it",
    responses=problems.documented("TOO_MANY_LOOKUPS"),
)
async def post_dns_explain(body: Inquiry, resolver: Resolver, explains: Explains, caller: ZoneReader) -> Explanation:
    """Goes the way of a query from that client: access control, local data, cache, servers, validation."""
    caller.require(body.name)
    asked = (body.name, names.numbered(body.type), body.client, body.checking_disabled, body.fresh, EXPLAIN_SECONDS)
    ask = partial(resolver.engine.explain, *asked)
    with explains.take():
        # A limiter of its own (the places bound it): questions that hang must not take the other routes' threads.
        document = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    return _explanation(body, msgspec.msgpack.decode(document))


def _explanation(body: Inquiry, found: dict[str, Any]) -> Explanation:
    told = found["told"] or {}
    return Explanation(
        name=body.name,
        type=body.type,
        client=str(body.client),
        end=found["end"],
        status=told.get("rcode"),
        answers=[record(line) for line in told.get("answer", ())],
        authority=[record(line) for line in told.get("authority", ())],
        additional=[record(line) for line in told.get("additional", ())],
        elapsed_ms=found["elapsed_us"] / 1000,
        from_cache=told.get("from_cache", False),
        stale=told.get("stale", False),
        authentic=told.get("authentic", False),
        security=told.get("security", "unchecked"),
        ede=[extended_error(error) for error in told.get("ede", ())],
        why=told.get("why"),
        steps=found["steps"],
        steps_left_out=found["left_out"],
        chain=found["chain"],
    )
