"""How servers and names misbehave, and how a zone's DNSSEC is broken: the words the world's file has for it.

Owns the two tables of faults. A fault of a server or of a name is a field of `Behaviour` that `server` acts on; a fault
of a zone's signatures is one entry of `FLAWS` that `keys` asks while it signs. A new kind of broken zone is one more
entry. It must never touch a packet.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

DAY: Final = 86400

Seconds = Annotated[float, msgspec.Meta(ge=0, le=60)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a server, or one name, misbehaves. What is not written is as it should be."""

    delay: Seconds = 0.0
    """Seconds before an answer leaves."""
    loss: Share = 0.0
    """Share of UDP questions that are dropped, 0 to 1."""
    silent: bool = False
    """No answer at all, over UDP and TCP."""
    truncate: bool = False
    """Over UDP an empty answer with TC, so the client must come back over TCP."""
    rcode: Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"] = "NOERROR"
    """Anything but NOERROR is the whole answer."""
    upward: bool = False
    """Lame in the old way: without AA, a referral to the root."""
    tcp: bool = True
    """False: connections are refused."""
    edns: Literal["yes", "formerr", "ignored"] = "yes"
    """`formerr`: a server older than EDNS that takes it for an error; `ignored`: one that does not see it."""

    @property
    def fatal(self) -> bool:
        """Whether nobody ever gets an answer of use."""
        return self.silent or self.upward or self.loss == 1 or self.rcode not in ("NOERROR", "NXDOMAIN")


PLAIN: Final = Behaviour()


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which the DNSSEC of a zone is wrong. Every field is a hook that `keys` and `zone` ask."""

    summary: str
    window: tuple[int, int] | None = None
    """Inception and expiration of every signature, in days from now."""
    drop_signatures: bool = False
    """Nothing but the DNSKEY set carries a signature."""
    corrupt_signatures: bool = False
    """Every signature but that of the DNSKEY set has one wrong octet."""
    wrong_ds: bool = False
    """The digest of the DS record fits no key."""
    no_denial: bool = False
    """NSEC and NSEC3 records are left out of answers."""


FLAWS: Final = {
    "expired": Flaw(summary="every signature ended a week ago", window=(-30, -7)),
    "not-yet-valid": Flaw(summary="every signature begins in a week", window=(7, 30)),
    "wrong-ds": Flaw(summary="the parent's DS fits no key of the zone", wrong_ds=True),
    "missing-rrsig": Flaw(summary="records come without their signatures", drop_signatures=True),
    "bad-signature": Flaw(summary="signatures do not fit their records", corrupt_signatures=True),
    "missing-denial": Flaw(summary="what does not exist is denied without proof", no_denial=True),
}
"""What `broken = "…"` of a zone may say."""
