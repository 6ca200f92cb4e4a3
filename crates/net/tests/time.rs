//! What depends on time: answers served after it, asked for again before it, packets sent again, clients answered by it.
//!
//! Answers of any age are put into the cache directly, so that nothing here waits for a TTL.

mod common;

use common::*;
use net::{Serve, Upstream as Outgoing};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use sys::log::{Logger, Options, Target};
use wire::types::flag;
use wire::{Rcode, Reply, Rtype};

const NAME: &str = "www.example.org.";

fn serving(limits: resolve::Limits, upstream: &Upstream) -> Setup {
    let serve = Serve { ede: true, limits, ..Setup::default().serve };
    Setup { serve, forwards: vec![(".", vec![upstream.addr])], ..Setup::default() }
}

fn expired(client_timeout_ms: u64) -> resolve::Limits {
    resolve::Limits {
        serve_expired: true,
        serve_expired_client_timeout_ms: client_timeout_ms,
        ede_serve_expired: true,
        ..resolve::Limits::default()
    }
}

fn ask(client: &Client, id: u16) -> Reply {
    client.ask(&query(id, NAME, Rtype::A, flag::RD, Some(1232)))
}

fn address_and_ttl(reply: &Reply) -> (IpAddr, u32) {
    assert_eq!(reply.rcode, Rcode::NOERROR);
    (addresses(reply)[0], reply.answer[0].ttl)
}

fn ede(reply: &Reply) -> Option<u16> {
    reply.edns.as_ref().and_then(|edns| edns.ede.first()).map(|(code, _)| *code)
}

const OLD: [u8; 4] = [192, 0, 2, 1];
const NEW: [u8; 4] = [192, 0, 2, 9];

