//! The first level as clients see it: not at all, but in the counters.
//!
//! That its replies are right octet for octet is `store`'s to prove; here, that the pipeline uses it when it may, and what
//! ends it.

mod common;

use common::*;
use net::{Serve, SocketOptions};
use policy::AclAction;
use std::collections::BTreeSet;
use std::net::IpAddr;
use sys::log::{Options, Target};
use wire::types::{flag, option};
use wire::{Answer, Rcode, Rtype};

const HITS: &str = "total.num.answers_hits";

fn forwarding(upstream: &Upstream) -> Setup {
    Setup { forwards: vec![(".", vec![upstream.addr])], ..Setup::default() }
}

/// Three addresses for every name.
fn three() -> Upstream {
    Upstream::start(|q, _| Act::Answer(address_answer(q, &[[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3]])))
}

#[test]
fn the_second_hit_is_its_own_and_changes_nothing_but_its_counter() {
    let upstream = three();
    let r = forwarding(&upstream).start();
    let client = Client::new(r.addr);
    let mut orders = BTreeSet::new();
    for id in 0..12_u16 {
        let name = if id % 2 == 0 { "www.example.org." } else { "WwW.eXample.ORG." };
        let reply = client.ask(&a_query(id, name));
        assert_eq!((reply.id, reply.rcode, reply.aa(), reply.ra()), (id, Rcode::NOERROR, false, true));
        assert_eq!(reply.question.as_ref().unwrap().0.as_ref().to_name().to_string(), name);
        let all: BTreeSet<IpAddr> = addresses(&reply).into_iter().collect();
        assert_eq!(all.len(), 3);
        assert!(reply.answer[0].ttl <= 300);
        orders.insert(addresses(&reply));
    }
    assert_eq!(orders.len(), 3, "records still take turns");
    assert_eq!(upstream.asked().len(), 1);
    // the first was resolved, the second came from the shared cache
    for (name, n) in [
        (HITS, 10),
        ("total.num.queries", 12),
        ("total.num.cachehits", 11),
        ("total.num.cachemiss", 1),
        ("num.query.type.A", 12),
        ("num.query.flags.RD", 12),
        ("num.answer.rcode.NOERROR", 12),
        ("answers.cache.count", 1),
    ] {
        assert_eq!(r.stat(name), n, "{name}");
    }
    assert!(r.stat("mem.cache.answers") > 0);
}

#[test]
fn what_is_asked_otherwise_is_answered_otherwise() {
    let upstream = three();
    let r = Setup {
        acl: vec![("127.0.0.3", 32, AclAction::AllowSnoop)],
        serve: Serve { nsid: Some(b"me".to_vec().into()), ..Setup::default().serve },
        ..forwarding(&upstream)
    }
    .start();
    let client = Client::new(r.addr);
    let name = "www.example.org.";
    for _ in 0..3 {
        client.ask(&a_query(1, name));
    }
    let before = r.stat(HITS);
    assert!(client.ask(&query(1, name, Rtype::A, flag::RD, Some(1232))).edns.is_some());
    assert_eq!(client.ask(&query(1, name, Rtype::A, 0, None)).rcode, Rcode::REFUSED, "no RD, no cache");
    let snooper = Client::from("127.0.0.3", r.addr);
    assert_eq!(addresses(&snooper.ask(&query(1, name, Rtype::A, 0, None))).len(), 3, "but for who may snoop");
    assert_eq!(client.ask(&query(1, name, Rtype::A, 0, None)).rcode, Rcode::REFUSED);
    assert_eq!(addresses(&Stream::new(r.addr).ask(&a_query(1, name))).len(), 3);
    assert_eq!(r.stat(HITS), before);
    for _ in 0..3 {
        let asks_for_name = with_option(query(1, name, Rtype::A, flag::RD, Some(1232)), option::NSID, &[]);
        let reply = client.ask_raw(&asks_for_name);
        assert!(reply.windows(2).any(|two| two == b"me"), "its own for who asks for it");
    }
    assert_eq!(r.stat(HITS), before);
}

#[test]
fn local_data_is_kept_too_and_a_new_snapshot_ends_it_at_once() {
    let setup = |n: u8| Setup { data: vec![format!("www.here.example. 300 IN A 192.0.2.{n}")], ..Setup::default() };
    let r = setup(1).start();
    let client = Client::new(r.addr);
    let packet = a_query(1, "www.here.example.");
    for n in 1..20 {
        r.pool.apply(setup(n).snapshot(7)).unwrap(); // the same number: it is the change that counts
        for _ in 0..3 {
            let reply = client.ask(&packet);
            assert_eq!((addresses(&reply), reply.answer[0].ttl), (vec![IpAddr::from([192, 0, 2, n])], 300));
        }
    }
    assert_eq!(r.stat(HITS), 2 * 19);
}

