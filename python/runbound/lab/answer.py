"""Sections of a reply: record sets with their signatures, aliases, and proofs of absence.

Owns what an authoritative server and the resolver of the lab write alike once a zone has been searched. Where to search
is decided by `authority` and `resolver`. It must never touch a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.flags
import dns.name
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.rrset

from runbound.lab.names import Key, key_of, name_of
from runbound.lab.zone import Found, Kind, Zone

if TYPE_CHECKING:
    import dns.message

    from runbound.lab.denial import Proof

PAYLOAD = 1232
"""Octets of the largest UDP answer, whatever the asker allows: the size that is never fragmented (RFC 9715)."""


class Reply:
    """A reply being written. `name` is where the search stands, which aliases move."""

    def __init__(self, message: dns.message.Message, name: dns.name.Name, *, dnssec: bool) -> None:
        self.message = message
        self.name = name
        self.dnssec = dnssec
        self.zones: list[Zone] = []
        """Whose records stand in it."""
        self.opted_out = False
        """Whether a proof in it leaves room for unsigned delegations."""

    @property
    def key(self) -> Key:
        """The key of `name`."""
        return key_of(self.name)

    def put(
        self,
        section: list[dns.rrset.RRset],
        zone: Zone,
        owner: Key,
        rdataset: dns.rdataset.Rdataset,
        name: dns.name.Name | None = None,
    ) -> None:
        """Writes a set that lies at `owner`, under `name` when that is another (a wildcard's), and its signatures."""
        name = name_of(owner) if name is None else name
        ttl = rdataset.ttl + zone.flaw.ttl_s
        section.append(dns.rrset.from_rdata_list(name, ttl, list(rdataset)))
        if self.dnssec and rdataset.rdtype != dns.rdatatype.RRSIG and zone.is_signed(owner, rdataset.rdtype):
            signatures = zone.sign(owner, rdataset)
            if signatures is not None:
                section.append(dns.rrset.from_rdata_list(name, ttl, list(signatures)))

    def take(self, zone: Zone, found: Found) -> bool:
        """Writes what was found, referrals apart. True when an alias was followed and the search goes on at `name`."""
        if zone not in self.zones:
            self.zones.append(zone)
        if found.kind is Kind.DNAME:
            return self._dname(zone, found)
        if found.kind in (Kind.NODATA, Kind.NXDOMAIN):
            self._negative(zone, found)
            return False
        for rdataset in found.sets:
            self.put(self.message.answer, zone, found.owner, rdataset, self.name)
        if found.encloser is not None and zone.signed:
            self.opted_out |= zone.chain.proves_little
            self.prove(zone, zone.chain.wildcard(self.key, found.encloser))
        if found.kind is not Kind.CNAME:
            return False
        target: dns.name.Name = found.sets[0][0].target
        return self._go_on(target)

    def prove(self, zone: Zone, proofs: list[Proof]) -> None:
        """Writes records of the chain, unless the zone is one that forgets them all."""
        if not self.dnssec or zone.flaw.denial == "none":
            return
        written = {(rrset.name, rrset.rdtype) for rrset in self.message.authority}
        for owner, rdataset in proofs:
            if (name_of(owner), rdataset.rdtype) not in written:
                self.put(self.message.authority, zone, owner, rdataset)

    def _negative(self, zone: Zone, found: Found) -> None:
        message = self.message
        if found.kind is Kind.NXDOMAIN and not zone.compact:
            message.set_rcode(dns.rcode.NXDOMAIN)
        self.put(message.authority, zone, zone.origin, zone.soa())
        if not zone.signed:
            return
        exists = found.kind is Kind.NODATA and found.encloser is None
        self.opted_out |= zone.chain.leaves_out(self.key) if exists else zone.chain.proves_little
        if not self.dnssec:
            return
        if found.kind is Kind.NXDOMAIN:
            assert found.encloser is not None
            self.prove(zone, zone.chain.no_name(self.key, found.encloser))
        elif found.encloser is not None:
            self.prove(zone, zone.chain.wildcard_no_data(self.key, found.encloser))
        else:
            self.prove(zone, zone.chain.no_data(self.key))

    def _dname(self, zone: Zone, found: Found) -> bool:
        """The DNAME, and the CNAME made of it (RFC 6672 3.1)."""
        rdataset = found.sets[0]
        self.put(self.message.answer, zone, found.owner, rdataset)
        target: dns.name.Name = rdataset[0].target
        own = self.name.labels[: len(self.name.labels) - len(found.owner)]
        try:
            made = dns.name.Name((*own, *target.labels))
        except dns.name.NameTooLong:
            self.message.set_rcode(dns.rcode.YXDOMAIN)
            return False
        alias = dns.rdataset.from_text("IN", "CNAME", rdataset.ttl, made.to_text())
        self.message.answer.append(dns.rrset.from_rdata_list(self.name, alias.ttl, list(alias)))
        return self._go_on(made)

    def _go_on(self, target: dns.name.Name) -> bool:
        """Moves to an alias's target, unless the chain has been there."""
        been = any(rrset.name == target and rrset.rdtype == dns.rdatatype.CNAME for rrset in self.message.answer)
        self.name = target
        return not been
