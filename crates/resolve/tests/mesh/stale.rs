//! RFC 8767: answers after their time, and questions asked before it is over.

use std::cell::Cell;
use std::rc::Rc;

use resolve::{ForwardZone, Limits, Question};
use wire::{Ede, Rcode, Rtype};

use crate::net::*;

const SERVE: Limits = Limits {
    max_queries: 64,
    edns_buffer_size: 1232,
    msg_retry: 5,
    max_sends: 32,
    max_restarts: 11,
    unknown_server_time: 376,
    min_rtt_ms: 50,
    max_rtt_ms: 120_000,
    infra_host_ttl_s: 900,
    infra_numhosts: 100,
    keep_probing: false,
    fast_server_permil: 0,
    fast_server_num: 3,
    upstream_racing: false,
    caps_for_id: false,
    harden_below_nxdomain: true,
    scrub_promiscuous: true,
    scrub_ns: 20,
    scrub_rrsig: 8,
    harden_unknown_additional: false,
    harden_unverified_glue: false,
    max_global_quota: 200,
    edns_do: true,
    prefetch: false,
    client_deadline_ms: 1_900,
    jostle_timeout_ms: 200,
    serve_expired: true,
    serve_expired_ttl_s: 86_400,
    serve_expired_ttl_reset: false,
    serve_expired_reply_ttl_s: 30,
    serve_expired_client_timeout_ms: 1_800,
    ede_serve_expired: true,
    cache_max_ttl: 86_400,
    cache_min_ttl: 0,
    cache_max_negative_ttl: 3_600,
    cache_min_negative_ttl: 0,
};

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Silent,
    Failing,
}

/// A server whose mood the test sets; it has told `x.` and `nx.` before, and both have expired.
fn expired(limits: Limits) -> (FakeNet, Rc<Cell<Mood>>) {
    let mood = Rc::new(Cell::new(Mood::Well));
    let now = Rc::clone(&mood);
    let mut net = FakeNet::with(limits, forwards([zone(".", &[1])]), move |asked| match now.get() {
        Mood::Silent => vec![],
        Mood::Failing => soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])),
        Mood::Well if asked.name() == "nx." => soon(asked.reply(Rcode::NXDOMAIN, vec![], vec![soa(".", 60, 60)])),
        Mood::Well => soon(asked.address()),
    });
    net.resolve("x.", Rtype::A);
    net.resolve("nx.", Rtype::A);
    net.now += 400_000;
    net.sent.clear();
    (net, mood)
}

fn ask(net: &mut FakeNet, client: u64, name: &str) -> (u64, Option<Told>) {
    let began = net.now;
    net.ask_as(client, hasty(name, Rtype::A));
    net.run_until(began + 3_000);
    let told = net.told.get(&client).map(|_| net.the_answer(client));
    (told.as_ref().map_or(0, |told| told.at - began), told)
}

#[test]
fn rfc8767_5_a_fresh_answer_is_tried_first_and_given_if_it_comes() {
    let (mut net, _) = expired(SERVE);
    let (time, told) = ask(&mut net, 1, "x.");
    let told = told.expect("an answer");
    assert_eq!((time, told.stale, shown(&told.answer.answer)), (10, false, vec!["x. 300 A".to_string()]));
}

#[test]
fn serve_expired_client_timeout_gives_the_stale_answer_with_reply_ttl_and_ede() {
    for (asked, code, ttl) in [("x.", Ede::STALE_ANSWER, "x. 30 A"), ("nx.", Ede::STALE_NXDOMAIN, ". 30 SOA")] {
        let (mut net, mood) = expired(SERVE);
        mood.set(Mood::Silent);
        let (time, told) = ask(&mut net, 1, asked);
        let told = told.expect("an answer");
        assert_eq!((time, told.stale, ede(&told).code), (1_800, true, code));
        assert_eq!(shown(&[told.answer.answer.as_slice(), &told.answer.authority].concat()), [ttl]);
        assert_eq!(net.mesh.counts().expired, 1);
        net.run();
    }
}

#[test]
fn serve_expired_client_timeout_0_answers_at_once_and_refreshes_behind_it() {
    let limits = Limits { serve_expired_client_timeout_ms: 0, ede_serve_expired: false, ..SERVE };
    let (mut net, _) = expired(limits);
    let (time, told) = ask(&mut net, 1, "x.");
    let told = told.expect("an answer");
    assert_eq!((time, told.stale, told.answer.ede.is_none(), net.names()), (0, true, true, vec!["x.".to_string()]));
    assert_eq!(net.mesh.counts().prefetches, 1);
    assert_eq!(shown(&net.resolve("x.", Rtype::A).answer.answer), ["x. 297 A"], "fresh by now");
}

