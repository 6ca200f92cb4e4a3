//! The path of a query, from its octets to the octets of the answer.
//!
//! THE TEN STEPS, in the order of this file. 1: `udp` or `stream` hands over a packet. 2: access control, by source,
//! before anything is read. 3: the question, EDNS, cookies. 4: (the worker's own first cache comes here.) 5: the rules
//! of policy. 6: the cache. 7: the mesh, where the client waits. 8: (validation comes inside `resolve`.) 9: the answer
//! is rendered. 10: `udp` or `stream` sends it; counters and log lines are written here.
//!
//! Owns the order of the rooms and what belongs to none of them: which clients without RD are served, cookies, sizes,
//! the flags Unbound sets. It never reads a clock (the batch's time counts), never waits, and never panics the worker.

use crate::lines::{self, Destination};
use crate::pending::{Route, Waiting};
use crate::snapshot::{Serve, Snapshot};
use crate::stream;
use crate::worker::{MAX_MESSAGE, Worker};
use policy::{AclAction, Verdict};
use resolve::{ClientId, Question};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use sys::log::Level;
use wire::types::flag;
use wire::{
    Answer, Class, CookieState, Ede, EdnsOut, EdnsQuery, Name, NameRef, Query, Rcode, Reject, Render, Rrset, Rtype,
    cookie,
};

/// Octets of the largest UDP answer to a client without EDNS (RFC 1035 4.2.1); also what `harden-large-queries` lets in.
const CLASSIC_UDP: usize = 512;
/// Octets of a message header.
const HEADER: usize = 12;

/// One packet from a client.
pub(crate) struct Packet<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) peer: SocketAddr,
    pub(crate) route: &'a Route,
    /// When it was read, on the monotonic clock.
    pub(crate) received_us: u64,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The first octets of `out` are the answer.
    Reply(usize),
    /// There will be none.
    Nothing,
    /// It will come later, by `finish`.
    Waiting,
}

/// Takes one packet through the steps. A panic on the way is contained: the client gets SERVFAIL, it is counted, and
/// the worker goes on.
pub(crate) fn handle(w: &Worker, snapshot: &Snapshot, p: &Packet<'_>, out: &mut [u8]) -> Outcome {
    let steps = AssertUnwindSafe(|| steps(w, snapshot, p, &mut *out));
    catch_unwind(steps).unwrap_or_else(|_| {
        w.panicked();
        sized(wire::reject(p.bytes, &Reject::Reflect { rcode: Rcode::SERVFAIL }, out))
    })
}

fn sized(len: usize) -> Outcome {
    if len == 0 { Outcome::Nothing } else { Outcome::Reply(len) }
}

