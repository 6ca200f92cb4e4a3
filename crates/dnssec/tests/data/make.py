"""Signs the small zones that the tests of the crate read, with dnspython and cryptography.

Owns `zones.txt` and `algorithms.txt` beside it and the seeds of the fuzz target `validate`. Run by hand when a zone
needs another record; keys are made anew each time, so the whole files change. Nothing in the tests depends on which
keys they are.

    .venv/bin/python crates/dnssec/tests/data/make.py
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.message
import dns.name
import dns.node
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from dns.dnssectypes import Algorithm

HERE = Path(__file__).parent
SEEDS = HERE.parents[3] / "fuzz" / "seeds" / "validate"
MOST = 60
"""Sets of a zone that are looked at for a seed: a seed is small."""
INCEPTION = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
EXPIRATION = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
ALLOW: Any = dns.dnssec.allow_all_policy


def private_key(algorithm: Algorithm) -> Any:
    """A new key of an algorithm."""
    match algorithm:
        case Algorithm.ECDSAP256SHA256:
            return ec.generate_private_key(ec.SECP256R1())
        case Algorithm.ECDSAP384SHA384:
            return ec.generate_private_key(ec.SECP384R1())
        case Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case Algorithm.ED448:
            return ed448.Ed448PrivateKey.generate()
        case _:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Zone:
    """A zone with a key signing key and a zone signing key."""

    def __init__(self, name: str, algorithm: Algorithm, text: str) -> None:
        self.name = dns.name.from_text(name)
        self.keys = [private_key(algorithm), private_key(algorithm)]
        self.dnskeys = [
            dns.dnssec.make_dnskey(key.public_key(), algorithm, flags=flags)
            for key, flags in zip(self.keys, (257, 256), strict=True)
        ]
        soa = f"@ 300 IN SOA ns.{name} host.{name} 1 7200 3600 1209600 300\n@ 300 IN NS ns.{name}\n"
        self.zone = dns.zone.from_text(soa + text, origin=self.name, relativize=False)
        self.zone.replace_rdataset(self.name, dns.rdataset.from_rdata_list(300, self.dnskeys))
        self.sets: list[dns.rrset.RRset] = []

    def ds(self, *digests: str) -> str:
        """The DS records of this zone, as lines."""
        made = [dns.dnssec.make_ds(self.name, self.dnskeys[0], digest, policy=ALLOW) for digest in digests]
        return "".join(f"{self.name} 300 IN DS {ds.to_text()}\n" for ds in made)

    def add(self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> None:
        """Signs a set and keeps both."""
        rrset = dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
        nth = 0 if rdataset.rdtype == dns.rdatatype.DNSKEY else 1
        sig = dns.dnssec.sign(rrset, self.keys[nth], self.name, self.dnskeys[nth], INCEPTION, EXPIRATION, policy=ALLOW)
        self.sets += [rrset, dns.rrset.from_rdata(name, rrset.ttl, sig)]

    def cuts(self) -> set[dns.name.Name]:
        """Names of delegations."""
        return {
            name
            for name, node in self.zone.nodes.items()
            if name != self.name and node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.NS)
        }

    def sign(self, nsec3: tuple[int, bytes, bool] | None = None) -> str:
        """All records of the zone with signatures, and NSEC, or NSEC3 with iterations, salt and opt-out."""
        cuts = self.cuts()
        names = {name for name in self.zone.nodes if not any(name != cut and name.is_subdomain(cut) for cut in cuts)}
        types: dict[dns.name.Name, set[int]] = {}
        for name in names:
            here = types.setdefault(name, set())
            for rdataset in self.zone.find_node(name):
                here.add(rdataset.rdtype)
                if name in cuts and rdataset.rdtype != dns.rdatatype.DS:
                    self.sets.append(dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset)))
                    continue
                self.add(name, rdataset)
                here.add(dns.rdatatype.RRSIG)
        if nsec3 is None:
            chain = sorted(types)
            for at, name in enumerate(chain):
                self.denial(name, chain[(at + 1) % len(chain)].to_text(), types[name] | {46, 47}, "NSEC", "")
        else:
            iterations, salt, opt_out = nsec3
            if opt_out:
                types = {name: here for name, here in types.items() if name not in cuts or dns.rdatatype.DS in here}
            for below in list(types):
                name = below
                while name != self.name:
                    name = name.parent()
                    types.setdefault(name, set())
            hashed = {dns.dnssec.nsec3_hash(n, salt, iterations, 1).lower(): n for n in types}
            ring = sorted(hashed)
            for at, label in enumerate(ring):
                fields = f"1 {int(opt_out)} {iterations} {salt.hex() or '-'}"
                owner = dns.name.Name((label.encode(),)).concatenate(self.name)
                self.denial(owner, ring[(at + 1) % len(ring)], types[hashed[label]], "NSEC3", fields)
        lines = [line for rrset in self.sets for line in rrset.to_text().splitlines()]
        return "".join(line + "\n" for line in lines)

    def denial(self, owner: dns.name.Name, after: str, types: set[int], kind: str, fields: str) -> None:
        """Adds one NSEC or NSEC3."""
        bitmap = " ".join(dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype)) for rtype in sorted(types))
        self.add(owner, dns.rdataset.from_text("IN", kind, 300, f"{fields} {after} {bitmap}".strip()))


ALIKE = """
ns A 192.0.2.53
a A 192.0.2.1
A A 192.0.2.2
deep.ent TXT "below an empty non-terminal"
*.wild A 192.0.2.3
*.wild TXT "any"
closer.wild A 192.0.2.4
*.alias CNAME a
link CNAME a
d DNAME elsewhere.test.
Mixed MX 10 Mail.A
Mixed SRV 1 2 3 Server.A
Mixed NAPTR 1 2 "S" "SIP+D2U" "!X!Y!" Re.Place
Mixed HINFO "CPU" "OS"
Mixed TYPE65400 \\# 3 414243
plain NS ns.plain
ns.plain A 192.0.2.54
signed NS ns.signed
signed DS 12345 13 2 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20
ns.signed A 192.0.2.55
"""


def seed(name: str, zone: Zone, qname: str, owners: list[str], kinds: list[str]) -> None:
    """A reply with the keys of a zone and the sets that stand at these names and are of these types, as octets."""
    reply = dns.message.make_response(dns.message.make_query(dns.name.from_text(qname, zone.name), "A"))
    wanted = {dns.name.from_text(owner, zone.name) for owner in owners}
    for at, rrset in enumerate(zone.sets):
        covered = dns.rdatatype.to_text(rrset.covers or rrset.rdtype)
        if covered == "DNSKEY":
            reply.additional.append(rrset)
        elif covered in kinds and (not owners or rrset.name in wanted) and at < MOST:
            reply.authority.append(rrset)
    (SEEDS / name).write_bytes(reply.to_wire(max_size=65535))


def main() -> None:
    """Writes all files."""
    p256 = Algorithm.ECDSAP256SHA256
    zones = {
        "nsec": Zone("nsec.test.", p256, ALIKE),
        "nsec3": Zone("nsec3.test.", p256, ALIKE),
        "optout": Zone("optout.test.", p256, ALIKE),
        "many": Zone("many.test.", p256, ALIKE),
    }
    how = {"nsec": None, "nsec3": (5, b"\xaa\xbb", False), "optout": (0, b"", True), "many": (151, b"", False)}
    (HERE / "zones.txt").write_text("".join(zone.sign(how[name]) for name, zone in zones.items()))
    SEEDS.mkdir(parents=True, exist_ok=True)
    seed("nsec-name-error", zones["nsec"], "b", ["a", "@"], ["NSEC", "SOA"])
    seed("nsec-all", zones["nsec"], "x.wild", [], ["NSEC", "A", "CNAME", "DNAME", "DS"])
    seed("nsec-types", zones["nsec"], "mixed", ["Mixed"], ["MX", "SRV", "NAPTR", "HINFO", "NSEC"])
    seed("nsec3-all", zones["nsec3"], "b", [], ["NSEC3"])
    seed("nsec3-opt-out", zones["optout"], "plain", [], ["NSEC3", "NS", "SOA"])
    (SEEDS / "anchors").write_text(zones["nsec"].ds("SHA256") + zones["nsec"].ds("SHA384"))
    lines = []
    for algorithm in (5, 7, 8, 10, 13, 14, 15, 16):
        zone = Zone(f"alg{algorithm}.test.", Algorithm(algorithm), '@ TXT "signed"\n')
        lines += [zone.sign(), zone.ds("SHA1", "SHA256", "SHA384")]
    (HERE / "algorithms.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
