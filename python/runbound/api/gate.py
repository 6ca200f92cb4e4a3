"""The gate in front of every route: who calls, how often, with how large a body.

Owns the comparison of the bearer key, the rate limit, the size of bodies, request ids, HEAD, and the response headers
that close the browser's doors. It must never log or return a key, and never let the time of a comparison depend on it.
"""

import asyncio
import hashlib
import hmac
import secrets
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runbound.api import problems
from runbound.api.auth import API_KEY, CALLER, CHALLENGE, HINT, Call, Caller
from runbound.api.limits import RateLimit
from runbound.api.problems import ProblemError
from runbound.ops.logging import ControlLog

MAX_BODY_BYTES: Final = 64 * 1024
"""Largest request body, in octets: far above any single change, far below what would hurt. Routes that read their body
as a stream have limits of their own."""
HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class KeyCheck:
    """Compares keys without keeping the key: digests of equal length, in constant time."""

    def __init__(self, key: str) -> None:
        self._salt = secrets.token_bytes(32)
        self._digest = self._hash(key.encode())

    def matches(self, presented: bytes) -> bool:
        """Whether this is the key."""
        return hmac.compare_digest(self._digest, self._hash(presented))

    def _hash(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._salt, digest_size=32).digest()


class Gate:
    """ASGI middleware: identifies the caller, brakes who calls too often, limits bodies, adds headers, logs failures.

    `needs_key` tells by method and path which calls strangers may not make. `bulk` gives paths whose bodies may be
    larger than others, in octets. HEAD is answered as GET without the body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: KeyCheck,
        limit: RateLimit,
        log: ControlLog,
        needs_key: Callable[[str, str], bool] = lambda _method, _path: False,
        bulk: Mapping[str, int] | None = None,
    ) -> None:
        self._app = app
        self._needs_key = needs_key
        self._key = key
        self._limit = limit
        self._log = log
        self._bulk = dict(bulk or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope["runbound.request_id"] = request_id
        caller = self._caller(scope, request_id)
        scope[CALLER] = caller

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                extra = [pair for pair in HEADERS if pair[0] not in present]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", request_id.encode())]
            await send(message)

        client = scope.get("client")
        if client is not None:  # there is none on the Unix socket, whose mode says who may call
            wait = self._limit.admit(client[0] if caller is None else f"user {caller.name}")
            if wait:
                body = problems.problem("RATE_LIMITED", request_id=request_id)
                headers = {"Retry-After": str(int(wait) + 1)}
                await problems.response(body, headers)(scope, receive, send_with_headers)
                return
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
            # A proxy in front may see another end of the body, and the rest as a new request (RFC 9112, section 6.3).
            detail = "Content-Length beside Transfer-Encoding"
            body = problems.problem("MALFORMED_REQUEST", detail, request_id=request_id)
            await problems.response(body, {"Connection": "close"})(scope, receive, send_with_headers)
            return
        if caller is None and self._needs_key(scope["method"], scope["path"]):
            # Before anything of the request is read: what a stranger sends is not even parsed.
            body = problems.problem("UNAUTHORIZED", HINT, request_id=request_id)
            await problems.response(body, CHALLENGE)(scope, receive, send_with_headers)
            return
        largest = self._bulk.get(scope["path"], MAX_BODY_BYTES)
        if _declared_length(scope) > largest:
            body = problems.problem("BODY_TOO_LARGE", request_id=request_id)
            await problems.response(body, {"Connection": "close"})(scope, receive, send_with_headers)
            return
        with self._log.context(request=request_id):
            try:
                if scope["method"] == "HEAD":
                    await _head(self._app, scope, _limited(receive, largest), send_with_headers)
                else:
                    await self._app(scope, _limited(receive, largest), send_with_headers)
            except asyncio.CancelledError:
                if started:
                    raise
                body = problems.problem("STOPPING", request_id=request_id)
                await problems.response(body, {"Connection": "close"})(scope, receive, send_with_headers)
            except ClientDisconnect:
                pass  # who has gone takes no answer, and it is no fault of ours
            except BaseException as error:  # a panic of the engine is no Exception
                trace = " | ".join(part.strip() for part in traceback.format_tb(error.__traceback__)[-3:])
                self._log.error("API call failed", path=scope["path"], error=repr(error), trace=trace)
                if started:
                    raise
                # What went wrong is in the log under the request id; the client learns only that.
                body = problems.problem("INTERNAL_ERROR", request_id=request_id)
                await problems.response(body)(scope, receive, send_with_headers)

    def _caller(self, scope: Scope, request_id: str) -> Caller | None:
        presented = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(presented) != 1:
            return None
        scheme, _, token = presented[0].partition(b" ")
        if scheme.lower() != b"bearer" or not self._key.matches(token.strip()):
            return None
        client = scope.get("client")
        call = Call(scope["method"], scope["path"], request_id, client[0] if client else None)
        return Caller(API_KEY, "admin", (), call)


def _declared_length(scope: Scope) -> int:
    """What Content-Length says; 0 if it is missing (then the body is counted as it comes)."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length" and value.isdigit()]
    return max(map(int, lengths), default=0)


async def _head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers HEAD by what GET answers. The response ends with its head, so a stream hears that its client has gone."""

    async def head_alone(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    await app({**scope, "method": "GET", "runbound.method": "HEAD"}, receive, head_alone)


def _limited(receive: Receive, largest: int) -> Receive:
    """The same stream, broken off when more comes than a body may hold."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > largest:
            raise ProblemError("BODY_TOO_LARGE", headers={"Connection": "close"})
        return message

    return limited