fn steps(w: &Worker, snapshot: &Snapshot, p: &Packet<'_>, out: &mut [u8]) -> Outcome {
    let (policy, serve) = (&*snapshot.policy, &*snapshot.serve);
    let client = p.peer.ip();
    let tcp = p.route.is_tcp();

    // 2. Access control, by source alone.
    let action = policy.acl.lookup(client);
    match action {
        AclAction::Deny => {
            w.stats.unwanted_queries.add(1);
            return Outcome::Nothing;
        }
        AclAction::Refuse => return refused_client(w, serve, p, None, out),
        _ => {}
    }
    if serve.harden_large_queries && p.bytes.len() > CLASSIC_UDP {
        return Outcome::Nothing;
    }

    // 3. Header, question, OPT.
    let q = match Query::parse(p.bytes) {
        Ok(q) => q,
        Err(reject) => return rejected(w, serve, p, &reject, out),
    };
    #[cfg(test)]
    tests::maybe_panic(&q, b"panic-here");
    w.stats.queries.add(1);
    w.stats.question(q.qtype);
    w.stats.query(&q, tcp, client.is_ipv6());
    if serve.log_queries {
        w.log.line(tag(serve, Level::Query), w.id, &lines::query(client, &q));
    }
    let mut ask = Asked { q, limit: udp_limit(serve, p, &q), tcp, cookie: None };
    if serve.answer_cookie && q.edns.is_some_and(|edns| edns.bad_cookie) {
        return replied(w, serve, p, &ask, &Answer::new(Rcode::FORMERR), 0, true, out); // RFC 7873 5.2.2
    }
    let proven = cookies(w, serve, client, &mut ask);
    if action == AclAction::AllowCookie && !tcp && !proven {
        return without_cookie(w, serve, p, &ask, out);
    }

    // 5. The rules.
    let decision = policy.decide(&q, client);
    if let Some(hit) = decision.log.as_ref().filter(|hit| hit.always || serve.log_local_actions) {
        w.log.line(Level::Info, w.id, &lines::local_action(hit.zone, hit.kind, p.peer, &q));
    }
    if !decision.local {
        match action {
            AclAction::DenyNonLocal => {
                w.stats.unwanted_queries.add(1);
                return Outcome::Nothing;
            }
            AclAction::RefuseNonLocal => return refused_client(w, serve, p, Some(&q), out),
            AclAction::AllowSetrd => ask.q.flags |= flag::RD,
            _ => {}
        }
        if !ask.q.rd() && action != AclAction::AllowSnoop {
            // Who may not recurse may not look into the cache either: it tells what others asked.
            return replied(w, serve, p, &ask, &refusal(Ede::NOT_AUTHORITATIVE), 0, true, out);
        }
    }
    let (alias, target) = match decision.verdict {
        Verdict::Answer(answer) => {
            if !decision.local {
                by_mesh(w);
            }
            return replied(w, serve, p, &ask, &answer, 0, decision.local, out);
        }
        Verdict::Drop => return Outcome::Nothing,
        Verdict::Alias { answer, target } => (answer, Some(target)),
        Verdict::Pass => (Vec::new(), None),
    };
    let name = target.as_ref().map_or(q.qname.as_ref(), |target| target.as_ref());

    // 6. The cache.
    let now = p.received_us / 1_000;
    if let Some(known) = w.store.get(name, q.qtype, q.qclass, q.cd(), now, None) {
        if !ask.q.rd() {
            ask.q.flags |= flag::RD; // Unbound answers with the flags it remembers: a forwarder's reply had RD
        }
        let cached = q.qtype != Rtype::ANY || known.answer.answer.is_empty();
        if !cached {
            by_mesh(w);
        }
        return if alias.is_empty() {
            replied(w, serve, p, &ask, &known.answer, 0, cached, out)
        } else {
            replied(w, serve, p, &ask, &aliased(&alias, &known.answer, 0), 0, cached, out)
        };
    }

    // 7. The mesh. The client waits.
    wait(w, snapshot, p, &ask, alias, name.lower().to_name(), proven)
}

/// Counts an answer that is there at once but that Unbound's mesh gives: records to ANY from what is remembered, and to
/// classes that are not resolved. In its statistics and logs these are no cache hits.
fn by_mesh(w: &Worker) {
    w.stats.cache_misses.add(1);
    w.stats.resolved(0);
}

/// A query on its way through the steps.
struct Asked {
    q: Query,
    limit: usize,
    tcp: bool,
    cookie: Option<[u8; 24]>,
}

fn wait(
    w: &Worker,
    snapshot: &Snapshot,
    p: &Packet<'_>,
    ask: &Asked,
    alias: Vec<Rrset>,
    target: Name,
    proven: bool,
) -> Outcome {
    let serve = &*snapshot.serve;
    w.stats.cache_misses.add(1);
    let mut pending = w.pending.borrow_mut();
    let limit = if proven { serve.wait_limit_cookie } else { serve.wait_limit };
    if serve.wait_limit > 0 && pending.waiting_for(p.peer.ip()) >= limit {
        w.stats.wait_limit.add(1);
        return Outcome::Nothing;
    }
    if !pending.has_room() {
        w.stats.list_exceeded.add(1);
        return Outcome::Nothing;
    }
    let id = pending.insert(Waiting {
        query: ask.q,
        peer: p.peer,
        route: p.route.clone(),
        received_us: p.received_us,
        limit: ask.limit,
        cookie: ask.cookie,
        alias,
    });
    drop(pending);
    let question = Question {
        name: target,
        qtype: ask.q.qtype,
        qclass: ask.q.qclass,
        cd: ask.q.cd(),
        rd: ask.q.rd(),
        patient: ask.tcp,
    };
    w.with_mesh(|mesh| {
        #[cfg(test)]
        tests::maybe_panic(&ask.q, b"panic-asking");
        mesh.query(p.received_us / 1_000, &snapshot.forwards, question, ClientId(id), None);
        w.stats.list(mesh.queries() as u64);
    });
    Outcome::Waiting
}

