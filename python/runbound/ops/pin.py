"""The PIN of a token on its way from where an operator keeps it into locked memory.

Owns how each source is read: a file through its descriptor, a variable out of the environment, which loses it. It must
never make a Python object of a PIN; `hsm-pin:` alone is one already, because the file is read by Python.
"""

import os
import stat
from typing import TYPE_CHECKING

from runbound.config.model import Config
from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.keys.messages import Failure
from runbound.ops.helper import HsmError

if TYPE_CHECKING:
    from runbound.engine import Secret
    from runbound.keys.settings import HsmSettings


class PinUnreadableError(RunboundError):
    """The place that should hold the PIN cannot be read, or others can read it."""

    exit_code = EXIT_CONFIG


def read(settings: "HsmSettings", config: Config) -> "Secret | None":
    """The PIN, without one newline at its end; None if none is given anywhere.

    Raises PinUnreadableError, and HsmError for one that is empty: a token would count that as a wrong one.
    """
    from runbound.engine import Secret

    source = settings.pin
    path = source.path
    if path is not None:
        pin = of_file(path, str(source), waits=False)
    elif source.kind == "environment":
        found = Secret.environment(source.place, strip_newline=True)
        if found is None:
            return None
        pin = found
    elif source.kind == "option":
        pin = Secret(bytearray(config.server.hsm_pin.encode("utf-8", "surrogateescape")))
    else:
        return None
    if not len(pin):
        raise HsmError(Failure(kind="pin-empty"), settings)
    return pin


def of_file(path: str, name: str, *, waits: bool = True) -> "Secret":
    """Reads a file that nobody but owner and group may. A pipe is one for a person; a service (`waits` is false) would
    hang at it."""
    from runbound.engine import Secret

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if waits else os.O_NONBLOCK))
        try:
            found = os.fstat(descriptor)
            if not waits and not stat.S_ISREG(found.st_mode):
                raise ValueError("it is no regular file")
            if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IRWXO:
                mode = f"{stat.S_IMODE(found.st_mode):04o}"
                raise PinUnreadableError(f"{name} can be read by others (mode {mode})", fix=f"chmod o= {path}")
            return Secret.read(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        fix = f"install -m 600 /dev/stdin {path}, and type the PIN"
        raise PinUnreadableError(f"{name} cannot be read: {reason}", fix=fix) from error
