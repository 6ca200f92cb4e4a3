"""How servers and names misbehave, and how a zone's DNSSEC is broken: the words the world's file has for it.

Owns the two tables of faults. A fault of a server or of a name is a field of `Behaviour` that `server` acts on; a fault
of a zone's signatures is one entry of `FLAWS`, asked where keys, signatures and proofs are made. A new kind of broken
zone is one more entry. It must never touch a packet.
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


Spoiled = Literal["answer", "nodata", "nxdomain", "wildcard"]
"""A kind of reply: records at the name itself, no records of the type, no name, records of a wildcard."""
EVERYTHING: Final[frozenset[Spoiled]] = frozenset(("answer", "nodata", "nxdomain", "wildcard"))
DENIALS: Final[frozenset[Spoiled]] = EVERYTHING - {"answer"}


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which the DNSSEC of a zone is wrong, or looks as if it were. Every field is a hook that `keys`,
    `zone`, `denial` and `answer` ask; `spoils` and `ede` are what a right validator makes of it."""

    summary: str
    spoils: frozenset[Spoiled] = EVERYTHING
    """Replies that are bogus. Without "answer" the zone itself is good."""
    ede: int = 6
    """The extended error of the SERVFAIL (RFC 8914 4); 0 if nothing is spoiled."""

    # Signatures
    window: tuple[int, int] | None = None
    """Inception and expiration of every signature, in days from now."""
    keys_window: tuple[int, int] | None = None
    """The same for the signature of the DNSKEY set alone."""
    drop_signatures: bool = False
    """Nothing but the DNSKEY set carries a signature."""
    corrupt_signatures: bool = False
    """Every signature but that of the DNSKEY set has one wrong octet."""
    by_parent: bool = False
    """All but the DNSKEY set is signed by the zone above, in its own name. Whoever has the key above may speak for the
    zone, so validators believe it, although RFC 4035 5.3.1 wants the name of the zone itself."""
    signer: str = ""
    """The name in which all but the DNSKEY set is signed."""
    as_wildcard: bool = False
    """Signatures count a label less, as if the records came from a wildcard."""
    ttl_s: int = 0
    """Seconds by which answers live longer than their signatures say."""

    # Keys and DS
    wrong_digests: tuple[str, ...] = ()
    """Digests in the DS set that fit no key."""
    old_ds: bool = False
    """The DS record is that of a key that is no longer there."""
    ds_algorithm: int = 0
    """The algorithm that the DS record names instead of the key's."""
    flags_xor: int = 0
    """Flags of every key that are turned over."""
    protocol: int = 3
    """Of every key."""
    keys_by_zone_key: bool = False
    """The DNSKEY set is signed by the key that no DS record names."""
    hide_keys: bool = False
    """The servers know of no DNSKEY set."""
    decoys: int = 0
    """So many keys more, all with the key tag of the one that signs, and as many signatures that are theirs by tag."""

    # Denial
    denial: Literal[
        "",
        "none",
        "elsewhere",
        "no-encloser",
        "no-cover",
        "no-wildcard",
        "unproved-wildcard",
        "opt-out",
        "wrong-hash",
        "unknown-hash",
    ] = ""
    """What is wrong with the proofs; see `denial`."""


SOUND: Final = Flaw(summary="", spoils=frozenset(), ede=0)
"""Nothing is wrong."""

FLAWS: Final = {
    "expired": Flaw(summary="every signature ended a week ago", window=(-30, -7), ede=7),
    "not-yet-valid": Flaw(summary="every signature begins in a week", window=(7, 30), ede=8),
    "backwards": Flaw(summary="every signature ends before it begins", window=(7, -7), ede=25),
    "keys-expired": Flaw(summary="the signature of the keys ended a week ago", keys_window=(-30, -7), ede=7),
    "missing-rrsig": Flaw(summary="records come without their signatures", drop_signatures=True, ede=10),
    "bad-signature": Flaw(summary="signatures do not fit their records", corrupt_signatures=True),
    "by-parent": Flaw(
        summary="signed with the key and in the name of the zone above", by_parent=True, spoils=frozenset(), ede=0
    ),
    "by-stranger": Flaw(summary="signed in the name of another zone", signer="stranger.lab."),
    "as-wildcard": Flaw(
        summary="signed as if from a wildcard, without proof that the name does not exist",
        spoils=frozenset(("answer",)),
        as_wildcard=True,
    ),
    "long-ttl": Flaw(summary="records live longer than their signatures say", ttl_s=500_000, spoils=frozenset(), ede=0),
    "wrong-ds": Flaw(summary="the parent's DS fits no key of the zone", wrong_digests=("sha256",), ede=9),
    "stale-ds": Flaw(summary="the parent's DS is that of a key that was rolled away", old_ds=True, ede=9),
    "ds-algorithm": Flaw(summary="the parent's DS names another algorithm than the key", ds_algorithm=8, ede=9),
    "weak-digest": Flaw(
        summary="of two DS the SHA-1 one fits, the SHA-256 one does not",
        spoils=frozenset(),
        wrong_digests=("sha256",),
        ede=0,
    ),
    "revoked": Flaw(summary="the only key is revoked", flags_xor=0x0080),
    "no-zone-key": Flaw(summary="the keys are not marked as keys of a zone", flags_xor=0x0100, ede=11),
    "protocol": Flaw(summary="the keys are for another protocol than DNSSEC", protocol=4),
    "keys-by-zone-key": Flaw(
        summary="the keys are signed, but not by the one that the DS names", keys_by_zone_key=True, ede=9
    ),
    "no-dnskey": Flaw(summary="there is a DS, and no DNSKEY", hide_keys=True, ede=9),
    "keytrap": Flaw(summary="512 keys with one key tag, and 128 signatures to try on each", decoys=512),
    "colliding": Flaw(summary="100 keys with one key tag, and 25 signatures to try on each", decoys=100),
    "missing-denial": Flaw(
        summary="what does not exist is denied without proof", spoils=DENIALS, denial="none", ede=12
    ),
    "denial-elsewhere": Flaw(
        summary="what does not exist is denied with records about other names",
        spoils=DENIALS,
        denial="elsewhere",
    ),
    "no-encloser": Flaw(
        summary="NSEC3 proofs lack the closest encloser",
        spoils=frozenset(("nxdomain",)),
        denial="no-encloser",
    ),
    "no-cover": Flaw(
        summary="NSEC3 proofs lack the record that covers the next closer name",
        spoils=frozenset(("nxdomain",)),
        denial="no-cover",
    ),
    "no-wildcard": Flaw(
        summary="nobody says that there is no wildcard",
        spoils=frozenset(("nxdomain",)),
        denial="no-wildcard",
    ),
    "unproved-wildcard": Flaw(
        summary="wildcards stand for names, and nobody says that those do not exist",
        spoils=frozenset(("wildcard",)),
        denial="unproved-wildcard",
    ),
    "opt-out-data": Flaw(
        summary="opt-out spans over names that are no delegations", spoils=frozenset(), denial="opt-out", ede=0
    ),
    "wrong-hash": Flaw(
        summary="NSEC3 records name another salt than was used", spoils=DENIALS, denial="wrong-hash", ede=6
    ),
    "unknown-hash": Flaw(
        summary="NSEC3 records with a hash algorithm that nobody knows", spoils=DENIALS, denial="unknown-hash", ede=6
    ),
}
"""What `broken = "…"` of a zone may say."""
