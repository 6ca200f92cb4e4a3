//! What clients get: local data over UDP and TCP, access control, sizes, cookies, garbage, log lines.

mod common;

use common::*;
use net::{ConnectionLimit, Serve};
use policy::AclAction;
use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use sys::log::{Options, Target};
use wire::types::{flag, option};
use wire::{CookieSecret, Rcode, Reply, Rtype};

fn local() -> Setup {
    Setup {
        zones: vec![("here.example.", "static"), ("quiet.example.", "inform_deny")],
        data: vec!["www.here.example. 300 IN A 192.0.2.1".into()],
        ..Setup::default()
    }
}

#[test]
fn local_data_over_udp_and_tcp() {
    let r = Setup { workers: 2, ..local() }.start();
    let reply = Client::new(r.addr).ask(&a_query(1, "WWW.here.example."));
    assert!(reply.aa() && reply.ra() && !reply.tc());
    assert_eq!(reply.flags & flag::RD, flag::RD);
    assert_eq!(reply.question.as_ref().unwrap().0.as_ref().to_name().to_string(), "WWW.here.example.");
    assert_eq!(addresses(&reply), ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    let reply = Stream::new(r.addr).ask(&a_query(2, "none.here.example."));
    assert_eq!((reply.id, reply.rcode), (2, Rcode::NXDOMAIN));
    for (name, n) in [
        ("total.num.queries", 2),
        ("total.num.cachehits", 2),
        ("num.query.tcp", 1),
        ("num.query.type.A", 2),
        ("num.query.flags.RD", 2),
        ("num.answer.rcode.NXDOMAIN", 1),
        ("num.answer.rcode.NOERROR", 1),
    ] {
        assert_eq!(r.stat(name), n, "{name}");
    }
}

#[test]
fn ipv6_and_a_wildcard_address_answer_from_where_they_were_asked() {
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        let r = Setup { listen: "[::1]:0", ..local() }.start();
        assert!(Client::from("::1", r.addr).ask(&a_query(1, "www.here.example.")).aa());
        assert_eq!(r.stat("num.query.ipv6"), 1);
    }
    let options = net::SocketOptions { pktinfo: true, ..net::SocketOptions::default() };
    let r = Setup { listen: "0.0.0.0:0", options, ..local() }.start();
    // a connected client hears only the address it asked
    let asked = std::net::SocketAddr::new("127.0.0.77".parse().unwrap(), r.addr.port());
    assert!(Client::new(asked).ask(&a_query(1, "www.here.example.")).aa());
}

#[test]
fn access_control_by_source() {
    let acl = vec![
        ("127.0.0.2", 32, AclAction::Deny),
        ("127.0.0.3", 32, AclAction::Refuse),
        ("127.0.0.4", 32, AclAction::DenyNonLocal),
        ("127.0.0.5", 32, AclAction::RefuseNonLocal),
        ("127.0.0.6", 32, AclAction::AllowSetrd),
        ("127.0.0.7", 32, AclAction::AllowSnoop),
    ];
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let r = Setup { acl, forwards: vec![("fwd.example.", vec![upstream.addr])], ..local() }.start();
    let from = |last: u8| Client::from(&format!("127.0.0.{last}"), r.addr);
    let no_rd = |name: &str| query(5, name, Rtype::A, 0, None);

    // deny: nothing; the same client's garbage proves nothing either, another client's answer shows time has passed
    let denied = from(2);
    denied.send(&a_query(1, "www.here.example."));
    // refuse: the bare header, flags as they came
    let raw = from(3).ask_raw(&query(9, "www.here.example.", Rtype::A, flag::RD | flag::AD, Some(1232)));
    assert_eq!(raw, [0, 9, 0x81, 0x25, 0, 0, 0, 0, 0, 0, 0, 0]);
    // *_non_local: local data yes, the rest no
    let denied_far = from(4);
    denied_far.send(&a_query(1, "www.fwd.example."));
    assert_eq!(denied_far.ask(&a_query(2, "www.here.example.")).id, 2);
    assert_eq!(from(5).ask(&a_query(1, "www.here.example.")).rcode, Rcode::NOERROR);
    assert_eq!(from(5).ask_raw(&a_query(1, "www.fwd.example."))[3] & 15, 5);
    // allow: without RD local data only
    assert_eq!(from(1).ask(&no_rd("www.here.example.")).rcode, Rcode::NOERROR);
    let refused = from(1).ask(&no_rd("www.fwd.example."));
    assert_eq!((refused.rcode, refused.ra()), (Rcode::REFUSED, true));
    // allow_snoop: the cache, but nobody is asked
    assert_eq!(from(7).ask(&no_rd("www.fwd.example.")).rcode, Rcode::SERVFAIL);
    assert!(upstream.asked().is_empty());
    // allow_setrd: as if RD were set, and the reply says so
    let reply = from(6).ask(&no_rd("www.fwd.example."));
    assert_eq!((addresses(&reply).len(), reply.flags & flag::RD), (1, flag::RD));
    assert_eq!(addresses(&from(7).ask(&no_rd("www.fwd.example."))).len(), 1);
    assert_eq!(from(1).ask(&no_rd("www.fwd.example.")).rcode, Rcode::REFUSED);

    for socket in [&denied.socket, &denied_far.socket] {
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 16]).is_err(), "denied, yet answered");
    }
    assert_eq!(r.stat("unwanted.queries"), 4);
}

