//! Recursion on good days: from the root down, and no further than needed the next time.

use resolve::{Minimise, StubZone};
use wire::{Rcode, Rtype};

use crate::internet::*;
use crate::net::*;

fn example() -> Internet {
    internet().more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4").zone(
        "example.com.",
        "192.0.2.4",
        "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4\nwww.example.com. A 10.20.30.40\n\
         mail.example.com. A 10.20.30.50\nalias.example.com. CNAME www.example.com.",
    )
}

#[test]
fn rfc1034_5_3_3_from_the_root_down_and_from_the_closest_known_zone_afterwards() {
    let mut net = example().plain();
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
    assert_eq!(net.trace(), [". NS @1", "www.example.com. A @1", "www.example.com. A @2", "www.example.com. A @4"]);
    assert!(
        net.sent.iter().all(|asked| asked.query.flags & wire::types::flag::RD == 0),
        "authorities are not asked to recurse"
    );
    assert_eq!(addresses(&net.resolve("mail.example.com.", Rtype::A)), ["10.20.30.50"]);
    assert_eq!(net.trace()[4..], ["mail.example.com. A @4"]);
    assert_eq!(net.resolve("none.example.com.", Rtype::A).answer.rcode, Rcode::NXDOMAIN);
    assert_eq!(net.resolve("www.example.com.", Rtype::MX).answer.rcode, Rcode::NOERROR);
    assert_eq!(net.sent.len(), 7);
}

#[test]
fn rfc9609_3_priming_asks_the_root_for_itself_with_edns_and_tries_all_addresses() {
    let deaf = |_: &Asked| Some(vec![]);
    let mut net = example().at("198.51.100.8", deaf).at("198.51.100.9", deaf).with(|recursion| {
        recursion.stub(stub(".", "198.51.100.8 198.51.100.9 198.51.100.1"));
    });
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
    let priming: Vec<&Asked> = net.sent.iter().filter(|asked| asked.name() == ".").collect();
    assert!(priming.iter().all(|asked| asked.query.qtype == Rtype::NS && asked.query.edns.is_some()));
    let after = net.sent.iter().skip(priming.len());
    assert!(after.into_iter().all(|asked| ![8, 9].contains(&asked.who())), "the hints are only where it begins");
}

#[test]
fn rfc9609_a_root_that_tells_nothing_fails_with_a_reason() {
    let mut net =
        internet().at("198.51.100.1", |asked| Some(soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])))).plain();
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!(
        (told.answer.rcode, ede(&told).text.as_ref()),
        (Rcode::SERVFAIL, "no server configured for . told the zone's NS records")
    );
}

#[test]
fn iter_primenoglue_root_names_without_addresses_are_asked_of_the_hints() {
    let mut net = example()
        .at("198.51.100.1", |asked| {
            let ns = set(".", 3600, Rtype::NS, name("ns.root.").as_ref().as_wire());
            (asked.name() == ".").then(|| soon(asked.reply(Rcode::NOERROR, vec![ns], vec![])))
        })
        .plain();
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
}

#[test]
fn rfc1034_3_6_2_links_lead_from_zone_to_zone() {
    let mut net = example()
        .more("com.", "other.com. NS ns.example.com.")
        .zone(
            "other.com.",
            "192.0.2.4",
            "other.com. NS ns.example.com.\nd.other.com. DNAME example.com.\nc.other.com. CNAME www.example.com.",
        )
        .plain();
    assert_eq!(
        shown(&net.resolve("c.other.com.", Rtype::A).answer.answer),
        ["c.other.com. 3600 CNAME", "www.example.com. 3600 A"]
    );
    let told = net.resolve("mail.d.other.com.", Rtype::A);
    assert_eq!(
        shown(&told.answer.answer),
        ["d.other.com. 3600 DNAME", "mail.d.other.com. 3600 CNAME", "mail.example.com. 3600 A"]
    );
}

#[test]
fn rfc9156_2_1_each_server_sees_one_label_more_than_it_serves() {
    let mut net = example().with(|_| {});
    net.resolve("www.example.com.", Rtype::A);
    assert_eq!(net.trace(), [". NS @1", "com. A @1", "example.com. A @2", "www.example.com. A @4"]);
    net.resolve("a.b.example.com.", Rtype::TXT);
    assert_eq!(
        net.trace()[4..],
        ["b.example.com. A @4", "a.b.example.com. TXT @4"],
        "NXDOMAIN of a part, relaxed: the whole"
    );
}

