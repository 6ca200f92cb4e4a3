"""How the answers of `runbound hsm` look on a terminal.

Owns the words and tables. It must never ask anything: it is handed what was found.
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from runbound.cli.client import clean
from runbound.cli.remote import table
from runbound.keys.messages import Mode, Role
from runbound.keys.settings import LABELS
from runbound.ops.doctor import USEFUL, Report
from runbound.ops.token import ENV_FILE

if TYPE_CHECKING:
    from runbound.config.model import Position
    from runbound.ops.token import Access

_BOLD, _RED, _YELLOW, _GREEN, _OFF = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"
_SHOWN: Final = ("TOKEN_INITIALIZED", "USER_PIN_INITIALIZED", "LOGIN_REQUIRED", "RNG")
"""Flags that every good token has; the others are told."""
_PLAIN_LABEL: Final = re.compile(r"[A-Za-z0-9._-]+")
"""Labels that mean themselves to sed, in a URI and in the file."""


def report(found: Report) -> None:
    """What the doctor found."""
    library = found.library
    rows = [
        ("configuration", found.configuration or "none"),
        ("looked as", found.account),
        ("module", found.module or "none named"),
        *(
            [("made by", f"{library.manufacturer}: {library.description}, version {library.version}")]
            if library
            else []
        ),
        *([("PKCS#11", library.cryptoki)] if library else []),
        ("PIN from", found.pin or "nowhere"),
        *([("mode", found.mode)] if found.mode else []),
    ]
    table(("", ""), rows)
    if found.slots:
        _heading("slots")
        _slots(found)
    if found.objects:
        _heading("keys on the token")
        _objects(found)
    if found.mechanisms:
        known = {name: name in found.mechanisms for name in USEFUL}
        _heading("mechanisms")
        print("  ".join(f"{_mark(ok)} {name}" for name, ok in known.items()), f" ({len(found.mechanisms)} in all)")
    if found.rates is not None:
        speeds = (("HMAC-SHA-256", found.rates.hmac_per_s), ("ECDSA P-256", found.rates.ecdsa_per_s))
        print(
            "a second:", ", ".join(f"{rate:,.0f} {what}" for what, rate in speeds if rate is not None) or "not measured"
        )
    print()
    for number, trouble in enumerate(found.troubles, 1):
        color = _RED if trouble.severity == "error" else _YELLOW
        word = "wrong" if trouble.severity == "error" else "could be better"
        print(f"{number}. {_paint(word, color)}: {clean(trouble.what)}")
        print(f"   {_paint('do', _BOLD)}: {clean(trouble.fix)}")
    if found.loaded_ms is not None:
        roles = ", ".join(found.wanted)
        print(_paint(f"a start would get its keys ({roles}): they were loaded in {found.loaded_ms} ms", _GREEN))
    elif found.ok:
        print("nothing is wrong, but no key is named yet: runbound hsm import-key ROLE says how")
    else:
        print(_paint("runbound would not start so", _RED))


def _slots(found: Report) -> None:
    rows = []
    for place, slot in enumerate(found.slots):
        token = slot.token
        flags = () if token is None else [flag for flag in token.flags if flag not in _SHOWN]
        fresh = token is not None and "TOKEN_INITIALIZED" not in token.flags
        rows.append(
            (
                "→" if place == found.chosen else "",
                "" if slot.index is None else slot.index,
                f"0x{slot.id:x}",
                "" if token is None or fresh else token.label,
                "" if token is None or fresh else token.serial,
                "" if token is None else token.model,
                "no token" if token is None else "not initialised" if fresh else ", ".join(flags).lower(),
            )
        )
    table(("", "slot", "id", "token", "serial", "model", "state"), rows, right=(1, 2))


def _yes(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _objects(found: Report) -> None:
    used = {label: role for role, label in found.wanted.items()}
    rows = [
        (
            used.get(one.label, ""),
            one.label,
            one.object,
            (one.key_type or "").removeprefix("CKK_"),
            one.id.hex(),
            _yes(one.private),
            _yes(one.extractable),
            _yes(one.sensitive),
            " ".join(one.modes) or "none",
        )
        for one in found.objects
    ]
    table(("used as", "label", "object", "type", "id", "private", "extractable", "sensitive", "modes"), rows)


def lines(
    access: "Access", module: str, token: str, mode: Mode, labels: Mapping[Role, str], pin_file: str | None
) -> None:
    """What the configuration lacks."""
    settings = access.settings
    missing = []
    if settings is None:
        missing.append(f'hsm-pkcs11-lib: "{module}"')
    if settings is None or settings.token_label != token:
        missing.append(f'hsm-token-label: "{token}"')
    if mode != ("extract" if settings is None else settings.mode):
        missing.append(f"hsm-mode: {mode}")
    missing += [
        f'{LABELS[role]}: "{label}"'
        for role, label in labels.items()
        if settings is None or settings.labels.get(role) != label
    ]
    has_pin = settings is not None and settings.pin.kind != "none"
    if not has_pin and pin_file is not None and pin_file != "-":
        missing.append(f'hsm-pin-file: "{os.path.abspath(pin_file)}"')
        has_pin = True
    if missing:
        print(f"\nput this into {access.path or 'runbound.conf'}:\n\nserver:")
        print(*(f"    {line}" for line in missing), sep="\n")
    if not has_pin:
        print(f"\nand the PIN as HSM_PIN=… into {ENV_FILE} (chmod 640), or into a file that hsm-pin-file: names,")
        print("or give it to systemd: LoadCredential=hsm-pin:/etc/runbound/hsm-pin (packaging/runbound-hsm.conf)")
    print("\n" + access.exact("then: runbound hsm doctor && systemctl restart runbound"))


def next_steps(access: "Access", role: Role, label: str, mode: Mode, *, moved: bool) -> None:
    """What is left to do after a key was put in."""
    settings = access.settings
    if settings is None or settings.labels.get(role) != label:
        print(f'in server: of {access.path or "runbound.conf"}:\n    {LABELS[role]}: "{label}"')
    if settings is None or settings.mode != mode:
        print(f"    hsm-mode: {mode}")
    if role == "api":
        print("then: systemctl restart runbound   # or runbound hsm reload, where keys come from the token already")
        return
    if moved and mode == "extract":
        print("then: systemctl restart runbound   # the state is coded with this key already")
        return
    print("then, where keys come from the token already: runbound hsm reload   # the state is coded anew on the way")
    print("else: systemctl stop runbound && runbound store resign && systemctl start runbound")


def turn_over(access: "Access", role: Role, before: str, after: str) -> None:
    """The line to change and what to type then."""
    option = LABELS[role] if access.config.given("server", LABELS[role]) else "hsm-uri"
    at = access.config.given("server", option)[-1]
    print(f"\n1. in {at.file}, line {at.line} ({option}), write {after} instead of {before}:")
    print(f"     {_sed(at, option, before, after)}")
    conf = f" -c {shlex.quote(access.path)}" if access.path is not None else ""
    print(f"2. runbound hsm reload{conf}")
    print(f"3. when all is well: runbound hsm delete-key {shlex.quote(before)}{conf}")
    if role == "api":
        print("clients need the new API key from step 2 on; the old one is dead then")


def _sed(at: "Position", option: str, before: str, after: str) -> str:
    if not (_PLAIN_LABEL.fullmatch(before) and _PLAIN_LABEL.fullmatch(after)):
        return "(with an editor: there are special characters in it)"
    lead = "object=" if option == "hsm-uri" else f"{option}:[^A-Za-z0-9._-]*"
    pattern = before.replace(".", r"\.")
    change = rf"{at.line}s/\({lead}\){pattern}/\1{after}/"
    return f"sed -i {shlex.quote(change)} {shlex.quote(at.file)}"


def status(found: Mapping[str, Any]) -> None:
    """What `GET /hsm` says."""
    if not found["used"]:
        print("no key of this resolver comes from a token")
        return
    token, slot, library = found["token"] or {}, found["slot"] or {}, found["library"] or {}
    rows = [
        ("state", "in force" if found["ok"] else clean(found["reason"] or "not in force")),
        ("mode", found["mode"]),
        ("module", found["module"]),
        ("made by", f"{library.get('manufacturer', '')}, version {library.get('version', '')}"),
        ("token", f"{token.get('label', '')} (serial {token.get('serial', '')}), slot {slot.get('index', '')}"),
        ("PIN from", f"{found['pin']['kind']} {found['pin']['place'] or ''}" if found["pin"] else ""),
        ("loaded", f"{found['loaded_at']}, {_counted(found['loads'], 'load')}, {_counted(found['logins'], 'login')}"),
        ("outages", f"{found['outages']}" + (f", gone since {found['lost_since']}" if found["lost_since"] else "")),
    ]
    table(("", ""), rows)
    if found["keys"]:
        _heading("keys")
        table(
            ("used as", "label", "object", "id", "how", "extractable", "private"),
            [
                [
                    *(key[name] for name in ("role", "label", "object", "id", "how")),
                    *(_yes(key[name]) for name in ("extractable", "private")),
                ]
                for key in found["keys"]
            ],
        )
    for role, origin in found["origins"].items():
        if role not in {key["role"] for key in found["keys"]}:
            print(f"{role} key: {clean(origin)}")
    for warning in found["warnings"]:
        print(_paint("could be better", _YELLOW) + f": {clean(warning['kind'])} {clean(warning['detail'])}")


def reloaded(found: Mapping[str, Any]) -> None:
    """What `POST /hsm/reload` did."""
    words = {True: "another key", False: "the same key", None: "read anew"}
    rows = [(one["role"], one["before"], one["after"], words[one["changed"]]) for one in found["keys"]]
    table(("key", "before", "after", "is"), rows)
    state = found["state"]
    if state is not None:
        print(
            f"{state['entries']:,} entries, {state['revisions']:,} revisions and {state['backups']:,} backups "
            f"coded anew in {state['seconds']:.2f} s"
        )
        if state["audit_log"]:
            print(f"audit entries until now, sealed by the key before: {clean(state['audit_log'])}")
    print("nothing was changed: this was a try" if found["dry_run"] else "the keys are in force")


def _heading(text: str) -> None:
    print(f"\n{_paint(text, _BOLD)}")


def _mark(ok: bool) -> str:
    return _paint("✓", _GREEN) if ok else _paint("✗", _YELLOW)


def _paint(text: str, color: str) -> str:
    return f"{color}{text}{_OFF}" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
