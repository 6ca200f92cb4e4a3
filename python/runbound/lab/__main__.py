"""`python -m runbound.lab`: the lab as a program of its own. Owns its arguments and its ready line, nothing else."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from runbound.lab import load, serve


async def run(address: str, port: int, world: Path | None) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lab = await serve(load(world), address, port)
    print(f"lab: ready on {lab.address} port {lab.port}", flush=True)
    await stop.wait()
    await lab.close()


def main() -> int:
    """Reads the arguments and serves. Exit code 0 after a signal, 1 if the port is taken or the world is wrong."""
    parser = argparse.ArgumentParser(prog="python -m runbound.lab", description="A small world of DNS data to try.")
    parser.add_argument("--address", default="127.0.0.1", help="default %(default)s")
    parser.add_argument("--port", type=int, default=5300, help="default %(default)s; 0 takes a free one")
    parser.add_argument("--world", type=Path, help="another world than the one in the package")
    chosen = parser.parse_args()
    try:
        asyncio.run(run(chosen.address, chosen.port, chosen.world))
    except (OSError, ValueError) as error:
        print(f"lab: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
