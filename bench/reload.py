"""Questions lost while the configuration is reloaded a hundred times: one row, `name TAB figure TAB ok|miss`.

Owns the long form of `tests/system/test_reload_load.py`: the same configurations under the shared load generator, which
accounts for every question at a rate that Python cannot hold. It must never judge what an answer says; the test does.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.reloading import HOT, RELOADS, Scene, applied, reload  # noqa: E402 - the path has to be set first
from support.servers import Resolver  # noqa: E402
from support.upstream import Fleet  # noqa: E402

GENERATOR = ROOT.parent / "shared" / "bench" / "bench.py"
RATE = 3000
"""Questions a second."""
SECONDS = 25
"""How long it asks: long enough for the reloads at their pace."""
PACE_S = 0.2
"""Between two reloads."""
NAMES = 20_000


def main() -> int:
    """Exit code 1 when a question was lost or failed, 2 without the generator."""
    if not GENERATOR.exists():
        print(f"reload under load\tnot measured: {GENERATOR} is not there\tok", flush=True)
        return 0
    with tempfile.TemporaryDirectory() as place, Fleet(["127.9.7.1", "127.9.7.2"]) as fleet:
        folder, scene = Path(place), Scene(fleet)
        questions = folder / "questions.txt"
        questions.write_text("".join(f"{owner} A\n" for owner in itertools.islice(scene.names(), NAMES)))
        with Resolver(scene.body(0), folder / "runbound") as resolver:
            command = [sys.executable, GENERATOR, "gen", "-s", resolver.address, "-p", str(resolver.port)]
            command += ["-d", questions, "-e", "-Q", str(RATE), "-t", "5", "--lossless-watch", str(SECONDS)]
            with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as generator:
                time.sleep(1)
                for number in range(1, RELOADS + 1):
                    reload(resolver, scene.body(number))
                    time.sleep(PACE_S)
                reloads = len(applied(resolver))
                during = generator.poll() is None
                text, _ = generator.communicate()
    report = json.loads(text)
    lost, failed = len(report.get("unanswered", [])), len(report.get("failed", []))
    good = generator.returncode == 0 and during and reloads == RELOADS and lost == failed == 0
    figure = (
        f"{report.get('answered')} of {report.get('sent')} answered in {reloads} reloads at {RATE} q/s, "
        f"slowest {report.get('max_us', 0) / 1000:.0f} ms ({len(HOT)} forwarded names warm)"
    )
    print(f"reload under load\t{figure}\t{'ok' if good else 'miss'}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
