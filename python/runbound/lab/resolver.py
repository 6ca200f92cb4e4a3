"""The answers of a resolver that knows the whole world: for forwarders, and for whoever wants to compare.

Owns the walk along aliases through all zones in memory, RA, and, for the validating one, AD and SERVFAIL for what is
bogus. It asks nobody: servers that are slow, lost or wrong show as they would behind a real resolver, as a delay or as
SERVFAIL with an extended error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dns.edns
import dns.flags
import dns.rcode
import dns.rdatatype

from runbound.lab.zone import DS, Kind, Zone

if TYPE_CHECKING:
    from runbound.lab.answer import Reply
    from runbound.lab.world import World

CHAIN_LIMIT: Final = 12
"""Aliases followed for one question; beyond it the answer ends where it is, which is what a loop gets."""


def answer(world: World, reply: Reply, rdtype: dns.rdatatype.RdataType, *, validate: bool, checking: bool) -> float:
    """Writes the answer; how many seconds the servers asked for it would have taken.

    `validate`: as a validating resolver. `checking`: the asker did not set CD.
    """
    seconds = 0.0
    for _ in range(CHAIN_LIMIT):
        zone = world.zone_of(reply.key, above=rdtype == DS)
        if why := world.why_lost(zone):
            _fail(reply, dns.edns.EDECode.NO_REACHABLE_AUTHORITY, f"{zone.name}: {why}")
            break
        if validate and checking and world.is_bogus(zone):
            _fail(reply, dns.edns.EDECode.DNSSEC_BOGUS, f"{zone.name}: {_flaw(zone)}")
            break
        seconds += world.delay(zone)
        found = zone.find(reply.key, rdtype)
        needs_proof = found.encloser is not None or found.kind in (Kind.NODATA, Kind.NXDOMAIN)
        unproved = needs_proof and zone.flaw is not None and zone.flaw.no_denial and world.is_secure(zone)
        if validate and checking and unproved:
            _fail(reply, dns.edns.EDECode.NSEC_MISSING, f"{zone.name}: {_flaw(zone)}")
            break
        if found.kind is Kind.REFERRAL:
            _fail(reply, dns.edns.EDECode.NO_REACHABLE_AUTHORITY, f"{reply.name}: delegated out of this world")
            break
        if not reply.take(zone, found):
            break
    if validate and not reply.opted_out and reply.zones and all(world.is_secure(zone) for zone in reply.zones):
        reply.message.flags |= dns.flags.AD
    return seconds


def _fail(reply: Reply, code: dns.edns.EDECode, text: str) -> None:
    message = reply.message
    message.answer, message.authority = [], []
    message.set_rcode(dns.rcode.SERVFAIL)
    reply.zones.clear()
    if message.edns >= 0:
        message.use_edns(message.edns, message.ednsflags, message.payload, options=[dns.edns.EDEOption(code, text)])


def _flaw(zone: Zone | None) -> str:
    """What is wrong with the closest broken zone, this one or above it."""
    while zone is not None:
        if zone.flaw is not None:
            return zone.flaw.summary
        zone = zone.parent
    return ""
