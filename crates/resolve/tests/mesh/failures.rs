//! Servers that fail, in every way they can.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;

use resolve::limits::QUERY_TIME;
use resolve::{ForwardZone, Limits};
use wire::{Ede, Rcode, Rtype};

use crate::net::*;

/// Clients wait to the end.
fn to_the_end() -> Limits {
    Limits { client_deadline_ms: 0, ..Limits::default() }
}

#[test]
fn an_unknown_server_gets_376_ms_and_then_more_as_unbound_waits() {
    let mut net = FakeNet::with(to_the_end(), forwards([zone("tst.", &[1])]), |_| vec![]);
    let told = net.resolve("drop.tst.", Rtype::A);
    let at: Vec<u64> = net.sent.iter().map(|asked| asked.at).chain([told.at]).collect();
    let waits: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [376, 376, 752, 752, 1504, 1504, 3008, 3008, 6016, 6016]);
    let plain: Vec<usize> = (0..10).filter(|n| net.sent[*n].query.edns.is_none()).collect();
    assert_eq!(plain, [2], "one try finds out whether it drops what has EDNS");
    assert_eq!(net.sent.iter().filter(|asked| !asked.again).count(), 2, "all else goes out again by the same socket");
    let said = "all the configured stub or forward servers failed, at zone tst. upstream server timeout";
    assert_eq!((told.answer.rcode, told.why.as_deref()), (Rcode::SERVFAIL, Some(said)));
    assert_eq!(ede(&told).code, Ede::NO_REACHABLE_AUTHORITY);
    assert!(ede(&told).text.starts_with("192.0.2.1 did not answer"), "{}", ede(&told).text);
}

#[test]
fn a_lost_packet_costs_one_wait() {
    let lost = Cell::new(false);
    let mut net =
        FakeNet::new(
            forwards([zone(".", &[1])]),
            move |asked| {
                if lost.replace(true) { soon(asked.address()) } else { vec![] }
            },
        );
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!((told.answer.rcode, told.at - net.sent[0].at), (Rcode::NOERROR, 386));
}

#[test]
fn a_silent_server_is_left_for_the_next_and_then_avoided() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), |asked| match asked.who() {
        1 => vec![],
        _ => soon(asked.address()),
    });
    let mut silences = 0;
    for n in 0..200 {
        let before = net.sent.len();
        let told = net.resolve(&format!("n{n}.example."), Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::NOERROR);
        assert!(net.sent.len() - before <= 2, "one silence, then the other server");
        silences += net.sent.len() - before - 1;
    }
    assert!(silences <= 5, "{silences} of 200 questions waited for the dead server");
}

#[test]
fn a_dead_server_that_lives_again_is_asked_again() {
    let alive = Rc::new(Cell::new(true));
    let switch = Rc::clone(&alive);
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), move |asked| {
        if asked.who() == 2 || switch.get() { soon(asked.address()) } else { vec![] }
    });
    let asked_of_1 = |net: &mut FakeNet, round: &str| {
        let before = net.sent.len();
        for n in 0..40 {
            assert_eq!(net.resolve(&format!("n{n}.{round}.example."), Rtype::A).answer.rcode, Rcode::NOERROR);
            net.now += 100;
        }
        net.sent[before..].iter().filter(|asked| asked.who() == 1).count()
    };
    assert!(asked_of_1(&mut net, "before") > 5);
    alive.set(false);
    asked_of_1(&mut net, "dying");
    assert!(net.mesh.dead(server(1).addr));
    net.now += 60_000;
    assert!(asked_of_1(&mut net, "dead") <= 4);
    alive.set(true);
    net.now += 60_000;
    assert!(asked_of_1(&mut net, "again") > 5);
    assert!(!net.mesh.dead(server(1).addr));
}

#[test]
fn what_this_machine_lacks_is_not_held_against_the_server() {
    for (kind, dead) in
        [(ErrorKind::AddrInUse, false), (ErrorKind::Unsupported, false), (ErrorKind::ConnectionRefused, true)]
    {
        let fails = move |_: &Asked| vec![(1, Fate::Fails(kind))];
        let mut net = FakeNet::new(forwards([zone(".", &[1])]), fails);
        for n in 0..5 {
            let told = net.resolve(&format!("n{n}.example."), Rtype::A);
            assert_eq!(told.answer.rcode, Rcode::SERVFAIL);
        }
        assert_eq!(net.mesh.dead(server(1).addr), dead, "{kind}");
    }
}

#[test]
fn whether_a_dead_server_lives_again_is_found_out_quickly_where_others_can_answer() {
    let table = forwards([zone("alone.", &[1]), zone("both.", &[1, 2])]);
    let mut net = FakeNet::new(table, |asked| if asked.who() == 2 { soon(asked.address()) } else { vec![] });
    net.resolve("x.alone.", Rtype::A);
    for n in 0..20 {
        net.now += 20_000;
        let before = net.sent.len();
        assert_eq!(net.resolve(&format!("n{n}.both."), Rtype::A).answer.rcode, Rcode::NOERROR);
        assert_eq!(net.sent[before].who(), 2, "and no client waits for it");
    }
    assert!(net.sent.iter().filter(|asked| asked.who() == 1 && asked.name().ends_with(".both.")).count() > 1);
}

