"""The answers of an authoritative server: its zones, referrals to others, nothing about the rest.

Owns the choice of the zone, AA, referrals with DS or the proof that there is none (RFC 4035 3.1.4), and glue. It must
never follow an alias out of the zone it stands in, as no such server may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dns.flags
import dns.rcode
import dns.rdatatype
import dns.rrset

from runbound.lab.answer import Reply
from runbound.lab.names import Key, is_below, name_of
from runbound.lab.zone import DS, NS, Found, Kind, Zone, deepest

if TYPE_CHECKING:
    import dns.message

CHAIN_LIMIT: Final = 12
"""Aliases followed for one question inside a zone."""
TRANSFERS: Final = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


def answer(zones: dict[Key, Zone], reply: Reply, rdtype: dns.rdatatype.RdataType) -> None:
    """Writes the answer of a server that has these zones."""
    message = reply.message
    zone = _zone(zones, reply.key, rdtype)
    if zone is None or rdtype in TRANSFERS:
        message.set_rcode(dns.rcode.REFUSED)
        return
    message.flags |= dns.flags.AA
    for _ in range(CHAIN_LIMIT):
        found = zone.find(reply.key, rdtype)
        if found.kind is Kind.REFERRAL:
            if not message.answer:
                message.flags &= ~dns.flags.AA
                _refer(reply, zone, found)
            return
        if not reply.take(zone, found) or not is_below(reply.key, zone.origin):
            return


def upward(root: Zone, reply: Reply) -> None:
    """The answer of a server that was never told about its zone: go and ask the root."""
    reply.put(reply.message.authority, root, root.origin, root.data[root.origin][NS])


def _zone(zones: dict[Key, Zone], key: Key, rdtype: dns.rdatatype.RdataType) -> Zone | None:
    """The closest zone; for DS the one above, if this server has it too (RFC 4035 3.1.4.1)."""
    if rdtype == DS and len(key) > 1 and (above := deepest(zones, key[:-1])) is not None and above.is_cut(key):
        return above
    return deepest(zones, key)


def _refer(reply: Reply, zone: Zone, found: Found) -> None:
    message, cut = reply.message, found.owner
    reply.put(message.authority, zone, cut, found.sets[0])
    if zone.signed and reply.dnssec:
        if zone.has_ds(cut):
            reply.put(message.authority, zone, cut, zone.ds(cut))
        else:
            reply.prove(zone, zone.chain.no_data(cut))
    glue = zone.glue.get(cut)
    if glue is None:  # a delegation out of the zone's text: whatever the text says about its servers
        targets = [rdata.target for rdata in found.sets[0]]
        glue = [(key, node) for key, node in zone.data.items() if is_below(key, cut) and name_of(key) in targets]
    for key, node in glue:
        for rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            if rdtype in node:
                rrset = dns.rrset.from_rdata_list(name_of(key), node[rdtype].ttl, list(node[rdtype]))
                message.additional.append(rrset)
