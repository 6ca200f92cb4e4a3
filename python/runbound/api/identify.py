"""Who is it? A bearer key, or on the Unix socket the account of the process at the other end, becomes a caller.

Owns the order: the brake is asked before anything is compared, and who sent a wrong key is told to the brake and to the
audit trail. It must never log or return a key.
"""

import os
from typing import Final, Protocol

from starlette.types import Scope

from runbound.api.apikey import Check
from runbound.api.auth import CHALLENGE, HINT, Call, Caller
from runbound.api.context import Trail
from runbound.api.limits import Brake
from runbound.api.problems import ProblemError
from runbound.ops.refusals import StateUnavailable
from runbound.ops.users import API_KEY, LOCAL, KeyRefused, User

PEER: Final = "runbound.peer"
"""Where the server puts the user id of the process at the other end of a Unix socket, in the scope's state."""
STRANGER: Final = "stranger"
"""Who is said to have shown a wrong key."""
MAX_TOKEN: Final = 2048
"""Longest token that is looked at, in octets."""


class Users(Protocol):
    """Those who may call besides the holder of the API key."""

    def owns(self, token: bytes) -> bool:
        """Whether it has the form of a user's key."""

    def authenticate(self, token: bytes) -> User:
        """Whose key it is. Raises KeyRefused."""


class Identify:
    """Makes the caller of a request."""

    def __init__(self, key: Check, users: Users, brake: Brake, trail: Trail) -> None:
        self._key = key
        self._users = users
        self._brake = brake
        self._trail = trail

    def __call__(self, scope: Scope, call: Call) -> Caller | None:
        """The caller; None if nothing was presented.

        Raises the problems UNAUTHORIZED for a key that is none, TOO_MANY_FAILURES for one that is not looked at.
        """
        presented = [value for name, value in scope["headers"] if name == b"authorization"]
        if not presented:
            return _local(scope, call)
        if call.address is not None and (wait := self._brake.wait(call.address)):
            raise ProblemError(
                "TOO_MANY_FAILURES", "the key was not looked at", headers={"Retry-After": str(int(wait) + 1)}
            )
        try:
            return self._caller(presented, call)
        except StateUnavailable as error:
            raise ProblemError("STATE_UNAVAILABLE", f"users cannot be read: {error.what}") from error
        except KeyRefused as refused:
            self._trail.record("auth.failure", STRANGER, address=call.address, why=refused.why, path=call.path)
            if call.address is not None and (wait := self._brake.failed(call.address)):
                self._trail.record("auth.blocked", STRANGER, address=call.address, seconds=int(wait))
            raise ProblemError("UNAUTHORIZED", refused.told or HINT, headers=CHALLENGE) from refused

    def _caller(self, presented: list[bytes], call: Call) -> Caller:
        scheme, _, token = presented[0].partition(b" ")
        token = token.strip()
        if len(presented) != 1 or scheme.lower() != b"bearer" or not token or len(token) > MAX_TOKEN:
            raise KeyRefused("malformed")
        if self._key.matches(token):
            return Caller(API_KEY, "admin", (), call)
        if not self._users.owns(token):
            raise KeyRefused("wrong key")
        user = self._users.authenticate(token)
        return Caller(user.name, user.role, user.zones, call, user.id)


def _local(scope: Scope, call: Call) -> Caller | None:
    """Who sits on this machine and is root or us needs no key: such a process could read it anyway."""
    peer = scope.get("state", {}).get(PEER)
    if peer is None or peer not in (0, os.geteuid()):
        return None
    return Caller(LOCAL, "admin", (), call)