#[test]
fn all_gone_and_back() {
    let alive = Rc::new(Cell::new(false));
    let switch = Rc::clone(&alive);
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), move |asked| {
        if switch.get() { soon(asked.address()) } else { vec![(1, Fate::Fails(ErrorKind::ConnectionRefused))] }
    });
    for n in 0..20 {
        let told = net.resolve(&format!("n{n}."), Rtype::A);
        assert_eq!((told.answer.rcode, ede(&told).code), (Rcode::SERVFAIL, Ede::NETWORK_ERROR));
        assert!(ede(&told).text.contains("could not be reached (connection refused)"), "{}", ede(&told).text);
    }
    alive.set(true);
    assert_eq!(net.resolve("back.", Rtype::A).answer.rcode, Rcode::NOERROR, "at once, whatever the back-off");
}

#[test]
fn rcodes_that_are_no_answers_go_to_the_next_server() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOTAUTH, Rcode(11), Rcode::FORMERR, Rcode::NOTIMP] {
        let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), move |asked| {
            soon(if asked.who() == 1 { asked.reply(rcode, vec![], vec![]) } else { asked.address() })
        });
        for n in 0..10 {
            assert_eq!(net.resolve(&format!("n{n}."), Rtype::A).answer.rcode, Rcode::NOERROR, "{rcode}");
        }
    }
}

#[test]
fn outbound_msg_retry_is_5_and_the_client_gets_servfail_whatever_the_server_said() {
    for (rcode, packets, word) in [
        (Rcode::SERVFAIL, 5, "SERVFAIL"),
        (Rcode::REFUSED, 5, "REFUSED"),
        (Rcode::NOTAUTH, 5, "NOTAUTH"),
        (Rcode(11), 5, "RCODE11"),
        (Rcode::FORMERR, 10, "FORMERR"),
        (Rcode::NOTIMP, 10, "NOTIMPL"),
    ] {
        let mut net =
            FakeNet::new(forwards([zone("tst.", &[1])]), move |asked| soon(asked.reply(rcode, vec![], vec![])));
        let told = net.resolve("x.tst.", Rtype::A);
        assert_eq!((told.answer.rcode, net.sent.len()), (Rcode::SERVFAIL, packets));
        let said = format!("all the configured stub or forward servers failed, at zone tst. from 192.0.2.1 got {word}");
        assert_eq!(told.why, Some(said));
    }
}

#[test]
fn malformed_replies_go_to_the_next_server() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), |asked| {
        let whole = asked.address();
        let id = asked.query.id.to_be_bytes();
        soon(match (asked.who(), asked.name().as_str()) {
            (2, _) => whole,
            (_, "cut.") => whole[..whole.len() - 2].to_vec(),
            _ => [&id[..], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &[0xff; 20]].concat(),
        })
    });
    for name in ["cut.", "garbage.", "cut.", "more."] {
        assert_eq!(net.resolve(name, Rtype::A).answer.rcode, Rcode::NOERROR);
    }
}

#[test]
fn a_client_is_told_within_the_limit_however_many_servers_are_silent() {
    let servers: Vec<u8> = (1..=30).collect();
    let mut net = FakeNet::with(to_the_end(), forwards([zone(".", &servers)]), |_| vec![]);
    for n in 0..3 {
        let began = net.now;
        let told = net.resolve(&format!("n{n}."), Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::SERVFAIL);
        assert!(told.at - began <= QUERY_TIME, "{} ms", told.at - began);
    }
    let each = usize::from(resolve::limits::MAX_SENDS) + 1;
    assert!(net.sent.len() <= 3 * each, "{} packets, the probes of other servers included", net.sent.len());
}

#[test]
fn a_chain_of_slow_answers_ends_in_time_too() {
    let mut net = FakeNet::with(to_the_end(), forwards([zone(".", &[1])]), |asked| {
        let target = format!("x{}", asked.name());
        vec![(11_000, Fate::Bytes(asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 60, &target)], vec![])))]
    });
    // Known to be slow, so that its answers are waited for.
    (0..4).for_each(|n| drop(net.resolve(&format!("n{n}."), Rtype::A)));
    let began = net.now;
    let told = net.resolve("slow.", Rtype::A);
    assert_eq!(told.answer.rcode, Rcode::SERVFAIL);
    assert!(told.at - began <= QUERY_TIME, "{} ms", told.at - began);
}

#[test]
fn silence_over_tcp_is_waited_for_three_seconds() {
    let tcp = ForwardZone { tcp_only: true, ..zone(".", &[1]) };
    let mut net = FakeNet::with(to_the_end(), forwards([tcp]), |_| vec![]);
    let told = net.resolve("x.", Rtype::A);
    assert_eq!((told.answer.rcode, net.sent.len(), net.sent[1].at - net.sent[0].at), (Rcode::SERVFAIL, 5, 3_000));
}

#[test]
fn a_server_two_seconds_away_is_heard() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| vec![(2_000, Fate::Bytes(asked.address()))]);
    assert_eq!(net.resolve("first.", Rtype::A).answer.rcode, Rcode::NOERROR);
    let before = net.sent.len();
    assert_eq!(net.resolve("second.", Rtype::A).answer.rcode, Rcode::NOERROR);
    assert_eq!(net.sent.len() - before, 1, "by now it is known to be slow");
}

#[test]
fn of_servers_equally_good_all_are_asked() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), |asked| soon(asked.address()));
    (0..90).for_each(|n| drop(net.resolve(&format!("n{n}."), Rtype::A)));
    for server in 1..=3 {
        let count = net.sent.iter().filter(|asked| asked.who() == server).count();
        assert!((10..60).contains(&count), "{count} of 90");
    }
}
