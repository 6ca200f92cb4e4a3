"""How a command speaks to the running resolver: its API, found by way of its configuration.

Owns where the API is looked for (`api-socket`, `api-interface`, or `--url`) and which key is shown (the environment's,
the file's, the generated one). Standard library alone, because a command has to be quick. It must never print a key,
and never show one to an address that the configuration or the command line does not name.
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import msgspec

from runbound.api.settings import KEY_VARIABLE, ApiSettings
from runbound.config import paths
from runbound.config.load import load
from runbound.config.model import Config
from runbound.engine import scan
from runbound.errors import RunboundError
from runbound.state.directory import API_KEY_NAME, locate

PREFIX: Final = "/api/v1"
GOOD: Final = (http.HTTPStatus.OK, http.HTTPStatus.CREATED, http.HTTPStatus.NO_CONTENT)
"""What the API answers when it did what it was told."""
TIMEOUT_SECONDS: Final = 30.0
"""How long the API may be silent: longer than a lookup takes."""
BLOCK_BYTES: Final = 256 * 1024
"""Octets read or sent at once."""
SERVICE_STATE: Final = "/var/lib/runbound"
"""State directory under systemd, which tells only the service about it."""
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses one can listen on but not call, and what to call instead."""


class Target(msgspec.Struct, frozen=True):
    """One place where the API may be."""

    name: str
    connect: Callable[[], http.client.HTTPConnection]
    local: bool = False
    """Whether it knows by itself that root or the resolver's account calls, so that no key is needed."""


class Key(msgspec.Struct, frozen=True):
    """A key to show, and what to do if it opens nothing. Its text form never shows it."""

    secret: str
    help: str
    named: bool = False
    """Whether somebody gave it for this call: then it is shown even where none is needed."""

    def __repr__(self) -> str:
        return "Key"