#[test]
fn a_flush_of_the_cache_is_one_of_the_first_level() {
    let upstream = three();
    let r = forwarding(&upstream).start();
    let client = Client::new(r.addr);
    for asked in 1..5 {
        for _ in 0..3 {
            assert_eq!(addresses(&client.ask(&a_query(1, "www.example.org."))).len(), 3);
        }
        assert_eq!(upstream.asked().len(), asked);
        r.store.flush_all();
    }
}

#[test]
fn log_lines_are_written_all_the_same() {
    let dir = std::env::temp_dir().join(format!("runbound-first-level-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("log");
    let upstream = three();
    let r = Setup {
        zones: vec![("watched.example.", "inform")],
        data: vec!["www.watched.example. 300 IN A 192.0.2.1".into(), "www.here.example. 300 IN A 192.0.2.1".into()],
        log: Options { target: Target::File(path.clone()), ..Options::default() },
        serve: Serve { log_queries: true, log_replies: true, ..Setup::default().serve },
        ..forwarding(&upstream)
    }
    .start();
    let client = Client::new(r.addr);
    for name in ["www.example.org.", "www.watched.example.", "www.here.example."] {
        for _ in 0..4 {
            client.ask(&a_query(1, name));
        }
    }
    assert_eq!(r.stat(HITS), 2 + 3, "what must be logged as a hit of its zone is not kept");
    r.pool.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("info: 127.0.0.1 www.example.org. A IN\n".trim_end()), 8, "{text}");
    assert_eq!(count("www.example.org. A IN NOERROR 0.000000 1 81"), 3, "{text}");
    assert_eq!(count("info: watched.example. inform 127.0.0.1@"), 4);
    assert_eq!(count("www.here.example. A IN NOERROR 0.000000 1 50"), 4);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn failures_are_not_kept_there() {
    let upstream = Upstream::start(|_, _| Act::Answer(Answer::new(Rcode::SERVFAIL)));
    let r = forwarding(&upstream).start();
    let client = Client::new(r.addr);
    for _ in 0..4 {
        assert_eq!(client.ask(&a_query(1, "www.example.org.")).rcode, Rcode::SERVFAIL);
    }
    assert_eq!(r.stat(HITS), 0);
}

#[test]
fn each_worker_has_its_own() {
    let upstream = three();
    let r = Setup { workers: 2, options: SocketOptions::default(), ..forwarding(&upstream) }.start();
    let clients: Vec<Client> = (0..16).map(|_| Client::new(r.addr)).collect(); // both workers have some
    for _ in 0..4 {
        for client in &clients {
            assert_eq!(addresses(&client.ask(&a_query(1, "www.example.org."))).len(), 3);
        }
    }
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!(r.stat("answers.cache.count"), 2);
}

#[test]
fn what_one_client_may_hear_is_not_told_to_another() {
    let upstream = three();
    let r = Setup {
        acl: vec![
            ("127.0.0.3", 32, AclAction::AllowSnoop),
            ("127.0.0.4", 32, AclAction::RefuseNonLocal),
            ("127.0.0.5", 32, AclAction::AllowSetrd),
            ("127.0.0.6", 32, AclAction::Refuse),
        ],
        data: vec!["www.here.example. 300 IN A 192.0.2.77".to_owned()],
        ..forwarding(&upstream)
    }
    .start();
    let [allowed, snooper, local, setrd, refused] =
        [1, 3, 4, 5, 6].map(|n| Client::from(&format!("127.0.0.{n}"), r.addr));
    let rcode = |client: &Client, name: &str, flags| client.ask(&query(1, name, Rtype::A, flags, None)).rcode;
    // Each twice: from the first level, where there is something for this client.
    for _ in 0..3 {
        for (name, known_to_local) in [("www.example.org.", Rcode::REFUSED), ("www.here.example.", Rcode::NOERROR)] {
            assert_eq!(rcode(&allowed, name, flag::RD), Rcode::NOERROR);
            assert_eq!(rcode(&snooper, name, 0), Rcode::NOERROR);
            assert_eq!(rcode(&setrd, name, 0), Rcode::NOERROR);
            assert_eq!(rcode(&local, name, flag::RD), known_to_local);
            assert_eq!(rcode(&refused, name, flag::RD), Rcode::REFUSED);
            assert_eq!(rcode(&allowed, name, 0), known_to_local, "without RD only what is local");
        }
    }
    assert!(r.stat(HITS) > 0);
}
