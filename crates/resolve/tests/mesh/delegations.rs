//! Recursion on bad days: delegations that lead nowhere, lie, or are meant to make work.

use resolve::{Family, Limits, Minimise, StubZone};
use wire::{Ede, Rcode, Rtype};

use crate::internet::*;
use crate::net::*;

fn refuse(rcode: Rcode) -> impl FnMut(&Asked) -> Option<Vec<(u64, Fate)>> {
    move |asked| Some(soon(asked.reply(rcode, vec![], vec![])))
}

/// example.com on a server at 192.0.2.4, delegated as `cut` says.
fn delegated(cut: &str) -> Internet {
    internet().more("com.", cut).zone(
        "example.com.",
        "192.0.2.4",
        "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4\nwww.example.com. A 10.20.30.40",
    )
}

const GLUED: &str = "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4";

fn ns(zone: &str, names: &[&str]) -> wire::Rrset {
    let mut all = set(zone, 3600, Rtype::NS, name(names[0]).as_ref().as_wire());
    for more in &names[1..] {
        all.make_mut().rdata.push(name(more).as_ref().as_wire());
    }
    all
}

fn works(mut net: FakeNet) -> FakeNet {
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["10.20.30.40"], "{:?}", net.trace());
    net
}

fn fails(mut net: FakeNet) -> (FakeNet, Told) {
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!(told.answer.rcode, Rcode::SERVFAIL, "{:?}", net.trace());
    (net, told)
}

/// net. with the addresses of ns.example.net.
fn with_net(world: Internet) -> Internet {
    world
        .more(".", "net. NS ns.net.\nns.net. A 198.51.100.3")
        .zone(
            "net.",
            "198.51.100.3",
            "net. NS ns.net.\nns.net. A 198.51.100.3\nexample.net. NS ns.example.net.\nns.example.net. A 192.0.2.5",
        )
        .zone("example.net.", "192.0.2.5", "example.net. NS ns.example.net.\nns.example.net. A 192.0.2.4")
}

#[test]
fn rfc1034_5_3_3_a_name_server_without_glue_is_looked_up_while_the_question_waits() {
    let net = works(with_net(delegated("example.com. NS ns.example.net.")).plain());
    assert_eq!(net.trace().last().map(String::as_str), Some("www.example.com. A @4"));
    assert!(net.trace().contains(&"ns.example.net. A @5".to_owned()), "its own zone was asked");
}

#[test]
fn rfc2181_10_3_a_name_server_with_an_alias_is_found_all_the_same() {
    works(
        with_net(delegated("example.com. NS alias.example.net."))
            .more("example.net.", "alias.example.net. CNAME ns.example.net.")
            .plain(),
    );
}

#[test]
fn addresses_with_ttl_0_are_of_use_to_who_waits_for_them() {
    works(
        with_net(delegated("example.com. NS zero.example.net."))
            .more("example.net.", "zero.example.net. 0 A 192.0.2.4")
            .plain(),
    );
}

#[test]
fn a_circle_of_glueless_delegations_ends_at_once() {
    let world = internet()
        .more(".", "net. NS ns.net.\nns.net. A 198.51.100.3")
        .more("com.", "example.com. NS ns.example.net.")
        .zone("net.", "198.51.100.3", "example.net. NS ns.example.com.");
    let (net, told) = fails(world.plain());
    assert_eq!(ede(&told).code, Ede::NO_REACHABLE_AUTHORITY);
    assert!(told.at < 1_000_500 && net.sent.len() < 12, "{:?}", net.trace());
}

#[test]
fn rfc9471_2_1_names_inside_the_zone_without_glue_are_out_of_reach() {
    let (net, told) = fails(delegated("example.com. NS ns.example.com.").plain());
    // The parent is asked for what it forgot (fetch_glue); it does not know, and that is the end.
    assert_eq!(net.trace()[3..], ["ns.example.com. A @2"]);
    assert_eq!(ede(&told).text, "no address is known of any server of example.com.");
    assert_eq!(
        told.why.as_deref(),
        Some(
            "all servers for this domain failed, at zone example.com. no server to query no addresses for nameservers"
        )
    );
}

