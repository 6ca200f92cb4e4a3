"""From the root of the lab, with its trust anchor: runbound finds and believes what Unbound does.

Owns the comparison: random questions in rounds, each asked of two fresh processes, so that most of them meet a cache
that knows little. Equal must be the response code, AD and the records of the answer. The questions are in
`support/recursion.py`, the differences that are meant in `support/differences.py`. Needs root, for the namespace.

RUNBOUND_DIFFERENTIAL=all asks 10,000; =self puts Unbound on both sides.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from runbound.lab import load
from support.box import Box
from support.differences import allowed
from support.packets import Ask, Seen, exchange, see
from support.recursion import Questions, told
from support.servers import RUNBOUND, UNBOUND, Process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODE = os.environ.get("RUNBOUND_DIFFERENTIAL", "")
COUNT, ALL = 1_500, 10_000
ROUND = 500
"""Questions for one pair of processes."""
AT_ONCE = 12
TRIES, PATIENCE_S = 4, 4.0
EXAMPLES = 5
"""Questions shown for one kind of mismatch."""
PORTS = (5335, 5336)
SCENE = "recursion"

CONF = """\
server:
    interface: 127.0.0.1@{port}
    username: ""
    chroot: ""
    pidfile: ""
    directory: "{folder}"
    use-syslog: no
    log-servfail: yes
    do-daemonize: no
    do-not-query-localhost: no
    num-threads: 1
    serve-expired: no
    trust-anchor-signaling: no
    trust-anchor-file: "{files}/root.key"
    root-hints: "{files}/root.hints"
    local-zone: "113.0.203.in-addr.arpa." nodefault
"""

Mismatch = tuple[Ask, str, str, str]


class Resolver(Process):
    """A fresh one inside the box."""

    def __init__(self, box: Box, program: str | Path, port: int, folder: Path) -> None:
        folder.mkdir(parents=True)
        text = CONF.format(port=port, folder=folder, files=box.files)
        if program != UNBOUND:
            # Unbound tells a client when it knows; on a busy machine the lab may need more than the usual 1.9 s.
            text += '    api-enable: no\n    state-dir: "state"\n    discard-timeout: 10000\n'
        (folder / "resolver.conf").write_text(text)
        super().__init__(box.command([program, "-d", "-c", folder / "resolver.conf"]), folder)
        self.wait_for_log("start of service", 30)
        self.at = ("127.0.0.1", port)


@pytest.mark.timeout(1800)
def test_ten_thousand_questions_are_answered_as_unbound_does(box: Box, tmp_path: Path) -> None:
    assert UNBOUND is not None
    asks = list(itertools.islice(Questions(load(loopback=False)), ALL if MODE == "all" else COUNT))
    mismatches: list[Mismatch] = []
    meant: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_ONCE, initializer=box.enter) as pool:
        for number in range(0, len(asks), ROUND):
            folder = tmp_path / str(number)
            other = UNBOUND if MODE == "self" else RUNBOUND
            with (
                Resolver(box, UNBOUND, PORTS[0], folder / "unbound") as unbound,
                Resolver(box, other, PORTS[1], folder / "runbound") as runbound,
            ):
                compare(pool, asks[number : number + ROUND], unbound, runbound, mismatches, meant)
                for server in (unbound, runbound):
                    assert server.process.poll() is None, server.log()[-3000:]
    print(f"{len(asks)} questions, {len(mismatches)} mismatches, {sum(meant.values())} meant differences")
    for what, count in meant.items():
        print(f"    meant, {count} times: {what}")
    if mismatches:
        pytest.fail(report(len(asks), mismatches), pytrace=False)


def compare(
    pool: ThreadPoolExecutor,
    asks: Sequence[Ask],
    unbound: Resolver,
    runbound: Resolver,
    mismatches: list[Mismatch],
    meant: Counter[str],
) -> None:
    """Asks both; every field that differs and is not meant to, and how often the meant ones were met."""
    # ANY goes last: Unbound answers it from whatever else it holds of the name.
    waves = [[ask for ask in asks if (ask.rtype == "ANY") is late] for late in (False, True)]
    for wave in waves:
        for ask, theirs, ours in pool.map(lambda ask: (ask, one(ask, unbound.at), one(ask, runbound.at)), wave):
            their_words, our_words = told(theirs), told(ours)
            for field in sorted(their_words.keys() | our_words.keys()):
                their_value, our_value = their_words.get(field, "-"), our_words.get(field, "-")
                if their_value == our_value:
                    continue
                row = allowed(SCENE, ask, field, theirs, ours)
                if row is None:
                    mismatches.append((ask, field, their_value, our_value))
                else:
                    meant[row.what] += 1


def one(ask: Ask, server: tuple[str, int]) -> Seen:
    """One answer in comparable form, over TCP where it does not fit a datagram."""
    for _ in range(TRIES):
        reply = exchange(ask, server, PATIENCE_S)
        if reply is not None and reply[2] & 2:  # TC
            reply = exchange(ask.with_(tcp=True), server, PATIENCE_S)
            return see(ask.with_(tcp=True), reply)
        if reply is not None:
            return see(ask, reply)
    return see(ask, None)


def report(count: int, mismatches: list[Mismatch]) -> str:
    """The mismatches grouped by field, type and what each side said, most frequent first."""
    groups: defaultdict[tuple[str, str, str], list[Mismatch]] = defaultdict(list)
    for row in mismatches:
        _, field, theirs, ours = row
        key = (field, theirs, ours) if field != "answer" else (field, shape(theirs), shape(ours))
        groups[key].append(row)
    asked = len({str(ask) for ask, *_ in mismatches})
    lines = [f"{asked} of {count} questions were answered otherwise"]
    for (field, theirs, ours), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {len(members):4} x {field}: unbound [{theirs}] runbound [{ours}]")
        lines += [f"           {ask}" for ask, *_ in members[:EXAMPLES]]
    return "\n".join(lines)


def shape(value: str) -> str:
    """A section without its names and data: how many records of which types."""
    kinds = Counter(" ".join(row.split()[1:3]) for row in value.split("\n") if row)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing"
