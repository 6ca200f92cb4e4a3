"""Start to first answer, and what a resolver holds: one row a figure, `name TAB figure TAB ok|miss`.

Owns the limits the project promises. `./dev accept` runs it on a machine that does nothing else; it must never run
inside the ordinary tests, where a busy core would decide.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.packets import Ask, exchange  # noqa: E402 - the path has to be set first
from support.servers import Resolver, free_port  # noqa: E402

ROUNDS = 9
FIRST_ANSWER_SECONDS = 0.6
"""Median from the start of the process to the first answer."""
RESIDENT_MB = 60
"""Resident memory without the API, in 10^6 octets, after a thousand questions."""
RESIDENT_API_MB = 110
"""The same with the API having answered."""
SETTLE_SECONDS = 1.0

DATA = '    local-data: "a.example. A 192.0.2.1"\n'


def resident(pid: int) -> float:
    """VmRSS in 10^6 octets."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


def health(port: int, seconds: float = 10.0) -> None:
    """Waits until the API says that it is well."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def measure(folder: Path, api: bool) -> tuple[float, float]:
    """One start: seconds to the first answer, and memory once everything is loaded."""
    port = free_port()
    lines = f"    api-port: {port}\n" if api else "    api-enable: no\n"
    with Resolver(lines + DATA, folder, env={"RUNBOUND_API_KEY": "0" * 64}) as resolver:
        if api:
            health(port)
        for _ in range(1000):
            exchange(Ask("a.example."), resolver.at)
        time.sleep(SETTLE_SECONDS)
        return resolver.start_seconds, resident(resolver.pid)


def row(name: str, figure: float, limit: float, unit: str) -> bool:
    """Prints one figure against its limit."""
    good = figure <= limit
    print(f"{name}\t{figure:.2f} {unit} (limit {limit:g})\t{'ok' if good else 'miss'}", flush=True)
    return good


def main() -> int:
    """Measures everything. Exit code 1 when a figure misses its limit."""
    os.environ.pop("RUNBOUND_API_KEY", None)
    good = True
    for api in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            runs = [measure(Path(folder) / str(number), api) for number in range(ROUNDS)]
        what = "with the API" if api else "without the API"
        seconds = statistics.median(seconds for seconds, _ in runs)
        memory = statistics.median(memory for _, memory in runs)
        good &= row(f"start to first answer, {what}", seconds, FIRST_ANSWER_SECONDS, "s")
        good &= row(f"resident memory, {what}", memory, RESIDENT_API_MB if api else RESIDENT_MB, "MB")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