#[test]
fn iter_dp_ip6useless_when_the_glue_has_expired_the_search_goes_up_to_where_it_can_be_had() {
    let cut = "example.com. NS ns.example.com.\nns.example.com. 1 A 192.0.2.4";
    let mut net = works(delegated(cut).more("example.com.", "mail.example.com. A 10.20.30.50").plain());
    net.now += 5_000;
    assert_eq!(addresses(&net.resolve("mail.example.com.", Rtype::A)), ["10.20.30.50"]);
    assert_eq!(net.trace()[4..], ["mail.example.com. A @2", "mail.example.com. A @4"]);
}

#[test]
fn rfc2181_5_4_1_when_what_the_child_says_of_itself_leads_nowhere_its_parent_is_asked_again() {
    // iter_dp_turnsuseless, iter_pcname: the child names a server that does not exist.
    let mut net = delegated(GLUED)
        .at("192.0.2.4", |asked| {
            let wrong = ns("example.com.", &["ns.crap.com."]);
            (asked.query.qtype == Rtype::NS).then(|| soon(asked.reply(Rcode::NOERROR, vec![wrong], vec![])))
        })
        .plain();
    assert_eq!(net.resolve("example.com.", Rtype::NS).answer.rcode, Rcode::NOERROR);
    let net = works(net);
    assert_eq!(net.trace().last().map(String::as_str), Some("www.example.com. A @4"));
    // iter_pc_a: the child tells an address that is wrong.
    let mut net = delegated(GLUED)
        .more("example.com.", "mail.example.com. A 10.20.30.50")
        .at("192.0.2.66", refuse(Rcode::SERVFAIL))
        .at("192.0.2.4", |asked| {
            let wrong = a("ns.example.com.", 3600, 66);
            (asked.name() == "ns.example.com.").then(|| soon(asked.reply(Rcode::NOERROR, vec![wrong], vec![])))
        })
        .plain();
    net.resolve("ns.example.com.", Rtype::A);
    assert_eq!(addresses(&net.resolve("mail.example.com.", Rtype::A)), ["10.20.30.50"], "{:?}", net.trace());
}

#[test]
fn iter_unverified_glue_fallback_glue_of_another_zone_that_is_out_of_date_is_looked_up_where_it_lives() {
    let cut = "example.com. NS ns.other.com.\nns.other.com. A 192.0.2.66\nother.com. NS ns2.other.com.\nns2.other.com. A 192.0.2.5";
    let world = delegated(cut)
        .zone("other.com.", "192.0.2.5", "ns.other.com. A 192.0.2.4")
        .at("192.0.2.66", refuse(Rcode::REFUSED));
    works(world.plain());
}

#[test]
fn harden_glue_takes_no_addresses_of_other_zones_servers() {
    let lying = |asked: &Asked| {
        let mut referral =
            wire::Answer { authority: vec![ns("example.com.", &["ns.example.net."])], ..Default::default() };
        referral.additional = vec![a("ns.example.net.", 3600, 66), a("victim.com.", 3600, 66)];
        (asked.name() == "www.example.com.").then(|| soon(asked.render(&referral)))
    };
    let net = works(with_net(delegated(GLUED)).at("198.51.100.2", lying).plain());
    assert!(net.sent.iter().all(|asked| asked.who() != 66));
    assert!(
        net.store.rrset(name("victim.com.").as_ref(), Rtype::A, wire::Class::IN, false, net.now).is_none(),
        "nobody's name server"
    );
    let net = with_net(delegated(GLUED))
        .at("198.51.100.2", lying)
        .at("192.0.2.66", |asked| Some(soon(asked.reply(Rcode::NOERROR, vec![a("www.example.com.", 9, 9)], vec![]))));
    let mut net = net.with(|recursion| (recursion.minimise, recursion.harden_glue) = (Minimise::Off, false));
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["192.0.2.9"]);
}

#[test]
fn cve_2026_50251_senseless_and_forbidden_glue_is_never_asked() {
    let cut = "example.com. NS ns.example.com.\nns.example.com. A 0.0.0.0\nns.example.com. A 255.255.255.255\n\
               ns.example.com. A 224.0.0.1\nns.example.com. A 127.0.0.1\nns.example.com. A 192.0.2.4\n\
               ns.example.com. AAAA ::\nns.example.com. AAAA ::ffff:0.0.0.0\nns.example.com. AAAA ff02::1\nns.example.com. AAAA ::1";
    let net = delegated(cut).build(
        Limits::default(),
        |recursion| recursion.ip6 = true,
        |table| {
            table.do_not_query_localhost();
        },
    );
    let net = works(net);
    assert!(
        net.sent.iter().all(|asked| [1, 2, 4].contains(&asked.who()) && asked.server.is_ipv4()),
        "{:?}",
        net.trace()
    );
}