#[test]
fn answers_too_large_are_cut_at_the_clients_size_and_whole_over_tcp() {
    let data = (0..100).map(|i| format!("big.here.example. 300 IN A 192.0.2.{i}")).collect();
    let serve = Serve { max_udp_size: 1600, ..Setup::default().serve };
    let r = Setup { data, serve, ..local() }.start();
    let client = Client::new(r.addr);
    for (edns, limit) in [(None, 512), (Some(100), 512), (Some(512), 512), (Some(1000), 1000), (Some(4000), 1600)] {
        let raw = client.ask_raw(&query(3, "big.here.example.", Rtype::A, flag::RD, edns));
        assert!(raw.len() <= limit, "{} octets for {edns:?}", raw.len());
        let reply = Reply::parse(&raw).unwrap();
        assert!(reply.tc() && reply.edns.is_some() == edns.is_some(), "{edns:?}");
    }
    let whole = Stream::new(r.addr).ask(&a_query(4, "big.here.example."));
    assert_eq!((whole.tc(), addresses(&whole).len()), (false, 100));
}

#[test]
fn sizes_below_512_count_where_not_hardened() {
    let data = (0..10).map(|i| format!("some.here.example. 300 IN A 192.0.2.{i}")).collect();
    let serve = Serve { harden_short_bufsize: false, ..Setup::default().serve };
    let r = Setup { data, serve, ..local() }.start();
    let client = Client::new(r.addr);
    assert!(client.ask(&query(3, "some.here.example.", Rtype::A, flag::RD, Some(100))).tc());
    assert!(!client.ask(&query(3, "some.here.example.", Rtype::A, flag::RD, Some(300))).tc());
}

#[test]
fn records_rotate_with_message_id_and_time() {
    let data = (0..4).map(|i| format!("set.here.example. 300 IN A 192.0.2.{i}")).collect();
    let r = Setup { data, ..local() }.start();
    let client = Client::new(r.addr);
    // The order depends on id and second: among many ids in few seconds each record comes first.
    let first = |id| addresses(&client.ask(&a_query(id, "set.here.example.")))[0];
    let seen: std::collections::BTreeSet<_> = (0..64).map(first).collect();
    assert_eq!(seen.len(), 4);
}

fn cookie_of(reply: &[u8]) -> Vec<u8> {
    // the OPT record stands last, and the cookie is its only option
    reply[reply.len() - 24..].to_vec()
}

