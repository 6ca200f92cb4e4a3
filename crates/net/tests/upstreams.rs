//! Forwarding through real sockets: cache, joining, failover, TC to TCP, forged replies, random ports.

mod common;

use common::*;
use net::{PortSet, Serve, Upstream as Outgoing};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use wire::types::{flag, option};
use wire::{Answer, Rcode, Rtype};

fn forwarding(servers: Vec<std::net::SocketAddr>) -> Setup {
    Setup { forwards: vec![(".", servers)], ..Setup::default() }
}

#[test]
fn an_answer_is_fetched_once_and_then_remembered() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let r = Setup { workers: 2, ..forwarding(vec![upstream.addr]) }.start();
    for id in 0..5 {
        let reply = Client::new(r.addr).ask(&a_query(id, "www.example.org."));
        assert_eq!((addresses(&reply).len(), reply.aa(), reply.ra()), (1, false, true));
        assert!(reply.answer[0].ttl <= 300);
    }
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!((r.stat("total.num.cachemiss"), r.stat("total.num.cachehits")), (1, 4));
    assert_eq!((r.stat("total.num.recursivereplies"), r.stat("num.query.udpout")), (1, 1));
}

#[test]
fn identical_questions_under_way_are_joined() {
    let all_here = Arc::new(AtomicBool::new(false));
    let go = Arc::clone(&all_here);
    let upstream = Upstream::start(move |q, _| {
        eventually("all have asked", || go.load(Ordering::Relaxed));
        Act::Answer(address_answer(q, &[[192, 0, 2, 9]]))
    });
    let serve = Serve { discard_timeout_ms: 0, ..Setup::default().serve };
    let r = Setup { serve, ..forwarding(vec![upstream.addr]) }.start();
    let clients: Vec<Client> = (0..40).map(|_| Client::new(r.addr)).collect();
    for (id, client) in clients.iter().enumerate() {
        client.send(&a_query(id as u16, if id % 2 == 0 { "www.example.org." } else { "WWW.Example.Org." }));
    }
    eventually("all wait", || r.stat("total.requestlist.current.clients") == 40);
    let (all, user) = (r.stat("total.requestlist.current.all"), r.stat("total.requestlist.current.user"));
    assert_eq!((all, user), (1, 1), "Unbound counts questions, not who waits for them");
    all_here.store(true, Ordering::Relaxed);
    for (id, client) in clients.iter().enumerate() {
        let reply = client.recv();
        assert_eq!(reply[..2], (id as u16).to_be_bytes());
    }
    // the first query may have been repeated while the server kept still, but never one for each client
    assert!(upstream.asked().len() < 10, "{:?}", upstream.asked());
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp() {
    let upstream = Upstream::start(|q, tcp| match tcp {
        false => Act::Truncated,
        true => Act::Answer(address_answer(q, &(0..200).map(|i| [192, 0, 2, i]).collect::<Vec<_>>())),
    });
    let r = forwarding(vec![upstream.addr]).start();
    let reply = Stream::new(r.addr).ask(&a_query(1, "big.example.org."));
    assert_eq!(addresses(&reply).len(), 200);
    assert_eq!(upstream.asked(), [("big.example.org.".to_owned(), false), ("big.example.org.".to_owned(), true)]);
    assert_eq!((r.stat("num.query.udpout"), r.stat("num.query.tcpout")), (1, 1));
    assert!(Client::new(r.addr).ask(&a_query(1, "big.example.org.")).tc());
}

#[test]
fn a_server_that_fails_or_is_silent_is_passed_over() {
    let broken = Upstream::start(|_, _| Act::Answer(Answer::new(Rcode::SERVFAIL)));
    let silent = Upstream::start(|_, _| Act::Silence);
    // nobody listens there: ICMP says so at once
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = Upstream::constant([192, 0, 2, 9]);
    let serve = Serve { discard_timeout_ms: 0, ..Setup::default().serve };
    let r = Setup { serve, ..forwarding(vec![broken.addr, silent.addr, closed, good.addr]) }.start();
    for id in 0..6 {
        let reply = Client::new(r.addr).ask(&a_query(id, &format!("name{id}.example.org.")));
        assert_eq!((reply.rcode, addresses(&reply).len()), (Rcode::NOERROR, 1), "{id}");
    }
    assert_eq!(r.stat("total.num.panics"), 0);
}

#[test]
fn forged_replies_are_passed_over() {
    let upstream = Upstream::start(|q, _| {
        let truth = rendered(q, &address_answer(q, &[[192, 0, 2, 9]]));
        let mut forged = rendered(q, &address_answer(q, &[[6, 6, 6, 6]]));
        forged[0] ^= 0xff;
        Act::Raw(vec![b"x".to_vec(), Vec::new(), forged, truth])
    });
    let r = forwarding(vec![upstream.addr]).start();
    let reply = Client::new(r.addr).ask(&a_query(1, "www.example.org."));
    assert_eq!(addresses(&reply), ["192.0.2.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!(r.stat("unwanted.replies"), 3);
}

#[test]
fn every_query_leaves_from_a_port_of_its_own_and_of_the_permitted() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let ports = Arc::new(PortSet::from_ranges(&[(20_000, 29_999)]));
    let serve = Serve { upstream: Outgoing { ports, ..Outgoing::default() }, ..Setup::default().serve };
    let r = Setup { serve, ..forwarding(vec![upstream.addr]) }.start();
    let client = Client::new(r.addr);
    for id in 0..50 {
        client.ask(&a_query(id, &format!("name{id}.example.org.")));
    }
    let seen = upstream.seen.lock().unwrap();
    let ports: BTreeSet<u16> = seen.iter().map(|(_, _, peer)| peer.port()).collect();
    assert!(ports.iter().all(|port| (20_000..30_000).contains(port)));
    assert!(ports.len() > 40, "{} ports for 50 queries", ports.len());
}

#[test]
fn what_may_go_over_tcp_alone_does_and_places_are_bounded() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let outgoing = Outgoing { num_tcp: 2, ..Outgoing::default() };
    let r = Setup {
        tcp_only: true,
        serve: Serve { upstream: outgoing, discard_timeout_ms: 0, ..Setup::default().serve },
        ..forwarding(vec![upstream.addr])
    }
    .start();
    let client = Client::new(r.addr);
    for id in 0..20 {
        client.send(&a_query(id, &format!("name{id}.example.org.")));
    }
    let ids: BTreeSet<Vec<u8>> = (0..20).map(|_| client.recv()[..2].to_vec()).collect();
    assert_eq!(ids.len(), 20);
    assert!(upstream.asked().iter().all(|(_, tcp)| *tcp));
    assert_eq!(r.stat("num.query.udpout"), 0);
    let ports: BTreeSet<u16> = upstream.seen.lock().unwrap().iter().map(|(_, _, peer)| peer.port()).collect();
    assert_eq!(r.stat("num.query.tcpout"), ports.len() as u64, "connections count, not what they carry");
}

#[test]
fn a_family_switched_off_is_not_asked() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let outgoing = Outgoing { ip4: false, ..Outgoing::default() };
    let serve = Serve { upstream: outgoing, discard_timeout_ms: 0, ..Setup::default().serve };
    let r = Setup { serve, ..forwarding(vec![upstream.addr]) }.start();
    assert_eq!(Client::new(r.addr).ask(&a_query(1, "www.example.org.")).rcode, Rcode::SERVFAIL);
    assert!(upstream.asked().is_empty());
}

