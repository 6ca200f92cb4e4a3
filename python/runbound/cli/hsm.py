"""`runbound hsm`: a token made ready, filled, looked at and turned over, without any other tool.

Owns the command line of it. What a token is asked decide `ops.token` and `ops.doctor`; how it looks, `hsm_show`. A PIN
is typed, read from a file or the environment, never an argument; a key goes from file descriptor to locked memory and
back, and is printed only when it was made this moment and nobody could read it otherwise.
"""

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlencode

import msgspec
from cyclopts import App, Parameter

from runbound.cli import DEFAULT_CONFIGS, hsm_secrets, hsm_show
from runbound.cli.client import clean
from runbound.cli.remote import AsJson, Conf, Url, as_json, find
from runbound.errors import EXIT_FAILURE, EXIT_OK, RunboundError
from runbound.keys.messages import (
    ROLES,
    Delete,
    Deleted,
    Get,
    Init,
    Initialised,
    Inspect,
    Inspected,
    Keyed,
    Mode,
    Open,
    Put,
    Role,
)
from runbound.keys.settings import LABELS
from runbound.ops import doctor as doctors
from runbound.ops import token as tokens
from runbound.ops.helper import HsmError

if TYPE_CHECKING:
    from runbound.engine import Secret
    from runbound.ops.token import Access

RELOAD_SECONDS: Final = 660.0
"""How long a reload may take: as long as the longest hsm-timeout, and the state's codes are made anew after it."""
_NEXT: Final = re.compile(r"(.*)-v(\d+)", re.DOTALL)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reach:
    """Flags that say which token, who looks, and where the PIN is."""

    conf: Conf = None
    module: Annotated[
        str | None, Parameter(name="--module", help="The PKCS#11 module instead of the configuration's: path or name.")
    ] = None
    token: Annotated[str | None, Parameter(name="--token", help="The token's label, instead.")] = None
    slot: Annotated[
        int | None, Parameter(name="--slot", help="Which of the slots with a token, counted from 0, instead.")
    ] = None
    user: Annotated[
        str | None,
        Parameter(name="--as", help="Who loads the module; default is the account of the service, where root asks."),
    ] = None
    pin_file: Annotated[
        str | None,
        Parameter(
            name="--pin-file",
            allow_leading_hyphen=True,
            help="File with the PIN, - is standard input; else HSM_PIN, the configuration's place, or it is asked for.",
        ),
    ] = None

    def access(self) -> "Access":
        """What is reached so."""
        tokens.service_environment()
        path = self.conf
        if path is None and self.module is None:
            path = next((path for path in DEFAULT_CONFIGS if os.path.exists(path)), None)
        return tokens.reach(
            path, module=self.module, token=self.token, slot=self.slot, user=self.user, named=self.conf is not None
        )

    def known_pin(self, access: "Access") -> "tuple[Secret, str] | None":
        """The PIN and where it was, without asking anybody."""
        return tokens.pin_of_file(self.pin_file) if self.pin_file is not None else tokens.known_pin(access)

    def pin(self, access: "Access", *, twice: bool = False) -> "Secret":
        """The PIN, asked for if nobody has it. Raises RunboundError."""
        found = self.known_pin(access)
        return (
            found[0] if found is not None else hsm_secrets.typed(f"PIN of the token, as {access.account}", twice=twice)
        )


ANYWHERE: Final = Reach()
RoleName = Annotated[Literal["api", "store", "audit"], Parameter(help="Which key.")]
Label = Annotated[str | None, Parameter(name="--label", help="Its label; default is the configuration's.")]
Stays = Annotated[
    Literal["extract", "in-token"] | None,
    Parameter(name="--mode", help="Whether it may ever leave the token; default is the configuration's hsm-mode."),
]
KeyFile = Annotated[
    str | None, Parameter(help="Write a new API key to this file (only for its owner) instead of printing it.")
]
AsData = Annotated[
    bool,
    Parameter(negative="", show_default=False, help="As a data object, for cards that keep no secret keys (Nitrokey)."),
]
Reason = Annotated[str, Parameter(help="Why, for the audit log.")]

