"""One zone: its records, how a name is looked up in it, and its signatures.

Owns the search of RFC 1034 4.3.2 with DNAME (RFC 6672) and wildcards (RFC 4592), names made by a rule, delegations to
other zones of the world, and the cache of signatures. `denial` proves what is not there. It must never know a packet.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.name
import dns.rdataclass
import dns.rdataset
import dns.rdatatype

from runbound.lab.behaviour import DAY, FLAWS, SOUND
from runbound.lab.denial import Chain
from runbound.lab.names import Key, key_of, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runbound.lab.keys import Keys
    from runbound.lab.schema import GenerateEntry, ZoneEntry

UNKNOWN = "unknown"
NOT_BELIEVED = {UNKNOWN, "rsasha1", "rsasha1-nsec3"}
"""Algorithms that count as none: the last two by RFC 9905."""
Node = dict[dns.rdatatype.RdataType, dns.rdataset.Rdataset]

SOA, NS, DS = dns.rdatatype.SOA, dns.rdatatype.NS, dns.rdatatype.DS
CNAME, DNAME, DNSKEY = dns.rdatatype.CNAME, dns.rdatatype.DNAME, dns.rdatatype.DNSKEY


class Kind(enum.Enum):
    """What a search found."""

    ANSWER = enum.auto()
    CNAME = enum.auto()
    DNAME = enum.auto()
    REFERRAL = enum.auto()
    NODATA = enum.auto()
    NXDOMAIN = enum.auto()


@dataclass(frozen=True)
class Found:
    """The end of a search: where the records lie, and what a proof about the name needs."""

    kind: Kind
    owner: Key
    """Where `sets` lie: the name itself, a wildcard, a delegation, a DNAME's owner."""
    sets: list[dns.rdataset.Rdataset] = field(default_factory=list)
    encloser: Key | None = None
    """The closest encloser, when the name itself does not exist."""


