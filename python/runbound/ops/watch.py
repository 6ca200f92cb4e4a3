"""Whether the token is still there, for keys that never leave it.

A helper that has never had a PIN or a key is asked every moment whether the token is there, which takes no login. Any
other answer than yes, and none within a moment, means that the token is lost. That helper is killed, because nobody
knows what the vendor's library does by then, and another one looks at the next moment. When it sees the token, one more
loads the keys once, and only the same keys end the outage. The ones that are held go on being used all the while.

```text
   there ──no, or no answer──▶ lost ──seen: one login──▶ the same keys ──▶ there
                                 ▲            │
                                 └────────────┴─ refused, or other keys: no login again in this outage
```

A loop must never lock a token: one login an outage, and none any more once a PIN was refused, until somebody reloads.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from runbound.keys.messages import Failure, KeyInfo, Load, Loaded, Open, Probe, Probed, Role, Token
from runbound.keys.settings import HsmSettings
from runbound.ops.helper import CLOSE_SECONDS, Helper, HsmError, Spawn, ask

if TYPE_CHECKING:
    from runbound.engine import Secret, SecretKey

PERIOD_SECONDS: Final = 1.5
"""How long nobody asks. With `DEADLINE_SECONDS` it keeps what /health says true within 5 s."""
DEADLINE_SECONDS: Final = 2.0
"""How long a token may take to say that it is there."""
FACTOR: Final = 3
"""How much longer than the load of the start it may take until a module that was loaded anew says anything."""
LOAD_SECONDS: Final = 10.0
"""The least time in which the keys have to come once the token is back."""
AGAIN_SECONDS: Final = 60.0
"""After a load that failed without an answer to the login, how long until the next one of the same outage."""
SAMENESS: Final = b"runbound: the same key as before"

LOGIN_KINDS: Final = ("login-pin", "login-locked", "login", "pin-locked", "pin-final-try", "pin-empty", "pin-missing")
"""Failures after which a further login could cost the token, or cannot be had."""


class Same:
    """Tells whether a token holds the keys that it held at the start, without keeping one."""

    def __init__(self, infos: Sequence[KeyInfo], keys: "Mapping[Role, SecretKey]") -> None:
        self._tags = {info.role: info.tag for info in infos if info.tag is not None}
        self._macs = {role: key.mac(SAMENESS) for role, key in keys.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and (self._tags, self._macs) == (other._tags, other._macs)

    __hash__ = None  # type: ignore[assignment]  # nothing keeps them in a set


class Reading:
    """What is known of the token: why it is lost, or None, and since when (Unix time)."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.lost_since: float | None = None
        self.outages = 0
        self.logins = 0


class TokenWatch:
    """One thread over one token."""

    def __init__(
        self,
        settings: HsmSettings,
        spawn: Spawn,
        load: Load,
        pin: "Sequence[Secret]",
        first: Loaded,
        same: Callable[["Loaded", "list[Secret]"], bool],
        told: Callable[[HsmError | None, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`load` is the request that loads the keys once more, `pin` goes with it; `first` is what it gave at first.

        `same` says whether what came are the keys of then. `told` hears why the token is lost, or None when it is back,
        and how many seconds it was away.
        """
        self.reading = Reading()
        self._settings = settings
        self._spawn = spawn
        self._open = exactly(load.open, first.token)
        self._load = msgspec.structs.replace(load, open=self._open)
        self._pin = pin
        self._same = same
        self._fresh_s = max(DEADLINE_SECONDS, FACTOR * first.elapsed_ms / 1000)
        self._load_s = max(LOAD_SECONDS, self._fresh_s)
        self._told = told
        self._clock = clock
        self._looking: Helper | None = None
        """The helper that looks."""
        self._loading: Helper | None = None
        """The helper that loads."""
        self._lost_at = 0.0
        self._again_at: float | None = 0.0
        """From when on the keys may be loaded once more; None: not in this outage."""
        self._refused: HsmError | None = None
        """A PIN was refused, or would be: no login any more."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hsm", daemon=True)

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Asks for the end; the thread ends the helper within moments."""
        self._stop.set()

    def close(self, seconds: float) -> None:
        """Ends watch and helper, and waits so long at most before it is killed."""
        self.stop()
        if self._thread.ident:
            self._thread.join(seconds)
            for helper in (self._looking, self._loading):
                if helper is not None:
                    helper.kill()

    def _run(self) -> None:
        try:
            while not self._stop.wait(PERIOD_SECONDS):
                self.round()
        finally:
            self._end()

    def round(self) -> None:
        """One look, and what becomes of it."""
        try:
            self._look()
        except HsmError as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001  # a mistake of ours must not look like a token that is there
            self._lose(HsmError(Failure(kind="other", detail=repr(error)), self._settings))

    def _end(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            with contextlib.suppress(Exception):
                looking.close(CLOSE_SECONDS)

    def _look(self) -> None:
        """One look. Raises HsmError if the token is not there, or not as it was."""
        try:
            fresh = self._looking is None
            try:
                self._ask()
            except HsmError as error:
                if fresh or error.failure.kind != "crashed":
                    raise
                self._ask()  # a helper that somebody killed says nothing about the token
        except HsmError:
            self._again_at = 0.0  # it is away: when it comes, that is another time
            raise
        if self.reading.failure is not None:
            self._prove()

    def _ask(self) -> None:
        """Asks the helper that looks, or a new one, which is slower. Raises HsmError if the token is not there."""
        seconds = self._fresh_s if self._looking is None else DEADLINE_SECONDS
        helper = self._looking = self._looking or self._spawn()
        try:
            probed, _ = ask(helper, Probe(open=self._open), Probed, (), seconds, self._settings)
            if not probed.present:
                raise HsmError(probed.failure or Failure(kind="no-token"), self._settings)
        except HsmError:
            helper.kill()
            self._looking = None
            raise

    def _prove(self) -> None:
        """Loads the keys once more, if that may be. Raises HsmError unless they are those of the start."""
        if self._refused is not None:
            raise self._refused
        if self._again_at is None or self._clock() < self._again_at or self._stop.is_set():
            return
        self._again_at = self._clock() + AGAIN_SECONDS
        helper = self._loading = self._spawn()
        try:
            loaded, secrets = ask(helper, self._load, Loaded, self._pin, self._load_s, self._settings)
            helper.close(CLOSE_SECONDS)
        except HsmError as error:
            helper.kill()
            if error.failure.kind in LOGIN_KINDS:
                self._refused = error
            elif error.failure.function == "C_Login" and error.failure.code is not None:
                self._again_at = None  # some modules say CKR_GENERAL_ERROR of a wrong PIN
            raise
        finally:
            self._loading = None
        self.reading.logins += loaded.logins
        if not self._same(loaded, secrets):
            self._again_at = None
            raise HsmError(Failure(kind="token-mismatch", detail="its keys are not those of the start"), self._settings)
        self.reading.failure = self.reading.lost_since = None
        self._told(None, self._clock() - self._lost_at)

    def _lose(self, error: HsmError) -> None:
        before, self.reading.failure = self.reading.failure, error.failure
        if before is None:
            self._lost_at, self.reading.lost_since = self._clock(), time.time()
            self.reading.outages += 1
        if before is None or (before != error.failure and self._again_at != 0.0):
            self._told(error, 0.0)


def exactly(open_: Open, token: Token) -> Open:
    """The same token and no other: by its own names, wherever it is put in the meantime."""
    names = {"token_label": token.label or None, "token_serial": token.serial or None}
    if not any(names.values()):
        return open_
    return msgspec.structs.replace(open_, slot=None, **names)
