"""What the lab's servers and resolvers say, octet for octet as they would send it, and that signatures are good."""

from __future__ import annotations

import dns.dnssec
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from runbound.lab import World, gym, load
from runbound.lab.behaviour import FLAWS
from runbound.lab.names import key_of
from runbound.lab.server import Responder

NOW = 1_800_000_000.0
DEEP = ".".join(f"d{level}" for level in range(20, 0, -1)) + ".deep.lab."
AA, AD, TC, RA = dns.flags.AA, dns.flags.AD, dns.flags.TC, dns.flags.RA


@pytest.fixture(scope="module")
def world() -> World:
    return load(clock=lambda: NOW)


def ask(
    responder: Responder, name: str, rtype: str = "A", *, dnssec: bool = True, tcp: bool = True, flags: int = 0
) -> dns.message.Message:
    query = dns.message.make_query(name, rtype, want_dnssec=dnssec, use_edns=0 if dnssec else False)
    query.flags |= flags
    answer = responder.reply(query.to_wire(), over_tcp=tcp)
    assert answer is not None
    reply = dns.message.from_wire(answer[1])
    assert reply.id == query.id
    assert reply.question == query.question
    return reply


def at(world: World, server: str) -> Responder:
    return Responder(world, world.servers[key_of(dns.name.from_text(server))])


def types(section: list[dns.rrset.RRset]) -> list[str]:
    return [dns.rdatatype.to_text(rrset.rdtype) for rrset in section]


def verify(world: World, sections: list[list[dns.rrset.RRset]]) -> int:
    """Checks every signature in a reply with the key of the zone that made it; how many there were."""
    count = 0
    for section in sections:
        for signatures in section:
            if signatures.rdtype != dns.rdatatype.RRSIG:
                continue
            covered = next(
                rrset for rrset in section if rrset.name == signatures.name and rrset.rdtype == signatures.covers
            )
            signer = signatures[0].signer
            keys = world.zones[key_of(signer)].keys.dnskeys()
            dns.dnssec.validate(covered, signatures, {signer: keys}, now=NOW)
            count += 1
    return count