#[test]
fn cve_2026_42960_a_referral_counts_for_the_zone_on_the_way_alone() {
    let side = |asked: &Asked| {
        let referral = wire::Answer {
            authority: vec![
                ns("victim.com.", &["ns.evil.com."]),
                ns("net.", &["ns.evil.com."]),
                ns("example.com.", &["ns.example.com."]),
            ],
            additional: vec![a("ns.evil.com.", 3600, 66), a("ns.example.com.", 3600, 4)],
            ..Default::default()
        };
        (asked.name() == "www.example.com.").then(|| soon(asked.render(&referral)))
    };
    let net = works(delegated(GLUED).at("198.51.100.2", side).plain());
    for zone in ["victim.com.", "net."] {
        assert!(net.store.rrset(name(zone).as_ref(), Rtype::NS, wire::Class::IN, false, net.now).is_none(), "{zone}");
    }
}

const TWO: &str = "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4\nexample.com. NS ns2.example.com.\nns2.example.com. A 192.0.2.66";

#[test]
fn iter_lamescrub_a_server_that_refers_up_is_lame_for_the_zone_and_left() {
    for back in ["com.", "."] {
        let lame = move |asked: &Asked| {
            Some(soon(asked.render(&wire::Answer { authority: vec![ns(back, &["ns.com."])], ..Default::default() })))
        };
        let mut net = delegated(TWO).at("192.0.2.66", lame).plain();
        let mut asked = 0;
        for n in 0..20 {
            net.resolve(&format!("n{n}.example.com."), Rtype::A);
            asked = net.sent.iter().filter(|asked| asked.who() == 66).count();
        }
        assert!(asked <= 1, "asked {asked} times");
        works(net);
    }
}

#[test]
fn iter_ranoaa_lame_a_recursive_server_is_the_last_resort_and_then_asked_to_recurse() {
    let recursor = |asked: &Asked| {
        let borrowed = wire::Answer { answer: vec![a("www.example.com.", 60, 7)], ..Default::default() };
        let mut bytes = asked.render(&borrowed);
        bytes[2] &= !4;
        Some(soon(bytes))
    };
    let mut net = delegated("example.com. NS ns.example.com.\nns.example.com. A 192.0.2.66")
        .at("192.0.2.66", recursor)
        .recursor("192.0.2.66")
        .plain();
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["192.0.2.7"]);
    let flags: Vec<bool> = net.sent.iter().map(|asked| asked.query.flags & wire::types::flag::RD != 0).collect();
    assert_eq!(flags, [false, false, false, false, true]);
    for _ in 0..5 {
        let net = works(delegated(TWO).at("192.0.2.66", recursor).recursor("192.0.2.66").plain());
        assert!(net.sent.iter().filter(|asked| asked.who() == 66).count() <= 1);
    }
}

#[test]
fn rfc9520_3_1_servfail_is_asked_again_once_and_refused_never() {
    for (rcode, times) in [(Rcode::SERVFAIL, 2), (Rcode::REFUSED, 1)] {
        let (net, told) = fails(delegated(GLUED).at("192.0.2.4", refuse(rcode)).plain());
        assert_eq!(net.sent.iter().filter(|asked| asked.who() == 4).count(), times, "{rcode}");
        assert_eq!(ede(&told).code, Ede::NO_REACHABLE_AUTHORITY);
        let why = format!("all servers for this domain failed, at zone example.com. from 192.0.2.4 got {rcode}");
        assert_eq!(told.why, Some(why));
        let before = net.sent.len();
        let (net, _) = fails(net);
        assert_eq!(net.sent.len(), before, "the failure is remembered");
    }
}

