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

from runbound.lab.zone import DS, Found, Kind

if TYPE_CHECKING:
    from runbound.lab.answer import Reply
    from runbound.lab.behaviour import Spoiled
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
        fault = world.fault(zone)
        seconds += world.delay(zone)
        found = zone.find(reply.key, rdtype)
        if fault is None and world.is_secure(zone) and _kind(found) in zone.flaw.spoils:
            fault = zone.flaw
        if validate and checking and fault is not None:
            _fail(reply, dns.edns.EDECode(fault.ede), f"{zone.name}: {fault.summary}")
            break
        if found.kind is Kind.REFERRAL:
            _fail(reply, dns.edns.EDECode.NO_REACHABLE_AUTHORITY, f"{reply.name}: delegated out of this world")
            break
        if not reply.take(zone, found):
            break
    proved = not reply.opted_out and reply.zones and all(world.is_secure(zone) for zone in reply.zones)
    if validate and checking and proved:
        reply.message.flags |= dns.flags.AD
    return seconds


def _fail(reply: Reply, code: dns.edns.EDECode, text: str) -> None:
    message = reply.message
    message.answer, message.authority = [], []
    message.set_rcode(dns.rcode.SERVFAIL)
    reply.zones.clear()
    if message.edns >= 0:
        message.use_edns(message.edns, message.ednsflags, message.payload, options=[dns.edns.EDEOption(code, text)])


def _kind(found: Found) -> Spoiled:
    """What kind of reply a search ends in, as flaws count them."""
    if found.kind is Kind.NXDOMAIN:
        return "nxdomain"
    if found.kind is Kind.NODATA:
        return "nodata"
    return "answer" if found.encloser is None else "wildcard"