class TestAuthority:
    """One server, asked as a resolver asks it."""

    def test_a_referral_has_ds_and_glue(self, world: World) -> None:
        reply = ask(at(world, "a.root-servers.net."), "www.signed.lab.")
        assert not reply.flags & (AA | RA)
        assert types(reply.authority) == ["NS", "DS", "RRSIG"]
        assert [rrset.name.to_text() for rrset in reply.additional] == ["ns1.lab.", "ns2.lab."]
        assert verify(world, [reply.authority]) == 1

    def test_without_do_nothing_of_dnssec(self, world: World) -> None:
        reply = ask(at(world, "a.root-servers.net."), "www.signed.lab.", dnssec=False)
        assert types(reply.authority) == ["NS"]
        reply = ask(at(world, "ns1.signed.lab."), "nothing.signed.lab.", dnssec=False)
        assert types(reply.authority) == ["SOA"]

    def test_an_insecure_referral_proves_that_there_is_no_ds(self, world: World) -> None:
        reply = ask(at(world, "ns1.lab."), "www.plain.lab.")
        assert types(reply.authority) == ["NS", "NSEC", "RRSIG"]
        assert reply.authority[1].name.to_text() == "plain.lab."
        assert verify(world, [reply.authority]) == 1

    def test_an_insecure_referral_with_opt_out_covers_the_name(self, world: World) -> None:
        reply = ask(at(world, "a.gtld-servers.net."), "www.example.com.")
        assert types(reply.authority) == ["NS", "NSEC3", "RRSIG", "NSEC3", "RRSIG"] or types(reply.authority) == [
            "NS",
            "NSEC3",
            "RRSIG",
        ]
        assert all(rrset[0].flags & 1 for rrset in reply.authority if rrset.rdtype == dns.rdatatype.NSEC3)

    def test_ds_is_the_parents(self, world: World) -> None:
        assert types(ask(at(world, "ns1.lab."), "signed.lab.", "DS").answer) == ["DS", "RRSIG"]
        reply = ask(at(world, "ns1.signed.lab."), "signed.lab.", "DS")
        assert reply.flags & AA
        assert types(reply.authority) == ["SOA", "RRSIG", "NSEC", "RRSIG"]

    def test_case_is_kept(self, world: World) -> None:
        reply = ask(at(world, "ns1.signed.lab."), "wWw.SiGnEd.LaB.")
        assert reply.flags & AA
        assert reply.question[0].name.to_text() == "wWw.SiGnEd.LaB."
        assert [rrset.name.to_text() for rrset in reply.answer] == ["wWw.SiGnEd.LaB."] * 2
        assert verify(world, [reply.answer]) == 1

    def test_no_such_name(self, world: World) -> None:
        reply = ask(at(world, "ns1.signed.lab."), "nothing.signed.lab.")
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert types(reply.authority) == ["SOA", "RRSIG", "NSEC", "RRSIG", "NSEC", "RRSIG"]
        assert verify(world, [reply.authority]) == 3

    @pytest.mark.parametrize(
        ("name", "rtype", "rcode", "proofs"),
        [
            ("nothing.nsec3.lab.", "A", "NXDOMAIN", 3),
            ("www.nsec3.lab.", "TXT", "NOERROR", 1),
            ("between.nsec3.lab.", "TXT", "NOERROR", 1),
            ("x.any.nsec3.lab.", "TXT", "NOERROR", 3),
        ],
    )
    def test_nsec3_denials(self, world: World, name: str, rtype: str, rcode: str, proofs: int) -> None:
        reply = ask(at(world, "ns1.hosting.net."), name, rtype)
        assert dns.rcode.to_text(reply.rcode()) == rcode
        assert types(reply.authority).count("NSEC3") <= proofs
        assert verify(world, [reply.authority]) == types(reply.authority).count("NSEC3") + 1

    def test_a_wildcard_answers_with_its_proof(self, world: World) -> None:
        reply = ask(at(world, "ns1.hosting.net."), "anything.wild.lab.")
        assert types(reply.answer) == ["A", "RRSIG"]
        assert reply.answer[1][0].labels == 2
        assert types(reply.authority) == ["NSEC", "RRSIG"]
        assert verify(world, [reply.answer, reply.authority]) == 2

    def test_a_name_that_exists_is_no_wildcards(self, world: World) -> None:
        reply = ask(at(world, "ns1.hosting.net."), "here.wild.lab.")
        assert reply.rcode() == dns.rcode.NOERROR
        assert not reply.answer
        assert ask(at(world, "ns1.hosting.net."), "x.here.wild.lab.").rcode() == dns.rcode.NXDOMAIN

    def test_dname(self, world: World) -> None:
        reply = ask(at(world, "ns1.hosting.net."), "www.moved.alias.lab.")
        assert types(reply.answer) == ["DNAME", "RRSIG", "CNAME"]
        assert reply.answer[2][0].target.to_text() == "www.signed.lab."
        assert types(ask(at(world, "ns1.hosting.net."), "moved.alias.lab.", "DNAME").answer) == ["DNAME", "RRSIG"]

    def test_a_dname_that_makes_too_long_a_name(self, world: World) -> None:
        name = ".".join(["x" * 40] * 4) + ".grows.alias.lab."
        assert ask(at(world, "ns1.hosting.net."), name).rcode() == dns.rcode.YXDOMAIN

    def test_any_and_rrsig(self, world: World) -> None:
        server = at(world, "ns1.signed.lab.")
        assert set(types(ask(server, "www.signed.lab.", "ANY").answer)) == {"A", "AAAA", "RRSIG"}
        assert set(types(ask(server, "www.signed.lab.", "ANY", dnssec=False).answer)) == {"A", "AAAA"}
        assert set(types(ask(server, "www.signed.lab.", "RRSIG").answer)) == {"RRSIG"}

    def test_names_by_a_rule(self, world: World) -> None:
        server = at(world, "ns1.large.lab.")
        assert ask(server, "host-9999.large.lab.").answer[0][0].address == "10.0.39.15"
        for name in ("host-10000", "host-01", "host-", "host-1x", "host-0.x"):
            assert ask(server, f"{name}.large.lab.").rcode() == dns.rcode.NXDOMAIN, name
        reply = ask(server, "host-55555.large.lab.")
        assert verify(world, [reply.authority]) == 3
        cover = next(rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.NSEC)
        assert (cover.name.to_text(), cover[0].next.to_text()) == ("host-5555.large.lab.", "host-5556.large.lab.")

    def test_every_level_of_a_deep_name_refers_to_the_next(self, world: World) -> None:
        labels = DEEP.split(".")
        for level in range(1, 21):
            server = "ns.deep.lab." if level == 1 else f"ns.{'.'.join(labels[21 - level :])}"
            reply = ask(at(world, server), f"www.{DEEP}")
            assert reply.authority[0].name.to_text() == ".".join(labels[20 - level :])
        assert ask(at(world, f"ns.{DEEP}"), f"www.{DEEP}").flags & AA

    def test_zones_of_others_are_refused(self, world: World) -> None:
        reply = ask(at(world, "ns1.signed.lab."), "www.example.com.")
        assert reply.rcode() == dns.rcode.REFUSED
        assert ask(at(world, "ns1.signed.lab."), "signed.lab.", "AXFR").rcode() == dns.rcode.REFUSED

    def test_nobody_ever_signs_with_another_key(self, world: World) -> None:
        again = load(clock=lambda: NOW)
        for name in (".", "rsa.lab.", "ed25519.lab.", "p384.lab."):
            key = key_of(dns.name.from_text(name))
            assert again.zones[key].keys.dnskeys() == world.zones[key].keys.dnskeys()


