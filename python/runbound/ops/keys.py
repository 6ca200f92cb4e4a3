"""Which keys protect the state and its audit log.

Owns the two chains. The store key comes from the environment (`RUNBOUND_STORE_KEY`), or there is none: then codes are
made with a key that everybody knows, which finds accidents and no attacker. The audit key comes from the environment
(`RUNBOUND_AUDIT_HMAC_KEY`), from `audit-log-hmac-key:`, or is made once and kept in `audit.key`. A security module,
once there is one, comes before the environment in both chains, and nothing else has to change.

A secret passes through here once, into locked memory, and is dropped. This module must never print one, keep one, or
hand one out as octets.
"""

import os
import re
from collections.abc import Callable, MutableMapping
from typing import Final

import msgspec

from runbound.config import options
from runbound.config.model import Config
from runbound.engine import SecretKey
from runbound.errors import RunboundError
from runbound.state.directory import StateDirectory
from runbound.state.opening import StoreKeys

options.honour("server", "audit-log-hmac-key")

STORE_VARIABLE: Final = "RUNBOUND_STORE_KEY"
AUDIT_VARIABLE: Final = "RUNBOUND_AUDIT_HMAC_KEY"
AUDIT_OPTION: Final = "audit-log-hmac-key"
HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2}){32,}")
"""A secret in hexadecimal: an even number of digits, at least 64."""
MAKE_ONE: Final = "make one: openssl rand -hex 32"


class Chosen(msgspec.Struct, frozen=True):
    """The keys, and where each came from, for the log."""

    keys: StoreKeys
    backup: SecretKey
    """What seals backups: derived from the store key, or without one from the audit key, which is always secret."""
    store: str
    audit: str
    notes: tuple[tuple[str, str], ...] = ()
    """What an operator may have meant so, said at the start with what else to do."""
    warnings: tuple[tuple[str, str], ...] = ()
    """What nobody should want, said at the start with what to do."""


def secret_key(secret: str, source: str) -> SecretKey:
    """The key of a secret as people write it: hexadecimal digits, or its octets as they are.

    Raises RunboundError, naming the source, if it is too short or too long.
    """
    octets = bytearray(secret.encode("utf-8", "surrogateescape"))
    if HEX.fullmatch(octets):
        octets = bytearray.fromhex(secret)
    try:
        return SecretKey(octets)
    except ValueError as error:
        raise RunboundError(f"{source}: {error}", fix=f"{MAKE_ONE} (64 hexadecimal digits are 32 octets)") from error


def store_key(environ: MutableMapping[str, str] = os.environ) -> tuple[SecretKey, bool]:
    """The key of the state, and whether it is a secret.

    The variable is taken out of the environment, so that no child process inherits it. Raises RunboundError if what it
    holds is no key: a state that ought to be protected must not be opened without protection.
    """
    secret = environ.pop(STORE_VARIABLE, None)
    if secret is None:
        return SecretKey.public(), False
    return secret_key(secret, STORE_VARIABLE), True


def audit_key(
    configured: str, kept: Callable[[], tuple[str, str]], environ: MutableMapping[str, str] = os.environ
) -> tuple[SecretKey, str]:
    """The key of the audit log and where it came from; `kept` gives the generated one and its file.

    Takes the variable out of the environment. Raises RunboundError as `store_key`, and what `kept` raises.
    """
    secret = environ.pop(AUDIT_VARIABLE, None)
    if secret is not None:
        return secret_key(secret, AUDIT_VARIABLE), f"the environment ({AUDIT_VARIABLE})"
    if configured:
        return secret_key(configured, AUDIT_OPTION), f"the configuration file ({AUDIT_OPTION})"
    secret, path = kept()
    return secret_key(secret, path), path


def choose(config: Config, state: StateDirectory, environ: MutableMapping[str, str] = os.environ) -> Chosen:
    """Both keys, by their chains. Raises RunboundError."""
    store, protected = store_key(environ)
    audit, source = audit_key(config.server.audit_log_hmac_key, state.audit_key, environ)
    notes, warnings = [], []
    if not protected:
        what = f"{STORE_VARIABLE} is not set: whoever can write to {state.path} can change the state unnoticed"
        notes.append((what, f"{MAKE_ONE}, and give it in the environment"))
    if config.server.audit_log_hmac_key:
        what = f"{AUDIT_OPTION}: a key in the configuration file is read by whoever reads the file"
        warnings.append((what, f"give it in the environment as {AUDIT_VARIABLE}"))
    where = f"the environment ({STORE_VARIABLE})" if protected else "nowhere: integrity is off"
    backup = (store if protected else audit).derive("backup")
    return Chosen(StoreKeys(store, audit, protected), backup, where, source, tuple(notes), tuple(warnings))
