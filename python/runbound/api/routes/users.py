"""`/users`, `/roles`, `/rotate-key`: who may call this API, with what key, and what they may.

A key is shown in the answer that made it and never again: what is kept is a digest. Nothing here compares a key.
"""

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from runbound.api import edits, etag, paging, problems
from runbound.api.apikey import Holder
from runbound.api.auth import Admin, Anybody
from runbound.api.body import Body
from runbound.api.context import Resolver
from runbound.api.edits import Asked, Preview
from runbound.api.etag import IfNew, IfSame
from runbound.api.names import DomainName
from runbound.api.paging import Items, Paged
from runbound.api.problems import ProblemError, invalid
from runbound.ops import users
from runbound.ops.refusals import Missing
from runbound.ops.users import MAX_ZONES, RESERVED, ROLES, ZONED, Key, Profile, Role, User
from runbound.state.entries import StoredEntry

LONGEST: Final = 10 * 365 * 86_400
"""The longest life of a key that ends, in seconds: ten years."""
MAX_COMMENT: Final = 200

router = APIRouter(tags=["users"])

UserId = Annotated[int, Path(ge=1, le=2**53 - 1)]
UserName = Annotated[
    str,
    StringConstraints(pattern=f"^{users.NAME.pattern}$"),
    Field(description="Who it is, in the history and the audit log; it stays", examples=["anna", "backup@nas"]),
]
Seconds = Annotated[int, Field(ge=60, le=LONGEST, description="How long the key works; for ever if it is left out")]
Zones = Annotated[
    list[DomainName],
    Field(max_length=MAX_ZONES, description="Only names at and below these; none is everywhere. For `read` and `dns`"),
]
Comment = Annotated[str, StringConstraints(max_length=MAX_COMMENT), Field(description="For who reads the list later")]

NO_ZONES: Final[dict[str, JsonValue]] = {"maxItems": 0}
FITTING: Final[list[JsonValue]] = [
    {"properties": {"role": {"enum": list(ZONED)}}},
    {"properties": {"role": {"enum": [role for role in ROLES if role not in ZONED]}, "zones": NO_ZONES}},
]
"""Role and zones, as JSON Schema says what goes with what."""


class NewUser(Body):
    """A user to be made."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "anna", "role": "operator"},
                {"name": "dhcp", "role": "dns", "zones": ["home.arpa"], "key_seconds": 7_776_000},
            ],
            "oneOf": FITTING,
        }
    )

    name: UserName
    role: Role
    zones: Zones = Field(default_factory=list)
    comment: Comment = ""
    key_seconds: Seconds | None = None


class UserPatch(Body):
    """What is to be different about a user. What is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"disabled": True}, {"role": "dns", "zones": []}]})

    role: Role | None = None
    zones: Zones | None = None
    disabled: bool | None = Field(default=None, description="True: the key opens nothing until it is false again")
    comment: Comment | None = None


