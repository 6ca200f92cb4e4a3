//! How long answers are kept.

use resolve::{ForwardZone, Limits};
use wire::{Class, Rcode, Rtype};

use crate::net::*;

/// The TTL of the first record and whether the second question, `later` milliseconds on, was sent.
fn kept(limits: Limits, reply: fn(&Asked) -> Vec<u8>, later: u64) -> (Option<u32>, bool) {
    let mut net = FakeNet::with(limits, forwards([zone(".", &[1])]), move |asked| soon(reply(asked)));
    let told = net.resolve("x.tst.", Rtype::A).answer;
    let ttl = told.answer.iter().chain(&told.authority).map(|set| set.ttl).next();
    // Seconds are whole ones of the clock: from the one it was stored in.
    net.now = net.now / 1000 * 1000 + later;
    net.resolve("x.tst.", Rtype::A);
    (ttl, net.sent.len() == 2)
}

fn ttl(asked: &Asked, ttl: u32) -> Vec<u8> {
    asked.reply(Rcode::NOERROR, vec![a(&asked.name(), ttl, 1)], vec![])
}

#[test]
fn rfc1035_3_2_1_an_answer_is_kept_for_its_ttl() {
    assert_eq!(kept(Limits::default(), |asked| ttl(asked, 300), 299_999), (Some(300), false));
    assert_eq!(kept(Limits::default(), |asked| ttl(asked, 300), 300_000), (Some(300), true));
    assert_eq!(kept(Limits::default(), |asked| ttl(asked, 0), 0), (Some(0), true));
}

#[test]
fn rfc2181_8_a_ttl_with_the_highest_bit_is_0() {
    assert_eq!(kept(Limits::default(), |asked| ttl(asked, 0x8000_0064), 0), (Some(0), true));
    assert_eq!(kept(Limits::default(), |asked| ttl(asked, 0x7fff_ffff), 86_399_000), (Some(86_400), false));
}

#[test]
fn cache_max_ttl_and_cache_min_ttl_bound_it() {
    let limits = Limits { cache_max_ttl: 100, cache_min_ttl: 50, ..Limits::default() };
    assert_eq!(kept(limits, |asked| ttl(asked, 300), 100_000), (Some(100), true));
    assert_eq!(kept(limits, |asked| ttl(asked, 0), 49_999), (Some(50), false));
}

#[test]
fn an_answer_lives_as_long_as_its_shortest_record() {
    fn reply(asked: &Asked) -> Vec<u8> {
        match asked.name().as_str() {
            "x.tst." => asked.reply(Rcode::NOERROR, vec![cname("x.tst.", 20, "y.tst.")], vec![]),
            _ => ttl(asked, 300),
        }
    }
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(reply(asked)));
    net.resolve("x.tst.", Rtype::A);
    net.now += 20_000;
    let told = net.resolve("x.tst.", Rtype::A);
    assert_eq!(net.names(), ["x.tst.", "y.tst.", "x.tst."], "the target is remembered longer than the link");
    assert_eq!(shown(&told.answer.answer), ["x.tst. 20 CNAME", "y.tst. 280 A"], "and counts down meanwhile");
}

#[test]
fn rfc2308_5_negative_answers_live_for_the_lesser_of_soa_ttl_and_minimum() {
    type Reply = fn(&Asked) -> Vec<u8>;
    let replies: [(Reply, u32); 4] = [
        (|asked| asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("tst.", 900, 300)]), 300),
        (|asked| asked.reply(Rcode::NOERROR, vec![], vec![soa("tst.", 200, 300)]), 200),
        (|asked| asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("tst.", 90_000, 80_000)]), 3600),
        (|asked| asked.reply(Rcode::NOERROR, vec![], vec![soa("other.", 900, 30)]), 30),
    ];
    for (reply, seconds) in replies {
        let millis = u64::from(seconds) * 1000;
        assert_eq!(kept(Limits::default(), reply, millis - 1), (Some(seconds), false));
        assert_eq!(kept(Limits::default(), reply, millis), (Some(seconds), true));
    }
}

