"""The keys of a hardware security module in a running resolver: loaded at the start, exchanged at a reload, watched.

Owns what the log says at the start, what `/health` and `GET /hsm` say afterwards, and the order of a reload: `prepare`
loads everything and changes nothing, `commit` takes it into use and cannot fail. There is no way round the module: a
label that is set comes from the token, or the start ends with exit code 78 before a port is bound. It must never hold
an octet of a key in Python: there are handles for the state's keys, and for the API's the tag it is compared with.
"""

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from runbound.config.model import Config
from runbound.engine import Secret, SecretKey, protect_process
from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.keys import words
from runbound.keys.messages import ROLES, Failure, KeyInfo, Load, Loaded, Role
from runbound.keys.settings import PIN_VARIABLE, HsmSettings
from runbound.ops import pin
from runbound.ops.helper import CLOSE_SECONDS, HsmError, Spawn, Stoppable, ask, spawn
from runbound.ops.logging import ControlLog, line
from runbound.ops.watch import Same, TokenWatch

Account = tuple[int, int, list[int]]
"""User, group and further groups that the resolver serves as."""
NONCE_OCTETS: Final = 32
SYSTEM: Final = "runbound"
"""The actor of what nobody asked for."""
STILL: Final = "questions and the API are answered with the keys that are held; give the token back"
CLOSED: Final = {
    "extract": "HSM session closed — keys held in process memory",
    "in-token": "HSM session closed — subkeys held, token key never left",
}
LOADED: Final[dict[Role, str]] = {
    "api": "HSM: API key loaded           ",
    "store": "HSM: store HMAC key loaded    ",
    "audit": "HSM: audit HMAC key loaded    ",
}
"""The lines of a start, so spaced that their labels stand below each other."""
SHORT: Final = {
    "timeout": "does not answer",
    "crashed": "cannot be reached, as the process with its module ended",
    "token-mismatch": "is another one, or holds other keys",
    "login-pin": "refused the PIN",
    "login-locked": "is locked",
    "pin-locked": "is locked",
    "pin-final-try": "has one try left for its PIN",
}
"""What a token does, for `/health`, which strangers read; anything else is that it cannot be reached."""


class ApiTag(msgspec.Struct, frozen=True):
    """What a presented API key is compared with: HMAC-SHA256 of the nonce, made with the key in the token."""

    tag: bytes
    nonce: bytes


class Trail(Protocol):
    """The audit log."""

    def record(self, event: str, actor: str, /, **fields: object) -> None:
        """Takes an entry that belongs to no change. Never raises, never waits."""


class Prepared(msgspec.Struct, frozen=True):
    """Keys that are loaded and not yet in force."""

    settings: HsmSettings
    keys: dict[Role, SecretKey]
    api: ApiTag | None
    loaded: Loaded
    pin: tuple[Secret, ...]
    nonce: bytes