#[test]
fn a_failure_gives_the_stale_answer_and_never_takes_its_place() {
    let (mut net, mood) = expired(SERVE);
    mood.set(Mood::Failing);
    let (time, told) = ask(&mut net, 1, "x.");
    assert!(time < 100 && told.expect("an answer").stale);
    let sent = net.sent.len();
    let (time, told) = ask(&mut net, 2, "x.");
    assert_eq!((time, net.sent.len()), (0, sent), "tried a moment ago: no new try");
    assert!(told.expect("an answer").stale);
    net.now += 5_000;
    mood.set(Mood::Well);
    assert!(!ask(&mut net, 3, "x.").1.expect("an answer").stale);
}

#[test]
fn rfc8767_a_server_that_is_down_costs_clients_of_known_names_nothing() {
    let (mut net, mood) = expired(SERVE);
    mood.set(Mood::Silent);
    (0..8).for_each(|n| drop(ask(&mut net, 100 + n, &format!("new{n}."))));
    let (time, told) = ask(&mut net, 1, "x.");
    let told = told.expect("an answer");
    assert!(told.stale && time <= 1_800);
    let times: Vec<u64> = (2..12).map(|client| ask(&mut net, client, "x.").0).collect();
    assert!(times.iter().filter(|time| **time == 0).count() >= 8, "{times:?}");
    net.run();
}

#[test]
fn serve_expired_ttl_and_its_reset_bound_how_old_an_answer_may_be() {
    for (reset, served) in [(false, false), (true, true)] {
        let limits = Limits { serve_expired_ttl_s: 200, serve_expired_ttl_reset: reset, ..SERVE };
        let (mut net, mood) = expired(limits);
        mood.set(Mood::Failing);
        assert!(ask(&mut net, 1, "x.").1.expect("an answer").stale, "100 s after its time");
        net.now += 150_000;
        let told = ask(&mut net, 2, "x.").1.expect("an answer");
        assert_eq!(told.stale, served, "250 s after its time, reset {reset}");
    }
}

#[test]
fn serve_expired_ttl_reset_serves_those_too_who_came_when_it_was_too_old() {
    let (mut net, mood) = expired(Limits { serve_expired_ttl_s: 1, serve_expired_ttl_reset: true, ..SERVE });
    mood.set(Mood::Failing);
    let told = ask(&mut net, 1, "x.").1.expect("an answer");
    assert!(told.stale && ede(&told).code == Ede::STALE_ANSWER);
}

#[test]
fn serve_expired_ttl_reset_holds_at_the_clients_deadline_too() {
    for reset in [true, false] {
        let limits = Limits { serve_expired_ttl_s: 1, serve_expired_ttl_reset: reset, ..SERVE };
        let (mut net, mood) = expired(limits);
        mood.set(Mood::Silent);
        net.ask_as(1, hasty("x.", Rtype::A));
        net.run();
        let told = net.the_answer(1);
        assert_eq!(told.stale, reset, "what was too old is given out if a failure would make its time begin anew");
    }
}

#[test]
fn serve_expired_ttl_reset_holds_when_all_servers_are_known_to_be_dead() {
    let (mut net, mood) = expired(Limits { serve_expired_ttl_s: 1, serve_expired_ttl_reset: true, ..SERVE });
    mood.set(Mood::Silent);
    for client in [1, 3, 5] {
        net.ask_as(client, hasty("x.", Rtype::A));
        net.run_until(net.now + 5_000);
        net.ask_as(client + 1, hasty("x.", Rtype::A)); // joins what still goes on
        net.run();
        assert!(net.the_answer(client).stale && net.the_answer(client + 1).stale, "client {client} and the next");
        net.now += 60_000;
    }
}

#[test]
fn serve_expired_off_means_off() {
    let (mut net, mood) = expired(Limits { serve_expired: false, ..SERVE });
    mood.set(Mood::Failing);
    assert_eq!(ask(&mut net, 1, "x.").1.expect("an answer").answer.rcode, Rcode::SERVFAIL);
}

#[test]
fn num_queries_per_thread_full_still_serves_what_is_stale() {
    let (mut net, mood) = expired(Limits { max_queries: 1, ..SERVE });
    mood.set(Mood::Silent);
    net.ask_as(1, hasty("other.", Rtype::A));
    net.ask_as(2, hasty("x.", Rtype::A));
    assert!(net.the_answer(2).stale);
    net.run();
}

