//! CNAME and DNAME: one link at a time.

use resolve::ForwardZone;
use wire::{Answer, Class, Ede, Rcode, Rtype};

use crate::net::*;

/// Answers `chain.N.` with a link to `chain.N-1.` and `chain.0.` with an address, and counts nothing.
fn chain(asked: &Asked) -> Vec<u8> {
    let name = asked.name();
    let n: u32 = name.split('.').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    match n {
        0 => asked.address(),
        n => asked.reply(Rcode::NOERROR, vec![cname(&name, 100, &format!("chain.{}.", n - 1))], vec![]),
    }
}

#[test]
fn rfc1034_3_6_2_a_chain_that_stops_is_followed() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(chain(asked)));
    let told = net.resolve("chain.2.", Rtype::A);
    assert_eq!(shown(&told.answer.answer), ["chain.2. 100 CNAME", "chain.1. 100 CNAME", "chain.0. 300 A"]);
    assert_eq!(net.names(), ["chain.2.", "chain.1.", "chain.0."]);
    // Each part is remembered as an answer of its own.
    net.resolve("chain.1.", Rtype::A);
    net.resolve("chain.0.", Rtype::A);
    assert_eq!(net.sent.len(), 3);
    // And a new chain that leads there ends there.
    let told = net.resolve("chain.3.", Rtype::A);
    assert_eq!((told.answer.answer.len(), net.sent.len()), (4, 4));
}

#[test]
fn a_link_is_remembered_for_every_type() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(chain(asked)));
    net.resolve("chain.2.", Rtype::A);
    net.now += 30_000;
    let told = net.resolve("chain.2.", Rtype::AAAA);
    assert_eq!(net.names()[3..], ["chain.0."], "AAAA is asked where the links end");
    assert_eq!(shown(&told.answer.answer)[..2], ["chain.2. 70 CNAME", "chain.1. 70 CNAME"]);
    assert_eq!(shown(&net.resolve("chain.1.", Rtype::CNAME).answer.answer), ["chain.1. 70 CNAME"], "it counts down");
    assert_eq!(net.sent.len(), 4);
    net.now += 70_000;
    net.resolve("chain.2.", Rtype::MX);
    assert_eq!(net.names()[4..], ["chain.2.", "chain.1.", "chain.0."], "until its TTL ends");
}

#[test]
fn only_the_first_link_of_a_reply_is_believed() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| match asked.name().as_str() {
        "c.tst." => {
            let sets = vec![a("t2.tst.", 300, 66), cname("t1.tst.", 50, "t2.tst."), cname("c.tst.", 100, "t1.tst.")];
            soon(asked.reply(Rcode::NOERROR, sets, vec![]))
        }
        _ => soon(asked.address()),
    });
    let told = net.resolve("c.tst.", Rtype::A);
    assert_eq!(told.answer.answer, [cname("c.tst.", 100, "t1.tst."), a("t1.tst.", 300, 1)]);
    assert_eq!(net.names(), ["c.tst.", "t1.tst."]);
}

#[test]
fn the_target_is_asked_in_its_own_zone() {
    let table = forwards([zone("tst.", &[1]), zone("other.", &[2])]);
    let mut net = FakeNet::new(table, |asked| match asked.who() {
        1 => {
            let sets = vec![cname(&asked.name(), 100, "a.other."), a("a.other.", 100, 66)];
            soon(asked.reply(Rcode::NOERROR, sets, vec![]))
        }
        _ => soon(asked.address()),
    });
    assert_eq!(
        net.resolve("c.tst.", Rtype::A).answer.answer,
        [cname("c.tst.", 100, "a.other."), a("a.other.", 300, 1)]
    );
    assert_eq!(net.sent.iter().map(Asked::who).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_target_outside_all_zones_fails() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| {
        soon(asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 100, "a.nowhere.")], vec![]))
    });
    let told = net.resolve("c.tst.", Rtype::A);
    assert_eq!((told.answer.rcode, ede(&told).code), (Rcode::SERVFAIL, Ede::NO_REACHABLE_AUTHORITY));
}

#[test]
fn max_query_restarts_is_11_as_unbound_counts() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(chain(asked)));
    let told = net.resolve("chain.11.", Rtype::A);
    assert_eq!((told.answer.answer.len(), net.sent.len()), (12, 12));
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(chain(asked)));
    let told = net.resolve("chain.12.", Rtype::A);
    assert_eq!((told.answer.rcode, told.answer.answer.len(), net.sent.len()), (Rcode::SERVFAIL, 0, 12));
    assert!(told.why.expect("a reason").starts_with("request has exceeded the maximum number restarts"));
}