#[test]
fn rfc9156_3_strict_believes_what_is_said_of_a_part() {
    let mut net = example().with(|recursion| recursion.minimise = Minimise::Strict);
    assert_eq!(net.resolve("a.b.example.com.", Rtype::TXT).answer.rcode, Rcode::NXDOMAIN);
    assert_eq!(net.trace()[3..], ["b.example.com. A @4"]);
}

#[test]
fn rfc9156_2_3_a_name_of_many_labels_takes_ten_steps() {
    let mut net = example().with(|_| {});
    let deep = format!("{}www.example.com.", "x.".repeat(60));
    let mut net2 = example().more("example.com.", &format!("{deep} A 10.0.0.1")).with(|_| {});
    assert_eq!(addresses(&net2.resolve(&deep, Rtype::A)), ["10.0.0.1"]);
    assert!(net2.sent.len() <= 12, "{:?}", net2.trace());
    net.resolve(&deep, Rtype::A);
}

#[test]
fn iter_resolve_minimised_refused_a_server_that_refuses_parts_is_asked_for_the_whole() {
    let refuse = |asked: &Asked| {
        (asked.name() != "www.sub.example.com.").then(|| soon(asked.reply(Rcode::REFUSED, vec![], vec![])))
    };
    let records = "www.sub.example.com. AAAA 2001:db8::1";
    let mut net = example().more("example.com.", records).at("192.0.2.4", refuse).with(|_| {});
    assert_eq!(net.resolve("www.sub.example.com.", Rtype::AAAA).answer.answer.len(), 1);
    let mut net =
        example().more("example.com.", records).at("192.0.2.4", refuse).with(|r| r.minimise = Minimise::Strict);
    assert_eq!(net.resolve("www.sub.example.com.", Rtype::AAAA).answer.rcode, Rcode::SERVFAIL);
}

#[test]
fn iter_resolve_minimised_timeout_a_server_silent_to_parts_is_asked_for_the_whole() {
    let silent = |asked: &Asked| (asked.query.qtype == Rtype::A).then(Vec::new);
    let mut net =
        example().more("example.com.", "www.example.com. AAAA 2001:db8::1").at("192.0.2.4", silent).with(|_| {});
    assert_eq!(net.resolve("www.example.com.", Rtype::AAAA).answer.answer.len(), 1);
    assert_eq!(
        net.trace()[3..],
        ["www.example.com. A @4", "www.example.com. A @4", "www.example.com. A @4", "www.example.com. AAAA @4"]
    );
}

#[test]
fn rfc4035_2_4_ds_is_asked_of_the_parent_and_a_referral_there_tells_it() {
    let ds = "example.com. DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000";
    let mut net = example().more("com.", ds).plain();
    let told = net.resolve("example.com.", Rtype::DS);
    assert_eq!(
        (shown(&told.answer.answer), net.trace()[2..].to_vec()),
        (vec!["example.com. 3600 DS".to_owned()], vec!["example.com. DS @2".to_owned()])
    );
    // A server that refers to the zone though it was asked for its DS records (iter_ds_referral).
    let mut net = example()
        .more("com.", ds)
        .at("198.51.100.2", |asked| {
            let ns = set("example.com.", 3600, Rtype::NS, name("ns.example.com.").as_ref().as_wire());
            let ds = set("example.com.", 3600, Rtype::DS, &[0, 1, 8, 2, 1, 2]);
            (asked.query.qtype == Rtype::DS).then(|| soon(asked.reply(Rcode::NOERROR, vec![], vec![ns, ds])))
        })
        .plain();
    assert_eq!(shown(&net.resolve("example.com.", Rtype::DS).answer.answer), ["example.com. 3600 DS"]);
    assert_eq!(net.sent.len(), 3);
}

#[test]
fn stub_zones_are_asked_without_the_delegation_and_stub_first_goes_on_without_them() {
    let broken = |asked: &Asked| Some(soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])));
    let mut net = example().plain_stub(stub("example.com.", "192.0.2.4"));
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
    assert_eq!(net.trace(), ["www.example.com. A @4"]);
    let mut net = example().at("192.0.2.9", broken).plain_stub(stub("example.com.", "192.0.2.9"));
    assert_eq!(net.resolve("www.example.com.", Rtype::A).answer.rcode, Rcode::SERVFAIL);
    let first = StubZone { first: true, ..stub("example.com.", "192.0.2.9") };
    let mut net = example().at("192.0.2.9", broken).plain_stub(first);
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
}