/// Renders the answer for a client that waited; returns its octets, 0 if there is none to send. A panic on the way is
/// contained as in `handle`.
pub(crate) fn finish(
    w: &Worker,
    snapshot: &Snapshot,
    waiting: &Waiting,
    answer: &Answer,
    now_us: u64,
    out: &mut [u8],
) -> usize {
    let last_steps = AssertUnwindSafe(|| last_steps(w, snapshot, waiting, answer, now_us, &mut *out));
    catch_unwind(last_steps).unwrap_or_else(|_| {
        w.panicked();
        let how = Render { max_size: CLASSIC_UDP, minimal: true, rotate: None, age: 0, ra: true, edns: None };
        wire::render(&waiting.query, &Answer::new(Rcode::SERVFAIL), &how, out)
    })
}

fn last_steps(
    w: &Worker,
    snapshot: &Snapshot,
    waiting: &Waiting,
    answer: &Answer,
    now_us: u64,
    out: &mut [u8],
) -> usize {
    #[cfg(test)]
    tests::maybe_panic(&waiting.query, b"panic-late");
    let serve = &*snapshot.serve;
    let us = now_us.saturating_sub(waiting.received_us);
    let tcp = waiting.route.is_tcp();
    let discard_us = u64::from(serve.discard_timeout_ms) * 1_000;
    if !tcp && discard_us > 0 && us > discard_us {
        // An attacker who makes upstreams slow could have many answers leave in one burst (CVE-2024-33655).
        w.stats.discard_timeout.add(1);
        return 0;
    }
    let ask = Asked { q: waiting.query, limit: waiting.limit, tcp, cookie: waiting.cookie };
    let len = if waiting.alias.is_empty() {
        render(w, serve, &waiting.route, &ask, answer, 0, out)
    } else {
        render(w, serve, &waiting.route, &ask, &aliased(&waiting.alias, answer, 0), 0, out)
    };
    w.stats.resolved(us);
    sent(
        w,
        serve,
        &waiting.route,
        waiting.peer.ip(),
        Some(&waiting.query),
        us,
        false,
        out.get(..len).unwrap_or_default(),
    );
    len
}

/// Steps 9 and 10 for an answer that is there at once.
#[expect(clippy::too_many_arguments, reason = "the whole of a reply, passed once")]
fn replied(
    w: &Worker,
    serve: &Serve,
    p: &Packet<'_>,
    ask: &Asked,
    answer: &Answer,
    age: u32,
    cached: bool,
    out: &mut [u8],
) -> Outcome {
    let len = render(w, serve, p.route, ask, answer, age, out);
    sent(w, serve, p.route, p.peer.ip(), Some(&ask.q), 0, cached, out.get(..len).unwrap_or_default());
    sized(len)
}

fn render(w: &Worker, serve: &Serve, route: &Route, ask: &Asked, answer: &Answer, age: u32, out: &mut [u8]) -> usize {
    let keepalive = match route {
        Route::Tcp(conn) if serve.edns_tcp_keepalive && ask.q.edns.is_some_and(|edns| edns.keepalive) => {
            conn.keepalive.set(true);
            let ms = stream::idle_ms(serve, w.tcp_open.get(), true);
            Some(u16::try_from(ms / 100).unwrap_or(u16::MAX)) // RFC 7828 3.1: units of 100 ms
        }
        _ => None,
    };
    let edns = ask.q.edns.map(|edns| EdnsOut {
        udp_size: serve.edns_buffer_size,
        cookie: ask.cookie,
        nsid: serve.nsid.as_deref().filter(|_| edns.nsid),
        keepalive,
        ede: serve.ede,
    });
    let how = Render {
        max_size: if ask.tcp { MAX_MESSAGE } else { ask.limit },
        minimal: serve.minimal_responses,
        // Unbound's sum, seen by asking it: the same id gets the next order each second.
        rotate: serve.rrset_roundrobin.then(|| w.unix_s.get().wrapping_add(u32::from(ask.q.id))),
        age,
        ra: true,
        edns,
    };
    wire::render(&ask.q, answer, &how, out)
}

