"""The world put together: zones joined by delegations, name servers with addresses, and who is secure.

Owns what follows from the file as a whole: SOA and NS records, glue, addresses, which zones can be reached and which
can be believed. It must never touch a socket or a packet; `authority` and `resolver` answer from it.
"""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Final

import dns.name
import dns.rdataset
import dns.rdatatype

from runbound.lab import schema
from runbound.lab.behaviour import EVERYTHING, PLAIN, Behaviour, Flaw
from runbound.lab.names import ROOT, Key, is_below, key_of, name_of
from runbound.lab.schema import ServerEntry, WorldError, ZoneEntry
from runbound.lab.zone import NS, SOA, Zone, add_records, deepest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHARED_SERVER: Final = "ns1.hosting.net."
"""The server of every zone that names none."""
NETWORK: Final = ipaddress.IPv4Network("198.18.0.0/15")
"""Addresses set aside for measuring (RFC 2544): nobody on the Internet has them."""
NETWORK6: Final = ipaddress.IPv6Network("2001:2::/48")
"""The same for IPv6 (RFC 5180)."""
FIRST_ADDRESS: Final = 0x0101
"""Where addresses that are not in the file begin: 198.18.1.1."""
RESOLVER: Final = "198.18.0.53"
VALIDATOR: Final = "198.18.0.54"
LOOPBACK_SHIFT: Final = int(ipaddress.IPv4Address("198.0.0.0")) - int(ipaddress.IPv4Address("127.0.0.0"))
SERVER_TTL: Final = 3600


class Server:
    """One name server: a name, addresses, zones, and how it misbehaves."""

    def __init__(self, name: dns.name.Name, entry: ServerEntry) -> None:
        self.name = name
        self.key = key_of(name)
        self.entry = entry
        self.addresses: list[str] = []
        self.zones: dict[Key, Zone] = {}