#[test]
fn pipelined_answers_come_as_they_get_ready_also_after_half_a_close() {
    let gate = Arc::new(Barrier::new(2));
    let slow_gate = Arc::clone(&gate);
    let upstream = Upstream::start(move |q, _| {
        if q.qname.as_ref().to_name().to_string().starts_with("slow") {
            slow_gate.wait();
        }
        Act::Answer(address_answer(q, &[[192, 0, 2, 9]]))
    });
    let r = forwarding(vec![upstream.addr]).start();
    let mut stream = Stream::new(r.addr);
    stream.send(&a_query(1, "slow.example.org."));
    eventually("the slow one is under way", || !upstream.asked().is_empty());
    stream.send(&a_query(2, "fast.example.org."));
    assert_eq!(stream.recv().unwrap()[..2], [0, 2]);
    stream.stream.shutdown(std::net::Shutdown::Write).unwrap();
    gate.wait();
    assert_eq!(stream.recv().unwrap()[..2], [0, 1]);
    assert_eq!(stream.recv(), None);
}

#[test]
fn a_client_that_goes_away_is_no_trouble() {
    let gate = Arc::new(Barrier::new(2));
    let open = Arc::clone(&gate);
    let upstream = Upstream::start(move |q, _| {
        open.wait();
        Act::Answer(address_answer(q, &[[192, 0, 2, 9]]))
    });
    let r = forwarding(vec![upstream.addr]).start();
    let mut stream = Stream::new(r.addr);
    stream.send(&a_query(1, "www.example.org."));
    eventually("it is under way", || !upstream.asked().is_empty());
    drop(stream);
    gate.wait();
    eventually("nothing is left", || r.stat("total.tcpusage") == 0 && r.stat("total.requestlist.current.clients") == 0);
    assert_eq!(addresses(&Client::new(r.addr).ask(&a_query(1, "www.example.org."))).len(), 1);
}