class KeyWish(Body):
    """What the new key is to be like."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"key_seconds": 86_400}]})

    key_seconds: Annotated[
        int | None, Field(ge=60, le=LONGEST, description="How long it works; if left out, as long as the one before")
    ] = None


class KeyInfo(BaseModel):
    """What is known of a key. Times are Unix seconds."""

    created: int
    expires: int | None = Field(description="Null: never")
    last_used: int | None = Field(description="To the minute; null: never")


class UserItem(BaseModel):
    """One user."""

    id: int
    revision: int = Field(description="The change that wrote it last")
    name: str = Field(examples=["anna"])
    role: Role
    zones: list[str] = Field(description="Only names at and below these; none is everywhere", examples=[["home.arpa."]])
    disabled: bool
    comment: str
    created: int = Field(description="Unix seconds")
    key: KeyInfo


class UserList(Items[UserItem]):
    """A page of users, by name."""


class WithKey(UserItem):
    """A user with a new key."""

    secret: str = Field(description="The key. It is shown this once", examples=["rb_7_PXxn1zC2gyMTPw3Evny0tGEKAJ4L9Jq"])


class Me(BaseModel):
    """Who calls."""

    id: int | None = Field(description="Null for the API key and the Unix socket")
    name: str
    role: Role
    zones: list[str]


class RoleItem(BaseModel):
    """One role. Each may all that those before it may."""

    role: Role
    may: str
    zones: bool = Field(description="Whether users with it can be limited to zones")


class Roles(BaseModel):
    """The roles, from the least to the most."""

    roles: list[RoleItem]


class NewApiKey(BaseModel):
    """The new API key."""

    secret: str = Field(description="The key. It is shown this once")
    file: str = Field(description="Where the resolver keeps it, readable by its account and root")


@router.get("/roles", summary="The roles and what they may")
def get_roles(_caller: Anybody) -> Roles:
    """From the least to the most."""
    return Roles(roles=[RoleItem(role=role, may=may, zones=role in ZONED) for role, may in ROLES.items()])


@router.get("/users/me", summary="Who this key belongs to")
def get_users_me(caller: Anybody) -> Me:
    """Any key may ask."""
    return Me(id=caller.id, name=caller.name, role=caller.role, zones=list(caller.zones))


@router.get("/users", summary="Users", responses=problems.documented("STATE_UNAVAILABLE"))
def get_users(resolver: Resolver, _caller: Admin, page: Paged, news: IfNew) -> UserList:
    """By name. The API key is nobody's: it is not among them."""
    store = resolver.changes.store
    # One more tells whether a page follows; another makes up for the dead API keys, which are kept beside the users.
    after = page.key(lambda number: entry.key if (entry := store.by_id(users.KIND, number)) else None)
    found = store.page(users.KIND, after=after, limit=page.limit + 2)
    found = [entry for entry in found if users.is_user(entry)]
    shown, more = found[: page.limit], len(found) > page.limit
    others = store.get(users.KIND, users.API_KEY.encode()) is not None
    last = shown[-1] if more else None
    used = store.last_used([entry.id for entry in shown])
    news.show(etag.listing(store.revision))
    return UserList(
        items=[_shown(entry, used) for entry in shown],
        next=paging.cursor(last.key, last.id) if last else None,
        total=store.count(users.KIND) - others,
    )


@router.post(
    "/users",
    summary="Make a user",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": Preview, "description": "What would change"},
        **edits.documented("CONFLICT", "TOO_MANY_USERS"),
    },
)
def post_users(body: NewUser, resolver: Resolver, caller: Admin, terms: Asked, response: Response) -> WithKey | Preview:
    """The answer holds the key; only a digest of it is kept."""
    if body.name in RESERVED:
        raise invalid("body.name", "this name stands for somebody else in the audit log")
    zones = _zones(body.zones)
    if trouble := users.wrong_zones(body.role, zones):
        raise invalid("body.zones", trouble)
    secret, key = users.new_key(body.key_seconds, time.time())
    profile = Profile(body.role, zones, comment=body.comment or None)
    made = terms.make(resolver.changes, caller.change("POST /users"), users.adding(body.name, profile, key))
    if made.dry_run:
        response.status_code = status.HTTP_200_OK
        return edits.preview(made)
    return _with_key(edits.kept(response, made), secret)


@router.get("/users/{id}", summary="One user", responses=problems.documented("NOT_FOUND", "STATE_UNAVAILABLE"))
def get_user(id: UserId, resolver: Resolver, _caller: Admin, news: IfNew) -> UserItem:  # noqa: A002
    """The id is that of the list."""
    store = resolver.changes.store
    entry = store.by_id(users.KIND, id)
    if entry is None or not users.is_user(entry):
        raise Missing("there is no user of this id", fix="GET /users lists them")
    news.show(etag.entity(entry.revision, entry.id))
    return _shown(entry, store.last_used([id]))


@router.patch(
    "/users/{id}",
    summary="Change a user's role, zones or comment, or disable them",
    responses=edits.documented("NOT_FOUND", "CONFLICT", "PRECONDITION_FAILED"),
)
def patch_user(
    id: UserId,  # noqa: A002  # the name in the path
    body: UserPatch,
    resolver: Resolver,
    caller: Admin,
    terms: Asked,
    same: IfSame,
    response: Response,
) -> UserItem | Preview:
    """Holds for the next call. Role and zones have to fit each other afterwards, else it is 409 `CONFLICT`."""
    members: dict[str, Any] = {
        "role": body.role,
        "zones": None if body.zones is None else _zones(body.zones),
        "disabled": body.disabled,
        "comment": body.comment,
    }
    given = {name: value for name, value in members.items() if value is not None}
    plan = users.changing(id, _held(same), **given)
    made = terms.make(resolver.changes, caller.change(f"PATCH /users/{id}"), plan)
    if made.dry_run:
        return edits.preview(made)
    entry = edits.kept(response, made)
    return _shown(entry, resolver.changes.store.last_used([entry.id]))


