"""What is right and what is wrong with the token, as the service would meet it.

Owns the order of the questions: the configuration, the module's file, what the module shows the account of the service,
each key that is wanted, and last the whole load of a start. Each trouble comes with the command that mends it. It makes
one login to look and, if nothing is wrong so far, one to load; never one with a PIN that was refused. It must never
change anything.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from runbound.keys import words
from runbound.keys.messages import (
    Failure,
    Inspect,
    Inspected,
    Library,
    Load,
    Loaded,
    Rates,
    Role,
    Seen,
    SeenSlot,
    Warned,
)
from runbound.keys.settings import LABELS, HsmSettings, module_problem
from runbound.ops import token
from runbound.ops.helper import HsmError
from runbound.ops.token import Access

if TYPE_CHECKING:
    from runbound.engine import Secret

READY: Final = "TOKEN_INITIALIZED"
"""The flag of a token that can be used."""
NONCE_OCTETS: Final = 32
USEFUL: Final = (
    *("CKM_SHA256_HMAC", "CKM_ECDSA", "CKM_ECDH1_DERIVE", "CKM_GENERIC_SECRET_KEY_GEN", "CKM_EC_KEY_PAIR_GEN"),
)
"""Mechanisms that make a difference to runbound."""


class Trouble(msgspec.Struct, frozen=True):
    """Something wrong, or that should be better."""

    severity: Literal["error", "warning"]
    what: str
    fix: str
    """The command, or what to do."""


class Report(msgspec.Struct, kw_only=True):
    """All that was found."""

    configuration: str | None
    account: str
    module: str | None
    pin: str | None = None
    """Where the PIN was found."""
    library: Library | None = None
    slots: list[SeenSlot] = msgspec.field(default_factory=list)
    chosen: int | None = None
    """Place in `slots`."""
    objects: list[Seen] = msgspec.field(default_factory=list)
    mechanisms: list[str] = msgspec.field(default_factory=list)
    rates: Rates | None = None
    loaded_ms: int | None = None
    """How long the load of a start took; None if it was not tried or failed."""
    wanted: dict[Role, str] = msgspec.field(default_factory=dict)
    mode: str | None = None
    troubles: list[Trouble] = msgspec.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether a start would get its keys."""
        return not any(trouble.severity == "error" for trouble in self.troubles)

    def add(self, severity: Literal["error", "warning"], what: str, fix: str) -> None:
        """One more trouble, unless it is known."""
        trouble = Trouble(severity, what, fix)
        if trouble not in self.troubles:
            self.troubles.append(trouble)


def examine(
    access: Access,
    pin: "Callable[[], tuple[Secret, str] | None]",
    *,
    rates: bool = False,
) -> Report:
    """Looks at everything. `pin` gives the PIN and where it was found, or None; it may raise RunboundError."""
    report = Report(
        configuration=access.path,
        account=access.account,
        module=access.open.module if access.open is not None else None,
    )
    _configuration(report, access)
    if access.open is None:
        _no_module(report)
        return report
    problem = module_problem(access.open.module)
    if problem is not None:
        report.add("error", *problem)
        return report
    given = pin()
    if given is not None:
        report.pin = given[1]
    secrets = () if given is None else (given[0],)
    # Before what the module says of it, which is only that there is nothing.
    for closed in token.hidden(access):
        report.add("error", closed.what, closed.fix)
    asked = Inspect(open=access.open, login=given is not None, rates=rates and given is not None)
    try:
        found, _ = token.question(access, asked, Inspected, secrets)
    except HsmError as error:
        _failed(report, access, error.failure)
    else:
        _seen(report, found)
        for failure in found.problems:
            _failed(report, access, failure)
    if given is None and report.chosen is not None:
        _failed(report, access, Failure(kind="pin-missing"))
    settings = access.settings
    if settings is None or report.chosen is None or not report.ok:
        return report
    for trouble in _keys(report, settings):
        report.add(trouble.severity, trouble.what, access.exact(trouble.fix))
    if report.ok:
        _rehearse(report, access, secrets, settings)
    return report


