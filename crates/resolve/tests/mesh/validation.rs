//! What is proven, what is not, and who is told: RFC 4035 5, RFC 5155 8, over the signed Internet.

use wire::{Ede, Rcode, Rtype};

use crate::internet::*;
use crate::net::*;

const RECORDS: &str = "example.com. NS ns.example.com.
    ns.example.com. A 192.0.2.1
    www.example.com. A 192.0.2.80
    alias.example.com. CNAME www.example.com.
    out.example.com. CNAME www.other.com.
    star.example.com. CNAME a.wild.example.com.
    *.wild.example.com. A 192.0.2.81
    *.wildc.example.com. CNAME www.example.com.
    moved.example.com. DNAME other.com.
    x.ent.example.com. TXT deep
    insecure.example.com. NS ns.insecure.example.com.
    ns.insecure.example.com. A 192.0.2.9";

const WAYS: [&str; 6] = ["nsec", "nsec csk alg=13", "nsec3", "nsec3 salt=aabb iterations=3", "nsec3 optout", "compact"];

/// Root, com., example.com. and other.com., all signed, and an unsigned zone below example.com.
fn world(words: &str) -> Internet {
    signed_internet()
        .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1")
        .more("com.", "other.com. NS ns.other.com.\nns.other.com. A 192.0.2.2")
        .zone("example.com.", "192.0.2.1", RECORDS)
        .signed("example.com.", words)
        .zone("other.com.", "192.0.2.2", "other.com. NS ns.other.com.\nns.other.com. A 192.0.2.2\nwww.other.com. A 192.0.2.90")
        .signed("other.com.", "")
        .zone("insecure.example.com.", "192.0.2.9", "insecure.example.com. NS ns.insecure.example.com.\nns.insecure.example.com. A 192.0.2.9\nwww.insecure.example.com. A 192.0.2.99")
}

fn bogus(told: &Told) -> Ede {
    assert_eq!(told.answer.rcode, Rcode::SERVFAIL, "{told:?}");
    assert!(told.answer.answer.is_empty() && !told.answer.ad);
    ede(told)
}

#[test]
fn rfc4035_5_answers_of_every_kind_are_proven() {
    for words in WAYS {
        let optout = words.contains("optout");
        for (qname, qtype, rcode, ad) in [
            ("www.example.com.", Rtype::A, Rcode::NOERROR, true),
            ("example.com.", Rtype::SOA, Rcode::NOERROR, true),
            ("example.com.", Rtype::DNSKEY, Rcode::NOERROR, true),
            ("example.com.", Rtype::DS, Rcode::NOERROR, true),
            ("com.", Rtype::DS, Rcode::NOERROR, true),
            (".", Rtype::NS, Rcode::NOERROR, true),
            ("www.example.com.", Rtype::TXT, Rcode::NOERROR, true),
            ("www.example.com.", Rtype::DS, Rcode::NOERROR, true),
            ("alias.example.com.", Rtype::A, Rcode::NOERROR, true),
            ("out.example.com.", Rtype::A, Rcode::NOERROR, true),
            ("www.moved.example.com.", Rtype::A, Rcode::NOERROR, true),
            ("a.wild.example.com.", Rtype::A, Rcode::NOERROR, !optout),
            ("a.b.wild.example.com.", Rtype::A, Rcode::NOERROR, !optout),
            ("a.wildc.example.com.", Rtype::A, Rcode::NOERROR, !optout),
            ("star.example.com.", Rtype::A, Rcode::NOERROR, !optout),
            ("ent.example.com.", Rtype::A, Rcode::NOERROR, true),
            ("gone.example.com.", Rtype::A, if words == "compact" { Rcode::NOERROR } else { Rcode::NXDOMAIN }, !optout),
            ("insecure.example.com.", Rtype::DS, Rcode::NOERROR, !optout),
            ("www.insecure.example.com.", Rtype::A, Rcode::NOERROR, false),
            ("none.insecure.example.com.", Rtype::A, Rcode::NXDOMAIN, false),
        ] {
            let mut net = world(words).plain();
            for time in ["from the servers", "from the store"] {
                let told = net.resolve(qname, qtype);
                let said = (told.answer.rcode, told.answer.ad);
                assert_eq!(said, (rcode, ad), "{words}: {qname} {qtype} {time}: {:?} {:#?}", told, net.trace());
            }
        }
    }
}