/// Counts and logs an answer that is about to leave.
#[expect(clippy::too_many_arguments, reason = "the whole of a log line, passed once")]
fn sent(
    w: &Worker,
    serve: &Serve,
    route: &Route,
    client: IpAddr,
    q: Option<&Query>,
    us: u64,
    cached: bool,
    message: &[u8],
) {
    if message.is_empty() {
        return;
    }
    w.stats.answer(message);
    if serve.log_replies {
        let to = serve.log_destaddr.then(|| Destination { addr: route.destination(), tcp: route.is_tcp() });
        let line = lines::reply(client, q, us, cached, message, to.as_ref());
        w.log.line(tag(serve, Level::Reply), w.id, &line);
    }
}

fn tag(serve: &Serve, level: Level) -> Level {
    if serve.log_tag_queryreply { level } else { Level::Info }
}

/// A client that access control refuses: before parsing (`refuse`), or because no local data answered
/// (`refuse_non_local`, then with its question for the log).
fn refused_client(w: &Worker, serve: &Serve, p: &Packet<'_>, q: Option<&Query>, out: &mut [u8]) -> Outcome {
    w.stats.unwanted_queries.add(1);
    let len = wire::query::refuse(p.bytes, serve.ede, serve.edns_buffer_size, out);
    sent(w, serve, p.route, p.peer.ip(), q, 0, true, out.get(..len).unwrap_or_default());
    sized(len)
}

/// What is not a query. As in Unbound, what fails by its header alone is neither counted nor logged, what has a question
/// is both; of transfers and meta types the type is counted, of a NOTIFY everything, of bad EDNS nothing more.
fn rejected(w: &Worker, serve: &Serve, p: &Packet<'_>, reject: &Reject, out: &mut [u8]) -> Outcome {
    let len = wire::query::reject_with(p.bytes, reject, serve.edns_buffer_size, out);
    if !counted(p.bytes) {
        return sized(len);
    }
    w.stats.queries.add(1);
    let query = rejected_query(p.bytes, reject);
    if let Some(q) = &query {
        match *reject {
            Reject::Reflect { .. } => w.stats.question(q.qtype),
            Reject::Reply { rcode: Rcode::REFUSED, .. } => {
                w.stats.question(q.qtype);
                w.stats.query(q, p.route.is_tcp(), p.peer.is_ipv6());
            }
            _ => {}
        }
        if serve.log_queries {
            w.log.line(tag(serve, Level::Query), w.id, &lines::query(p.peer.ip(), q));
        }
    }
    sent(w, serve, p.route, p.peer.ip(), query.as_ref(), 0, true, out.get(..len).unwrap_or_default());
    sized(len)
}

/// As much of a query as a rejected packet has, for counters and log lines.
fn rejected_query(bytes: &[u8], reject: &Reject) -> Option<Query> {
    let (&[i0, i1, f0, f1], _) = bytes.split_first_chunk::<4>()?;
    let (qname, rest) = NameRef::split_from(bytes.get(HEADER..)?).ok()?;
    let (&[t0, t1, c0, c1], _) = rest.split_first_chunk::<4>()?;
    let edns = match *reject {
        Reject::Reply { edns: true, do_bit, .. } => Some(EdnsQuery { do_bit, ..EdnsQuery::default() }),
        _ => None,
    };
    Some(Query {
        id: u16::from_be_bytes([i0, i1]),
        flags: u16::from_be_bytes([f0, f1]),
        qname: qname.to_buf(),
        qtype: Rtype(u16::from_be_bytes([t0, t1])),
        qclass: Class(u16::from_be_bytes([c0, c1])),
        edns,
    })
}

/// Whether the header is that of a query with one question, which Unbound counts whatever is wrong behind it.
fn counted(bytes: &[u8]) -> bool {
    let Some(&[_, _, high, _, q0, q1, a0, a1, n0, n1, r0, r1]) = bytes.first_chunk::<HEADER>() else { return false };
    let notify = match high >> 3 & 0x0f {
        0 => false,
        4 => true,
        _ => return false,
    };
    let one = |high, low| high == 0 && low <= 1;
    let answers = if notify { one(a0, a1) } else { [a0, a1] == [0, 0] };
    high & 0x82 == 0 && [q0, q1] == [0, 1] && answers && [n0, n1] == [0, 0] && one(r0, r1)
}

