"""`/resolution`: whether names are forwarded or looked up from the root down, changed while DNS goes on."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from runbound.api import edits, etag
from runbound.api.auth import Operator, Reader
from runbound.api.body import Body
from runbound.api.context import Context, Resolver
from runbound.api.edits import AskedRevertible, Preview
from runbound.api.etag import IfNew, IfSame
from runbound.config.layers import ABOVE
from runbound.config.model import Config
from runbound.config.values import canonical_name
from runbound.engine.compile import asked
from runbound.ops import overlay
from runbound.ops.view import Plan, View

router = APIRouter(tags=["upstreams"])

Way = Literal["forward", "full-recursion"]


class NewResolution(Body):
    """How names shall be found."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"mode": "full-recursion"}]})

    mode: Way = Field(
        description="`forward`: everything is asked of the forwarders of `.`; `full-recursion`: names are looked up "
        "from the root down, but for forward zones other than `.`"
    )


class Resolution(BaseModel):
    """How names are found."""

    mode: Way
    origin: Literal["default", "file", "api"] = Field(
        description="`default`: nobody said so, it follows from the forward zones"
    )
    forward_zones: list[str] = Field(description="The zones whose names are asked of forwarders", examples=[["."]])


@router.get("/resolution", summary="How names are found")
def get_resolution(resolver: Resolver, _caller: Reader, news: IfNew) -> Resolution:
    """The way of every name that is neither local nor in a forward zone of its own."""
    running = resolver.changes.running
    news.show(etag.listing(running.revision))
    return _told(running.config)


@router.put(
    "/resolution",
    summary="Change how names are found",
    responses=edits.documented("CONFIRM_PENDING", "PRECONDITION_FAILED"),
)
def put_resolution(
    body: NewResolution,
    resolver: Resolver,
    caller: Operator,
    terms: AskedRevertible,
    same: IfSame,
    response: Response,
) -> Resolution | Preview:
    """At once, in every worker. Forwarding everything needs a server of `.`: add one to `/upstreams` first."""

    def plan(view: View) -> Plan:
        same.hold(etag.listing(view.revision))
        return Plan(edits=(overlay.setting("resolution", [body.mode]),))

    made = terms.make(resolver.changes, caller.change("PUT /resolution"), plan)
    if made.dry_run:
        return edits.preview(made)
    return _now(resolver, response)


def _now(resolver: Context, response: Response) -> Resolution:
    running = resolver.changes.running
    response.headers["ETag"] = etag.listing(running.revision)
    return _told(running.config)


def _told(config: Config) -> Resolution:
    zones = sorted({canonical_name(zone.name) for zone in asked(config)}, key=lambda zone: zone.split(".")[::-1])
    given = config.given("server", "resolution")
    if not given:
        return Resolution(mode="forward" if "." in zones else "full-recursion", origin="default", forward_zones=zones)
    return Resolution(
        mode="forward" if config.server.resolution == "forward" else "full-recursion",
        origin="api" if given[-1].file == ABOVE else "file",
        forward_zones=zones,
    )
