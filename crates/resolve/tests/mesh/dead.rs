//! Servers and zones that are gone, and come back.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;

use resolve::limits::{CLIENT_DEADLINE, RECENT_BACKOFF};
use resolve::{ForwardZone, Forwards, Limits};
use wire::{Class, Ede, Rcode, Rtype};

use crate::net::*;

/// A switch both the test and its servers hold.
fn switch(on: bool) -> (Rc<Cell<bool>>, Rc<Cell<bool>>) {
    let one = Rc::new(Cell::new(on));
    (Rc::clone(&one), one)
}

#[test]
fn a_server_killed_is_left_within_one_question() {
    let (killed, now) = switch(false);
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), move |asked| match asked.who() {
        1 if now.get() => vec![(1, Fate::Fails(ErrorKind::ConnectionRefused))],
        _ => soon(asked.address()),
    });
    (0..30).for_each(|n| drop(net.resolve(&format!("before{n}."), Rtype::A)));
    killed.set(true);
    let mut slow = 0;
    for n in 0..100 {
        let began = net.now;
        let told = net.resolve(&format!("after{n}."), Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::NOERROR);
        slow += u32::from(told.at - began > 10);
    }
    assert!(slow <= 1, "{slow} of 100 questions noticed");
}

#[test]
fn with_one_of_three_dead_every_question_is_answered_soon() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), |asked| {
        if asked.who() == 1 { vec![] } else { vec![(20, Fate::Bytes(asked.address()))] }
    });
    let times: Vec<u64> = (0..200)
        .map(|n| {
            let began = net.now;
            let told = net.resolve(&format!("n{n}."), Rtype::A);
            assert_eq!(told.answer.rcode, Rcode::NOERROR);
            told.at - began
        })
        .collect();
    assert!(times.iter().all(|time| *time <= 376 + 20), "{:?}", times.iter().max());
    assert!(times.iter().filter(|time| **time > 20).count() <= 3);
}

#[test]
fn one_that_comes_back_is_noticed_within_seconds_while_others_answer() {
    let (alive, now) = switch(false);
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), move |asked| {
        if asked.who() == 2 || now.get() { soon(asked.address()) } else { vec![] }
    });
    let ask = |net: &mut FakeNet, n: u32| {
        let began = net.now;
        net.ask(u64::from(n), &format!("n{n}."), Rtype::A);
        net.run_until(began + 100);
        net.the_answer(u64::from(n)).at - began
    };
    (0..8).for_each(|n| drop(net.resolve(&format!("first{n}."), Rtype::A)));
    for n in 0..400 {
        ask(&mut net, n);
    }
    assert!(net.mesh.dead(server(1).addr));
    alive.set(true);
    let back = net.now;
    let mut n = 400;
    while net.mesh.dead(server(1).addr) {
        assert_eq!(ask(&mut net, n), 10, "no client waits for a probe");
        n += 1;
    }
    assert!(net.now - back <= RECENT_BACKOFF + 200, "{} ms", net.now - back);
}

#[test]
fn rfc9520_when_all_are_down_clients_fail_at_once_and_one_question_probes() {
    let (alive, now) = switch(false);
    let mut net =
        FakeNet::new(
            forwards([zone("tst.", &[1, 2])]),
            move |asked| if now.get() { soon(asked.address()) } else { vec![] },
        );
    let mut client = 0;
    let mut ask = |net: &mut FakeNet| {
        client += 1;
        let began = net.now;
        net.ask_as(client, hasty(&format!("n{client}.tst."), Rtype::A));
        net.run_until(began + CLIENT_DEADLINE);
        let told = net.the_answer(client);
        (told.at - began, told)
    };
    (0..5).for_each(|_| drop(ask(&mut net)));
    let mut held = 0;
    for _ in 0..20 {
        let (time, told) = ask(&mut net);
        assert_eq!((told.answer.rcode, ede(&told).code), (Rcode::SERVFAIL, Ede::NO_REACHABLE_AUTHORITY));
        assert!(ede(&told).text.starts_with("192.0.2.") && ede(&told).text.contains("did not answer"), "{told:?}");
        held += u32::from(time > 0);
    }
    assert!(held <= 20, "{held}");
    let at_once = (0..50).filter(|_| {
        let mut fast = hasty("fast.tst.", Rtype::A);
        fast.name = name(&format!("f{}.tst.", net.counter()));
        let client = 10_000 + net.counter();
        net.ask_as(client, fast);
        net.told.contains_key(&client)
    });
    assert!(at_once.count() >= 48, "all but the probing ones are told at once");
    alive.set(true);
    net.run_until(net.now + RECENT_BACKOFF);
    assert_eq!(ask(&mut net).1.answer.rcode, Rcode::NOERROR);
    net.run();
}

#[test]
fn a_restart_of_the_only_server_is_remembered_for_one_second_at_most() {
    let (alive, now) = switch(false);
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), move |asked| {
        if now.get() { soon(asked.address()) } else { vec![(1, Fate::Fails(ErrorKind::ConnectionRefused))] }
    });
    let told = net.resolve("x.", Rtype::A);
    assert_eq!((told.answer.rcode, ede(&told).code, net.sent.len()), (Rcode::SERVFAIL, Ede::NETWORK_ERROR, 1));
    alive.set(true);
    net.now += 1_000;
    assert_eq!(net.resolve("x.", Rtype::A).answer.rcode, Rcode::NOERROR);
}

