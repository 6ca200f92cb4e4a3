"""Who may call what: the roles, the caller of a request, and what a route asks of them.

A route takes one of `Reader`, `Editor`, `Operator`, `Admin` and is handed the `Caller`; the OpenAPI document, `/help`
and the gate read off it who may call. Who a caller is decides the gate, before anything of a request is read. This
module must never see a key.
"""

from typing import Annotated, Final, Literal

import msgspec
from fastapi import Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from runbound.api.problems import ProblemError
from runbound.ops.change import Change
from runbound.ops.users import RANKS, ROLES, ZONED, Role, below

ANYBODY: Final = "anybody"
"""Scope of a route for every caller with a key, whatever the role and the zones."""
ZONES: Final = "zones"
"""Scope of a route that callers limited to zones may call: it looks at their zones itself."""

CALLER: Final = "runbound.caller"
"""Where the gate puts the caller into the scope of a request; None for strangers."""
HINT: Final = "send the key as Authorization: Bearer KEY"
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="runbound"'}
"""What a 401 carries (RFC 6750, section 3)."""

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="The API key, or the key of a user. Scopes are roles: "
    + "; ".join(f"`{r}` {t}" for r, t in ROLES.items()),
)


class Call(msgspec.Struct):
    """One request, as the audit trail names it."""

    method: str
    path: str
    request_id: str
    address: str | None
    """None on the Unix socket."""
    audited: bool = False
    """Whether an audit entry of this call has been written; the gate writes one for a changing call that has none."""

    def written(self) -> None:
        """There is an audit entry of it."""
        self.audited = True

    @property
    def fields(self) -> dict[str, object]:
        """What an audit entry says of it."""
        return {"method": self.method, "path": self.path, "request": self.request_id}


class Caller(msgspec.Struct, frozen=True):
    """Who calls. `zones` are absolute names in lower case, in A-labels; none means everywhere."""

    name: str
    role: Role
    zones: tuple[str, ...]
    call: Call
    id: int | None = None
    """The user's; None for the API key and the Unix socket."""

    def has(self, role: Role) -> bool:
        """Whether the caller has this role, or one that includes it."""
        return RANKS.index(self.role) >= RANKS.index(role)

    def may(self, name: str) -> bool:
        """Whether this absolute name (A-labels, any case) lies in the caller's zones."""
        return not self.zones or any(below(name.lower(), zone) for zone in self.zones)

    def require(self, name: str) -> None:
        """Raises the problem OUT_OF_ZONE for a name outside the caller's zones."""
        if not self.may(name):
            raise ProblemError("OUT_OF_ZONE", f"{name} is not in {', '.join(self.zones)}")

    def change(self, reason: str) -> Change:
        """A change by this caller."""
        return Change(self.name, reason, self.call.fields, self.call.written)


async def caller(
    request: Request,
    scopes: SecurityScopes,
    _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
) -> Caller:
    """The caller, if one of the scopes lets them in."""
    found = request.scope.get(CALLER)
    if not isinstance(found, Caller):
        raise ProblemError("UNAUTHORIZED", HINT, headers=CHALLENGE)
    needed = _role(scopes.scopes)
    if needed is not None:
        if not found.has(needed):
            raise ProblemError("FORBIDDEN", f"{found.name} has the role {found.role}, this needs {needed}")
        if found.zones and ZONES not in scopes.scopes:
            raise ProblemError("OUT_OF_ZONE", f"{found.name} is limited to {', '.join(found.zones)}")
    return found


Anybody = Annotated[Caller, Security(caller, scopes=[ANYBODY])]
"""Every caller with a key."""
Reader = Annotated[Caller, Security(caller, scopes=["read"])]
"""A role from `read` on, without zones: what the route tells is about the whole resolver."""
ZoneReader = Annotated[Caller, Security(caller, scopes=["read", ZONES])]
"""A role from `read` on. The route must leave out every name that `Caller.may` refuses."""
Editor = Annotated[Caller, Security(caller, scopes=["dns", ZONES])]
"""A role from `dns` on. The route must ask `Caller.require` about every name it touches."""
Operator = Annotated[Caller, Security(caller, scopes=["operator"])]
Admin = Annotated[Caller, Security(caller, scopes=["admin"])]


def scopes(route: APIRoute) -> list[str] | None:
    """What a route asks of its caller; None if it is open to strangers."""
    waiting = list(route.dependant.dependencies)
    while waiting:
        dependency = waiting.pop()
        if dependency.call is caller:
            return [*(dependency.parent_oauth_scopes or ()), *(dependency.own_oauth_scopes or ())]
        waiting += dependency.dependencies
    return None


def needed(route: APIRoute) -> Role | Literal["anybody"] | None:
    """The role a route needs, `anybody` for every caller with a key, None if it is open to strangers."""
    found = scopes(route)
    return None if found is None else _role(found) or "anybody"


def changes(route: APIRoute) -> bool:
    """Whether a call of this route is written down: all but GET, and questions that need a body (`read`)."""
    return needed(route) not in (None, "read") and not (route.methods or set()) <= {"GET", "HEAD"}


def refusals(scopes: list[str]) -> list[str]:
    """The codes with which a caller with a key may be refused who lacks these scopes."""
    role = _role(scopes)
    if role is None:
        return []
    return [*(["FORBIDDEN"] if role != RANKS[0] else []), *(["OUT_OF_ZONE"] if role in ZONED else [])]


def _role(scopes: list[str]) -> Role | None:
    return next((role for role in reversed(RANKS) if role in scopes), None)
