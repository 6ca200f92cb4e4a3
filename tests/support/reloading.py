"""A resolver that is reloaded again and again while somebody asks: what each reload changes, and what may be answered.

Owns the configurations of the reload test and of `bench/reload.py`, and the addresses that are right for each name
under any of them. It asks nothing itself.
"""

from __future__ import annotations

import itertools
import re
import signal
import time
from typing import TYPE_CHECKING

from support.load import Asked
from support.packets import Ask, Edns
from support.servers import free_port
from support.upstream import name, true_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import Resolver
    from support.upstream import Fleet

RELOADS = 100
BULK = 300
"""Local data beside what is asked, so that a reload has something to do."""
HOT = [f"hot{number}.forwarded.net." for number in range(40)]
OUTSIDER = "127.0.0.77"
"""A client that every other configuration refuses."""
APPLIED_S = 20.0
"""Longest wait for one reload to be applied; a loaded machine reads Python slowly."""

STAYS, FLIPS, MOVES = "stays.example.", "flips.example.", "moves.example.net."
STEADY = "192.0.2.1"


def truth(owner: str) -> str:
    """What the upstream servers say."""
    return ".".join(map(str, true_address(name(owner))))


def allowed(owner: str) -> set[str]:
    """Every address that some configuration gives for a name."""
    return {STAYS: {STEADY}, FLIPS: {STEADY, "192.0.2.2"}, MOVES: {"192.0.2.9", truth(MOVES)}}.get(
        owner, {truth(owner)}
    )


class Scene:
    """The configurations, one after another."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.second_port = free_port()

    def listener(self, number: int) -> str:
        """The address that this configuration opens beside the one that stays."""
        return f"127.0.0.{2 + number % 3}@{self.second_port}"

    def body(self, number: int, more: str = "") -> str:
        """The configuration after so many reloads: listener, access, local data and forwarders all differ."""
        odd = number % 2
        forward = f"    forward-addr: {self.fleet.at(odd)}\n"
        server = [
            "    api-enable: no",
            f"    interface: {self.listener(number)}",
            f"    access-control: {OUTSIDER}/32 {'refuse' if odd else 'allow'}",
            f'    local-data: "{STAYS} A {STEADY}"',
            f'    local-data: "{FLIPS} A 192.0.2.{1 + odd}"',
            *(f'    local-data: "bulk{at}.example. A 192.0.2.{number % 250}"' for at in range(BULK)),
            *([f'    local-zone: "{MOVES}" static', f'    local-data: "{MOVES} A 192.0.2.9"'] if odd else []),
        ]
        zones = "".join(f'forward-zone:\n    name: "{zone}"\n{forward}' for zone in ("forwarded.net.", "example.net."))
        return "\n".join(server) + "\n" + more + zones

    @staticmethod
    def names() -> Iterator[str]:
        """Names to ask, for ever: local, cached, and every tenth one nobody asked before."""
        for number in itertools.count():
            yield (STAYS, FLIPS, MOVES, HOT[number // 10 % len(HOT)], HOT[number // 7 % len(HOT)])[number % 5]
            if number % 9 == 0:
                yield f"fresh{number}.forwarded.net."

    @classmethod
    def questions(cls, tcp_every: int = 8) -> Iterator[Asked]:
        """The same as questions, some of them over TCP."""
        for number, owner in enumerate(cls.names()):
            tcp = tcp_every > 0 and number % tcp_every == 0
            yield Asked(Ask(owner, "A", edns=Edns(1232)).packet(), tcp, owner)


def reload(resolver: Resolver, body: str, head: str | None = None) -> str:
    """One SIGHUP with another file; returns when it has been applied, with the line that says so."""
    before = len(applied(resolver))
    resolver.write(body) if head is None else resolver.write(body, head)
    resolver.signal(signal.SIGHUP)
    end = time.monotonic() + APPLIED_S
    while len(lines := applied(resolver)) == before:
        assert time.monotonic() < end, resolver.log()[-3000:]
        assert resolver.process.poll() is None, resolver.log()[-3000:]
        time.sleep(0.005)
    return lines[-1]


def applied(resolver: Resolver) -> list[str]:
    """The lines of all reloads so far."""
    return re.findall(r".*change applied.*", resolver.log())