def _configuration(report: Report, access: Access) -> None:
    for found in access.diagnostics:
        severity: Literal["error", "warning"] = "error" if found.severity == "error" else "warning"
        report.add(severity, f"{found.where}: {found.text}", found.hint or f"see runbound check {access.path}")
    if access.others:
        report.add("error", f"{access.path} has errors in other lines", f"runbound check {access.path}")
    if access.note is not None:
        report.add("warning", access.note, "name an account with username:")
    if access.settings is not None:
        report.wanted, report.mode = access.settings.labels, access.settings.mode


def _no_module(report: Report) -> None:
    if any(trouble.what.find("hsm-") >= 0 for trouble in report.troubles):
        return
    found = token.installed()
    where = f"in {report.configuration}" if report.configuration is not None else "and there is no configuration"
    if not found:
        report.add(
            "error", f"no module is named {where}", "install the one of your token; to try: apt install softhsm2"
        )
        return
    report.add("error", f"no module is named {where}", f"runbound hsm init --module {found[0][0]}")
    for path, what in found:
        report.add("warning", f"{path} is here ({what})", f"runbound hsm doctor --module {path}")


def _seen(report: Report, found: Inspected) -> None:
    report.library = found.library
    report.slots = found.slots
    report.chosen = found.chosen
    report.objects = found.objects
    report.mechanisms = found.mechanisms
    report.rates = found.rates


def _failed(report: Report, access: Access, failure: Failure) -> None:
    what, fix = words.explain(msgspec.structs.replace(failure, account=access.account), access.named)
    if failure.kind == "token-mismatch":
        ready = [slot.token for slot in report.slots if slot.token is not None and READY in slot.token.flags]
        there = ", ".join(f'"{found.label}" (serial {found.serial})' for found in ready)
        fix = f"set hsm-token-label: to what is there: {there}; or make it" if ready else "make it"
        fix += ": runbound hsm init"
    report.add("error", what, access.exact(_with_role(fix, failure.detail, report)))


def _with_role(fix: str, detail: str, report: Report) -> str:
    """The command with the role it is about, where the detail tells."""
    for role, label in report.wanted.items():
        if detail.startswith(f"{role} key") or f'"{label}"' in detail:
            return fix.replace("ROLE", role)
    return fix


def _keys(report: Report, settings: HsmSettings) -> Iterator[Trouble]:
    """What is wrong with each key that is wanted, as far as its attributes tell."""
    labels = sorted({found.label for found in report.objects})
    for role, label in settings.labels.items():
        name = f'{role} key "{label}"'
        found = [one for one in report.objects if one.label == label]
        if role == "api" and settings.id is not None:
            found = [one for one in found if one.id == settings.id]
        failure = None
        if not found:
            failure = Failure(kind="label-absent", detail=name, labels=labels)
        elif settings.mode == "extract" and not any("extract" in one.modes for one in found):
            failure = Failure(kind="sensitive" if found[0].extractable else "not-extractable", detail=name)
        elif settings.mode == "in-token" and not any("in-token" in one.modes for one in found):
            failure = Failure(kind="no-mechanism", detail=name)
        if failure is not None:
            what, fix = words.explain(failure, settings)
            yield Trouble("error", what, fix.replace("ROLE", role))
    if settings.slot is not None and settings.token_label is None and settings.token_serial is None:
        seen = report.slots[report.chosen].token if report.chosen is not None else None
        if seen is not None:
            what = f"hsm-slot: {settings.slot} is a place, and another token may take it"
            yield Trouble("warning", what, f'hsm-token-label: "{seen.label}"   # in server:, instead of hsm-slot')
    for role, option in LABELS.items():
        if role not in settings.labels and role != "audit":
            yield Trouble("warning", f"the {role} key does not come from the token", f"{option}:   # in server:")


def _rehearse(report: Report, access: Access, secrets: "tuple[Secret, ...]", settings: HsmSettings) -> None:
    """What a start does, to the last step; what it brings is dropped at once."""
    assert access.open is not None
    asked = Load(open=access.open, mode=settings.mode, wants=settings.wants(), nonce=bytes(NONCE_OCTETS))
    try:
        loaded, _ = token.question(access, asked, Loaded, secrets)
    except HsmError as error:
        _failed(report, access, error.failure)
        return
    report.loaded_ms = loaded.elapsed_ms
    for warned in loaded.warnings:
        what, fix = words.warning(warned)
        report.add("warning", what, access.exact(_of_role(fix, warned)))


def _of_role(fix: str, warned: Warned) -> str:
    return fix.replace("ROLE", warned.role) if warned.role is not None else fix