#[test]
fn with_30_percent_loss_every_question_is_answered() {
    let mut turn = 0u32;
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), move |asked| {
        // A generator of its own: every packet is lost with 3 in 10, each way.
        turn = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let lost = (turn >> 16) % 100 < 51;
        if lost { vec![] } else { vec![(20, Fate::Bytes(asked.address()))] }
    });
    for client in 0..500 {
        net.ask_as(client, hasty(&format!("n{client}."), Rtype::A));
        net.run_until(net.now + 50);
    }
    net.run();
    let failed = (0..500).filter(|client| net.the_answer(*client).answer.rcode != Rcode::NOERROR).count();
    assert!(failed <= 5, "{failed} of 500 within the client deadline");
}

fn first(at: &str, servers: &[u8]) -> ForwardZone {
    ForwardZone { first: true, ..zone(at, servers) }
}

#[test]
fn forward_first_goes_on_with_the_zone_above() {
    for silent in [false, true] {
        let mut net = FakeNet::new(forwards([zone(".", &[1]), first("tst.", &[2])]), move |asked| match asked.who() {
            1 => soon(asked.address()),
            _ if silent => vec![],
            _ => soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])),
        });
        net.ask_as(1, hasty("x.tst.", Rtype::A));
        net.run();
        let told = net.the_answer(1);
        assert_eq!((told.answer.rcode, told.answer.answer.len()), (Rcode::NOERROR, 1));
        assert_eq!(net.sent.iter().map(Asked::who).filter(|who| *who == 1).count(), 1);
    }
}

#[test]
fn forward_first_without_a_zone_above_says_so() {
    let mut net =
        FakeNet::new(forwards([first("tst.", &[1])]), |asked| soon(asked.reply(Rcode::REFUSED, vec![], vec![])));
    let told = net.resolve("x.tst.", Rtype::A);
    assert_eq!((told.answer.rcode, net.sent.len()), (Rcode::SERVFAIL, 1));
    let said = "192.0.2.1 answered REFUSED; forward-first of tst.: no zone above, and recursion is not built in yet";
    assert_eq!(ede(&told).text, said);
}

fn with_fallback(zones: impl IntoIterator<Item = ForwardZone>) -> Forwards {
    let mut builder = Forwards::builder();
    for zone in zones {
        builder.zone(zone);
    }
    builder.fallback(ForwardZone { no_cache: true, ..zone(".", &[9]) });
    builder.build()
}

#[test]
fn resolv_fallback_is_used_while_every_forwarder_is_dead_and_left_again() {
    let (alive, now) = switch(true);
    let mut net = FakeNet::new(with_fallback([zone(".", &[1, 2])]), move |asked| match asked.who() {
        9 => soon(asked.address()),
        _ if now.get() => soon(asked.address()),
        _ => vec![(1, Fate::Fails(ErrorKind::ConnectionRefused))],
    });
    let ask = |net: &mut FakeNet, text: &str| {
        let before = net.sent.len();
        let told = net.resolve(text, Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::NOERROR, "{text}");
        net.sent[before..].iter().map(Asked::who).collect::<Vec<_>>()
    };
    (0..20).for_each(|n| assert!(!ask(&mut net, &format!("before{n}.")).contains(&9)));
    alive.set(false);
    assert_eq!(ask(&mut net, "dying.").last(), Some(&9));
    assert_eq!(ask(&mut net, "dead."), [9]);
    assert!(net.store.get(name("dead.").as_ref(), Rtype::A, Class::IN, false, net.now, None).is_none(), "not kept");
    alive.set(true);
    net.now += 1_000;
    (0..3).for_each(|n| drop(ask(&mut net, &format!("probing{n}."))));
    assert!(!ask(&mut net, "back.").contains(&9), "a probe found it alive");
}

#[test]
fn resolv_fallback_is_no_second_opinion() {
    let mut net = FakeNet::new(with_fallback([zone(".", &[1])]), |asked| match asked.who() {
        9 => soon(asked.address()),
        _ => soon(asked.reply(Rcode::SERVFAIL, vec![], vec![])),
    });
    assert_eq!(net.resolve("x.", Rtype::A).answer.rcode, Rcode::SERVFAIL);
    assert!(net.sent.iter().all(|asked| asked.who() == 1), "names of the inside go nowhere else");
}

#[test]
fn no_tcp_place_is_not_the_servers_fault() {
    let tcp = ForwardZone { tcp_only: true, ..zone(".", &[1]) };
    let mut net = FakeNet::new(forwards([tcp]), |_| vec![(1_000, Fate::Fails(ErrorKind::ResourceBusy))]);
    net.ask_as(1, hasty("x.", Rtype::A));
    net.run();
    assert!(ede(&net.the_answer(1)).text.contains("no TCP connection free (outgoing-num-tcp)"));
    assert!(!net.mesh.dead(server(1).addr));
}

#[test]
fn unknown_server_time_limit_and_msg_retry_are_the_operators() {
    let limits = Limits { unknown_server_time: 100, msg_retry: 1, ..Limits::default() };
    let mut net = FakeNet::with(limits, forwards([zone(".", &[1])]), |_| vec![]);
    let began = net.now;
    assert_eq!((net.resolve("x.", Rtype::A).at - began, net.sent.len()), (200, 2));
}
