"""Who may call the API: users, their roles and zones, and the keys they show.

Users are entries of the state like any other and change by plans for `ops.change`; this module says what such a plan
wants, reads them back, and tells whose key a key is. A key is `rb_`, the user's id, `_`, a secret; of the secret only a
salted digest is kept, so it is shown once. It must never log a key, and never let the time of a comparison depend on
it.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, get_args

import msgspec

from runbound.ops.refusals import Conflict, Missing, TooManyUsers
from runbound.ops.view import Plan, View
from runbound.state.entries import Edit, StoredEntry, canonical

Role = Literal["read", "dns", "operator", "admin"]
"""From the least to the most; each may all that those before it may."""
RANKS: Final[tuple[Role, ...]] = get_args(Role)
ROLES: Final[dict[Role, str]] = {
    "read": "sees figures, configuration, records and blocks",
    "dns": "also changes records and blocks",
    "operator": "also changes the configuration, upstream servers and the cache, and sees what clients ask",
    "admin": "also manages users and keys, backups and the audit log",
}
ZONED: Final[tuple[Role, ...]] = ("read", "dns")
"""Roles that may be limited to zones: what the others may do is about the whole resolver."""

KIND: Final = "user"
MAX_USERS: Final = 1000
"""Users at most: people and programs of one house; each is a line that somebody has to answer for."""
MAX_ZONES: Final = 100
"""Zones of one user at most."""
API_KEY: Final = "api-key"
"""Whose calls come with the API key. Under this name the state keeps which API keys are dead."""
LOCAL: Final = "local"
"""Whose calls come over the Unix socket without a key."""
RESERVED: Final = frozenset({API_KEY, LOCAL, "signal", "file", "system", "runbound", "anybody", "me"})
"""Names that stand for somebody else in the log and the audit trail, or for something else in a path."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
"""What a user may be called: it stands in logs and in audit entries, so there is one way to write it."""
SECRET_BYTES: Final = 32
"""Octets of chance in a key: nobody guesses it, so one round of a fast digest keeps it."""
TOUCH_SECONDS: Final = 60
"""How exactly the last use of a key is known: once a minute costs nothing."""

_FORM: Final = re.compile(rb"rb_([0-9]{1,18})_([A-Za-z0-9_-]{43})")