#[test]
fn cve_2020_12662_nxns_lookups_of_missing_servers_are_few() {
    let names: Vec<String> = (0..1000).map(|n| format!("ns{n}.victim.com.")).collect();
    let bomb = move |asked: &Asked| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        (asked.name() == "www.example.com.")
            .then(|| soon(asked.reply(Rcode::NOERROR, vec![], vec![ns("example.com.", &names)])))
    };
    let world = || delegated(GLUED).at("198.51.100.2", bomb.clone());
    let (net, told) = fails(world().plain());
    assert!(net.sent.len() <= 12, "{} packets", net.sent.len());
    assert_eq!(
        told.why.as_deref(),
        Some("request has exceeded the maximum nameserver nxdomains stop at www.example.com.")
    );
    let (net, _) = fails(world().with(|recursion| {
        (recursion.minimise, recursion.fetch_policy, recursion.ip6) = (Minimise::Off, vec![-1; 5], true);
    }));
    assert!(net.sent.len() <= 64 + 8, "{} packets", net.sent.len());
}

#[test]
fn max_global_quota_bounds_what_one_question_costs_at_all_depths() {
    // Each zone is served from eight glueless names of the next: without a common bound 8 to the 4th lookups.
    let next = |asked: &Asked| {
        let name = asked.name();
        let zone = name.split_once('.').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        let n: u32 = zone.trim_start_matches('z').split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let names: Vec<String> = (0..8).map(|k| format!("n{k}.z{}.com.", n * 8 + k + 1)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Some(soon(asked.reply(Rcode::NOERROR, vec![], vec![ns(&zone, &names)])))
    };
    let mut net = internet()
        .at("198.51.100.2", next)
        .with(|recursion| (recursion.minimise, recursion.fetch_policy) = (Minimise::Off, vec![-1; 5]));
    assert_eq!(net.resolve("www.z0.com.", Rtype::A).answer.rcode, Rcode::SERVFAIL);
    assert!(net.sent.len() <= 200, "{} packets", net.sent.len());
}

#[test]
fn max_referral_count_ends_a_staircase_of_delegations() {
    // Each alias leads to a name of 100 labels, delegated label by label by the same server.
    let mut turn = 0;
    let step = move |asked: &Asked| {
        let name = asked.name();
        let mut zones: Vec<&str> = name.match_indices('.').map(|(at, _)| &name[at + 1..]).collect();
        zones.retain(|zone| zone.ends_with(".example.com."));
        turn += 1;
        let depth = turn % 100;
        match zones.iter().rev().nth(depth).filter(|_| depth < 90) {
            Some(zone) => {
                let mut referral =
                    wire::Answer { authority: vec![ns(zone, &["ns.example.com."])], ..Default::default() };
                referral.additional = vec![a("ns.example.com.", 3600, 66)];
                Some(soon(asked.render(&referral)))
            }
            None => {
                let target = format!("{}x{turn}.example.com.", "d.".repeat(100));
                Some(soon(asked.reply(Rcode::NOERROR, vec![cname(&name, 60, &target)], vec![])))
            }
        }
    };
    let deep = format!("{}x.example.com.", "d.".repeat(100));
    let cut = "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.66";
    let mut net = delegated(cut).at("192.0.2.66", step).plain();
    let told = net.resolve(&deep, Rtype::A);
    assert_eq!(told.answer.rcode, Rcode::SERVFAIL);
    assert!(told.why.as_deref().is_some_and(|why| why.contains("exceeded the maximum")), "{:?}", told.why);
    assert!(net.sent.len() <= 200, "{} packets", net.sent.len());
}

#[test]
fn cve_2026_40622_no_delegation_outlives_the_one_above_it() {
    let cut = "example.com. 5 NS ns.example.com.\nns.example.com. 5 A 192.0.2.4";
    let mut first = true;
    let world = delegated(cut)
        .more("example.com.", "sub.example.com. NS ns.sub.example.com.\nns.sub.example.com. A 192.0.2.5")
        .zone("sub.example.com.", "192.0.2.5", "a.sub.example.com. A 10.0.0.1\nb.sub.example.com. A 10.0.0.2")
        .at("198.51.100.2", move |asked| {
            let gone = !std::mem::replace(&mut first, false);
            gone.then(|| soon(asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("com.", 900, 900)])))
        });
    let mut net = world.plain();
    assert_eq!(addresses(&net.resolve("a.sub.example.com.", Rtype::A)), ["10.0.0.1"]);
    net.resolve("example.com.", Rtype::NS);
    net.now += 10_000;
    assert_eq!(net.resolve("b.sub.example.com.", Rtype::A).answer.rcode, Rcode::NXDOMAIN);
}

