"""A zone's keys and signatures.

Owns key material, DS and RRSIG records. Keys are made from the zone's name, so every start has the same ones, a trust
anchor can be kept, and nothing has to be stored; that also means that everybody knows them: they protect nothing.
Signatures are made when they are first asked for. It must never decide what is signed; `zone` does.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from runbound.lab.behaviour import DAY, Flaw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runbound.lab.schema import ZoneEntry

ALGORITHMS: Final = {
    "rsasha1": 5,
    "rsasha1-nsec3": 7,
    "rsasha256": 8,
    "rsasha512": 10,
    "ecdsap256sha256": 13,
    "ecdsap384sha384": 14,
    "ed25519": 15,
    "ed448": 16,
    "unknown": 200,
}
DIGESTS: Final = {"sha1": 1, "sha256": 2, "sha384": 4, "unknown": 200}
UNKNOWN: Final = "unknown"
"""An algorithm or digest that nobody has assigned, so nobody understands it."""
KEY_TTL: Final = 3600
WINDOW: Final = (-1, 14)
"""Validity of a signature in days from now."""
ZONE_KEY: Final = 256
ENTRY_POINT: Final = 257
REVOKE: Final = 0x0080
RSA_BITS: Final = 2048
RSA_EXPONENT: Final = 65537
ED25519_SIGNATURE: Final = 64

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey

# dnspython leaves the arguments of these without types.
_DNSKEY: Callable[..., DNSKEY] = DNSKEY
_DS: Callable[..., dns.rdata.Rdata] = DS
_RRSIG: Callable[..., dns.rdata.Rdata] = RRSIG


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One key of a zone and what it is for."""

    private: PrivateKey | None
    """None: of an algorithm nobody understands; its signatures are made up."""
    public: DNSKEY
    published: bool = True
    in_ds: bool = False
    signs_keys: bool = False
    signs_rest: bool = False