@router.delete(
    "/users/{id}",
    summary="Delete a user; the key is dead at once",
    status_code=status.HTTP_204_NO_CONTENT,
    response_model=None,
    responses=edits.emptied("NOT_FOUND", "PRECONDITION_FAILED"),
)
def delete_user(id: UserId, resolver: Resolver, caller: Admin, terms: Asked, same: IfSame) -> Response:  # noqa: A002
    """A rollback does not bring it back."""
    change = caller.change(f"DELETE /users/{id}")
    return edits.empty(terms, terms.make(resolver.changes, change, users.deleting(id, _held(same))))


@router.post(
    "/users/{id}/rotate-key",
    summary="Give a user a new key; the one before is dead at once",
    responses=edits.documented("NOT_FOUND", "FORBIDDEN", "PRECONDITION_FAILED"),
)
def post_user_rotate_key(
    id: UserId,  # noqa: A002  # the name in the path
    body: KeyWish,
    resolver: Resolver,
    caller: Anybody,
    terms: Asked,
    same: IfSame,
    response: Response,
) -> WithKey | Preview:
    """Admins may do it for everybody, everybody for themselves. The answer holds the key."""
    if caller.id != id and not caller.has("admin"):
        raise ProblemError("FORBIDDEN", f"{caller.name} is not this user")
    secret, key = users.new_key(None, time.time())

    def make(user: User) -> Key:
        seconds = body.key_seconds if body.key_seconds is not None else user.key.lifetime
        return users.lasting(key, seconds)

    plan = users.rotating(id, _held(same), make)
    made = terms.make(resolver.changes, caller.change(f"POST /users/{id}/rotate-key"), plan)
    return edits.preview(made) if made.dry_run else _with_key(edits.kept(response, made), secret)


@router.post(
    "/rotate-key",
    summary="Make a new API key; the one before is dead at once",
    responses=problems.documented("STATE_UNAVAILABLE", "KEY_IN_HSM", "CONFLICT"),
)
def post_rotate_key(request: Request, resolver: Resolver, caller: Admin, terms: Asked) -> NewApiKey | Preview:
    """It stays dead after a restart, even if the environment or the configuration file still holds it.

    The new one is kept in `api.key` in the state directory, and is in force from then on.
    """
    holder: Holder = request.app.state.api_key
    change = caller.change(terms.reason or "POST /rotate-key")
    if terms.dry_run:
        return edits.preview(holder.preview(resolver.changes, change))
    secret, file = holder.rotate(resolver.changes, change)
    return NewApiKey(secret=secret, file=file)


def _zones(listed: list[str]) -> tuple[str, ...]:
    """As they are kept: in order, once each, none if the root is among them."""
    zones = {zone.lower() for zone in listed}
    return () if "." in zones else tuple(sorted(zones))


def _held(same: IfSame) -> users.Hold:
    return lambda entry: same.hold(etag.entity(entry.revision, entry.id))


def _members(entry: StoredEntry, used: dict[int, int]) -> dict[str, Any]:
    user = users.of(entry)
    return {
        "id": user.id,
        "revision": user.revision,
        "name": user.name,
        "role": user.role,
        "zones": list(user.zones),
        "disabled": user.disabled,
        "comment": user.comment or "",
        "created": user.created,
        "key": KeyInfo(created=user.key.created, expires=user.key.expires, last_used=used.get(user.id)),
    }


def _shown(entry: StoredEntry, used: dict[int, int]) -> UserItem:
    return UserItem(**_members(entry, used))


def _with_key(entry: StoredEntry, secret: str) -> WithKey:
    return WithKey(**_members(entry, {}), secret=users.token(entry.id, secret))
