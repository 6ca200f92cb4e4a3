//! Attacks on resolvers published in 2025 and 2026, each as a test that fails on a resolver without our rule. The table of
//! all of them, those that live in other rooms too, is docs/security-corpus.md.

use resolve::{Limits, Minimise};
use wire::{Rcode, Rtype};

use crate::internet::*;
use crate::net::*;

const RECORDS: &str = "example.com. NS ns.example.com.
    ns.example.com. A 192.0.2.4
    www.example.com. A 10.20.30.40";

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
