"""A zone's keys and signatures.

Owns key material, DS and RRSIG records. Keys are made from the zone's name, so every start has the same ones, a trust
anchor can be kept, and nothing has to be stored; that also means that everybody knows them: they protect nothing.
Signatures are made when they are first asked for. It must never decide what is signed; `zone` does.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from runbound.lab.behaviour import DAY, Flaw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dns.rdtypes.ANY.DNSKEY import DNSKEY

ALGORITHMS: Final = {
    "ecdsap256sha256": dns.dnssectypes.Algorithm.ECDSAP256SHA256,
    "ecdsap384sha384": dns.dnssectypes.Algorithm.ECDSAP384SHA384,
    "ed25519": dns.dnssectypes.Algorithm.ED25519,
    "rsasha256": dns.dnssectypes.Algorithm.RSASHA256,
}
KEY_TTL: Final = 3600
WINDOW: Final = (-1, 14)
"""Validity of a signature in days from now."""
ZONE_KEY: Final = 256
ENTRY_POINT: Final = 257
RSA_BITS: Final = 2048
RSA_EXPONENT: Final = 65537

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class Keys:
    """The keys of one zone: a single one that signs everything, or one for the keys and one for the rest."""

    def __init__(self, origin: dns.name.Name, algorithm: str, *, split: bool, flaw: Flaw | None) -> None:
        self.origin = origin
        self.flaw = flaw
        number = ALGORITHMS[algorithm]
        roles = {"key": ENTRY_POINT, "zone": ZONE_KEY} if split else {"key": ENTRY_POINT}
        self._pairs: list[tuple[PrivateKey, DNSKEY]] = []
        for role, flags in roles.items():
            private = _private_key(algorithm, f"{origin} {algorithm} {role}")
            self._pairs.append((private, dns.dnssec.make_dnskey(private.public_key(), number, flags)))

    def dnskeys(self) -> dns.rdataset.Rdataset:
        """The DNSKEY set of the apex."""
        return dns.rdataset.from_rdata_list(KEY_TTL, [public for _, public in self._pairs])

    def ds(self) -> dns.rdataset.Rdataset:
        """The DS set for the parent: SHA-256 of the key that signs the keys."""
        ds: dns.rdata.Rdata = dns.dnssec.make_ds(self.origin, self._pairs[0][1], "SHA256")
        if self.flaw is not None and self.flaw.wrong_ds:
            ds = ds.replace(digest=hashlib.sha256(b"some other key").digest())
        return dns.rdataset.from_rdata_list(KEY_TTL, [ds])

    def sign(self, owner: dns.name.Name, rdataset: dns.rdataset.Rdataset, now: float) -> dns.rdataset.Rdataset | None:
        """The RRSIG set of one record set, valid at `now` (seconds since 1970). None where the zone's flaw drops it."""
        about_keys = rdataset.rdtype == dns.rdatatype.DNSKEY
        if self.flaw is not None and self.flaw.drop_signatures and not about_keys:
            return None
        private, public = self._pairs[0 if about_keys else -1]
        begin, end = self.flaw.window if self.flaw is not None and self.flaw.window is not None else WINDOW
        rrsig: dns.rdata.Rdata = dns.dnssec.sign(
            (owner, rdataset),
            private,
            self.origin,
            public,
            inception=int(now) + begin * DAY,
            expiration=int(now) + end * DAY,
        )
        if self.flaw is not None and self.flaw.corrupt_signatures and not about_keys:
            octets = rrsig.signature  # type: ignore[attr-defined]  # an RRSIG has one
            rrsig = rrsig.replace(signature=octets[:-1] + bytes([octets[-1] ^ 1]))
        return dns.rdataset.from_rdata_list(rdataset.ttl, [rrsig])


def _private_key(algorithm: str, seed: str) -> PrivateKey:
    stream = _octets(seed)
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(next(stream)[:32])
    if algorithm == "rsasha256":
        return _rsa_key(stream)
    curve = ec.SECP256R1() if algorithm == "ecdsap256sha256" else ec.SECP384R1()
    # The group's order is within a hair of 2 to the power of the key's size: one octet less is always below it.
    number = int.from_bytes(next(stream)[: curve.key_size // 8 - 1])
    return ec.derive_private_key(number, curve)


def _octets(seed: str) -> Iterator[bytes]:
    """Endless blocks of 64 octets that depend on the seed alone."""
    count = 0
    while True:
        yield hashlib.sha512(f"runbound lab {seed} {count}".encode()).digest()
        count += 1


def _rsa_key(stream: Iterator[bytes]) -> rsa.RSAPrivateKey:
    p, q = _prime(stream), _prime(stream)
    d = pow(RSA_EXPONENT, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(RSA_EXPONENT, p * q)
    )
    return numbers.private_key()


def _prime(stream: Iterator[bytes]) -> int:
    """A prime of half of RSA_BITS, its two highest bits set so that a product of two has all bits."""
    size = RSA_BITS // 2
    start = int.from_bytes(b"".join(next(stream) for _ in range(size // 512)))
    start |= 3 << (size - 2) | 1
    small = [n for n in range(3, 2000, 2) if all(n % m for m in range(3, math.isqrt(n) + 1, 2))]
    while True:
        fits = all(start % n for n in small) and math.gcd(start - 1, RSA_EXPONENT) == 1
        # Fermat with a few bases: good enough for a key that everybody knows anyway.
        if fits and all(pow(base, start - 1, start) == 1 for base in (2, 3, 5)):
            return start
        start += 2
