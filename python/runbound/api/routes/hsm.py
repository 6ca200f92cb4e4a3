"""`/hsm`: the hardware security module that keys come from, and loading them anew without a restart.

What a module says and how keys are exchanged decide `ops.hsm` and `ops.hsm_reload`. It must never show a PIN, a key, or
anything that one could be guessed from.
"""

import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from runbound.api import edits
from runbound.api.auth import Admin, Operator
from runbound.api.context import Context, Resolver
from runbound.api.edits import Asked
from runbound.api.problems import ProblemError, TokenFailure
from runbound.errors import RunboundError
from runbound.ops.helper import HsmError
from runbound.ops.hsm_reload import BadFileError, HsmReload, Reloaded, Turned
from runbound.ops.refusals import NoHsm, Refusal

router = APIRouter(tags=["hsm"])

UNAVAILABLE: Final = frozenset(
    {"module-load", "initialize", "no-slot", "no-token", "device", "timeout", "crashed", "protocol", "other"}
)
"""Kinds of failure that are about the module and not about what the configuration names."""
Mode = Literal["extract", "in-token"]


class HsmLibrary(BaseModel):
    """What the module says of itself."""

    description: str = Field(examples=["Implementation of PKCS11"])
    manufacturer: str = Field(examples=["SoftHSM"])
    version: str = Field(examples=["2.6"])
    cryptoki: str = Field(description="Version of PKCS#11", examples=["2.40"])


class HsmSlot(BaseModel):
    """Where the token is."""

    index: int = Field(description="Among the slots with a token, from 0 (`hsm-slot`)")
    id: int = Field(description="The module's own number")
    description: str


class HsmToken(BaseModel):
    """The token."""

    label: str = Field(examples=["runbound"])
    serial: str = Field(examples=["9fd0f5e4b01a4ab2"])
    model: str = Field(examples=["SoftHSM v2"])
    manufacturer: str
    flags: list[str] = Field(examples=[["TOKEN_INITIALIZED", "LOGIN_REQUIRED"]])


class HsmKey(BaseModel):
    """A key in the token."""

    role: Literal["api", "store", "audit"]
    label: str = Field(examples=["runbound-store-key"])
    id: str = Field(description="CKA_ID in hexadecimal; may be empty")
    object: str = Field(description="`secret-key`, `data` or `private-key`")
    how: str = Field(description="`value`: it was read; `hmac`, `ecdh`: what the token computed with it was")
    key_type: str | None
    extractable: bool | None
    sensitive: bool | None
    private: bool | None


class HsmWarning(BaseModel):
    """What should be better."""

    kind: str = Field(examples=["not-private"])
    role: str | None
    detail: str


class HsmPin(BaseModel):
    """Where the PIN is read. Never the PIN."""

    kind: str = Field(description="`credential`, `file`, `environment`, `uri`, `option` or `none`")
    place: str | None = Field(description="The file or the variable")


class HsmStatus(BaseModel):
    """The security module of a running resolver."""

    used: bool = Field(description="Whether keys come from a security module; without one the rest is empty")
    ok: bool = Field(description="As `hsm` in `/health`")
    reason: str | None = Field(description="Why it is not")
    mode: Mode | None = Field(default=None, description="Whether keys were read, or stay in the token")
    module: str | None = Field(default=None, examples=["/usr/lib/softhsm/libsofthsm2.so"])
    library: HsmLibrary | None = None
    slot: HsmSlot | None = None
    token: HsmToken | None = None
    keys: list[HsmKey] = []
    warnings: list[HsmWarning] = []
    pin: HsmPin | None = None
    loaded_at: datetime.datetime | None = Field(default=None, description="When keys were loaded last")
    load_ms: int | None = Field(default=None, description="How long that took, in milliseconds")
    loads: int = Field(default=0, description="How often keys were loaded")
    logins: int = Field(default=0, description="Logins since the start; each wrong one counts against the PIN")
    lost_since: datetime.datetime | None = Field(default=None, description="Since when the token does not answer")
    outages: int = Field(default=0, description="How often it did not")
    origins: dict[str, str] = Field(
        default={},
        description="Where the keys in force come from, those without a label too",
        examples=[{"api": "hsm extract runbound-api-key", "store": "environment RUNBOUND_STORE_KEY"}],
    )


