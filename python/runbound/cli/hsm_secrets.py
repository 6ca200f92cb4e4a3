"""Secrets on their way between people, files and the token: PINs that are typed, keys that move in and out.

Owns how they are read and written for `runbound hsm`. A key goes from a descriptor into locked memory and back; only
what Python has read already (a typed PIN, a key of the configuration file) passes through it.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from runbound.config import paths
from runbound.errors import EXIT_FAILURE, RunboundError
from runbound.keys.messages import Failure, Role
from runbound.keys.words import explain
from runbound.ops import token as tokens
from runbound.ops.helper import HsmError
from runbound.state.directory import API_KEY_NAME, AUDIT_KEY_NAME, locate

if TYPE_CHECKING:
    from runbound.engine import Secret
    from runbound.ops.token import Access

SO_PIN_VARIABLE: Final = "HSM_SO_PIN"
KEY_VARIABLES: Final[dict[Role, str]] = {
    "api": "RUNBOUND_API_KEY",
    "store": "RUNBOUND_STORE_KEY",
    "audit": "RUNBOUND_AUDIT_HMAC_KEY",
}
LEAST: Final[dict[Role, int]] = {"api": 16, "store": 32, "audit": 32}
"""Octets that a key must have; the API's is taken with a warning below 32."""
KEY_OCTETS: Final = 32
"""What `openssl rand 32` makes."""
SERVICE_STATE: Final = "/var/lib/runbound"
"""State directory under systemd, which tells only the service about it."""


def so_pin(file: str | None) -> "Secret":
    from runbound.engine import Secret

    if file is not None:
        return tokens.pin_of_file(file)[0]
    return Secret.environment(SO_PIN_VARIABLE) or typed("new PIN of the security officer (keep it safe)", twice=True)


def typed(what: str, *, twice: bool = False) -> "Secret":
    """A PIN that is typed. Raises HsmError where nobody can."""
    import getpass

    from runbound.engine import Secret

    if not terminal():
        error = HsmError(Failure(kind="pin-missing", detail=what))
        error.fix = "give it: --pin-file FILE (chmod 600), or HSM_PIN in the environment; or run this on a terminal"
        error.exit_code = EXIT_FAILURE
        raise error
    first = bytearray(getpass.getpass(f"{what}: ").encode())
    if twice and getpass.getpass("once more: ").encode() != first:
        raise RunboundError("the two are not the same")
    if not first:
        raise RunboundError(*_without_place(explain(Failure(kind="pin-empty"))))
    return Secret(first)


def _without_place(said: tuple[str, str]) -> tuple[str, None, str]:
    return said[0], None, said[1]


def terminal() -> bool:
    """Whether somebody can be asked."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def value_of(role: Role, source: str, path: str | None, access: "Access") -> "Secret":
    """A key that is there already, on its way into the token. Raises RunboundError."""
    from runbound.engine import Secret

    if source == "stdin":
        secret = Secret.read(0)
    elif path is not None:
        secret = _read(path)
    else:
        secret = _given(role, current=source == "current", access=access)
    if role != "api":
        secret = secret.decoded()
    if len(secret) < LEAST[role]:
        what = f"the {role} key has {len(secret)} octets, and needs {LEAST[role]}"
        raise RunboundError(what, path, "make one: openssl rand -hex 32")
    return secret


def _given(role: Role, *, current: bool, access: "Access") -> "Secret":
    """The key that environment, configuration or state directory have, in the order in which a start takes it."""
    from runbound.engine import Secret

    variable = KEY_VARIABLES[role]
    found = Secret.environment(variable) or tokens.service_secret(variable)
    if found is not None:
        return found
    if not current:
        raise RunboundError(f"{variable} is set neither here nor in {tokens.ENV_FILE}")
    server = access.config.server
    configured = {"api": server.api_key, "audit": server.audit_log_hmac_key}.get(role)
    if configured:
        return Secret(bytearray(configured.encode("utf-8", "surrogateescape")))
    name = {"api": API_KEY_NAME, "audit": AUDIT_KEY_NAME}.get(role)
    if name is None:
        raise RunboundError(
            "there is no store key now: integrity is off", fix=f"runbound hsm import-key {role} makes one"
        )
    folder = paths.working_directory(access.config, os.path.abspath(access.path or "."))
    places = [os.path.join(locate(server.state_dir, folder), name)]
    if not access.config.given("server", "state-dir"):
        places.append(os.path.join(SERVICE_STATE, name))
    path = next((path for path in places if os.path.exists(path)), places[0])
    return _read(path)


def _read(path: str) -> "Secret":
    from runbound.engine import Secret

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Of 32 octets of chance the last may be a newline, and is no end of a line.
            return Secret.read(fd, strip_newline=os.fstat(fd).st_size != KEY_OCTETS)
        finally:
            os.close(fd)
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", path) from error


def write(path: str, secret: "Secret", newline: Callable[[int], object] = lambda fd: os.write(fd, b"\n")) -> None:
    """Writes a key to a file of its own. Raises RunboundError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            secret.write(fd)
            newline(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise RunboundError(f"cannot write it: {error.strerror}", path) from error