class TestMisbehaviour:
    """Servers that are not well."""

    def test_truncation(self, world: World) -> None:
        server = at(world, "ns1.truncated.lab.")
        cut = ask(server, "www.truncated.lab.", tcp=False)
        assert cut.flags & TC
        assert not cut.answer
        assert ask(server, "www.truncated.lab.", tcp=True).answer

    def test_large_answers_are_cut_to_what_the_asker_takes(self, world: World) -> None:
        server = at(world, "ns1.notcp.lab.")
        query = dns.message.make_query("big.notcp.lab.", "TXT", use_edns=0, payload=4096)
        answer = server.reply(query.to_wire(), over_tcp=False)
        assert answer is not None
        assert len(answer[1]) <= 512
        assert dns.message.from_wire(answer[1]).flags & TC

    @pytest.mark.parametrize(("server", "rcode"), [("ns1.refused.lab.", "REFUSED"), ("ns1.servfail.lab.", "SERVFAIL")])
    def test_lame(self, world: World, server: str, rcode: str) -> None:
        assert dns.rcode.to_text(ask(at(world, server), "www.refused.lab.").rcode()) == rcode

    def test_upward_referral(self, world: World) -> None:
        reply = ask(at(world, "ns1.upward.lab."), "www.upward.lab.")
        assert not reply.flags & AA
        assert reply.authority[0].name == dns.name.root

    def test_old_server(self, world: World) -> None:
        server = at(world, "ns1.old.lab.")
        reply = ask(server, "www.old.lab.")
        assert (reply.rcode(), reply.edns) == (dns.rcode.FORMERR, -1)
        assert ask(server, "www.old.lab.", dnssec=False).answer
        assert ask(at(world, "ns1.noedns.lab."), "www.noedns.lab.").edns == -1

    def test_silence_delay_and_loss(self, world: World) -> None:
        query = dns.message.make_query("www.dead.lab.", "A").to_wire()
        assert at(world, "ns1.dead.lab.").reply(query, over_tcp=False) is None
        assert at(world, "ns1.dead.lab.").reply(query, over_tcp=True) is None
        slow = at(world, "ns1.slow.lab.").reply(query, over_tcp=False)
        assert slow is not None
        assert slow[0] == 0.25
        lossy = at(world, "ns1.lossy.lab.")
        lost = sum(lossy.reply(query, over_tcp=False) is None for _ in range(1000))
        assert 250 < lost < 350
        assert all(lossy.reply(query, over_tcp=True) is not None for _ in range(20))

    def test_nonsense(self, world: World) -> None:
        server = at(world, "ns1.signed.lab.")
        assert server.reply(b"", over_tcp=False) is None
        assert server.reply(b"\0\1\x80\0\0\1\0\0\0\0\0\0", over_tcp=False) is None  # itself a reply
        broken = server.reply(b"\0\7\0\0\0\1\0\0\0\0\0\0\xff", over_tcp=False)
        assert broken is not None
        assert broken[1][:4] == b"\0\7\x80\1"

    def test_unknown_edns_version(self, world: World) -> None:
        query = dns.message.make_query("www.signed.lab.", "A", use_edns=1)
        answer = at(world, "ns1.signed.lab.").reply(query.to_wire(), over_tcp=False)
        assert answer is not None
        assert dns.message.from_wire(answer[1]).rcode() == dns.rcode.BADVERS