#[test]
fn who_waited_longer_than_discard_timeout_is_answered_all_the_same_and_counted() {
    let go = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&go);
    let upstream = Upstream::start(move |q, _| {
        eventually("the time has passed", || open.load(Ordering::Relaxed));
        Act::Answer(address_answer(q, &[[192, 0, 2, 9]]))
    });
    let serve = Serve { discard_timeout_ms: 50, ..Setup::default().serve };
    let r = Setup { serve, ..forwarding(vec![upstream.addr]) }.start();
    let client = Client::new(r.addr);
    client.send(&a_query(1, "www.example.org."));
    let mut stream = Stream::new(r.addr);
    stream.send(&a_query(2, "www.example.org."));
    eventually("both wait", || r.stat("total.requestlist.current.clients") == 2);
    std::thread::sleep(std::time::Duration::from_millis(60)); // longer than the time allowed
    go.store(true, Ordering::Relaxed);
    assert_eq!(stream.recv().unwrap()[..2], [0, 2]);
    assert_eq!(client.ask(&a_query(3, "www.example.org.")).id, 1, "the first answer comes first");
    assert_eq!(r.stat("total.num.queries_discard_timeout"), 1);
}

#[test]
fn the_alias_of_a_redirect_zone_is_followed() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let r = Setup {
        zones: vec![("re.example.", "redirect")],
        data: vec!["re.example. 300 IN CNAME target.example.org.".into()],
        ..forwarding(vec![upstream.addr])
    }
    .start();
    for _ in 0..2 {
        let reply = Client::new(r.addr).ask(&a_query(1, "any.re.example."));
        assert!(reply.aa());
        assert_eq!(reply.answer.iter().map(|set| set.rtype).collect::<Vec<_>>(), [Rtype::CNAME, Rtype::A]);
        assert_eq!(reply.answer[0].owner.to_string(), "any.re.example.");
    }
    let no_rd = query(1, "any.re.example.", Rtype::A, 0, None);
    assert_eq!(Client::new(r.addr).ask(&no_rd).rcode, Rcode::REFUSED);
    assert_eq!(upstream.asked(), [("target.example.org.".to_owned(), false)]);
}

#[test]
fn guesses_of_every_kind_leave_the_workers_answering() {
    let upstream = Upstream::start(|q, _| {
        let name = q.qname.as_ref().to_name().to_string();
        let truth = rendered(q, &address_answer(q, &[[192, 0, 2, 9]]));
        if name.starts_with("good") {
            return Act::Raw(vec![truth]);
        }
        let mut forged = truth;
        forged[0] ^= 0xff;
        Act::Raw(vec![forged; 1 + usize::from(q.id % 7)])
    });
    let r = Setup { workers: 2, ..forwarding(vec![upstream.addr]) }.start();
    let clients: Vec<Client> = (0..16).map(|_| Client::new(r.addr)).collect();
    for round in 0..20_u16 {
        for (n, client) in (0_u16..).zip(&clients) {
            client.send(&a_query(1_000 + round * 16 + n, &format!("n{round}-{n}.example.org.")));
        }
        for client in &clients {
            client.send(&a_query(round, "good.example.org."));
            loop {
                let reply = client.recv();
                if reply[..2] == round.to_be_bytes() {
                    break;
                }
            }
        }
    }
    assert_eq!(r.stat("total.num.panics"), 0);
}