#[test]
fn circles_end_at_once() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let target = match asked.name().as_str() {
            "one." => "one.",
            "l3." => "l3b.",
            _ => "L3.",
        };
        soon(asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 100, target)], vec![]))
    });
    let told = net.resolve("one.", Rtype::A);
    let reason = "request has exceeded the maximum number restarts (eg. indirections) stop at one.";
    assert_eq!((told.answer.rcode, told.why.as_deref(), net.sent.len()), (Rcode::SERVFAIL, Some(reason), 1));
    let told = net.resolve("l3.", Rtype::A);
    assert_eq!((told.answer.rcode, net.sent.len()), (Rcode::SERVFAIL, 3));
    assert!(told.why.expect("a reason").ends_with("stop at l3."));
}

#[test]
fn rfc6672_2_2_a_dname_is_applied_whatever_cname_came_with_it() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| match asked.name().as_str() {
        "a.d.tst." => {
            let dname = set("d.tst.", 200, Rtype::DNAME, name("tgt.tst.").as_ref().as_wire());
            let sets = vec![dname, cname("a.d.tst.", 100, "evil.tst."), a("evil.tst.", 300, 66)];
            soon(asked.reply(Rcode::NOERROR, sets, vec![]))
        }
        _ => soon(asked.address()),
    });
    let told = net.resolve("a.d.tst.", Rtype::A);
    assert_eq!(shown(&told.answer.answer), ["d.tst. 200 DNAME", "a.d.tst. 200 CNAME", "a.tgt.tst. 300 A"]);
    // Remembered for as long as the DNAME, though the CNAME has TTL 0.
    let again = net.resolve("a.d.tst.", Rtype::A);
    assert_eq!((again.answer, net.sent.len()), (told.answer, 2));
}

#[test]
fn rfc6672_2_2_a_dname_that_makes_names_too_long_is_yxdomain() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let target = format!("{0}.{0}.{0}.", "t".repeat(63));
        soon(asked.reply(Rcode::NOERROR, vec![set("d.", 200, Rtype::DNAME, name(&target).as_ref().as_wire())], vec![]))
    });
    let told = net.resolve(&format!("{}.d.", "x".repeat(63)), Rtype::A);
    assert_eq!((told.answer.rcode, shown(&told.answer.answer)), (Rcode::YXDOMAIN, vec!["d. 200 DNAME".to_string()]));
}

#[test]
fn rfc6604_3_the_rcode_is_that_of_the_last_name() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| {
        let soa = vec![soa("tst.", 900, 300)];
        soon(match asked.name().as_str() {
            "tonx.tst." => asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 100, "nx.tst.")], vec![]),
            "nxplain.tst." => asked.reply(Rcode::NXDOMAIN, vec![cname(&asked.name(), 100, "plain.tst.")], vec![]),
            "tonodata.tst." => asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 100, "nodata.tst.")], soa),
            "nx.tst." => asked.reply(Rcode::NXDOMAIN, vec![], soa),
            "nodata.tst." => asked.reply(Rcode::NOERROR, vec![], soa),
            _ => asked.address(),
        })
    });
    let told = net.resolve("tonx.tst.", Rtype::A);
    assert_eq!((told.answer.rcode, shown(&told.answer.answer)), (Rcode::NXDOMAIN, vec!["tonx.tst. 100 CNAME".into()]));
    assert_eq!(shown(&told.answer.authority), ["tst. 300 SOA"]);
    assert_eq!(net.resolve("nxplain.tst.", Rtype::A).answer.rcode, Rcode::NOERROR);
    let told = net.resolve("tonodata.tst.", Rtype::A);
    assert_eq!((told.answer.rcode, told.answer.answer.len(), told.answer.authority.len()), (Rcode::NOERROR, 1, 1));
}