class KeyRefused(Exception):  # noqa: N818  # what it is, not that it is an error
    """A key that opens nothing. `why` is for the log, `told` for its holder where the secret was right."""

    def __init__(self, why: str, told: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.told = told


class Key(msgspec.Struct, frozen=True):
    """What is kept of a user's key. Times are Unix seconds, salt and hash hexadecimal."""

    salt: str
    hash: str
    created: int
    expires: int | None = None

    @property
    def lifetime(self) -> int | None:
        """How long it was made to last, in seconds."""
        return None if self.expires is None else self.expires - self.created


class User(msgspec.Struct, frozen=True):
    """One user. `zones` are absolute names in lower case, in A-labels; none means everywhere."""

    id: int
    revision: int
    name: str
    role: Role
    key: Key
    created: int
    zones: tuple[str, ...] = ()
    disabled: bool = False
    comment: str | None = None


class Profile(msgspec.Struct, frozen=True):
    """What may be said about a user, besides the key."""

    role: Role
    zones: tuple[str, ...] = ()
    disabled: bool = False
    comment: str | None = None


class Kept(Protocol):
    """The part of the store that users need."""

    @property
    def revision(self) -> int: ...
    def by_id(self, kind: str, id: int) -> StoredEntry | None: ...  # noqa: A002  # the member's name everywhere
    def touch(self, id: int, at: int) -> None: ...  # noqa: A002


Hold = Callable[[StoredEntry], None]
"""Looks at an entry before it changes, and raises if it is not the one that was meant."""


def below(name: str, zone: str) -> bool:
    """Whether a name is a zone's or lies in it. Both absolute, in presentation form and lower case."""
    if zone in (name, "."):
        return True
    at = len(name) - len(zone) - 1
    if at < 0 or name[at:] != f".{zone}":
        return False
    escapes = len(name[:at]) - len(name[:at].rstrip("\\"))
    return escapes % 2 == 0  # else the dot is part of a label


def wrong_zones(role: Role, zones: tuple[str, ...]) -> str | None:
    """Why these zones do not fit the role; None if they do."""
    if zones and role not in ZONED:
        return f"the role {role} is about the whole resolver: only {' and '.join(ZONED)} may be limited to zones"
    return None


def of(entry: StoredEntry) -> User:
    """The user of an entry."""
    return msgspec.convert({**entry.doc, "id": entry.id, "revision": entry.revision}, User)


def names_user(key: bytes) -> bool:
    """Whether an entry of that key is a user; the dead API keys are kept beside them."""
    return key != API_KEY.encode()


def is_user(entry: StoredEntry) -> bool:
    """Whether it is a user."""
    return names_user(entry.key)


def new_key(seconds: int | None, now: float) -> tuple[str, Key]:
    """A new secret, and what is kept of it. It lasts so many seconds, or for ever."""
    secret, salt, created = secrets.token_urlsafe(SECRET_BYTES), secrets.token_bytes(16), int(now)
    expires = None if seconds is None else created + seconds
    return secret, Key(salt.hex(), _digest(salt, secret.encode()).hex(), created, expires)


def lasting(key: Key, seconds: int | None) -> Key:
    """The same key with another life: so many seconds from when it was made, or for ever."""
    return msgspec.structs.replace(key, expires=None if seconds is None else key.created + seconds)


def token(id: int, secret: str) -> str:  # noqa: A002  # the member's name everywhere
    """What the user shows."""
    return f"rb_{id}_{secret}"


def adding(name: str, profile: Profile, key: Key) -> Callable[[View], Plan]:
    """Wants a new user. Refused as CONFLICT if the name is taken, TOO_MANY_USERS if there are enough."""

    def plan(view: View) -> Plan:
        if view.get(KIND, name.encode()) is not None:
            raise Conflict(f"there is a user {name} already", fix="choose another name, or change that user")
        others = view.get(KIND, API_KEY.encode()) is not None
        if view.count(KIND) - others >= MAX_USERS:
            raise TooManyUsers(f"there are {MAX_USERS} users", fix="delete those that are not needed any more")
        doc = {"name": name, "created": key.created, **msgspec.to_builtins(profile), "key": msgspec.to_builtins(key)}
        return _put(name, doc)

    return plan


def changing(id: int, hold: Hold, **members: object) -> Callable[[View], Plan]:  # noqa: A002
    """Wants these members of a user to be so; None takes one away. `key` is one of them."""

    def plan(view: View) -> Plan:
        entry = _standing(view, id)
        hold(entry)
        user = msgspec.structs.replace(of(entry), **members)
        if trouble := wrong_zones(user.role, user.zones):
            raise Conflict(trouble, fix="change role and zones together")
        kept = ("name", "created", "key", *Profile.__struct_fields__)
        return _put(user.name, {name: msgspec.to_builtins(getattr(user, name)) for name in kept})

    return plan


def rotating(id: int, hold: Hold, make: Callable[[User], Key]) -> Callable[[View], Plan]:  # noqa: A002
    """Wants another key; the one before opens nothing any more."""

    def plan(view: View) -> Plan:
        return changing(id, hold, key=make(of(_standing(view, id))))(view)

    return plan


def deleting(id: int, hold: Hold) -> Callable[[View], Plan]:  # noqa: A002
    """Wants a user and their key to be gone."""

    def plan(view: View) -> Plan:
        entry = _standing(view, id)
        hold(entry)
        return Plan((Edit(KIND, entry.key, None),))

    return plan


class Users:
    """Tells whose key a key is. Used by the API's event loop alone.

    What it has read is good for one revision of the state: whoever changes a user by whatever way, it holds at once.
    """

    def __init__(self, store: Callable[[], Kept], clock: Callable[[], float] = time.time) -> None:
        """`store` gives the state or raises StateUnavailable; `clock` is Unix time."""
        self._store = store
        self._clock = clock
        self._read: dict[int, User] = {}
        self._revision = -1
        self._touched: dict[int, float] = {}

    def owns(self, presented: bytes) -> bool:
        """Whether it has the form of a user's key."""
        return _FORM.fullmatch(presented) is not None

    def authenticate(self, presented: bytes) -> User:
        """Whose key it is. Raises KeyRefused, and StateUnavailable when users cannot be read."""
        match = _FORM.fullmatch(presented)
        if match is None:
            raise KeyRefused("wrong key")
        user = self._user(int(match[1]))
        salt, digest = (user.key.salt, user.key.hash) if user else ("00" * 16, "00" * 32)
        right = hmac.compare_digest(_digest(bytes.fromhex(salt), match[2]), bytes.fromhex(digest))
        if user is None or not right:
            raise KeyRefused("wrong key")
        now = self._clock()
        if user.disabled:
            raise KeyRefused(f"{user.name} is disabled", "this user is disabled")
        if user.key.expires is not None and user.key.expires <= now:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(user.key.expires))
            raise KeyRefused(f"the key of {user.name} has expired", f"this key was good until {when}")
        if now - self._touched.get(user.id, 0.0) >= TOUCH_SECONDS:
            self._touched[user.id] = now
            self._store().touch(user.id, int(now))
        return user

    def _user(self, id: int) -> User | None:  # noqa: A002
        store = self._store()
        if store.revision != self._revision:
            self._read.clear()
            self._revision = store.revision
        if id not in self._read:
            entry = store.by_id(KIND, id)
            if entry is None or not is_user(entry):
                return None
            self._read[id] = of(entry)
        return self._read[id]


def _standing(view: View, id: int) -> StoredEntry:  # noqa: A002
    entry = view.by_id(KIND, id)
    if entry is None or not is_user(entry):
        raise Missing("there is no user of this id", fix="GET /users lists them")
    return entry


def _put(name: str, doc: dict[str, Any]) -> Plan:
    """A member that says nothing (no zones, not disabled) is left out, so there is one text of each user."""
    telling = {member: value for member, value in doc.items() if value not in ([], (), False)}
    return Plan((Edit(KIND, name.encode(), canonical(telling)),))


def _digest(salt: bytes, secret: bytes) -> bytes:
    return hashlib.blake2b(secret, key=salt, digest_size=32).digest()
