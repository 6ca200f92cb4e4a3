"""Where a key came from, in a few words that tell keys apart and give none away.

Owns the one line that stands in `state.mac` for who finds a state that another key has coded, and what an operator can
do then. It proves nothing. This module must never know a key.
"""

import shlex
from typing import Final, Literal

import msgspec

MAX_TEXT: Final = 60
"""Characters of one line; two of them and the rest must fit into one place of the anchor (`head.SLOT`)."""
STORE_VARIABLE: Final = "RUNBOUND_STORE_KEY"
AUDIT_VARIABLE: Final = "RUNBOUND_AUDIT_HMAC_KEY"

Kind = Literal["", "hsm", "environment", "option", "file", "none"]


class Origin(msgspec.Struct, frozen=True):
    """Where a key came from; without a kind nobody knows."""

    kind: Kind = ""
    name: str = ""
    """The label, the variable, the option, the path."""
    mode: str = ""
    """`extract` or `in-token` of a key in a token: one token key makes two."""

    @property
    def text(self) -> str:
        """As the anchor has it."""
        whole = " ".join(part for part in (self.kind, self.mode, self.name) if part)
        return "".join(sign if " " <= sign <= "~" and sign not in '"\\' else "?" for sign in whole)[:MAX_TEXT]

    @classmethod
    def read(cls, text: str) -> "Origin":
        """What a line says; nobody knows if it says nothing that we write."""
        kind, _, rest = text.partition(" ")
        if kind == "hsm":
            mode, _, name = rest.partition(" ")
            return cls("hsm", name, mode) if mode in ("extract", "in-token") and name else cls()
        if kind in ("environment", "option", "file", "none"):
            return cls(kind, rest)  # type: ignore[arg-type]  # it is one of them
        return cls()

    def words(self) -> str:
        """For a sentence that begins with: it was written with …"""
        match self.kind:
            case "hsm":
                return f"the HSM's key {self.name} in mode {self.mode}"
            case "environment":
                return f"the key of {self.name}"
            case "option":
                return f"the key of {self.name}: in the configuration file"
            case "file":
                return f"the key in {self.name}"
        return ""


def again(origin: Origin, role: str) -> str:
    """What to set so that a start finds the key that it was. `role` is `store` or `audit`."""
    match origin.kind:
        case "hsm":
            return f"set hsm-{role}-key-label: {origin.name} and hsm-mode: {origin.mode} as it was"
        case "option":
            return f"set {origin.name}: as it was"
        case "file":
            return f"put {origin.name} back"
    return f"set {STORE_VARIABLE if role == 'store' else AUDIT_VARIABLE} as it was"


def resign_with(origin: Origin, role: str, flags: str) -> str:
    """The command that codes the state anew with the key of now, told where the key until now is. `flags` say which
    state and which configuration."""
    infix = "" if role == "store" else "audit-"
    match origin.kind:
        case "hsm":
            old = f" --old-{infix}hsm-label {shlex.quote(origin.name)} --old-hsm-mode {origin.mode}"
            return f"runbound store resign{old}{flags}"
        case "none":
            return f"runbound store resign{flags}"
    return f"runbound store resign --old-{infix}key-file FILE{flags}, FILE holding the key until now"
