//! What the pool is told while packets flow: snapshots, listeners, drain, stop.

mod common;

use common::*;
use net::{ListenSpec, SocketOptions, listen};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

fn version(n: u8) -> Setup {
    Setup { workers: 2, data: vec![format!("www.here.example. 300 IN A 192.0.2.{n}")], ..Setup::default() }
}

fn address(client: &Client, id: u16) -> u8 {
    match addresses(&client.ask(&a_query(id, "www.here.example."))).first() {
        Some(std::net::IpAddr::V4(v4)) => v4.octets()[3],
        _ => 0,
    }
}

#[test]
fn a_snapshot_is_in_force_when_apply_returns() {
    let r = version(1).start();
    let clients: Vec<Client> = (0..8).map(|_| Client::new(r.addr)).collect(); // both workers have some
    for n in 1..=50 {
        r.pool.apply(version(n).snapshot(u64::from(n))).unwrap();
        assert!(clients.iter().all(|client| address(client, 1) == n), "revision {n}");
    }
    assert_eq!(r.pool.snapshot().revision, 50);
}

#[test]
fn no_query_is_lost_while_snapshots_change_under_load() {
    let r = Arc::new(version(1).start());
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (r, stop, answered) = (Arc::clone(&r), Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let client = Client::new(r.addr);
                while !stop.load(Ordering::Relaxed) {
                    for id in 0..16 {
                        client.send(&a_query(id, "www.here.example."));
                    }
                    for _ in 0..16 {
                        client.recv(); // times out, and fails the test, if one is lost
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for n in 0..100_u8 {
        let before = answered.load(Ordering::Relaxed);
        r.pool.apply(version(n).snapshot(u64::from(n))).unwrap();
        eventually("queries flow between changes", || answered.load(Ordering::Relaxed) > before);
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    assert_eq!(r.stat("total.num.queries") as usize, answered.load(Ordering::Relaxed));
}

#[test]
fn a_query_under_way_outlives_a_change() {
    let gate = Arc::new(Barrier::new(2));
    let open = Arc::clone(&gate);
    let upstream = Upstream::start(move |q, _| {
        open.wait();
        Act::Answer(address_answer(q, &[[192, 0, 2, 9]]))
    });
    let r = Setup { forwards: vec![(".", vec![upstream.addr])], ..version(1) }.start();
    let client = Client::new(r.addr);
    client.send(&a_query(7, "www.example.org."));
    eventually("it is under way", || !upstream.asked().is_empty());
    r.pool.apply(version(2).snapshot(2)).unwrap(); // without any forward zone
    gate.wait();
    assert_eq!(client.recv()[..4], [0, 7, 0x81, 0x80]);
    assert_eq!(address(&client, 8), 2);
}

#[test]
fn listeners_come_and_go() {
    let r = version(1).start();
    let spec = ListenSpec { addr: "127.0.0.9:0".parse().unwrap(), options: SocketOptions::default() };
    let sets = listen::open(&spec, 2).unwrap();
    let more = sets[0].addr;
    assert_eq!(
        r.pool.add_listeners(vec![listen::open(&spec, 1).unwrap()]).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    r.pool.add_listeners(vec![sets]).unwrap();
    let mut stream = Stream::new(more);
    assert_eq!(address(&Client::new(more), 1), 1);
    assert!(stream.ask(&a_query(2, "www.here.example.")).aa());

    // What arrived before is answered, what comes after is not heard, open connections live on.
    let client = Client::new(more);
    for id in 0..20 {
        client.send(&a_query(id, "www.here.example."));
    }
    r.pool.remove_listeners(&[more]).unwrap();
    for _ in 0..20 {
        client.recv();
    }
    assert!(stream.ask(&a_query(3, "www.here.example.")).aa());
    assert_eq!(TcpStream::connect(more).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.send(&a_query(9, "www.here.example."));
    assert_eq!(client.socket.recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(address(&Client::new(r.addr), 1), 1);
    let again = listen::open(&ListenSpec { addr: more, ..spec }, 2).unwrap();
    r.pool.add_listeners(vec![again]).unwrap();
    assert_eq!(address(&Client::new(more), 1), 1);
}

#[test]
fn connections_that_wait_to_be_accepted_are_served_when_their_listener_goes() {
    let serve = net::Serve { tcp_clients_per_worker: 1, ..Setup::default().serve };
    let r = Setup { workers: 1, serve, ..version(1) }.start();
    let spec = ListenSpec { addr: "127.0.0.9:0".parse().unwrap(), options: SocketOptions::default() };
    let sets = listen::open(&spec, 1).unwrap();
    let more = sets[0].addr;
    r.pool.add_listeners(vec![sets]).unwrap();
    // One has the only place; the others are connected to the kernel alone, some with a query, some without.
    let mut first = Stream::new(more);
    assert!(first.ask(&a_query(1, "www.here.example.")).aa());
    let mut waiting: Vec<Stream> = (0..20).map(|_| Stream::new(more)).collect();
    for (id, stream) in (0..).zip(&mut waiting).filter(|(id, _)| id % 2 == 0) {
        stream.send(&a_query(id, "www.here.example."));
    }
    r.pool.remove_listeners(&[more]).unwrap();
    assert_eq!(TcpStream::connect(more).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    for (id, stream) in (0..).zip(&mut waiting) {
        if id % 2 == 1 {
            stream.send(&a_query(id, "www.here.example."));
        }
        let reply = stream.recv().expect("an answer");
        assert_eq!(reply[..2], id.to_be_bytes());
    }
    assert!(first.ask(&a_query(2, "www.here.example.")).aa());
}

#[test]
fn inherited_sockets_serve_like_our_own() {
    use std::os::fd::AsRawFd;
    let r = version(1).start();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for fd in [udp.as_raw_fd(), tcp.as_raw_fd()] {
        r.pool.add_listeners(vec![listen::inherit(fd, &SocketOptions::default(), 2).unwrap()]).unwrap();
    }
    let client = Client::new(udp.local_addr().unwrap());
    for id in 0..20 {
        assert_eq!(address(&client, id), 1);
        let mut stream = Stream::new(tcp.local_addr().unwrap());
        assert!(stream.ask(&a_query(id, "www.here.example.")).aa());
    }
}

#[test]
fn drain_finishes_what_is_under_way() {
    let gate = Arc::new(Barrier::new(2));
    let open = Arc::clone(&gate);
    let upstream = Upstream::start(move |q, _| {
        open.wait();
        Act::Answer(address_answer(q, &[[192, 0, 2, 9]]))
    });
    let r = Arc::new(Setup { forwards: vec![(".", vec![upstream.addr])], ..version(1) }.start());
    let client = Client::new(r.addr);
    client.send(&a_query(7, "www.example.org."));
    let mut idle = Stream::new(r.addr);
    assert!(idle.ask(&a_query(2, "www.here.example.")).aa());
    eventually("it is under way", || !upstream.asked().is_empty());
    let drain = {
        let r = Arc::clone(&r);
        std::thread::spawn(move || r.pool.drain(PATIENCE))
    };
    assert_eq!(idle.recv(), None, "an idle connection is closed");
    eventually("nobody listens", || TcpStream::connect(r.addr).is_err());
    assert!(!drain.is_finished());
    gate.wait();
    assert_eq!(client.recv()[..2], [0, 7]);
    drain.join().unwrap().unwrap();
    r.pool.stop();
    r.pool.stop();
    assert_eq!(r.pool.apply(version(1).snapshot(3)).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_drain_answers_who_had_connected() {
    let serve = net::Serve { tcp_clients_per_worker: 1, ..Setup::default().serve };
    let r = Setup { workers: 1, serve, ..version(1) }.start();
    let mut first = Stream::new(r.addr);
    assert!(first.ask(&a_query(1, "www.here.example.")).aa());
    let mut waiting: Vec<Stream> = (0..20).map(|_| Stream::new(r.addr)).collect();
    for (id, stream) in (0..).zip(&mut waiting) {
        stream.send(&a_query(id, "www.here.example."));
    }
    r.pool.drain(PATIENCE).unwrap();
    for (id, stream) in (0_u16..).zip(&mut waiting) {
        assert_eq!(stream.recv().expect("an answer")[..2], id.to_be_bytes());
        assert_eq!(stream.recv(), None, "and then it is closed");
    }
    assert_eq!(first.recv(), None);
}

#[test]
fn a_drain_ends_when_its_time_is_over() {
    let upstream = Upstream::start(|_, _| Act::Silence);
    let r = Setup { forwards: vec![(".", vec![upstream.addr])], ..version(1) }.start();
    Client::new(r.addr).send(&a_query(7, "www.example.org."));
    eventually("it is under way", || r.stat("total.requestlist.current.clients") == 1);
    r.pool.drain(Duration::from_millis(10)).unwrap();
}

#[test]
fn a_start_that_cannot_be_is_an_error() {
    let log = Arc::new(sys::log::Logger::open(sys::log::Options::default()).unwrap());
    let start = |workers| {
        let (snapshot, store) =
            (version(1).snapshot(1), Arc::new(store::Store::new(store::Sizes { messages: 0, rrsets: 0 })));
        let spec = ListenSpec { addr: SocketAddr::from(([127, 0, 0, 1], 0)), options: SocketOptions::default() };
        net::Pool::start(workers, snapshot, store, Arc::clone(&log), vec![listen::open(&spec, 2).unwrap()])
    };
    for workers in [0, 1, 3, 1 << 20] {
        assert_eq!(start(workers).err().unwrap().kind(), ErrorKind::InvalidInput, "{workers}");
    }
    assert!(start(2).is_ok());
}

/// A resolver that listens at a second address too, and a client that waits there for an upstream server behind `gate`.
fn waited_on(gate: &Arc<Barrier>) -> (Upstream, Resolver, ListenSpec, Client) {
    let open = Arc::clone(gate);
    let upstream = Upstream::start(move |q, _| {
        open.wait();
        Act::Answer(address_answer(q, &[[192, 0, 2, 9]]))
    });
    let r = Setup { forwards: vec![(".", vec![upstream.addr])], ..version(1) }.start();
    let spec = ListenSpec { addr: "127.0.0.9:0".parse().unwrap(), options: SocketOptions::default() };
    let sets = listen::open(&spec, 2).unwrap();
    let spec = ListenSpec { addr: sets[0].addr, ..spec };
    r.pool.add_listeners(vec![sets]).unwrap();
    let client = Client::new(spec.addr);
    client.send(&a_query(7, "www.example.org."));
    eventually("it is under way", || !upstream.asked().is_empty());
    (upstream, r, spec, client)
}

#[test]
fn a_removed_address_is_free_once_its_last_client_has_its_answer() {
    let gate = Arc::new(Barrier::new(2));
    let (_upstream, r, spec, client) = waited_on(&gate);
    r.pool.remove_listeners(&[spec.addr]).unwrap();
    gate.wait();
    assert_eq!(client.recv()[..2], [0, 7]);
    eventually("the socket is closed", || std::net::UdpSocket::bind(spec.addr).is_ok());
}

#[test]
fn a_removed_address_that_clients_wait_on_takes_no_queries_from_the_one_that_replaces_it() {
    let gate = Arc::new(Barrier::new(2));
    let (_upstream, r, spec, waiting) = waited_on(&gate);
    let options = SocketOptions { pktinfo: true, ..spec.options }; // to answer from the address asked
    let wild = ListenSpec { addr: SocketAddr::from(([0, 0, 0, 0], spec.addr.port())), options };
    r.pool.add_listeners(vec![listen::open(&wild, 2).unwrap()]).unwrap();
    r.pool.remove_listeners(&[spec.addr]).unwrap();
    for id in 0..16 {
        assert_eq!(address(&Client::new(spec.addr), id), 1);
    }
    gate.wait();
    assert_eq!(waiting.recv()[..2], [0, 7]);
}

#[test]
fn draining_does_not_hold_up_those_who_ask_for_the_state_of_servers() {
    let upstream = Upstream::start(|_, _| Act::Silence);
    let r = Arc::new(Setup { forwards: vec![(".", vec![upstream.addr])], ..version(1) }.start());
    let mut client = Stream::new(r.addr);
    client.send(&a_query(7, "www.example.org."));
    eventually("it is under way", || r.stat("total.requestlist.current.clients") == 1);
    let drain = {
        let r = Arc::clone(&r);
        std::thread::spawn(move || r.pool.drain(PATIENCE))
    };
    eventually("nobody listens", || TcpStream::connect(r.addr).is_err());
    assert_eq!(r.pool.upstreams().unwrap().len(), 1);
    assert!(!drain.is_finished());
    r.pool.stop();
    let _ = drain.join().unwrap();
}
