//! Attacks on resolvers published in 2025 and 2026, each as a test that fails on a resolver without our rule. The table of
//! all of them, those that live in other rooms too, is docs/security-corpus.md.

use resolve::{Limits, Minimise};
use wire::{Ede, Rcode, Rtype};

use crate::internet::*;
use crate::net::*;

const RECORDS: &str = "example.com. NS ns.example.com.
    ns.example.com. A 192.0.2.4
    www.example.com. A 10.20.30.40";

/// example.com. and other.com., signed, below a signed com. and root.
fn signed(words: &str) -> Internet {
    let records = "example.com. NS ns.example.com.
        ns.example.com. A 192.0.2.1
        www.example.com. A 192.0.2.80
        *.wild.example.com. A 192.0.2.81
        here.wild.example.com. A 192.0.2.82
        *.wildc.example.com. CNAME www.example.com.
        here.wildc.example.com. A 192.0.2.83
        z.example.com. A 192.0.2.84";
    signed_internet()
        .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1")
        .more("com.", "other.com. NS ns.other.com.\nns.other.com. A 192.0.2.2")
        .zone("example.com.", "192.0.2.1", records)
        .signed("example.com.", words)
        .zone(
            "other.com.",
            "192.0.2.2",
            "other.com. NS ns.other.com.\nns.other.com. A 192.0.2.2\nwww.other.com. A 192.0.2.90",
        )
        .signed("other.com.", "")
}

fn bogus(told: &Told) -> bool {
    told.answer.rcode == Rcode::SERVFAIL && told.answer.answer.is_empty() && ede(told).code != 0
}

/// example.com. behind this cut.
fn delegated(cut: &str) -> Internet {
    internet().more("com.", cut).zone("example.com.", "192.0.2.4", RECORDS)
}

#[test]
fn cve_2026_42955_addresses_of_name_servers_do_not_outlive_their_delegation_either() {
    // The child says of its server's address that it lives for a day; the parent gives the zone 100 s and then takes it away.
    let cut = "example.com. 100 NS ns.example.com.\nns.example.com. 100 A 192.0.2.4";
    let day = "example.com. 86400 NS ns.example.com.\nns.example.com. 86400 A 192.0.2.4";
    let mut gone = false;
    let world = internet()
        .more("com.", cut)
        .zone("example.com.", "192.0.2.4", day)
        .more("example.com.", "*.example.com. 1 A 10.0.0.1");
    let world = world.at("198.51.100.2", move |asked| {
        let first = !std::mem::replace(&mut gone, true);
        (!first).then(|| soon(asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("com.", 900, 900)])))
    });
    let limits = Limits { scrub_promiscuous: false, ..Limits::default() };
    let mut net = world.build(
        limits,
        |recursion| (recursion.minimise, recursion.harden_referral_path) = (Minimise::Off, true),
        |_| {},
    );
    let mut codes = Vec::new();
    for n in 0..8 {
        // Who keeps the ghost alive asks for what would renew it.
        net.resolve("ns.example.com.", Rtype::A);
        net.resolve("example.com.", Rtype::NS);
        codes.push(net.resolve(&format!("n{n}.example.com."), Rtype::A).answer.rcode);
        net.now += 20_000;
    }
    assert_eq!(codes[0], Rcode::NOERROR);
    assert_eq!(codes[6..], [Rcode::NXDOMAIN; 2], "{codes:?} {:?}", net.trace());
}

#[test]
fn pdns_2025_06_delegations_that_come_beside_an_answer_replace_none() {
    // Off-path, or in the second fragment of a long answer: name servers and addresses for the zone and for others.
    let beside = |asked: &Asked| {
        let ns = |owner: &str| set(owner, 86_400, Rtype::NS, name("ns.evil.com.").as_ref().as_wire());
        let forged = wire::Answer {
            aa: true,
            answer: vec![a(&asked.name(), 30, 40)],
            authority: vec![ns("example.com."), ns("com."), ns("www.example.com.")],
            additional: vec![a("ns.evil.com.", 86_400, 66), a("ns.example.com.", 86_400, 66), a("ns.com.", 86_400, 66)],
            ..Default::default()
        };
        (asked.name() == "long.example.com.").then(|| soon(asked.render(&forged)))
    };
    let mut net =
        delegated("example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4").at("192.0.2.4", beside).plain();
    net.resolve("long.example.com.", Rtype::A);
    for asked in ["www.example.com.", "x.www.example.com.", "other.com."] {
        net.resolve(asked, Rtype::A);
    }
    assert!(net.sent.iter().all(|asked| asked.who() != 66), "{:?}", net.trace());
    // Replies do not come in fragments in the first place: no server is told that more than 1232 octets are taken.
    assert!(net.sent.iter().all(|asked| asked.query.edns.is_none_or(|edns| edns.udp_size <= 1232)));
}