#[test]
fn stub_prime_asks_the_stub_for_its_servers_and_stub_no_cache_keeps_nothing() {
    let prime = StubZone { prime: true, ..stub("example.com.", "192.0.2.9") };
    let mut net = example()
        .zone("example.com.", "192.0.2.9", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4")
        .plain_stub(prime);
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
    assert_eq!(net.trace(), ["example.com. NS @9", "www.example.com. A @4"]);
    let no_cache = StubZone { no_cache: true, ..stub("example.com.", "192.0.2.4") };
    let mut net = example().plain_stub(no_cache);
    net.resolve("www.example.com.", Rtype::A);
    net.resolve("www.example.com.", Rtype::A);
    assert_eq!(net.sent.len(), 2);
}

#[test]
fn iter_fwdstub_the_closer_of_forward_and_stub_zone_is_asked() {
    let mut net = example().build(
        Default::default(),
        |recursion| {
            recursion.minimise = Minimise::Off;
            recursion.stub(stub("sub.example.com.", "192.0.2.2"));
        },
        |table| {
            table.zone(zone("example.com.", &[1]));
        },
    );
    net.ask(1, "www.example.com.", Rtype::A);
    net.ask(2, "www.sub.example.com.", Rtype::A);
    assert_eq!(net.trace(), ["www.example.com. A @1", "www.sub.example.com. A @2"]);
    assert_eq!([0, 1].map(|n: usize| net.sent[n].query.flags & wire::types::flag::RD != 0), [true, false]);
}

#[test]
fn forward_first_goes_on_from_the_root() {
    let mut net = example().at("192.0.2.1", |asked| Some(soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])))).build(
        Default::default(),
        |_| {},
        |table| {
            table.zone(resolve::ForwardZone { first: true, ..zone("example.com.", &[1]) });
        },
    );
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
}

#[test]
fn iter_fwdfirstequal_priming_passes_a_forward_zone_for_the_root_by() {
    let broken = |asked: &Asked| Some(soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])));
    let mut net = example().at("192.0.2.1", broken).build(
        Default::default(),
        |recursion| recursion.minimise = Minimise::Off,
        |table| {
            table.zone(resolve::ForwardZone { first: true, ..zone(".", &[1]) });
        },
    );
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
    assert_eq!(net.trace().iter().filter(|line| line.starts_with(". NS")).collect::<Vec<_>>(), [". NS @1"]);
    assert!(net.sent.iter().any(|asked| asked.name() == "." && asked.server.ip().to_string() == "198.51.100.1"));
}

#[test]
fn stub_first_inside_a_forward_zone_goes_on_to_the_forward_zone() {
    let broken = |asked: &Asked| Some(soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])));
    for (prime, forward_works) in [(false, true), (true, true), (false, false)] {
        let world = example().at("192.0.2.9", broken).at("192.0.2.1", move |asked| {
            let rcode = if forward_works { Rcode::NOERROR } else { Rcode::SERVFAIL };
            let answer = if forward_works { vec![a(&asked.name(), 60, 7)] } else { vec![] };
            Some(soon(asked.reply(rcode, answer, vec![])))
        });
        let mut net = world.build(
            Default::default(),
            |recursion| {
                recursion.minimise = Minimise::Off;
                recursion.stub(StubZone { first: true, prime, ..stub("example.com.", "192.0.2.9") });
            },
            |table| {
                table.zone(resolve::ForwardZone { first: true, ..zone("com.", &[1]) });
            },
        );
        let wanted = if forward_works { "192.0.2.7" } else { "10.20.30.40" };
        assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), [wanted], "{:?}", net.trace());
        let stub = net.sent.iter().filter(|asked| asked.who() == 9).count();
        assert!(stub <= 2, "the stub is asked {stub} times");
    }
}

