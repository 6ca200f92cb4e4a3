"""One conversation with the helper process that speaks with the token.

Owns how the helper is started and what becomes of its failures: an error with the words of `keys.words` and, for
whoever has to decide by it, the failure itself. A helper that hangs or dies is killed here, never waited for. It must
never keep a secret, and never decide whether to ask again: a PIN that was refused once must not be tried by a loop.
"""

import pwd
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec

from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.keys import words
from runbound.keys.messages import Failure, Reply, Request, decode, encode

if TYPE_CHECKING:
    from runbound.engine import Secret
    from runbound.keys.settings import HsmSettings

ARGV: Final = (sys.executable, "-I", "-m", "runbound.engine.hsm_helper")
"""What is run. Isolated, so that neither the environment nor the working directory puts code in its way."""
CLOSE_SECONDS: Final = 2.0
"""How long a helper may take to end by itself before it is killed."""
STOP_POLL_SECONDS: Final = 0.1
"""How often a start that loads keys looks whether it is to end."""


class Helper(Protocol):
    """A running helper; the engine's `HsmHelper`."""

    @property
    def pid(self) -> int: ...
    def call(
        self, message: bytes, secrets: "Sequence[Secret]" = (), timeout_s: float = 30.0
    ) -> "tuple[bytes, list[Secret]]": ...
    def close(self, timeout_s: float) -> None: ...
    def kill(self) -> None: ...


Spawn = Callable[[], Helper]


class HsmError(RunboundError):
    """What the token, its module or the helper refuses. `failure` says so to programs."""

    exit_code = EXIT_CONFIG

    def __init__(self, failure: Failure, settings: "HsmSettings | None" = None) -> None:
        what, fix = words.explain(failure, settings)
        super().__init__(what, fix=fix)
        self.failure = failure


def spawn() -> Helper:
    """A helper of this process. Raises HsmError if there can be none."""
    from runbound.engine import HsmHelper, HsmHelperError

    try:
        return HsmHelper(ARGV)
    except (HsmHelperError, OSError) as error:
        raise HsmError(Failure(kind="other", detail=f"the helper process cannot be started: {error}")) from error


def ask(
    helper: Helper,
    request: Request,
    kind: type[Reply],
    secrets: "Sequence[Secret]",
    timeout_s: float,
    settings: "HsmSettings | None" = None,
) -> "tuple[Reply, list[Secret]]":
    """What the helper answers, and the secrets that came with it. `settings` are for the words of a failure.

    Raises HsmError for a refusal, and for a helper that hangs, dies or talks nonsense: then it is killed.
    """
    from runbound.engine import HsmHelperError

    try:
        octets, found = helper.call(encode(request), secrets, timeout_s)
        reply = decode(octets, kind)
    except HsmHelperError as error:
        helper.kill()
        raise HsmError(Failure(kind=error.kind, function=error.function, detail=str(error)), settings) from error
    except msgspec.MsgspecError as error:
        helper.kill()
        raise HsmError(Failure(kind="protocol", detail=str(error)), settings) from error
    if isinstance(reply, Failure):
        raise HsmError(msgspec.structs.replace(reply, account=_named(reply.account)), settings)
    return reply, found


def _named(account: str | None) -> str | None:
    """The name of the account whose number the helper gave."""
    try:
        return None if account is None else pwd.getpwuid(int(account)).pw_name
    except (KeyError, ValueError, OverflowError):
        return account


class Stoppable:
    """A helper that ends when the process is told to: signals wait until the start is over, and a module that hangs
    would make them wait for the whole of `hsm-timeout`."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._helper: Helper | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="hsm-stop", daemon=True)
        self.stopped = False

    def spawn(self) -> Helper:
        """The helper."""
        self._helper = self._spawn()
        self._thread.start()
        return self._helper

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        if self._thread.ident:  # no thread may be there when privileges are dropped
            self._thread.join()

    def _wait(self) -> None:
        assert self._helper is not None
        while not self._over.wait(STOP_POLL_SECONDS):
            if signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
                self.stopped = True
                self._helper.kill()
                return