#[test]
fn cookies_are_made_and_checked() {
    let serve = Serve { answer_cookie: true, cookie_secrets: vec![CookieSecret([7; 16])], ..Setup::default().serve };
    let acl = vec![("127.0.0.8", 32, AclAction::AllowCookie)];
    let r = Setup { serve, acl, ..local() }.start();
    let client = Client::from("127.0.0.8", r.addr);
    let q = query(6, "www.here.example.", Rtype::A, flag::RD, Some(1232));

    let bare = client.ask(&q);
    assert_eq!((bare.rcode, bare.tc()), (Rcode::REFUSED, true));
    assert_eq!(Stream::new(r.addr).ask(&q).rcode, Rcode::NOERROR);

    let raw = client.ask_raw(&with_option(q.clone(), option::COOKIE, b"12345678"));
    assert_eq!(Reply::parse(&raw).unwrap().rcode, Rcode::BADCOOKIE);
    let cookie = cookie_of(&raw);
    assert_eq!(&cookie[..8], b"12345678");
    let raw = client.ask_raw(&with_option(q.clone(), option::COOKIE, &cookie));
    assert_eq!(Reply::parse(&raw).unwrap().rcode, Rcode::NOERROR);
    assert_eq!(cookie_of(&raw), cookie, "a young cookie is given back as it is");
    let mut forged = cookie.clone();
    forged[20] ^= 1;
    assert_eq!(client.ask(&with_option(q.clone(), option::COOKIE, &forged)).rcode, Rcode::BADCOOKIE);
    assert_eq!(client.ask(&with_option(q.clone(), option::COOKIE, b"123")).rcode, Rcode::FORMERR);

    // where cookies are not demanded they are answered all the same
    let raw = Client::new(r.addr).ask_raw(&with_option(q, option::COOKIE, b"abcdefgh"));
    assert_eq!((Reply::parse(&raw).unwrap().rcode, &cookie_of(&raw)[..8]), (Rcode::NOERROR, &b"abcdefgh"[..]));
    assert_eq!((r.stat("total.num.queries_cookie_client"), r.stat("total.num.queries_cookie_valid")), (2, 1));
    assert_eq!(r.stat("total.num.queries_cookie_invalid"), 1);
}

#[test]
fn nsid_and_keepalive_are_told_to_who_asks() {
    let serve = Serve {
        nsid: Some(Box::from(&b"ns1"[..])),
        edns_tcp_keepalive: true,
        edns_tcp_keepalive_timeout_ms: 5_000,
        ..Setup::default().serve
    };
    let r = Setup { serve, ..local() }.start();
    let q = query(6, "www.here.example.", Rtype::A, flag::RD, Some(1232));
    let raw = Client::new(r.addr).ask_raw(&with_option(q.clone(), option::NSID, b""));
    assert!(raw.ends_with(&[0, 3, 0, 3, b'n', b's', b'1']));
    let keepalive = with_option(q, option::KEEPALIVE, b"");
    let mut stream = Stream::new(r.addr);
    stream.send(&keepalive);
    assert!(stream.recv().unwrap().ends_with(&[0, 11, 0, 2, 0, 50]));
    assert!(!Client::new(r.addr).ask_raw(&keepalive).ends_with(&[0, 11, 0, 2, 0, 50]));
}

#[test]
fn garbage_of_every_kind_leaves_the_worker_answering() {
    let r = local().start();
    let client = Client::new(r.addr);
    let good = query(77, "www.here.example.", Rtype::A, flag::RD, Some(1232));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..3_000_usize {
        let mut packet = good.clone();
        match round % 4 {
            0 => packet.truncate(next() as usize % good.len()),
            1 => {
                for _ in 0..=next() % 8 {
                    let at = next() as usize % packet.len();
                    packet[at] = next() as u8;
                }
            }
            2 => packet = (0..next() % 1_500).map(|_| next() as u8).collect(),
            _ => packet.extend((0..next() % 200).map(|_| next() as u8)),
        }
        client.send(&packet);
        if round % 100 == 0 {
            wait_for(&client, &good);
        }
    }
    wait_for(&client, &good);
    for bytes in
        [&b"\0\0"[..], b"\0\x05abcde", b"\0\x0c\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff\xffshort"]
    {
        let mut stream = Stream::new(r.addr);
        stream.stream.write_all(bytes).unwrap();
        stream.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.recv(), None);
    }
    assert_eq!(Stream::new(r.addr).ask(&good).id, 77);
    assert_eq!(r.stat("total.num.panics"), 0);
}

/// Asks until an answer with the query's id comes, passing over answers to garbage.
fn wait_for(client: &Client, good: &[u8]) {
    client.send(good);
    while client.recv()[..2] != good[..2] {}
}

#[test]
fn large_queries_are_dropped_where_hardened() {
    let serve = Serve { harden_large_queries: true, ..Setup::default().serve };
    let r = Setup { serve, ..local() }.start();
    let client = Client::new(r.addr);
    let q = |id| query(id, "www.here.example.", Rtype::A, flag::RD, Some(1232));
    client.send(&with_option(q(1), 65_001, &[0; 600]));
    client.send(&with_option(q(2), 65_001, &[0; 400]));
    assert_eq!(Reply::parse(&client.recv()).unwrap().id, 2);
}