#[test]
fn cache_max_negative_ttl_and_cache_min_negative_ttl_bound_it() {
    let limits = Limits { cache_max_negative_ttl: 70, cache_min_negative_ttl: 60, ..Limits::default() };
    let long = |asked: &Asked| asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("tst.", 900, 300)]);
    let short = |asked: &Asked| asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("tst.", 900, 3)]);
    assert_eq!(kept(limits, long, 0).0, Some(70));
    assert_eq!(kept(limits, short, 0).0, Some(60));
}

#[test]
fn rfc2308_5_without_soa_it_is_kept_five_seconds_as_unbound_does() {
    type Reply = fn(&Asked) -> Vec<u8>;
    let replies: [Reply; 3] = [
        |asked| asked.reply(Rcode::NXDOMAIN, vec![], vec![]),
        |asked| asked.reply(Rcode::NOERROR, vec![], vec![]),
        |asked| asked.reply(Rcode::YXDOMAIN, vec![], vec![]),
    ];
    for reply in replies {
        assert_eq!(kept(Limits::default(), reply, 4_999), (None, false));
        assert_eq!(kept(Limits::default(), reply, 5_000), (None, true));
    }
}

#[test]
fn a_soa_from_outside_the_zone_is_not_used() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| {
        soon(asked.reply(Rcode::NOERROR, vec![], vec![soa("other.", 900, 300)]))
    });
    assert!(net.resolve("x.tst.", Rtype::A).answer.authority.is_empty());
}

#[test]
fn rfc9520_3_2_failures_are_kept_five_seconds() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.reply(Rcode::REFUSED, vec![], vec![])));
    let first = net.resolve("x.tst.", Rtype::A);
    assert_eq!((first.answer.rcode, net.sent.len()), (Rcode::SERVFAIL, 5));
    net.now += 4_900;
    assert_eq!(net.resolve("x.tst.", Rtype::A).answer.ede, first.answer.ede);
    assert_eq!(net.sent.len(), 5);
    net.now += 200;
    net.resolve("x.tst.", Rtype::A);
    assert_eq!(net.sent.len(), 10);
}

#[test]
fn a_failure_does_not_take_the_place_of_an_answer_another_worker_found() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])));
    net.ask(1, "x.tst.", Rtype::A);
    let key = resolve::Key { name: name("x.tst."), qtype: Rtype::A, qclass: Class::IN, cd: false };
    let answer = wire::Answer { answer: vec![a("x.tst.", 300, 1)], ..Default::default() };
    let put = store::Put {
        now: net.now,
        ttl: 300,
        authoritative: false,
        security: store::Security::Unchecked,
        epoch: net.store.epoch(),
        leeway_s: 0,
    };
    net.store.put(key, &answer, put);
    net.run();
    assert_eq!(net.the_answer(1).answer.rcode, Rcode::SERVFAIL);
    assert_eq!(net.resolve("x.tst.", Rtype::A).answer.rcode, Rcode::NOERROR);
}

#[test]
fn forward_no_cache_keeps_neither_answers_nor_failures() {
    for rcode in [Rcode::NOERROR, Rcode::SERVFAIL] {
        let no_cache = ForwardZone { no_cache: true, ..zone("tst.", &[1]) };
        let mut net = FakeNet::new(forwards([no_cache]), move |asked| {
            soon(asked.reply(rcode, vec![a(&asked.name(), 300, 1)], vec![]))
        });
        assert_eq!(net.resolve("x.tst.", Rtype::A).answer.rcode, rcode);
        let before = net.sent.len();
        net.resolve("x.tst.", Rtype::A);
        assert_eq!((net.sent.len(), net.store.usage().messages.entries), (2 * before, 0));
    }
}
