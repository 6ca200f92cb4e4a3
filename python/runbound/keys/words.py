"""What every failure of a token, its module or the helper means, and what to do about it.

Owns the sentences. Each names the PKCS#11 function and its code where there was one. Where tokens say nothing, or each
something else, it has the name under which guides list the cause (CKR_HOST_MEMORY, CKR_OBJECT_HANDLE_INVALID,
CKA_EXTRACTABLE = false), so that whoever searches for that name arrives. This module must never look at the system.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from runbound.keys.messages import Failure, Warned
from runbound.keys.settings import HsmSettings

MOST_LABELS: Final = 20
"""Labels of a token that a message names; a line of a log is no list of a thousand."""
MOST_TEXT: Final = 500
"""Characters of what a module said that a message repeats."""
NO_FALLBACK: Final = "there is no silent fallback: runbound does not start without the keys it was told to take"
"""What the log says after a start that failed."""


class Words(NamedTuple):
    """One trouble in words."""

    what: str
    fix: str


_PIN_PLACES: Final = "HSM_PIN, hsm-pin-file or the systemd credential"
_HOST_MEMORY: Final = "PKCS#11 tools say C_Initialize failed, CKR_HOST_MEMORY"
_NO_LEAVE: Final = (
    "put it in again so that it may leave (runbound hsm import-key ROLE; with pkcs11-tool: --extractable), as this "
    "cannot be changed afterwards; or let it stay where it is: hsm-mode: in-token"
)
_KEY_AGAIN: Final = "put a good one in: runbound hsm import-key ROLE, under another label"

_WORDS: Final[dict[str, Words]] = {
    "module-path": Words(
        "hsm-pkcs11-lib is no whole path",
        "write one, such as /usr/lib/softhsm/libsofthsm2.so: runbound hsm doctor looks",
    ),
    "module-missing": Words(
        f"the library of hsm-pkcs11-lib is not there ({_HOST_MEMORY})",
        "check hsm-pkcs11-lib; install the module's package; ldd {module} tells what it needs",
    ),
    "module-not-regular": Words(
        f"hsm-pkcs11-lib names no file that is a library ({_HOST_MEMORY})",
        "name the module itself, a file ending in .so",
    ),
    "module-owner": Words(
        "the library of hsm-pkcs11-lib does not belong to root, its owner could change it", "chown root: {module}"
    ),
    "module-writable": Words("the library of hsm-pkcs11-lib can be changed by others than root", "chmod go-w {module}"),
    "module-load": Words(
        f"the library of hsm-pkcs11-lib cannot be loaded ({_HOST_MEMORY})",
        "check hsm-pkcs11-lib; ldd {module} tells which part is missing",
    ),
    "module-no-functions": Words(
        "the library of hsm-pkcs11-lib is no PKCS#11 module: it gives no C_GetFunctionList",
        "name the module of the token's maker; ldd {module} and pkcs11-tool --module {module} -I tell more",
    ),
    "initialize": Words(
        "the module does not start",
        "look at the module's own configuration as {account} sees it (SOFTHSM2_CONF, YUBIHSM_PKCS11_CONF, …) and "
        "whether its device, connector or daemon is there; SoftHSM2: usermod -a -G softhsm {account}; see runbound "
        "hsm doctor",
    ),
    "no-slot": Words(
        "the module has no slot",
        "is the device plugged in, its connector or daemon running, and may {account} use it? see runbound hsm doctor",
    ),
    "slot-index": Words(
        "there is no slot of that number with a token",
        "hsm-slot counts slots with a token from 0; better name the token: hsm-token-label: (see runbound hsm doctor)",
    ),
    "no-token": Words(
        "the module shows {account} no token",
        "plug it in, or make one: runbound hsm init; one that root made may be invisible to {account}: runbound hsm "
        "doctor tells",
    ),
    "token-mismatch": Words(
        "the token there is not the one that the configuration names ({token})",
        "set hsm-token-label:, hsm-token-serial: or hsm-uri: to what runbound hsm doctor shows",
    ),
    "token-uninitialized": Words(
        "the token is not initialised (CKF_TOKEN_INITIALIZED is not set)", "make it one: runbound hsm init"
    ),
    "pin-missing": Words(
        "the token wants a PIN and none is given",
        "write HSM_PIN=… to /etc/runbound/env (chmod 640), or name a file with hsm-pin-file:, or give the systemd "
        "credential hsm-pin",
    ),
    "pin-empty": Words("the PIN is empty ({pin})", "write the PIN there; nothing was sent to the token"),
    "pin-locked": Words(
        "the token's PIN is locked (CKF_USER_PIN_LOCKED; a login would say CKR_PIN_LOCKED)",
        "set a new one with the security officer's PIN: pkcs11-tool --module {module} --login --login-type so "
        "--init-pin",
    ),
    "pin-final-try": Words(
        "one more wrong PIN locks the token (CKF_USER_PIN_FINAL_TRY), so none was sent",
        "make sure that the PIN is right ({pin}), then allow one try: hsm-final-try: yes; take the line out afterwards",
    ),
    "login-pin": Words(
        "the token refuses the PIN (CKR_PIN_INCORRECT); it was sent once and will not be sent again",
        "check the PIN ({pin}); for HSM_PIN: /etc/runbound/env, chmod 640; a few wrong ones lock a token, so mend it "
        "before the next start",
    ),
    "login-locked": Words(
        "the token's PIN is locked (CKR_PIN_LOCKED)",
        "set a new one with the security officer's PIN: pkcs11-tool --module {module} --login --login-type so "
        "--init-pin",
    ),
    "login": Words("the token lets nobody log in", "see runbound hsm doctor; PIN: {pin}"),
    "label-absent": Words(
        "the token has no such key (CKR_OK with 0 objects; guides call it CKR_OBJECT_HANDLE_INVALID)",
        "correct the label in the configuration{labels}, or make the key: runbound hsm import-key ROLE; "
        "to look: runbound hsm doctor, or pkcs11-tool --list-objects",
    ),
    "label-duplicate": Words(
        "several objects on the token have that label, and only one can be meant",
        "delete all but one (pkcs11-tool --delete-object), or put the key in under a label of its own: runbound hsm "
        "import-key ROLE --label NAME",
    ),
    "not-extractable": Words("the key may not leave the token (CKA_EXTRACTABLE = false)", _NO_LEAVE),
    "sensitive": Words("the token does not show the key in the clear (CKA_SENSITIVE = true)", _NO_LEAVE),
    "value-empty": Words(
        "the token gives a key of no octets, which is how some say that it may not leave (CKA_EXTRACTABLE = false)",
        _NO_LEAVE,
    ),
    "value-newline": Words(
        "the key ends with a newline, which no client can send",
        "put it in without: openssl rand -hex 32 | tr -d '\\n'; or runbound hsm import-key api, which draws one",
    ),
    "value-not-utf8": Words(
        "the API key is no UTF-8 text, so no client can send it",
        "use hexadecimal digits: runbound hsm import-key api draws such a key",
    ),
    "value-not-printable": Words(
        "the API key has characters that cannot stand in a header (it is printable ASCII without spaces)",
        "use hexadecimal digits: runbound hsm import-key api draws such a key",
    ),
    "value-short": Words("the key is too short to be one", f"32 octets are right; {_KEY_AGAIN}"),
    "value-long": Words("the key is longer than any that is taken", f"32 octets are right; {_KEY_AGAIN}"),
    "no-mechanism": Words(
        "the token cannot compute with this key as hsm-mode: in-token needs it (CKM_SHA256_HMAC, or CKM_ECDH1_DERIVE)",
        "runbound hsm doctor shows what it can; make a key that signs: runbound hsm import-key ROLE; or take hsm-mode: "
        "extract",
    ),
    "exists": Words(
        "there is one of that name already, and it is left as it is",
        "choose another label with --label, or take the old one out: runbound hsm delete-key LABEL",
    ),
    "device": Words(
        "the token does not answer as it should",
        "is it plugged in, its connector, daemon or network there, and may {account} use it? see runbound hsm doctor",
    ),
    "timeout": Words(
        "the module did not come back in time and its process was ended",
        "is the token's network or connector there? a slow one gets longer with hsm-timeout:",
    ),
    "crashed": Words(
        "the process with the module ended by itself; the resolver is not touched",
        "try the module alone: pkcs11-tool --module {module} -L; update it, its maker has to mend it",
    ),
    "protocol": Words(
        "the helper process says what nobody understands", "is one version of runbound installed? install it again"
    ),
    "other": Words("the token refuses", "see runbound hsm doctor"),
}

_WARNINGS: Final[dict[str, Words]] = {
    "pin-count-low": Words(
        "a wrong PIN was sent to the token before (CKF_USER_PIN_COUNT_LOW)",
        "find out who sent it; the right one, sent now, starts the count again on most tokens",
    ),
    "pin-final-try": Words(
        "one more wrong PIN would have locked the token (CKF_USER_PIN_FINAL_TRY)",
        "take hsm-final-try: yes out of the configuration again",
    ),
    "not-private": Words(
        "the key can be read without the PIN (CKA_PRIVATE = false)",
        "put it in again under another label: runbound hsm rotate ROLE; with pkcs11-tool: --private",
    ),
    "extractable": Words(
        "the key could leave the token although it is used in it (CKA_EXTRACTABLE = true)",
        "one that cannot: runbound hsm rotate ROLE",
    ),
    "api-short": Words("the API key has less than 32 octets", "put in a longer one: runbound hsm rotate api"),
    "sensitive-readable": Words(
        "the token shows a key that it calls sensitive (CKA_SENSITIVE = true)", "ask the maker of the module"
    ),
    "logout": Words("the token did not confirm the end of the session", "ask the maker of the module"),
    "finalize": Words("the module did not confirm its end", "ask the maker of the module"),
}


def explain(failure: Failure, settings: HsmSettings | None = None) -> Words:
    """What went wrong and what to do. With the settings their module, token and place of the PIN are named."""
    words = _WORDS.get(failure.kind, _WORDS["other"])
    module = settings.module if settings is not None else "/path/of/the/module.so"
    names = {
        "module": module,
        "account": _plain(failure.account or "") or "the account of the service",
        "token": settings.token_name if settings is not None else "hsm-token-label, hsm-token-serial, hsm-uri",
        "pin": str(settings.pin) if settings is not None and settings.pin.kind != "none" else _PIN_PLACES,
        "labels": f" (the token has: {_listed(failure.labels)})" if failure.labels else "",
    }
    if failure.kind == "label-absent" and not failure.labels:
        names["labels"] = " (the token shows no key at all: was it another token, or another PIN?)"
    text = words.what.format(**names)
    told = _plain(failure.detail) if failure.detail and not _is_code_again(failure) else ""
    return Words(f"PKCS#11: {_code(failure)}{text}{f': {told}' if told else ''}", words.fix.format(**names))


def warning(warned: Warned) -> Words:
    """What is not as it should be with a key that was loaded, and what to do."""
    words = _WARNINGS.get(warned.kind, Words(_plain(warned.kind).replace("-", " "), "see runbound hsm doctor"))
    who = f"{_plain(warned.role)} key: " if warned.role is not None else ""
    return Words(f"{who}{words.what}{f': {_plain(warned.detail)}' if warned.detail else ''}", words.fix)


def kinds() -> frozenset[str]:
    """Every kind of failure there are words for."""
    return frozenset(_WORDS)


def _code(failure: Failure) -> str:
    """`C_Login: 0x000000a0 (CKR_PIN_INCORRECT): `, as far as it is known."""
    parts = [_plain(failure.function)] if failure.function else []
    if failure.code is not None:
        parts.append(f"0x{failure.code:08x} ({_plain(failure.name or 'a code of the vendor')})")
    return "".join(f"{part}: " for part in parts)


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - MOST_LABELS
    return ", ".join(map(_plain, labels[:MOST_LABELS])) + (f" and {more} more" if more > 0 else "")


def _plain(text: str) -> str:
    """What a token or its module says, on one line and no longer than a message may be: it is written by others."""
    shown = text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def _is_code_again(failure: Failure) -> bool:
    return failure.function is not None and failure.detail.startswith(f"{failure.function} returned ")