#[test]
fn rfc1034_4_3_2_without_recursion_and_with_nothing_known_the_root_is_primed_and_told() {
    let mut net = example().plain();
    net.ask_as(1, resolve::Question { rd: false, ..question("www.example.com.", Rtype::A) });
    net.run();
    let told = net.the_answer(1);
    assert_eq!(shown(&told.answer.answer), [". 3600 NS"]);
    assert_eq!(shown(&told.answer.additional), ["ns.root. 3600 A"]);
    assert_eq!(net.trace(), [". NS @1"]);
    net.resolve("www.example.com.", Rtype::A);
    net.ask_as(2, resolve::Question { rd: false, ..question("x.example.com.", Rtype::A) });
    assert_eq!(shown(&net.the_answer(2).answer.authority), ["example.com. 3600 NS"]);
}

#[test]
fn iter_prefetch_ns_a_refresh_asks_the_parent_for_a_delegation_that_ends_before_long() {
    let mut moved = false;
    let world = example()
        .zone("example.com.", "192.0.2.5", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.5")
        .at("198.51.100.2", move |asked| {
            let was = std::mem::replace(&mut moved, true);
            was.then(|| {
                let ns = set("example.com.", 3600, Rtype::NS, name("ns.example.com.").as_ref().as_wire());
                let referral = wire::Answer {
                    authority: vec![ns],
                    additional: vec![a("ns.example.com.", 3600, 5)],
                    ..Default::default()
                };
                soon(asked.render(&referral))
            })
        });
    let mut net = world.plain();
    net.resolve("example.com.", Rtype::NS);
    net.now += 3_300_000;
    let forwards = std::sync::Arc::clone(&net.forwards);
    net.mesh.prefetch(net.now, &forwards, question("example.com.", Rtype::NS));
    net.perform();
    net.run();
    assert_eq!(net.trace()[4..], ["example.com. NS @1", "example.com. NS @2", "example.com. NS @5"]);
    net.resolve("x.example.com.", Rtype::A);
    assert_eq!(net.sent.last().map(Asked::who), Some(5));
    let known = net.store.rrset(name("example.com.").as_ref(), Rtype::NS, wire::Class::IN, false, net.now);
    assert_eq!(known.map(|known| known.set.ttl), Some(3600));
}

#[test]
fn rfc9156_2_3_what_is_known_of_a_part_is_not_asked_again_and_what_is_learned_is_kept() {
    let mut net = example().more("example.com.", "www.example.com. AAAA 2001:db8::1").with(|_| {});
    assert_eq!(net.resolve("www.example.com.", Rtype::AAAA).answer.answer.len(), 1);
    assert_eq!(net.trace()[3..], ["www.example.com. A @4", "www.example.com. AAAA @4"]);
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
    assert_eq!(net.sent.len(), 5, "its address is known");
    net.resolve("www.example.com.", Rtype::MX);
    assert_eq!(net.trace()[5..], ["www.example.com. MX @4"]);
    net.resolve("www.example.com.", Rtype::A);
    net.resolve("deep.www.example.com.", Rtype::A);
    assert_eq!(net.trace()[6..], ["deep.www.example.com. A @4"], "www is no zone of its own");
}

#[test]
fn rfc6672_3_1_a_question_for_cname_below_a_dname_is_answered_with_both() {
    for minimise in [Minimise::Off, Minimise::Relaxed] {
        let mut net =
            example().more("example.com.", "d.example.com. DNAME example.net.").with(|r| r.minimise = minimise);
        let told = net.resolve("x.d.example.com.", Rtype::CNAME);
        assert_eq!(shown(&told.answer.answer), ["d.example.com. 3600 DNAME", "x.d.example.com. 3600 CNAME"]);
    }
    let mut net = example().plain();
    assert_eq!(
        shown(&net.resolve("alias.example.com.", Rtype::CNAME).answer.answer),
        ["alias.example.com. 3600 CNAME"]
    );
}

#[test]
fn rfc4035_3_1_4_1_iter_ds_locate_ns_the_parent_is_found_where_a_server_tells_of_ds_what_the_child_knows() {
    let ds = "example.com. DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000";
    // The root's server serves example.com too, and says that it has no DS records.
    let childish = |asked: &Asked| {
        let denied = vec![soa("example.com.", 900, 300)];
        (asked.query.qtype == Rtype::DS).then(|| soon(asked.reply(Rcode::NOERROR, vec![], denied)))
    };
    let mut net = example().more("com.", ds).at("198.51.100.1", childish).plain();
    assert_eq!(shown(&net.resolve("example.com.", Rtype::DS).answer.answer), ["example.com. 3600 DS"]);
    assert_eq!(net.trace()[2..], ["com. NS @1", "com. NS @2", "example.com. DS @2"]);
    // Nothing is between: what it says is all there is.
    let mut net = example().at("198.51.100.2", childish).plain();
    assert_eq!(net.resolve("example.com.", Rtype::DS).answer.rcode, Rcode::NOERROR);
}

#[test]
fn stub_host_names_are_looked_up_beside_stub_addr() {
    let deaf = |asked: &Asked| Some(soon(asked.reply(Rcode::REFUSED, vec![], vec![])));
    let hosts = vec![name("ns.elsewhere.com.")];
    let world = example().at("192.0.2.9", deaf).more("com.", "ns.elsewhere.com. A 192.0.2.4");
    let mut net = world.plain_stub(StubZone { hosts, ..stub("example.com.", "192.0.2.9") });
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"], "{:?}", net.trace());
}

#[test]
fn upstream_racing_asks_all_servers_of_a_zone_at_once() {
    let two = "example.com. NS ns.example.com.\nexample.com. NS ns2.example.com.\n\
               ns.example.com. A 192.0.2.4\nns2.example.com. A 192.0.2.5";
    let limits = resolve::Limits { upstream_racing: true, ..Default::default() };
    let world = internet().more("com.", two).zone("example.com.", "192.0.2.4", "www.example.com. A 10.20.30.40");
    let mut net = world.at("192.0.2.5", |_| Some(vec![])).build(limits, |r| r.minimise = Minimise::Off, |_| {});
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!((addresses(&told), told.at < 1_000_300), (vec!["10.20.30.40".to_owned()], true));
    let last: Vec<u8> = net.sent[3..].iter().map(Asked::who).collect();
    assert!(last.len() == 2 && last.contains(&4) && last.contains(&5), "{last:?}");
}

#[test]
fn prefer_ip6_that_is_silent_costs_one_wait() {
    let both = "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4\nns.example.com. AAAA 2001:db8::4";
    let world = internet().more("com.", both).zone("example.com.", "192.0.2.4", "www.example.com. A 10.20.30.40");
    let mut net = world.at("2001:db8::4", |_| Some(vec![])).with(|recursion| {
        (recursion.ip6, recursion.minimise) = (true, Minimise::Off);
        recursion.prefer = Some(resolve::Family::V6);
    });
    net.resolve("www.example.com.", Rtype::A);
    let families: Vec<bool> = net.sent[3..].iter().map(|asked| asked.server.is_ipv6()).collect();
    assert_eq!(families, [true, false]);
}

#[test]
fn servers_that_nobody_has_measured_are_asked_now_and_then() {
    let two = "example.com. NS ns.example.com.\nexample.com. NS ns2.example.com.\n\
               ns.example.com. A 192.0.2.4\nns2.example.com. A 192.0.2.5";
    let world =
        internet().more("com.", two).zone("example.com.", "192.0.2.4 192.0.2.5", "www.example.com. A 10.20.30.40");
    let mut net = world.plain();
    (0..200).for_each(|n| drop(net.resolve(&format!("n{n}.example.com."), Rtype::A)));
    let asked = |who| net.sent.iter().filter(|asked| asked.who() == who).count();
    assert!(asked(4) > 0 && asked(5) > 0, "{} and {}", asked(4), asked(5));
}

#[test]
fn harden_referral_path_asks_zones_for_their_servers_and_these_for_their_addresses() {
    let mut net = example().with(|recursion| {
        (recursion.minimise, recursion.harden_referral_path) = (Minimise::Off, true);
    });
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"]);
    for wanted in ["com. NS @2", "ns.com. A @2", "example.com. NS @4", "ns.example.com. A @4"] {
        assert!(net.trace().contains(&wanted.to_owned()), "{wanted}: {:?}", net.trace());
    }
}

#[test]
fn name_servers_known_to_have_no_address_of_a_family_start_no_question() {
    let mut net = example().with(|recursion| {
        (recursion.ip6, recursion.fetch_policy) = (true, vec![3, 2, 1, 0, 0]);
    });
    net.resolve("www.example.com.", Rtype::A);
    let before = net.sent.len();
    net.mesh.set_verbosity(2);
    net.resolve("mail.example.com.", Rtype::A);
    let begun = net.lines.iter().filter(|(_, line)| line.starts_with("resolving")).count();
    assert_eq!((net.sent.len() - before, begun), (1, 1), "{:?}", net.lines);
}
