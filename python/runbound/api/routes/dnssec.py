"""`/dnssec`: whether answers are validated, from where, and what is excused from it for a while.

The engine tells what holds; `ops.excuses` makes and ends negative trust anchors and keeps them. Nothing here
decides whether an answer is true.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, status
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from runbound.api import problems
from runbound.api.auth import Operator, Reader
from runbound.api.body import Body
from runbound.api.context import Context, Resolver
from runbound.api.names import DomainName
from runbound.api.problems import ProblemError
from runbound.ops import excuses

HOUR: Final = 3600
"""How long a negative trust anchor lasts if nothing else is said, seconds (RFC 7646 2.1: briefly)."""
WEEK: Final = 604_800
"""The longest it may last, seconds (RFC 7646 2.1)."""
RECHECK: Final = 300
"""How often it is looked whether a name validates again if nothing else is said, seconds."""
MAX_REASON: Final = 200

router = APIRouter(tags=["dnssec"])


class AnchorKey(BaseModel):
    """A key that is trusted, or that RFC 5011 watches."""

    tag: int = Field(examples=[20326])
    algorithm: int = Field(examples=[8])
    algorithm_name: str = Field(examples=["RSASHA256"])
    kind: Literal["ds", "dnskey"] = Field(description="What is known of it: its digest, or the key itself")
    state: Literal["pending", "valid", "missing", "revoked"] = Field(
        description="`pending`: seen, trusted after its hold-down time; `missing`: trusted, and not shown by the zone "
        "at the moment; `revoked`: never trusted again"
    )
    since: int | None = Field(description="Unix time of the last change of state; null if nobody knows")


class Follows(BaseModel):
    """How the keys of a zone are followed (RFC 5011). Times are Unix seconds, null is never."""

    file: str = Field(description="Where the states are kept", examples=["/var/lib/runbound/root.key"])
    last_probe: int | None
    last_success: int | None
    next_probe: int | None
    failed: int = Field(description="Probes failed in a row")
    revoked: bool = Field(description="The zone has revoked every key: it has no trust anchor any more")


class TrustAnchor(BaseModel):
    """What is believed without proof about one zone."""

    zone: str = Field(examples=["."])
    follows: Follows | None = Field(description="Null for anchors that stay as they are written")
    keys: list[AnchorKey]


class TrustAnchors(BaseModel):
    """Every trust anchor."""

    anchors: list[TrustAnchor]


class NegativeAnchor(BaseModel):
    """Names that are not validated for a while (RFC 7646)."""

    name: str = Field(description="This name and all below it", examples=["example.com."])
    since: int = Field(description="Unix time")
    until: int = Field(description="Unix time at which validation begins again")
    recheck_seconds: int = Field(
        description="How often it is looked whether the name validates again, which ends it; 0 is never"
    )
    reason: str


class NegativeAnchors(BaseModel):
    """Every negative trust anchor in force."""

    negative_anchors: list[NegativeAnchor]


class Validation(BaseModel):
    """Whether answers are validated, and what came of it."""

    validating: bool = Field(description="The module is configured and there is a trust anchor")
    permissive: bool = Field(description="Bogus answers are given out all the same: val-permissive-mode")
    trust_anchors: list[str] = Field(description="The zones that have one")
    negative_anchors: list[str] = Field(description="The names that have one")
    insecure: list[str] = Field(description="domain-insecure")
    secure_answers: int = Field(description="Answers with every part proven, since the start")
    bogus_answers: int = Field(description="Answers proven wrong, since the start")


class Excuse(Body):
    """A negative trust anchor to be made."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "example.com", "reason": "keys rolled without DS"}]}
    )

    name: DomainName
    seconds: int = Field(default=HOUR, ge=1, le=WEEK, description="How long it lasts: a week at most (RFC 7646 2.1)")
    recheck_seconds: int = Field(
        default=RECHECK,
        ge=0,
        le=WEEK,
        description="How often it is looked whether the name validates again, which ends it; 0 is never (RFC 7646 4)",
    )
    reason: Annotated[str, StringConstraints(max_length=MAX_REASON, strip_whitespace=True)] = Field(
        default="", description="For who reads the list later"
    )


