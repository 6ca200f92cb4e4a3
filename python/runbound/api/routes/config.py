"""`/config`: what is in effect and where each value was said, and options that are set over the file.

Values that are secrets are left out.
"""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import StreamingResponse

from runbound.api import edits
from runbound.api.auth import Operator, Reader
from runbound.api.body import Body
from runbound.api.context import Resolver
from runbound.api.edits import AskedRevertible
from runbound.api.outcome import Outcome, outcome
from runbound.config.layers import ABOVE
from runbound.config.model import Position
from runbound.ops import effective, overlay
from runbound.ops.merged import merged
from runbound.ops.view import Plan

MAX_OPTIONS: Final = 100
"""Options of one call."""

router = APIRouter(tags=["config"])

OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
Value = bool | int | Annotated[str, StringConstraints(max_length=4096)]
ShownValue = bool | int | float | str | list[str] | None


class Origin(BaseModel):
    """Where a value comes from."""

    kind: Literal["default", "file", "api"] = Field(description="`file` with its place")
    file: str | None = None
    line: int | None = None
    column: int | None = None


class Option(BaseModel):
    """One option in effect."""

    clause: str = Field(examples=["server"])
    name: str | None = Field(description="The zone's or view's name where a clause may stand more than once")
    option: str = Field(examples=["port"])
    value: ShownValue
    secret: bool = Field(description="True: the value exists and is not shown")
    origin: list[Origin] = Field(description="One entry, or one for each line of a list")


class EffectiveConfig(BaseModel):
    """The whole effective configuration."""

    revision: int
    file: str = Field(description="The main configuration file")
    since: float = Field(description="Unix time at which this configuration took effect")
    pinned: int | None = Field(description="The revision whose view of the file is in force, after a rollback")
    options: list[Option]


@router.get("/config", summary="The effective configuration with the origin of each value")
def get_config(
    resolver: Resolver,
    _caller: Reader,
    given: Annotated[bool, Query(description="Only what was said, in a file or by API")] = False,
) -> EffectiveConfig:
    """`local-zone` and `local-data` of the file are the engine's and are not listed here."""
    running = resolver.changes.running
    options = [_option(setting) for setting in effective.settings(running.config) if setting.given or not given]
    return EffectiveConfig(
        revision=running.revision,
        file=resolver.path,
        since=running.since,
        pinned=resolver.changes.pinned,
        options=options,
    )


class Patch(Body):
    """Options to set, each with its value as the file would say it; null leaves the option to the file again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"server": {"verbosity": 2, "prefetch": True}}]})

    server: dict[OptionName, Value | list[Value] | None] = Field(
        min_length=1,
        max_length=MAX_OPTIONS,
        description="Options of `server:`. A list option takes a list, which replaces what the file says",
    )


@router.patch(
    "/config",
    summary="Set options, live, over what the file says",
    responses=edits.documented("OPTION_NOT_SETTABLE", "CONFIRM_PENDING"),
)
def patch_config(body: Patch, resolver: Resolver, caller: Operator, terms: AskedRevertible) -> Outcome:
    """Checked like the file: every finding is told, with the place `API`.

    What was set survives a restart and wins over the file, which is never written. Options that name files, secrets,
    and those that a process reads before its state can only be set in the file.
    """
    plan = Plan(tuple(overlay.setting(name, _texts(value)) for name, value in body.server.items()))
    return outcome(terms.make(resolver.changes, caller.change("PATCH /config"), lambda _view: plan))


class Difference(BaseModel):
    """One option that the API has changed."""

    option: str = Field(examples=["verbosity"])
    file: ShownValue = Field(description="What would hold without the API; null if nothing")
    value: ShownValue = Field(description="What holds")


class Laid(BaseModel):
    """What is laid over the configuration file."""

    revision: int
    file: str
    pinned: int | None = Field(description="The revision whose view of the file is in force, after a rollback")
    file_differs: bool = Field(description="Whether the file says something else by now than what is in force")
    options: list[Difference]
    records: int = Field(description="Local records of the API")
    blocks: int = Field(description="Blocked names of the API")


@router.get("/config/diff", summary="What the API has changed over the file")
def get_config_diff(resolver: Resolver, _caller: Reader) -> Laid:
    """Option by option. Servers that the API put into a forward zone show in its `forward-addr`."""
    changes = resolver.changes
    running = changes.running
    below = {(s.clause, s.name, s.option): s for s in effective.settings(changes.file)}
    found = []
    for setting in effective.changed(changes.file, running.config):
        before = below.get((setting.clause, setting.name, setting.option))
        found.append(
            Difference(option=setting.title, file=None if before is None else _shown(before), value=_shown(setting))
        )
    return Laid(
        revision=running.revision,
        file=resolver.path,
        pinned=changes.pinned,
        file_differs=changes.file_differs(),
        options=found,
        records=changes.count("record"),
        blocks=changes.count("block"),
    )


@router.get(
    "/config/export",
    summary="The configuration in effect as one text",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file and what the API changed, as one unbound.conf; secrets are left out",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def get_config_export(resolver: Resolver, _caller: Operator) -> StreamingResponse:
    """Local data of the file and records of the API included. Blocks become local zones that do the same."""
    changes = resolver.changes
    text = merged(changes.running.config, changes.scan, changes.kept)
    return StreamingResponse((piece.encode("utf-8", "replace") for piece in text), media_type="text/plain")


def _option(setting: effective.Setting) -> Option:
    hidden = setting.secret and bool(setting.value)
    return Option(
        clause=setting.clause,
        name=setting.name or None,
        option=setting.option,
        value=_shown(setting),
        secret=hidden,
        origin=[_origin(at) for at in setting.given] or [Origin(kind="default")],
    )


def _origin(at: Position) -> Origin:
    if at.file == ABOVE:
        return Origin(kind="api")
    return Origin(kind="file", file=at.file, line=at.line, column=at.column)


def _shown(setting: effective.Setting) -> ShownValue:
    return None if setting.secret else _plain(setting.value)


def _texts(value: Value | list[Value] | None) -> list[str] | None:
    """A value of a body as the file would say it."""
    if value is None:
        return None
    return [_text(item) for item in (value if isinstance(value, list) else [value])]


def _text(value: Value) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _plain(value: object) -> ShownValue:
    if isinstance(value, list):
        return [str(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
