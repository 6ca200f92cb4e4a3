"""Why a change is not made although it could be understood: each reason with a stable code.

A plan raises one of these and nothing has changed; the API turns it into the problem of the same code, the command line
prints it. They must never know of HTTP, and never carry a secret.
"""

from typing import ClassVar

from runbound.config.model import Position
from runbound.errors import RunboundError


class Refusal(RunboundError):  # noqa: N818  # what it is, not that it is an error
    """A change that is refused, and by whose rule: `code` is one of the API's codes."""

    code: ClassVar[str] = "CONFLICT"


class Missing(Refusal):
    """There is no entry of that id or key."""

    code = "NOT_FOUND"


class Conflict(Refusal):
    """Another entry is in the way."""

    code = "CONFLICT"


class InFile(Refusal):
    """The entry stands in the configuration file, which nobody but its operator changes."""

    code = "IN_FILE"

    def __init__(self, what: str, at: Position) -> None:
        super().__init__(f"{what} stands in {at.file} line {at.line}", fix="take it out of the file and reload")


class LastUpstream(Refusal):
    """Without it there would be nobody left to ask."""

    code = "LAST_UPSTREAM"


class TooManyRecords(Refusal):
    """More local records than `max-records`."""

    code = "TOO_MANY_RECORDS"


class TooManyBlocks(Refusal):
    """More blocked names than `max-blocks`."""

    code = "TOO_MANY_BLOCKS"


def too_many(kind: str, count: int, most: int) -> Refusal:
    """That there would be so many entries of a kind, and why there may not."""
    refusal, option = (TooManyRecords, "max-records") if kind == "record" else (TooManyBlocks, "max-blocks")
    return refusal(f"there would be {count:,} of them, and {option} is {most:,}", fix=f"raise {option} in the file")


class StateUnavailable(Refusal):
    """There is no state to keep a change in."""

    code = "STATE_UNAVAILABLE"


class NoSuchRevision(Refusal):
    """The history has no revision of that number, or it cannot be led back to."""

    code = "NO_SUCH_REVISION"


class Unconfirmed(Refusal):
    """A change waits for its confirmation, and there is one at a time."""

    code = "CONFIRM_PENDING"


class NothingToConfirm(Refusal):
    """No change waits under that token: it was confirmed, or has been reverted."""

    code = "NOTHING_TO_CONFIRM"


class NotByApi(Refusal):
    """The option can only be set in the file."""

    code = "OPTION_NOT_SETTABLE"


class TooManyUsers(Refusal):
    """As many users as allowed."""

    code = "TOO_MANY_USERS"


class KeyInHsm(Refusal):
    """The key lives in a hardware security module, where it has to be changed."""

    code = "KEY_IN_HSM"


class NoHsm(Refusal):
    """No key comes from a hardware security module."""

    code = "HSM_NOT_USED"


class HsmBusy(Refusal):
    """Keys are being loaded already."""

    code = "HSM_BUSY"
