"""Proofs that something is not there: NSEC (RFC 4035 3.1.3), NSEC3 (RFC 5155 7.2) with opt-out, compact (RFC 9824).

Owns the order of a zone's names, which records of it a negative answer needs, and what a flaw leaves out or puts in
their place. The order is made at the first proof; the records are made one by one. It must never sign; whoever puts a
proof into an answer does.
"""

from __future__ import annotations

import base64
import bisect
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
from dns.rdtypes.ANY.NSEC import NSEC, Bitmap
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.NSEC3PARAM import NSEC3PARAM

from runbound.lab.names import Key, name_of

if TYPE_CHECKING:
    from runbound.lab.zone import Zone

SHA1: Final = 1
OTHER_HASH: Final = 2
"""A hash algorithm that nobody has assigned."""
OPT_OUT: Final = 1
MAX_ITERATIONS: Final = 150
"""More, and validators take a zone for insecure (RFC 9276 3.2; `val-nsec3-keysize-iterations`)."""
NXNAME: Final = dns.rdatatype.NXNAME
"""The type that says that there is no such name (RFC 9824 2)."""
TO_BASE32HEX: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv")

# dnspython leaves the arguments of these without types.
_NSEC: Callable[..., dns.rdata.Rdata] = NSEC
_NSEC3: Callable[..., dns.rdata.Rdata] = NSEC3
_NSEC3PARAM: Callable[..., dns.rdata.Rdata] = NSEC3PARAM

Proof = tuple[Key, dns.rdataset.Rdataset]
"""A record of the chain and its owner."""