#[test]
fn target_fetch_policy_looks_up_in_advance_and_clients_do_not_wait_for_it() {
    let cut = "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4\nexample.com. NS ns1.example.net.\nexample.com. NS ns2.example.net.";
    let mut net = with_net(delegated(cut))
        .with(|recursion| (recursion.minimise, recursion.fetch_policy) = (Minimise::Off, vec![3, 2, 1, 0, 0]));
    net.ask(1, "www.example.com.", Rtype::A);
    net.run();
    assert_eq!(addresses(&net.the_answer(1)), ["10.20.30.40"]);
    assert!(net.trace().iter().any(|line| line.starts_with("ns1.example.net.")), "{:?}", net.trace());
    let net = works(with_net(delegated(cut)).plain());
    assert_eq!(net.sent.len(), 4, "0: on demand alone");
}

#[test]
fn prefer_ip4_prefer_ip6_and_do_ip6_choose_among_addresses() {
    let cut = "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4\nns.example.com. AAAA 2001:db8::4";
    let world = || delegated(cut).zone("example.com.", "2001:db8::4", "www.example.com. A 10.20.30.40");
    for (prefer, v4) in [(Some(Family::V4), true), (Some(Family::V6), false)] {
        for _ in 0..4 {
            let net = works(world().with(|recursion| (recursion.ip6, recursion.prefer) = (true, prefer)));
            assert_eq!(net.sent.last().map(|asked| asked.server.is_ipv4()), Some(v4));
        }
    }
    let net = works(
        world()
            .at("2001:db8::4", |_| Some(vec![]))
            .with(|recursion| (recursion.ip6, recursion.prefer) = (true, Some(Family::V6))),
    );
    assert_eq!(net.sent.last().map(|asked| asked.server.is_ipv4()), Some(true), "the other when it is silent");
    let net = works(world().with(|_| {}));
    assert!(net.sent.iter().all(|asked| asked.server.is_ipv4()));
}

#[test]
fn iter_stub_leak_and_stublastresort_a_stub_that_fails_does_not_leak_to_the_internet() {
    let prime = StubZone { prime: true, ..stub("example.com.", "192.0.2.66") };
    let (net, _) = fails(delegated(GLUED).at("192.0.2.66", refuse(Rcode::SERVFAIL)).plain_stub(prime));
    assert!(net.sent.iter().all(|asked| asked.who() == 66), "{:?}", net.trace());
}

#[test]
fn questions_that_wait_for_others_end_with_the_client_deadline_and_leave_nothing_behind() {
    let mut net = with_net(delegated("example.com. NS ns.example.net.")).at("192.0.2.5", |_| Some(vec![])).plain();
    net.ask_as(1, hasty("www.example.com.", Rtype::A));
    net.ask_as(2, hasty("www.example.com.", Rtype::A));
    net.run();
    assert_eq!(net.the_answer(1).answer.rcode, Rcode::SERVFAIL);
    assert!(net.the_answer(2).at <= 1_000_000 + 1_900);
}

#[test]
fn ghost_domains_cve_2012_1033_a_zone_that_is_gone_at_its_parent_ends_with_its_time() {
    let cut = "example.com. 100 NS ns.example.com.\nns.example.com. 100 A 192.0.2.4";
    let mut gone = false;
    let world = delegated(cut).at("192.0.2.4", |asked| {
        let own = wire::Answer {
            aa: true,
            answer: vec![a(&asked.name(), 30, 40)],
            authority: vec![set("example.com.", 86_400, Rtype::NS, name("ns.example.com.").as_ref().as_wire())],
            additional: vec![a("ns.example.com.", 86_400, 4)],
            ..Default::default()
        };
        Some(soon(asked.render(&own)))
    });
    let world = world.at("198.51.100.2", move |asked| {
        let first = !std::mem::replace(&mut gone, true);
        (!first).then(|| soon(asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("com.", 900, 900)])))
    });
    let limits = Limits { scrub_promiscuous: false, ..Limits::default() };
    let mut net = world.build(limits, |recursion| recursion.minimise = Minimise::Off, |_| {});
    let mut codes = Vec::new();
    for n in 0..5 {
        codes.push(net.resolve(&format!("n{n}.example.com."), Rtype::A).answer.rcode);
        net.now += 40_000;
    }
    assert_eq!(codes[..2], [Rcode::NOERROR; 2]);
    assert_eq!(codes[4], Rcode::NXDOMAIN, "{codes:?} {:?}", net.trace());
}