class HsmWish(BaseModel):
    """How to load them; the query says the same."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(default=False, description="Load the keys and forget them: only say what would change")
    reason: str = Field(default="", max_length=edits.MAX_REASON, description="For the audit log")


class HsmTurned(BaseModel):
    """One key, and what became of it."""

    role: Literal["api", "store", "audit"]
    before: str = Field(description="Where it came from; empty if there was none", examples=["hsm extract store"])
    after: str = Field(examples=["hsm extract store-v2"])
    changed: bool | None = Field(
        description="Whether it is another key. `null` for an API key under the same label: it was read anew"
    )


class HsmRecoded(BaseModel):
    """What was coded anew in the state."""

    entries: int
    revisions: int
    backups: int = Field(description="Backups that were sealed anew")
    seconds: float = Field(description="How long writing waited")
    audit_log: str | None = Field(
        description="File with the audit entries that the key before has sealed; the log goes on under the new one"
    )


class HsmReloaded(BaseModel):
    """What a reload did, or with `dry_run` would do."""

    dry_run: bool
    keys: list[HsmTurned]
    state: HsmRecoded | None = Field(description="None if the keys of the state are those that they were")


@router.get("/hsm", summary="The hardware security module that keys come from")
def get_hsm(resolver: Resolver, _caller: Operator) -> HsmStatus:
    """Asks nobody: what was found when keys were loaded, and whether the token was there a moment ago."""
    loading = resolver.hsm_reload
    if loading is None:
        return HsmStatus(used=False, ok=False, reason=None)
    origins = {role: origin.text for role, origin in loading.origins().items() if origin.kind}
    return HsmStatus.model_validate({**loading.hsm.state(), "used": True, "origins": origins})


@router.post(
    "/hsm/reload",
    summary="Load the keys of the security module anew",
    responses=edits.documented("HSM_BUSY", "HSM_NOT_USED", "HSM_REFUSED", "HSM_UNAVAILABLE"),
)
def post_hsm_reload(
    resolver: Resolver, caller: Admin, terms: Asked, body: Annotated[HsmWish | None, Body()] = None
) -> HsmReloaded:
    """Reads the `hsm-*` lines of the configuration file again (labels, slot, token, PIN, mode), logs in once, loads
    every key, and takes all of them into use or none.

    Under another store or audit key the state and its backups are coded anew while DNS and reading go on. The API key
    before is dead when this has answered.
    """
    loading = _loading(resolver)
    wish = body or HsmWish()
    dry_run, reason = terms.dry_run or wish.dry_run, terms.reason or wish.reason
    try:
        done = loading.run(caller.change(reason or "POST /hsm/reload"), dry_run=dry_run)
    except Refusal:
        raise
    except BadFileError as error:
        raise ProblemError("CONFIG_INVALID", diagnostics=edits.items(error.diagnostics)) from error
    except HsmError as error:
        raise _refused(error) from error
    except RunboundError as error:
        raise ProblemError("CONFIG_INVALID", str(error)) from error
    return _shown(done, dry_run=dry_run)


def _loading(resolver: Context) -> HsmReload:
    if resolver.hsm_reload is None:
        raise NoHsm(
            "this resolver was started without a hardware security module",
            fix="name one with hsm-pkcs11-lib: and restart",
        )
    return resolver.hsm_reload


def _refused(error: HsmError) -> ProblemError:
    failure = error.failure
    told = TokenFailure(
        kind=failure.kind,
        function=failure.function,
        code=failure.code,
        name=failure.name,
        labels=list(failure.labels),
        fix=error.fix,
    )
    code = "HSM_UNAVAILABLE" if failure.kind in UNAVAILABLE else "HSM_REFUSED"
    return ProblemError(code, error.what, hsm=told)


def _turned(one: Turned) -> HsmTurned:
    return HsmTurned(role=one.role, before=one.before.text, after=one.after.text, changed=one.changed)


def _shown(done: Reloaded, *, dry_run: bool) -> HsmReloaded:
    state: Any = None
    if (found := done.rekeyed) is not None:
        state = HsmRecoded(
            entries=found.entries,
            revisions=found.revisions,
            backups=done.backups,
            seconds=found.seconds,
            audit_log=found.aside,
        )
    return HsmReloaded(dry_run=dry_run, keys=[_turned(one) for one in done.turned], state=state)
