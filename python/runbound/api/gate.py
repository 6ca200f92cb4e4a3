"""The gate in front of every route: who calls, how often, with how large a body.

Owns the order of these questions, request ids, HEAD, the response headers that close the browser's doors, and that
every changing call leaves an audit entry. It must never read a body that its caller may not send.
"""

import asyncio
import secrets
import traceback
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runbound.api import problems
from runbound.api.auth import CALLER, CHALLENGE, HINT, Call, Caller
from runbound.api.identify import Identify
from runbound.api.limits import Bounds, RateLimit
from runbound.api.problems import ProblemError
from runbound.ops.logging import ControlLog

HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Route(msgspec.Struct, frozen=True):
    """What the gate has to know of the route that a call is for."""

    protected: bool = False
    """Whether strangers may not call it."""
    changes: bool = False
    """Whether a call of it is written down."""
    body: int | None = None
    """Largest body in octets, if it has a limit of its own."""


OPEN: Final = Route()
"""What everybody may call, and what does not exist."""


class Gate:
    """ASGI middleware: identifies the caller, brakes who calls too often, limits bodies, adds headers, logs failures.

    `route` tells by method and path what a call is for. `audit` takes a changing call and its status, if nobody wrote
    it down yet. HEAD is answered as GET without the body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        identify: Identify,
        limit: RateLimit,
        log: ControlLog,
        bounds: Callable[[], Bounds] = Bounds,
        route: Callable[[str, str], Route] = lambda _method, _path: OPEN,
        audit: Callable[[Caller, int], None] = lambda _caller, _status: None,
    ) -> None:
        self._app = app
        self._identify = identify
        self._limit = limit
        self._log = log
        self._bounds = bounds
        self._route = route
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope["runbound.request_id"] = request_id
        client = scope.get("client")
        call = Call(scope["method"], scope["path"], request_id, client[0] if client else None)
        route = self._route(call.method, call.path)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                extra = [pair for pair in HEADERS if pair[0] not in present]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", request_id.encode())]
            await send(message)

        async def refuse(error: ProblemError) -> None:
            await problems.of_error(error, request_id)(scope, receive, send_with_headers)

        scope[CALLER] = None
        try:
            caller = self._admitted(scope, call, route)
        except ProblemError as error:
            await refuse(error)
            return
        except Exception as error:  # noqa: BLE001  # who cannot be found out does not come in
            self._log.error("API call failed: its caller cannot be found out", path=call.path, error=repr(error))
            await refuse(ProblemError("INTERNAL_ERROR"))
            return
        scope[CALLER] = caller
        largest = route.body or self._bounds().body
        try:
            if _declared_length(scope) > largest:
                await refuse(ProblemError("BODY_TOO_LARGE", headers={"Connection": "close"}))
            else:
                await self._pass(scope, _limited(receive, largest), send_with_headers, refuse, lambda: bool(status))
        finally:
            if route.changes and caller is not None and not call.audited:
                self._audit(caller, status)

    def _admitted(self, scope: Scope, call: Call, route: Route) -> Caller | None:
        """Who calls; None is a stranger where strangers may. Raises ProblemError for who must not come in.

        Nothing of the request is read until then: what a stranger sends is not even parsed.
        """
        caller, refused = None, None
        if route.protected:
            try:
                caller = self._identify(scope, call)
            except ProblemError as error:
                refused = error
        if call.address is not None:  # there is none on the Unix socket, whose mode says who may call
            wait = self._limit.admit(call.address if caller is None else f"user {caller.name}")
            if wait:
                raise ProblemError("RATE_LIMITED", headers={"Retry-After": str(int(wait) + 1)})
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
            # A proxy in front may see another end of the body, and the rest as a new request (RFC 9112, section 6.3).
            detail = "Content-Length beside Transfer-Encoding"
            raise ProblemError("MALFORMED_REQUEST", detail, headers={"Connection": "close"})
        if refused is not None:
            raise refused
        if route.protected and caller is None:
            raise ProblemError("UNAUTHORIZED", HINT, headers=CHALLENGE)
        return caller

    async def _pass(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        refuse: Callable[[ProblemError], Awaitable[None]],
        started: Callable[[], bool],
    ) -> None:
        """Lets the call through, and makes a problem of whatever breaks."""
        with self._log.context(request=scope["runbound.request_id"]):
            try:
                if scope["method"] == "HEAD":
                    await _head(self._app, scope, receive, send)
                else:
                    await self._app(scope, receive, send)
            except asyncio.CancelledError:
                if started():
                    raise
                await refuse(ProblemError("STOPPING", headers={"Connection": "close"}))
            except ClientDisconnect:
                pass  # who has gone takes no answer, and it is no fault of ours
            except BaseException as error:  # a panic of the engine is no Exception
                trace = " | ".join(part.strip() for part in traceback.format_tb(error.__traceback__)[-3:])
                self._log.error("API call failed", path=scope["path"], error=repr(error), trace=trace)
                if started():
                    raise
                # What went wrong is in the log under the request id; the client learns only that.
                await refuse(ProblemError("INTERNAL_ERROR"))


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
