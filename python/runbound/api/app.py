"""The application: routes under `/api/v1` and, for clients of the 0.4 line, once more at the root.

Owns how the parts are put together. It must never hold state of its own: the context comes from the service.
"""

import time
from collections.abc import Callable
from typing import Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from runbound import __version__
from runbound.api import assets, auth, bulk, openapi, problems
from runbound.api.apikey import Holder
from runbound.api.auth import Caller
from runbound.api.context import Context
from runbound.api.feed import Feed
from runbound.api.gate import OPEN, Gate, Route
from runbound.api.identify import Identify
from runbound.api.limits import Bounds, Brake, RateLimit
from runbound.api.places import Places
from runbound.api.routes import (
    audit,
    backup,
    blacklist,
    cache,
    clients,
    config,
    dns,
    dnssec,
    explain,
    health,
    history,
    hsm,
    logs,
    lookup,
    metrics,
    reload,
    resolution,
    stats,
    system,
    upstreams,
    users,
)
from runbound.api.routes import help as help_
from runbound.api.tail import Tail
from runbound.ops.users import Users

PREFIX: Final = "/api/v1"
ROUTERS: Final = tuple(
    room.router
    for room in (
        health,
        stats,
        clients,
        logs,
        metrics,
        system,
        lookup,  # before dns: /dns/lookup is no record
        explain,
        dns,
        blacklist,
        upstreams,
        resolution,
        cache,
        dnssec,
        config,
        history,
        reload,
        users,
        audit,
        hsm,
        backup,
        help_,
    )
)
BULK: Final = {
    "/backup/import": backup.MAX_IMPORT_BYTES,
    "/cache/load": cache.MAX_LOAD_BYTES,
    "/dns/bulk": bulk.MAX_BYTES,
    "/blacklist/bulk": bulk.MAX_BYTES,
}
"""Paths whose bodies are read as a stream, and their limits in octets."""
BUSY_SECONDS: Final = 1
"""When a caller that found no place is told to come again."""


def build(context: Context, key: Holder, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """Makes the application for one running resolver. `clock` is that of the limits, in seconds."""
    app = FastAPI(
        title="runbound",
        version=__version__,
        summary="Control plane of the runbound DNS resolver",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.context = context
    app.state.resources = tuple(_resources())
    engine = context.engine
    app.state.feed = Feed(engine.stats, engine.cache_usage, engine.upstreams, context.log, context.started)
    app.state.tail = Tail(engine.query_log_tail, context.log)
    app.state.lookups = Places(lookup.MAX_LOOKUPS, "TOO_MANY_LOOKUPS", BUSY_SECONDS)
    app.state.explains = Places(explain.MAX_EXPLAINS, "TOO_MANY_LOOKUPS", BUSY_SECONDS)
    app.state.dumps = Places(cache.MAX_DUMPS, "TOO_MANY_DUMPS", BUSY_SECONDS)
    app.state.loads = Places(cache.MAX_LOADS, "TOO_MANY_LOADS", BUSY_SECONDS)
    app.state.copies = Places(backup.MAX_COPIES, "TOO_MANY_BULKS", BUSY_SECONDS)
    app.state.proofs = Places(audit.MAX_PROOFS, "TOO_MANY_PROOFS", BUSY_SECONDS)
    app.state.probes = Places(upstreams.MAX_PROBES, "TOO_MANY_LOOKUPS", BUSY_SECONDS)
    app.state.bulks = Places(bulk.MAX_BULKS, "TOO_MANY_BULKS", BUSY_SECONDS, bulk.SHARE)
    app.state.exports = Places(bulk.MAX_EXPORTS, "TOO_MANY_BULKS", BUSY_SECONDS, bulk.SHARE)
    app.state.api_key = key
    _guard(app, context, key, clock)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
        app.include_router(router, include_in_schema=False)
    app.include_router(assets.router, prefix=PREFIX)
    problems.install(app, _methods)
    openapi.install(app)
    return app


def _resources() -> list[APIRoute]:
    return [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


_ROUTES: Final = tuple(
    (
        compile_path(route.path)[0],
        route.methods or set(),
        Route(auth.scopes(route) is not None, auth.changes(route), BULK.get(route.path)),
    )
    for route in _resources()
)
"""Pattern, methods and what the gate has to know of every route."""


def _guard(app: FastAPI, context: Context, key: Holder, clock: Callable[[], float]) -> None:
    """Puts the gate in front."""

    def bounds() -> Bounds:
        return Bounds.of(context.changes.running.config)

    def audit(caller: Caller, status: int) -> None:
        context.trail.record("api.call", caller.name, **caller.call.fields, status=status)

    known = Users(lambda: context.changes.store)
    app.add_middleware(
        Gate,
        identify=Identify(key, known, Brake(clock), context.trail),
        limit=RateLimit(clock, bounds),
        log=context.log,
        bounds=bounds,
        route=_route,
        audit=audit,
    )


def _methods(path: str) -> list[str]:
    """All methods of a path, with or without the prefix."""
    if path in (f"{PREFIX}/openapi.json", f"{PREFIX}/docs") or path.startswith(f"{PREFIX}/docs/"):
        return ["GET", "HEAD"]
    bare = path.removeprefix(PREFIX)
    resources = _resources()
    alike = [route for route in resources if route.path == bare]  # /users/me is not the user of the id "me"
    alike = alike or [route for route in resources if compile_path(route.path)[0].match(bare)]
    found = {method for route in alike for method in route.methods or ()}
    return sorted({*found, "HEAD"} if "GET" in found else found)


def _route(method: str, path: str) -> Route:
    """What the gate has to know. HEAD is as GET; what does not exist needs no key to say so."""
    asked = "GET" if method == "HEAD" else method
    bare = path.removeprefix(PREFIX)
    return next((route for pattern, methods, route in _ROUTES if asked in methods and pattern.match(bare)), OPEN)
