"""Turn times of cached answers beside questions that are expensive to prove: rows, `name TAB figure TAB ok|miss`.

Owns the comparison, paired in one run: quiet seconds and seconds under attack in turns, read from the worker's own
histograms (`histogram.turn.*`: from batch in to batch out; `histogram.wait.*`: from when it last could have looked at
its sockets to batch out, whatever it did in between). The attack asks without a pause for names of zones with colliding
keys (KeyTrap) and with hashes that are iterated 150 times. It must never be part of the tests: they bound the work of a
turn, not its time.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.packets import Ask, exchange  # noqa: E402 - the path has to be set first
from support.servers import Process, Resolver, free_port  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 6
PHASE_S = 4.0
MOST = 1.10
"""Times the quiet median that the median under attack may be."""
HOT = [f"host-{number}.large.lab." for number in range(20)]
ZONES = ("keytrap.broken.", "colliding.broken.", "heavy.lab.")
KEY = "0123456789abcdef0123456789abcdef"
KINDS = ("turn", "wait")


def aside() -> None:
    """Leaves the first processor to the worker, which is pinned to it."""
    others = os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))}
    if others:
        os.sched_setaffinity(0, others)


def ask_hot(resolver: tuple[str, int]) -> None:
    """A client that asks for what is known, one question after the other."""
    aside()
    for name in itertools.cycle(HOT):
        exchange(Ask(name), resolver, 2.0)


def attack(resolver: tuple[str, int]) -> None:
    """A client that asks for what is expensive."""
    aside()
    for zone in itertools.cycle(ZONES):
        labels = ".".join(random.choice("abcdefghijklmnop") for _ in range(random.randrange(1, 12)))
        exchange(Ask(f"{random.getrandbits(40):x}.{labels}.{zone}"), resolver, 2.0)


@contextlib.contextmanager
def running(client: multiprocessing.Process) -> Iterator[None]:
    """A client for a while."""
    client.start()
    try:
        yield
    finally:
        client.terminate()
        client.join()


def counters(port: int) -> dict[str, int]:
    """The resolver's statistics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    connection.request("GET", "/api/v1/stats", headers={"Authorization": f"Bearer {KEY}"})
    found: dict[str, int] = json.loads(connection.getresponse().read())["counters"]
    connection.close()
    return found


def turns(kind: str, before: dict[str, int], after: dict[str, int]) -> dict[float, int]:
    """How many turns fell into each bucket, by its middle in microseconds."""
    grown, prefix = {}, f"histogram.{kind}."
    for name, value in after.items():
        if name.startswith(prefix) and (more := value - before.get(name, 0)):
            low, high = (float(edge) for edge in name.removeprefix(prefix).split(".to."))
            grown[(low + high) / 2 * 1e6] = more
    return grown


def at(share: float, found: dict[float, int]) -> float:
    """The time within which this share of the turns was over."""
    left = share * sum(found.values())
    for middle, count in sorted(found.items()):
        left -= count
        if left <= 0:
            return middle
    return 0.0


def figure(found: dict[float, int]) -> str:
    """Number of turns, median, 99th of a hundred, mean."""
    mean = sum(middle * count for middle, count in found.items()) / max(1, sum(found.values()))
    return f"{at(0.5, found):.1f}/{at(0.99, found):.1f}/{mean:.1f} us of {sum(found.values())}"


def main() -> int:
    """Exit code 1 when cached answers had to wait."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        port, api = free_port(), free_port()
        command: list[str | Path] = [sys.executable, "-m", "runbound", "lab", "--port", str(port), "--quiet"]
        command += ["--folder", folder / "lab"]
        (folder / "files").mkdir()
        with Process(command, folder / "files", {"PYTHONPATH": str(ROOT / "python")}) as lab:
            lab.wait_for_log("lab: ready on")
            conf = f"    extended-statistics: yes\n    api-port: {api}\n    do-not-query-localhost: no\n"
            conf += f'    module-config: "validator iterator"\n    trust-anchor-file: "{folder / "lab" / "root.key"}"\n'
            conf += f"forward-zone:\n    name: .\n    forward-addr: 127.0.0.1@{port}\n"
            with Resolver(conf, folder / "resolver", env={"RUNBOUND_API_KEY": KEY}) as resolver:
                for name in HOT:
                    assert exchange(Ask(name), resolver.at, 10.0) is not None
                quiet: dict[str, dict[float, int]] = {kind: {} for kind in KINDS}
                loud: dict[str, dict[float, int]] = {kind: {} for kind in KINDS}
                begun = counters(api)
                with running(multiprocessing.Process(target=ask_hot, args=(resolver.at,))):
                    for number in range(2 * ROUNDS):
                        into = loud if number % 2 else quiet
                        pressure = multiprocessing.Process(target=attack, args=(resolver.at,))
                        with running(pressure) if number % 2 else contextlib.nullcontext():
                            before = counters(api)
                            time.sleep(PHASE_S)
                            after = counters(api)
                        for kind in KINDS:
                            for middle, count in turns(kind, before, after).items():
                                into[kind][middle] = into[kind].get(middle, 0) + count
                ended = counters(api)
    worked = {
        what: ended[name] - begun.get(name, 0)
        for what, name in (("signatures", "total.num.verifications"), ("questions", "total.num.cachemiss"))
    }
    most = ended["total.verifications.at_once.max"]
    all_good = True
    for kind in KINDS:
        calm, pressed = quiet[kind], loud[kind]
        good = 0 < at(0.5, pressed) <= MOST * at(0.5, calm) and worked["questions"] > 0
        text = (
            f"median/99 %/mean quiet {figure(calm)}, under attack {figure(pressed)}; {worked['questions']} expensive "
        )
        text += f"questions, {worked['signatures']} signatures, at most {most} at once"
        print(f"{kind} time of cached answers\t{text}\t{'ok' if good else 'miss'}", flush=True)
        all_good &= good
    return 0 if all_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