class TestResolvers:
    """The two that know the whole world."""

    def test_aliases_are_followed_through_all_zones(self, world: World) -> None:
        reply = ask(Responder(world), "away.alias.lab.")
        assert reply.flags & RA
        assert not reply.flags & (AA | AD)
        assert types(reply.answer) == ["CNAME", "RRSIG", "A"]
        assert ask(Responder(world), "nowhere.alias.lab.").rcode() == dns.rcode.NXDOMAIN

    @pytest.mark.parametrize("name", ["loop.alias.lab.", "self.alias.lab.", "x.round.alias.lab."])
    def test_a_loop_ends(self, world: World, name: str) -> None:
        reply = ask(Responder(world), name)
        assert reply.rcode() == dns.rcode.NOERROR
        assert reply.answer

    @pytest.mark.parametrize(
        ("name", "secure"),
        [
            ("www.signed.lab.", True),
            ("nothing.signed.lab.", True),
            ("www.plain.lab.", False),
            ("www.island.lab.", False),
            ("away.alias.lab.", False),
            ("nothing.com.", False),
            ("nothing.org.", True),
            (f"www.{DEEP}", True),
        ],
    )
    def test_who_is_authentic(self, world: World, name: str, secure: bool) -> None:
        assert bool(ask(Responder(world, validate=True), name).flags & AD) is secure
        assert not ask(Responder(world), name).flags & AD

    @pytest.mark.parametrize(
        ("zone", "code"), [("expired", 7), ("early", 8), ("wrongds", 9), ("nosig", 10), ("badsig", 6)]
    )
    def test_what_is_bogus_fails(self, world: World, zone: str, code: int) -> None:
        name = f"www.{zone}.broken."
        reply = ask(Responder(world, validate=True), name)
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert [option.code for option in reply.options if isinstance(option, dns.edns.EDEOption)] == [code]
        assert ask(Responder(world), name).answer
        assert ask(Responder(world, validate=True), name, flags=dns.flags.CD).answer

    @pytest.mark.parametrize("zone", ["dead", "refused", "servfail", "upward", "noglue", "circle-a"])
    def test_what_cannot_be_reached_fails(self, world: World, zone: str) -> None:
        reply = ask(Responder(world), f"www.{zone}.lab.")
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert [option.code for option in reply.options if isinstance(option, dns.edns.EDEOption)] == [22]

    def test_names_that_misbehave(self, world: World) -> None:
        resolver = Responder(world)
        assert ask(resolver, "broken.example.com.").rcode() == dns.rcode.SERVFAIL
        assert ask(resolver, "refused.example.com.").rcode() == dns.rcode.REFUSED
        assert ask(resolver, "onlytcp.example.com.", tcp=False).flags & TC
        query = dns.message.make_query("slow.example.com.", "A").to_wire()
        answer = resolver.reply(query, over_tcp=False)
        assert answer is not None
        assert answer[0] == 0.3