fn refusal(ede: u16) -> Answer {
    Answer { ede: Some(Ede { code: ede, text: "".into() }), ..Answer::new(Rcode::REFUSED) }
}

/// Octets of the largest UDP answer to this client.
fn udp_limit(serve: &Serve, p: &Packet<'_>, q: &Query) -> usize {
    let offered = match &q.edns {
        None => CLASSIC_UDP,
        Some(edns) if serve.harden_short_bufsize => usize::from(edns.udp_size),
        // The parsed size is never below 512; without hardening the client gets what it wrote, as far as a question and
        // an OPT record fit.
        Some(edns) => {
            let least = HEADER + q.qname.as_ref().len() + 4 + 11;
            let opt = p.bytes.get(HEADER + q.qname.as_ref().len() + 4..);
            match opt.and_then(|opt| opt.first_chunk::<5>()) {
                Some(&[0, _, _, s0, s1]) => usize::from(u16::from_be_bytes([s0, s1])).max(least),
                _ => usize::from(edns.udp_size),
            }
        }
    };
    offered.min(usize::from(serve.max_udp_size))
}

/// Judges the query's cookie and makes the one for the reply. True if the address is proven.
fn cookies(w: &Worker, serve: &Serve, client: IpAddr, ask: &mut Asked) -> bool {
    let Some(theirs) = ask.q.edns.and_then(|edns| edns.cookie) else { return false };
    let (true, Some(secret)) = (serve.answer_cookie, serve.cookie_secrets.first()) else { return false };
    let now = w.unix_s.get();
    let state = cookie::verify(&serve.cookie_secrets, &theirs, client, now);
    let counter = match state {
        CookieState::Valid { .. } => &w.stats.cookie_valid,
        CookieState::ClientOnly => &w.stats.cookie_client,
        CookieState::Invalid => &w.stats.cookie_invalid,
        CookieState::None => return false,
    };
    counter.add(1);
    let same = match (state, theirs.server().first_chunk::<16>()) {
        (CookieState::Valid { renew: false }, Some(server)) => {
            let mut whole = [0; 24];
            for (to, from) in whole.iter_mut().zip(theirs.client.iter().chain(server)) {
                *to = *from;
            }
            Some(whole)
        }
        _ => None,
    };
    ask.cookie = Some(same.unwrap_or_else(|| cookie::make(secret, theirs.client, client, now)));
    matches!(state, CookieState::Valid { .. })
}

/// `allow_cookie` over UDP without a valid cookie: who sent one gets BADCOOKIE and a good one to retry with; who sent
/// none gets REFUSED with TC, which may bring it over TCP.
fn without_cookie(w: &Worker, serve: &Serve, p: &Packet<'_>, ask: &Asked, out: &mut [u8]) -> Outcome {
    if ask.cookie.is_some() {
        return replied(w, serve, p, ask, &Answer::new(Rcode::BADCOOKIE), 0, true, out);
    }
    let outcome = replied(w, serve, p, ask, &Answer::new(Rcode::REFUSED), 0, true, out);
    if let (Outcome::Reply(_), Some(high)) = (&outcome, out.get_mut(2)) {
        *high |= (flag::TC >> 8) as u8;
    }
    outcome
}

