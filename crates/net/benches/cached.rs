//! What a cached answer costs: a resolver with one worker, and a client that asks it the same questions again and again.
//!
//! Made to be counted, not timed, for this machine's time is no measure:
//! `valgrind --tool=callgrind target/release/deps/cached-… 20000`, then
//! `callgrind_annotate --inclusive=yes` and the line of `net::pipeline::handle` (or of `udp::turn`, into which it may have
//! been inlined) divided by the queries. Without valgrind it prints how long a query took from the client's side.

use net::tape::{Clients, PseudonymKey};
use net::{ListenSpec, Pool, Serve, Snapshot, SocketOptions, listen};
use policy::{Defaults, LocalZonesBuilder, Origin, Policy};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;
use store::{Key, Put, Security, Sizes, Store};
use wire::types::flag;
use wire::{Answer, Class, Name, Rcode, RdataSet, Rrset, Rtype};

/// Queries sent before their answers are read: one batch of the worker.
const WINDOW: usize = 32;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse::<usize>().ok());
    let queries = numbers.next().unwrap_or(10_000);
    // What the query log costs: one of these words as an argument.
    let clients =
        [("log", Clients::No), ("log-yes", Clients::Yes), ("log-pseudonym", Clients::Pseudonym(PseudonymKey([7; 16])))];
    let query_log = std::env::args().find_map(|arg| clients.iter().find(|(word, _)| *word == arg).map(|(_, how)| *how));
    let spec = ListenSpec { addr: "127.0.0.1:0".parse().expect("an address"), options: SocketOptions::default() };
    let sets = listen::open(&spec, 1).expect("a socket");
    let addr = sets[0].addr;
    let mut local = LocalZonesBuilder::new();
    local.data("www.here.example. 300 IN A 192.0.2.1", Origin::default()).expect("a record");
    let (local, _) = local.build(Defaults::default());
    let snapshot = Snapshot {
        revision: 1,
        policy: Arc::new(Policy { local, ..Policy::default() }),
        forwards: Arc::default(),
        serve: Arc::new(Serve { query_log, ..Serve::default() }),
    };
    let store = Arc::new(Store::new(Sizes { messages: 4 << 20, rrsets: 4 << 20 }));
    let owner = Name::from_text("www.example.com.").expect("a name");
    let mut addresses = RdataSet::new();
    for last in 0..3 {
        addresses.push(&[192, 0, 2, last]);
    }
    let answer = Answer {
        answer: vec![Rrset::new(owner.clone(), Rtype::A, Class::IN, 86_400, addresses)],
        ..Answer::new(Rcode::NOERROR)
    };
    let key = Key { name: owner, qtype: Rtype::A, qclass: Class::IN, cd: false };
    let now = sys::clock::cache_ms();
    let put = Put {
        now,
        ttl: 86_400,
        authoritative: false,
        security: Security::Unchecked,
        epoch: store.epoch(),
        leeway_s: 0,
    };
    store.put(key, &answer, put);
    let log = Arc::new(sys::log::Logger::open(sys::log::Options::default()).expect("a log"));
    let pool = Pool::start(1, Arc::new(snapshot), store, log, vec![sets]).expect("a worker");
    for name in ["www.example.com.", "www.here.example."] {
        let mut packet = [0; 512];
        let qname = Name::from_text(name).expect("a name");
        let len = wire::question(&mut packet, 7, flag::RD, qname.as_ref(), Rtype::A, Class::IN, Some((1232, false)));
        let packet = &packet[..len];
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.connect(addr).expect("a route");
        let begin = Instant::now();
        for _ in 0..queries / WINDOW {
            for _ in 0..WINDOW {
                client.send(packet).expect("room to send");
            }
            for _ in 0..WINDOW {
                client.recv(&mut [0; 512]).expect("an answer");
            }
        }
        let each = begin.elapsed().as_nanos() / (queries / WINDOW * WINDOW).max(1) as u128;
        println!("{name} {queries} queries, {each} ns each");
    }
    println!("first level: {} hits", pool.stats().get("total.num.answers_hits").copied().unwrap_or(0));
}