GYM = (
    "rsasha1 rsasha1-nsec3 rsa512 ed448 two-keys half-known ds-sha1 ds-sha384 prepublish double double-ds revoked-old "
    "compact wildalias heavy iterated long-ttl"
).split()


class TestGym:
    """Zones for validators."""

    @pytest.mark.parametrize("zone", GYM)
    def test_signatures_of_sound_zones_are_good(self, world: World, zone: str) -> None:
        for name, rtype in (("www", "A"), ("nothing", "A"), ("www", "TXT")):
            reply = ask(at(world, "ns1.hosting.net."), f"{name}.{zone}.lab.", rtype)
            assert verify(world, [reply.answer, reply.authority]) >= 1

    def test_two_algorithms_one_signs(self, world: World) -> None:
        zone = world.zones[key_of(dns.name.from_text("two-keys.lab."))]
        assert {int(ds.algorithm) for ds in zone.keys.ds()} == {8, 13}
        reply = ask(at(world, "ns1.hosting.net."), "www.two-keys.lab.")
        assert {int(rrsig.algorithm) for rrsig in reply.answer[1]} == {13}

    def test_rolled_keys(self, world: World) -> None:
        server = at(world, "ns1.hosting.net.")
        keys = {
            zone: ask(server, f"{zone}.lab.", "DNSKEY").answer[0] for zone in ("prepublish", "double", "revoked-old")
        }
        assert [len(keys[zone]) for zone in keys] == [3, 3, 2]
        assert sorted(key.flags for key in keys["revoked-old"]) == [257, 385]
        assert len(ask(server, "www.prepublish.lab.").answer[1]) == 1
        assert len(ask(server, "www.double.lab.").answer[1]) == 2
        assert len(ask(at(world, "ns1.lab."), "double-ds.lab.", "DS").answer[0]) == 2

    def test_rfc9824_no_name_is_missing(self, world: World) -> None:
        reply = ask(at(world, "ns1.hosting.net."), "nothing.compact.lab.")
        assert reply.rcode() == dns.rcode.NOERROR
        nsec = next(rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.NSEC)
        assert nsec.to_text().split()[-4:] == ["\\000.nothing.compact.lab.", "RRSIG", "NSEC", "NXNAME"]
        there = ask(at(world, "ns1.hosting.net."), "between.compact.lab.").authority
        assert next(rrset for rrset in there if rrset.rdtype == dns.rdatatype.NSEC).to_text().endswith("RRSIG NSEC")

    def test_keys_that_share_a_tag_are_real_keys(self, world: World) -> None:
        reply = ask(at(world, "ns1.hosting.net."), "keytrap.broken.", "DNSKEY")
        tags = [dns.dnssec.key_id(key) for key in reply.answer[0]]
        assert len(tags) == 514
        assert max(tags.count(tag) for tag in set(tags)) == 513
        assert verify(world, [reply.answer]) == 1
        signatures = ask(at(world, "ns1.hosting.net."), "nothing.keytrap.broken.").authority
        assert {len(rrset) for rrset in signatures if rrset.rdtype == dns.rdatatype.RRSIG} == {128}

    def test_every_flaw_is_in_the_world(self, world: World) -> None:
        assert {zone.entry.broken for zone in world.zones.values()} - {""} == set(FLAWS)

    def test_every_kind_of_flaw_has_a_bogus_row(self, world: World) -> None:
        bogus = {row.zone for row in gym.rows(world) if row.verdict == "bogus"}
        for zone in world.zones.values():
            if zone.flaw.spoils and world.is_secure(zone):
                assert zone.name.to_text() in bogus
