"""The control plane under load, and DNS beside it: rows, `name TAB figure TAB ok|miss`.

Owns the long lists, the single record among a million, and the watchers; each is measured while questions that are
known are asked at a steady rate, and every one of those is accounted for by the shared load generator. Turn times are
the workers' own (`histogram.turn.*`). It must never be part of the tests: what is right about these calls, they show.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))

from bench.turns import at, turns  # noqa: E402

from support.live import KEY  # noqa: E402 - the path has to be set first
from support.packets import Ask, exchange  # noqa: E402
from support.servers import Process, Resolver, free_port  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GENERATOR = ROOT.parent / "shared" / "bench" / "bench.py"
RATE = 3000
"""Questions a second that go on meanwhile."""
HOT = [f"host-{number}.large.lab." for number in range(20)]
MANY, MILLION = 100_000, 1_000_000
BULK_SECONDS = 5.0
"""Within which both lists have to be in force."""
ONE_MS = 20.0
"""Within which one record among a million is answered by every worker, from the call on."""
ONES = 50
WATCHERS, WATCHED_S = 100, 20.0
WATCHERS_SHARE = 0.05
"""Of one core, that the watchers may cost."""
TIMES = 2.0
"""How much longer the 99th turn of a hundred may take beside all this."""
ASKED = 16
"""Questions from as many ports after each call, so that each of two workers is among those asked."""


class Api:
    """One connection at a time to the API."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """What it answers, decoded. Anything but success ends the run."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, f"/api/v1{path}", body, {"Authorization": f"Bearer {KEY}", "Content-Type": kind})
        with connection.getresponse() as response:
            text = response.read()
        connection.close()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {text[:500]!r}")
        return json.loads(text) if text else None

    def counters(self) -> dict[str, int]:
        """The resolver's statistics."""
        found: dict[str, int] = self.call("GET", "/stats")["counters"]
        return found

    @contextlib.contextmanager
    def stream(self) -> Iterator[bytearray]:
        """Watches the counters for a while; what has come of them grows."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(
            f"GET /api/v1/stats/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        )
        taken = bytearray()
        reader = threading.Thread(target=_drain, args=(connection, taken), daemon=True)
        reader.start()
        try:
            yield taken
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            reader.join()


def _drain(connection: socket.socket, into: bytearray) -> None:
    with contextlib.suppress(OSError):
        while octets := connection.recv(65536):
            into += octets


class Load:
    """Questions at a steady rate, each accounted for."""

    def __init__(self, resolver: Resolver, folder: Path, seconds: float) -> None:
        questions = folder / "questions.txt"
        questions.write_text("".join(f"{name} A\n" for name in HOT))
        command = [sys.executable, GENERATOR, "gen", "-s", resolver.address, "-p", str(resolver.port)]
        command += ["-d", questions, "-e", "-Q", str(RATE), "-t", "5", "--lossless-watch", str(seconds)]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        time.sleep(1)

    def end(self) -> tuple[str, bool]:
        """What became of them, and whether none was lost."""
        self.process.terminate()
        report = json.loads(self.process.communicate()[0])
        lost, failed = len(report.get("unanswered", [])), len(report.get("failed", []))
        text = f"{report.get('answered')} of {report.get('sent')} questions answered meanwhile, slowest "
        return f"{text}{report.get('max_us', 0) / 1000:.0f} ms", lost == failed == 0 < report.get("answered", 0)


def row(name: str, figure: str, good: bool) -> bool:
    """Prints one row."""
    print(f"{name}\t{figure}\t{'ok' if good else 'miss'}", flush=True)
    return good


def names(count: int, zone: str) -> Iterator[str]:
    """So many names, in no order."""
    return (f"n{(number * 7919) % count:07d}.{zone}" for number in range(count))


def records(count: int) -> bytes:
    """So many records, as lines of a zone file."""
    owners = enumerate(names(count, "many.test."))
    return "".join(f"{name} 300 A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n" for n, name in owners).encode()


def p99(before: dict[str, int], after: dict[str, int]) -> float:
    """The 99th turn of a hundred, in microseconds."""
    found: float = at(0.99, turns("turn", before, after))
    return found


def list_of(api: Api, load: Load, what: str, path: str, body: bytes, count: int) -> bool:
    """One long list in one call."""
    calm = api.counters()
    time.sleep(3)
    begun = api.counters()
    start = time.monotonic()
    api.call("POST", path, body, "text/plain")
    took = time.monotonic() - start
    ended = api.counters()
    quiet, busy = p99(calm, begun), p99(begun, ended)
    told, lossless = load.end()
    figure = f"{count:,} in {took:.2f} s; {told}; 99 % of turns within {quiet:.0f} µs quiet, {busy:.0f} µs meanwhile"
    return row(what, figure, took < BULK_SECONDS and lossless and busy <= TIMES * quiet)


def one(api: Api, resolver: Resolver) -> bool:
    """One record among a million, again and again: from the call to its answer from every worker."""
    took, called = [], []
    for number in range(ONES):
        name = f"one-{number}.single.test."
        body = json.dumps({"name": name, "type": "A", "value": "192.0.2.1"}).encode()
        start = time.monotonic()
        api.call("POST", "/dns", body)
        called.append(time.monotonic() - start)
        for _ in range(ASKED):
            answer = exchange(Ask(name), resolver.at, 2.0)
            if answer is None or not int.from_bytes(answer[6:8]):
                return row("one record among a million", f"{name} was not answered right after the call", False)
        took.append(time.monotonic() - start)
    figure = f"median {statistics.median(took) * 1000:.1f} ms, most {max(took) * 1000:.1f} ms for the call and "
    figure += f"{ASKED} answers one after the other (the call alone {statistics.median(called) * 1000:.1f} ms)"
    return row("one record among a million", figure, max(took) * 1000 < ONE_MS)


def cpu(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watchers(api: Api, resolver: Resolver) -> bool:
    """What a hundred streams cost."""

    def share(count: int) -> tuple[float, int]:
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(api.stream()) for _ in range(count)]
            time.sleep(2)
            start = cpu(resolver.pid)
            time.sleep(WATCHED_S)
            spent = (cpu(resolver.pid) - start) / WATCHED_S
        return spent, min((taken.count(b"event: stats") for taken in streams), default=0)

    (none, _), (all_, events) = share(0), share(WATCHERS)
    figure = f"{(all_ - none) * 100:.1f} % of a core for {WATCHERS} streams ({none * 100:.1f} % without)"
    figure += f", {events} events at least on each in {WATCHED_S:.0f} s"
    return row("streams at 1 Hz", figure, all_ - none < WATCHERS_SHARE and events >= WATCHED_S)


def everything(api: Api, load: Load, body: bytes) -> bool:
    """A list is built, the cache is dumped and fifty watch, at once."""
    calm = api.counters()
    time.sleep(5)
    begun = api.counters()
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(api.stream())
        builder = threading.Thread(target=api.call, args=("POST", "/blacklist/bulk?mode=replace", body, "text/plain"))
        builder.start()
        while builder.is_alive():
            connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
            connection.request("GET", "/api/v1/cache/dump", headers={"Authorization": f"Bearer {KEY}"})
            connection.getresponse().read()
            connection.close()
        builder.join()
    ended = api.counters()
    quiet, busy = p99(calm, begun), p99(begun, ended)
    told, lossless = load.end()
    figure = f"99 % of turns within {quiet:.0f} µs quiet, {busy:.0f} µs meanwhile; {told}"
    return row("list, dump and 50 streams at once", figure, lossless and 0 < busy <= TIMES * quiet)


@contextlib.contextmanager
def running(folder: Path, lab: int) -> Iterator[tuple[Resolver, Api]]:
    """A fresh resolver with two workers that knows the hot names."""
    port = free_port()
    conf = f"    extended-statistics: yes\n    num-threads: 2\n    api-port: {port}\n    do-not-query-localhost: no\n"
    conf += f"forward-zone:\n    name: .\n    forward-addr: 127.0.0.1@{lab}\n"
    with Resolver(conf, folder, env={"RUNBOUND_API_KEY": KEY}) as resolver:
        for name in HOT:
            assert exchange(Ask(name), resolver.at, 10.0) is not None
        api = Api(port)
        for _ in range(100):
            with contextlib.suppress(OSError):
                api.call("GET", "/health")
                break
            time.sleep(0.1)
        yield resolver, api


def measure(folder: Path, lab: int) -> Iterable[bool]:
    """Each row, on a resolver of its own but for those that build on one another."""
    many, million = records(MANY), records(MILLION)
    blocks = "".join(f"{name}\n" for name in names(MILLION, "ads.test.")).encode()
    with running(folder / "many", lab) as (resolver, api):
        yield list_of(api, Load(resolver, folder, 60), "records in one call", "/dns/bulk", many, MANY)
        yield watchers(api, resolver)
        api.call("POST", "/dns/bulk?mode=replace", million, "text/plain")
        yield one(api, resolver)
    with running(folder / "names", lab) as (resolver, api):
        yield list_of(api, Load(resolver, folder, 60), "a plain list in one call", "/blacklist/bulk", blocks, MILLION)
        yield everything(api, Load(resolver, folder, 120), blocks)


def main() -> int:
    """Exit code 1 when a row misses."""
    if not GENERATOR.exists():
        row("control plane under load", f"not measured: {GENERATOR} is not there", False)
        return 1
    with tempfile.TemporaryDirectory() as place:
        folder, port = Path(place), free_port()
        command: list[str | Path] = [sys.executable, "-m", "runbound", "lab", "--port", str(port), "--quiet"]
        command += ["--folder", folder / "lab"]
        (folder / "files").mkdir()
        with Process(command, folder / "files", {"PYTHONPATH": str(ROOT / "python")}) as lab:
            lab.wait_for_log("lab: ready on")
            results = list(measure(folder, port))
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
