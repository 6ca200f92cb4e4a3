"""Questions about the lab's world for two resolvers that walk it from the root, and what must be equal of the answers.

Owns which names and types are asked. Chance is a generator with a fixed seed, so a difference found today is found
tomorrow. It must never know how the programs answer.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from runbound.lab.names import name_of
from support.packets import Ask, Edns, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbound.lab import World
    from runbound.lab.names import Key
    from runbound.lab.zone import Zone

SEED = 20326
TYPES = ("A", "A", "A", "AAAA", "TXT", "MX", "NS", "SOA", "DS", "DNSKEY", "NSEC", "NSEC3PARAM", "CNAME", "DNAME")
RARE_TYPES = ("NSEC3", "ANY", "RRSIG", "HTTPS", "CAA", "SRV", "PTR", "CDS", "TYPE65280", "NXNAME")
RARE_SHARE = 0.12
STRANGE_LABELS = (b"nothing", b"aaa", b"zzz", b"x", b"mail", b"www", b"ns1", b"any", b"*", b"_dmarc", b"\0", b"a\\.b")


def _is_steady(world: World, zone: Zone) -> bool:
    """Whether the same question has the same answer at every time: no loss, nobody silent, no waiting."""
    servers = [server.entry for server in world.servers.values() if zone.origin in server.zones]
    if any(its.loss or its.silent or its.delay or its.truncate or not its.tcp for its in servers):
        return False
    return zone.parent is None or _is_steady(world, zone.parent)


class Questions:
    """An endless stream of questions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(SEED)
        self._zones = [zone for zone in world.zones.values() if _is_steady(world, zone)]
        left_out = {zone.origin for zone in world.zones.values()} - {zone.origin for zone in self._zones}
        self._names = {
            zone.origin: sorted(
                key
                for key in {*zone.data, *zone.between()}
                if not any(key[:depth] in left_out for depth in range(1, len(key) + 1))
                and not (world.how(key).silent or world.how(key).delay)
            )
            for zone in self._zones
        }

    def __iter__(self) -> Iterator[Ask]:
        while True:
            yield self._one()

    def _one(self) -> Ask:
        chance = self._chance
        zone = chance.choice(self._zones)
        name = name_of(self._name(zone)).to_text()
        if chance.random() < 0.05:
            name = "".join(chance.choice((letter.upper(), letter)) for letter in name)
        rtype = chance.choice(RARE_TYPES if chance.random() < RARE_SHARE else TYPES)
        edns = chance.choice((None, Edns(1232), Edns(1232, do=True), Edns(1232, do=True), Edns(1232, do=True)))
        return Ask(name, rtype, edns=edns, cd=chance.random() < 0.3, ad=chance.random() < 0.3)

    def _name(self, zone: Zone) -> Key:
        """A name at or below a zone: one that exists, or is close to one."""
        chance = self._chance
        known = chance.choice(self._names[zone.origin])
        if zone.rules and chance.random() < 0.5:
            return (*zone.origin, f"host-{chance.randrange(11_000)}".encode())
        kind = chance.random()
        if kind < 0.15:
            return zone.origin
        if known[-1:] == (b"*",) and kind < 0.8:
            return (*known[:-1], chance.choice(STRANGE_LABELS))
        if kind < 0.55:
            return known
        below = known if kind < 0.75 else zone.origin
        labels = tuple(chance.choice(STRANGE_LABELS) for _ in range(chance.choice((1, 1, 1, 2, 3))))
        fits = sum(len(label) + 1 for label in (*below, *labels)) < 255
        return (*below, *labels) if fits else below


def told(seen: Seen) -> dict[str, str]:
    """What must be equal: the response code, whether it is authentic, and the answer."""
    if seen.silent:
        return {"reply": "silence"}
    flags = seen.fields.get("flags", "").split()
    return {
        "rcode": seen.fields.get("rcode", ""),
        "ad": "ad" if "ad" in flags else "-",
        "answer": seen.fields.get("answer", ""),
    }
