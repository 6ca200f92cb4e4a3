//! Replies that take their time, and clients that do not.

use std::cell::Cell;
use std::rc::Rc;

use resolve::limits::{CLIENT_DEADLINE, HEDGE_BURST, MAX_FLIGHTS, MAX_SENDS, PATIENT_DEADLINE};
use resolve::{Limits, Transport};
use wire::{Ede, Rcode, Rtype};

use crate::net::*;

#[test]
fn an_upstream_that_needs_two_seconds_answers_after_two_seconds() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| vec![(2_000, Fate::Bytes(asked.address()))]);
    for n in 0..40 {
        let began = net.now;
        let told = net.resolve(&format!("n{n}."), Rtype::A);
        assert_eq!((told.answer.rcode, told.at - began), (Rcode::NOERROR, 2_000), "question {n}");
    }
    let known = &net.mesh.servers()[0];
    assert!((1_990..=2_010).contains(&known.srtt_ms.expect("a time")), "{known:?}");
    assert!(net.sent.len() <= 45, "{} packets for 40 questions: by now it is known to be slow", net.sent.len());
}

#[test]
fn rfc6298_3_a_fast_server_that_becomes_slow_is_known_to_be_slow() {
    let delay = Rc::new(Cell::new(20));
    let now = Rc::clone(&delay);
    let mut net =
        FakeNet::new(forwards([zone(".", &[1])]), move |asked| vec![(now.get(), Fate::Bytes(asked.address()))]);
    (0..10).for_each(|n| drop(net.resolve(&format!("fast{n}."), Rtype::A)));
    delay.set(2_000);
    for n in 0..40 {
        let began = net.now;
        let told = net.resolve(&format!("slow{n}."), Rtype::A);
        assert_eq!((told.answer.rcode, told.at - began), (Rcode::NOERROR, 2_000), "question {n}");
    }
    let known = &net.mesh.servers()[0];
    assert!(known.srtt_ms.is_some_and(|srtt| srtt > 1_900) && known.wait_ms > 2_000, "{known:?}");
}

#[test]
fn what_is_sent_again_is_the_same_packet_on_the_same_socket() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| vec![(700, Fate::Bytes(asked.address()))]);
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!((told.answer.rcode, told.at - net.sent[0].at), (Rcode::NOERROR, 700), "the first packet was not lost");
    let again: Vec<bool> = net.sent.iter().map(|asked| asked.again).collect();
    assert_eq!(again, [false, true]);
    assert_eq!((net.sent[0].send, net.sent[0].query.id), (net.sent[1].send, net.sent[1].query.id));
}

#[test]
fn discard_timeout_clients_hear_the_reason_in_time_and_the_answer_warms_the_cache() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| vec![(2_500, Fate::Bytes(asked.address()))]);
    let began = net.now;
    net.ask_as(1, hasty("x.tst.", Rtype::A));
    net.run_until(began + 500);
    net.ask_as(2, hasty("x.tst.", Rtype::A));
    net.ask(3, "x.tst.", Rtype::A);
    net.run();
    for (client, came) in [(1, began), (2, began + 500)] {
        let told = net.the_answer(client);
        assert_eq!((told.answer.rcode, told.at - came), (Rcode::SERVFAIL, CLIENT_DEADLINE));
        assert_eq!(ede(&told).code, Ede::NO_REACHABLE_AUTHORITY);
        let said = "192.0.2.1 did not answer in the time clients wait; forward zone tst.";
        assert_eq!(ede(&told).text, said);
    }
    let patient = net.the_answer(3);
    assert_eq!((patient.answer.rcode, patient.at - began), (Rcode::NOERROR, 2_500), "over TCP it is waited for");
    assert_eq!(net.resolve("x.tst.", Rtype::A).at, net.now, "it is in the cache");
    assert_eq!(net.mesh.counts().late, 2);
}

#[test]
fn a_client_that_holds_on_is_told_before_it_gives_up_too() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |_| vec![]);
    let began = net.now;
    let told = net.resolve("x.", Rtype::A);
    assert_eq!((told.answer.rcode, told.at - began), (Rcode::SERVFAIL, PATIENT_DEADLINE));
}

#[test]
fn a_server_that_truncates_and_is_silent_over_tcp_is_hedged_and_then_avoided() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), |asked| {
        let mut bytes = asked.address();
        match (asked.who(), asked.over) {
            (1, Transport::Udp) => bytes[2] |= 2,
            (1, Transport::Tcp) => return vec![],
            _ => {}
        }
        soon(bytes)
    });
    let mut slow = 0;
    for client in 0..200 {
        let began = net.now;
        net.ask_as(client, hasty(&format!("n{client}."), Rtype::A));
        net.run_until(began + 1_000);
        let told = net.the_answer(client);
        assert!(told.answer.rcode == Rcode::NOERROR && told.at - began <= 420, "{} ms", told.at - began);
        slow += u32::from(told.at - began > 10);
    }
    assert!(slow <= 12, "{slow} of 200 questions waited");
    net.run();
}

#[test]
fn discard_timeout_0_lets_clients_wait_to_the_end() {
    let limits = Limits { client_deadline_ms: 0, ..Limits::default() };
    let mut net =
        FakeNet::with(limits, forwards([zone(".", &[1])]), |asked| vec![(9_000, Fate::Bytes(asked.address()))]);
    net.ask_as(1, hasty("x.", Rtype::A));
    net.run();
    assert_eq!(net.the_answer(1).answer.rcode, Rcode::NOERROR);
}