#[test]
fn what_lay_too_long_in_the_socket_is_dropped() {
    let serve = Serve { sock_queue_timeout_ms: 20, ..Setup::default().serve };
    let options = net::SocketOptions { timestamps: true, ..net::SocketOptions::default() };
    let mut early = None;
    let r = Setup { serve, options, ..local() }.start_after(|addr| {
        let client = Client::new(addr);
        for _ in 0..10 {
            // Several: the kernel begins to note times a moment after it was asked to.
            client.send(&a_query(1, "www.here.example."));
            std::thread::sleep(std::time::Duration::from_millis(30)); // longer than the time allowed
        }
        early = Some(client);
    });
    eventually("the old query was seen", || r.stat("total.num.queries_timed_out") >= 1);
    assert!(r.stat("total.query.queue_time_us.max") >= 20_000);
    // On a machine under load a young query may be late too: ask until one is not.
    let client = early.unwrap();
    client.socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    let mut reply = [0; 512];
    eventually("a young query is answered", || {
        client.send(&a_query(2, "www.here.example."));
        client.socket.recv(&mut reply).is_ok() && reply[..2] == [0, 2]
    });
}

#[test]
fn many_queries_in_one_write_are_all_answered() {
    let r = local().start();
    let mut stream = Stream::new(r.addr);
    let all: Vec<u8> = (0..100).flat_map(|id| framed(&a_query(id, "www.here.example."))).collect();
    // cut at an odd place, so that a message comes in two pieces
    stream.stream.write_all(&all[..1_001]).unwrap();
    stream.stream.write_all(&all[1_001..]).unwrap();
    stream.stream.shutdown(Shutdown::Write).unwrap();
    for id in 0..100_u16 {
        assert_eq!(stream.recv().unwrap()[..2], id.to_be_bytes());
    }
    assert_eq!(stream.recv(), None);
}

#[test]
fn a_stream_with_nothing_to_say_is_closed() {
    let serve = Serve { tcp_idle_timeout_ms: 1, ..Setup::default().serve }; // the floor of 200 ms counts
    let r = Setup { serve, ..local() }.start();
    let mut silent = Stream::new(r.addr);
    let mut half = Stream::new(r.addr);
    half.stream.write_all(&[0, 40, 1, 2, 3]).unwrap();
    assert_eq!((silent.recv(), half.recv()), (None, None));
    eventually("places are given back", || r.stat("total.tcpusage") == 0);
}

#[test]
fn a_dropped_query_closes_the_stream() {
    let r = local().start();
    let mut stream = Stream::new(r.addr);
    stream.send(&a_query(1, "x.quiet.example."));
    assert_eq!(stream.recv(), None);
}

#[test]
fn connections_are_limited_by_netblock_and_in_all() {
    let limit = ConnectionLimit { addr: "127.0.0.1".parse().unwrap(), prefix: 32, limit: 2 };
    let serve = Serve { tcp_connection_limits: vec![limit], ..Setup::default().serve };
    let r = Setup { workers: 2, serve, ..local() }.start();
    let mut held: Vec<Stream> = (0..2).map(|_| Stream::new(r.addr)).collect();
    for stream in &mut held {
        assert!(stream.ask(&a_query(1, "www.here.example.")).aa());
    }
    assert_eq!(Stream::new(r.addr).recv(), None);
    held.pop();
    eventually("a closed connection makes room", || {
        let mut stream = Stream::new(r.addr);
        let _ = stream.stream.write_all(&framed(&a_query(1, "www.here.example.")));
        stream.recv().is_some()
    });

    // over the number of places, connections wait until one is free
    let serve = Serve { tcp_clients_per_worker: 1, ..Setup::default().serve };
    let r = Setup { serve, ..local() }.start();
    let mut first = Stream::new(r.addr);
    assert!(first.ask(&a_query(1, "www.here.example.")).aa());
    let mut second = Stream::new(r.addr);
    second.send(&a_query(2, "www.here.example."));
    drop(first);
    assert_eq!(second.recv().unwrap()[..2], [0, 2]);
}

#[test]
fn who_does_not_read_is_not_read_from() {
    let data = (0..200).map(|i| format!("big.here.example. 300 IN A 192.0.2.{i}")).collect();
    let r = Setup { data, ..local() }.start();
    let mut stream = Stream::new(r.addr);
    stream.stream.set_nonblocking(true).unwrap();
    let packet = framed(&a_query(1, "big.here.example."));
    let mut sent = 0_usize;
    // Both kernel buffers and ours fill, then our writes are not taken any more: memory is bounded.
    eventually("the resolver stops reading", || {
        loop {
            match stream.stream.write(&packet[sent % packet.len()..]) {
                Ok(n) => sent += n,
                Err(_) => return r.stat("mem.streamwait") > 0,
            }
        }
    });
    assert!(r.stat("mem.streamwait") < 512 * 1024);
    assert!(Client::new(r.addr).ask(&a_query(2, "www.here.example.")).aa(), "others are served meanwhile");
    drop(stream);
    eventually("what was kept for it is given back", || r.stat("mem.streamwait") == 0);
}

