"""The lab as a program: start, tell, serve, end.

Owns the order of these, signals, and the command that runs inside a namespace. It must never know a packet; what is
printed is made by `guide`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runbound.lab.server import serve
from runbound.lab.world import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbound.lab.world import World

PORT: Final = 5300
DNS_PORT: Final = 53
END_SECONDS: Final = 5.0
"""How long the command may take to end when the lab is told to."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the command line wants."""

    address: str = "127.0.0.1"
    port: int | None = None
    """None: 5300, or 53 in a namespace."""
    world: Path | None = None
    added: Path | None = None
    """A file with more zones."""
    namespace: str | None = None
    command: Sequence[str] = ()
    folder: str | None = None
    """Where hints, anchor and configurations are written; None for nowhere."""
    seconds: float | None = None
    quiet: bool = False


def run(plan: Plan) -> int:
    """Serves until a signal, the time or the command's end. Raises OSError, ValueError."""
    port = _port(plan)
    if plan.namespace is None:
        return asyncio.run(_serve(plan, load(plan.world, added=plan.added), plan.address, port))
    from runbound.lab.namespace import Namespace

    world = load(plan.world, added=plan.added, loopback=False)
    # Until the loop has its handlers: the name of the namespace must go whatever ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    namespace = Namespace(plan.namespace, command=bool(plan.command))
    try:
        namespace.add(address for server in world.servers.values() for address in server.addresses)
        return asyncio.run(_serve(plan, world, "", port))
    finally:
        namespace.close()


def show(plan: Plan, config: str | None) -> None:
    """Prints the table of zones, or a configuration, whose files are written. Raises OSError, ValueError."""
    from rich.console import Console

    from runbound.lab import guide

    port = _port(plan)
    world = load(plan.world, added=plan.added, loopback=plan.namespace is None)
    if config is None:
        guide.table(world, port, Console())
        return
    folder = plan.folder or guide.FOLDER
    guide.write(world, port, folder)
    print(guide.config(config, world, port, folder), end="")


def _port(plan: Plan) -> int:
    return plan.port if plan.port is not None else (DNS_PORT if plan.namespace else PORT)


async def _serve(plan: Plan, world: World, address: str, port: int) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lab = await serve(world, address, port)
    try:
        if plan.folder is not None:
            _tell(plan, world, lab.port, plan.folder)
        print(f"lab: ready on {lab.address} port {lab.port}", flush=True)
        if plan.command:
            return await _command(plan, stop)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), plan.seconds)
        return 0
    finally:
        await lab.close()


def _tell(plan: Plan, world: World, port: int, folder: str) -> None:
    from rich.console import Console

    from runbound.lab import guide

    guide.write(world, port, folder)
    if not plan.quiet:
        guide.table(world, port, Console())
        print(guide.introduction(world, port, folder, plan.namespace if not plan.command else None))


async def _command(plan: Plan, stop: asyncio.Event) -> int:
    """Runs the command in the namespace; its exit code. It is told to end when we are."""
    from runbound.lab.namespace import with_resolver

    command = list(plan.command)
    if plan.folder is not None:
        command = with_resolver(command, os.path.join(os.path.abspath(plan.folder), "resolv.conf"))
    process = await asyncio.create_subprocess_exec(*command)
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopped}, timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(ended), END_SECONDS)
    if not ended.done():
        process.kill()
    code = await ended
    return code if code >= 0 else 128 - code
