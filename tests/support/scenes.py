"""The scenes of the differential test: a configuration, and the questions both programs are asked on it.

Owns what is asked. Everything is generated without chance, so a difference found today is found tomorrow; when fewer
questions are wanted than there are, a fixed stride picks them. It must never know how the programs answer.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.packets import Ask, Edns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True)
class Scene:
    """One configuration file (after the common head; `{lab}` stands for the lab's address) and its questions."""

    name: str
    conf: str
    asks: Callable[[], Iterable[Ask]]
    share: int = 100
    """Per cent of the questions asked in an ordinary run; `./dev accept` asks all."""
    pause: float = 0.0
    """Seconds between two waves, for TTLs to count down."""


FORWARD = """
forward-zone:
    name: "."
    forward-addr: {lab}
"""

ZONE_TYPES = (
    "deny",
    "refuse",
    "static",
    "transparent",
    "typetransparent",
    "redirect",
    "nodefault",
    "inform",
    "inform_deny",
    "inform_redirect",
    "always_transparent",
    "always_refuse",
    "always_nxdomain",
    "always_nodata",
    "always_deny",
    "always_null",
    "noview",
)
SILENT_TYPES = ("deny", "inform_deny", "always_deny")
COMMON_TYPES = ("A", "AAAA", "TXT", "MX", "NS", "SOA", "DS", "CNAME", "ANY", "PTR", "HTTPS", "SRV", "TYPE65280")
ODD_TYPES = (
    "RRSIG",
    "DNSKEY",
    "NSEC",
    "NSEC3",
    "DNAME",
    "TYPE0",
    "OPT",
    "TSIG",
    "TKEY",
    "AXFR",
    "IXFR",
    "MAILB",
    "TYPE65535",
)

ADVANCED_FLAGS: tuple[dict[str, object], ...] = (
    {"rd": False},
    {"cd": True},
    {"ad": True},
    {"rd": False, "cd": True, "ad": True},
    {"edns": Edns(1232)},
    {"edns": Edns(1232, do=True)},
    {"edns": Edns(1232, do=True), "cd": True},
    {"edns": Edns(512), "ad": True},
    {"tcp": True},
    {"tcp": True, "edns": Edns(4096, do=True)},
)


def _zone_name(kind: str, variant: str) -> str:
    return f"{kind.replace('_', '-')}.{variant}.zones.example."


def _zones_conf() -> str:
    lines = ["server:"]
    for kind in ZONE_TYPES:
        for variant in ("bare", "soa", "empty"):
            zone = _zone_name(kind, variant)
            lines.append(f'    local-zone: "{zone}" {kind}')
            if variant == "empty":
                continue
            own = [
                f"{zone} 300 IN A 10.9.8.1",
                f"{zone} 300 IN A 10.9.8.2",
                f'{zone} IN TXT "apex text"',
            ]
            if variant == "soa":
                own.append(f"{zone} 3600 IN SOA ns.{zone} host.{zone} 7 7200 900 604800 120")
                own.append(f"{zone} 3600 IN NS ns.{zone}")
            if not kind.endswith("redirect"):  # a redirect zone holds data at its apex alone
                own += [
                    f"ns.{zone} 3600 IN A 10.9.8.53",
                    f"www.{zone} 60 IN A 10.9.8.7",
                    f"www.{zone} 60 IN AAAA fd00::7",
                    f'TXT.{zone} IN TXT "one" "two"',
                    f"mail.{zone} 1800 MX 10 www.{zone}",
                    f"alias.{zone} CNAME www.{zone}",
                    f"out.{zone} 77 CNAME web.example.net.",
                    f"leaf.ent.{zone} A 10.9.8.8",
                    f"odd.{zone} TYPE65280 \\# 3 010203",
                    f"*.star.{zone} A 10.9.8.9",
                ]
            lines += [f"    local-data: '{record}'" for record in own]
    # A redirect zone with a CNAME, inside, outside and to nowhere.
    for name, target in (
        ("one", "web.example.net."),
        ("two", "www.static.bare.zones.example."),
        ("three", "no.such.name."),
    ):
        lines.append(f'    local-zone: "cname-{name}.zones.example." redirect')
        lines.append(f'    local-data: "cname-{name}.zones.example. 90 CNAME {target}"')
    # Zones within zones, each kind below a static, a redirect and a transparent one.
    for outer in ("static", "redirect", "transparent", "always_nxdomain"):
        top = f"over-{outer.replace('_', '-')}.zones.example."
        lines.append(f'    local-zone: "{top}" {outer}')
        lines.append(f'    local-data: "{top} A 10.9.7.1"')
        for inner in ("static", "redirect", "transparent", "refuse", "always_nxdomain", "always_transparent"):
            zone = f"{inner.replace('_', '-')}.{top}"
            lines.append(f'    local-zone: "{zone}" {inner}')
            lines.append(f'    local-data: "{zone} A 10.9.7.2"')
    return "\n".join(lines) + "\n" + FORWARD


def _zones_asks() -> Iterator[Ask]:
    for kind in ZONE_TYPES:
        for variant in ("bare", "soa", "empty"):
            zone = _zone_name(kind, variant)
            if kind in SILENT_TYPES:
                # Silence costs a wait, so these get fewer questions.
                for name in ("", "www.", "nothing.", "leaf.ent."):
                    yield from (Ask(name + zone, rtype) for rtype in ("A", "TXT"))
                continue
            names = ["", "www.", "WwW.", "txt.", "mail.", "alias.", "out.", "ent.", "leaf.ent.", "odd.", "x.star."]
            names += ["star.", "*.star.", "nothing.", "below.www.", "a.b.c.nothing."]
            for name in names:
                for rtype in COMMON_TYPES:
                    yield Ask(name + zone, rtype)
    for name in ("one", "two", "three"):
        for below in ("", "deep.er."):
            for rtype in ("A", "AAAA", "TXT", "CNAME", "ANY"):
                yield Ask(f"{below}cname-{name}.zones.example.", rtype)
    for outer in ("static", "redirect", "transparent", "always-nxdomain"):
        for inner in ("", "static.", "redirect.", "transparent.", "refuse.", "always-nxdomain.", "always-transparent."):
            for below, rtype in itertools.product(("", "x."), ("A", "AAAA", "SOA", "DS")):
                yield Ask(f"{below}{inner}over-{outer}.zones.example.", rtype)


def _zones_flags_asks() -> Iterator[Ask]:
    for kind in ZONE_TYPES:
        zone = _zone_name(kind, "soa")
        if kind in SILENT_TYPES:
            yield from (Ask("www." + zone).with_(**flags) for flags in ADVANCED_FLAGS)
            continue
        for name in ("", "www.", "out.", "nothing."):
            for flags in ADVANCED_FLAGS:
                yield Ask(name + zone, "A").with_(**flags)
        for rtype in ODD_TYPES:
            yield Ask("www." + zone, rtype)
            yield Ask("nothing." + zone, rtype)
        for rclass in ("CH", "HS", "ANY", "NONE", "CLASS7"):
            yield Ask("www." + zone, "A", rclass)


DATA = r"""
server:
    local-data: "implicit.example. 500 IN A 10.1.1.1"
    local-data: "UPPER.implicit.example. IN A 10.1.1.2"
    local-data: "esc\.aped.implicit.example. A 10.1.1.3"
    local-data: "num\065.implicit.example. A 10.1.1.4"
    local-data: 'quote.implicit.example. TXT "say ""hi"" ; not a comment"'
    local-data: 'semi.implicit.example. TXT "a;b"'
    local-data: "norec.implicit.example. 0 A 10.1.1.5"
    local-data: "ttl.implicit.example. 2147483647 A 10.1.1.6"
    local-data: "week.implicit.example. 1w A 10.1.1.7"
    local-data-ptr: "192.0.2.44 ptr44.example."
    local-data-ptr: "192.0.2.45 120 ptr45.example."
    local-data-ptr: "2001:db8::44 ptr6.example."
    local-zone: "types.example." static
    local-data: "a.types.example. A 192.0.2.1"
    local-data: "aaaa.types.example. AAAA 2001:db8::1"
    local-data: "afsdb.types.example. AFSDB 1 db.example."
    local-data: "apl.types.example. APL 1:192.168.32.0/21 !1:192.168.38.0/28"
    local-data: 'caa.types.example. CAA 128 issue "ca.example.net"'
    local-data: "cert.types.example. CERT PKIX 1 5 AQIDBA=="
    local-data: "cname.types.example. CNAME a.types.example."
    local-data: "dhcid.types.example. DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="
    local-data: "dname.types.example. DNAME other.example."
    local-data: "dnskey.types.example. DNSKEY 256 3 13 oJMRESz5E4gYzS/q6XDrvQ=="
    local-data: "ds.types.example. DS 60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A"
    local-data: "eui48.types.example. EUI48 00-00-5e-00-53-2a"
    local-data: "eui64.types.example. EUI64 00-00-5e-ef-10-00-00-2a"
    local-data: 'hinfo.types.example. HINFO "PC" "Linux"'
    local-data: "https.types.example. HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1"
    local-data: "https0.types.example. HTTPS 0 svc.example.net."
    local-data: "kx.types.example. KX 10 kx.example."
    local-data: "loc.types.example. LOC 52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m"
    local-data: "mx.types.example. MX 10 a.types.example."
    local-data: 'naptr.types.example. NAPTR 100 50 "s" "http+I2L" "" _http._tcp.example.'
    local-data: "ns.types.example. NS a.types.example."
    local-data: "nsec.types.example. NSEC zz.types.example. A MX RRSIG NSEC TYPE1234"
    local-data: "openpgp.types.example. OPENPGPKEY AQIDBA=="
    local-data: "ptr.types.example. PTR a.types.example."
    local-data: "rp.types.example. RP box.example. txt.example."
    local-data: "rt.types.example. RT 5 relay.example."
    local-data: "smimea.types.example. SMIMEA 3 0 0 308201"
    local-data: "srv.types.example. SRV 1 2 443 a.types.example."
    local-data: "sshfp.types.example. SSHFP 4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789"
    local-data: 'svcb.types.example. SVCB 2 foo.example. mandatory=alpn alpn="h2" key667=hello'
    local-data: "tlsa.types.example. TLSA 3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971"
    local-data: 'txt.types.example. TXT "plain" "" "\001\255 bytes"'
    local-data: 'uri.types.example. URI 10 1 "ftp://example.net/"'
    local-data: "x25.types.example. X25 311061700956"
    local-data: "t1234.types.example. TYPE1234 \# 5 0102030405"
    local-data: "t0.types.example. TYPE65281 \# 0"
    local-data: "ageneric.types.example. TYPE1 \# 4 c0000203"
    local-data: "many.types.example. 10 A 192.0.2.101"
    local-data: "many.types.example. 20 A 192.0.2.102"
    local-data: "many.types.example. 30 A 192.0.2.103"
    local-data: "many.types.example. 20 A 192.0.2.102"
    local-data: 'chaos.example. CH TXT "other class"'
    local-data: "hs.example. HS A 192.0.2.9"
"""

DATA_NAMES = """
    a aaaa afsdb apl caa cert cname dhcid dname dnskey ds eui48 eui64 hinfo https https0 kx loc mx naptr ns nsec
    openpgp ptr rp rt  smimea srv sshfp svcb tlsa txt uri x25 t1234 t0 ageneric many
""".split()
DATA_TYPES = {
    "https0": "HTTPS",
    "openpgp": "OPENPGPKEY",
    "t1234": "TYPE1234",
    "t0": "TYPE65281",
    "ageneric": "A",
    "many": "A",
}


def _data_asks() -> Iterator[Ask]:
    for name in DATA_NAMES:
        rtype = DATA_TYPES.get(name, name.upper())
        for asked in (rtype, "ANY", "A", "TYPE4711"):
            yield Ask(f"{name}.types.example.", asked)
        yield Ask(f"{name}.types.example.", rtype, edns=Edns(4096, do=True))
        yield Ask(f"below.{name}.types.example.", rtype)
    names = ["implicit", "upper.implicit", "UPPER.IMPLICIT", r"esc\.aped.implicit", "numA.implicit", "quote.implicit"]
    names += [
        "semi.implicit",
        "norec.implicit",
        "ttl.implicit",
        "week.implicit",
        "nothing.implicit",
        "x.upper.implicit",
    ]
    for name in names:
        for rtype in ("A", "TXT", "AAAA", "ANY", "SOA", "NS", "DS"):
            yield Ask(f"{name}.example.", rtype)
    for name in (
        "44.2.0.192.in-addr.arpa.",
        "45.2.0.192.in-addr.arpa.",
        "46.2.0.192.in-addr.arpa.",
        "2.0.192.in-addr.arpa.",
    ):
        for rtype in ("PTR", "A", "ANY", "SOA"):
            yield Ask(name, rtype)
    v6 = "4.4" + ".0" * 22 + ".8.b.d.0.1.0.0.2.ip6.arpa."
    for name in (v6, v6[2:], "5" + v6[1:]):
        yield from (Ask(name, rtype) for rtype in ("PTR", "TXT"))
    for rclass in ("IN", "CH", "HS", "ANY"):
        for rtype in ("TXT", "A", "ANY"):
            yield Ask("chaos.example.", rtype, rclass)
            yield Ask("hs.example.", rtype, rclass)


ACTIONS = ("deny", "refuse", "allow", "allow_setrd", "allow_snoop", "deny_non_local", "refuse_non_local")

ACL = (
    """
server:
    local-zone: "zone.example." static
    local-data: "zone.example. A 10.2.2.1"
    local-zone: "nx.example." always_nxdomain
    local-zone: "refused.example." refuse
    local-zone: "dropped.example." deny
    local-data: "open.example. A 10.2.2.2"
    access-control: 127.0.0.9/32 refuse
    access-control: 127.0.0.9 allow
"""
    + "".join(f"    access-control: 127.0.0.{number}/32 {action}\n" for number, action in enumerate(ACTIONS, 2))
    + FORWARD
)


def _acl_asks() -> Iterator[Ask]:
    sources = [f"127.0.0.{number}" for number in range(1, 11)]
    quiet = {"127.0.0.2", "127.0.0.7"}
    for source in sources:
        names = [
            "zone.example.",
            "no.zone.example.",
            "nx.example.",
            "refused.example.",
            "open.example.",
            "host.example.com.",
        ]
        names += ["localhost.", "no.such.name."] if source not in quiet else []
        for name in names:
            yield Ask(name, source=source)
            yield Ask(name, source=source, rd=False)
            if source not in quiet:
                yield Ask(name, "AAAA", source=source)
                yield Ask(name, source=source, edns=Edns(1232, do=True), cd=True)
                yield Ask(name, source=source, tcp=True)
        yield Ask("dropped.example.", source=source)
        yield Ask("version.bind.", "TXT", "CH", source=source)
        yield Ask("id.server.", "TXT", "CH", source=source, rd=False)
        yield Ask("host.example.com.", source=source, wave=1)
        yield Ask("host.example.com.", source=source, rd=False, wave=1)
        yield Ask("never-asked.example.com.", source=source, rd=False, wave=1)
        yield Ask("host.example.com.", source=source, rd=False, cd=True, wave=1)
        yield Ask(raw=b"\x12\x34\x01\x00" + bytes(8), label="no question", source=source)
        yield Ask(raw=b"\x12\x34\x29\x00\0\1" + bytes(6) + b"\0\0\1\0\1", label="opcode 5", source=source)
        yield Ask(raw=b"\x12\x34\x01\x00\0\1" + bytes(6) + b"\0\0", label="cut question", source=source)
        yield Ask("zone.example.", source=source, edns=Edns(1232, version=1))


SIZES = """
server:
    {option}
    local-zone: "size.example." static
""" + "".join(
    f"    local-data: 'r{count}.size.example. 60 TXT \"{number:03d} {'x' * 60}\"'\n"
    for count in (1, 5, 6, 7, 8, 15, 17, 20, 60, 120)
    for number in range(count)
)


def _sizes(option: str) -> str:
    return SIZES.replace("{option}", option) + FORWARD


def _sizes_asks() -> Iterator[Ask]:
    for count in (1, 5, 6, 7, 8, 15, 17, 20, 60, 120):
        for size in (0, 256, 511, 512, 513, 600, 1100, 1232, 1233, 1400, 1452, 4096, 4097, 65535):
            yield Ask(f"r{count}.size.example.", "TXT", edns=Edns(size))
        yield Ask(f"r{count}.size.example.", "TXT")
        yield Ask(f"r{count}.size.example.", "TXT", tcp=True)
        yield Ask(f"r{count}.size.example.", "TXT", tcp=True, edns=Edns(512))
        yield Ask(f"r{count}.size.example.", "ANY", edns=Edns(1232))
    for name in ("big.example.com.", "example.com.", "www.example.com.", "c1.example.com."):
        for rtype in ("A", "TXT", "ANY", "MX", "NS"):
            for edns in (None, Edns(512), Edns(1232), Edns(4096)):
                yield Ask(name, rtype, edns=edns)
                yield Ask(name, rtype, edns=edns, wave=1)
            yield Ask(name, rtype, tcp=True, wave=1)


DEFAULT_NAMES = """
    localhost. x.localhost. 1.0.0.127.in-addr.arpa. 127.in-addr.arpa. 5.0.0.127.in-addr.arpa.
    1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.
    0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.  home.arpa. x.home.arpa. onion.
    abc.onion. test. x.test. invalid. x.invalid. local. x.local.  10.in-addr.arpa. 1.10.in-addr.arpa.
    1.2.3.10.in-addr.arpa. 16.172.in-addr.arpa. 31.172.in-addr.arpa. 32.172.in-addr.arpa.
    1.0.20.172.in-addr.arpa. 168.192.in-addr.arpa. 1.1.168.192.in-addr.arpa. 0.in-addr.arpa.
    254.169.in-addr.arpa.  1.254.169.in-addr.arpa. 2.0.192.in-addr.arpa. 100.51.198.in-addr.arpa.
    113.0.203.in-addr.arpa.  80.113.0.203.in-addr.arpa. 255.255.255.255.in-addr.arpa. 64.100.in-addr.arpa.
    127.100.in-addr.arpa. 128.100.in-addr.arpa.  1.0.90.100.in-addr.arpa. d.f.ip6.arpa. 1.d.f.ip6.arpa.
    c.f.ip6.arpa. 8.e.f.ip6.arpa. 9.e.f.ip6.arpa. a.e.f.ip6.arpa. b.e.f.ip6.arpa.  1.b.e.f.ip6.arpa.
    8.b.d.0.1.0.0.2.ip6.arpa. 1.8.b.d.0.1.0.0.2.ip6.arpa. resolver.arpa. ipv4only.arpa. service.arpa.  example.
    internal. alt. x.alt. arpa. in-addr.arpa. ip6.arpa. . com. 8.8.8.8.in-addr.arpa.
""".split()


def _defaults_asks() -> Iterator[Ask]:
    for name in DEFAULT_NAMES:
        for rtype in ("A", "AAAA", "PTR", "SOA", "NS", "TXT", "ANY", "DS"):
            yield Ask(name, rtype)
        yield Ask(name, "PTR", edns=Edns(1232, do=True))
        yield Ask(name, "SOA", rd=False)


DEFAULTS_CHANGED = (
    """
server:
    local-zone: "10.in-addr.arpa." nodefault
    local-zone: "test." transparent
    local-zone: "localhost." nodefault
    local-zone: "168.192.in-addr.arpa." static
    local-data-ptr: "192.168.1.1 gate.example."
    local-data-ptr: "172.16.5.5 inside.example."
    local-data: "nas.home.arpa. A 192.168.1.9"
    local-zone: "onion." refuse
"""
    + FORWARD
)

CHAOS_NAMES: tuple[str, ...] = (
    "id.server.",
    "hostname.bind.",
    "version.server.",
    "version.bind.",
    "authors.bind.",
    "trustanchor.unbound.",
)
CHAOS_NAMES += ("ID.Server.", "x.version.bind.", "bind.", "server.", ".")


def _chaos_asks() -> Iterator[Ask]:
    for name in CHAOS_NAMES:
        for rtype in ("TXT", "ANY", "A", "SOA", "NS", "TYPE65280"):
            yield Ask(name, rtype, "CH")
        yield Ask(name, "TXT", "IN")
        yield Ask(name, "TXT", "HS")
        yield Ask(name, "TXT", "ANY")
        for flags in ADVANCED_FLAGS:
            yield Ask(name, "TXT", "CH").with_(**flags)
    nsid = struct.pack("!HH", 3, 0)
    yield Ask("localhost.", edns=Edns(options=nsid))
    yield Ask("version.bind.", "TXT", "CH", edns=Edns(options=nsid))


FORWARD_NAMES = """
    example.com. www.example.com. WWW.Example.COM. host.example.com. v4only.example.com. v6only.example.com.
    zero.example.com.  long.example.com. toolong.example.com. _sip._tcp.example.com. c1.example.com.
    loop1.example.com. dangling.example.com. nodata.example.com.  x.wild.example.com. y.x.wild.example.com.
    here.wild.example.com. wild.example.com. z.cwild.example.com. ent.example.com. leaf.ent.example.com.
    big.example.com. onlytcp.example.com. broken.example.com. refused.example.com. none.example.com.
    a.none.example.com. example.net. web.example.net.  www.example.org. example.org. none.example.org.
    80.113.0.203.in-addr.arpa. no.such.name. . com.
""".split()


def _forward_asks() -> Iterator[Ask]:
    for wave in (0, 1):
        for name in FORWARD_NAMES:
            kinds = (
                COMMON_TYPES
                if name in ("example.com.", "www.example.com.", "x.wild.example.com.")
                else COMMON_TYPES[:8]
            )
            for rtype in kinds:
                if name.startswith(("broken", "refused")) and rtype not in ("A", "MX"):
                    continue
                yield Ask(name, rtype, wave=wave)
    for name in FORWARD_NAMES:
        if name.startswith(("broken", "refused")):
            continue
        for flags in ADVANCED_FLAGS:
            yield Ask(name, "A", wave=2).with_(**flags)
    for name in FORWARD_NAMES[:12]:
        yield Ask(name, "A", "CH", wave=2)
        yield Ask(name, "A", "ANY", wave=2)


FORWARD_MANY = """
forward-zone:
    name: "com"
    forward-addr: {lab}
forward-zone:
    name: "net"
    forward-addr: {lab}
forward-zone:
    name: "org"
    forward-addr: {lab}
forward-zone:
    name: "example.com"
    forward-addr: {lab}
forward-zone:
    name: "wild.example.com"
    forward-addr: {lab}
forward-zone:
    name: "example.net."
    forward-addr: 127.0.0.77@1
    forward-addr: {lab}
forward-zone:
    name: "name"
    forward-addr: {lab}
    forward-tcp-upstream: yes
forward-zone:
    name: "example.org"
    forward-addr: {lab}
    forward-no-cache: yes
"""


def _forward_many_asks() -> Iterator[Ask]:
    # A question for DS goes to the zone above: com, net and org are forwarded too, for there is no root to ask.
    names = "example.com. host.example.com. x.wild.example.com. example.net. web.example.net. no.such.name. "
    names += "example.org. none.example.org."
    for wave in (0, 1):
        for name in names.split():
            yield from (Ask(name, rtype, wave=wave) for rtype in ("A", "AAAA", "SOA", "DS", "TXT"))


def _header(identity: int = 0x1234, flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0)) -> bytes:
    return struct.pack("!6H", identity, flags, *counts)


