//! The path of a query, from its octets to the octets of the answer.
//!
//! THE TEN STEPS, in the order of this file. 1: `udp` or `stream` hands over a packet. 2: access control, by source,
//! before anything is read. 3: the question, EDNS, cookies. 4: the worker's own first level, replies rendered a moment ago.
//! 5: the rules of policy. 6: the cache. 7: the mesh, where the client waits. 8: (validation: it comes inside `resolve`, and what it found stands
//! beside each answer in the cache.) 9:
//! the answer is rendered. 10: `udp` or `stream` sends it; counters and log lines are written here.
//!
//! Owns the order of the rooms and what belongs to none of them: which clients without RD are served, what is kept in the
//! first level, when the cache is not asked. (`reply` has steps 9 and 10, `refuse` what ends in step 2 or 3.) It never
//! reads a clock (the batch's time counts), never waits, and never panics the worker.

use crate::lines;
use crate::pending::{Route, Waiting};
use crate::refuse::{refusal, refused_client, rejected, without_cookie};
use crate::reply::{
    Asked, Lasts, Leaving, aliased, broken, by_mesh, cookies, dropped, render, replied, sent, sized, tag, udp_limit,
};
use crate::snapshot::Snapshot;
use crate::tape::{Action, Mark};
use crate::worker::Worker;
use policy::{AclAction, Verdict};
use resolve::{ClientId, Fit, Millis, Question, refused_answer, servable, stale_answer};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::{Found, Security};
use sys::log::Level;
use wire::types::flag;
use wire::{Answer, Class, Ede, Name, NameRef, Query, Rcode, Rrset, Rtype};

/// Octets of the largest UDP answer to a client without EDNS (RFC 1035 4.2.1); also what `harden-large-queries` lets in.
pub(crate) const CLASSIC_UDP: usize = 512;
/// Octets of a message header.
pub(crate) const HEADER: usize = 12;

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
        // It may have been the reading that panicked.
        let sorry = AssertUnwindSafe(|| Query::parse(p.bytes).map_or(0, |q| broken(&snapshot.serve, &q, &mut *out)));
        sized(catch_unwind(sorry).unwrap_or(0))
    })
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
            return dropped(w, serve, p, None);
        }
        AclAction::Refuse => return refused_client(w, serve, p, None, out),
        _ => {}
    }
    if serve.harden_large_queries && p.bytes.len() > CLASSIC_UDP {
        return dropped(w, serve, p, None);
    }

    // 3. Header, question, OPT.
    let mut q = match Query::parse(p.bytes) {
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
    if !serve.limits.edns_do && q.do_bit() {
        q.edns = None; // there are no signatures to be had; as in Unbound nothing is said of EDNS either
    }
    let mut ask = Asked { q, limit: udp_limit(serve, p, &q), tcp, cookie: None };
    if serve.answer_cookie && q.edns.is_some_and(|edns| edns.bad_cookie) {
        let rejected = Lasts::no(Mark::of(Action::Rejected));
        return replied(w, serve, p, &ask, &Answer::new(Rcode::FORMERR), rejected, out); // RFC 7873 5.2.2
    }
    let proven = cookies(w, serve, client, &mut ask);
    if action == AclAction::AllowCookie && !tcp && !proven {
        return without_cookie(w, serve, p, &ask, out);
    }

    // 4. The first level. What rules a client has is its action; a view of the client will belong here too.
    let now_s = w.cache_ms() / 1_000;
    let key = ask.shape(serve, action as u8).map(|shape| w.answers.borrow().ask(q.qname.as_ref(), shape));
    if let Some(key) = &key {
        let mut answers = w.answers.borrow_mut();
        answers.current(w.applied.get(), w.store.epoch());
        if let Some((len, mark)) = answers.get(key, q.id, w.rotation(serve, q.id), now_s, out) {
            w.stats.first_level_hits.add(1);
            let mark = Mark::from_octet(mark);
            w.stats.secure.add(u64::from(mark.security() == Some(Security::Secure)));
            let leaving = Leaving { q: Some(&ask.q), us: None, cached: true, mark };
            sent(w, serve, p.route, client, &leaving, out.get(..len).unwrap_or_default());
            return Outcome::Reply(len);
        }
    }

    // 5. The rules.
    let decision = policy.decide(&q, client);
    let logged = decision.log.as_ref().filter(|hit| hit.always || serve.log_local_actions);
    if let Some(hit) = logged {
        w.log.line(Level::Info, w.id, &lines::local_action(hit.zone, hit.kind, p.peer, &q));
    }
    let key = key.as_ref().filter(|_| logged.is_none()); // a hit would not write the line
    if !decision.local {
        match action {
            AclAction::DenyNonLocal => {
                w.stats.unwanted_queries.add(1);
                return dropped(w, serve, p, Some(&q));
            }
            AclAction::RefuseNonLocal => return refused_client(w, serve, p, Some(&q), out),
            AclAction::AllowSetrd => ask.q.flags |= flag::RD,
            _ => {}
        }
        if !ask.q.rd() && action != AclAction::AllowSnoop {
            // Who may not recurse may not look into the cache either: it tells what others asked.
            let refused = Lasts::no(Mark::of(Action::Refused));
            return replied(w, serve, p, &ask, &refusal(Ede::NOT_AUTHORITATIVE), refused, out);
        }
    }
    let (alias, target) = match decision.verdict {
        Verdict::Answer(answer) if decision.local => {
            let mark = Mark::of(if decision.block.is_some() { Action::Blocked } else { Action::Local });
            return replied(w, serve, p, &ask, &answer, Lasts::unchanged(key, mark), out);
        }
        Verdict::Answer(answer) => {
            by_mesh(w);
            let refused = Lasts::no(Mark::of(Action::Refused)).by_mesh();
            return replied(w, serve, p, &ask, &answer, refused, out);
        }
        Verdict::Drop => return dropped(w, serve, p, Some(&q)),
        Verdict::Alias { answer, target } => (answer, Some(target)),
        Verdict::Pass => (Vec::new(), None),
    };
    let name = target.as_ref().map_or(q.qname.as_ref(), |target| target.as_ref());

    // 6. The cache.
    let now = w.cache_ms();
    let limits = &serve.limits;
    let stale = match known(w, snapshot, name, q.qtype, q.qclass, cd(snapshot, &q), now) {
        Known::Maybe(stale) => stale,
        Known::Answer(found) => {
            w.stats.proven(found.security, found.answer.rcode);
            let mark = Mark::judged(
                match (decision.block.is_some(), found.stale) {
                    (true, _) => Action::Blocked,
                    (false, true) => Action::Stale,
                    (false, false) => Action::Cached,
                },
                found.security,
            );
            if !found.paused && (found.stale || (found.prefetch && limits.prefetch)) {
                refresh(w, snapshot, p, &ask, name.lower().to_name());
            }
            let forwarded = || snapshot.forwards.find(name, q.qtype).is_some();
            if !ask.q.rd() && found.answer.rcode != Rcode::SERVFAIL && forwarded() {
                ask.q.flags |= flag::RD; // Unbound answers with the flags it remembers: a forwarder's reply had RD
            }
            if found.stale {
                w.stats.expired.add(1);
                let answer = aliased(&alias, stale_answer(&found, limits));
                return replied(w, serve, p, &ask, &answer, Lasts::no(mark), out);
            }
            if !alias.is_empty() {
                return replied(w, serve, p, &ask, &aliased(&alias, found.answer), Lasts::no(mark), out);
            }
            if q.qtype == Rtype::ANY && !found.answer.answer.is_empty() {
                by_mesh(w);
                return replied(w, serve, p, &ask, &found.answer, Lasts::no(mark).by_mesh(), out);
            }
            let lasts = Lasts::counted(key, &found, mark, limits.prefetch);
            return replied(w, serve, p, &ask, &found.answer, lasts, out);
        }
    };

    // 7. The mesh. The client waits; what is stale may be all it gets.
    let alias = (alias, decision.block.is_some());
    wait(w, snapshot, p, &ask, alias, name.lower().to_name(), proven, stale)
}