class Hsm:
    """The module of one process. Safe from every thread, but for two reloads at once."""

    def __init__(
        self, log: ControlLog, resolve: Callable[[str], str], environ: Mapping[str, str], helper: Spawn, first: Prepared
    ) -> None:
        self._log = log
        self._resolve = resolve
        self._environ = environ
        self._spawn = helper
        self._trail: Trail | None = None
        self._current = first
        self._watch: TokenWatch | None = None
        self._loads = 0
        self._logins = 0
        self._outages = 0
        self._loaded_at = 0.0
        self.api_changed: Callable[[ApiTag | None], None] = _nobody
        """Hears what API keys are compared with from now on; None if the key comes from elsewhere."""
        self._take(first)

    @classmethod
    def load(
        cls,
        config: Config,
        account: Account | None,
        log: ControlLog,
        resolve: Callable[[str], str],
        environ: Mapping[str, str] = os.environ,
        helper: Spawn = spawn,
    ) -> "Hsm | None":
        """Loads what the configuration names; None if it names nothing. `account` is who the helper is to become.

        Raises HsmError, and RunboundError with exit code 78.
        """
        settings = HsmSettings.of(config, resolve, environ)
        if settings is None:
            return None
        protect_process()
        given = pin.read(settings, config)
        selected = {"slot": settings.slot, "token-label": settings.token_label, "serial": settings.token_serial}
        log.info(f"Opening PKCS#11 HSM session  {_fields(lib=settings.module, **selected)}")
        try:
            with Stoppable(helper) as started:
                first = _load(settings, account, () if given is None else (given,), started.spawn)
        except HsmError as error:
            if started.stopped:
                raise RunboundError("stopped before the keys of the HSM were loaded") from error
            log.error(f"HSM: {error.what}; {words.NO_FALLBACK}", help=error.fix)
            raise
        for role in ROLES:
            if role in settings.labels:
                log.info(f"{LOADED[role]}{_fields(label=settings.labels[role])}")
        log.info(CLOSED[settings.mode])
        for warned in first.loaded.warnings:
            what, fix = words.warning(warned)
            log.warning(what, help=fix)
        return cls(log, resolve, environ, helper, first)

    @property
    def settings(self) -> HsmSettings:
        """What is in force."""
        return self._current.settings

    @property
    def keys(self) -> dict[Role, SecretKey]:
        """The keys of the state and of the audit log that come from the token."""
        return self._current.keys

    @property
    def api(self) -> ApiTag | None:
        """What a presented API key is compared with, if it comes from the token."""
        return self._current.api

    def start(self, trail: Trail | None) -> None:
        """DNS is answered: writes the keys down, and begins to watch a token that they stay in."""
        protect_process()  # becoming another account has taken it back
        self._trail = trail
        self._current = _without_pin(self._current)
        self._record("hsm.loaded", **self._told())
        if self._watch is not None:
            self._watch.start()

    def prepare(self, config: Config) -> Prepared:
        """Loads what this configuration names, with one login, and changes nothing.

        The PIN is read anew where it can be; the one of the start stands in for a variable, which is gone, and for a
        file that is closed to the account that serves. Raises HsmError, and RunboundError with exit code 78.
        """
        environ = dict(self._environ)
        if self.settings.pin.kind == "environment":
            environ[PIN_VARIABLE] = ""
        settings = HsmSettings.of(config, self._resolve, environ)
        if settings is None:
            error = RunboundError("the configuration names no HSM any more", fix="restart to run without one")
            error.exit_code = EXIT_CONFIG
            raise error
        if settings.pin.kind == "none" and self.settings.pin.kind == "credential":
            # The folder of credentials may be closed to the account that serves. Where the PIN of the start came from
            # is remembered with it, or the reload after the next would not know that there is one.
            settings = msgspec.structs.replace(settings, pin=self.settings.pin)
        prepared = _load(settings, None, self._pin(settings, config), self._spawn)
        for warned in prepared.loaded.warnings:
            what, fix = words.warning(warned)
            self._log.warning(what, help=fix)
        return prepared

    def commit(self, prepared: Prepared) -> None:
        """Takes prepared keys into use: what API keys are compared with, and which token is watched. Cannot fail."""
        before = self._watch
        if before is not None:
            self._outages += before.reading.outages
            self._logins += before.reading.logins
            before.stop()
        self._take(prepared)
        self._current = _without_pin(prepared)
        if self._watch is not None:
            self._watch.start()
        self.api_changed(prepared.api)

    def healthy(self) -> tuple[bool, str | None]:
        """Whether the keys are in force and, where they stay in the token, the token is there; else why not."""
        watch = self._watch
        failure = None if watch is None else watch.reading.failure
        if failure is None:
            return True, None
        said = ": ".join(word for word in (failure.function, failure.name) if word)
        reason = f"the HSM's token {SHORT.get(failure.kind, 'cannot be reached')}"
        return False, f"{reason} ({said})" if said else reason

    def state(self) -> dict[str, Any]:
        """What there is to know, in types of JSON; no secret."""
        now, watch = self._current, self._watch
        ok, reason = self.healthy()
        loaded, reading = now.loaded, None if watch is None else watch.reading
        return {
            "ok": ok,
            "reason": reason,
            "mode": now.settings.mode,
            "module": now.settings.module,
            "library": msgspec.to_builtins(loaded.library),
            "slot": msgspec.to_builtins(loaded.slot),
            "token": msgspec.to_builtins(loaded.token),
            "keys": [_shown(info) for info in loaded.keys],
            "warnings": [msgspec.to_builtins(warned) for warned in loaded.warnings],
            "pin": {"kind": now.settings.pin.kind, "place": now.settings.pin.place},
            "loaded_at": _time(self._loaded_at),
            "load_ms": loaded.elapsed_ms,
            "loads": self._loads,
            "logins": self._logins + (0 if reading is None else reading.logins),
            "lost_since": None if reading is None or reading.lost_since is None else _time(reading.lost_since),
            "outages": self._outages + (0 if reading is None else reading.outages),
        }

    def close(self) -> None:
        """Ends watch and helper."""
        if self._watch is not None:
            self._watch.close(CLOSE_SECONDS)

    def _take(self, prepared: Prepared) -> None:
        self._current = prepared
        self._watch = self._watching(prepared)
        self._loads += 1
        self._logins += prepared.loaded.logins
        self._loaded_at = time.time()

    def _watching(self, prepared: Prepared) -> TokenWatch | None:
        """What watches the token of these keys; None if they have left it."""
        if prepared.settings.mode == "extract":
            return None
        first = Same(prepared.loaded.keys, prepared.keys)

        def same(loaded: Loaded, found: list[Secret]) -> bool:
            return Same(loaded.keys, _keys(prepared.settings, loaded, found)) == first

        load = _request(prepared.settings, None, prepared.nonce)
        return TokenWatch(prepared.settings, self._spawn, load, prepared.pin, prepared.loaded, same, self._hear)

    def _hear(self, error: HsmError | None, away_s: float) -> None:
        """The token went, or came back."""
        if error is None:
            self._log.notice("HSM: the token is back, with the same keys", seconds=round(away_s, 1))
            self._record("hsm.back", seconds=round(away_s, 1))
        else:
            self._log.error(f"HSM: the token is lost: {error.what}", help=error.fix or STILL)
            self._record("hsm.lost", reason=error.what)

    def _record(self, event: str, **fields: object) -> None:
        if self._trail is not None:
            self._trail.record(event, SYSTEM, **fields)

    def _told(self) -> dict[str, object]:
        now = self._current
        labels = {f"{role}_label": label for role, label in now.settings.labels.items()}
        return {"mode": now.settings.mode, "serial": now.loaded.token.serial, "slot": now.loaded.slot.index, **labels}

    def _pin(self, settings: HsmSettings, config: Config) -> tuple[Secret, ...]:
        """The PIN for a reload: as it stands there now, else as it was."""
        before = self._current
        if settings.pin.kind == "none":
            return ()
        try:
            given = pin.read(settings, config)
        except pin.PinUnreadableError:
            path = settings.pin.path
            if before.pin and settings.pin == before.settings.pin and path and not os.access(path, os.R_OK):
                return before.pin
            raise
        if given is None and settings.pin == before.settings.pin:
            return before.pin
        return () if given is None else (given,)