#[test]
fn cve_2026_50252_no_thread_has_ports_of_its_own() {
    // One client's questions come to one worker. If each worker had its share of the ports, an attacker would learn which by
    // making it ask his servers, and guess among a fourth of them.
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let ports = Arc::new(PortSet::from_ranges(&[(21_000, 21_127)]));
    let serve = Serve { upstream: Outgoing { ports, ..Outgoing::default() }, ..Setup::default().serve };
    let r = Setup { workers: 4, serve, ..forwarding(vec![upstream.addr]) }.start();
    let client = Client::new(r.addr);
    for id in 0..400 {
        client.ask(&a_query(id, &format!("name{id}.example.org.")));
    }
    let seen: Vec<u16> = upstream.seen.lock().unwrap().iter().map(|(_, _, peer)| peer.port()).collect();
    let ports: BTreeSet<u16> = seen.iter().copied().collect();
    assert!(ports.len() > 64, "{} of 128 ports for 400 queries of one worker", ports.len());
    // Nor are they taken in an order: what comes next is not what lies beside.
    let steps = seen.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    assert!(steps < seen.len() / 8, "{steps} of {} are neighbours", seen.len());
}

#[test]
fn cve_2026_40012_a_clients_subnet_goes_nowhere_and_parts_no_answers() {
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let r = forwarding(vec![server.local_addr().unwrap()]).start();
    let asked = std::thread::spawn(move || {
        let mut packet = [0; 4096];
        let (n, peer) = server.recv_from(&mut packet).unwrap();
        let q = wire::Query::parse(&packet[..n]).unwrap();
        server.send_to(&rendered(&q, &address_answer(&q, &[[192, 0, 2, 9]])), peer).unwrap();
        packet[..n].to_vec()
    });
    let client = Client::new(r.addr);
    // Subnets of two lengths, and "do not tell anybody".
    let subnets = [&[0u8, 1, 24, 0, 10, 1, 2][..], &[0, 1, 16, 0, 10, 9], &[0, 1, 0, 0]];
    for (id, subnet) in (0u16..).zip(subnets) {
        let packet =
            with_option(query(id, "www.example.org.", Rtype::A, flag::RD, Some(1232)), option::CLIENT_SUBNET, subnet);
        let reply = client.ask_raw(&packet);
        assert_eq!(addresses(&wire::Reply::parse(&reply).unwrap()).len(), 1);
        assert_eq!(reply[reply.len() - 2..], [0, 0], "no option goes back");
    }
    let asked = asked.join().unwrap();
    assert_eq!(asked[asked.len() - 2..], [0, 0], "no option went on: {asked:?}");
    assert_eq!(r.stat("total.num.cachehits"), 2);
}

#[test]
fn pdns_2025_08_a_notify_or_nonsense_over_tcp_takes_nothing_from_the_cache_nor_from_the_connection() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let r = forwarding(vec![upstream.addr]).start();
    let mut stream = Stream::new(r.addr);
    assert_eq!(addresses(&stream.ask(&a_query(1, "www.example.org."))).len(), 1);
    for name in [".", "org.", "example.org.", "www.example.org."] {
        for qtype in [Rtype::SOA, Rtype::A] {
            let notify = query(2, name, qtype, 0x2400, None);
            assert_eq!(stream.ask(&notify).rcode, Rcode::REFUSED, "{name} {qtype}");
            assert_eq!(Client::new(r.addr).ask(&notify).rcode, Rcode::REFUSED, "{name} {qtype}");
        }
    }
    let mut two_questions = a_query(3, "www.example.org.");
    two_questions[5] = 2;
    stream.send(&two_questions);
    assert_eq!(stream.recv().unwrap()[3] & 15, 1, "FORMERR");
    assert_eq!(addresses(&stream.ask(&a_query(4, "www.example.org."))).len(), 1);
    assert_eq!(upstream.asked().len(), 1);
}
