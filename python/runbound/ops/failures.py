"""Authentication failures on their way into the audit log: summed up, so that who guesses keys cannot fill the disk.

The first failure of a network is told at once, the others as one entry a minute with their number. Networks are counted
up to a limit and beyond it together. Nothing of what was presented is kept. It must never decide who may call.
"""

import ipaddress
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from runbound.state.entries import Event

WINDOW_SECONDS: Final = 60.0
"""How often what came meanwhile is told."""
MAX_NETWORKS: Final = 512
"""Networks counted on their own within a window; the rest is one number. About 200 KB."""
MAX_ENTRIES: Final = 20
"""Entries a window has at most for single networks, those told at once and those with the most failures."""
IPV6_PREFIX: Final = 64
SUMMED_UP: Final = ("auth.failure", "auth.blocked")
"""Events that a stranger can cause as often as they like."""
ACTOR: Final = "stranger"


class Failures:
    """Counts failures and makes entries of them. Safe from every thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str], int] = {}
        self._others = 0
        self._told = 0
        self._since = clock()

    def add(self, event: str, fields: Mapping[str, object]) -> Event | None:
        """Takes one failure: `fields` has the `address` and why. The entry, if it is to be told at once."""
        network, why = network_of(str(fields.get("address", ""))), str(fields.get("why", ""))
        with self._lock:
            what = (event, network, why)
            first = what not in self._counts
            if first and len(self._counts) >= MAX_NETWORKS:
                self._others += 1
                return None
            if first and self._told < MAX_ENTRIES:
                self._told += 1
                self._counts[what] = 0
                return Event(event, ACTOR, {**fields, "count": 1})
            self._counts[what] = self._counts.get(what, 0) + 1
            return None

    def due(self, *, end: bool = False) -> list[Event]:
        """What a window that is over has summed up; `end` closes it before its time."""
        now = self._clock()
        with self._lock:
            passed = now - self._since
            if passed < WINDOW_SECONDS and not end:
                return []
            counted = sorted(((count, *where) for where, count in self._counts.items() if count), reverse=True)
            others = self._others
            self._counts, self._others, self._told, self._since = {}, 0, 0, now
        seconds = int(passed) + 1
        events = [
            Event(event, ACTOR, {"address": network, "why": why, "count": count, "seconds": seconds})
            for count, event, network, why in counted[:MAX_ENTRIES]
        ]
        rest = others + sum(item[0] for item in counted[MAX_ENTRIES:])
        if rest:
            events.append(Event(SUMMED_UP[0], ACTOR, {"address": "others", "count": rest, "seconds": seconds}))
        return events


def network_of(address: str) -> str:
    """What is counted: an IPv4 address, or the /64 of an IPv6 one; other texts as they are."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
    return str(found)
