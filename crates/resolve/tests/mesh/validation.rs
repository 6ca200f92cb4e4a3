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

/// The questions for DS and DNSKEY sets that left, in order.
fn chain(net: &FakeNet) -> Vec<String> {
    let keys = |asked: &&Asked| matches!(asked.query.qtype, Rtype::DS | Rtype::DNSKEY);
    net.sent.iter().filter(keys).map(|asked| format!("{} {}", asked.name(), asked.query.qtype)).collect()
}

#[test]
fn rfc4035_2_4_referrals_bring_the_ds_sets_and_the_keys_are_remembered() {
    let mut net = world("").plain();
    assert!(net.resolve("www.example.com.", Rtype::A).answer.ad);
    assert_eq!(chain(&net), [". DNSKEY", "com. DNSKEY", "example.com. DNSKEY"]);
    assert!(net.resolve("www.example.com.", Rtype::TXT).answer.ad);
    assert!(net.resolve("www.other.com.", Rtype::A).answer.ad);
    assert!(!net.resolve("www.insecure.example.com.", Rtype::A).answer.ad);
    assert_eq!(chain(&net)[3..], ["other.com. DNSKEY"], "for an unsigned zone nothing is asked at all");
}

#[test]
fn a_flush_or_another_configuration_forgets_the_keys() {
    let mut net = world("").plain();
    net.resolve("www.example.com.", Rtype::A);
    net.store.flush_all();
    net.sent.clear();
    assert!(net.resolve("www.example.com.", Rtype::A).answer.ad);
    assert_eq!(chain(&net).len(), 3);
}

#[test]
fn cd_gets_the_data_and_joins_the_same_question() {
    let mut net = world("").flaw("example.com.", "www.example.com. A", "expired").plain();
    net.ask(1, "www.example.com.", Rtype::A);
    net.ask_as(2, resolve::Question { cd: true, ..question("www.example.com.", Rtype::A) });
    net.run();
    assert_eq!(bogus(&net.the_answer(1)).code, Ede::SIGNATURE_EXPIRED);
    assert_eq!(addresses(&net.the_answer(2)), ["192.0.2.80"]);
    let ignored = world("").flaw("example.com.", "www.example.com. A", "expired").trust(|trust| trust.ignore_cd = true);
    let mut net = ignored.plain();
    let told = net.resolve_as(resolve::Question { cd: true, ..question("www.example.com.", Rtype::A) });
    assert_eq!(bogus(&told).code, Ede::SIGNATURE_EXPIRED, "ignore-cd-flag");
}

#[test]
fn rfc4035_3_2_2_cd_gets_the_data_of_a_zone_whose_keys_are_known_to_be_broken() {
    let mut net = world("ds=wrong").plain();
    bogus(&net.resolve("example.com.", Rtype::MX));
    for qname in ["www.example.com.", "x.ent.example.com."] {
        bogus(&net.resolve(qname, Rtype::A));
        let told = net.resolve_as(resolve::Question { cd: true, ..question(qname, Rtype::A) });
        assert_eq!(told.answer.rcode, Rcode::NOERROR, "{qname}");
        bogus(&net.resolve(qname, Rtype::A));
    }
}

#[test]
fn val_permissive_mode_tells_what_is_bogus_without_ad() {
    let world = world("").flaw("example.com.", "www.example.com. A", "expired").trust(|trust| trust.permissive = true);
    let mut net = world.plain();
    for _ in 0..2 {
        let told = net.resolve("www.example.com.", Rtype::A);
        assert_eq!((addresses(&told), told.answer.ad), (vec!["192.0.2.80".to_owned()], false));
    }
}

#[test]
fn domain_insecure_and_negative_trust_anchors_excuse_from_validation() {
    let flawed = || world("").flaw("example.com.", "www.example.com. A", "expired");
    let mut net = flawed()
        .trust(|trust| {
            trust.domain_insecure(name("example.com."));
        })
        .plain();
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!((addresses(&told), told.answer.ad), (vec!["192.0.2.80".to_owned()], false));
    assert!(net.resolve("www.other.com.", Rtype::A).answer.ad, "others are validated");
    assert!(net.resolve("example.com.", Rtype::DS).answer.ad, "the DS set is the parent's (RFC 4035 2.4)");
}

