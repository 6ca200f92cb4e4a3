"""The API key while the resolver runs: comparing it, changing it, and that one which was changed stays dead.

The key itself lives where `settings` found it, or in a security module; here are digests alone. Which keys are dead is
kept in the state, so that neither the environment nor the configuration file nor an old `api.key` brings one back. A
key of a security module is changed there, and never among them. This module must never log a key, and never let the
time of a comparison depend on it.
"""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from runbound.api.settings import ApiKey
from runbound.ops.change import Changes
from runbound.ops.outcome import Change, Edited
from runbound.ops.refusals import Conflict, KeyInHsm, StateUnavailable
from runbound.ops.users import API_KEY, KIND
from runbound.ops.view import Plan, View
from runbound.state.directory import StateUnusableError
from runbound.state.entries import Edit, StoredEntry, canonical

MAX_DEAD: Final = 1000
"""Dead keys that are remembered; one key after another for years. The oldest is forgotten first."""


BEARER: Final = bytes(range(ord("!"), ord("~") + 1))
"""The octets that a bearer key is written with."""


class KeyFile(Protocol):
    """Where a key is kept that runbound made: the state directory. Both raise StateUnusableError."""

    def kept_api_key(self) -> str | None: ...
    def keep_api_key(self, key: str) -> str: ...


class Check(Protocol):
    """Tells the API key from any other."""

    def matches(self, presented: bytes) -> bool:
        """Whether this is the key."""


class TokenCheck:
    """Compares with a key that stays in a security module: of it there is what it made of a nonce once.

    HMAC fills a short key up with zeros, so that other octets than the key's could pass for it: what could not stand in
    a header as a bearer key is none, whatever its code is.
    """

    def __init__(self, tag: bytes, nonce: bytes) -> None:
        """`tag` is HMAC-SHA256 over the nonce, made with the key."""
        self._tag = tag
        self._nonce = nonce

    def matches(self, presented: bytes) -> bool:
        """Whether this is the key; the time tells nothing of where they differ."""
        if not presented or presented.translate(None, BEARER):
            return False
        return hmac.compare_digest(self._tag, hmac.digest(presented, self._nonce, "sha256"))


class KeyCheck:
    """Compares keys without keeping the key: digests of equal length, in constant time."""

    def __init__(self, key: str, salt: bytes | None = None) -> None:
        self._salt = secrets.token_bytes(32) if salt is None else salt
        self._digest = self._hash(key.encode())

    def matches(self, presented: bytes) -> bool:
        """Whether this is the key."""
        return hmac.compare_digest(self._digest, self._hash(presented))

    def replace(self, key: str) -> None:
        """From now on this is the key, and the one before is none."""
        self._digest = self._hash(key.encode())

    @property
    def mark(self) -> tuple[str, str]:
        """Salt and digest, hexadecimal: how a dead key is remembered."""
        return self._salt.hex(), self._digest.hex()

    def _hash(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._salt, digest_size=32).digest()


class Dead(msgspec.Struct, frozen=True):
    """The API keys that were changed, as the state keeps them."""

    salt: str
    dead: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: StoredEntry | None) -> "Dead":
        """Those of the state; none if no key was ever changed."""
        if entry is None:
            return cls(secrets.token_hex(32))
        return cls(entry.doc["salt"], tuple(entry.doc["dead"]))

    @classmethod
    def read(cls, changes: Changes) -> "Dead":
        """Those of the state, or none if there is no state: nothing could have been changed then."""
        try:
            return cls.of(changes.store.get(KIND, API_KEY.encode()))
        except StateUnavailable:
            return cls.of(None)

    def check(self, key: ApiKey) -> KeyCheck:
        """What compares with this key."""
        return KeyCheck(key.secret, bytes.fromhex(self.salt))

    def holds(self, key: ApiKey) -> bool:
        """Whether this key was changed."""
        return self.check(key).mark[1] in self.dead

    def living(self, keys: Iterable[ApiKey], died: Callable[[ApiKey], None]) -> ApiKey | None:
        """The first of these that is not dead; those before it are told to `died`."""
        for key in keys:
            if not self.holds(key):
                return key
            died(key)
        return None


