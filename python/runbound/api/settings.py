"""What the file says about the API: where it listens, with which key and certificate.

Registers the `api-*` options and opens their sockets while the process may still do so. It stands on the way to the
first answer, so it must never import FastAPI, asyncio or ssl; and it must never print a key.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from runbound.config import options
from runbound.config.model import Config
from runbound.errors import EXIT_CONFIG, RunboundError

if TYPE_CHECKING:
    import ssl

options.honour(
    "server",
    *("api-enable", "api-interface", "api-port", "api-socket", "api-key", "api-tls-cert", "api-tls-key", "node-id"),
    *("health-servfail-threshold", "health-latency-threshold", "health-min-qps"),
)

KEY_VARIABLE: Final = "RUNBOUND_API_KEY"
MIN_KEY_LENGTH: Final = 32
"""Shortest key accepted, in characters: 128 bits even if only hexadecimal digits are used."""
MAX_KEY_LENGTH: Final = 1024
"""Longest key accepted, in characters, so that comparing one stays cheap."""
SOCKET_MODE: Final = 0o600
BACKLOG: Final = 256
"""Connections that may wait to be accepted, per socket."""
DEFAULT_INTERFACE: Final = "127.0.0.1"


class Address(msgspec.Struct, frozen=True):
    """One TCP address of the API."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Host and port as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ApiSettings(msgspec.Struct, frozen=True):
    """The API's part of the configuration, resolved."""

    addresses: tuple[Address, ...]
    socket_path: str | None
    explicit: bool
    """Whether the file says where the API listens; then a taken address stops the start."""
    tls: tuple[str, str] | None
    """Certificate and key file."""
    node: str

    @classmethod
    def of(cls, config: Config, resolve: Callable[[str], str]) -> "ApiSettings":
        """Reads the options; `resolve` turns a file name of the configuration into a path.

        Raises RunboundError if only one of certificate and key is given.
        """
        server = config.server
        listed = [entry.values[0] for entry in server.api_interface] or [DEFAULT_INTERFACE]
        explicit = any(config.given("server", name) for name in ("api-interface", "api-port", "api-socket"))
        certificate, key = server.api_tls_cert, server.api_tls_key
        if bool(certificate) != bool(key):
            raise RunboundError(
                f"{'api-tls-cert' if certificate else 'api-tls-key'} stands alone",
                fix="TLS on the API needs both, api-tls-cert and api-tls-key",
            )
        return cls(
            addresses=tuple(_address(text, server.api_port) for text in listed),
            socket_path=resolve(server.api_socket) if server.api_socket else None,
            explicit=explicit,
            tls=(resolve(certificate), resolve(key)) if certificate and key else None,
            node=server.node_id or socket.gethostname(),
        )


class ApiKey(msgspec.Struct, frozen=True):
    """The bearer key and where it came from. Its text form never shows the key."""

    secret: str
    source: str
    from_file: bool = False
    """Whether it stands in the configuration file, which deserves a warning."""

    def __str__(self) -> str:
        return f"API key from {self.source}"

    __repr__ = __str__


def given_keys(configured: str | None, environ: MutableMapping[str, str] = os.environ) -> list[ApiKey]:
    """The keys that an operator gave, the first to be taken first: environment, `api-key:`.

    The variable is taken out of the environment, so that no child process inherits it. Raises RunboundError for a key
    that is too short or could not stand in a header.
    """
    keys = []
    from_environment = environ.pop(KEY_VARIABLE, None)
    if from_environment is not None:
        keys.append(ApiKey(_usable(from_environment, KEY_VARIABLE), f"the environment ({KEY_VARIABLE})"))
    if configured:
        keys.append(ApiKey(_usable(configured, "api-key"), "the configuration file (api-key)", from_file=True))
    return keys


def kept_key(found: tuple[str, str]) -> ApiKey:
    """The key of the state directory: itself and its place. Raises RunboundError as `given_keys`."""
    key, place = found
    return ApiKey(_usable(key, place), place)


def bind(
    settings: ApiSettings, owner: tuple[int, int] | None, warn: Callable[[str], None]
) -> tuple[list[socket.socket], list[socket.socket]]:
    """Opens the listening sockets: TCP ones, Unix ones. The Unix socket is given to `owner` (uid, gid).

    An address that cannot be had stops the start with RunboundError if the file says where to listen; otherwise it is
    told to `warn` and left out.
    """
    tcp: list[socket.socket] = []
    unix: list[socket.socket] = []
    try:
        for address in settings.addresses:
            _attempt(tcp, partial(_listen, address), f"API address {address.url}", settings.explicit, warn)
        if settings.socket_path is not None:
            path = settings.socket_path
            _attempt(unix, partial(_listen_unix, path, owner), f"API socket {path}", settings.explicit, warn)
    except RunboundError:
        for opened in (*tcp, *unix):
            opened.close()
        raise
    return tcp, unix


def tls_context(certificate: str, key: str) -> "ssl.SSLContext":
    """Loads certificate and key, while the process may still read them. Raises RunboundError if they do not fit."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise RunboundError(
            f"api-tls-cert {certificate} with api-tls-key {key}: {error.strerror or error}",
            fix="name a PEM certificate chain and its private key",
        ) from error
    return context


def _attempt(
    into: list[socket.socket],
    listen: Callable[[], socket.socket],
    what: str,
    explicit: bool,
    warn: Callable[[str], None],
) -> None:
    try:
        into.append(listen())
    except OSError as error:
        text = f"{what}: {error.strerror or error}"
        if explicit:
            raise RunboundError(
                text, fix="choose another with api-port, api-interface or api-socket, or write api-enable: no"
            ) from error
        warn(f"{text}; the resolver runs without it")


def _address(text: str, port: int) -> Address:
    host, sign, own_port = text.partition("@")
    return Address(host, int(own_port) if sign else port)


def _listen(address: Address) -> socket.socket:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )
    family, kind, protocol, _, where = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_unix(path: str, owner: tuple[int, int] | None) -> socket.socket:
    """Listens on a path, replacing a socket that nobody answers on any more."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            _refuse_if_answered(path)
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        listener.bind(path)
        if owner is not None:
            os.chown(path, *owner)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _refuse_if_answered(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _usable(key: str, source: str) -> str:
    if not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH or not all("!" <= c <= "~" for c in key):
        error = RunboundError(
            f"{source}: an API key is {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} printable ASCII characters without spaces",
            fix="make one with: openssl rand -hex 32",
        )
        error.exit_code = EXIT_CONFIG
        raise error
    return key