#[test]
fn rfc4035_5_3_3_no_ttl_outlives_the_signature() {
    // A TTL of an hour under a signature that has two minutes left.
    let mut net = world("").flaw("example.com.", "www.example.com. A", "ttl=60").plain();
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!(told.answer.answer[0].ttl, 60, "{told:?}");
}

#[test]
fn harden_dnssec_stripped_off_makes_a_zone_without_keys_insecure() {
    let silent = |asked: &Asked| {
        let keys = asked.query.qtype == Rtype::DNSKEY;
        keys.then(|| soon(asked.reply(Rcode::NOERROR, vec![], vec![])))
    };
    let island = || {
        internet()
            .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1")
            .zone("example.com.", "192.0.2.1", RECORDS)
            .signed("example.com.", "anchor")
            .at("192.0.2.1", silent)
    };
    assert_eq!(bogus(&island().plain().resolve("www.example.com.", Rtype::A)).code, Ede::DNSKEY_MISSING);
    let mut net = island().trust(|trust| trust.harden_dnssec_stripped = false).plain();
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!((addresses(&told), told.answer.ad), (vec!["192.0.2.80".to_owned()], false));
}

#[test]
fn val_clean_additional_leaves_out_what_is_not_proven() {
    let more = "example.com. MX 10 mail.example.com.\nmail.example.com. A 192.0.2.25";
    let lie = "answer example.com. MX\nadditional mail.example.com. 60 A 192.0.2.66";
    let world = |clean: bool| {
        let world = world("").more("example.com.", more).lie("192.0.2.1", "example.com. MX", lie);
        world.trust(move |trust| trust.clean_additional = clean).plain()
    };
    let told = world(true).resolve("example.com.", Rtype::MX);
    assert!(told.answer.ad && told.answer.additional.is_empty(), "{told:?}");
    let told = world(false).resolve("example.com.", Rtype::MX);
    assert!(told.answer.ad && told.answer.additional.len() == 1, "{told:?}");
}

#[test]
fn unbound_cd_towards_forwarders_not_at_first_and_then_where_one_has_failed() {
    let world = || world("").forwarder("192.0.2.53").forwarder("192.0.2.54");
    let mut net = world().forwarding(&[53]);
    assert!(net.resolve("www.example.com.", Rtype::A).answer.ad);
    assert!(net.sent.iter().all(|asked| !asked.query.cd() && asked.query.do_bit()));
    let refused = world().at("192.0.2.53", |asked| Some(soon(asked.reply(Rcode::SERVFAIL, vec![], vec![]))));
    let mut net = refused.forwarding(&[53, 54]);
    for qtype in [Rtype::A, Rtype::TXT, Rtype::MX, Rtype::AAAA] {
        assert!(net.resolve("www.example.com.", qtype).answer.ad, "a forwarder that fails does no harm");
    }
    let after = net.sent.iter().filter(|asked| asked.query.cd()).count();
    assert!(after > 0, "{:#?}", net.trace());
    let mut net = world().forwarding(&[53]);
    net.resolve_as(resolve::Question { cd: true, ..question("www.example.com.", Rtype::A) });
    assert!(net.sent.first().is_some_and(|asked| asked.query.cd()), "what the client wants is passed on");
}

#[test]
fn rfc6672_2_2_a_name_too_long_for_its_dname_is_no_authentic_data() {
    let label = "a".repeat(60);
    let target = format!("{label}.{label}.{label}.{label}.");
    let mut net = world("").more("example.com.", &format!("long.example.com. DNAME {target}")).plain();
    let told = net.resolve(&format!("{}.long.example.com.", "b".repeat(40)), Rtype::A);
    assert_eq!((told.answer.rcode, told.answer.ad), (Rcode::YXDOMAIN, false));
}