#[test]
fn prefetch_asks_once_and_nobody_waits_for_it() {
    let mut net = FakeNet::with(SERVE, forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    net.resolve("x.", Rtype::A);
    net.now += 290_000;
    let table = net.forwards.clone();
    for _ in 0..5 {
        net.mesh.prefetch(net.now, &table, question("x.", Rtype::A));
        net.perform();
    }
    assert_eq!((net.mesh.queries(), net.mesh.waiting(), net.sent.len()), (1, 0, 2));
    net.ask(1, "x.", Rtype::A);
    net.run();
    assert_eq!(net.the_answer(1).answer.rcode, Rcode::NOERROR, "a client may join it");
    assert_eq!((net.mesh.counts().prefetches, net.sent.len()), (1, 2));
    assert_eq!(shown(&net.resolve("x.", Rtype::A).answer.answer), ["x. 300 A"]);
}

#[test]
fn a_prefetch_that_failed_is_not_tried_again_at_once() {
    let (mut net, mood) = expired(SERVE);
    mood.set(Mood::Well);
    net.resolve("p.", Rtype::A);
    net.now += 290_000;
    mood.set(Mood::Failing);
    let table = net.forwards.clone();
    net.mesh.prefetch(net.now, &table, question("p.", Rtype::A));
    net.perform();
    net.run();
    let known = net.store.get(name("p.").as_ref(), Rtype::A, wire::Class::IN, false, net.now, None);
    assert!(known.is_some_and(|found| found.paused && found.answer.rcode == Rcode::NOERROR));
}

#[test]
fn prefetch_goes_past_the_links_it_refreshes() {
    let mut net = FakeNet::with(SERVE, forwards([zone(".", &[1])]), |asked| match asked.name().as_str() {
        "c." => soon(asked.reply(Rcode::NOERROR, vec![cname("c.", 100, "t.")], vec![])),
        _ => soon(asked.address()),
    });
    net.resolve("c.", Rtype::A);
    net.now += 95_000;
    let table = net.forwards.clone();
    net.mesh.prefetch(net.now, &table, question("c.", Rtype::A));
    net.perform();
    net.run();
    assert_eq!(net.names(), ["c.", "t.", "c."]);
    net.now += 50_000;
    assert_eq!(shown(&net.resolve("c.", Rtype::A).answer.answer)[0], "c. 50 CNAME");
}

#[test]
fn forward_no_cache_is_never_stale() {
    let no_cache = ForwardZone { no_cache: true, ..zone(".", &[1]) };
    let mut net = FakeNet::with(SERVE, forwards([no_cache]), |asked| soon(asked.address()));
    net.resolve("x.", Rtype::A);
    net.now += 400_000;
    assert!(!net.resolve_as(Question { patient: false, ..question("x.", Rtype::A) }).stale);
    assert_eq!(net.sent.len(), 2);
}

#[test]
fn what_was_asked_before_a_flush_is_not_put_back() {
    let mut net = FakeNet::with(SERVE, forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    net.ask(1, "x.", Rtype::A);
    net.store.flush_all();
    net.run();
    assert_eq!(net.the_answer(1).answer.rcode, Rcode::NOERROR);
    assert_eq!(net.store.usage().messages.entries, 0);
}

#[test]
fn cve_2026_56444_a_stale_answer_is_given_once_and_in_time_where_both_timers_meet() {
    for (stale, deadline) in [(1_800, 1_900), (1_900, 1_900), (5_000, 1_900), (1_800, 0)] {
        let limits = Limits { serve_expired_client_timeout_ms: stale, client_deadline_ms: deadline, ..SERVE };
        let (mut net, mood) = expired(limits);
        mood.set(Mood::Silent);
        let (time, told) = ask(&mut net, 1, "x.");
        let due = if deadline == 0 { stale } else { stale.min(deadline) };
        assert!(told.expect("an answer").stale);
        assert_eq!(time, due);
        net.run();
    }
}

#[test]
fn rfc8767_5_a_link_to_what_failed_a_moment_ago_takes_no_stale_answer_away() {
    for timeout in [0, 1_800] {
        let limits = Limits { serve_expired_client_timeout_ms: timeout, ..SERVE };
        let mut net = FakeNet::with(limits, forwards([zone(".", &[1])]), move |asked| match &*asked.name() {
            "alias." => soon(asked.reply(Rcode::NOERROR, vec![cname("alias.", 300, "x.")], vec![])),
            _ => soon(asked.address()),
        });
        net.resolve("alias.", Rtype::A);
        net.now += 400_000;
        // Another worker had nothing of the target that it could serve, and remembers that it failed.
        let put = store::Put {
            now: net.now,
            ttl: 5,
            authoritative: false,
            security: store::Security::Unchecked,
            epoch: net.store.epoch(),
            leeway_s: 0,
        };
        let key = store::Key { name: name("x."), qtype: Rtype::A, qclass: wire::Class::IN, cd: false };
        net.store.put(key, &wire::Answer::new(Rcode::SERVFAIL), put);
        for client in [1, 2] {
            let (_, told) = ask(&mut net, client, "alias.");
            let told = told.expect("an answer");
            assert!(told.stale, "client {client} after {timeout} ms: {:?}", told.answer);
            assert_eq!(told.answer.answer.len(), 2);
        }
    }
}