#[test]
fn the_client_deadline_tells_what_the_server_did() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let mut bytes = asked.address();
        bytes[1] ^= 1;
        if asked.over == resolve::Transport::Udp { vec![(1, Fate::Bytes(bytes))] } else { vec![] }
    });
    net.ask_as(1, hasty("x.", Rtype::A));
    net.run();
    let told = net.the_answer(1);
    assert_eq!((told.answer.rcode, ede(&told).code), (Rcode::SERVFAIL, Ede::INVALID_DATA));
    assert!(ede(&told).text.starts_with("192.0.2.1 sent replies with wrong ids"), "{}", ede(&told).text);
}

#[test]
fn a_server_slower_than_usual_is_hedged_and_the_first_answer_wins() {
    let slow = Rc::new(Cell::new(false));
    let now = Rc::clone(&slow);
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), move |asked| {
        let late = now.get() && asked.who() == 1;
        vec![(if late { 30_000 } else { 20 }, Fate::Bytes(asked.address()))]
    });
    (0..40).for_each(|n| drop(net.resolve(&format!("usual{n}."), Rtype::A)));
    assert_eq!(net.mesh.counts().hedged, 0, "nothing is unusual yet");
    slow.set(true);
    let mut hedged = 0;
    for n in 0..20 {
        let (before, began) = (net.sent.len(), net.now);
        let told = net.resolve(&format!("slow{n}."), Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::NOERROR);
        if net.mesh.counts().hedged > hedged {
            hedged = net.mesh.counts().hedged;
            assert!(net.sent[before].who() == 1 && net.sent[before + 1].who() == 2);
            assert!(told.at - began < 50, "before the first is even thought to be silent: {} ms", told.at - began);
        }
    }
    assert!(hedged > 0);
    assert!(net.mesh.dead(server(1).addr), "what was hedged around is found dead all the same");
}

#[test]
fn hedging_never_doubles_the_load_when_all_are_slow() {
    let slow = Rc::new(Cell::new(false));
    let now = Rc::clone(&slow);
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), move |asked| {
        // Each slower than the one before: always slower than usual, and never as late as the time it is waited for.
        vec![(if now.get() { 45 } else { 5 }, Fate::Bytes(asked.address()))]
    });
    (0..60).for_each(|n| drop(net.resolve(&format!("usual{n}."), Rtype::A)));
    slow.set(true);
    let before = net.sent.len();
    (0..1_000).for_each(|client| net.ask(client, &format!("slow{client}."), Rtype::A));
    net.run();
    let more = net.sent.len() - before - 1_000;
    assert!(more as u64 <= HEDGE_BURST + 50 + 3, "{more} packets beside 1000 questions");
}

#[test]
fn upstream_racing_asks_all_and_counts_who_wins() {
    let limits = Limits { upstream_racing: true, ..Limits::default() };
    let mut net = FakeNet::with(limits, forwards([zone(".", &[1, 2, 3])]), |asked| {
        let bytes = if asked.who() == 2 { asked.reply(Rcode::SERVFAIL, vec![], vec![]) } else { asked.address() };
        vec![(u64::from(asked.who()) * 10, Fate::Bytes(bytes))]
    });
    for n in 0..10 {
        let began = net.now;
        let told = net.resolve(&format!("n{n}."), Rtype::A);
        assert_eq!((told.answer.rcode, told.at - began), (Rcode::NOERROR, 10));
    }
    assert_eq!(net.sent.len(), 30);
    let wins: Vec<u64> = net.mesh.servers().iter().map(|view| view.wins).collect();
    assert_eq!((wins, net.mesh.counts().races), (vec![10, 0, 0], 10));
}

#[test]
fn upstream_racing_a_failure_loses_against_an_answer() {
    let limits = Limits { upstream_racing: true, ..Limits::default() };
    let mut net = FakeNet::with(limits, forwards([zone(".", &[1, 2, 3])]), |asked| match asked.who() {
        1 => vec![(1, Fate::Bytes(asked.reply(Rcode::REFUSED, vec![], vec![])))],
        2 => vec![],
        _ => vec![(100, Fate::Bytes(asked.address()))],
    });
    assert_eq!(net.resolve("x.", Rtype::A).answer.rcode, Rcode::NOERROR);
    assert_eq!(net.sent.len(), 3);
}

#[test]
fn rfc5452_5_few_exchanges_are_open_at_once_however_many_servers_there_are() {
    let servers: Vec<u8> = (1..=20).collect();
    for upstream_racing in [false, true] {
        let limits = Limits { upstream_racing, ..Limits::default() };
        let mut net = FakeNet::with(limits, forwards([zone(".", &servers)]), |_| vec![]);
        net.ask(1, "x.", Rtype::A);
        let mut most = 0;
        while net.mesh.queries() > 0 {
            net.run_until(net.now + 50);
            most = most.max(net.mesh.exchanges());
        }
        assert!(most <= MAX_FLIGHTS + 1, "{most}, with one probe of another server");
        net.run();
    }
}

#[test]
fn three_silent_servers_cost_a_bounded_number_of_packets() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), |_| vec![]);
    net.resolve("first.", Rtype::A);
    let first = net.sent.len();
    assert!(first <= usize::from(MAX_SENDS), "{first}");
    let before = net.sent.len();
    for n in 0..100 {
        net.ask(n, &format!("n{n}."), Rtype::A);
    }
    net.run();
    let each = net.sent.len() - before;
    assert!(each <= 4 * usize::from(MAX_SENDS), "{each} for the next 100 questions: they are known to be down");
}