/// What the cache says.
pub(crate) enum Known {
    /// This is to be answered.
    Answer(Found),
    /// Something better is to be looked for; this, if there is anything, is there meanwhile, its time over.
    Maybe(Option<Found>),
}

/// Step 6 for a question. Zones that keep nothing (`forward-no-cache`) are not answered from what was kept either. What is
/// bogus is told as SERVFAIL, and what nobody checked is none, unless the client has said that it does not care (CD). An
/// answer after its time is given at once if it is not to be waited for (`serve-expired-client-timeout: 0`), or if the
/// servers failed a moment ago.
pub(crate) fn known(
    w: &Worker,
    snapshot: &Snapshot,
    name: NameRef<'_>,
    qtype: Rtype,
    qclass: Class,
    cd: bool,
    now: Millis,
) -> Known {
    let limits = &snapshot.serve.limits;
    if w.some_keep_nothing.get() && snapshot.forwards.find(name, qtype).is_some_and(|zone| zone.no_cache) {
        return Known::Maybe(None);
    }
    let stale = limits.serve_expired.then_some(limits.serve_expired_ttl_s);
    let forwards = &snapshot.forwards;
    let mut found = w.store.get(name, qtype, qclass, forwards.key_cd(cd), now, stale);
    let trust = forwards.trust().map(|trust| &**trust);
    match found.as_ref().map(|found| Fit::of(found, trust, cd)) {
        Some(Fit::Unproven) => return Known::Maybe(None),
        // Stale ones are none: `servable`.
        Some(Fit::Bogus) => {
            if let Some(found) = &mut found {
                found.answer = refused_answer(&found.answer);
            }
        }
        _ => {}
    }
    match found {
        Some(found) if !found.stale => Known::Answer(found),
        Some(found) if !servable(&found, trust, cd) => Known::Maybe(None),
        Some(found) if found.paused || limits.serve_expired_client_timeout_ms == 0 => Known::Answer(found),
        other => Known::Maybe(other),
    }
}