class Keys:
    """The keys of one zone: a single one that signs everything, or one for the keys and one for the rest; more of them
    while keys are rolled."""

    def __init__(self, origin: dns.name.Name, entry: ZoneEntry, flaw: Flaw) -> None:
        self.origin = origin
        self._flaw = flaw
        self._digests = entry.digests
        self._pairs = self._make(entry)
        self._decoys = self._make_decoys()

    def _make(self, entry: ZoneEntry) -> list[Pair]:
        flaw, algorithm, roll = self._flaw, entry.algorithm, entry.roll
        split = entry.split or flaw.keys_by_zone_key or flaw.decoys > 0 or roll in ("pre-publish", "double-signature")
        pairs = [
            self._pair(
                algorithm,
                "key",
                ENTRY_POINT,
                in_ds=not flaw.old_ds,
                signs_keys=not flaw.keys_by_zone_key,
                signs_rest=not split,
            )
        ]
        if split:
            pairs.append(self._pair(algorithm, "zone", ZONE_KEY, signs_keys=flaw.keys_by_zone_key, signs_rest=True))
        if roll in ("pre-publish", "double-signature"):
            pairs.append(self._pair(algorithm, "next", ZONE_KEY, signs_rest=roll == "double-signature"))
        if roll == "double-ds" or flaw.old_ds:
            pairs.append(self._pair(algorithm, "other", ENTRY_POINT, in_ds=True, published=False))
        if roll == "revoked":
            pairs.append(self._pair(algorithm, "old", ENTRY_POINT | REVOKE, signs_keys=True))
        if entry.also:
            pairs.append(self._pair(entry.also, "key", ENTRY_POINT, in_ds=True))
        return pairs

    def _pair(
        self,
        algorithm: str,
        role: str,
        flags: int,
        *,
        in_ds: bool = False,
        signs_keys: bool = False,
        signs_rest: bool = False,
        published: bool = True,
    ) -> Pair:
        seed = f"{self.origin} {algorithm} {role}"
        number, flags = ALGORITHMS[algorithm], flags ^ self._flaw.flags_xor
        if algorithm == UNKNOWN:
            private, octets = None, next(_octets(seed))
        else:
            private = _private_key(algorithm, seed)
            octets = dns.dnssec.make_dnskey(private.public_key(), dns.dnssectypes.Algorithm(number)).key
        return Pair(
            private=private,
            public=_dnskey(flags, number, octets, self._flaw.protocol),
            published=published,
            in_ds=in_ds,
            signs_keys=signs_keys,
            signs_rest=signs_rest,
        )

    def _make_decoys(self) -> list[DNSKEY]:
        """Keys that are points of the curve, so that trying them costs what a real one costs, all with one key tag."""
        if not self._flaw.decoys:
            return []
        wanted = dns.dnssec.key_id(self._pairs[-1].public)
        found: list[DNSKEY] = []
        for octets in _octets(f"{self.origin} decoy"):
            # The tag is a sum of words with their carry (RFC 4034 B): the last word makes it what it has to be.
            begin = _dnskey(ZONE_KEY, ALGORITHMS["ed25519"], octets[:30] + bytes(2))
            word = wanted - dns.dnssec.key_id(begin)
            for carry in (0, 1):
                key = _dnskey(ZONE_KEY, ALGORITHMS["ed25519"], octets[:30] + ((word - carry) % 0x10000).to_bytes(2))
                if dns.dnssec.key_id(key) == wanted and _is_point(key.key):
                    found.append(key)
                    break
            if len(found) == self._flaw.decoys:
                return found
        raise AssertionError  # the octets never end

    def dnskeys(self) -> dns.rdataset.Rdataset:
        """The DNSKEY set of the apex."""
        keys = [pair.public for pair in self._pairs if pair.published]
        return dns.rdataset.from_rdata_list(KEY_TTL, [*keys, *self._decoys])

    def ds(self) -> dns.rdataset.Rdataset:
        """The DS set for the parent: digests of the keys that sign the keys."""
        found = []
        for pair in self._pairs:
            if pair.in_ds:
                public = pair.public
                tag, algorithm = dns.dnssec.key_id(public), self._flaw.ds_algorithm or int(public.algorithm)
                for digest in self._digests:
                    octets = self._digest(digest, public)
                    found.append(_DS(dns.rdataclass.IN, dns.rdatatype.DS, tag, algorithm, DIGESTS[digest], octets))
        return dns.rdataset.from_rdata_list(KEY_TTL, found)

    def _digest(self, digest: str, public: DNSKEY) -> bytes:
        name, key = self.origin.canonicalize().to_wire(), public.to_wire()
        assert name is not None
        assert key is not None
        if digest in self._flaw.wrong_digests:
            key = b"some other key"
        return hashlib.new("sha256" if digest == UNKNOWN else digest, name + key).digest()

    def sign(
        self,
        owner: dns.name.Name,
        rdataset: dns.rdataset.Rdataset,
        now: float,
    ) -> dns.rdataset.Rdataset | None:
        """The RRSIG set of one record set, valid at `now` (seconds since 1970). None where the zone's flaw drops it."""
        flaw, about_keys = self._flaw, rdataset.rdtype == dns.rdatatype.DNSKEY
        if flaw.drop_signatures and not about_keys:
            return None
        if flaw.decoys and not about_keys:
            return dns.rdataset.from_rdata_list(rdataset.ttl, self._decoy_signatures(owner, rdataset, now))
        made = [
            self._sign(pair, owner, rdataset, now)
            for pair in self._pairs
            if (pair.signs_keys if about_keys else pair.signs_rest)
        ]
        return dns.rdataset.from_rdata_list(rdataset.ttl, made)

    def _sign(self, pair: Pair, owner: dns.name.Name, rdataset: dns.rdataset.Rdataset, now: float) -> dns.rdata.Rdata:
        flaw, about_keys = self._flaw, rdataset.rdtype == dns.rdatatype.DNSKEY
        begin, end = (flaw.keys_window if about_keys else None) or flaw.window or WINDOW
        times = (int(now) + begin * DAY, int(now) + end * DAY)
        if pair.private is None:
            return self._made_up(pair.public, owner, rdataset, times, next(_octets(f"{owner} {rdataset.rdtype}")))
        if flaw.as_wildcard and owner != self.origin and rdataset.rdtype in (dns.rdatatype.A, dns.rdatatype.TXT):
            owner = dns.name.Name((b"*", *owner.labels[1:]))
        rrsig: dns.rdata.Rdata = dns.dnssec.sign(
            (owner, rdataset),
            pair.private,
            self.origin if about_keys or not flaw.signer else dns.name.from_text(flaw.signer),
            pair.public,
            inception=times[0],
            expiration=times[1],
            policy=dns.dnssec.allow_all_policy,
        )
        if flaw.corrupt_signatures and not about_keys:
            octets = rrsig.signature  # type: ignore[attr-defined]  # an RRSIG has one
            rrsig = rrsig.replace(signature=octets[:-1] + bytes([octets[-1] ^ 1]))
        return rrsig

    def _decoy_signatures(
        self, owner: dns.name.Name, rdataset: dns.rdataset.Rdataset, now: float
    ) -> list[dns.rdata.Rdata]:
        """Signatures that cost a whole verification with each key of their tag, and fit none. A denial of three sets
        has room for so many."""
        times = (int(now) + WINDOW[0] * DAY, int(now) + WINDOW[1] * DAY)
        stream, count = _octets(f"{owner} {rdataset.rdtype}"), len(self._decoys) // 4
        # The second half is a number below the order of the group, or the signature would be refused at a glance.
        return [
            self._made_up(self._decoys[0], owner, rdataset, times, octets[: ED25519_SIGNATURE - 1] + b"\0")
            for octets, _ in zip(stream, range(count), strict=False)
        ]

    def _made_up(
        self,
        key: DNSKEY,
        owner: dns.name.Name,
        rdataset: dns.rdataset.Rdataset,
        times: tuple[int, int],
        signature: bytes,
    ) -> dns.rdata.Rdata:
        return _RRSIG(
            dns.rdataclass.IN,
            dns.rdatatype.RRSIG,
            rdataset.rdtype,
            key.algorithm,
            len(owner.labels) - 1 - owner.is_wild(),
            rdataset.ttl,
            times[1],
            times[0],
            dns.dnssec.key_id(key),
            self.origin,
            signature,
        )


def _dnskey(flags: int, algorithm: int, octets: bytes, protocol: int = 3) -> DNSKEY:
    return _DNSKEY(dns.rdataclass.IN, dns.rdatatype.DNSKEY, flags, protocol, algorithm, octets)


def _is_point(octets: bytes) -> bool:
    """Whether 32 octets are a point of Ed25519 (RFC 8032 5.1.3)."""
    prime = 2**255 - 19
    y = int.from_bytes(octets, "little") & (2**255 - 1)
    if y >= prime:
        return False
    d = -121665 * pow(121666, -1, prime)
    square = (y * y - 1) * pow(d * y * y + 1, -1, prime) % prime
    return pow(square, (prime - 1) // 2, prime) in (0, 1)


def _private_key(algorithm: str, seed: str) -> PrivateKey:
    stream = _octets(seed)
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(next(stream)[:32])
    if algorithm == "ed448":
        return ed448.Ed448PrivateKey.from_private_bytes(next(stream)[:57])
    if algorithm.startswith("rsa"):
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
