"""What the lab knows: zones read from one file, and the answer to a question about them.

Owns the look-up: closest zone, CNAME chains across zones, wildcards (RFC 4592), NODATA and NXDOMAIN with their SOA
(RFC 2308). It must never touch a socket or a clock; `server` does.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHAIN_LIMIT = 12
"""CNAMEs followed for one question; beyond it the answer ends where it is, which is what a loop gets."""


@dataclass(frozen=True)
class Behaviour:
    """How one name misbehaves."""

    delay: float = 0.0
    """Seconds before the answer leaves."""
    silent: bool = False
    """No answer at all."""
    truncate: bool = False
    """Over UDP an empty answer with TC, so the client must come back over TCP."""
    rcode: str = "NOERROR"
    """Anything else is the whole answer."""


@dataclass(frozen=True)
class World:
    """Zones by name, and the names that misbehave."""

    zones: Mapping[dns.name.Name, dns.zone.Zone]
    behaviour: Mapping[dns.name.Name, Behaviour] = field(default_factory=dict)

    def how(self, name: dns.name.Name) -> Behaviour:
        """The behaviour of a name; most have the plain one."""
        return self.behaviour.get(name, Behaviour())

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The reply of a resolver that knows this world: RA set, AA clear, CNAMEs followed to their end."""
        reply = dns.message.make_response(query, recursion_available=True)
        if not query.question:
            reply.set_rcode(dns.rcode.FORMERR)
            return reply
        question = query.question[0]
        forced = dns.rcode.from_text(self.how(question.name).rcode)
        if forced != dns.rcode.NOERROR:
            reply.set_rcode(forced)
        elif question.rdclass != dns.rdataclass.IN:
            reply.set_rcode(dns.rcode.REFUSED)
        else:
            self._walk(reply, question.name, question.rdtype)
        return reply

    def _walk(self, reply: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        for _ in range(CHAIN_LIMIT):
            zone = self._zone(name)
            node = _node(zone, name)
            if node is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                reply.authority.append(_soa(zone))
                return
            wanted = [rds for rds in node if rdtype in (rds.rdtype, dns.rdatatype.ANY)]
            if wanted:
                reply.answer += [_rrset(name, rds) for rds in wanted]
                return
            alias = next((rds for rds in node if rds.rdtype == dns.rdatatype.CNAME), None)
            if alias is None:
                reply.authority.append(_soa(zone))
                return
            rrset = _rrset(name, alias)
            if rrset in reply.answer:
                return
            reply.answer.append(rrset)
            name = alias[0].target

    def _zone(self, name: dns.name.Name) -> dns.zone.Zone:
        while name not in self.zones:
            name = name.parent()
        return self.zones[name]


def _node(zone: dns.zone.Zone, name: dns.name.Name) -> list[dns.rdataset.Rdataset] | None:
    """The record sets at a name, by wildcard if need be; empty for an empty non-terminal, None for no such name."""
    if (node := zone.get_node(name)) is not None:
        return list(node.rdatasets)
    if any(known.is_subdomain(name) for known in zone.nodes):
        return []
    origin = zone.origin
    assert origin is not None
    while name != origin:
        name = name.parent()
        if (node := zone.get_node(dns.name.Name((b"*", *name.labels)))) is not None:
            return list(node.rdatasets)
        if any(known.is_subdomain(name) for known in zone.nodes):
            return None
    return None


def _rrset(name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))


def _soa(zone: dns.zone.Zone) -> dns.rrset.RRset:
    """The SOA of a negative answer, its TTL lowered to the MINIMUM field (RFC 2308 section 3)."""
    origin = zone.origin
    assert origin is not None
    rrset = _rrset(origin, zone.find_rdataset(origin, dns.rdatatype.SOA))
    rrset.ttl = min(rrset.ttl, rrset[0].minimum)
    return rrset


def load(path: Path | None = None) -> World:
    """Reads a world from a file, by default the one in the package. Raises ValueError naming the zone that is wrong."""
    source = path or resources.files(__package__).joinpath("world.toml")
    table = tomllib.loads(source.read_text(encoding="utf-8"))
    zones = {}
    for text, entry in table["zones"].items():
        origin = dns.name.from_text(text)
        try:
            zones[origin] = dns.zone.from_text(entry["text"], origin, relativize=False)
        except Exception as error:
            raise ValueError(f"{source}: zone {text}: {error}") from error
    if dns.name.root not in zones:
        raise ValueError(f'{source}: there must be a zone "." for the names of no other zone')
    behaviour = {dns.name.from_text(name): Behaviour(**entry) for name, entry in table.get("behaviour", {}).items()}
    return World(zones, behaviour)
