//! Steps 9 and 10 of the pipeline: an answer becomes octets, and is counted and logged as it leaves.
//!
//! Owns what a reply depends on beside the answer: the client's size, cookies, the options of EDNS, the order of records,
//! and the first level's key, which is made of just that. It decides no answer.

use crate::lines::{self, Destination};
use crate::pending::Route;
use crate::pipeline::{CLASSIC_UDP, HEADER, Outcome, Packet};
use crate::snapshot::Serve;
use crate::stream;
use crate::tape::{Action, Mark, Note};
use crate::worker::{MAX_MESSAGE, Worker};
use std::net::IpAddr;
use store::Found;
use store::answers::{Ask, Life, MAX_LIFE_S, Shape};
use sys::log::Level;
use wire::{Answer, CookieState, Ede, EdnsOut, Query, Rcode, Render, Rrset, cookie};

/// A query on its way through the steps.
pub(crate) struct Asked {
    pub(crate) q: Query,
    pub(crate) limit: usize,
    pub(crate) tcp: bool,
    pub(crate) cookie: Option<[u8; 24]>,
}

/// Octets of the largest UDP answer to this client.
pub(crate) fn udp_limit(serve: &Serve, p: &Packet<'_>, q: &Query) -> usize {
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
pub(crate) fn cookies(w: &Worker, serve: &Serve, client: IpAddr, ask: &mut Asked) -> bool {
    let Some(theirs) = ask.q.edns.and_then(|edns| edns.cookie) else { return false };
    let (true, Some(secret)) = (serve.answer_cookie, serve.cookie_secrets.first()) else { return false };
    let now = w.unix_s();
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

pub(crate) fn sized(len: usize) -> Outcome {
    if len == 0 { Outcome::Nothing } else { Outcome::Reply(len) }
}

/// Steps 9 and 10 for an answer that is there at once.
pub(crate) fn replied(
    w: &Worker,
    serve: &Serve,
    p: &Packet<'_>,
    ask: &Asked,
    answer: &Answer,
    lasts: Lasts<'_>,
    out: &mut [u8],
) -> Outcome {
    let len = render(w, serve, p.route, ask, answer, out);
    let message = out.get(..len).unwrap_or_default();
    if let Some((key, life_s, counts_down)) = lasts.keep {
        let now_s = w.cache_ms() / 1_000;
        let rotate = w.rotation(serve, ask.q.id);
        let life = Life { now_s, life_s, counts_down, rotate, mark: lasts.mark.octet() };
        let mut answers = w.answers.borrow_mut();
        answers.put(key, message, &life);
        w.stats.first_level_entries.set(answers.usage().entries);
    }
    let leaving = Leaving { q: Some(&ask.q), us: None, cached: lasts.cached, mark: lasts.mark };
    sent(w, serve, p.route, p.peer.ip(), &leaving, message);
    sized(len)
}

pub(crate) fn render(w: &Worker, serve: &Serve, route: &Route, ask: &Asked, answer: &Answer, out: &mut [u8]) -> usize {
    let answer = if withheld(w, &ask.q, answer) { &Answer::new(Rcode::SERVFAIL) } else { answer };
    let answer =
        if hides_no_name(&ask.q, answer) { &Answer { rcode: Rcode::NXDOMAIN, ..answer.clone() } } else { answer };
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
        rotate: w.rotation(serve, ask.q.id),
        age: 0,
        ra: true,
        edns,
    };
    wire::render(&ask.q, answer, &how, out)
}

/// Whether it is proven by a compact denial that the name does not exist, and the client cannot see it: who does not ask for
/// the proof (DO) gets the code that the proof stands for (RFC 9824 5).
fn hides_no_name(q: &Query, answer: &Answer) -> bool {
    let proven = answer.ad && answer.rcode == Rcode::NOERROR && !q.do_bit();
    proven && answer.authority.iter().any(resolve::says_no_name)
}

/// Whether a proven answer is to be withheld, for what it would say of the root's keys is not so (RFC 8509 3.1).
fn withheld(w: &Worker, q: &Query, answer: &Answer) -> bool {
    const SHORTEST: usize = "root-key-sentinel-is-ta-00000".len();
    let long = || q.qname.as_ref().labels().next().is_some_and(|label| label.len() >= SHORTEST);
    let asks = answer.ad && !q.cd() && long();
    asks && w.snapshot().forwards.trust().is_some_and(|trust| trust.withholds(q.qname.as_ref(), q.qtype))
}

/// What counters and logs say of an answer, beside its octets.
pub(crate) struct Leaving<'a> {
    pub(crate) q: Option<&'a Query>,
    /// Microseconds the client waited, if it did.
    pub(crate) us: Option<u64>,
    /// It needed no resolving, as Unbound sees it.
    pub(crate) cached: bool,
    pub(crate) mark: Mark,
}

/// Counts and logs an answer that is about to leave.
#[inline]
pub(crate) fn sent(w: &Worker, serve: &Serve, route: &Route, client: IpAddr, leaving: &Leaving<'_>, message: &[u8]) {
    if message.is_empty() {
        return;
    }
    w.stats.answer(message);
    if leaving.mark.action() == Action::Blocked {
        w.stats.blocked.add(1);
    }
    if serve.log_replies {
        let to = serve.log_destaddr.then(|| Destination { addr: route.destination(), tcp: route.is_tcp() });
        let us = leaving.us.unwrap_or(0);
        let line = lines::reply(client, leaving.q, us, leaving.cached, message, to.as_ref());
        w.log.line(tag(serve, Level::Reply), w.id, &line);
    }
    note(w, serve, route, client, leaving, message);
}