#[test]
fn rfc4035_5_2_a_ds_question_answered_out_of_a_wildcard_hides_no_zone() {
    let world = world("")
        .more("example.com.", "*.example.com. CNAME www.example.com.")
        .more("example.com.", "sub.example.com. NS ns.sub.example.com.\nns.sub.example.com. A 192.0.2.7")
        .zone(
            "sub.example.com.",
            "192.0.2.7",
            "sub.example.com. NS ns.sub.example.com.\nwww.sub.example.com. A 192.0.2.77",
        )
        .signed("sub.example.com.", "");
    let lie = "answer *.example.com. CNAME as sub.example.com.";
    let mut net = world.lie("192.0.2.1", "sub.example.com. DS", lie).plain();
    // The delegation is known, and its DS set has gone.
    assert!(net.resolve("www.sub.example.com.", Rtype::A).answer.ad);
    net.store.flush_name(name("sub.example.com.").as_ref());
    net.store.flush_name(name("www.sub.example.com.").as_ref());
    let told = net.resolve("www.sub.example.com.", Rtype::A);
    assert!(told.answer.ad || told.answer.rcode == Rcode::SERVFAIL, "{told:?}");
}

#[test]
fn keytrap_a_proof_that_is_expensive_gives_way_to_others_and_goes_on() {
    let mut net = world("badsigs=7").plain();
    assert!(net.resolve("alias.example.com.", Rtype::A).answer.ad);
    assert!(net.slices > 1, "{}", net.slices);
    let mut net = world("").plain();
    assert!(net.resolve("alias.example.com.", Rtype::A).answer.ad);
    assert_eq!(net.slices, 0, "one that is not does not");
}

#[test]
fn prefetch_key_asks_for_keys_when_the_referral_brings_their_ds() {
    let mut net = world("").trust(|trust| trust.prefetch_key = true).plain();
    assert!(net.resolve("www.example.com.", Rtype::A).answer.ad);
    let trace = net.trace();
    let last = |line: &str| trace.iter().rposition(|sent| sent.starts_with(line)).expect("it was asked");
    assert!(last("com. DNSKEY") < last("www.example.com. A @1"), "{trace:#?}");
    assert_eq!(chain(&net).len(), 3, "each once");
}

#[test]
fn of_an_answer_to_any_so_many_sets_are_proven_and_the_rest_is_left_out() {
    let many: Vec<String> = (0..40).map(|nth| format!("many.example.com. TYPE{} \\# 1 01", 4000 + nth)).collect();
    let sets = |nth: usize| format!("answer many.example.com. TYPE{}", 4000 + nth);
    let all: Vec<String> = (0..40).map(sets).collect();
    let world = world("").more("example.com.", &many.join("\n"));
    let mut net = world.lie("192.0.2.1", "many.example.com. ANY", &all.join("\n")).plain();
    let told = net.resolve("many.example.com.", Rtype::ANY);
    assert_eq!((told.answer.ad, told.answer.answer.len()), (true, 24));
}

#[test]
fn cd_gets_the_data_of_a_zone_whose_keys_are_known_to_be_bad() {
    let mut net = world("ds=wrong").plain();
    assert_eq!(bogus(&net.resolve("example.com.", Rtype::TXT)).code, Ede::DNSKEY_MISSING);
    assert_eq!(bogus(&net.resolve("www.example.com.", Rtype::A)).code, Ede::DNSKEY_MISSING);
    for _ in 0..2 {
        let bold = net.resolve_as(resolve::Question { cd: true, ..question("www.example.com.", Rtype::A) });
        assert_eq!((addresses(&bold), bold.answer.ad), (vec!["192.0.2.80".to_owned()], false));
    }
    assert_eq!(bogus(&net.resolve("www.example.com.", Rtype::A)).code, Ede::DNSKEY_MISSING);
}