class Chain:
    """The chain of one signed zone, of the kind its entry names."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._entry = zone.entry
        self._wrong = zone.flaw.denial
        self.opt_out = self._entry.sign == "nsec3-optout" or self._wrong == "opt-out"
        self._salt = bytes.fromhex(self._entry.salt)
        self._names: list[Key] = []
        self._hashes: list[bytes] = []
        self._by_hash: dict[bytes, Key] = {}

    @property
    def is_nsec3(self) -> bool:
        """Whether names are hashed."""
        return self._entry.sign in ("nsec3", "nsec3-optout")

    @property
    def proves_little(self) -> bool:
        """Whether its proofs show no more than that an answer may be insecure."""
        return self.opt_out or (self.is_nsec3 and self._entry.iterations > MAX_ITERATIONS)

    def parameters(self) -> dns.rdataset.Rdataset | None:
        """The NSEC3PARAM set of the apex."""
        if not self.is_nsec3:
            return None
        rdata = _NSEC3PARAM(dns.rdataclass.IN, dns.rdatatype.NSEC3PARAM, SHA1, 0, self._entry.iterations, self._salt)
        return dns.rdataset.from_rdata_list(0, [rdata])

    # --------------------------------------------------------------------------------------------- what has to be shown

    def no_data(self, key: Key) -> list[Proof]:
        """The name exists, the type does not; also a delegation without DS."""
        if not self.is_nsec3:
            return [self._nsec(key)]
        if (match := self._match(key)) is not None:
            return [match]
        return self._closest(key)

    def no_name(self, key: Key, encloser: Key) -> list[Proof]:
        """Neither the name exists nor a wildcard for it."""
        wildcard = (*encloser, b"*")
        if self._zone.compact:
            return [self._black_lie(key, [NXNAME])]
        if not self.is_nsec3:
            return _once([self._nsec(key), *([] if self._wrong == "no-wildcard" else [self._nsec(wildcard)])])
        return _once([*self._closest(key), *([] if self._wrong == "no-wildcard" else [self._cover(wildcard)])])

    def wildcard(self, key: Key, encloser: Key) -> list[Proof]:
        """The answer comes from a wildcard, because the name itself does not exist."""
        if self._wrong == "unproved-wildcard":
            return []
        if not self.is_nsec3:
            return [self._nsec(key)]
        return [self._cover(key[: len(encloser) + 1])]

    def wildcard_no_data(self, key: Key, encloser: Key) -> list[Proof]:
        """A wildcard stands for the name, but has no such type."""
        wildcard = (*encloser, b"*")
        if self._zone.compact:
            return [self._black_lie(key, self._zone.types(wildcard))]
        if not self.is_nsec3:
            return _once([self._nsec(key), self._nsec(wildcard)])
        match = self._match(wildcard)
        return _once([*self._closest(key), *([] if match is None else [match])])

    # ------------------------------------------------------------------------------------------------------- plain NSEC

    def nsec_at(self, key: Key) -> dns.rdataset.Rdataset | None:
        """The NSEC record of a name, if it owns one."""
        owner, rdataset = self._nsec(key)
        return rdataset if owner == key else None

    def _nsec(self, key: Key) -> Proof:
        """The record at a name, or the one whose gap the name falls into."""
        if self._zone.compact:
            return self._black_lie(key, self._zone.types(key))
        if not self._names:
            self._names = sorted(self._zone.authoritative())
        at = bisect.bisect_right(self._names, key) - (2 if self._wrong == "elsewhere" else 1)
        owner, following = self._names[at], self._names[(at + 1) % len(self._names)]
        types = [*self._zone.types(owner), dns.rdatatype.RRSIG, dns.rdatatype.NSEC]
        rdata = _NSEC(dns.rdataclass.IN, dns.rdatatype.NSEC, name_of(following), Bitmap.from_rdtypes(types).windows)
        return owner, dns.rdataset.from_rdata_list(self._zone.negative_ttl, [rdata])

    def _black_lie(self, key: Key, types: list[dns.rdatatype.RdataType]) -> Proof:
        """The record that a compact denial has at every name, up to the next name there could be (RFC 9824 3)."""
        bitmap = Bitmap.from_rdtypes([*types, dns.rdatatype.RRSIG, dns.rdatatype.NSEC]).windows
        rdata = _NSEC(dns.rdataclass.IN, dns.rdatatype.NSEC, name_of((*key, b"\0")), bitmap)
        return key, dns.rdataset.from_rdata_list(self._zone.negative_ttl, [rdata])

    # ------------------------------------------------------------------------------------------------------------ NSEC3

    def leaves_out(self, key: Key) -> bool:
        """Whether a name that exists has no record in the chain that proves, because opt-out spares it one."""
        return self.proves_little and (not self.opt_out or self._match(key) is None)

    def _closest(self, key: Key) -> list[Proof]:
        """The closest encloser that can be proved, and that the name next below it does not exist (or was left out)."""
        depth = len(key) - 1
        while (match := self._match(key[:depth])) is None:
            depth -= 1
        proof = [match, self._cover(key[: depth + 1])]
        return {"no-encloser": proof[1:], "no-cover": proof[:1]}.get(self._wrong, proof)

    def _match(self, key: Key) -> Proof | None:
        self._order()
        digest = self._hash(key)
        return self._nsec3(bisect.bisect_left(self._hashes, digest)) if digest in self._by_hash else None

    def _cover(self, key: Key) -> Proof:
        self._order()
        return self._nsec3(bisect.bisect_right(self._hashes, self._hash(key)) - 1)

    def _nsec3(self, at: int) -> Proof:
        digest, following = self._hashes[at], self._hashes[(at + 1) % len(self._hashes)]
        key = self._by_hash[digest]
        types = self._zone.types(key)
        if key == self._zone.origin:
            types = [*types, dns.rdatatype.NSEC3PARAM]
        if types and types != [dns.rdatatype.NS]:  # nothing at an empty non-terminal or a plain delegation is signed
            types = [*types, dns.rdatatype.RRSIG]
        rdata = _NSEC3(
            dns.rdataclass.IN,
            dns.rdatatype.NSEC3,
            OTHER_HASH if self._wrong == "unknown-hash" else SHA1,
            OPT_OUT if self.opt_out else 0,
            self._entry.iterations,
            self._salt + b"!" if self._wrong == "wrong-hash" else self._salt,
            following,
            Bitmap.from_rdtypes(types).windows,
        )
        owner = (*self._zone.origin, base64.b32encode(digest).translate(TO_BASE32HEX))
        return owner, dns.rdataset.from_rdata_list(self._zone.negative_ttl, [rdata])

    def _order(self) -> None:
        """Hashes every name that has a record in the chain, empty non-terminals with them (RFC 5155 7.1)."""
        if self._hashes:
            return
        zone = self._zone
        for key in zone.authoritative():
            if self.opt_out and zone.is_cut(key) and not zone.has_ds(key):
                continue
            if self._wrong == "opt-out" and key != zone.origin:
                continue
            for depth in range(len(zone.origin), len(key) + 1):
                self._by_hash.setdefault(self._hash(key[:depth]), key[:depth])
        self._hashes = sorted(self._by_hash)

    def _hash(self, key: Key) -> bytes:
        octets = name_of(key).to_wire()
        assert octets is not None
        digest = hashlib.sha1(octets + self._salt, usedforsecurity=False).digest()
        for _ in range(self._entry.iterations):
            digest = hashlib.sha1(digest + self._salt, usedforsecurity=False).digest()
        return digest


def _once(proofs: list[Proof]) -> list[Proof]:
    """Each record once, in order."""
    return list({owner: (owner, rdataset) for owner, rdataset in proofs}.values())
