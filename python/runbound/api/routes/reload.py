"""`/reload`: read the file again. The same path as SIGHUP, with the diagnostics as data."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from runbound.api import problems
from runbound.api.auth import Operator
from runbound.api.context import Resolver
from runbound.api.problems import DiagnosticItem, ProblemError
from runbound.config.diagnostics import Diagnostic
from runbound.errors import RunboundError
from runbound.ops.change import Rejected

router = APIRouter(tags=["config"])


class ChangedOption(BaseModel):
    """One thing that changed."""

    option: str = Field(examples=["verbosity"])
    effect: str = Field(description="`live`: in effect now; `restart`: at the next start", examples=["live"])


class Reloaded(BaseModel):
    """What a reload did."""

    revision: int
    changes: list[ChangedOption]
    warnings: list[DiagnosticItem]


@router.post("/reload", summary="Read the configuration file again", responses=problems.documented("CONFIG_INVALID"))
def post_reload(resolver: Resolver, caller: Operator) -> Reloaded:
    """Everything that can change live does. A broken file changes nothing and the problem lists every finding."""
    try:
        result = resolver.changes.reload(caller.change("POST /reload"))
    except RunboundError as error:
        raise ProblemError("CONFIG_INVALID", str(error)) from error
    if isinstance(result, Rejected):
        raise ProblemError("CONFIG_INVALID", diagnostics=[_item(finding) for finding in result.diagnostics])
    return Reloaded(
        revision=result.revision,
        changes=[ChangedOption(option=item.option, effect=item.effect) for item in result.changes],
        warnings=[_item(finding) for finding in result.warnings],
    )


def _item(finding: Diagnostic) -> DiagnosticItem:
    return DiagnosticItem(
        severity=finding.severity,
        file=finding.file,
        line=finding.line,
        column=finding.column,
        message=finding.text,
        hint=finding.hint,
    )
