"""Which keys protect the state and its audit log.

Owns the two chains. A key whose label is set comes from the security module, and from nowhere else. Without a label the
store key comes from the environment (`RUNBOUND_STORE_KEY`), or there is none: then codes are made with a key that
everybody knows, which finds accidents and no attacker; the audit key comes from the environment
(`RUNBOUND_AUDIT_HMAC_KEY`), from `audit-log-hmac-key:`, or is made once and kept in `audit.key`.

A secret passes through here once, into locked memory, and is dropped; those of a module do not even do that. This
module must never print one, keep one, or hand one out as octets.
"""

import os
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from runbound.config import options, paths
from runbound.config.model import Config
from runbound.engine import Secret, SecretKey
from runbound.errors import RunboundError
from runbound.state.directory import locate
from runbound.state.opening import StoreKeys, backup_key
from runbound.state.origin import AUDIT_VARIABLE, STORE_VARIABLE, Origin
from runbound.state.trail import Key

if TYPE_CHECKING:
    from runbound.keys.messages import Mode, Role

options.honour("server", "audit-log-hmac-key")

AUDIT_OPTION: Final = "audit-log-hmac-key"
MAKE_ONE: Final = "make one: openssl rand -hex 32"


class Settings(Protocol):
    """What the options say about a module."""

    @property
    def labels(self) -> "Mapping[Role, str]": ...
    @property
    def mode(self) -> "Mode": ...


class TokenKeys(Protocol):
    """Keys that came from a security module: those in force, or those that are about to be."""

    @property
    def settings(self) -> Settings: ...
    @property
    def keys(self) -> "Mapping[Role, SecretKey]": ...


class Folder(Protocol):
    """The state directory: its path, and the audit key that is made there once, with its file."""

    @property
    def path(self) -> str: ...
    def audit_key(self) -> tuple[str, str]: ...


class Chosen(msgspec.Struct, frozen=True):
    """The keys, and where each came from, for the log."""

    keys: StoreKeys
    backup: Key
    """What seals backups: derived from the store key, or without one from the audit key, which is always secret."""
    store: str
    audit: str
    notes: tuple[tuple[str, str], ...] = ()
    """What an operator may have meant so, said at the start with what else to do."""
    warnings: tuple[tuple[str, str], ...] = ()
    """What nobody should want, said at the start with what to do."""


def secret_key(secret: str, source: str) -> SecretKey:
    """The key of a secret as people write it: hexadecimal digits (64 or more, an even number), or its octets.

    Raises RunboundError, naming the source, if it is too short or too long.
    """
    try:
        return SecretKey.of_text(Secret(bytearray(secret.encode("utf-8", "surrogateescape"))))
    except ValueError as error:
        raise _poor(source, error) from error


def _poor(source: str, error: ValueError) -> RunboundError:
    return RunboundError(f"{source}: {error}", fix=f"{MAKE_ONE} (64 hexadecimal digits are 32 octets)")


class Given(msgspec.Struct, frozen=True):
    """What the environment gave. It is wiped there, so that neither a child process nor `/proc` shows it."""

    store: SecretKey | None = None
    audit: SecretKey | None = None

    @classmethod
    def take(cls, variable: Callable[[str], Secret | None] = Secret.environment) -> "Given":
        """Both variables. Raises RunboundError if one holds no key: a state that ought to be protected must not be
        opened without protection."""
        return cls(_given(STORE_VARIABLE, variable), _given(AUDIT_VARIABLE, variable))


def _given(name: str, variable: Callable[[str], Secret | None]) -> SecretKey | None:
    secret = variable(name)
    if secret is None:
        return None
    try:
        return SecretKey.of_text(secret)
    except ValueError as error:
        raise _poor(name, error) from error


def choose(config: Config, state: Folder, given: Given, token: TokenKeys | None = None) -> Chosen:
    """Both keys, by their chains; the same question gives the same keys. Raises RunboundError."""
    store, store_from = _store(given, token)
    audit, audit_from, place = _audit(config, state, given, token)
    protected = store_from.kind != "none"
    notes, warnings = [], []
    if not protected:
        what = f"{STORE_VARIABLE} is not set: whoever can write to {state.path} can change the state unnoticed"
        notes.append((what, f"{MAKE_ONE}, and give it in the environment"))
    if token is not None:
        notes += _unused(given, store_from, audit_from)
        for role, origin, where in (("store", store_from, _words(store_from)), ("audit", audit_from, place)):
            if origin.kind != "hsm":
                what = f"the {role} key does not come from the HSM, but from {where}"
                notes.append((what, f"hsm-{role}-key-label: names one in the token"))
    if audit_from.kind == "option":
        what = f"{AUDIT_OPTION}: a key in the configuration file is read by whoever reads the file"
        warnings.append((what, f"give it in the environment as {AUDIT_VARIABLE}"))
    keys = StoreKeys(store, audit, protected, store_from, audit_from)
    return Chosen(keys, backup_key(keys), _words(store_from), place, tuple(notes), tuple(warnings))


def _store(given: Given, token: TokenKeys | None) -> tuple[SecretKey, Origin]:
    if token is not None and "store" in token.settings.labels:
        return token.keys["store"], Origin("hsm", token.settings.labels["store"], token.settings.mode)
    if given.store is not None:
        return given.store, Origin("environment", STORE_VARIABLE)
    return SecretKey.public(), Origin("none")


def _audit(config: Config, state: Folder, given: Given, token: TokenKeys | None) -> tuple[SecretKey, Origin, str]:
    if token is not None and "audit" in token.settings.labels:
        origin = Origin("hsm", token.settings.labels["audit"], token.settings.mode)
        return token.keys["audit"], origin, _words(origin)
    if given.audit is not None:
        origin = Origin("environment", AUDIT_VARIABLE)
        return given.audit, origin, _words(origin)
    configured = config.server.audit_log_hmac_key
    if configured:
        origin = Origin("option", AUDIT_OPTION)
        return secret_key(configured, AUDIT_OPTION), origin, _words(origin)
    kept, place = state.audit_key()
    return secret_key(kept, place), Origin("file", place), place


def _unused(given: Given, store: Origin, audit: Origin) -> list[tuple[str, str]]:
    """Keys that somebody gave and that the module's come before: said, because they look as if they were in force."""
    found = ((given.store, store, STORE_VARIABLE), (given.audit, audit, AUDIT_VARIABLE))
    return [
        (f"{variable} is not used: the HSM's key comes first", "take it out of the environment")
        for key, origin, variable in found
        if key is not None and origin.kind == "hsm"
    ]


def _words(origin: Origin) -> str:
    match origin.kind:
        case "hsm":
            return f"the HSM ({origin.name}, {origin.mode})"
        case "none":
            return "nowhere: integrity is off"
        case "option":
            return f"the configuration file ({origin.name})"
    return f"the environment ({origin.name})"


def flags(path: str, folder: str, config: Config) -> str:
    """With which a command finds the state in `folder` and the keys of the configuration file `path`: the folder that
    the service manager gives is known to nobody else."""
    said = f" -c {shlex.quote(path)}"
    if os.path.realpath(folder) == os.path.realpath(
        locate(config.server.state_dir, paths.working_directory(config, path), {})
    ):
        return said
    return f"{said} --state {shlex.quote(folder)}"