#[test]
fn rfc4035_5_5_what_is_signed_wrongly_is_refused_and_said_why() {
    for (flaw, code) in [
        ("expired", Ede::SIGNATURE_EXPIRED),
        ("future", Ede::SIGNATURE_NOT_YET_VALID),
        ("inverted", Ede::SIGNATURE_EXPIRED_BEFORE_VALID),
        ("garbage", Ede::DNSSEC_BOGUS),
        ("unsigned", Ede::RRSIGS_MISSING),
        ("by=stranger", Ede::DNSKEY_MISSING),
    ] {
        let mut net = world("").flaw("example.com.", "www.example.com. A", flaw).plain();
        for time in ["from the servers", "from the store"] {
            let told = net.resolve("www.example.com.", Rtype::A);
            assert_eq!(bogus(&told).code, code, "{flaw} {time}: {told:?}");
        }
        let bold = net.resolve_as(resolve::Question { cd: true, ..question("www.example.com.", Rtype::A) });
        assert_eq!(
            (addresses(&bold), bold.answer.ad),
            (vec!["192.0.2.80".to_owned()], false),
            "RFC 4035 3.2.2: {flaw}"
        );
        assert!(net.resolve("example.com.", Rtype::SOA).answer.ad, "the rest of the zone is as it was");
    }
}

/// example.com. has two servers, 192.0.2.1 and .3; .3 is the one where the tests hang something.
fn two_servers(words: &str) -> Internet {
    signed_internet()
        .more("com.", "example.com. NS ns.example.com.\nexample.com. NS ns3.example.com.")
        .more("com.", "ns.example.com. A 192.0.2.1\nns3.example.com. A 192.0.2.3")
        .zone("example.com.", "192.0.2.1 192.0.2.3", RECORDS)
        .more("example.com.", "ns3.example.com. A 192.0.2.3\nexample.com. NS ns3.example.com.")
        .signed("example.com.", words)
}

/// The answer is proven whichever server is drawn first, and the bad one is.
fn always_secure(make: impl Fn() -> Internet) {
    let mut met = false;
    for nth in 0..40u8 {
        let mut net = make().plain();
        net.reseed(nth);
        let told = net.resolve("www.example.com.", Rtype::A);
        assert!(told.answer.ad && addresses(&told) == ["192.0.2.80"], "{told:?} {:#?}", net.trace());
        let own = |asked: &&Asked| asked.server.ip().to_string().starts_with("192.0.2.");
        met |= net.sent.iter().find(own).expect("one of the two").who() == 3;
        if met && nth > 4 {
            return;
        }
    }
    panic!("the bad server was never drawn first");
}

#[test]
fn val_max_restart_what_is_bogus_is_asked_for_at_other_servers() {
    let forged = "answer www.example.com. 60 A 192.0.2.66";
    always_secure(|| two_servers("").lie("192.0.2.3", "www.example.com. A", forged));
    always_secure(|| two_servers("").lie("192.0.2.3", "example.com. DNSKEY", "answer com. DNSKEY as example.com."));
    always_secure(|| {
        two_servers("").lie(
            "192.0.2.3",
            "www.example.com. A",
            "authority example.com. SOA\nauthority at ns.example.com.",
        )
    });
}

#[test]
fn dnssec_lameness_a_server_that_strips_signatures_is_passed_by() {
    always_secure(|| two_servers("").strips("192.0.2.3"));
}

#[test]
fn cve_2026_50045_asking_others_renews_no_budget_and_ends() {
    let forged = "answer www.example.com. 60 A 192.0.2.66";
    let mut net = world("").lie("192.0.2.1", "www.example.com. A", forged).plain();
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!(bogus(&told).code, Ede::RRSIGS_MISSING);
    let times = net.trace().iter().filter(|line| line.starts_with("www.example.com. A @1")).count();
    assert!(times <= 3, "{:#?}", net.trace());
    let before = net.sent.len();
    assert_eq!(bogus(&net.resolve("www.example.com.", Rtype::A)).code, Ede::RRSIGS_MISSING);
    assert_eq!(net.sent.len(), before, "it is remembered for val-bogus-ttl");
    net.now += 61_000;
    net.resolve("www.example.com.", Rtype::A);
    assert!(net.sent.len() > before, "and no longer");
}

#[test]
fn rfc8145_5_2_the_root_learns_which_of_its_keys_are_trusted_when_it_is_asked_for_them() {
    let signals = |net: &FakeNet| net.trace().iter().filter(|line| line.contains("_ta-")).count();
    let mut net = world("").plain();
    assert!(net.resolve("www.example.com.", Rtype::A).answer.ad);
    assert_eq!(signals(&net), 1, "{:#?}", net.trace());
    assert!(net.resolve("www.other.com.", Rtype::A).answer.ad);
    assert_eq!(signals(&net), 1, "not again as long as the keys are known");
    let mut net = world("").trust(|trust| trust.signal = false).plain();
    assert!(net.resolve("www.example.com.", Rtype::A).answer.ad);
    assert_eq!(signals(&net), 0);
}