def _garbage_asks() -> Iterator[Ask]:
    www = b"\3www\4zone\7example\0"
    question = www + b"\0\1\0\1"
    opt = Edns(1232).wire()
    good = _header() + question

    def raw(label: str, packet: bytes, silent_over_tcp: bool = False) -> Iterator[Ask]:
        yield Ask(raw=packet, label=label)
        if not silent_over_tcp and packet:
            yield Ask(raw=packet, label=label, tcp=True)

    for length in range(13):
        yield from raw(f"{length} octets", good[:length], silent_over_tcp=True)
    for length in range(13, len(good)):
        yield from raw(f"cut at {length}", good[:length])
    yield from raw("a good one", good)
    for opcode in range(16):
        yield from raw(f"opcode {opcode}", _header(flags=0x0100 | opcode << 11) + question)
        yield from raw(f"opcode {opcode} header only", _header(flags=0x0100 | opcode << 11, counts=(0, 0, 0, 0)))
        yield from raw(
            f"opcode {opcode} with OPT", _header(flags=0x0100 | opcode << 11, counts=(1, 0, 0, 1)) + question + opt
        )
    for flags in (
        0x8100,
        0x8180,
        0x8400,
        0xFFFF,
        0x0000,
        0x0110,
        0x0120,
        0x0140,
        0x0130,
        0x0170,
        0x0180,
        0x0300,
        0x0500,
        0x0101,
        0x010F,
    ):
        yield from raw(f"flags {flags:04x}", _header(flags=flags) + question)
    for count in (0, 2, 3, 255, 65535):
        yield from raw(f"QDCOUNT {count}, one question", _header(counts=(count, 0, 0, 0)) + question)
    yield from raw("QDCOUNT 0, nothing", _header(counts=(0, 0, 0, 0)))
    yield from raw("QDCOUNT 0, OPT", _header(counts=(0, 0, 0, 1)) + opt)
    yield from raw("two questions", _header(counts=(2, 0, 0, 0)) + question + question)
    yield from raw(
        "an answer in a query", _header(counts=(1, 1, 0, 0)) + question + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
    )
    yield from raw(
        "an authority in a query", _header(counts=(1, 0, 1, 0)) + question + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
    )
    yield from raw(
        "an additional A in a query", _header(counts=(1, 0, 0, 1)) + question + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
    )
    yield from raw("ANCOUNT 1, nothing there", _header(counts=(1, 1, 0, 0)) + question)
    yield from raw("ARCOUNT 1, nothing there", _header(counts=(1, 0, 0, 1)) + question)
    yield from raw("ARCOUNT 2, one OPT", _header(counts=(1, 0, 0, 2)) + question + opt)
    yield from raw("two OPTs", _header(counts=(1, 0, 0, 2)) + question + opt + opt)
    yield from raw("OPT and A", _header(counts=(1, 0, 0, 2)) + question + opt + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4")
    yield from raw("A and OPT", _header(counts=(1, 0, 0, 2)) + question + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4" + opt)
    yield from raw("OPT in the answer", _header(counts=(1, 1, 0, 0)) + question + opt)
    yield from raw("trailing octet", good + b"\0")
    yield from raw("trailing octets", good + bytes(range(40)))
    yield from raw("trailing after OPT", _header(counts=(1, 0, 0, 1)) + question + opt + b"\1\2\3")
    for length in range(1, len(opt)):
        yield from raw(f"OPT cut at {length}", _header(counts=(1, 0, 0, 1)) + question + opt[:length])
    for version in (1, 2, 255):
        wire = Edns(1232, version=version).wire()
        yield from raw(f"EDNS version {version}", _header(counts=(1, 0, 0, 1)) + question + wire)
        wire = Edns(1232, do=True, version=version, options=struct.pack("!HH2s", 65001, 2, b"hi")).wire()
        yield from raw(f"EDNS version {version} with an option", _header(counts=(1, 0, 0, 1)) + question + wire)
    yield from raw("OPT with an owner", _header(counts=(1, 0, 0, 1)) + question + b"\1x" + opt)
    yield from raw("OPT by pointer", _header(counts=(1, 0, 0, 1)) + question + b"\xc0\x1c" + opt[1:])
    yield from raw("OPT with extended rcode", _header(counts=(1, 0, 0, 1)) + question + opt[:5] + b"\x05" + opt[6:])
    yield from raw("OPT with all flags", _header(counts=(1, 0, 0, 1)) + question + opt[:7] + b"\xff\xff" + opt[9:])
    for label, options in (
        ("option of no length", struct.pack("!HH", 65001, 0)),
        ("option cut in its head", b"\xfd\xe9\x00"),
        ("option too long", struct.pack("!HH2s", 65001, 9, b"hi")),
        ("option of 1000 octets", struct.pack("!HH1000s", 65001, 1000, b"")),
        ("200 empty options", struct.pack("!HH", 65001, 0) * 200),
        ("cookie of 8", struct.pack("!HH8s", 10, 8, b"12345678")),
        ("cookie of 7", struct.pack("!HH7s", 10, 7, b"1234567")),
        ("cookie of 24", struct.pack("!HH24s", 10, 24, b"12345678")),
        ("cookie of 41", struct.pack("!HH41s", 10, 41, b"12345678")),
        ("two cookies", struct.pack("!HH8s", 10, 8, b"12345678") * 2),
        ("client subnet", bytes.fromhex("0008000700011800c00002")),
        ("broken client subnet", bytes.fromhex("000800050009ff0011")),
        ("keepalive", struct.pack("!HH", 11, 0)),
        ("keepalive with a value", struct.pack("!HHH", 11, 2, 100)),
        ("padding", struct.pack("!HH64s", 12, 64, b"")),
        ("NSID", struct.pack("!HH", 3, 0)),
        ("NSID with a value", struct.pack("!HH3s", 3, 3, b"abc")),
        ("chain", struct.pack("!HH1s", 13, 1, b"\0")),
        ("key tags", struct.pack("!HHH", 14, 2, 20326)),
        ("an error option", struct.pack("!HHH", 15, 2, 9)),
    ):
        yield from raw(label, _header(counts=(1, 0, 0, 1)) + question + Edns(1232, options=options).wire())
    yield from raw("pointer to itself", _header() + b"\xc0\x0c\0\1\0\1")
    yield from raw("pointer to the header", _header() + b"\xc0\x00\0\1\0\1")
    yield from raw("pointer forward", _header() + b"\xc0\x20\0\1\0\1" + bytes(40))
    yield from raw("pointers in a circle", _header() + b"\xc0\x0e\xc0\x0c\0\1\0\1")
    yield from raw("label then pointer to it", _header() + b"\3www\xc0\x0c\0\1\0\1")
    yield from raw("pointer at the end", _header() + b"\3www\xc0")
    yield from raw("label type 01", _header() + b"\x41x\0\0\1\0\1")
    yield from raw("label type 10", _header() + b"\x81x\0\0\1\0\1")
    yield from raw("label past the end", _header() + b"\x3fabc")
    yield from raw("name of 255", _header() + (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0\0\1\0\1")
    yield from raw("name of 256", _header() + (b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"b" * 62 + b"\0\0\1\0\1")
    yield from raw("name of 127 labels", _header() + b"\1a" * 127 + b"\0\0\1\0\1")
    yield from raw("name of 128 labels", _header() + b"\1a" * 128 + b"\0\0\1\0\1")
    yield from raw("octets in a label", _header() + b"\6\0\x01.\\\xff \4zone\7example\0\0\1\0\1")
    yield from raw("no terminator", _header() + b"\3www")
    yield from raw("type 0", _header() + www + b"\0\0\0\1")
    yield from raw("class 0", _header() + www + b"\0\1\0\0")
    yield from raw("type OPT asked", _header() + www + b"\0\x29\0\1")
    yield from raw("AXFR asked", _header() + www + b"\0\xfc\0\1")
    yield from raw(
        "IXFR asked",
        _header(counts=(1, 0, 1, 0)) + www + b"\0\xfb\0\1" + www + b"\0\6\0\1\0\0\0\0\0\x16\0\0" + bytes(20),
    )
    yield from raw(
        "a reply", _header(flags=0x8180, counts=(1, 1, 0, 0)) + question + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
    )
    yield from raw(
        "TSIG at the end", _header(counts=(1, 0, 0, 1)) + question + b"\0\0\xfa\0\xff\0\0\0\0\0\x10" + bytes(16)
    )
    yield from raw("4000 zero octets", bytes(4000))
    yield from raw("4000 octets of ones", b"\xff" * 4000)
    for number in range(60):
        # A linear generator of our own: the same octets on every run and every Python.
        octets, state = bytearray(good + opt), number * 2654435761 + 12345
        for _ in range(1 + number % 5):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            octets[2 + (state >> 33) % (len(octets) - 2)] = state >> 56
        yield from raw(f"mutation {number}", bytes(octets), silent_over_tcp=True)


GARBAGE = """
server:
    local-zone: "zone.example." static
    local-data: "www.zone.example. A 10.3.3.3"
    local-zone: "." refuse
"""

OPTIONS_NAMES = (
    "many.zone.example.",
    "www.zone.example.",
    "alias.zone.example.",
    "no.zone.example.",
    "c1.example.com.",
    "example.com.",
)


def _options_asks() -> Iterator[Ask]:
    for name in OPTIONS_NAMES:
        for rtype in ("A", "ANY", "NS", "MX", "SOA", "TXT"):
            yield Ask(name, rtype)
            yield Ask(name, rtype, wave=1)
            yield Ask(name, rtype, edns=Edns(1232, do=True), wave=1)
    for name in CHAOS_NAMES[:4]:
        yield Ask(name, "TXT", "CH")
    yield Ask("localhost.", edns=Edns(options=struct.pack("!HH", 3, 0)))
    yield Ask("localhost.", edns=Edns(512), tcp=True)
    yield Ask("localhost.", edns=Edns(1232, options=struct.pack("!HH", 11, 0)), tcp=True)


def _options(lines: str) -> str:
    zone = """
    local-zone: "zone.example." static
    local-data: "zone.example. SOA ns.zone.example. h.zone.example. 1 2 3 4 5"
    local-data: "zone.example. NS ns.zone.example."
    local-data: "www.zone.example. A 10.4.4.4"
    local-data: "many.zone.example. A 10.4.4.1"
    local-data: "many.zone.example. A 10.4.4.2"
    local-data: "many.zone.example. A 10.4.4.3"
    local-data: "alias.zone.example. CNAME many.zone.example."
"""
    return "\nserver:\n" + "".join(f"    {line}\n" for line in lines.splitlines()) + zone + FORWARD


SCENES = (
    Scene("zones", _zones_conf(), _zones_asks, share=30),
    Scene("zones-flags", _zones_conf(), _zones_flags_asks, share=50),
    Scene("data", DATA + FORWARD, _data_asks),
    Scene("acl", ACL, _acl_asks),
    Scene("sizes", _sizes("max-udp-size: 4096"), _sizes_asks, share=50),
    Scene("sizes-default", _sizes(""), _sizes_asks, share=20),
    Scene("sizes-max-udp", _sizes("max-udp-size: 1200"), _sizes_asks, share=20),
    Scene("sizes-edns", _sizes("edns-buffer-size: 4096\n    max-udp-size: 4096"), _sizes_asks, share=20),
    Scene("sizes-full", _sizes("max-udp-size: 4096\n    minimal-responses: no"), _sizes_asks, share=20),
    Scene("defaults", FORWARD, _defaults_asks, share=50),
    Scene("defaults-changed", DEFAULTS_CHANGED, _defaults_asks, share=30),
    Scene(
        "defaults-unblocked",
        "\nserver:\n    unblock-lan-zones: yes\n" + FORWARD,
        _defaults_asks,
        share=20,
    ),
    Scene("chaos", FORWARD, _chaos_asks, share=60),
    Scene(
        "chaos-hidden",
        "\nserver:\n    hide-identity: yes\n    hide-version: yes\n    hide-trustanchor: yes\n" + FORWARD,
        _chaos_asks,
        share=40,
    ),
    Scene(
        "chaos-own",
        '\nserver:\n    identity: "me"\n    version: "mine"\n    nsid: "ascii_node"\n' + FORWARD,
        _chaos_asks,
        share=60,
    ),
    Scene("forward", FORWARD, _forward_asks, share=60, pause=1.6),
    Scene("forward-many", FORWARD_MANY, _forward_many_asks),
    Scene("garbage", GARBAGE, _garbage_asks),
    Scene("deny-any", _options("deny-any: yes"), _options_asks),
    Scene("not-minimal", _options("minimal-responses: no"), _options_asks),
    Scene("no-rotation", _options("rrset-roundrobin: no"), _options_asks),
    Scene("keepalive", _options("edns-tcp-keepalive: yes\nedns-tcp-keepalive-timeout: 5000"), _options_asks),
    Scene("ttls", _options("cache-max-ttl: 100\ncache-min-ttl: 20\ncache-max-negative-ttl: 30"), _options_asks),
    Scene("hardening", _sizes("harden-large-queries: yes\n    harden-short-bufsize: no"), _sizes_asks, share=40),
)
"""Every scene, in the order in which the report lists them."""


LATE = 10
"""Added to the wave of questions of type ANY."""


def questions(scene: Scene, everything: bool) -> list[Ask]:
    """The scene's questions, all or its share of them at a fixed stride, waves in order."""
    asks = list(scene.asks())
    if not everything and scene.share < 100:
        chosen, credit = [], 0
        for ask in asks:
            credit += scene.share
            if credit >= 100:
                credit -= 100
                chosen.append(ask)
        asks = chosen
    return sorted((_late(ask) for ask in asks), key=lambda ask: ask.wave)


def _late(ask: Ask) -> Ask:
    """ANY goes last: Unbound answers it from whatever else it holds of the name, so that has to be settled before."""
    return ask.with_(wave=ask.wave + LATE) if ask.rtype == "ANY" and ask.raw is None else ask
