"""What the routes may use: one object, made by the service and kept in the application's state.

It exists so that a route takes nothing from module globals and a test can hand in its own. It holds no secret: the key
lives in `auth.Gate` alone.
"""

from typing import Annotated, Protocol

import msgspec
from fastapi import Depends, Request

from runbound.ops.change import Changes
from runbound.ops.logging import ControlLog


class Figures(Protocol):
    """The part of the engine that the API reads."""

    def stats(self) -> dict[str, int]: ...
    def health(self) -> dict[str, int]: ...


class Context(msgspec.Struct, frozen=True):
    """The running resolver as the API sees it. `started` is on the monotonic clock, in seconds."""

    engine: Figures
    changes: Changes
    log: ControlLog
    started: float
    node: str
    path: str
    """The main configuration file."""


def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


Resolver = Annotated[Context, Depends(_context)]