/// Has an answer that was served looked for again, for the next who asks.
fn refresh(w: &Worker, snapshot: &Snapshot, p: &Packet<'_>, ask: &Asked, name: Name) {
    w.stats.prefetch.add(1);
    let question = question(snapshot, ask, name);
    w.with_mesh(|mesh| {
        w.stats.list(mesh.queries() as u64);
        mesh.prefetch(p.received_us / 1_000, &snapshot.forwards, question);
    });
}

/// Whether the client takes what fails validation, and may (`ignore-cd-flag`).
fn cd(snapshot: &Snapshot, q: &Query) -> bool {
    q.cd() && !snapshot.forwards.trust().is_some_and(|trust| trust.ignore_cd)
}

/// What the mesh is asked.
fn question(snapshot: &Snapshot, ask: &Asked, name: Name) -> Question {
    let (qtype, qclass) = (ask.q.qtype, ask.q.qclass);
    Question { name, qtype, qclass, cd: cd(snapshot, &ask.q), rd: ask.q.rd(), patient: ask.tcp }
}

#[expect(clippy::too_many_arguments, reason = "all a client leaves behind while it waits")]
fn wait(
    w: &Worker,
    snapshot: &Snapshot,
    p: &Packet<'_>,
    ask: &Asked,
    (alias, blocked): (Vec<Rrset>, bool),
    target: Name,
    proven: bool,
    stale: Option<Found>,
) -> Outcome {
    let serve = &*snapshot.serve;
    w.stats.cache_misses.add(1);
    let mut pending = w.pending.borrow_mut();
    let limit = if proven { serve.wait_limit_cookie } else { serve.wait_limit };
    if serve.wait_limit > 0 && pending.waiting_for(p.peer.ip()) >= limit {
        w.stats.wait_limit.add(1);
        return dropped(w, serve, p, Some(&ask.q));
    }
    if !pending.has_room() {
        w.stats.list_exceeded.add(1);
        return dropped(w, serve, p, Some(&ask.q));
    }
    let id = pending.insert(Waiting {
        query: ask.q,
        peer: p.peer,
        route: p.route.clone(),
        received_us: p.received_us,
        limit: ask.limit,
        cookie: ask.cookie,
        alias,
        blocked,
    });
    drop(pending);
    let question = question(snapshot, ask, target);
    w.with_mesh(|mesh| {
        #[cfg(test)]
        tests::maybe_panic(&ask.q, b"panic-asking");
        w.stats.list(mesh.queries() as u64); // before it comes to it, as Unbound counts
        mesh.query(p.received_us / 1_000, &snapshot.forwards, question, ClientId(id), stale);
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
    mark: Mark,
    now_us: u64,
    out: &mut [u8],
) -> usize {
    let last_steps = AssertUnwindSafe(|| last_steps(w, snapshot, waiting, answer, mark, now_us, &mut *out));
    catch_unwind(last_steps).unwrap_or_else(|_| {
        w.panicked();
        broken(&snapshot.serve, &waiting.query, out)
    })
}

fn last_steps(
    w: &Worker,
    snapshot: &Snapshot,
    waiting: &Waiting,
    answer: &Answer,
    mark: Mark,
    now_us: u64,
    out: &mut [u8],
) -> usize {
    #[cfg(test)]
    tests::maybe_panic(&waiting.query, b"panic-late");
    let serve = &*snapshot.serve;
    let us = now_us.saturating_sub(waiting.received_us);
    let tcp = waiting.route.is_tcp();
    if !tcp && serve.discard_timeout_ms > 0 && us >= u64::from(serve.discard_timeout_ms) * 1_000 {
        // Unbound discards such answers, for an attacker who makes upstreams slow could have many leave in one burst
        // (CVE-2024-33655). Here the mesh tells each client at its own time, so none gather; they are counted alike.
        w.stats.discard_timeout.add(1);
    }
    let ask = Asked { q: waiting.query, limit: waiting.limit, tcp, cookie: waiting.cookie };
    let len = if waiting.alias.is_empty() {
        render(w, serve, &waiting.route, &ask, answer, out)
    } else {
        render(w, serve, &waiting.route, &ask, &aliased(&waiting.alias, answer.clone()), out)
    };
    w.stats.resolved(us);
    let leaving = Leaving { q: Some(&waiting.query), us: Some(us), cached: false, mark };
    sent(w, serve, &waiting.route, waiting.peer.ip(), &leaving, out.get(..len).unwrap_or_default());
    len
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
        let store = Arc::new(store::Store::new(store::Sizes { messages: 0, rrsets: 0 }));
        let pool = Pool::start(1, snapshot, store, log, vec![sets]).unwrap();
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
}
