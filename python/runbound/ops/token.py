"""The token as a command reaches it: which module and token are meant, who looks, and one question to a helper.

Owns how flags, configuration and the service's environment file come together for `runbound hsm`. A resolver that runs
uses `ops.hsm` instead. It must never put a PIN or a key into a Python object longer than it takes to lock it away.
"""

import os
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from runbound.config import paths
from runbound.config.diagnostics import Diagnostic, has_errors
from runbound.config.load import load
from runbound.config.model import Config
from runbound.errors import EXIT_FAILURE, RunboundError
from runbound.keys import settings as hsm
from runbound.keys.messages import Failure, Open, Reply, Request
from runbound.keys.settings import HsmSettings, PinSource
from runbound.keys.words import Words
from runbound.ops import helper as helpers
from runbound.ops import pin as pins
from runbound.ops import privileges, softhsm
from runbound.ops.helper import HsmError
from runbound.ops.privileges import Account

if TYPE_CHECKING:
    from runbound.engine import Secret

ENV_FILE: Final = "/etc/runbound/env"
"""What the service unit reads its environment from."""
CREDENTIALS: Final = ("/run/credentials/runbound.service/hsm-pin", "/etc/runbound/hsm-pin")
"""The PIN as systemd gives it to the service: what the running one was given, and where packaging/runbound-hsm.conf has
it from."""
SECRETS: Final = ("HSM_PIN", "HSM_SO_PIN", "RUNBOUND_API_KEY", "RUNBOUND_STORE_KEY", "RUNBOUND_AUDIT_HMAC_KEY")
"""Variables whose value is a secret: taken out alone, when it is asked for."""
OUT_OF_REACH: Final = ("initialize", "no-slot", "slot-index", "no-token", "token-mismatch", "device", "other")
"""Failures that may be files which the account cannot use."""
MODULES: Final[dict[str, str]] = {
    "softhsm2": "SoftHSM2",
    "yubihsm_pkcs11": "YubiHSM 2",
    "opensc-pkcs11": "OpenSC: Nitrokey HSM 2 and other cards",
    "cloudhsm_pkcs11": "AWS CloudHSM",
    "Cryptoki2_64": "Thales Luna",
    "tpm2_pkcs11": "a TPM",
    "opencryptoki": "openCryptoki",
    "p11-kit-client": "p11-kit: a token of another machine or container",
}
"""Modules that are looked for where none is named, by the name of their file."""
ROOT: Final = "root"
_OURS: Final = re.compile(r"runbound hsm (?:doctor|init|import-key|rotate|delete-key|export-key)\b")
_LINE: Final = re.compile(rb"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=([^\n]*)")
"""A variable in a file of the form that systemd reads."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A module and a token to talk to, and everything that is known of them beforehand."""

    path: str | None
    """The configuration file, if there is one."""
    config: Config
    settings: HsmSettings | None
    """What it says; None if it says nothing of a module, or something wrong."""
    diagnostics: tuple[Diagnostic, ...]
    """What is wrong with its lines about the token."""
    others: bool
    """Whether other lines of it have errors."""
    open: Open | None
    """None if no module is named anywhere."""
    account: str
    """Who the helper is."""
    become: Account | None
    """The account, if the helper has to become it."""
    note: str | None = None
    """Why it is nobody else."""
    flags: str = ""
    """What has to stand on another command line so that it reaches the same."""

    @property
    def named(self) -> HsmSettings | None:
        """Module and token for words about them, also where flags alone name them."""
        if self.settings is not None or self.open is None:
            return self.settings
        return HsmSettings(
            module=self.open.module,
            slot=self.open.slot,
            token_label=self.open.token_label,
            token_serial=None,
            token_model=None,
            token_manufacturer=None,
            labels={},
            id=None,
            mode="extract",
            timeout_s=30,
            final_try=False,
            pin=PinSource("none"),
        )

    def exact(self, fix: str) -> str:
        """A command of ours with the flags that this one was given."""
        return _OURS.sub(lambda found: found[0] + self.flags, fix)

    @property
    def timeout_s(self) -> float:
        """How long one question may take."""
        return float(self.settings.timeout_s if self.settings is not None else 30)


def reach(
    path: str | None,
    *,
    module: str | None = None,
    token: str | None = None,
    slot: int | None = None,
    user: str | None = None,
    named: bool = True,
) -> Access:
    """What file and flags say. A flag wins over the file; `named` says whether somebody named the file.

    Raises RunboundError if the file cannot be read at all.
    """
    config, settings, others = Config(), None, False
    diagnostics: tuple[Diagnostic, ...] = ()
    if path is not None:
        from runbound.engine import scan

        main_file = os.path.abspath(path)
        try:
            loaded = load(path, os.getcwd(), scan, rules=(hsm.rule,))
        except OSError as error:
            raise RunboundError(f"cannot read it: {error.strerror or error}", path) from error
        config = loaded.config
        diagnostics = tuple(found for found in loaded.diagnostics if found.text.startswith("hsm-"))
        others = has_errors(found for found in loaded.diagnostics if found not in diagnostics)
        settings, _ = hsm.understand(config, lambda name: paths.resolve(config, main_file, name), {}, empty=True)
    become, account, note = _account(config, user)
    return Access(
        path=path,
        config=config,
        settings=settings,
        diagnostics=diagnostics,
        others=others,
        open=_open(settings, become, module, token, slot),
        account=account,
        become=become,
        note=note,
        flags="".join(
            f" {flag} {shlex.quote(str(value))}"
            for flag, value in (
                ("-c", path if named else None),
                ("--module", module),
                ("--token", token),
                ("--slot", slot),
                ("--as", user),
            )
            if value is not None
        ),
    )