#[test]
fn rfc8767_a_stale_answer_goes_out_at_once_and_a_fresh_one_is_fetched_behind_it() {
    let upstream = Upstream::constant(NEW);
    let r = serving(expired(0), &upstream).start();
    r.remember(NAME, OLD, 60, 1_000);
    let client = Client::new(r.addr);
    let reply = ask(&client, 1);
    assert_eq!((address_and_ttl(&reply), ede(&reply)), ((IpAddr::from(OLD), 30), Some(3)));
    // As Unbound counts it: a hit, expired, and a prefetch; no miss, no recursive reply.
    for (name, n) in [
        ("total.num.queries", 1),
        ("total.num.cachehits", 1),
        ("total.num.cachemiss", 0),
        ("total.num.expired", 1),
        ("total.num.prefetch", 1),
        ("total.num.recursivereplies", 0),
    ] {
        assert_eq!(r.stat(name), n, "{name}");
    }
    eventually("the fresh one is there", || {
        let reply = ask(&client, 2);
        address_and_ttl(&reply).0 == IpAddr::from(NEW) && ede(&reply).is_none()
    });
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn rfc8767_a_silent_upstream_makes_the_stale_answer_good_enough_in_time() {
    let upstream = Upstream::start(|_, _| Act::Silence);
    let r = serving(expired(50), &upstream).start();
    r.remember(NAME, OLD, 60, 1_000);
    let reply = ask(&Client::new(r.addr), 1);
    assert_eq!((address_and_ttl(&reply), ede(&reply)), ((IpAddr::from(OLD), 30), Some(3)));
    for (name, n) in [
        ("total.num.cachemiss", 1),
        ("total.num.expired", 1),
        ("total.num.prefetch", 0),
        ("total.num.recursivereplies", 1),
    ] {
        assert_eq!(r.stat(name), n, "{name}");
    }
    assert!(!upstream.asked().is_empty());
}

#[test]
fn a_fresh_answer_in_time_is_better_than_a_stale_one() {
    let upstream = Upstream::constant(NEW);
    let r = serving(expired(1_800), &upstream).start();
    r.remember(NAME, OLD, 60, 1_000);
    let reply = ask(&Client::new(r.addr), 1);
    assert_eq!((address_and_ttl(&reply).0, ede(&reply)), (IpAddr::from(NEW), None));
    assert_eq!((r.stat("total.num.expired"), r.stat("total.num.cachemiss")), (0, 1));
}

#[test]
fn without_serve_expired_or_beyond_its_bound_the_time_of_an_answer_is_its_time() {
    for limits in [resolve::Limits::default(), resolve::Limits { serve_expired_ttl_s: 100, ..expired(0) }] {
        let upstream = Upstream::constant(NEW);
        let r = serving(limits, &upstream).start();
        r.remember(NAME, OLD, 60, 1_000);
        assert_eq!(address_and_ttl(&ask(&Client::new(r.addr), 1)).0, IpAddr::from(NEW));
        assert_eq!(r.stat("total.num.expired"), 0);
    }
}

#[test]
fn a_lookup_from_inside_tells_that_what_it_found_is_stale() {
    let upstream = Upstream::start(|_, _| Act::Silence);
    for client_timeout_ms in [0, 50] {
        let r = serving(expired(client_timeout_ms), &upstream).start();
        r.remember(NAME, OLD, 60, 1_000);
        let question = resolve::Question {
            name: wire::Name::from_text(NAME).unwrap(),
            qtype: Rtype::A,
            qclass: wire::Class::IN,
            cd: false,
            rd: true,
            patient: true,
        };
        let looked = r.pool.lookup(question, PATIENCE).unwrap().expect("an answer");
        assert!(looked.cached && looked.stale);
        assert_eq!(r.stat("total.num.expired"), 0, "no client was served");
    }
}

#[test]
fn what_is_asked_in_its_last_tenth_is_fetched_anew_and_served_meanwhile() {
    let upstream = Upstream::constant(NEW);
    let limits = resolve::Limits { prefetch: true, ..resolve::Limits::default() };
    let r = serving(limits, &upstream).start();
    let client = Client::new(r.addr);
    r.remember(NAME, OLD, 1_000, 100);
    for id in 0..5 {
        assert_eq!(address_and_ttl(&ask(&client, id)).0, IpAddr::from(OLD));
    }
    assert!(upstream.asked().is_empty(), "not yet");
    r.store.flush_all();
    r.remember(NAME, OLD, 1_000, 950);
    let (address, ttl) = address_and_ttl(&ask(&client, 6));
    assert_eq!(address, IpAddr::from(OLD));
    assert!(ttl <= 50, "{ttl}");
    eventually("the new one is there", || address_and_ttl(&ask(&client, 7)).0 == IpAddr::from(NEW));
    assert_eq!(upstream.asked().len(), 1);
    assert!(r.stat("total.num.prefetch") >= 1);
    assert_eq!((r.stat("total.num.cachemiss"), r.stat("total.num.expired")), (0, 0));
}

#[test]
fn an_answer_that_is_fetched_anew_and_is_the_same_begins_its_life_anew() {
    let upstream = Upstream::constant(OLD);
    let limits = resolve::Limits { prefetch: true, ..resolve::Limits::default() };
    let r = serving(limits, &upstream).start();
    let client = Client::new(r.addr);
    r.remember(NAME, OLD, 1_000, 950);
    assert!(address_and_ttl(&ask(&client, 1)).1 <= 50);
    eventually("its TTL is the new one", || address_and_ttl(&ask(&client, 2)).1 > 50);
}

#[test]
fn the_first_level_keeps_nothing_beyond_the_moment_of_its_prefetch() {
    let upstream = Upstream::constant(NEW);
    let limits = resolve::Limits { prefetch: true, ..resolve::Limits::default() };
    let r = serving(limits, &upstream).start();
    let client = Client::new(r.addr);
    // Its last tenth begins in a second or two: the first level may keep it so long and no longer.
    r.remember(NAME, OLD, 1_000, 898);
    eventually("it is fetched anew", || {
        ask(&client, 1);
        !upstream.asked().is_empty()
    });
    assert_eq!(r.stat("total.num.cachemiss"), 0);
}

#[test]
fn zones_that_keep_nothing_are_not_answered_from_what_was_kept() {
    let upstream = Upstream::constant(NEW);
    let r = Setup { no_cache: true, ..serving(resolve::Limits::default(), &upstream) }.start();
    r.remember(NAME, OLD, 1_000, 0);
    let client = Client::new(r.addr);
    for id in 0..3 {
        assert_eq!(address_and_ttl(&ask(&client, id)).0, IpAddr::from(NEW));
    }
    assert_eq!(upstream.asked().len(), 3);
    assert_eq!((r.stat("total.num.cachemiss"), r.stat("total.num.answers_hits")), (3, 0));
}

#[test]
fn rfc5452_a_lost_packet_is_sent_again_from_the_same_port_with_the_same_id() {
    let asked = Arc::new(AtomicUsize::new(0));
    let ids = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (count, seen) = (Arc::clone(&asked), Arc::clone(&ids));
    let upstream = Upstream::start(move |q, _| {
        seen.lock().unwrap().push(q.id);
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => Act::Silence,
            _ => Act::Answer(address_answer(q, &[NEW])),
        }
    });
    let r = serving(resolve::Limits::default(), &upstream).start();
    assert_eq!(address_and_ttl(&ask(&Client::new(r.addr), 1)).0, IpAddr::from(NEW));
    let ports: Vec<u16> = upstream.seen.lock().unwrap().iter().map(|(_, _, peer)| peer.port()).collect();
    let ids = ids.lock().unwrap();
    assert_eq!((ports[0], ids[0]), (ports[1], ids[1]));
    assert!(r.stat("num.query.udpout") >= 2);
}