#[test]
fn a_target_that_failed_a_moment_ago_fails_with_the_chain_as_unbound_shows_it() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| {
        soon(match asked.name().as_str() {
            "bad.tst." => asked.reply(Rcode::SERVFAIL, vec![], vec![]),
            _ => asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 100, "bad.tst.")], vec![]),
        })
    });
    let told = net.resolve("c1.tst.", Rtype::A);
    assert_eq!((told.answer.rcode, told.answer.answer.len()), (Rcode::SERVFAIL, 0));
    let told = net.resolve("c2.tst.", Rtype::A);
    assert_eq!((told.answer.rcode, shown(&told.answer.answer)), (Rcode::SERVFAIL, vec!["c2.tst. 100 CNAME".into()]));
    assert_eq!(told.why.as_deref(), Some("SERVFAIL in cache"));
    assert!(told.answer.ede.is_some());
    assert_eq!(net.sent.len(), 7);
    // Remembered no longer than the failure itself.
    net.now += 4_000;
    net.resolve("c3.tst.", Rtype::A);
    net.now += 1_500;
    net.resolve("c3.tst.", Rtype::A);
    assert_eq!(net.names()[8..], ["bad.tst."; 5]);
}

#[test]
fn rfc2181_10_1_of_several_cnames_the_first_is_taken() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let mut two = cname("c.", 100, "one.");
        two.make_mut().rdata.push(name("two.").as_ref().as_wire());
        soon(if asked.name() == "c." { asked.reply(Rcode::NOERROR, vec![two], vec![]) } else { asked.address() })
    });
    assert_eq!(net.resolve("c.", Rtype::A).answer.answer, [cname("c.", 100, "one."), a("one.", 300, 1)]);
}

#[test]
fn forward_no_cache_in_the_middle_keeps_only_what_came_after_it() {
    let no_cache = ForwardZone { no_cache: true, ..zone("private.", &[2]) };
    let mut net = FakeNet::new(forwards([zone(".", &[1]), no_cache]), |asked| {
        let link = |target: &str| asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 100, target)], vec![]);
        soon(match asked.name().as_str() {
            "start." => link("mid.private."),
            "mid.private." => link("end."),
            _ => asked.address(),
        })
    });
    assert_eq!(net.resolve("start.", Rtype::A).answer.answer.len(), 3);
    let known =
        |net: &FakeNet, at: &str| net.store.get(name(at).as_ref(), Rtype::A, Class::IN, false, net.now, None).is_some();
    assert_eq!([known(&net, "start."), known(&net, "mid.private."), known(&net, "end.")], [false, false, true]);
    net.resolve("start.", Rtype::A);
    assert_eq!(net.names()[3..], ["mid.private."], "the link at start. and the end are remembered");
}

#[test]
fn rfc4035_3_1_1_signatures_travel_with_what_they_sign() {
    let mut net =
        FakeNet::new(forwards([zone(".", &[1])]), |asked| {
            let sig = |covered: Rtype| {
                let mut rdata = covered.0.to_be_bytes().to_vec();
                rdata.extend_from_slice(&[8, 1, 0, 0, 1, 44, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3]);
                set(&asked.name(), 300, Rtype::RRSIG, &rdata)
            };
            let link = vec![cname("c.", 300, "t."), sig(Rtype::CNAME)];
            let end = vec![a(&asked.name(), 300, 1), sig(Rtype::A), sig(Rtype::TXT)];
            soon(asked.render(&Answer {
                answer: if asked.name() == "c." { link } else { end },
                ..Answer::new(Rcode::NOERROR)
            }))
        });
    assert_eq!(
        shown(&net.resolve("c.", Rtype::A).answer.answer),
        ["c. 300 CNAME", "c. 300 RRSIG", "t. 300 A", "t. 300 RRSIG"]
    );
}

#[test]
fn rfc2181_5_signatures_asked_for_are_one_set_and_the_same_out_of_the_store() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let sig = |covered: Rtype| {
            let mut rdata = covered.0.to_be_bytes().to_vec();
            rdata.extend_from_slice(&[8, 1, 0, 0, 1, 44, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3]);
            set(&asked.name(), 300, Rtype::RRSIG, &rdata)
        };
        let answer = vec![sig(Rtype::A), sig(Rtype::NS), sig(Rtype::SOA)];
        soon(asked.render(&Answer { answer, ..Answer::new(Rcode::NOERROR) }))
    });
    for _ in 0..2 {
        let told = net.resolve("c.", Rtype::RRSIG).answer;
        assert_eq!((told.answer.len(), told.answer[0].rdata.len()), (1, 3));
        let covered: Vec<u8> = told.answer[0].rdata.iter().map(|rdata| rdata[1]).collect();
        assert_eq!(covered, [1, 2, 6]);
    }
    assert_eq!(net.sent.len(), 1);
}