def _open(
    settings: HsmSettings | None, become: Account | None, module: str | None, token: str | None, slot: int | None
) -> Open | None:
    who = None if become is None else (become.uid, become.gid, list(become.groups))
    if module is not None:
        if not os.path.isabs(module):
            found = hsm.find_module(module)
            if found is None:
                raise RunboundError(
                    f"there is no module {module} in the usual folders", fix="name it by its whole path"
                )
            module = found
        settings = settings if settings is not None and settings.module == module else None
    if settings is None and module is None:
        return None
    found_open = settings.open(who) if settings is not None else Open(module=module or "", slot=0, account=who)
    if token is not None:
        return Open(module=found_open.module, token_label=token, slot=slot, account=who, final_try=found_open.final_try)
    if slot is not None:
        return msgspec.structs.replace(found_open, slot=slot)
    return found_open


def _account(config: Config, user: str | None) -> tuple[Account | None, str, str | None]:
    """Who the helper becomes, how that is called, and a note: a module is tried by the account that will use it."""
    import pwd

    def named(uid: int) -> str:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    me = named(os.geteuid())
    if os.geteuid() != 0:
        if user not in (None, me):
            raise RunboundError(f"only root can look as {user}", fix=f"sudo runbound hsm …, or be {user}")
        return None, me, None
    if user == ROOT:
        return None, ROOT, None
    if user is None:
        given = config.given("server", "username")
        user = (config.server.username or "") if given else None
    try:
        plan = privileges.plan(user)
    except RunboundError as error:
        return None, ROOT, f"{error.what}; so root looks"
    return plan.account, plan.account.name if plan.account is not None else ROOT, plan.note


def service_environment(path: str = ENV_FILE) -> list[str]:
    """Gives modules the variables that the service gives them, unless they are set. Their names.

    Secrets of that file are left where they are.
    """
    added = []
    for name, value in _variables(path):
        if name not in SECRETS and name not in os.environ:
            os.environ[name] = value.decode("utf-8", "surrogateescape")
            added.append(name)
    return added


def service_secret(name: str, path: str = ENV_FILE) -> "Secret | None":
    """A secret of the service's environment file; None if it is not there or not ours to read."""
    from runbound.engine import Secret

    found = None
    for other, value in _variables(path):
        if other == name:
            found = Secret(value)
    return found


def _variables(path: str) -> list[tuple[str, bytearray]]:
    """Names and values. Values are octets of their own, to be wiped by who takes them."""
    try:
        with open(path, "rb") as file:
            octets = file.read(65536)
    except OSError:
        return []
    found = []
    for line in octets.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            value = match[2].strip()
            if len(value) > 1 and value[:1] == value[-1:] and value[:1] in (b'"', b"'"):
                value = value[1:-1]
            found.append((match[1].decode("ascii"), bytearray(value)))
    return found


def known_pin(access: Access) -> "tuple[Secret, str] | None":
    """The PIN as environment, configuration and service have it, and where that is; None if nobody has one.

    Raises RunboundError if the place that the configuration names cannot be read.
    """
    from runbound.engine import Secret

    if hsm.PIN_VARIABLE in os.environ:
        found = Secret.environment(hsm.PIN_VARIABLE)
        place = str(PinSource("environment", hsm.PIN_VARIABLE))
    elif access.settings is not None and access.settings.pin.kind != "none":
        found = pins.read(access.settings, access.config)
        place = str(access.settings.pin)
    else:
        found = service_secret(hsm.PIN_VARIABLE)
        place = f"{hsm.PIN_VARIABLE} in {ENV_FILE}"
        for path in CREDENTIALS:
            if found is None and os.access(path, os.R_OK):
                found, place = pins.of_file(path, path), path
    return None if found is None else _filled(found, place)


def pin_of_file(path: str) -> "tuple[Secret, str]":
    """The PIN of a file that a flag names; `-` is standard input. Raises RunboundError."""
    from runbound.engine import Secret

    if path == "-":
        return _filled(Secret.read(0), "standard input")
    return _filled(pins.of_file(path, path), path)


def _filled(pin: "Secret", place: str) -> "tuple[Secret, str]":
    if not len(pin):
        raise HsmError(Failure(kind="pin-empty", detail=place))
    return pin, place


def question(
    access: Access, request: Request, kind: type[Reply], secrets: "Sequence[Secret]" = ()
) -> "tuple[Reply, list[Secret]]":
    """One question to a helper of its own. Raises HsmError, with exit code 1: nothing was to start."""
    running = helpers.spawn()
    try:
        return helpers.ask(running, request, kind, secrets, access.timeout_s)
    except HsmError as error:
        raise refusal(access, error.failure) from error
    finally:
        running.close(helpers.CLOSE_SECONDS)


def refusal(access: Access, failure: Failure) -> HsmError:
    """The failure in words for who typed the command: the account by name, SoftHSM2's files as they are."""
    told = HsmError(msgspec.structs.replace(failure, account=access.account), access.named)
    told.exit_code = EXIT_FAILURE
    told.fix = access.exact(told.fix or "")
    closed = hidden(access) if failure.kind in OUT_OF_REACH else []
    if closed:
        told.what, told.fix = (
            f"{told.what}; {'; '.join(one.what for one in closed)}",
            "\n        ".join(one.fix for one in closed),
        )
    return told


def hidden(access: Access) -> list[Words]:
    """What keeps the account from SoftHSM2's files, if that is the module."""
    if access.open is None or access.become is None or not softhsm.is_softhsm(access.open.module):
        return []
    return softhsm.troubles(access.become)


def installed() -> list[tuple[str, str]]:
    """Modules that are on this machine: path, and what they are for."""
    found = ((hsm.find_module(name), what) for name, what in MODULES.items())
    return [(path, what) for path, what in found if path is not None]
