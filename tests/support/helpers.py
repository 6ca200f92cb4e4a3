"""A helper process that is none: a token made of Python objects, and what can go wrong with it, at will.

It stands where `engine.HsmHelper` does, for tests of who speaks with the helper. Real tokens are in `tokens.py`.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import msgspec

from runbound.engine import HsmHelperError, Secret
from runbound.keys.messages import (
    Failure,
    KeyInfo,
    Library,
    Load,
    Loaded,
    Message,
    Probe,
    Probed,
    Role,
    Slot,
    Token,
    Warned,
    decode_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIBRARY = Library(description="a module of a test", manufacturer="runbound", version="1.0", cryptoki="2.40")
TOKEN = Token(label="t", serial="1234", model="m", manufacturer="runbound", flags=["TOKEN_INITIALIZED"])
REMOVED = Failure(kind="device", function="C_GetTokenInfo", code=0x32, name="CKR_DEVICE_REMOVED")
REFUSED = Failure(kind="login-pin", function="C_Login", code=0xA0, name="CKR_PIN_INCORRECT")


def broken(kind: str, function: str | None = None) -> HsmHelperError:
    """What the engine raises for a helper that does not answer."""
    error = HsmHelperError(f"the helper: {kind}")
    error.kind, error.function, error.signal, error.status = kind, function, None, None  # type: ignore[assignment]
    return error


class FakeToken:
    """One token that all helpers of a test see."""

    def __init__(self, **values: bytes) -> None:
        self.values = values
        """Label to the key's octets; an underscore stands for a hyphen."""
        self.present = True
        self.hangs: tuple[str, ...] = ()
        """Requests (`probe`, `load`, …) that never end."""
        self.refuses: Failure | None = None
        """Why nobody may log in."""
        self.crashes: tuple[str, ...] = ()
        self.gives: tuple[Role, ...] | None = None
        """Roles whose keys a load gives, whatever it asks for; None: those that it asks for."""
        self.logins = 0
        self.warnings: list[Warned] = []
        self.asked: list[str] = []
        self.secrets: list[int] = []
        """Lengths of the secrets that came with the last load."""
        self.loads: list[Load] = []
        self.helpers: list[FakeHelper] = []

    def spawn(self) -> FakeHelper:
        """Another helper."""
        helper = FakeHelper(self)
        self.helpers.append(helper)
        return helper

    def value(self, label: str) -> bytes | None:
        """The key of a label."""
        return self.values.get(label.replace("-", "_"))

    @property
    def alive(self) -> int:
        """How many helpers have not ended."""
        return sum(not helper.ended for helper in self.helpers)


class FakeHelper:
    """One helper of that token."""

    def __init__(self, token: FakeToken) -> None:
        self._token = token
        self.pid = 0
        self.ended = ""
        """`closed` or `killed`, once it is."""
        self.dies = False

    def call(
        self, message: bytes, secrets: Sequence[Secret] = (), timeout_s: float = 30.0
    ) -> tuple[bytes, list[Secret]]:
        request = decode_request(message)
        name = type(request).__name__.lower()
        token = self._token
        token.asked.append(name)
        assert not self.ended
        if self.dies or name in token.crashes:
            raise broken("crashed", "C_Initialize")
        if name in token.hangs:
            raise broken("timeout", "C_GetSlotList")
        answers: dict[type, Callable[[Any], tuple[Message | Failure, list[Secret]]]] = {
            Load: lambda load: self._load(load, secrets),
            Probe: self._probe,
        }
        reply, found = answers[type(request)](request)
        whole: object = {"error": reply} if isinstance(reply, Failure) else reply
        return msgspec.msgpack.encode(whole), found

    def close(self, timeout_s: float = 2.0) -> None:
        self.ended = self.ended or "closed"

    def kill(self) -> None:
        self.ended = self.ended or "killed"

    def _probe(self, _request: Probe) -> tuple[Message, list[Secret]]:
        present = self._token.present
        return Probed(present=present, failure=None if present else REMOVED), []

    def _load(self, load: Load, secrets: Sequence[Secret]) -> tuple[Message | Failure, list[Secret]]:
        token = self._token
        token.loads.append(load)
        token.secrets = [len(secret) for secret in secrets]
        if not token.present:
            return REMOVED, []
        token.logins += 1
        if token.refuses is not None:
            return token.refuses, []
        infos, found = [], []
        inside = load.mode == "in-token"
        given = token.gives if token.gives is not None else tuple(want.role for want in load.wants)
        asked = {want.role: want for want in load.wants}
        for want in (asked[role] for role in given):
            value = token.value(want.label)
            if value is None:
                return Failure(kind="label-absent", detail=f'{want.role} key "{want.label}"', labels=[]), []
            infos.append(
                KeyInfo(
                    role=want.role,
                    label=want.label,
                    object="secret-key",
                    id=b"\x01",
                    how="hmac" if inside else "value",
                    tag=hmac.digest(value, load.nonce, "sha256") if want.role == "api" else None,
                )
            )
            if want.role != "api":
                octets = hmac.digest(value, f"runbound {want.role} 1".encode(), "sha256") if inside else value
                found.append(Secret(octets))
        slot = Slot(index=load.open.slot or 0, id=7, description="a slot")
        loaded = Loaded(
            library=LIBRARY,
            slot=slot,
            token=TOKEN,
            logins=1,
            keys=infos,
            warnings=token.warnings,
            elapsed_ms=5,
        )
        return loaded, found
