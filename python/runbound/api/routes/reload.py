"""`/reload`: read the file again. The same path as SIGHUP, with the diagnostics as data."""

from fastapi import APIRouter

from runbound.api import edits
from runbound.api.auth import Operator
from runbound.api.context import Resolver
from runbound.api.edits import AskedRevertible
from runbound.api.outcome import Outcome, outcome
from runbound.api.problems import ProblemError
from runbound.errors import RunboundError
from runbound.ops.refusals import Refusal

router = APIRouter(tags=["config"])


@router.post("/reload", summary="Read the configuration file again", responses=edits.documented("CONFIRM_PENDING"))
def post_reload(resolver: Resolver, caller: Operator, terms: AskedRevertible) -> Outcome:
    """Everything that can change live does, beneath what was changed by API.

    A broken file changes nothing and the problem lists every finding. A view of the file that a rollback pinned is let
    go.
    """
    try:
        result = resolver.changes.reload(
            terms.of(caller.change("POST /reload")), dry_run=terms.dry_run, confirm_within=terms.confirm_within
        )
    except Refusal:
        raise
    except RunboundError as error:
        raise ProblemError("CONFIG_INVALID", str(error)) from error
    return outcome(terms.made(result))
