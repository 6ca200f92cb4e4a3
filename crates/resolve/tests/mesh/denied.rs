//! What follows from proofs that are remembered, without asking anyone (RFC 8198), over the signed Internet.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use resolve::trust::Nta;
use resolve::{Limits, Live};
use wire::{Answer, Class, Rcode, Rrset, Rtype};

use crate::internet::*;
use crate::net::*;
use crate::signer::BEGIN_S;

const RECORDS: &str = "example.com. NS ns.example.com.
    ns.example.com. A 192.0.2.1
    a.example.com. A 192.0.2.80
    m.example.com. A 192.0.2.80
    x.ent.example.com. TXT deep
    *.wild.example.com. A 192.0.2.81
    here.wild.example.com. TXT here
    unsigned.example.com. NS ns.unsigned.example.com.
    ns.unsigned.example.com. A 192.0.2.9
    z.example.com. A 192.0.2.84";

fn world(words: &str) -> Internet {
    signed_internet()
        .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1")
        .zone("example.com.", "192.0.2.1", RECORDS)
        .signed("example.com.", words)
        .zone(
            "unsigned.example.com.",
            "192.0.2.9",
            "unsigned.example.com. NS ns.unsigned.example.com.\nns.unsigned.example.com. A 192.0.2.9\n\
             www.unsigned.example.com. A 192.0.2.99",
        )
}

/// What is told, and how many packets it took.
fn told(net: &mut FakeNet, qname: &str, qtype: Rtype) -> (Rcode, usize, bool, usize) {
    let before = net.sent.len();
    let told = net.resolve(qname, qtype);
    (told.answer.rcode, told.answer.answer.len(), told.answer.ad, net.sent.len() - before)
}

/// Asks for what teaches all there is to know of the zone's names.
fn learn(net: &mut FakeNet) {
    for (qname, qtype) in [
        ("0.example.com.", Rtype::A),
        ("b.example.com.", Rtype::A),
        ("n.example.com.", Rtype::A),
        ("a.example.com.", Rtype::TXT),
        ("ent.example.com.", Rtype::TXT),
        ("one.wild.example.com.", Rtype::A),
        ("one.wild.example.com.", Rtype::MX),
        ("here.wild.example.com.", Rtype::A),
        ("y.example.com.", Rtype::A),
        ("zz.example.com.", Rtype::A),
    ] {
        net.resolve(qname, qtype);
    }
    // Hashes have an order of their own: these fall into every gap of it.
    for n in 0..60 {
        net.resolve(&format!("gone{n}.example.com."), Rtype::A);
    }
}

#[test]
fn rfc8198_5_what_is_denied_once_is_not_asked_for_again() {
    for words in ["nsec", "nsec3", "nsec3 salt=aabb iterations=10"] {
        let mut net = world(words).plain();
        learn(&mut net);
        for (qname, qtype, rcode, records) in [
            ("0a.example.com.", Rtype::A, Rcode::NXDOMAIN, 0),
            ("Bb.example.com.", Rtype::AAAA, Rcode::NXDOMAIN, 0),
            ("deep.below.b.example.com.", Rtype::MX, Rcode::NXDOMAIN, 0),
            ("a.example.com.", Rtype::MX, Rcode::NOERROR, 0),
            ("ent.example.com.", Rtype::A, Rcode::NOERROR, 0),
            ("two.wild.example.com.", Rtype::A, Rcode::NOERROR, 1),
            ("deep.two.wild.example.com.", Rtype::A, Rcode::NOERROR, 1),
            ("two.wild.example.com.", Rtype::AAAA, Rcode::NOERROR, 0),
            ("here.wild.example.com.", Rtype::AAAA, Rcode::NOERROR, 0),
            ("zzz.example.com.", Rtype::A, Rcode::NXDOMAIN, 0),
        ] {
            let said = told(&mut net, qname, qtype);
            assert_eq!(said, (rcode, records, true, 0), "{words}: {qname} {qtype}: {:?}", net.trace());
        }
        // What is there is asked for.
        let said = told(&mut net, "m.example.com.", Rtype::A);
        assert_eq!((said.0, said.1, said.2), (Rcode::NOERROR, 1, true));
        assert!(said.3 > 0);
    }
}

