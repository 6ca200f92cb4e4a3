//! Many questions at once, and what the log says.

use resolve::{Limits, Question};
use wire::{Ede, Rcode, Rtype};

use crate::net::*;

fn places(max_queries: usize) -> Limits {
    Limits { max_queries, ..Limits::default() }
}

#[test]
fn jostle_timeout_the_newer_half_gives_way_when_it_is_old_enough() {
    let mut net = FakeNet::with(places(4), forwards([zone(".", &[1])]), |_| vec![]);
    (1..=4).for_each(|client| net.ask(client, &format!("n{client}."), Rtype::A));
    net.ask(5, "too-early.", Rtype::A);
    assert_eq!(net.the_answer(5).answer.rcode, Rcode::SERVFAIL);
    net.run_until(net.now + 200);
    net.ask(6, "in-time.", Rtype::A);
    let told = net.the_answer(3);
    assert_eq!((told.answer.rcode, ede(&told).code), (Rcode::SERVFAIL, Ede::OTHER), "the oldest of the newer half");
    assert_eq!(ede(&told).text, "a newer question took its place (num-queries-per-thread, outgoing-range)");
    assert!([1, 2, 4, 6].iter().all(|client| !net.told.contains_key(client)));
    let counts = net.mesh.counts();
    assert_eq!((counts.jostled, counts.exceeded), (1, 1));
    net.run();
}

#[test]
fn a_silent_upstream_never_fills_the_table() {
    let mut net = FakeNet::with(places(64), forwards([zone("dead.", &[1]), zone(".", &[2])]), |asked| {
        if asked.who() == 1 { vec![] } else { soon(asked.address()) }
    });
    let mut failed = 0;
    // Until it is known to be dead.
    (0..4).for_each(|n| drop(net.resolve(&format!("first{n}.dead."), Rtype::A)));
    for n in 0..4_000 {
        net.ask_as(n, hasty(&format!("n{n}.dead."), Rtype::A));
        if n % 20 == 0 {
            let client = 100_000 + n;
            net.ask_as(client, hasty(&format!("n{n}.alive."), Rtype::A));
            net.run_until(net.now + 20);
            failed += u32::from(net.the_answer(client).answer.rcode != Rcode::NOERROR);
        }
        net.run_until(net.now + 1);
        assert!(net.mesh.queries() <= 64);
    }
    assert_eq!(failed, 0, "of 200 questions elsewhere found no place");
    net.run();
}

#[test]
fn a_question_nobody_waits_for_gives_way_first() {
    let mut net = FakeNet::with(places(2), forwards([zone(".", &[1])]), |_| vec![]);
    net.ask_as(1, hasty("given-up.", Rtype::A));
    net.ask(2, "patient.", Rtype::A);
    net.run_until(net.now + 1_900);
    assert_eq!(net.the_answer(1).answer.rcode, Rcode::SERVFAIL);
    net.ask(3, "new.", Rtype::A);
    assert!(!net.told.contains_key(&2) && !net.told.contains_key(&3));
    net.run();
}

#[test]
fn time_in_which_the_machine_stood_still_is_not_held_against_the_question() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |_| vec![]);
    net.ask(1, "x.", Rtype::A);
    for n in 2..=6 {
        net.now += 130_000;
        net.mesh.wake(net.now);
        net.perform();
        assert_eq!(net.sent.len(), n, "one more packet each time");
    }
    net.run();
}

fn said(verbosity: u8, asked: &str) -> Vec<String> {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        soon(match asked.name().as_str() {
            "cn." => asked.reply(Rcode::NOERROR, vec![cname("cn.", 60, "www.")], vec![]),
            "nx." => asked.reply(Rcode::NXDOMAIN, vec![], vec![soa(".", 60, 60)]),
            "nod." => asked.reply(Rcode::NOERROR, vec![], vec![soa(".", 60, 60)]),
            "sf." => asked.reply(Rcode::SERVFAIL, vec![], vec![]),
            _ => asked.address(),
        })
    });
    net.mesh.set_verbosity(verbosity);
    net.resolve_as(Question { patient: true, ..question(asked, Rtype::A) });
    assert!(net.lines.iter().all(|(level, _)| *level <= verbosity));
    net.lines.iter().map(|(_, line)| line.clone()).collect()
}

#[test]
fn verbosity_2_speaks_unbounds_words_in_unbounds_order() {
    let told = |name: &str, was: &str| {
        [
            format!("resolving {name} A IN"),
            format!("response for {name} A IN"),
            "reply from <.> 192.0.2.1#53".to_owned(),
            format!("query response was {was}"),
        ]
    };
    assert_eq!(said(2, "www."), told("www.", "ANSWER"));
    assert_eq!(said(2, "nx."), told("nx.", "NXDOMAIN ANSWER"));
    assert_eq!(said(2, "nod."), told("nod.", "nodata ANSWER"));
    assert_eq!(said(2, "cn."), [told("cn.", "CNAME"), told("cn.", "ANSWER")].concat());
    assert_eq!(said(2, "sf.")[..4], told("sf.", "THROWAWAY"));
}

#[test]
fn verbosity_3_adds_what_is_sent_and_0_says_nothing() {
    let lines = said(3, "www.");
    assert_eq!(lines[1..3], ["sending query: www. A IN", "sending to target: <.> 192.0.2.1#53"]);
    assert_eq!(lines.last().map(String::as_str), Some("finishing processing for www. A IN"));
    assert!(said(0, "www.").is_empty() && said(1, "www.").is_empty());
}

#[test]
fn outgoing_range_what_has_not_left_is_not_held_against_its_server() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |_| vec![]);
    net.ask_as(1, hasty("x.", Rtype::A));
    let id = net.sent[0].send;
    net.mesh.held(net.now, id);
    net.run_until(net.now + 10_000);
    let told = net.the_answer(1);
    assert!(ede(&told).text.contains("192.0.2.1 was not asked: no socket free (outgoing-range)"), "{told:?}");
    assert_eq!((net.sent.len(), net.mesh.servers()[0].timeouts), (1, 0));
    net.mesh.left(net.now, id);
    let reply = net.sent[0].address();
    net.now += 20;
    assert!(net.mesh.reply(net.now, id, &reply, resolve::Transport::Udp));
    net.perform();
    net.run();
    assert_eq!(net.mesh.servers()[0].srtt_ms, Some(20), "counted from when it left");
    assert_eq!(net.resolve("x.", Rtype::A).answer.rcode, Rcode::NOERROR);
}
