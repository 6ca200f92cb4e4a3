//! TCP towards upstream servers: connections are kept, shared, bounded, and never the reason why an answer is lost.

mod common;

use common::*;
use net::{Serve, Upstream as Outgoing};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use wire::{Query, Rcode};

/// A server whose connections the test plays itself.
struct Played {
    addr: SocketAddr,
    connections: Receiver<Line>,
}

struct Line(TcpStream);

impl Played {
    fn start() -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, connections) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                if tell.send(Line(stream)).is_err() {
                    return;
                }
            }
        });
        Played { addr, connections }
    }

    fn accept(&self) -> Line {
        self.connections.recv_timeout(PATIENCE).expect("a connection")
    }
}

impl Line {
    /// The next query's octets; `None` at the end of the stream.
    fn query(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 2];
        self.0.read_exact(&mut len).ok()?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
        self.0.read_exact(&mut packet).unwrap();
        Some(packet)
    }

    fn answer(&mut self, packet: &[u8], last: u8) {
        let q = Query::parse(packet).unwrap();
        self.0.write_all(&framed(&rendered(&q, &address_answer(&q, &[[192, 0, 2, last]])))).unwrap();
    }
}

fn over_tcp(zones: &[(&'static str, SocketAddr)], upstream: Outgoing) -> Resolver {
    let serve = Serve { upstream, discard_timeout_ms: 0, ..Setup::default().serve };
    let forwards = zones.iter().map(|(zone, addr)| (*zone, vec![*addr])).collect();
    Setup { tcp_only: true, serve, forwards, ..Setup::default() }.start()
}

fn last_octet(packet: &[u8]) -> u8 {
    let reply = wire::Reply::parse(packet).unwrap();
    assert_eq!(reply.rcode, Rcode::NOERROR);
    match addresses(&reply)[..] {
        [std::net::IpAddr::V4(v4)] => v4.octets()[3],
        _ => panic!("no address"),
    }
}

#[test]
fn rfc7766_queries_share_a_connection_and_answers_come_in_any_order() {
    let server = Played::start();
    let r = over_tcp(&[(".", server.addr)], Outgoing { num_tcp: 1, ..Outgoing::default() });
    let clients: Vec<Client> = (0..5).map(|_| Client::new(r.addr)).collect();
    for (n, client) in (0..).zip(&clients) {
        client.send(&a_query(n, &format!("n{n}.example.org.")));
    }
    let mut line = server.accept();
    let mut queries: Vec<Vec<u8>> = (0..5).map(|_| line.query().unwrap()).collect();
    let ids: BTreeSet<&[u8]> = queries.iter().map(|packet| &packet[..2]).collect();
    assert_eq!(ids.len(), 5, "an id names one query of a connection");
    queries.reverse();
    for packet in &queries {
        let nth = packet[14] - b'0';
        line.answer(packet, nth);
    }
    for (n, client) in (0..).zip(&clients) {
        let reply = client.recv();
        assert_eq!((u16::from_be_bytes([reply[0], reply[1]]), last_octet(&reply)), (n, n as u8));
    }
    assert_eq!((r.stat("num.query.tcpout"), r.stat("num.query.udpout")), (1, 0), "Unbound counts connections");
    assert_eq!(r.pool.sockets().unwrap().tcp_upstream, 1, "and it is kept");
}

#[test]
fn a_connection_that_the_server_closed_costs_no_answer() {
    let server = Played::start();
    let r = over_tcp(&[(".", server.addr)], Outgoing::default());
    let client = Client::new(r.addr);
    client.send(&a_query(1, "n1.example.org."));
    let mut first = server.accept();
    let packet = first.query().unwrap();
    first.answer(&packet, 1);
    assert_eq!(last_octet(&client.recv()), 1);
    // It takes the second query, and then it is gone: as when it closed while the query was on its way.
    client.send(&a_query(2, "n2.example.org."));
    assert!(first.query().is_some());
    drop(first);
    let mut second = server.accept();
    let packet = second.query().unwrap();
    second.answer(&packet, 2);
    assert_eq!(last_octet(&client.recv()), 2);
    assert_eq!(r.pool.servers().unwrap().iter().map(|view| view.failures).sum::<u64>(), 0);
}

#[test]
fn queries_that_lost_their_connection_together_share_the_next_one() {
    let server = Played::start();
    let r = over_tcp(&[(".", server.addr)], Outgoing { num_tcp: 1, ..Outgoing::default() });
    let clients: Vec<Client> = (0..20).map(|_| Client::new(r.addr)).collect();
    clients[0].send(&a_query(0, "n0.example.org."));
    let mut first = server.accept();
    let packet = first.query().unwrap();
    first.answer(&packet, 1);
    clients[0].recv();
    for (n, client) in (1..).zip(&clients[1..]) {
        client.send(&a_query(n, &format!("n{n}.example.org.")));
    }
    for _ in 1..20 {
        assert!(first.query().is_some());
    }
    drop(first);
    let mut second = server.accept();
    for _ in 1..20 {
        let packet = second.query().expect("all come by this one");
        second.answer(&packet, 2);
    }
    for client in &clients[1..] {
        assert_eq!(last_octet(&client.recv()), 2);
    }
    assert_eq!(r.stat("num.query.tcpout"), 2);
}

#[test]
fn a_connection_carries_as_many_queries_as_it_may() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let r = over_tcp(&[(".", upstream.addr)], Outgoing { tcp_reuse_queries: 2, ..Outgoing::default() });
    let client = Client::new(r.addr);
    for n in 0..5 {
        assert_eq!(last_octet(&client.ask_raw(&a_query(n, &format!("n{n}.example.org.")))), 9);
    }
    let ports: BTreeSet<u16> = upstream.seen.lock().unwrap().iter().map(|(_, _, peer)| peer.port()).collect();
    assert_eq!((ports.len(), r.stat("num.query.tcpout")), (3, 3));
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let server = Played::start();
    let r = over_tcp(&[(".", server.addr)], Outgoing { tcp_reuse_timeout_ms: 50, ..Outgoing::default() });
    let client = Client::new(r.addr);
    client.send(&a_query(1, "n1.example.org."));
    let mut line = server.accept();
    let packet = line.query().unwrap();
    line.answer(&packet, 1);
    client.recv();
    assert_eq!(line.query(), None);
    eventually("its place is free", || r.pool.sockets().unwrap().tcp_upstream == 0);
}

#[test]
fn an_idle_connection_gives_way_to_another_server() {
    let (a, b) = (Upstream::constant([192, 0, 2, 1]), Upstream::constant([192, 0, 2, 2]));
    let zones = [("a.example.", a.addr), ("b.example.", b.addr)];
    let r = over_tcp(&zones, Outgoing { num_tcp: 1, ..Outgoing::default() });
    let client = Client::new(r.addr);
    for n in 0..6 {
        let (zone, last) = if n % 2 == 0 { ("a", 1) } else { ("b", 2) };
        assert_eq!(last_octet(&client.ask_raw(&a_query(n, &format!("n{n}.{zone}.example.")))), last);
        assert!(r.pool.sockets().unwrap().tcp_upstream <= 1);
    }
}

#[test]
fn a_server_that_is_silent_over_tcp_leaves_places_for_the_others() {
    let silent = Upstream::start(|_, _| Act::Silence);
    let good = Upstream::constant([192, 0, 2, 9]);
    let zones = [("silent.example.", silent.addr), ("good.example.", good.addr)];
    let r = over_tcp(&zones, Outgoing { num_tcp: 4, ..Outgoing::default() });
    let client = Client::new(r.addr);
    let waiting = Client::new(r.addr);
    for n in 0..100 {
        waiting.send(&a_query(n, &format!("n{n}.silent.example.")));
    }
    eventually("all wait", || r.stat("total.requestlist.current.clients") == 100);
    for n in 0..10 {
        assert_eq!(last_octet(&client.ask_raw(&a_query(n, &format!("n{n}.good.example.")))), 9);
    }
    assert!(r.stat("total.requestlist.current.clients") >= 100, "they waited all the while");
}

#[test]
fn a_stranger_among_the_replies_ends_the_connection() {
    let server = Played::start();
    let r = over_tcp(&[(".", server.addr)], Outgoing::default());
    let client = Client::new(r.addr);
    client.send(&a_query(1, "n1.example.org."));
    let mut line = server.accept();
    let mut packet = line.query().unwrap();
    packet[0] ^= 0xff;
    line.answer(&packet, 66);
    assert_eq!(line.query(), None);
    // Asked again, the server behaves.
    let mut line = server.accept();
    let packet = line.query().unwrap();
    line.answer(&packet, 1);
    assert_eq!(last_octet(&client.recv()), 1);
}

#[test]
fn without_places_there_is_no_tcp() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let r = over_tcp(&[(".", upstream.addr)], Outgoing { num_tcp: 0, ..Outgoing::default() });
    assert_eq!(Client::new(r.addr).ask(&a_query(1, "www.example.org.")).rcode, Rcode::SERVFAIL);
    assert!(upstream.asked().is_empty());
}