def _without_pin(prepared: Prepared) -> Prepared:
    """The same without the PIN, where nobody needs it but a reload, which can read it anew."""
    path = prepared.settings.pin.path
    if prepared.settings.mode == "extract" and path is not None and os.access(path, os.R_OK):
        return msgspec.structs.replace(prepared, pin=())
    return prepared


def _load(settings: HsmSettings, account: Account | None, given: tuple[Secret, ...], helper: Spawn) -> Prepared:
    """One helper, one login, all keys. Raises HsmError, and nothing is left of it then."""
    nonce = secrets.token_bytes(NONCE_OCTETS)
    running = helper()
    try:
        request = _request(settings, account, nonce)
        loaded, found = ask(running, request, Loaded, given, float(settings.timeout_s), settings)
        keys = _keys(settings, loaded, found)
        tags = [info.tag for info in loaded.keys if info.role == "api"]
        wanted = int("api" in settings.labels)
        if len(tags) != wanted or any(tag is None or len(tag) != NONCE_OCTETS for tag in tags):
            raise HsmError(Failure(kind="protocol", detail="the helper gave no tag for the API key, or more than one"))
        api = ApiTag(tags[0], nonce) if tags and tags[0] is not None else None
        running.close(CLOSE_SECONDS)
    except BaseException:
        running.close(CLOSE_SECONDS)  # it may be another account already, which not every root may kill
        raise
    return Prepared(settings, keys, api, loaded, given, nonce)


def _request(settings: HsmSettings, account: Account | None, nonce: bytes) -> Load:
    return Load(
        open=settings.open(account),
        mode=settings.mode,
        wants=settings.wants(),
        nonce=nonce,
    )


def _keys(settings: HsmSettings, loaded: Loaded, found: Sequence[Secret]) -> dict[Role, SecretKey]:
    """The keys that came, by what they are for. Raises HsmError if they are not those that were asked for."""
    roles = [info.role for info in loaded.keys if info.role != "api"]
    if len(roles) != len(found) or sorted(roles) != sorted(settings.labels.keys() - {"api"}):
        raise HsmError(Failure(kind="protocol", detail="the helper gave other keys than it was asked for"))
    keys: dict[Role, SecretKey] = {}
    for role, secret in zip(roles, found, strict=True):
        try:
            keys[role] = SecretKey.of(secret)
        except ValueError as error:
            raise HsmError(Failure(kind="value-short", detail=f"{settings.labels[role]}: {error}")) from error
    return keys


def _shown(info: KeyInfo) -> dict[str, object]:
    """A key as `GET /hsm` shows it: nothing that is made with it."""
    shown = msgspec.structs.asdict(info)
    del shown["tag"], shown["proof"]
    return {**shown, "id": info.id.hex()}


def _fields(**fields: object) -> str:
    """Fields as the specification's lines have them, two spaces apart."""
    return "  ".join(line("", {name: value}).strip() for name, value in fields.items() if value is not None)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _nobody(_tag: ApiTag | None) -> None:
    """Who hears of a change before the API runs."""