#[test]
fn a_question_whose_time_ends_while_it_waits_for_others_ends() {
    let silent = |_: &Asked| Some(vec![]);
    let limits = Limits { client_deadline_ms: 0, ..Limits::default() };
    let world = with_net(delegated("example.com. NS ns.example.net.\nexample.com. NS ns2.example.net."));
    let mut net = world.at("192.0.2.5", silent).build(limits, |recursion| recursion.ip6 = true, |_| {});
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!(told.answer.rcode, Rcode::SERVFAIL);
    assert!(told.at <= 1_000_000 + 30_000);
}

#[test]
fn iter_unexpectedrrtype_a_server_that_refers_a_part_back_to_its_zone_is_asked_for_the_whole() {
    let back = |asked: &Asked| {
        let part = asked.query.qtype == Rtype::A;
        part.then(|| {
            soon(asked.render(&wire::Answer {
                authority: vec![ns("example.com.", &["ns.example.com."])],
                ..Default::default()
            }))
        })
    };
    let world = || delegated(GLUED).more("example.com.", "a.b.example.com. TXT x").at("192.0.2.4", back);
    assert_eq!(world().with(|_| {}).resolve("a.b.example.com.", Rtype::TXT).answer.answer.len(), 1);
    let told = world().plain().resolve("a.b.example.com.", Rtype::A);
    assert_eq!((told.answer.rcode, ede(&told).code), (Rcode::SERVFAIL, Ede::INVALID_DATA));
}

#[test]
fn iter_escape_bailiwick_an_answer_beside_name_servers_of_the_zone_above_counts() {
    let above = |asked: &Asked| {
        let answer = vec![a("www.example.com.", 60, 7)];
        Some(soon(asked.reply(Rcode::NOERROR, answer, vec![ns("example.com.", &["ns.example.com."])])))
    };
    let cut = "www.example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4";
    let mut net = internet().more("com.", cut).at("192.0.2.4", above).plain();
    assert_eq!(addresses(&net.resolve("www.example.com.", Rtype::A)), ["192.0.2.7"]);
}

#[test]
fn iter_ghost_sub_zones_told_of_beside_an_answer_end_with_the_delegation_that_led_there() {
    let own = |asked: &Asked| {
        let name = asked.name();
        let beside = wire::Answer {
            aa: true,
            answer: vec![a(&name, 3600, 4)],
            authority: vec![ns(&name, &[&name])],
            ..Default::default()
        };
        Some(soon(asked.render(&beside)))
    };
    let mut first = true;
    let world = delegated("example.com. 100 NS ns.example.com.\nns.example.com. 100 A 192.0.2.4").at("192.0.2.4", own);
    let world = world.at("198.51.100.2", move |asked| {
        let gone = !std::mem::replace(&mut first, false);
        gone.then(|| soon(asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("com.", 900, 900)])))
    });
    let limits = Limits { scrub_promiscuous: false, ..Limits::default() };
    let mut net = world.build(limits, |recursion| recursion.minimise = Minimise::Off, |_| {});
    assert_eq!(net.resolve("s.example.com.", Rtype::A).answer.rcode, Rcode::NOERROR);
    net.now += 60_000;
    assert_eq!(net.resolve("s.s.example.com.", Rtype::A).answer.rcode, Rcode::NOERROR);
    net.now += 60_000;
    assert_eq!(net.resolve("www.s.s.example.com.", Rtype::A).answer.rcode, Rcode::NXDOMAIN);
}