#[test]
fn a_client_of_a_silent_upstream_hears_why_before_it_gives_up() {
    let upstream = Upstream::start(|_, _| Act::Silence);
    let limits = resolve::Limits { client_deadline_ms: 200, ..resolve::Limits::default() };
    let r = serving(limits, &upstream).start();
    let reply = ask(&Client::new(r.addr), 1);
    assert_eq!(reply.rcode, Rcode::SERVFAIL);
    let edns = reply.edns.unwrap();
    let (code, text) = &edns.ede[0];
    assert_eq!(*code, 22);
    assert!(text.contains("did not answer"), "{text}");
}

#[test]
fn a_flood_of_unwanted_replies_empties_the_cache() {
    let upstream = Upstream::start(|q, _| {
        let truth = rendered(q, &address_answer(q, &[NEW]));
        let mut forged = truth.clone();
        forged[0] ^= 0xff;
        let mut replies = vec![forged; 2];
        replies.push(truth);
        Act::Raw(replies)
    });
    let dir = std::env::temp_dir().join(format!("runbound-unwanted-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("log");
    let mut setup = serving(resolve::Limits::default(), &upstream);
    setup.serve.unwanted_reply_threshold = 2;
    setup.log = Options { target: Target::File(path.clone()), ..Options::default() };
    let r = setup.start();
    r.remember("other.example.org.", OLD, 1_000, 0);
    ask(&Client::new(r.addr), 1);
    assert!(r.stat("unwanted.replies") >= 2);
    assert_eq!(addresses(&Client::new(r.addr).ask(&a_query(2, "other.example.org."))), [IpAddr::from(NEW)]);
    r.pool.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("warning: 2 unwanted replies"), "{text}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_mesh_speaks_as_loudly_as_the_log_asks_and_a_change_is_heard() {
    let dir = std::env::temp_dir().join(format!("runbound-verbosity-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("log");
    let options = |verbosity| Options { target: Target::File(path.clone()), verbosity, ..Options::default() };
    let upstream = Upstream::constant(NEW);
    let setup = serving(resolve::Limits::default(), &upstream);
    let log = Arc::new(Logger::open(options(1)).unwrap());
    let r = setup.start_logging(Arc::clone(&log));
    let client = Client::new(r.addr);
    client.ask(&a_query(1, "one.example.org."));
    log.configure(options(2)).unwrap();
    r.pool.apply(r.setup.snapshot(2)).unwrap();
    client.ask(&a_query(2, "two.example.org."));
    log.configure(options(1)).unwrap();
    r.pool.apply(r.setup.snapshot(3)).unwrap();
    client.ask(&a_query(3, "three.example.org."));
    r.pool.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("resolving")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].ends_with(":0] info: resolving two.example.org. A IN"), "{text}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn sockets_are_counted_and_closed() {
    let upstream = Upstream::start(|_, _| Act::Silence);
    let limits = resolve::Limits { client_deadline_ms: 100, ..resolve::Limits::default() };
    let mut setup = serving(limits, &upstream);
    setup.serve.upstream = Outgoing { range: 4, ..Outgoing::default() };
    let r = setup.start();
    let client = Client::new(r.addr);
    for id in 0..10 {
        client.send(&a_query(id, &format!("n{id}.example.org.")));
    }
    for _ in 0..10 {
        let reply = Reply::parse(&client.recv()).unwrap();
        assert_eq!(reply.rcode, Rcode::SERVFAIL);
        let sockets = r.pool.sockets().unwrap();
        assert!(sockets.udp_upstream <= 4, "outgoing-range holds: {sockets:?}");
        assert_eq!((sockets.udp_listen, sockets.tcp_listen), (1, 1));
    }
}