class Holder:
    """Has the check of the key in force, and changes it. Safe from every thread."""

    def __init__(
        self,
        check: KeyCheck | None,
        *,
        token: TokenCheck | None = None,
        file: KeyFile | None = None,
        given: Iterable[str] = (),
    ) -> None:
        """`check` is that of the key by the chain without a security module, `token` that of the key in one, which
        comes first; `file` is None without a state directory.

        `given` are the digests (see `KeyCheck.mark`) of every key that an operator gave. They die with the one in
        force: else the next start would take one of them in place of the new key.
        """
        self._check = check
        self._token = token
        self._given = tuple(given)
        self._file = file
        self._lock = threading.Lock()

    def matches(self, presented: bytes) -> bool:
        """Whether this is the key in force."""
        check = self._token or self._check
        return check is not None and check.matches(presented)

    def take(self, token: TokenCheck) -> None:
        """From now on the key is this one of a security module."""
        self._token = token

    def give_up_token(self, made: Callable[[], KeyCheck]) -> None:
        """From now on the key is the one by the chain without a security module; `made` makes it if there is none.

        Should `made` raise, nobody has a key.
        """
        self._token = None
        if self._check is None:
            self._check = made()

    def preview(self, changes: Changes, change: Change) -> Edited:
        """What `rotate` would do. Raises what it would raise."""
        _file, check = self._kept()
        made = changes.edit(change, self._dying(check), dry_run=True)
        assert isinstance(made, Edited)  # no configuration is made of it that could be wrong
        return made

    def rotate(self, changes: Changes, change: Change) -> tuple[str, str]:
        """Makes a new key; the one before is dead when this returns. The key, and the file it is kept in.

        The file is written first: whoever pulls the plug in between finds the old key alive, and nobody was told yet.
        Raises KeyInHsm, StateUnavailable if it could not be kept, Conflict if somebody else changed it just now.
        """
        with self._lock:
            file, check = self._kept()
            dying = self._dying(check)
            self.preview(changes, change)  # what would be refused is refused before the file is touched
            new = secrets.token_urlsafe(32)
            try:
                before = file.kept_api_key()
                place = file.keep_api_key(new)
            except StateUnusableError as error:
                raise StateUnavailable(error.what, fix=error.fix) from error
            try:
                changes.edit(change, dying)
            except BaseException:
                if before is not None:
                    file.keep_api_key(before)
                raise
            check.replace(new)
            return new, place

    def _kept(self) -> tuple[KeyFile, KeyCheck]:
        if self._token is not None or self._check is None:
            raise KeyInHsm("the API key lives in a hardware security module", fix="runbound hsm rotate api")
        if self._file is None:
            raise StateUnavailable("there is no state directory to keep a new key in", fix="name one with state-dir:")
        return self._file, self._check

    def _dying(self, check: KeyCheck) -> Callable[[View], Plan]:
        """Wants the key that this check knows now to be among the dead."""
        salt, digest = mark = check.mark

        def plan(view: View) -> Plan:
            entry = view.get(KIND, API_KEY.encode())
            before = Dead.of(entry) if entry is not None else Dead(salt)
            if before.salt != salt or check.mark != mark or digest in before.dead:
                raise Conflict("the API key was changed by somebody else", fix="read the new one and try again")
            dying = [mark for mark in dict.fromkeys((*self._given, digest)) if mark not in before.dead]
            doc: dict[str, Any] = {"name": API_KEY, "salt": salt, "dead": [*before.dead, *dying][-MAX_DEAD:]}
            return Plan((Edit(KIND, API_KEY.encode(), canonical(doc)),))

        return plan