#[test]
fn log_lines_are_unbounds() {
    let dir = std::env::temp_dir().join(format!("runbound-net-log-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("log");
    let log = Options { target: Target::File(path.clone()), ..Options::default() };
    let serve = Serve {
        log_queries: true,
        log_replies: true,
        log_local_actions: true,
        log_servfail: true,
        log_tag_queryreply: true,
        ..Setup::default().serve
    };
    let acl = vec![("127.0.0.3", 32, AclAction::Refuse)];
    let r = Setup { serve, log, acl, ..local() }.start();
    let client = Client::new(r.addr);
    let port = client.socket.local_addr().unwrap().port();
    client.ask(&a_query(1, "www.HERE.example."));
    client.ask(&query(1, "x.", Rtype(250), flag::RD, None));
    client.ask(&a_query(1, "no.where."));
    Client::from("127.0.0.3", r.addr).ask_raw(&a_query(1, "www.here.example."));
    r.pool.stop(); // lines are written by a thread of their own until then
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| line.split_once("] ").unwrap().1).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.split_once(":0] ").unwrap().1).collect();
    let local = format!("info: here.example. static 127.0.0.1@{port} www.HERE.example. A IN");
    assert_eq!(
        lines[..3],
        [
            "query: 127.0.0.1 www.HERE.example. A IN",
            &local,
            "reply: 127.0.0.1 www.HERE.example. A IN NOERROR 0.000000 1 50"
        ]
    );
    assert_eq!(lines[3..5], ["query: 127.0.0.1 x. TSIG IN", "reply: 127.0.0.1 - - - FORMERR - - - "]);
    assert_eq!(lines[5], "query: 127.0.0.1 no.where. A IN");
    assert!(lines[6].starts_with("error: SERVFAIL <no.where. A IN>: "), "{}", lines[6]);
    assert!(lines[7].starts_with("reply: 127.0.0.1 no.where. A IN SERVFAIL 0.0"), "{}", lines[7]);
    assert!(lines[7].ends_with(" 0 26"), "{}", lines[7]);
    assert_eq!(lines[8], "reply: 127.0.0.3 null TYPE0 CLASS0 REFUSED 0.000000 1 12");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_log_that_nobody_reads_stops_no_answer() {
    let dir = std::env::temp_dir().join(format!("runbound-net-fifo-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("log");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Open, so that opening it for writing waits for nobody, and never read.
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = Options { target: Target::File(path.clone()), ..Options::default() };
    let serve = Serve { log_queries: true, log_replies: true, ..Setup::default().serve };
    let r = Setup { workers: 2, serve, log, ..local() }.start();
    let client = Client::new(r.addr);
    for id in 0..3_000 {
        assert!(client.ask(&a_query(id, "www.here.example.")).aa()); // twice what a pipe holds
    }
    r.pool.apply(r.setup.snapshot(2)).unwrap();
    r.pool.stop(); // nor does the end wait for it
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_stream_that_never_pauses_leaves_the_others_their_turn() {
    let r = local().start();
    let mut busy = Stream::new(r.addr);
    let query = framed(&a_query(1, "nothing.invalid."));
    let burst = query.repeat(2_000);
    let mut reader = busy.stream.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&stop);
    let reads = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while !end.load(Ordering::Relaxed) && std::io::Read::read(&mut reader, &mut buffer).is_ok_and(|n| n > 0) {}
    });
    let end = Arc::clone(&stop);
    let writes = std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) && busy.stream.write_all(&burst).is_ok() {}
        let _ = busy.stream.shutdown(std::net::Shutdown::Both);
    });
    std::thread::sleep(Duration::from_millis(300));
    let client = Client::new(r.addr);
    let mut slowest = Duration::ZERO;
    for id in 0..50 {
        let begin = std::time::Instant::now();
        client.ask(&a_query(id, "nothing.invalid."));
        slowest = slowest.max(begin.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    writes.join().unwrap();
    reads.join().unwrap();
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}
