//! Records and blocks of the API as clients see them: at once, on every worker, and counted.

mod common;

use common::*;
use net::explain::Local;
use net::{Inquiry, Room, Serve, Snapshot, SocketOptions};
use policy::{Block, Item, Policy};
use resolve::Question;
use std::net::IpAddr;
use std::sync::Arc;
use wire::types::flag;
use wire::{Class, Ede, Name, Rcode, Rtype, parse_record};

fn record(text: &str) -> Item {
    Item::Record(parse_record(text, 0).unwrap())
}

fn block(name: &str, action: &str, target: Option<&str>) -> Item {
    Item::Block { name: Name::from_text(name).unwrap(), action: Block::from_words(action, target).unwrap() }
}

/// As `Engine::amend` does it.
fn amend(r: &Resolver, put: Vec<Item>, remove: Vec<Item>) {
    let old = r.pool.snapshot();
    let policy = Policy { local: old.policy.local.amended(put, remove), ..(*old.policy).clone() };
    let (forwards, serve) = (Arc::clone(&old.forwards), Arc::clone(&old.serve));
    r.pool.apply(Arc::new(Snapshot { revision: old.revision, policy: Arc::new(policy), forwards, serve })).unwrap();
}

#[test]
fn a_record_is_answered_by_every_worker_once_it_was_put_in_and_by_none_once_it_was_taken_out() {
    let upstream = Upstream::constant([192, 0, 2, 200]);
    let r = Setup {
        workers: 2,
        options: SocketOptions::default(),
        forwards: vec![(".", vec![upstream.addr])],
        ..Setup::default()
    }
    .start();
    let clients: Vec<Client> = (0..12).map(|_| Client::new(r.addr)).collect(); // both workers have some
    let all = |address: [u8; 4]| {
        for client in clients.iter().chain(&clients) {
            assert_eq!(addresses(&client.ask(&a_query(1, "www.example.org."))), [IpAddr::from(address)]);
        }
    };
    all([192, 0, 2, 200]);
    for n in 1..10 {
        amend(&r, vec![record(&format!("www.example.org. 5 A 192.0.2.{n}"))], vec![]);
        all([192, 0, 2, n]);
        amend(&r, vec![], vec![record(&format!("www.example.org. 5 A 192.0.2.{n}"))]);
        all([192, 0, 2, 200]);
    }
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn answers_of_blocks_are_counted_each_time_and_say_what_they_are() {
    let upstream = Upstream::constant([192, 0, 2, 200]);
    let serve = Serve { ede: true, ..Setup::default().serve };
    let r = Setup { forwards: vec![(".", vec![upstream.addr])], serve, ..Setup::default() }.start();
    let put = vec![block("ads.example", "nxdomain", None), block("wall.example", "redirect", Some("There.example"))];
    amend(&r, put, vec![]);
    let client = Client::new(r.addr);
    for n in 1..6 {
        let reply = client.ask(&query(1, "a.b.ads.example.", Rtype::A, flag::RD, Some(1232)));
        let ede = reply.edns.map(|edns| edns.ede).unwrap_or_default();
        assert_eq!((reply.rcode, ede), (Rcode::NXDOMAIN, vec![(Ede::BLOCKED, String::new())]));
        assert_eq!(r.stat("num.answer.blocked"), n);
    }
    assert_eq!(r.stat("total.num.answers_hits"), 4, "the first level has them");
    assert!(upstream.asked().is_empty());
    // One that sends the client elsewhere is a CNAME and what is found there.
    for n in 6..8 {
        let reply = client.ask(&a_query(1, "wall.example."));
        let data: Vec<String> =
            reply.answer.iter().map(|set| format!("{} {} {}", set.owner, set.rtype, set.ttl)).collect();
        assert_eq!(data, ["wall.example. CNAME 60", "There.example. A 300"]);
        assert!(reply.aa());
        assert_eq!(r.stat("num.answer.blocked"), n);
    }
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!(client.ask(&query(1, "wall.example.", Rtype::A, 0, None)).rcode, Rcode::REFUSED, "no RD, no recursion");
    amend(&r, vec![], vec![block("ads.example", "nxdomain", None)]);
    assert_eq!(client.ask(&a_query(1, "a.b.ads.example.")).rcode, Rcode::NOERROR);
}

#[test]
fn an_explanation_names_the_block_and_the_records() {
    let upstream = Upstream::constant([192, 0, 2, 200]);
    let r = Setup { forwards: vec![(".", vec![upstream.addr])], ..Setup::default() }.start();
    amend(&r, vec![block("ads.example", "null", None), record("www.example. 5 A 192.0.2.1")], vec![]);
    let rooms = |name: &str| {
        let name = Name::from_text(name).unwrap();
        let question = Question { name, qtype: Rtype::A, qclass: Class::IN, cd: false, rd: true, patient: true };
        let client = IpAddr::from([127, 0, 0, 1]);
        r.pool.explain(Inquiry { question, client }, PATIENCE).unwrap().rooms.into_iter().skip(1).collect::<Vec<_>>()
    };
    let zone = || Some((Name::from_text("www.example.").unwrap(), "transparent"));
    let verdict = Local::Answer(Rcode::NOERROR);
    let local = Room::Local { zone: None, api: false, verdict: Local::Pass };
    let name = Name::from_text("ads.example.").unwrap();
    assert_eq!(rooms("x.ads.example."), [local, Room::Block { name, action: "null", verdict: verdict.clone() }]);
    assert_eq!(rooms("www.example."), [Room::Local { zone: zone(), api: true, verdict }]);
    assert_eq!(rooms("x.www.example.").first(), Some(&Room::Local { zone: zone(), api: false, verdict: Local::Pass }));
}