class Rule:
    """Names made by a rule, such as host-0 to host-9999, which are never all held as records."""

    def __init__(self, origin: Key, entry: GenerateEntry) -> None:
        first, *rest = dns.name.from_text(entry.name, dns.name.Name(())).labels
        self.base: Key = origin + tuple(label.lower() for label in reversed(rest))
        self._before, _, self._after = first.lower().partition(b"{n}")
        self._entry = entry
        self.rdtype = dns.rdatatype.from_text(entry.type)

    def node(self, key: Key) -> Node | None:
        """The records of a name of the rule; None for any other name."""
        label = key[-1]
        digits = label[len(self._before) : len(label) - len(self._after)]
        if key[:-1] != self.base or self._before + digits + self._after != label or not digits.isdigit():
            return None
        n = int(digits)
        if n >= self._entry.count or str(n).encode() != digits:
            return None
        value = self._entry.value.format(n=n, a=n % 256, b=n // 256 % 256, c=n // 65536)
        rdataset = dns.rdataset.from_text("IN", self.rdtype, self._entry.ttl, value)
        return {self.rdtype: rdataset}

    def keys(self) -> Iterator[Key]:
        """Every name of the rule."""
        for n in range(self._entry.count):
            yield (*self.base, self._before + str(n).encode() + self._after)


class Zone:
    """A zone of the world. `children`, `glue` and `parent` are filled in when the world is put together."""

    def __init__(self, origin: Key, entry: ZoneEntry, clock: Callable[[], float]) -> None:
        self.origin = origin
        self.name = name_of(origin)
        self.entry = entry
        self.signed = entry.sign != "no"
        self.flaw = FLAWS[entry.broken] if entry.broken else SOUND
        self.data: dict[Key, Node] = {}
        self.written: set[Key] = set()
        """Names whose records stand in the zone's text."""
        self.rules = [Rule(origin, rule) for rule in entry.generate]
        self.parent: Zone | None = None
        self.children: dict[Key, Zone] = {}
        self.glue: dict[Key, list[tuple[Key, Node]]] = {}
        """Of each delegation to a zone of the world: names of its servers and their addresses."""
        self._clock = clock
        self._keys: Keys | None = None
        self._signatures: dict[tuple[Key, dns.rdatatype.RdataType], dns.rdataset.Rdataset | None] = {}
        self._signed_on = 0
        self._chain: Chain | None = None
        self._between: set[Key] | None = None

    # -------------------------------------------------------------------------------------------------------- searching

    def find(self, key: Key, rdtype: dns.rdatatype.RdataType) -> Found:
        """Looks a name up. The name must be at or below the origin."""
        for depth in range(len(self.origin), len(key) + 1):
            here = key[:depth]
            node = self.data.get(here)
            if node is None:
                continue
            whole = depth == len(key)
            if NS in node and depth > len(self.origin) and not (whole and rdtype == DS):
                return Found(Kind.REFERRAL, here, [node[NS]])
            if DNAME in node and not whole:
                return Found(Kind.DNAME, here, [node[DNAME]])
        node = self.node(key)
        if node is not None:
            return self._in_node(node, key, rdtype, None)
        encloser = key[:-1]
        while self.node(encloser) is None:
            encloser = encloser[:-1]
        wildcard = (*encloser, b"*")
        node = self.node(wildcard)
        if node is None:
            return Found(Kind.NXDOMAIN, key, [], encloser)
        return self._in_node(node, wildcard, rdtype, encloser)

    def _in_node(self, node: Node, owner: Key, rdtype: dns.rdatatype.RdataType, encloser: Key | None) -> Found:
        if rdtype == dns.rdatatype.ANY:
            sets = list(node.values())
        elif rdtype == dns.rdatatype.RRSIG:
            made = [self.sign(owner, rdataset) for rdataset in node.values() if self.is_signed(owner, rdataset.rdtype)]
            sets = [rdataset for rdataset in made if rdataset is not None]
        elif rdtype == dns.rdatatype.NSEC and encloser is None:
            made_here = self.chain.nsec_at(owner) if self.signed and not self.chain.is_nsec3 else None
            sets = [] if made_here is None else [made_here]
        else:
            sets = [node[rdtype]] if rdtype in node else []
        if sets:
            return Found(Kind.ANSWER, owner, sets, encloser)
        if CNAME in node:
            return Found(Kind.CNAME, owner, [node[CNAME]], encloser)
        return Found(Kind.NODATA, owner, [], encloser)

    def node(self, key: Key) -> Node | None:
        """The records at a name: empty for a name that only has names below it, None for no such name."""
        node = self.data.get(key)
        if node is None:
            for rule in self.rules:
                if (made := rule.node(key)) is not None:
                    return made
            return {} if key in self.between() else None
        if key == self.origin and self.signed:
            if not self.flaw.hide_keys:
                node = {**node, DNSKEY: self.keys.dnskeys()}
            if (parameters := self.chain.parameters()) is not None:
                node = {**node, dns.rdatatype.NSEC3PARAM: parameters}
        elif self.has_ds(key):
            node = {**node, DS: self.ds(key)}
        return node

    def between(self) -> set[Key]:
        """Names that exist only because others lie below them (empty non-terminals)."""
        if self._between is None:
            found = set()
            for key in [*self.data, *((*rule.base, b"") for rule in self.rules)]:
                for depth in range(len(self.origin) + 1, len(key)):
                    if key[:depth] not in self.data:
                        found.add(key[:depth])
            self._between = found
        return self._between

    def types(self, key: Key) -> list[dns.rdatatype.RdataType]:
        """The types at a name as a proof lists them, signatures not counted. Makes no key."""
        node = self.data.get(key)
        if node is None:
            return [rule.rdtype for rule in self.rules if rule.node(key) is not None]
        if self.is_cut(key):
            return [rdtype for rdtype in (NS, DS) if rdtype == NS or self.has_ds(key)]
        return [*node, *([DNSKEY] if key == self.origin and not self.flaw.hide_keys else [])]

    def is_cut(self, key: Key) -> bool:
        """Whether another zone begins here."""
        return key != self.origin and NS in self.data.get(key, {})

    def authoritative(self) -> Iterator[Key]:
        """Every name with records that is this zone's, delegations with them, what lies below those not."""
        for key in self.data:
            if not any(self.is_cut(key[:depth]) for depth in range(len(self.origin) + 1, len(key))):
                yield key
        for rule in self.rules:
            yield from rule.keys()

    def soa(self) -> dns.rdataset.Rdataset:
        """The SOA of a negative answer, its TTL lowered to the MINIMUM field (RFC 2308 section 3)."""
        whole = self.data[self.origin][SOA]
        minimum: int = whole[0].minimum
        return dns.rdataset.from_rdata_list(min(whole.ttl, minimum), list(whole))

    @property
    def negative_ttl(self) -> int:
        """Seconds that a proof of absence lives."""
        return self.soa().ttl

    # ---------------------------------------------------------------------------------------------------------- signing

    @property
    def keys(self) -> Keys:
        """The zone's keys, made when first needed."""
        if self._keys is None:
            from runbound.lab.keys import Keys  # brings in all of the cryptography

            self._keys = Keys(self.name, self.entry, self.flaw)
        return self._keys

    @property
    def compact(self) -> bool:
        """Whether absence is told as RFC 9824 has it: no name is missing, there is just nothing at it."""
        return self.entry.sign == "compact"

    @property
    def understood(self) -> bool:
        """Whether validators believe an algorithm and a digest that lead to the zone's keys."""
        algorithms = {self.entry.algorithm, self.entry.also} - {""}
        return bool(algorithms - NOT_BELIEVED) and any(digest != UNKNOWN for digest in self.entry.digests)

    @property
    def chain(self) -> Chain:
        """The proofs of absence, put in order when first needed."""
        if self._chain is None:
            self._chain = Chain(self)
        return self._chain

    def has_ds(self, cut: Key) -> bool:
        """Whether a delegation is a secure one."""
        child = self.children.get(cut)
        if child is None:
            return DS in self.data.get(cut, {})
        return child.signed and child.entry.ds

    def ds(self, cut: Key) -> dns.rdataset.Rdataset:
        """The DS set of a secure delegation."""
        child = self.children.get(cut)
        return self.data[cut][DS] if child is None else child.keys.ds()

    def is_signed(self, owner: Key, rdtype: dns.rdatatype.RdataType) -> bool:
        """Whether such a set carries signatures: not in an unsigned zone, and not what belongs to another zone."""
        return self.signed and not (self.is_cut(owner) and rdtype not in (DS, dns.rdatatype.NSEC))

    def sign(self, owner: Key, rdataset: dns.rdataset.Rdataset) -> dns.rdataset.Rdataset | None:
        """The signatures of a set, made when first asked for and again every day. None where a flaw drops them."""
        now = self._clock()
        if self._signed_on != now // DAY:
            self._signed_on = int(now // DAY)
            self._signatures.clear()
        which = (owner, rdataset.rdtype)
        if which not in self._signatures:
            whole = self.data.get(owner, {}).get(
                rdataset.rdtype, rdataset
            )  # the SOA of a negative answer lives shorter
            by_parent = self.flaw.by_parent and rdataset.rdtype != DNSKEY and self.parent is not None
            keys = self.parent.keys if by_parent and self.parent is not None else self.keys
            self._signatures[which] = keys.sign(name_of(owner), whole, now)
        return self._signatures[which]


def add_records(zone: Zone, name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> None:
    """Puts a set at a name, joined with what stands there."""
    node = zone.data.setdefault(key_of(name), {})
    if rdataset.rdtype in node:
        for rdata in rdataset:
            node[rdataset.rdtype].add(rdata)
    else:
        node[rdataset.rdtype] = rdataset


def deepest(zones: dict[Key, Zone], key: Key) -> Zone | None:
    """The zone closest above a name, or at it."""
    for depth in range(len(key), 0, -1):
        if (zone := zones.get(key[:depth])) is not None:
            return zone
    return None