hsm = App(name="hsm", help="Keys in a hardware security module: look, set up, put in, turn over, take out.")


@hsm.command
def doctor(
    *,
    reach: Reach = ANYWHERE,
    rates: Annotated[
        bool, Parameter(negative="", show_default=False, help="Also how fast the token signs, with throw-away keys.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Look at module, slots, tokens, keys and PIN as the service does; for each thing wrong, the command that mends it.

    One login to look, and one to load the keys as a start does if nothing is wrong. 0 if a start would get its keys.
    """
    access = reach.access()
    report = doctors.examine(access, lambda: _pin_if_any(reach, access), rates=rates)
    if json:
        as_json({**msgspec.to_builtins(report), "ok": report.ok})
    else:
        hsm_show.report(report)
    return EXIT_OK if report.ok else EXIT_FAILURE


@hsm.command
def init(
    *,
    label: Annotated[
        str | None, Parameter(help="The new token's label; default is the configuration's, else runbound.")
    ] = None,
    key: Annotated[
        tuple[Literal["api", "store", "audit", "none"], ...],
        Parameter(
            negative="", help="Only this key; may be given again. All three without; none makes the token alone."
        ),
    ] = (),
    mode: Stays = None,
    data: AsData = False,
    api_key_file: KeyFile = None,
    so_pin_file: Annotated[
        str | None, Parameter(help="File with the security officer's PIN; else HSM_SO_PIN, or it is asked for.")
    ] = None,
    reach: Reach = ANYWHERE,
) -> int:
    """Make a token in a free slot, make the keys in it, and print the lines for the configuration.

    A token that is there is never touched: import-key adds keys to one.
    """
    access = reach.access()
    where = _open(access)
    label = label or reach.token or where.token_label or "runbound"
    here = Open(module=where.module, slot=reach.slot, account=where.account)
    kept: Mode = mode or (access.settings.mode if access.settings is not None else "extract")
    _refuse_existing(access, here, label)
    so_pin = hsm_secrets.so_pin(so_pin_file)
    pin = reach.pin(access, twice=True)
    made, _ = tokens.question(access, Init(open=here, label=label), Initialised, (so_pin, pin))
    print(f'token "{clean(made.token.label)}" is made, serial {clean(made.token.serial)}, as {access.account}')
    there = msgspec.structs.replace(here, slot=None, token_label=label)
    labels = {role: _label(access, role) for role in ROLES if not key or role in key}
    for role, name in labels.items():
        asked = Put(
            open=there,
            role=role,
            label=name,
            mode=kept,
            data=data,
            generate="hex" if role == "api" else "raw",
            export=role == "api",
        )
        try:
            _made(*tokens.question(access, asked, Keyed, (pin,)), api_key_file)
        except HsmError as error:
            raise RunboundError(error.what, f"the token is made, the {role} key is not", error.fix) from error
    hsm_show.lines(access, where.module, label, kept, labels, reach.pin_file)
    return EXIT_OK


@hsm.command(name="import-key")
def import_key(
    role: RoleName,
    path: Annotated[str | None, Parameter(help="With --from file: the file.")] = None,
    /,
    *,
    from_: Annotated[
        Literal["new", "environment", "current", "file", "stdin"],
        Parameter(
            name="--from",
            help="new: the token draws one. environment: RUNBOUND_API_KEY and so on. current: the one in use now.",
        ),
    ] = "new",
    label: Label = None,
    mode: Stays = None,
    data: AsData = False,
    api_key_file: KeyFile = None,
    reach: Reach = ANYWHERE,
) -> int:
    """Put a key into the token: a new one, or the one that is used now. A label that is there is refused."""
    access = reach.access()
    where = _open(access)
    name = label or _label(access, role)
    kept: Mode = mode or (access.settings.mode if access.settings is not None else "extract")
    if (path is not None) != (from_ == "file"):
        raise RunboundError(
            "--from file and the name of a file belong together", fix=f"--from file /path/of/{role}.key"
        )
    value = None if from_ == "new" else hsm_secrets.value_of(role, from_, path, access)
    asked = Put(open=where, role=role, label=name, mode=kept, data=data)
    if value is None:
        asked = msgspec.structs.replace(asked, generate="hex" if role == "api" else "raw", export=role == "api")
    pin = reach.pin(access)
    secrets = (pin,) if value is None else (pin, value)
    _made(*tokens.question(access, asked, Keyed, secrets), api_key_file)
    hsm_show.next_steps(access, role, name, kept, moved=value is not None)
    return EXIT_OK


@hsm.command
def rotate(
    role: RoleName,
    /,
    *,
    label: Annotated[
        str | None, Parameter(name="--label", help="The new key's label; default is NAME-v2, -v3, …")
    ] = None,
    data: AsData = False,
    api_key_file: KeyFile = None,
    reach: Reach = ANYWHERE,
) -> int:
    """Make the key's successor under the next label, and say which line to change and what to type then.

    The configuration is the operator's and is never written; the old key stays until delete-key.
    """
    access = reach.access()
    where = _open(access)
    settings = access.settings
    if settings is None or role not in settings.labels:
        raise RunboundError(
            f"the {role} key does not come from a token", access.path, f"runbound hsm import-key {role} makes one"
        )
    pin = reach.pin(access)
    before = settings.labels[role]
    seen, _ = tokens.question(access, Inspect(open=where, login=True), Inspected, (pin,))
    taken = {found.label for found in seen.objects}
    name = label or _next(before, taken)
    asked = Put(
        open=where,
        role=role,
        label=name,
        mode=settings.mode,
        data=data or any(found.label == before and found.object == "data" for found in seen.objects),
        generate="hex" if role == "api" else "raw",
        export=role == "api",
    )
    _made(*tokens.question(access, asked, Keyed, (pin,)), api_key_file)
    hsm_show.turn_over(access, role, before, name)
    return EXIT_OK


@hsm.command(name="export-key")
def export_key(
    role: RoleName,
    file: Annotated[str, Parameter(help="Where to; it must not be there, and only its owner may read it.")],
    /,
    *,
    label: Label = None,
    reach: Reach = ANYWHERE,
) -> int:
    """Take a key out of the token into a file: to move it elsewhere. Only one that may leave.

    Store and audit keys are written as hexadecimal digits, as RUNBOUND_STORE_KEY takes them.
    """
    access = reach.access()
    where = _open(access)
    name = label or (access.settings.labels.get(role) if access.settings is not None else None)
    if name is None:
        raise RunboundError(f"the configuration names no {role} key", access.path, "name it with --label")
    got, secrets = tokens.question(access, Get(open=where, role=role, label=name), Keyed, (reach.pin(access),))
    (value,) = secrets
    hsm_secrets.write(file, value if role == "api" else value.digits())
    print(f'the {role} key "{clean(got.info.label)}" is in {file}; delete the file when it is where it belongs')
    return EXIT_OK


@hsm.command(name="delete-key")
def delete_key(
    label: Annotated[str, Parameter(help="The label; all objects that have it go.")],
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", show_default=False, help="Do not ask.")] = False,
    reach: Reach = ANYWHERE,
) -> int:
    """Take a key out of the token for good. One that the configuration names is refused: the next start needs it."""
    access = reach.access()
    where = _open(access)
    used = [
        role for role, name in (access.settings.labels if access.settings is not None else {}).items() if name == label
    ]
    if used:
        raise RunboundError(
            f'"{clean(label)}" is the {used[0]} key of the configuration, the next start needs it',
            access.path,
            f"name another with {LABELS[used[0]]}: first (runbound hsm rotate {used[0]})",
        )
    if not yes:
        _confirm(f'delete "{clean(label)}" from the token? Nothing brings it back.')
    done, _ = tokens.question(access, Delete(open=where, label=label), Deleted, (reach.pin(access),))
    if not done.deleted:
        raise RunboundError(
            f'there is nothing with the label "{clean(label)}"', fix="runbound hsm doctor shows what is"
        )
    print(f'"{clean(label)}": {done.deleted} object{"" if done.deleted == 1 else "s"} deleted')
    return EXIT_OK


@hsm.command
def status(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print which keys of the running resolver come from a token, and whether it is there. 1 if it is not."""
    found = find(conf, url).get("/hsm")
    if json:
        as_json(found)
    else:
        hsm_show.status(found)
    return EXIT_OK if found["ok"] else EXIT_FAILURE


@hsm.command
def reload(
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help="Load and say, but change nothing.")
    ] = False,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Let the running resolver read the hsm- lines of its file again and take the keys they name into use."""
    query = urlencode({**({"dry_run": "true"} if dry_run else {}), **({"reason": reason} if reason else {})})
    found = find(conf, url).post(f"/hsm/reload{f'?{query}' if query else ''}", {}, RELOAD_SECONDS)
    if json:
        return as_json(found)
    hsm_show.reloaded(found)
    return EXIT_OK


def _open(access: "Access") -> Open:
    """The token that is meant. Raises RunboundError if nobody says which module."""
    if access.open is not None:
        return access.open
    wrong = next((found for found in access.diagnostics if found.severity == "error"), None)
    if wrong is not None:
        raise RunboundError(wrong.text, wrong.where, wrong.hint)
    here = ", ".join(f"{path} ({what})" for path, what in tokens.installed()) or "none is installed here"
    raise RunboundError(f"no module is named; {here}", access.path, "name one: --module PATH, or hsm-pkcs11-lib:")


def _label(access: "Access", role: Role) -> str:
    """The configuration's label of a key, or the one it is going to have."""
    named = access.settings.labels.get(role) if access.settings is not None else None
    return named or f"runbound-{role}-key"


def _refuse_existing(access: "Access", here: Open, label: str) -> None:
    seen, _ = tokens.question(access, Inspect(open=msgspec.structs.replace(here, slot=None)), Inspected)
    for slot in seen.slots:
        if slot.token is not None and slot.token.label == label and "TOKEN_INITIALIZED" in slot.token.flags:
            raise RunboundError(
                f'there is a token "{clean(label)}" already, serial {clean(slot.token.serial)}; it is left as it is',
                fix=f"runbound hsm import-key ROLE --token {label} adds keys; --label NAME makes another token",
            )


def _pin_if_any(reach: Reach, access: "Access") -> "tuple[Secret, str] | None":
    """For who only looks: no PIN is no end."""
    found = reach.known_pin(access)
    if found is None and hsm_secrets.terminal():
        return hsm_secrets.typed(f"PIN of the token, as {access.account}"), "typed"
    return found


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise RunboundError("nobody is there to say yes", fix="add --yes")
    if input(f"{question} [yes/no] ").strip() != "yes":
        raise RunboundError("left as it is")


def _made(done: Keyed, secrets: "list[Secret]", file: str | None) -> None:
    """Says what was made; a new API key is shown once, or written to a file."""
    info = done.info
    print(f'{info.role} key "{clean(info.label)}" is in the token')
    for secret in secrets:
        if file is not None:
            hsm_secrets.write(file, secret)
            print(f"the API key is in {file}, and nowhere else outside the token")
            return
        print("the API key, shown this once:", flush=True)
        secret.write(1)
        print(flush=True)


def _next(label: str, taken: set[str]) -> str:
    """The label after this one: -v2, -v3, … the first that is free."""
    match = _NEXT.fullmatch(label)
    base, number = (match[1], int(match[2])) if match is not None else (label, 1)
    while f"{base}-v{number + 1}" in taken:
        number += 1
    return f"{base}-v{number + 1}"