class Client:
    """Calls one API. The first place that answers is used, and the first key that opens it."""

    def __init__(self, targets: list[Target], keys: list[Key], help_: str) -> None:
        """`help_` says what to do when there is no key."""
        self._targets = targets
        self._keys = keys
        self._help = help_

    def get(self, path: str) -> Any:
        """The answer of a GET, decoded. Raises RunboundError, as all calls do."""
        with self._call("GET", path) as response:
            return _decoded(response)

    def post(self, path: str, body: object, silence_s: float = TIMEOUT_SECONDS) -> Any:
        """The answer of a POST, decoded. The API may take `silence_s` seconds until it begins to answer."""
        with self._call("POST", path, json.dumps(body).encode(), "application/json", silence_s=silence_s) as response:
            return _decoded(response)

    def patch(self, path: str, body: object) -> Any:
        """The answer of a PATCH, decoded."""
        with self._call("PATCH", path, json.dumps(body).encode(), "application/json") as response:
            return _decoded(response)

    def put(self, path: str, body: object) -> Any:
        """The answer of a PUT, decoded."""
        with self._call("PUT", path, json.dumps(body).encode(), "application/json") as response:
            return _decoded(response)

    def delete(self, path: str) -> Any:
        """The answer of a DELETE, decoded; None if it only says that it was done."""
        with self._call("DELETE", path) as response:
            return None if response.status == http.HTTPStatus.NO_CONTENT else _decoded(response)

    def download(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """The octets of a long answer, as they come."""
        with self._call("GET", path, headers=headers) as response:
            try:
                while octets := response.read1(BLOCK_BYTES):
                    yield octets
            except (OSError, http.client.HTTPException) as error:
                raise RunboundError("the resolver broke off before the end") from error

    def upload(self, path: str, file: BinaryIO, kind: str = "text/plain") -> Any:
        """The answer to a file, decoded. A pipe has no length to say beforehand, so it is refused."""
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise RunboundError("the API has to be told the length beforehand", fix="write it to a file first")
        with self._call("POST", path, file, kind) as response:
            return _decoded(response)

    @contextlib.contextmanager
    def _call(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        kind: str = "",
        headers: Mapping[str, str] | None = None,
        silence_s: float = TIMEOUT_SECONDS,
    ) -> Iterator[http.client.HTTPResponse]:
        keys = self._keys
        target, connection = self._connect()
        if target.local and not any(key.named for key in keys):
            keys = [Key("", self._help), *keys]
        if not keys:
            connection.close()
            raise RunboundError("there is no API key", fix=self._help)
        sent = dict(headers or {}) | ({"Content-Type": kind} if kind else {})
        if body is not None:
            sent["Content-Length"] = str(len(body) if isinstance(body, bytes) else os.fstat(body.fileno()).st_size)
        for key in keys:
            if not isinstance(body, bytes | None):
                body.seek(0)
            with contextlib.closing(connection):
                connection.timeout = silence_s
                if connection.sock is not None:  # it is connected already, with what a connection may take
                    connection.sock.settimeout(silence_s)
                response = _asked(connection, method, path, body, {**sent, **_shown(key)})
                if response.status == http.HTTPStatus.UNAUTHORIZED and key is not keys[-1]:
                    connection = target.connect()
                    continue
                if response.status not in GOOD:
                    raise _refused(response, key)
                yield response
                return

    def _connect(self) -> tuple[Target, http.client.HTTPConnection]:
        tried: list[str] = []
        for target in self._targets:
            connection = target.connect()
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                tried.append(f"{target.name}: {error.strerror or error}")
            else:
                return target, connection
        raise RunboundError(
            f"no runbound answers ({'; '.join(tried)})",
            fix="start it; or name its configuration with -c, or the API's address with --url",
        )


def _asked(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | BinaryIO | None,
    headers: dict[str, str],
) -> http.client.HTTPResponse:
    try:
        # An API that refuses stops reading; its reason can be read all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, PREFIX + path, body, headers)
        return connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise RunboundError(f"the API did not answer: {clean(error) or type(error).__name__}") from error


def _shown(key: Key) -> dict[str, str]:
    """The header of a key; nothing where none is needed."""
    if not key.secret:
        return {}
    if not (key.secret.isascii() and key.secret.isprintable()):
        raise RunboundError("the API key holds octets that no header can carry", fix=key.help)
    return {"Authorization": f"Bearer {key.secret}"}


def _refused(response: http.client.HTTPResponse, key: Key) -> RunboundError:
    try:
        problem = _decoded(response)
        title, detail = str(problem["title"]), problem.get("detail")
        fields = [f"{item['field']}: {item['message']}" for item in problem.get("errors") or ()]
    except (RunboundError, KeyError, TypeError, AttributeError):
        return RunboundError(f"what answers there is no runbound (status {response.status})")
    fix = key.help if response.status == http.HTTPStatus.UNAUTHORIZED else None
    return RunboundError(clean("; ".join(fields) or (f"{title}: {detail}" if detail else title)), fix=fix)


def clean(value: object) -> str:
    """A text that comes from elsewhere, fit to be printed: control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value))


def _decoded(response: http.client.HTTPResponse) -> Any:
    try:
        return json.load(response)
    except ValueError as error:
        raise RunboundError("what answers there is no runbound: it does not speak JSON") from error
    except (OSError, http.client.HTTPException) as error:
        raise RunboundError("the resolver broke off before the end") from error


def at_url(url: str) -> Client:
    """The API at an address somebody names; the key is the environment's. Raises RunboundError."""
    found = urlsplit(url)
    try:
        host, port = found.hostname, found.port
    except ValueError:
        host, port = None, None
    if host is None or found.scheme not in ("http", "https") or found.path not in ("", "/"):
        raise RunboundError(f"{url} is not the address of an API", fix="write it so: --url http://127.0.0.1:8081")
    context = ssl.create_default_context() if found.scheme == "https" else None
    target = Target(url, lambda: _tcp(host, port or (443 if context else 80), context))
    help_ = f"give it in the environment as {KEY_VARIABLE}"
    given = os.environ.get(KEY_VARIABLE)
    return Client([target], [Key(given, help_, named=True)] if given else [], help_)


def of_configuration(path: str) -> Client:
    """The API of the resolver that runs on this file. Raises RunboundError."""
    try:
        loaded = load(path, os.getcwd(), scan)
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror or error}", path) from error
    config, main_file = loaded.config, os.path.abspath(path)
    if not config.server.api_enable:
        raise RunboundError("the API is off in this file (api-enable: no)", path)
    settings = ApiSettings.of(config, lambda name: paths.resolve(config, main_file, name))
    targets = []
    if settings.socket_path is not None:
        targets.append(Target(settings.socket_path, lambda: _Unix(settings.socket_path or ""), local=True))
    context = _own_certificate(settings.tls[0]) if settings.tls else None
    for address in settings.addresses:
        host = EVERYWHERE.get(address.host, address.host)
        targets.append(Target(address.url, lambda host=host, port=address.port: _tcp(host, port, context)))  # type: ignore[misc]
    return Client(targets, *_keys(config, main_file))


def _keys(config: Config, main_file: str) -> tuple[list[Key], str]:
    """The keys by the chain of `companion`, and what to do if there is none.

    Which of them the resolver takes it alone knows: one that was changed by API is dead wherever it still stands.
    """
    wrong = "is not the key of the resolver that answers"
    if given := os.environ.get(KEY_VARIABLE):  # who names a key wants to be that caller and no other
        return [Key(given, f"{KEY_VARIABLE} in the environment {wrong}", named=True)], ""
    found = []
    if config.server.api_key:
        found.append(Key(config.server.api_key, f"api-key in the file {wrong}"))
    folder = paths.working_directory(config, main_file)
    candidates = [os.path.join(locate(config.server.state_dir, folder), API_KEY_NAME)]
    if not config.given("server", "state-dir"):
        candidates.append(os.path.join(SERVICE_STATE, API_KEY_NAME))
    reasons = []
    for path in candidates:
        try:
            with open(path, encoding="ascii") as file:
                found.append(Key(file.read().strip(), f"{path} {wrong}"))
        except (OSError, UnicodeDecodeError) as error:
            reasons.append(f"{path}: {error.strerror if isinstance(error, OSError) else error}")
    return found, f"give it in the environment as {KEY_VARIABLE}; tried {'; '.join(reasons)}"


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS, blocksize=BLOCK_BYTES)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _tcp(host: str, port: int, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS, blocksize=BLOCK_BYTES)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context, blocksize=BLOCK_BYTES)


def _own_certificate(path: str) -> ssl.SSLContext:
    """Trusts the configured certificate and nothing else, whatever names stand in it: we call our own address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise RunboundError(f"api-tls-cert {path}: {error.strerror or error}") from error
    return context