#[test]
fn rfc8198_5_4_what_follows_ends_with_the_proof() {
    let mut net = world("nsec").plain();
    let first = net.resolve("b.example.com.", Rtype::A).answer.authority[0].ttl;
    net.now += u64::from(first - 10) * 1_000;
    let second = net.resolve("bb.example.com.", Rtype::A).answer;
    assert_eq!((second.rcode, second.authority[0].rtype, second.authority[0].ttl), (Rcode::NXDOMAIN, Rtype::SOA, 10));
    net.now += 10_000;
    assert!(told(&mut net, "bbb.example.com.", Rtype::A).3 > 0);
}

#[test]
fn rfc5155_9_2_nothing_follows_for_names_in_an_opt_out_span_but_that_there_is_no_ds() {
    let mut net = world("nsec3 optout").plain();
    learn(&mut net);
    let said = told(&mut net, "bb.example.com.", Rtype::A);
    assert_eq!((said.0, said.2), (Rcode::NXDOMAIN, false));
    assert!(said.3 > 0);
    let said = told(&mut net, "www.unsigned.example.com.", Rtype::A);
    assert_eq!((said.0, said.1, said.2), (Rcode::NOERROR, 1, false));
}

#[test]
fn rfc5155_9_2_a_client_hears_of_ds_records_in_an_opt_out_span_from_those_who_know() {
    let mut net = world("nsec3 optout").plain();
    learn(&mut net);
    net.resolve("example.com.", Rtype::MX);
    let said = told(&mut net, "x.y.unsigned.example.com.", Rtype::DS);
    assert_eq!((said.0, said.2), (Rcode::NXDOMAIN, false), "the zone below says so, not the span above");
    let said = told(&mut net, "unsigned.example.com.", Rtype::DS);
    assert_eq!((said.0, said.1, said.2), (Rcode::NOERROR, 0, false));
}

#[test]
fn unsigned_delegations_are_known_from_the_names_beside_them() {
    for words in ["nsec", "nsec3"] {
        let mut net = world(words).plain();
        learn(&mut net);
        net.resolve("unsigned.example.com.", Rtype::DS);
        net.resolve("www.unsigned.example.com.", Rtype::A);
        let asked = net.sent.iter().filter(|asked| asked.query.qtype == Rtype::DS).count();
        net.resolve("other.unsigned.example.com.", Rtype::A);
        assert_eq!(net.sent.iter().filter(|asked| asked.query.qtype == Rtype::DS).count(), asked, "{words}");
    }
}

#[test]
fn aggressive_nsec_off_is_off() {
    let mut net = world("nsec").trust(|trust| trust.aggressive_nsec = false).plain();
    learn(&mut net);
    for qname in ["0a.example.com.", "bb.example.com.", "two.wild.example.com."] {
        assert!(told(&mut net, qname, Rtype::A).3 > 0, "{qname}");
    }
}

#[test]
fn what_is_not_validated_is_not_denied_by_what_was() {
    let live: Rc<OnceCell<Arc<Live>>> = Rc::default();
    let slot = Rc::clone(&live);
    let mut net = world("nsec").trust(move |trust| drop(slot.set(Arc::clone(trust.live())))).plain();
    learn(&mut net);
    let (since, until) = (BEGIN_S, BEGIN_S + 3_600);
    let nta = Nta { name: name("bb.example.com."), since, until, recheck_s: 0, reason: String::new() };
    live.get().expect("a trust").excuse(nta).expect("room");
    let said = told(&mut net, "bb.example.com.", Rtype::A);
    assert_eq!((said.0, said.2), (Rcode::NXDOMAIN, false));
    assert!(said.3 > 0);
}

#[test]
fn signatures_without_what_they_cover_are_no_proof_that_there_is_nothing() {
    let truth = world("nsec").plain().resolve("a.example.com.", Rtype::A).answer;
    let denial = world("nsec").plain().resolve("a.example.com.", Rtype::TXT).answer;
    let stripped = move |asked: &Asked| {
        let set = &truth.answer[0];
        let orphan = Rrset::new(set.owner.clone(), Rtype::RRSIG, Class::IN, 300, set.sigs.clone());
        let authority = denial.authority.clone();
        let answer = Answer { aa: true, answer: vec![orphan], authority, ..Answer::default() };
        (asked.name() == "a.example.com." && asked.query.qtype == Rtype::A).then(|| soon(asked.render(&answer)))
    };
    let mut net = world("nsec").at("192.0.2.1", stripped).build(Limits::default(), |_| {}, |_| {});
    let told = net.resolve("a.example.com.", Rtype::A);
    assert_eq!((told.answer.rcode, told.answer.ad), (Rcode::SERVFAIL, false), "{told:?}");
}