#[test]
fn glue_that_points_at_the_parent_at_itself_or_in_a_circle_ends_soon() {
    let parent = "example.com. NS ns.example.com.\nns.example.com. A 198.51.100.2";
    let itself = "example.com. NS example.com.";
    let circle = "example.com. NS ns.b.com.\nb.com. NS ns.c.com.\nc.com. NS ns.example.com.";
    let alias = "example.com. NS ns.b.com.\nns.b.com. CNAME www.example.com.";
    for cut in [parent, itself, circle, alias] {
        let mut net = internet().more("com.", cut).with(|recursion| {
            (recursion.minimise, recursion.fetch_policy) = (Minimise::Off, vec![3, 2, 1, 0, 0]);
        });
        let began = net.now;
        assert_eq!(net.resolve("www.example.com.", Rtype::A).answer.rcode, Rcode::SERVFAIL, "{cut}");
        assert!(net.sent.len() <= 24 && net.now - began < 5_000, "{cut}: {} packets {:?}", net.sent.len(), net.trace());
    }
}

#[test]
fn a_referral_to_1000_name_servers_with_addresses_costs_few_packets() {
    let referral = |asked: &Asked| {
        let mut ns = set("example.com.", 3600, Rtype::NS, name("n0.example.com.").as_ref().as_wire());
        let mut glue = vec![];
        for n in 0..1000u16 {
            let server = format!("n{n}.example.com.");
            ns.make_mut().rdata.push(name(&server).as_ref().as_wire());
            glue.push(set(&server, 3600, Rtype::A, &[10, 99, (n >> 8) as u8, n as u8]));
        }
        let said = wire::Answer { authority: vec![ns], additional: glue, ..Default::default() };
        (asked.name() != ".").then(|| soon(asked.render(&said)))
    };
    let mut net = internet().at("198.51.100.2", referral).plain();
    let began = net.now;
    assert_eq!(net.resolve("www.example.com.", Rtype::A).answer.rcode, Rcode::SERVFAIL);
    assert!(net.sent.len() <= 64 && net.now - began <= 60_000, "{} packets, {} ms", net.sent.len(), net.now - began);
}

#[test]
fn jiggle_asking_the_same_again_keeps_nobodys_place() {
    // All places are taken by questions whose server is silent, and their clients repeat them to keep them young.
    let limits = Limits { max_queries: 16, ..Limits::default() };
    let mut net = FakeNet::with(limits, forwards([zone("slow.", &[1]), zone(".", &[2])]), |asked| {
        if asked.who() == 1 { vec![] } else { soon(asked.address()) }
    });
    let (mut client, mut failed) = (0, 0);
    for round in 0..50 {
        for n in 0..16 {
            client += 1;
            net.ask_as(client, hasty(&format!("n{n}.slow."), Rtype::A));
        }
        net.run_until(net.now + 250);
        client += 1;
        net.ask_as(client, hasty(&format!("n{round}.good."), Rtype::A));
        net.run_until(net.now + 50);
        failed += u32::from(net.the_answer(client).answer.rcode != Rcode::NOERROR);
    }
    assert_eq!(failed, 0, "of 50 questions elsewhere found no place");
    net.run();
}

#[test]
fn qr0_the_echo_of_a_query_is_no_answer_however_often_it_comes() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let echo = |n: u64| {
            let mut bytes = asked.address();
            bytes[2] &= 0x7f;
            (n, Fate::Bytes(bytes))
        };
        match asked.over {
            resolve::Transport::Udp => (1..40).map(echo).collect(),
            resolve::Transport::Tcp => soon(asked.address()),
        }
    });
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!((told.answer.rcode, told.answer.answer.len()), (Rcode::NOERROR, 1));
    assert_eq!(net.sent.len(), 2, "the second over TCP: {:?}", net.trace());
}

#[test]
fn cve_2026_44690_more_or_fewer_labels_than_the_name_has_make_nothing_true_in_any_zone() {
    // The last says that example.com.'s key vouches for a wildcard of com., in whose name other zones could be answered.
    for flaw in ["labels+1", "labels=255", "labels=1 owner=*.com.", "labels=0 owner=*.", "labels=1"] {
        for way in ["nsec", "nsec3"] {
            let mut net = signed(way).flaw("example.com.", "www.example.com. A", flaw).plain();
            assert!(bogus(&net.resolve("www.example.com.", Rtype::A)), "{flaw}");
            assert_eq!(addresses(&net.resolve("www.other.com.", Rtype::A)), ["192.0.2.90"], "{flaw}");
            assert_eq!(net.resolve("gone.com.", Rtype::A).answer.rcode, Rcode::NXDOMAIN, "{flaw}");
        }
    }
}

