"""Cached answers, forwarding: CPU time a query of runbound beside Unbound, measured in turns in one run.

Owns the one load the shared harness has only for resolvers that recurse: its `hot` questions, asked of a resolver that
forwards. Lab, generator and accounting are the harness's (`../shared/bench`); it must never keep figures of its own.
Needs root, `nsd`, and the harness's Python packages.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

HARNESS = Path(__file__).resolve().parents[2] / "shared" / "bench"
MEASURES = ("max", "fixed")


def measure(harness: Any, name: str, seconds: int, rate: int) -> dict[str, dict[str, Any]]:
    """One resolver, one worker: the closed loop for the cost, the open loop at a fixed rate for the times."""
    with harness.Server(name, 1, forward=True) as server:
        harness.up(server)
        harness.warm(server)
        server.rt = True
        questions = harness.Q / "hot.txt"
        return {
            "max": server.load(questions, "-l", seconds, "-q", 200, "-c", 16),
            "fixed": server.load(questions, "-l", seconds, "-q", 1000, "-c", 16, "-Q", rate, "-v"),
        }


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):8.0f} ({min(values):.0f} to {max(values):.0f})"


def main() -> int:
    """Runs the rounds and prints the table. Exit code 1 when a resolver answered wrongly or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=5)
    parser.add_argument("-s", "--seconds", type=int, default=3)
    parser.add_argument("-Q", "--rate", type=int, default=20_000)
    parser.add_argument("-r", "--resolvers", default="unbound,runbound")
    parser.add_argument("-o", "--out", type=Path, help="write every round here, as JSON")
    chosen = parser.parse_args()
    if not (HARNESS / "bench.py").exists():
        print(f"{HARNESS} is not there: the lab and the generator are kept beside the repository", file=sys.stderr)
        return 2
    sys.path.insert(0, str(HARNESS))
    harness, lab = importlib.import_module("bench"), importlib.import_module("lab")
    if not lab.inside():
        lab.start()
        os.execvp("ip", lab.in_ns([sys.executable, *sys.argv]))  # noqa: S606 - the same program, inside the lab
    harness.Server.gen = "own"
    names = chosen.resolvers.split(",")
    rounds: list[dict[str, dict[str, dict[str, Any]]]] = []
    for number in range(chosen.rounds):
        rounds.append({name: measure(harness, name, chosen.seconds, chosen.rate) for name in names})
        costs = ", ".join(f"{name} {result['max']['cpu_ns_per_query']} ns" for name, result in rounds[-1].items())
        print(f"{time.strftime('%H:%M:%S')} round {number}: {costs}", flush=True)
    if chosen.out:
        chosen.out.write_text(json.dumps(rounds, indent=1) + "\n")
    good = True
    for measured in MEASURES:
        print(f"\n{measured}: median (lowest to highest) of {chosen.rounds} rounds of {chosen.seconds} s")
        for name in names:
            rows = [found[name][measured] for found in rounds]
            good &= all(row["ok_pct"] > 99.9 for row in rows)
            columns = ("qps", "cpu_ns_per_query", "user_ns_per_query", "p50_us", "p99_us", "lost_pct", "others_cpu_pct")
            shown = (f"{column} {spread([row[column] for row in rows])}" for column in columns if column in rows[0])
            print(f"  {name:10} " + "  ".join(shown))
        for name in names[1:]:
            ratios = [
                found[name][measured]["cpu_ns_per_query"] / found[names[0]][measured]["cpu_ns_per_query"]
                for found in rounds
            ]
            print(f"  {name} / {names[0]}, CPU a query, pairs: {statistics.median(ratios):.3f}")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
