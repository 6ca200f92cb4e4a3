"""What the routes may use: one object, made by the service and kept in the application's state.

It exists so that a route takes nothing from module globals and a test can hand in its own. It holds no secret: the key
lives in `apikey.Holder` alone, as a digest.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Annotated, Protocol

import msgspec
from fastapi import Depends, Request

from runbound.api.feed import Feed
from runbound.api.places import Places
from runbound.api.tail import Tail
from runbound.ops.actions import Actions
from runbound.ops.audit import Audit
from runbound.ops.backup import Keeper
from runbound.ops.change import Changes
from runbound.ops.hsm_reload import HsmReload
from runbound.ops.logging import ControlLog

if TYPE_CHECKING:
    from runbound.ops.hsm import Hsm


class Figures(Protocol):
    """The part of the engine that the API reads; `runbound.engine` tells what each means."""

    def stats(self) -> dict[str, int]: ...
    def health(self) -> dict[str, int]: ...
    def listening(self) -> list[str]: ...
    def system(self) -> dict[str, int]: ...
    def upstreams(self) -> list[dict[str, object]]: ...
    def cache_usage(self) -> dict[str, int]: ...
    def cache_dump(self, part: int) -> bytes | None: ...
    def lookup(self, name: str, rtype: str, checking_disabled: bool, timeout_s: float) -> dict[str, object]: ...
    def trust(self) -> bytes: ...
    def query_log(self, wanted: bytes, limit: int) -> bytes: ...
    def query_log_tail(self, wanted: bytes, limit: int) -> tuple[int, int, bytes]: ...
    def top_names(self, kind: str, limit: int) -> bytes: ...
    def top_clients(self, client: str | None, limit: int) -> bytes: ...
    def explain(
        self,
        name: str,
        rtype: str,
        client: IPv4Address | IPv6Address,
        checking_disabled: bool,
        fresh: bool,
        timeout_s: float,
    ) -> bytes: ...


class Trail(Protocol):
    """Where the audit log is written; `ops.audit` has it."""

    def record(self, event: str, actor: str, /, **fields: object) -> None:
        """Takes an entry that belongs to no change. Never raises, never waits."""


class NoTrail:
    """Writes nothing: there is no state to keep an audit log in."""

    def record(self, event: str, actor: str, /, **fields: object) -> None:
        """Takes no notice."""


class Context(msgspec.Struct, frozen=True):
    """The running resolver as the API sees it. `started` is on the monotonic clock, in seconds."""

    engine: Figures
    changes: Changes
    actions: Actions
    log: ControlLog
    started: float
    node: str
    path: str
    """The main configuration file."""
    trail: Trail = NoTrail()
    audit: Audit | None = None
    """The audit log, to be read and proven; None without a state to keep one in."""
    backups: Keeper | None = None
    hsm: "Hsm | None" = None
    """The keys of a security module, where the file names one."""
    hsm_reload: HsmReload | None = None
    """How they are loaded anew; None where the file names none."""


def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


def _feed(request: Request) -> Feed:
    feed = request.app.state.feed
    assert isinstance(feed, Feed)
    return feed


def _tail(request: Request) -> Tail:
    tail = request.app.state.tail
    assert isinstance(tail, Tail)
    return tail


def _places(name: str) -> Callable[[Request], Places]:
    """What takes the places kept under this name out of the application's state."""

    def of(request: Request) -> Places:
        places = getattr(request.app.state, name)
        assert isinstance(places, Places)
        return places

    return of


Resolver = Annotated[Context, Depends(_context)]
LiveFeed = Annotated[Feed, Depends(_feed)]
LiveTail = Annotated[Tail, Depends(_tail)]
Lookups = Annotated[Places, Depends(_places("lookups"))]
Explains = Annotated[Places, Depends(_places("explains"))]
Dumps = Annotated[Places, Depends(_places("dumps"))]
Loads = Annotated[Places, Depends(_places("loads"))]
Copies = Annotated[Places, Depends(_places("copies"))]
Proofs = Annotated[Places, Depends(_places("proofs"))]
Bulks = Annotated[Places, Depends(_places("bulks"))]
Exports = Annotated[Places, Depends(_places("exports"))]
Probes = Annotated[Places, Depends(_places("probes"))]