#[test]
fn cve_2026_52688_and_11721_a_plain_answer_signed_as_a_wildcard_needs_the_wildcards_proof() {
    // Labels say *.example.com., and the signature is right for it; nobody proves that www is not there.
    for way in ["nsec", "nsec3", "nsec3 optout"] {
        let flaw = "labels=2 owner=*.example.com.";
        let mut net = signed(way).flaw("example.com.", "www.example.com. A", flaw).plain();
        let told = net.resolve("www.example.com.", Rtype::A);
        assert!(bogus(&told), "{way}: {told:?}");
    }
}

#[test]
fn cve_2026_52686_a_wildcard_cname_without_its_proof_is_bogus() {
    for way in ["nsec", "nsec3", "nsec3 optout"] {
        for (qname, proof) in
            [("a.wildc.example.com.", ""), ("here.wildc.example.com.", "authority over a.wildc.example.com.")]
        {
            let lie = format!(
                "answer *.wildc.example.com. CNAME as {qname}
                answer www.example.com. A
                {proof}"
            );
            let mut net = signed(way).lie("192.0.2.1", &format!("{qname} A"), &lie).plain();
            let told = net.resolve(qname, Rtype::A);
            assert!(bogus(&told), "{way} {qname}: {told:?}");
            assert!(addresses(&net.resolve("b.wildc.example.com.", Rtype::A)) == ["192.0.2.80"], "{way}: the true one");
        }
    }
}

#[test]
fn cve_2026_46582_a_replayed_wildcard_is_not_served_when_the_truth_has_expired() {
    for (timeout, way) in [(0, "nsec"), (1_800, "nsec"), (0, "nsec3"), (1_800, "nsec3")] {
        let asked = std::rc::Rc::new(std::cell::Cell::new(false));
        let later = std::rc::Rc::clone(&asked);
        let world = signed(way);
        let replay = std::cell::RefCell::new(None);
        let world = world.at("192.0.2.1", move |asked| {
            if !later.get() || asked.name() != "here.wild.example.com." || asked.query.qtype != Rtype::A {
                return None;
            }
            let mut replay = replay.borrow_mut();
            let said = replay.get_or_insert_with(|| {
                let mut twin = signed(way);
                twin.seal();
                let mut said = twin.say("192.0.2.1", "x.wild.example.com.", Rtype::A);
                said.answer[0].make_mut().owner = name("here.wild.example.com.");
                said
            });
            Some(soon(asked.render(said)))
        });
        let limits = Limits { serve_expired: true, serve_expired_client_timeout_ms: timeout, ..Limits::default() };
        let mut net = world.build(limits, |recursion| recursion.minimise = Minimise::Off, |_| {});
        assert_eq!(addresses(&net.resolve("here.wild.example.com.", Rtype::A)), ["192.0.2.82"]);
        asked.set(true);
        for _ in 0..4 {
            net.now += 4_000_000;
            let told = net.resolve("here.wild.example.com.", Rtype::A);
            assert!(
                told.answer.rcode == Rcode::SERVFAIL || addresses(&told) == ["192.0.2.82"],
                "{way} {timeout}: {told:?}"
            );
        }
        assert!(
            net.sent.iter().filter(|asked| asked.name() == "here.wild.example.com.").count() > 1,
            "it was asked again"
        );
    }
}

#[test]
fn an_nsec_whose_next_name_lies_outside_the_zone_denies_nothing() {
    // Signed by the zone itself, so an operator's mistake or a way to deny what belongs to others (RFC 9077, RFC 8198).
    let mut net = signed("").more("example.com.", "z.example.com. NSEC zzz.org. A RRSIG NSEC").plain();
    let told = net.resolve("zz.example.com.", Rtype::A);
    assert!(bogus(&told), "{told:?}");
    assert_eq!(ede(&told).code, Ede::DNSSEC_BOGUS);
    for (asked, qtype) in [("www.other.com.", Rtype::A), ("other.com.", Rtype::DS), ("www.example.com.", Rtype::A)] {
        let told = net.resolve(asked, qtype);
        assert!(told.answer.ad && !told.answer.answer.is_empty(), "{asked}: {told:?}");
    }
}