/// The CNAME of a redirect zone before what its target resolves to, which is `age` seconds old. The whole is ours: AA.
fn aliased(alias: &[Rrset], found: &Answer, age: u32) -> Answer {
    let mut answer = found.clone();
    for section in [&mut answer.answer, &mut answer.authority, &mut answer.additional] {
        for rrset in section {
            rrset.ttl = rrset.ttl.saturating_sub(age);
        }
    }
    answer.answer.splice(0..0, alias.iter().cloned());
    answer.aa = true;
    answer.ad = false;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::{ListenSpec, SocketOptions, open};
    use crate::pool::Pool;
    use std::net::UdpSocket;
    use std::sync::Arc;

    /// The hook of the tests below: a label that panics.
    pub(super) fn maybe_panic(q: &Query, at: &[u8]) {
        assert!(!q.qname.as_ref().labels().any(|label| label == at), "asked to");
    }

    #[test]
    fn a_panic_is_one_servfail_and_the_worker_goes_on() {
        let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut forwards = resolve::Forwards::builder();
        forwards.zone(resolve::ForwardZone {
            name: Name::from_text("fwd.example.").unwrap(),
            servers: vec![resolve::Server { addr: upstream.local_addr().unwrap(), tls_name: None }],
            tcp_only: false,
            no_cache: false,
            first: false,
        });
        let spec = ListenSpec { addr: "127.0.0.1:0".parse().unwrap(), options: SocketOptions::default() };
        let sets = open(&spec, 1).unwrap();
        let addr = sets[0].addr;
        let snapshot = Arc::new(Snapshot {
            revision: 1,
            policy: Arc::default(),
            forwards: Arc::new(forwards.build()),
            serve: Arc::default(),
        });
        let log = Arc::new(sys::log::Logger::open(sys::log::Options::default()).unwrap());
        let pool = Pool::start(
            1,
            snapshot,
            Arc::new(store::Store::new(store::Sizes { messages: 0, rrsets: 0 })),
            log,
            vec![sets],
        )
        .unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let send = |name: &str| {
            let mut packet = [0; 512];
            let name = Name::from_text(name).unwrap();
            let (qtype, qclass) = (wire::Rtype::A, wire::Class::IN);
            let n = wire::question(&mut packet, 7, flag::RD, name.as_ref(), qtype, qclass, None);
            client.send_to(&packet[..n], addr).unwrap();
        };
        let recv = || {
            let mut reply = [0; 512];
            let n = client.recv(&mut reply).unwrap();
            assert!(n >= HEADER && reply[..2] == [0, 7]);
            reply[3] & 0x0f
        };
        let ask = |name: &str| {
            send(name);
            recv()
        };
        assert_eq!(ask("panic-here.example."), 2);
        assert_eq!(ask("panic-here.example."), 2);
        assert_eq!(pool.stats()["total.num.panics"], 2);
        assert_eq!(ask("nowhere.example."), 2); // no forward zone: SERVFAIL, but not by a panic
        assert_eq!(pool.stats()["total.num.panics"], 2);
        assert_eq!(ask("panic-late.example."), 2);
        assert_eq!(pool.stats()["total.num.panics"], 3);

        // After a panic inside the mesh all who wait get SERVFAIL, once, and new questions are resolved.
        let mut packet = [0; 512];
        send("waits.fwd.example.");
        upstream.recv_from(&mut packet).unwrap();
        assert_eq!(ask("panic-asking.fwd.example."), 2);
        assert_eq!(recv(), 2);
        send("other.fwd.example.");
        let (_, from) = upstream.recv_from(&mut packet).unwrap();
        crate::worker::tests::PANIC.store(true, std::sync::atomic::Ordering::Relaxed);
        upstream.send_to(&packet[..40], from).unwrap();
        assert_eq!(recv(), 2);
        send("www.fwd.example.");
        let (n, from) = upstream.recv_from(&mut packet).unwrap();
        packet[2] |= 0x80;
        packet[3] = 3;
        upstream.send_to(&packet[..n], from).unwrap();
        assert_eq!(recv(), 3);
        assert_eq!(pool.stats()["total.num.panics"], 5);
        let begin = std::time::Instant::now();
        pool.drain(std::time::Duration::from_secs(20)).unwrap();
        assert!(begin.elapsed() < std::time::Duration::from_secs(10), "nobody is left waiting");
    }

    #[test]
    fn only_queries_with_a_question_count() {
        let header = |flags: u8, counts: [u8; 4]| {
            let [q, a, n, r] = counts;
            [0, 1, flags, 0, 0, q, 0, a, 0, n, 0, r]
        };
        assert!(counted(&header(1, [1, 0, 0, 1])));
        assert!(counted(&header(0x20, [1, 1, 0, 1])));
        for (flags, counts) in [
            (0x80, [1, 0, 0, 0]),
            (0x02, [1, 0, 0, 0]),
            (0x28, [1, 0, 0, 0]),
            (0, [0, 0, 0, 0]),
            (0, [1, 1, 0, 0]),
            (0, [1, 0, 0, 2]),
        ] {
            assert!(!counted(&header(flags, counts)), "{flags} {counts:?}");
        }
    }
}
