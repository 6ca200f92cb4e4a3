"""The keys of a state as a command finds them: those of now as a start takes them, and those until now.

Owns where the keys until now are looked for when nobody says: the anchor tells which they were, and a key is taken for
one of them when it has that name. Each token is asked once, with one login. This module must never guess a label or a
mode, and never show a key.
"""

import os
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runbound.config.model import Config
from runbound.errors import RunboundError
from runbound.keys.messages import Failure, Load, Loaded, Mode, Role, Want
from runbound.ops import token as tokens
from runbound.ops.helper import HsmError
from runbound.ops.keys import AUDIT_OPTION, Folder, Given, choose, flags, secret_key
from runbound.ops.token import Access
from runbound.state import opening
from runbound.state.directory import AUDIT_KEY_NAME, MAX_KEY_FILE
from runbound.state.head import Anchor
from runbound.state.opening import PUBLIC, StoreKeys
from runbound.state.origin import AUDIT_VARIABLE, STORE_VARIABLE, Origin

if TYPE_CHECKING:
    from runbound.engine import Secret, SecretKey

NONCE_OCTETS: Final = 32
OLD_CONF: Final = "name the configuration file that says how to reach it: --old-conf FILE"


class Old(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator says about the keys until now; whatever is None is looked for."""

    key_file: str | None = None
    key_env: str | None = None
    """Name of a variable of the environment."""
    label: str | None = None
    none: bool = False
    """There was no store key."""
    audit_key_file: str | None = None
    audit_key_env: str | None = None
    audit_label: str | None = None
    mode: Mode | None = None
    """Of both labels."""


class Labels(msgspec.Struct, frozen=True):
    """Which keys a token is asked for, and how."""

    labels: Mapping[Role, str]
    mode: Mode


class TokenKeys(msgspec.Struct, frozen=True):
    """Keys that came from a token."""

    settings: Labels
    keys: "Mapping[Role, SecretKey]"


class Found(msgspec.Struct, frozen=True):
    """A key until now; without one it is in the token, where `origin` says."""

    key: Any
    origin: Origin = Origin()
    protected: bool = True


class Finder:
    """Finds the keys of one state. Every secret is read once, and stays in locked memory."""

    def __init__(
        self, folder: str, access: Access | None, before: Access | None, pin: "Callable[[Access], Secret]"
    ) -> None:
        """`access` is the token of the configuration, `before` that of the one until now; `pin` reads a PIN."""
        self._folder = folder
        self._access = access
        self._before = before or access
        self._pin = pin
        self._pins: dict[tuple[object, ...], Secret] = {}
        self._given: Given | None = None

    def now(self, state: Folder) -> StoreKeys:
        """The keys by their chains, as a start takes them. Raises RunboundError."""
        access = self._access
        settings = None if access is None else access.settings
        token = None
        if access is not None and settings is not None:
            labels: dict[Role, str] = {role: label for role, label in settings.labels.items() if role != "api"}
            keys = self._load(access, settings.mode, labels) if labels else {}
            token = TokenKeys(Labels(labels, settings.mode), keys)
        config = Config() if access is None else access.config
        said = f" --state {shlex.quote(self._folder)}"
        if access is not None and access.path is not None:
            said = flags(os.path.abspath(access.path), self._folder, config)
        return msgspec.structs.replace(choose(config, state, self.given, token).keys, flags=said)

    @property
    def given(self) -> Given:
        """What the environment gives, that of the service too where its configuration is the one in question."""
        if self._given is None:
            self._given = Given.take(self._variable)
        return self._given

    def until_now(self, now: StoreKeys, old: Old) -> StoreKeys:
        """The keys that the state was written with: as somebody says, else those of now, of the environment, of the
        configuration, of the token, whichever has the name that the state knows. Raises RunboundError."""
        anchor = opening.written_with(self._folder)
        store, audit = self._store(now, old, anchor), self._audit(now, old, anchor)
        wanted: dict[Role, Origin] = {}
        if store.key is None:
            wanted["store"] = store.origin
        if audit.key is None:
            wanted["audit"] = audit.origin
        loaded = self._load_old(wanted)
        protected = store.key is None or store.protected
        return StoreKeys(
            store.key or loaded["store"], audit.key or loaded["audit"], protected, store.origin, audit.origin
        )

    def _store(self, now: StoreKeys, old: Old, anchor: Anchor | None) -> "Found":
        from runbound.engine import SecretKey

        was = Origin() if anchor is None else Origin.read(anchor.store or "")
        said = self._said(old.key_file, old.key_env)
        if said is not None:
            return Found(said)
        if old.label is not None:
            return Found(None, Origin("hsm", old.label, self._mode(old, was, old.label)))
        if old.none or (anchor is not None and anchor.key == PUBLIC):
            return Found(SecretKey.public(), Origin("none"), protected=False)
        if anchor is not None and anchor.key != now.store_name:
            given = self.given.store
            if given is not None and StoreKeys(given, now.audit, protected=True).store_name == anchor.key:
                return Found(given)
            if was.kind == "hsm":
                return Found(None, Origin("hsm", was.name, old.mode or was.mode))
        return Found(now.store, now.store_from, now.protected)

    def _audit(self, now: StoreKeys, old: Old, anchor: Anchor | None) -> "Found":
        was = Origin() if anchor is None else Origin.read(anchor.audit or "")
        said = self._said(old.audit_key_file, old.audit_key_env)
        if said is not None:
            return Found(said)
        if old.audit_label is not None:
            return Found(None, Origin("hsm", old.audit_label, self._mode(old, was, old.audit_label)))
        name = opening.audit_name_of(self._folder)
        if name not in ("", now.audit_name):
            for key in self._audit_keys():
                if StoreKeys(now.store, key, now.protected).audit_name == name:
                    return Found(key)
            if was.kind == "hsm":
                return Found(None, Origin("hsm", was.name, old.mode or was.mode))
        return Found(now.audit, now.audit_from)

    def _audit_keys(self) -> "list[SecretKey]":
        """Those that may be the one until now, without asking a token."""
        found = [] if self.given.audit is None else [self.given.audit]
        for access in (self._access, self._before):
            configured = "" if access is None else access.config.server.audit_log_hmac_key
            if configured:
                found.append(secret_key(configured, AUDIT_OPTION))
        path = os.path.join(self._folder, AUDIT_KEY_NAME)
        if os.path.exists(path):
            found.append(key_of(path))
        return found

    def _said(self, file: str | None, variable: str | None) -> "SecretKey | None":
        """The key that an operator names."""
        from runbound.engine import Secret, SecretKey

        if file is not None:
            return key_of(file)
        if variable is None:
            return None
        taken = {STORE_VARIABLE: self.given.store, AUDIT_VARIABLE: self.given.audit}.get(variable)
        if taken is not None:  # both were taken out of the environment when the keys of now were looked for
            return taken
        secret = Secret.environment(variable)
        if secret is None:
            raise RunboundError(f"{variable} is not set", fix="set it to the key until now")
        try:
            return SecretKey.of_text(secret)
        except ValueError as error:
            raise RunboundError(f"{variable}: {error}") from error

    def _mode(self, old: Old, was: Origin, label: str) -> str:
        if old.mode is not None:
            return old.mode
        if was.kind == "hsm" and was.name == label:
            return was.mode
        settings = None if self._before is None else self._before.settings
        return settings.mode if settings is not None else "extract"

    def _load_old(self, wanted: Mapping[Role, Origin]) -> "dict[Role, SecretKey]":
        loaded: dict[Role, SecretKey] = {}
        modes: tuple[Mode, ...] = ("extract", "in-token")
        for mode in modes:
            labels = {role: origin.name for role, origin in wanted.items() if origin.mode == mode}
            if labels:
                if self._before is None or self._before.open is None:
                    names = " and ".join(sorted(set(labels.values())))
                    raise RunboundError(
                        f"the state was written with {names} of an HSM, and none is named", fix=OLD_CONF
                    )
                loaded |= self._load(self._before, mode, labels)
        return loaded

    def _load(self, access: Access, mode: Mode, labels: Mapping[Role, str]) -> "dict[Role, SecretKey]":
        """Asks the token, with one login."""
        from runbound.engine import SecretKey

        assert access.open is not None
        token = access.open
        which = (token.module, token.slot, token.token_label, token.token_serial)
        if which not in self._pins:  # a variable can be read once only
            self._pins[which] = self._pin(access)
        wants = [Want(role=role, label=label) for role, label in labels.items()]
        load = Load(open=token, mode=mode, wants=wants, nonce=os.urandom(NONCE_OCTETS), stay=False)
        answer, found = tokens.question(access, load, Loaded, (self._pins[which],))
        roles = [info.role for info in answer.keys]
        if sorted(roles) != sorted(labels) or len(found) != len(roles):
            raise HsmError(Failure(kind="protocol", detail="the helper gave other keys than it was asked for"))
        keys = {}
        for role, secret in zip(roles, found, strict=True):
            try:
                keys[role] = SecretKey.of(secret)
            except ValueError as error:
                raise RunboundError(f"the HSM's {role} key {labels[role]}: {error}") from error
        return keys

    def _variable(self, name: str) -> "Secret | None":
        from runbound.engine import Secret

        found = Secret.environment(name)
        return found if found is not None or self._access is None else tokens.service_secret(name)


def key_of(path: str) -> "SecretKey":
    """The key in a file, as people write it. Raises RunboundError."""
    from runbound.engine import Secret, SecretKey

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            return SecretKey.of_text(Secret.read(descriptor, MAX_KEY_FILE))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", path) from error
    except ValueError as error:
        raise RunboundError(str(error), path, "a key is 64 hexadecimal digits or more, or 32 octets or more") from error