/// A query that gets no answer, for the query log.
pub(crate) fn dropped(w: &Worker, serve: &Serve, p: &Packet<'_>, q: Option<&Query>) -> Outcome {
    let leaving = Leaving { q, us: None, cached: true, mark: Mark::of(Action::Dropped) };
    note(w, serve, p.route, p.peer.ip(), &leaving, &[]);
    Outcome::Nothing
}

fn note(w: &Worker, serve: &Serve, route: &Route, client: IpAddr, leaving: &Leaving<'_>, message: &[u8]) {
    let Some(clients) = serve.query_log else { return };
    let note = Note {
        unix_us: w.at.get().unix_us,
        latency_us: leaving.us,
        client,
        tcp: route.is_tcp(),
        q: leaving.q,
        mark: leaving.mark,
        message,
    };
    w.tape.borrow_mut().write(clients, &note);
}

pub(crate) fn tag(serve: &Serve, level: Level) -> Level {
    if serve.log_tag_queryreply { level } else { Level::Info }
}

/// Counts an answer that is there at once but that Unbound's mesh gives: records to ANY from what is remembered, and to
/// classes that are not resolved. In its statistics and logs these are no cache hits.
pub(crate) fn by_mesh(w: &Worker) {
    w.stats.cache_misses.add(1);
    w.stats.list(w.stats.list_current.get());
    w.stats.resolved(0);
}

/// The CNAME of a redirect zone before what its target resolves to. The whole is ours: AA. Without one, what was found.
pub(crate) fn aliased(alias: &[Rrset], mut answer: Answer) -> Answer {
    if !alias.is_empty() {
        answer.answer.splice(0..0, alias.iter().cloned());
        answer.aa = true;
        answer.ad = false;
    }
    answer
}

/// SERVFAIL for a query on which this program failed; returns its octets.
pub(crate) fn broken(serve: &Serve, q: &Query, out: &mut [u8]) -> usize {
    let edns = q.edns.map(|_| EdnsOut { udp_size: serve.edns_buffer_size, ede: serve.ede, ..EdnsOut::default() });
    let how = Render { max_size: CLASSIC_UDP, minimal: true, rotate: None, age: 0, ra: true, edns };
    wire::render(q, &internal_error(), &how, out)
}

/// The answer when a defect of ours is why there is none.
pub(crate) fn internal_error() -> Answer {
    Answer { ede: Some(Ede::new(Ede::OTHER, "internal error; it is in the log")), ..Answer::new(Rcode::SERVFAIL) }
}

/// How long a reply lasts: whether it came without resolving, and whether the first level may keep it.
pub(crate) struct Lasts<'a> {
    cached: bool,
    /// What the query log says of it.
    mark: Mark,
    /// Under which key, for how many seconds, and whether its TTLs count down.
    keep: Option<(&'a Ask<'a>, u32, bool)>,
}

impl<'a> Lasts<'a> {
    /// For this query alone.
    pub(crate) fn no(mark: Mark) -> Lasts<'a> {
        Lasts { cached: true, mark, keep: None }
    }

    /// In statistics and logs this is no cache hit; see [`by_mesh`].
    pub(crate) fn by_mesh(self) -> Lasts<'a> {
        Lasts { cached: false, ..self }
    }

    /// As long as the snapshot: what policy says.
    pub(crate) fn unchanged(key: Option<&'a Ask<'a>>, mark: Mark) -> Lasts<'a> {
        Lasts { cached: true, mark, keep: key.map(|key| (key, MAX_LIFE_S, false)) }
    }

    /// As long as what was found is fresh and, with `prefetch`, need not be asked for again. Failures may give way to
    /// something better any moment.
    pub(crate) fn counted(key: Option<&'a Ask<'a>>, found: &Found, mark: Mark, prefetch: bool) -> Lasts<'a> {
        let sure = matches!(found.answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
        let life = if prefetch { found.left.min(found.prefetch_in) } else { found.left };
        Lasts { cached: true, mark, keep: key.filter(|_| sure).map(|key| (key, life, true)) }
    }
}

impl Asked {
    /// What the reply depends on beside the name; `None` if on more than that, as where an option asks for something of
    /// this client's own.
    pub(crate) fn shape(&self, serve: &Serve, class: u8) -> Option<Shape> {
        let own = self.q.edns.is_some_and(|edns| {
            self.cookie.is_some()
                || (edns.nsid && serve.nsid.is_some())
                || (edns.keepalive && serve.edns_tcp_keepalive && self.tcp)
        });
        let size = if self.tcp { MAX_MESSAGE } else { self.limit };
        (!own).then_some(Shape {
            qtype: self.q.qtype,
            qclass: self.q.qclass,
            flags: self.q.flags,
            edns: self.q.edns.map(|edns| edns.do_bit),
            size: u16::try_from(size).ok()?,
            class,
        })
    }
}

impl Worker {
    /// Which record of a set comes first under `rrset-roundrobin`: Unbound's sum, seen by asking it. The same id gets the
    /// next order each second.
    pub(crate) fn rotation(&self, serve: &Serve, id: u16) -> Option<u32> {
        serve.rrset_roundrobin.then(|| self.unix_s().wrapping_add(u32::from(id)))
    }
}