#[test]
fn cve_2026_50045_beginning_again_after_bogus_data_earns_no_new_quota() {
    // Eight servers for a zone, their names in another zone, each with data that do not verify.
    let mut cut = String::new();
    let mut names = String::from("other.com. NS ns.other.com.\nns.other.com. A 192.0.2.2\n");
    let mut servers = String::new();
    for n in 10..18 {
        cut.push_str(&format!("victim.com. NS n{n}.other.com.\n"));
        names.push_str(&format!("n{n}.other.com. A 192.0.2.{n}\n"));
        servers.push_str(&format!("192.0.2.{n} "));
    }
    let world = || {
        signed_internet()
            .more("com.", &cut)
            .more("com.", "other.com. NS ns.other.com.\nns.other.com. A 192.0.2.2")
            .zone("other.com.", "192.0.2.2", &names)
            .signed("other.com.", "")
            .zone("victim.com.", &servers, "victim.com. NS n10.other.com.\nwww.victim.com. A 192.0.2.80")
            .signed("victim.com.", "")
            .flaw("victim.com.", "www.victim.com. A", "garbage")
    };
    let asked = |quota: u32| {
        let limits = Limits { max_global_quota: quota, ..Limits::default() };
        let mut net = world().build(limits, |recursion| recursion.minimise = Minimise::Off, |_| {});
        assert_eq!(net.resolve("www.victim.com.", Rtype::A).answer.rcode, Rcode::SERVFAIL);
        net.sent.len()
    };
    let whole = asked(200);
    assert!(whole <= 40, "{whole} packets for one bogus answer");
    for quota in [20, 12] {
        assert!(asked(quota) <= quota as usize + 1, "{} packets with a quota of {quota}", asked(quota));
    }
}

#[test]
fn keytrap_cve_2023_50387_a_zone_of_colliding_keys_and_wrong_signatures_fails_and_harms_no_other() {
    for words in ["colliding=60 badsigs=7", "badsigs=40", "badds=60"] {
        let mut net = signed(words).plain();
        let told = net.resolve("www.example.com.", Rtype::A);
        assert!(bogus(&told), "{words}: {told:?}");
        assert!(net.sent.len() <= 24, "{words}: {} packets", net.sent.len());
        assert!(net.resolve("www.other.com.", Rtype::A).answer.ad);
    }
}

#[test]
fn keytrap_cve_2023_50387_others_have_their_turn_after_a_few_signatures() {
    for words in ["colliding=60 badsigs=7", "badsigs=40", "badds=60", ""] {
        let mut net = signed(words).plain();
        // Many at once, and a chain of keys that is all remembered but not proven.
        for round in 0..2 {
            for (client, asked) in (1..).zip(["www", "z", "a.wild", "b.wild", "gone"]) {
                net.ask(round * 10 + client, &format!("{asked}.example.com."), Rtype::A);
            }
            net.run();
            net.now += 4_000_000;
        }
        let counts = net.mesh.counts();
        assert!(counts.verifications > 0);
        assert!(counts.most_at_once <= 24, "{words}: {counts:?}");
    }
}

#[test]
fn cve_2023_50868_a_zone_of_many_iterations_is_not_hashed() {
    for (iterations, ad) in [(150, true), (151, false), (65_000, false)] {
        let mut net = signed(&format!("nsec3 iterations={iterations}")).plain();
        let told = net.resolve("gone.example.com.", Rtype::A);
        assert_eq!((told.answer.rcode, told.answer.ad), (Rcode::NXDOMAIN, ad), "{iterations}: {told:?}");
    }
}

#[test]
fn cve_2026_44687_a_name_that_is_not_there_hides_no_forward_zone_below_it() {
    let table = |table: &mut resolve::ForwardsBuilder| {
        table.zone(zone("inside.gone.example.com.", &[7])).zone(zone("corp.example.com.", &[7]));
    };
    let world = signed("")
        .trust(|trust| {
            trust.domain_insecure(name("inside.gone.example.com.")).domain_insecure(name("corp.example.com."));
        })
        .at("192.0.2.7", |asked| Some(soon(asked.address())))
        .recursor("192.0.2.7");
    let mut net = world.build(Limits::default(), |recursion| recursion.minimise = Minimise::Off, table);
    // The zone proves that both names are not there.
    for (asked, qtype) in
        [("gone.example.com.", Rtype::A), ("corp.example.com.", Rtype::DS), ("inside.gone.example.com.", Rtype::DS)]
    {
        let told = net.resolve(asked, qtype);
        assert_eq!((told.answer.rcode, told.answer.ad), (Rcode::NXDOMAIN, true), "{asked}: {told:?}");
    }
    for asked in
        ["www.inside.gone.example.com.", "inside.gone.example.com.", "www.corp.example.com.", "corp.example.com."]
    {
        let told = net.resolve(asked, Rtype::A);
        assert_eq!(addresses(&told), ["192.0.2.1"], "{asked}: {told:?} {:?}", net.trace());
    }
    let before = net.sent.len();
    assert_eq!(net.resolve("www.gone.example.com.", Rtype::A).answer.rcode, Rcode::NXDOMAIN);
    assert_eq!(net.sent.len(), before, "below the name itself nothing is asked for (RFC 8020)");
}
