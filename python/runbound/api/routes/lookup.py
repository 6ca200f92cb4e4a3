"""`/dns/lookup`: one question, resolved here and now, as a client of this resolver would see the answer."""

from functools import partial
from typing import Any, Final, Literal, cast

import anyio
import anyio.to_thread
import dns.edns
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from runbound.api import names, problems
from runbound.api.auth import ZoneReader
from runbound.api.body import Body
from runbound.api.context import Lookups, Resolver
from runbound.api.names import DomainName, RecordType
from runbound.api.problems import ProblemError

LOOKUP_SECONDS: Final = 10.0
"""How long one lookup may take: longer than a stub resolver waits, so that what it would have got is seen."""
MAX_LOOKUPS: Final = 16
"""Lookups at once. Each holds a thread of the API while it waits."""

router = APIRouter(tags=["dns"])


class Question(Body):
    """What to ask."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "www.example.com"}]})

    name: DomainName
    type: RecordType = "A"
    class_: Literal["IN"] = Field(default="IN", alias="class", description="Only `IN` is resolved")
    checking_disabled: bool = Field(default=False, description="Set the CD flag: take data that fails validation")


class ResourceRecord(BaseModel):
    """One record, in presentation form."""

    name: str = Field(examples=["www.example.com."])
    ttl: int
    class_: str = Field(serialization_alias="class", examples=["IN"])
    type: str = Field(examples=["A"])
    data: str = Field(examples=["192.0.2.1"])


class ExtendedError(BaseModel):
    """An extended DNS error, RFC 8914."""

    code: int
    name: str = Field(description="Its registered name", examples=["no reachable authority"])
    text: str = Field(description="What the server added")


class Answer(BaseModel):
    """What came back."""

    name: str = Field(description="The name that was asked: absolute, in A-labels")
    type: str
    status: str = Field(description="Response code", examples=["NOERROR"])
    answers: list[ResourceRecord]
    authority: list[ResourceRecord]
    additional: list[ResourceRecord]
    elapsed_ms: float
    from_cache: bool
    stale: bool = Field(description="Whether it had expired and was served all the same")
    authentic: bool = Field(description="The AD flag")
    security: str = Field(description="`unchecked`, `bogus`, `indeterminate`, `insecure` or `secure`")
    ede: list[ExtendedError]
    why: str | None = Field(description="In words, why there is no good answer")


@router.post(
    "/dns/lookup",
    summary="Resolve one name here and now",
    responses=problems.documented("TOO_MANY_LOOKUPS", "LOOKUP_TIMEOUT"),
)
async def post_dns_lookup(body: Question, resolver: Resolver, lookups: Lookups, caller: ZoneReader) -> Answer:
    """Takes the cache and the upstream servers as any question does; access control and local data are left aside."""
    caller.require(body.name)
    ask = partial(resolver.engine.lookup, body.name, names.numbered(body.type), body.checking_disabled, LOOKUP_SECONDS)
    with lookups.take():
        try:
            # A limiter of its own (the places bound it): lookups that hang must not take the other routes' threads.
            found = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        except TimeoutError as error:
            raise ProblemError("LOOKUP_TIMEOUT", f"no answer within {LOOKUP_SECONDS:.0f} s") from error
    return _answer(body, cast("dict[str, Any]", found))


def _answer(body: Question, found: dict[str, Any]) -> Answer:
    return Answer(
        name=body.name,
        type=body.type,
        status=found["rcode"],
        answers=[record(line) for line in found["answer"]],
        authority=[record(line) for line in found["authority"]],
        additional=[record(line) for line in found["additional"]],
        elapsed_ms=found["elapsed_us"] / 1000,
        from_cache=found["from_cache"],
        stale=found["stale"],
        authentic=found["authentic"],
        security=found["security"],
        ede=[extended_error(error) for error in found["ede"]],
        why=found["why"],
    )


def record(line: str) -> ResourceRecord:
    """Owner, TTL, class, type and the rest; blanks within an owner are escaped, so the parts cannot be confused."""
    name, ttl, class_, rtype, data = [*line.split(None, 4), ""][:5]
    return ResourceRecord(name=name, ttl=int(ttl), class_=class_, type=rtype, data=data)


def extended_error(error: dict[str, Any]) -> ExtendedError:
    """What the engine says of an extended error, with its name."""
    return ExtendedError(code=error["code"], name=_ede_name(error["code"]), text=error["text"])


def _ede_name(code: int) -> str:
    name: str = dns.edns.EDECode(code).name
    return "unassigned" if name.isdigit() else name.replace("_", " ").lower()
