"""One question to one upstream server, now, apart from all others: does it answer, how fast, and what of DNSSEC?

Owns that question. It goes from the control plane by its own socket, so it neither uses nor changes what the resolver
knows of the server; nothing of the reply is believed or kept. It must never ask anybody but who it is told to.
"""

import time
from typing import Final, Literal

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import msgspec

SECONDS: Final = 5.0
"""How long the reply is waited for: longer than any server worth having takes."""
PAYLOAD: Final = 1232
"""UDP payload that is offered, octets: no fragments."""

Signatures = Literal["yes", "no", "unknown"]


class Probed(msgspec.Struct, frozen=True):
    """What came of it."""

    answered: bool
    rtt_ms: float | None = None
    rcode: str | None = None
    recursion: bool | None = None
    """Whether it resolves names for us (RA)."""
    signatures: Signatures = "unknown"
    error: str | None = None


def ask(zone: str, address: str, port: int, transport: str, seconds: float = SECONDS) -> Probed:
    """Asks for the SOA record of the zone, with DO. What the network does is a result, never an error."""
    question = dns.message.make_query(zone, dns.rdatatype.SOA, want_dnssec=True, payload=PAYLOAD)
    began = time.monotonic()
    try:
        way = dns.query.tcp if transport == "tcp" else dns.query.udp
        reply = (
            way(question, address, seconds, port, ignore_unexpected=True)
            if way is dns.query.udp
            else way(question, address, seconds, port)
        )
    except dns.exception.Timeout:
        return Probed(False, error=f"no reply within {seconds:g} s")
    except OSError as error:
        return Probed(False, error=error.strerror or str(error))
    except (dns.exception.DNSException, EOFError) as error:
        return Probed(False, error=f"its reply makes no sense: {error}")
    rtt = (time.monotonic() - began) * 1000
    signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in (*reply.answer, *reply.authority))
    good = reply.rcode() == dns.rcode.NOERROR and bool(reply.answer)
    return Probed(
        True,
        round(rtt, 3),
        dns.rcode.to_text(reply.rcode()),
        bool(reply.flags & dns.flags.RA),
        "yes" if signed else "no" if zone == "." and good else "unknown",
    )
