"""`python -m runbound.lab`: the lab for scripts and tests. Owns its arguments; `runbound lab` has more."""

from __future__ import annotations

import argparse
from pathlib import Path

from runbound.lab.program import PORT, Plan, run


def main() -> int:
    """Reads the arguments and serves. Exit code 0 after a signal, 1 if the port is taken or the world is wrong."""
    parser = argparse.ArgumentParser(prog="python -m runbound.lab", description="An Internet in a box, without a word.")
    parser.add_argument("--address", default="127.0.0.1", help="of the resolver; default %(default)s")
    parser.add_argument("--port", type=int, default=PORT, help="default %(default)s; 0 takes a free one")
    parser.add_argument("--world", type=Path, help="another world than the one in the package")
    parser.add_argument("--folder", help="where root hints and trust anchor are written; default nowhere")
    chosen = parser.parse_args()
    try:
        return run(Plan(address=chosen.address, port=chosen.port, world=chosen.world, folder=chosen.folder, quiet=True))
    except (OSError, ValueError) as error:
        print(f"lab: {error}", flush=True)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