def _told(resolver: Context) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.msgpack.decode(resolver.engine.trust())
    return told


def _negative(told: dict[str, Any]) -> list[NegativeAnchor]:
    parts = ("name", "since", "until", "reason")
    return [
        NegativeAnchor(**{part: row[part] for part in parts}, recheck_seconds=row["recheck_s"])
        for row in told["negative"]
    ]


@router.get("/dnssec", summary="Whether answers are validated")
def get_dnssec(resolver: Resolver, _caller: Reader) -> Validation:
    """The counters of answers are there with `extended-statistics: yes`, else they are 0."""
    told = _told(resolver)
    stats = resolver.engine.stats()
    return Validation(
        validating=told["validating"],
        permissive=told["permissive"],
        trust_anchors=[anchor["zone"] for anchor in told["anchors"]],
        negative_anchors=[row["name"] for row in told["negative"]],
        insecure=told["insecure"],
        secure_answers=stats.get("num.answer.secure", 0),
        bogus_answers=stats.get("num.answer.bogus", 0),
    )


@router.get("/dnssec/anchors", summary="Trust anchors and the states of their keys")
def get_dnssec_anchors(resolver: Resolver, _caller: Reader) -> TrustAnchors:
    """Anchors come from the configuration; those of `auto-trust-anchor-file` change with their zones (RFC 5011)."""
    return TrustAnchors(anchors=[_anchor(row) for row in _told(resolver)["anchors"]])


@router.get("/dnssec/negative-anchors", summary="Names that are not validated for a while")
def get_dnssec_negative_anchors(resolver: Resolver, _caller: Reader) -> NegativeAnchors:
    """They end by themselves. A reload keeps them, and where there is a state directory a restart too."""
    return NegativeAnchors(negative_anchors=_negative(_told(resolver)))


@router.post(
    "/dnssec/negative-anchors",
    summary="Do not validate a name for a while",
    status_code=status.HTTP_201_CREATED,
    responses=problems.documented("TOO_MANY_NEGATIVE_ANCHORS"),
)
def post_dnssec_negative_anchors(body: Excuse, resolver: Resolver, caller: Operator) -> NegativeAnchor:
    """For a domain whose operator has broken its signatures: make sure first that it is no attack (RFC 7646 2).

    What the cache knows of the name and all below is forgotten. One that is there already gets the new end and reason.
    """
    change, seconds, recheck_s = caller.change(body.reason), body.seconds, body.recheck_seconds
    if not excuses.excuse(
        resolver.actions, resolver.changes, change, body.name, seconds, body.reason, recheck_s=recheck_s
    ):
        raise ProblemError("TOO_MANY_NEGATIVE_ANCHORS", "end those that are not needed any more")
    for anchor in _negative(_told(resolver)):
        if anchor.name == body.name.lower():
            return anchor
    raise ProblemError("NOT_FOUND", "it has ended already")


@router.delete(
    "/dnssec/negative-anchors/{name}",
    summary="Validate a name again",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems.documented("NOT_FOUND"),
)
def delete_dnssec_negative_anchor(name: DomainName, resolver: Resolver, caller: Operator) -> None:
    """What the cache knows of the name and all below is forgotten."""
    if not excuses.excuse_no_more(resolver.actions, resolver.changes, caller.change("validate again"), name):
        raise ProblemError("NOT_FOUND", "there is no negative trust anchor of that name")


def _anchor(row: dict[str, Any]) -> TrustAnchor:
    follows = row["follows"]
    times = ("last_probe", "last_success", "next_probe")
    return TrustAnchor(
        zone=row["zone"],
        follows=follows and Follows(**{**follows, **{time: follows[time] or None for time in times}}),
        keys=[AnchorKey(**{**key, "since": key["since"] or None}) for key in row["keys"]],
    )