#[test]
fn iter_scrub_ns_few_names_of_a_set_of_name_servers_are_looked_at() {
    let names: Vec<String> = (0..50).map(|n| format!("ns{n}.example.com.")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = ns("example.com.", &names);
    let world = delegated(GLUED).at("192.0.2.4", move |asked| {
        (asked.query.qtype == Rtype::NS).then(|| soon(asked.reply(Rcode::NOERROR, vec![many.clone()], vec![])))
    });
    let limits = Limits { scrub_ns: 3, ..Limits::default() };
    let mut net = world.build(limits, |recursion| recursion.minimise = Minimise::Off, |_| {});
    assert_eq!(net.resolve("example.com.", Rtype::NS).answer.answer[0].rdata.len(), 3);
}

#[test]
fn a_machine_that_stood_still_does_not_hold_it_against_clients() {
    let mut packets = 0;
    let world = delegated(GLUED).at("192.0.2.4", move |_| {
        packets += 1;
        (packets <= 3).then(Vec::new)
    });
    let mut net = world.plain();
    net.ask_as(1, hasty("www.example.com.", Rtype::A));
    for _ in 0..4 {
        net.run_until(net.now + 100);
        if net.told.is_empty() {
            net.now += 130_000;
            net.mesh.wake(net.now);
            net.perform();
        }
    }
    net.run();
    assert_eq!(addresses(&net.the_answer(1)), ["10.20.30.40"], "{:?}", net.trace());
}

#[test]
fn harden_unverified_glue_of_names_outside_the_zone_is_looked_up_and_else_used() {
    let limits = Limits { harden_unverified_glue: true, ..Limits::default() };
    let cut = "example.com. NS ns.other.com.\nns.other.com. A 192.0.2.66\nother.com. NS ns.other.com.";
    let plain = |recursion: &mut resolve::Recursion| recursion.minimise = Minimise::Off;
    let world = || delegated(cut).at("192.0.2.66", refuse(Rcode::REFUSED));
    let own = "ns.other.com. A 192.0.2.4\nother.com. NS ns.other.com.";
    let net = works(
        world()
            .zone("other.com.", "192.0.2.5", own)
            .more("com.", "other.com. NS ns2.other.com.\nns2.other.com. A 192.0.2.5")
            .build(limits, plain, |_| {}),
    );
    assert!(net.sent.iter().all(|asked| asked.name() != "www.example.com." || asked.who() != 66), "{:?}", net.trace());
    let cut = "example.com. NS ns.other.com.\nns.other.com. A 192.0.2.4";
    let net = works(delegated(cut).build(limits, plain, |_| {}));
    assert!(net.trace().contains(&"ns.other.com. A @2".to_owned()), "looked up in vain: {:?}", net.trace());
}

#[test]
fn iter_hint_lame_when_the_servers_the_root_names_fail_the_hints_are_asked() {
    let world = delegated(GLUED).at("192.0.2.9", refuse(Rcode::REFUSED)).at("198.51.100.1", |asked| {
        let additional = vec![a("ns.root.", 3600, 9)];
        let elsewhere = wire::Answer { answer: vec![ns(".", &["ns.root."])], additional, ..Default::default() };
        (asked.name() == ".").then(|| soon(asked.render(&elsewhere)))
    });
    let net = works(world.plain());
    assert_eq!(net.trace()[..3], [". NS @1", "www.example.com. A @9", "www.example.com. A @1"]);
}

#[test]
fn rfc2308_2_2_iter_ignore_empty_a_server_that_says_nothing_at_all_is_asked_once_more() {
    let empty = |asked: &Asked| Some(soon(asked.reply(Rcode::NOERROR, vec![], vec![])));
    for _ in 0..4 {
        works(delegated(TWO).at("192.0.2.66", empty).plain());
    }
    let mut net = delegated(GLUED).at("192.0.2.4", empty).plain();
    let told = net.resolve("www.example.com.", Rtype::A);
    assert_eq!((told.answer.rcode, net.sent.len()), (Rcode::NOERROR, 5), "all say so: {:?}", net.trace());
}

#[test]
fn rfc2181_5_4_1_name_servers_told_by_the_parent_as_an_answer_are_a_referral() {
    let wrong = |asked: &Asked| {
        let mut bytes = asked.render(&wire::Answer {
            answer: vec![ns("example.com.", &["ns.example.com."])],
            additional: vec![a("ns.example.com.", 3600, 4)],
            ..Default::default()
        });
        bytes[2] &= !4;
        (asked.query.qtype == Rtype::NS).then(|| soon(bytes))
    };
    let mut net = delegated(GLUED).at("198.51.100.2", wrong).plain();
    net.resolve("example.com.", Rtype::NS);
    assert_eq!(net.trace()[2..], ["example.com. NS @2", "example.com. NS @4"]);
}

#[test]
fn iter_reclame_a_server_that_recurses_is_not_believed_that_a_name_does_not_exist() {
    let recursor = |asked: &Asked| {
        let mut bytes = asked.reply(Rcode::NXDOMAIN, vec![], vec![soa("example.com.", 900, 900)]);
        bytes[2] &= !4;
        Some(soon(bytes))
    };
    for _ in 0..4 {
        works(delegated(TWO).at("192.0.2.66", recursor).recursor("192.0.2.66").plain());
    }
}
