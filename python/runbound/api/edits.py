"""On what terms a change is made: tried only, for what reason, until confirmed. And what it answers.

Owns the query members that every changing route has, and how a change that is refused becomes a problem. It must never
change anything but by `ops.change`.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Header, Query, Response
from pydantic import BaseModel, Field

from runbound.api import etag, problems
from runbound.api.problems import DiagnosticItem, ProblemError
from runbound.config.diagnostics import Diagnostic
from runbound.ops.change import Change, Changes, Edited, Rejected
from runbound.ops.view import Plan, View
from runbound.state.entries import StoredEntry

MAX_REASON: Final = 200
"""Longest reason, in characters: a line of the history."""
REVISION_HEADER: Final = "X-Runbound-Revision"
CONFIRM_HEADER: Final = "X-Runbound-Confirm"
"""Where the token of a change stands that reverts by itself."""
CONFIRM_SECONDS: Final = (5, 3600)
"""Shortest and longest time to confirm a change in: long enough to look, short enough to remember."""
CODES: Final = ("STATE_UNAVAILABLE", "CONFIG_INVALID")
"""What every change may be refused with."""


class Preview(BaseModel):
    """What a change would do (`dry_run=1`): nothing has been done."""

    dry_run: bool = Field(default=True, description="Always true")
    revision: int = Field(description="The revision in force")
    summary: dict[str, dict[str, int]] = Field(
        description="For each kind how many entries would be `added`, `changed` and `removed`",
        examples=[{"record": {"added": 1}}],
    )
    diff: list[str] = Field(
        description="`+` what would come, `-` what would go", examples=[["+ record nas.example. 3600 A 192.0.2.7"]]
    )
    more: int = Field(description="Lines of the difference that are left out")
    warnings: list[DiagnosticItem]
    needs_restart: list[str] = Field(description="Options that would change at the next start only")


class Terms:
    """The terms of one change."""

    def __init__(self, response: Response, *, dry_run: bool, reason: str, confirm_within: int | None = None) -> None:
        self._response = response
        self.headers: dict[str, str] = {}
        """What the answer says of the change; on the framework's own response it stands already."""
        self.dry_run = dry_run
        self.reason = reason
        self.confirm_within = confirm_within

    def make(self, changes: Changes, change: Change, plan: Callable[[View], Plan]) -> Edited:
        """Makes the change, or with `dry_run` only looks at it. Raises ProblemError, and Refusal as the plan does."""
        made = changes.edit(self.of(change), plan, dry_run=self.dry_run, confirm_within=self.confirm_within)
        return self.made(made)

    def of(self, change: Change) -> Change:
        """The change with the reason that was given."""
        return msgspec.structs.replace(change, reason=self.reason) if self.reason else change

    def made(self, made: Edited | Rejected) -> Edited:
        """Tells in the answer's head what was done. Raises ProblemError if it was rejected."""
        if isinstance(made, Rejected):
            raise ProblemError("CONFIG_INVALID", diagnostics=items(made.diagnostics))
        self.headers[REVISION_HEADER] = str(made.revision)
        if made.confirm is not None:
            self.headers[CONFIRM_HEADER] = made.confirm
        self._response.headers.update(self.headers)
        return made


def preview(made: Edited) -> Preview:
    """What a dry run answers."""
    return Preview(
        revision=made.revision,
        summary=made.diff.summary,
        diff=list(made.diff.lines),
        more=made.diff.more,
        warnings=items(made.warnings),
        needs_restart=list(made.needs_restart),
    )


def kept(response: Response, made: Edited) -> StoredEntry:
    """The one entry that a change wrote, and its tag on the answer."""
    entry = made.entries[0]
    assert entry is not None
    response.headers["ETag"] = etag.entity(entry.revision, entry.id)
    return entry


def items(found: tuple[Diagnostic, ...]) -> list[DiagnosticItem]:
    """Findings about a configuration, as the API shows them."""
    return [
        DiagnosticItem(
            severity=item.severity,
            file=item.file,
            line=item.line,
            column=item.column,
            message=item.text,
            hint=item.hint,
        )
        for item in found
    ]


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a changing route: the problems of every change, and these."""
    return problems.documented(*CODES, *codes)


def emptied(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a route that deletes."""
    return {200: {"model": Preview, "description": "With `dry_run`: what would change"}, **documented(*codes)}


def empty(terms: Terms, made: Edited) -> Response:
    """The answer of a route that deletes: nothing, or with `dry_run` what would go."""
    if made.dry_run:
        text = preview(made).model_dump_json()
        return Response(text, media_type="application/json", headers=dict(terms.headers))
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=dict(terms.headers))


DryRun = Annotated[bool, Query(description="Only say what would change")]
Reason = Annotated[
    str, Query(max_length=MAX_REASON, description="For the history and the audit log; or the header X-Reason")
]
ReasonHeader = Annotated[str, Header(alias="X-Reason", max_length=MAX_REASON, include_in_schema=False)]
ConfirmWithin = Annotated[
    int | None,
    Query(
        ge=CONFIRM_SECONDS[0],
        le=CONFIRM_SECONDS[1],
        description=(
            "Seconds after which the change is taken back, unless POST /config/confirm is called with the token that "
            f"stands in the header {CONFIRM_HEADER}"
        ),
    ),
]


def _terms(response: Response, dry_run: DryRun = False, reason: Reason = "", x_reason: ReasonHeader = "") -> Terms:
    return Terms(response, dry_run=dry_run, reason=reason or x_reason)


def _revertible(
    response: Response,
    dry_run: DryRun = False,
    reason: Reason = "",
    x_reason: ReasonHeader = "",
    confirm_within: ConfirmWithin = None,
) -> Terms:
    return Terms(response, dry_run=dry_run, reason=reason or x_reason, confirm_within=confirm_within)


Asked = Annotated[Terms, Depends(_terms)]
"""A route that changes entries takes this."""
AskedRevertible = Annotated[Terms, Depends(_revertible)]
"""A route that changes the configuration takes this."""
