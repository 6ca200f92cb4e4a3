"""What a right validator makes of the questions that the zones suggest: the lab's validating resolver is asked.

Owns the rows of the table that `docs/reference/lab.md` shows and the tests hold real resolvers to. It must never start
anything, nor make a signature: the verdicts follow from what the world's file says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode

from runbound.lab.server import Responder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbound.lab.world import World


class Row(NamedTuple):
    """One question and its verdict."""

    zone: str
    teaches: str
    name: str
    rdtype: str
    rcode: str
    verdict: str
    """"secure", "insecure", "bogus" or "lost" (nobody answers)."""
    ede: int
    """The extended error of a SERVFAIL, 0 for none."""


def rows(world: World) -> Iterator[Row]:
    """A row for each question that a zone suggests."""
    validator = Responder(world, validate=True)
    for zone in world.zones.values():
        for question in zone.entry.ask:
            short, rdtype = question.split()
            name = dns.name.from_text(short, zone.name)
            query = dns.message.make_query(name, rdtype, use_edns=0)
            query.flags |= dns.flags.AD
            answer = validator.reply(query.to_wire(), over_tcp=True)
            if answer is None:
                continue
            reply = dns.message.from_wire(answer[1])
            ede = next((int(option.code) for option in reply.options if isinstance(option, dns.edns.EDEOption)), 0)
            if reply.rcode() == dns.rcode.SERVFAIL:
                verdict = "lost" if ede in (0, dns.edns.EDECode.NO_REACHABLE_AUTHORITY) else "bogus"
            else:
                verdict = "secure" if reply.flags & dns.flags.AD else "insecure"
            rcode = dns.rcode.to_text(reply.rcode())
            yield Row(zone.name.to_text(), zone.entry.teaches, name.to_text(), rdtype, rcode, verdict, ede)