class World:
    """All zones and servers. `loopback` puts the servers on 127.18.0.0/15 instead of 198.18.0.0/15."""

    def __init__(self, file: schema.WorldFile, *, loopback: bool, clock: Callable[[], float] = time.time) -> None:
        self.loopback = loopback
        self.zones: dict[Key, Zone] = {}
        self.servers: dict[Key, Server] = {}
        self._behaviour = {key_of(name): how for name, how in file.behaviour.items()}
        self._secure: dict[Key, bool] = {}
        self._lost: dict[Key, str] = {}
        self._next = FIRST_ADDRESS
        if dns.name.root not in file.zones:
            raise WorldError(f'{file.source}: there is no root; add [zones."."]')
        entries = _with_chains(file.zones)
        wanted: dict[Key, list[Key]] = {}
        for name, entry in entries.items():
            zone = self.zones[key_of(name)] = Zone(key_of(name), entry, clock)
            for owner, node in file.data.get(name, {}).items():
                zone.data[key_of(owner)] = dict(node)
                zone.written.add(key_of(owner))
            wanted[zone.origin] = [
                self._server(file.source, dns.name.from_text(text, name), its).key
                for text, its in (entry.servers or {SHARED_SERVER: ServerEntry()}).items()
            ]
        for server in self.servers.values():
            self._give_addresses(file.source, server)
        for zone in self.zones.values():
            self._finish(zone, [self.servers[key] for key in wanted[zone.origin]])
        for zone in self.zones.values():
            if zone.origin != ROOT:
                self._delegate(file.source, zone)

    # -------------------------------------------------------------------------------------------------------- asking it

    def how(self, key: Key) -> Behaviour:
        """The behaviour of a name; most have the plain one."""
        return self._behaviour.get(key, PLAIN)

    def zone_of(self, key: Key, *, above: bool = False) -> Zone:
        """The zone a name lies in. `above`: at the top of a zone the one above, where its DS record is."""
        zone = deepest(self.zones, key[:-1] if above and len(key) > 1 else key)
        assert zone is not None  # there is always a root
        return zone

    def is_secure(self, zone: Zone) -> bool:
        """Whether the chain of trust from the root reaches a zone, whatever its signatures are worth."""
        if zone.origin not in self._secure:
            above = zone.parent is None or (self.is_secure(zone.parent) and zone.entry.ds)
            self._secure[zone.origin] = zone.signed and above and zone.understood
        return self._secure[zone.origin]

    def fault(self, zone: Zone) -> Flaw | None:
        """What makes a validating resolver find everything in a zone wrong: its own flaw, or one above it."""
        if zone.flaw.spoils == EVERYTHING and self.is_secure(zone):
            return zone.flaw
        if zone.parent is None:
            return None
        above = zone.parent.flaw
        if "nodata" in above.spoils and self.is_secure(zone.parent) and not zone.parent.has_ds(zone.origin):
            return above  # nobody can prove that the zone is not signed
        return self.fault(zone.parent)

    def verdict(self, zone: Zone) -> str:
        """What a validating resolver makes of a zone, in one word."""
        if self.why_lost(zone):
            return "lost"
        if self.fault(zone) is not None or ("answer" in zone.flaw.spoils and self.is_secure(zone)):
            return "bogus"
        return "secure" if self.is_secure(zone) else "insecure"

    def why_lost(self, zone: Zone) -> str:
        """Why no answer of a zone can be had from its servers; empty when one can."""
        if zone.origin not in self._lost:
            self._lost[zone.origin] = self._why_lost(zone, frozenset())
        return self._lost[zone.origin]

    def delay(self, zone: Zone) -> float:
        """Seconds that the quickest server of a zone takes."""
        return min((its.entry.delay for its in self._of(zone) if not its.entry.fatal), default=0.0)

    def _why_lost(self, zone: Zone, seen: frozenset[Key]) -> str:
        if zone.origin in seen:
            return "its servers cannot be found"
        if zone.parent is not None and (why := self._why_lost(zone.parent, seen)):
            return why
        reason = "its servers give no answer"
        for server in self._of(zone):
            if server.entry.fatal:
                continue
            inside = is_below(server.key, zone.origin)
            if (inside and zone.entry.glue) or (
                not inside and not self._why_lost(self.zone_of(server.key), seen | {zone.origin})
            ):
                return ""
            reason = "its servers cannot be found"
        return reason

    def _of(self, zone: Zone) -> list[Server]:
        return [server for server in self.servers.values() if zone.origin in server.zones]

    # ------------------------------------------------------------------------------------------------- putting together

    def _server(self, source: str, name: dns.name.Name, entry: ServerEntry) -> Server:
        """The server of a name: a zone may describe it, others may use it."""
        key = key_of(name)
        known = self.servers.get(key)
        if known is None:
            known = self.servers[key] = Server(name, entry)
        elif known.entry == ServerEntry():
            known.entry = entry
        elif entry not in (ServerEntry(), known.entry):
            raise WorldError(f"{source}: server {name} is described twice; describe it once and write {{}} elsewhere")
        return known

    def _give_addresses(self, source: str, server: Server) -> None:
        taken = {text for other in self.servers.values() for text in other.addresses}
        if server.entry.address:
            try:
                address = ipaddress.IPv4Address(server.entry.address)
            except ValueError as error:
                raise WorldError(f"{source}: server {server.name}: {error}") from error
            if address not in NETWORK or int(address) & 0x1FFFF == 0 or str(address) in (RESOLVER, VALIDATOR):
                raise WorldError(
                    f"{source}: server {server.name}: {address} must lie in {NETWORK} and be nobody else's"
                )
        else:
            address = NETWORK[self._next]
            self._next += 1
        low = int(address) & 0x1FFFF
        if server.entry.ipv4:
            server.addresses.append(self.place(str(address)))
        # An ordinary machine has one IPv6 address of loopback, so these exist in a namespace alone.
        if server.entry.ipv6 and not self.loopback:
            server.addresses.append(str(NETWORK6[low]))
        if clash := taken.intersection(server.addresses):
            raise WorldError(f"{source}: server {server.name}: {', '.join(clash)} is another server's address")

    def place(self, address: str) -> str:
        """Where an IPv4 address of the file is in this world."""
        if not self.loopback:
            return address
        return str(ipaddress.IPv4Address(int(ipaddress.IPv4Address(address)) - LOOPBACK_SHIFT))

    def _finish(self, zone: Zone, servers: list[Server]) -> None:
        """SOA, NS, and the addresses of servers wherever their names lie."""
        name = zone.name
        first = servers[0].name
        apex = zone.data.setdefault(zone.origin, {})
        if SOA not in apex:
            mail = dns.name.Name((b"hostmaster", *name.labels))
            text = f"{first} {mail} 2026010101 7200 900 1209600 300"
            apex[SOA] = dns.rdataset.from_text("IN", "SOA", SERVER_TTL, text)
        apex[NS] = dns.rdataset.from_text("IN", "NS", SERVER_TTL, *(str(server.name) for server in servers))
        for server in servers:
            if not server.zones:
                for address in server.addresses:
                    rdtype = "AAAA" if ":" in address else "A"
                    add_records(
                        self.zone_of(server.key),
                        server.name,
                        dns.rdataset.from_text("IN", rdtype, SERVER_TTL, address),
                    )
            server.zones[zone.origin] = zone

    def _delegate(self, source: str, zone: Zone) -> None:
        """The delegation in the zone above, with glue for servers that lie inside (RFC 9471)."""
        parent = self.zone_of(zone.origin, above=True)
        zone.parent = parent
        parent.children[zone.origin] = zone
        for key in parent.data:
            if is_below(key, zone.origin) and key in parent.written:
                raise WorldError(
                    f"{source}: zone {parent.name} has records of {name_of(key)}, which belongs to zone {zone.name};"
                    f" move them there"
                )
        parent.data[zone.origin] = {NS: zone.data[zone.origin][NS]}
        inside = [server.key for server in self._of(zone) if is_below(server.key, zone.origin)]
        known = {key: self.zone_of(key).data.get(key) for key in inside if zone.entry.glue}
        parent.glue[zone.origin] = [(key, node) for key, node in known.items() if node is not None]


def _with_chains(entries: dict[dns.name.Name, ZoneEntry]) -> dict[dns.name.Name, ZoneEntry]:
    """Every zone, those of chains of delegations too, each with a server of its own, or the first would know it all."""
    found: dict[dns.name.Name, ZoneEntry] = {}
    for top, entry in entries.items():
        found[top] = entry
        name = top
        for level in range(1, entry.depth + 1):
            name = dns.name.Name((f"d{level}".encode(), *name.labels))
            found[name] = ZoneEntry(servers={"ns": ServerEntry()}, sign=entry.sign, algorithm=entry.algorithm)
    return found


def load(
    path: Path | None = None,
    *,
    added: Path | None = None,
    loopback: bool = True,
    clock: Callable[[], float] = time.time,
) -> World:
    """Reads a world from a file, by default the one in the package, and zones to add from another.

    Raises WorldError, OSError.
    """
    return World(schema.read(path, added), loopback=loopback, clock=clock)
