//! The questions in progress, and the machine that each of them is.
//!
//! ```text
//!                    no zone, no servers, RD=0
//!  query ─▶ SEEK ──────────────────────────────────────────────────────────────────────▶ FAIL ◀─┐
//!    │       │ ▲  │ target already in the store ───────────────────────────▶ ANSWER       ▲     │
//!    │ same  │ └──┼────────────────────────────────────┐                       ▲          │     │
//!    │ as    ▼    ▼                                    │ link                  │ records  │ none left, down,
//!    │ one   ASK: choose a server ─▶ Send, or Resend ─▶ WAIT ──────────────────┴──────────┘ or time is up
//!    ▼        ▲    where it has the question already   │ │                                        │
//!   JOIN      │                                        │ ├─ TC, wrong ids: again over TCP         │
//!             └──── nobody who was asked is in time ◀──┤ ├─ FORMERR, NOTIMP: again, no EDNS       │
//!                                                      │ ├─ slower than usual: ask another as well
//!                   forward-first: the zone above ◀────┘ └─ client deadline, stale timer: clients are told,
//!                                                             the question goes on without them
//! ```
//!
//! WAIT has up to [`MAX_FLIGHTS`] exchanges open. One that was silent for as long as its server usually takes is no longer
//! waited for, and the next server is asked; but it stays open, and a late reply ends the search as well as one in time.
//!
//! It owns the states, the joining of identical questions, the timers, and who gives way when all places are taken. What
//! a state does next is in `ask`, what a reply means in `hear`, who is told what in `serve`, what is asked only to measure
//! in `probe`. It never judges records (`scrub`) or servers (`select`).
//!
//! Three promises hold whatever events come in whatever order, provided that the driver calls [`Mesh::wake`] when
//! [`Mesh::next_wake`] says so:
//!
//! 1. **Each client gets exactly one answer**, and none later than the client deadline, or [`PATIENT_DEADLINE`] if it holds on.
//! 2. **Packets are bounded**: at most `max-sent-count` for each name of a chain, retransmissions and hedges included, on at
//!    most [`MAX_FLIGHTS`] sockets at once, and at most one probe beside.
//! 3. **Time is bounded**: a state ends [`QUERY_TIME`] after it began; time in which the machine itself stood still does
//!    not count.

mod ask;
mod descend;
mod hear;
mod probe;
mod prove;
mod serve;
mod state;
mod steps;
mod wait;
mod words;

use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use store::{Found, Key, Millis, Store};
use wire::{Answer, Class, Name, Rcode, Rtype};

use crate::forward::Forwards;
use crate::keycache::KeyCache;
use crate::lame::Lame;
use crate::limits::{CLIENTS_PER_QUERY, HEDGE_BURST, LATE_WAKE, Limits, QUERY_TIME};
use crate::memory::{Memory, servable};
use crate::select::{ServerView, Servers};
use crate::trace::{Step, Trace};
use crate::why::{Failure, Fault};
use probe::Probe;
use prove::Doubt;
use state::{State, Waiter};
use wait::{Birth, Kin, News, Work};
pub use words::{ClientId, Counts, Effect, Question, SendId, Transport};

#[cfg(doc)]
use crate::limits::{MAX_FLIGHTS, PATIENT_DEADLINE};

/// Tokens of the hedging budget that one hedge costs; each question brings `HEDGE_SHARE`.
const HEDGE_COST: u64 = 1000;

/// All questions in progress on one worker.
pub struct Mesh {
    limits: Limits,
    memory: Memory,
    rng: ChaCha8Rng,
    servers: Servers,
    lame: Lame,
    /// Servers that leave signatures out where there are some.
    unsigned: Lame,
    keys: Arc<KeyCache>,
    /// Milliseconds that unix time is ahead of the mesh's.
    date_ahead: i64,
    /// States whose proof gave way to others.
    busy: VecDeque<u64>,
    states: HashMap<u64, Box<State>>,
    /// Which state answers which question; raw ones prove nothing and stand apart.
    joined: HashMap<(Key, bool), u64>,
    /// Which state waits for which exchange.
    flights: HashMap<SendId, u64>,
    probes: HashMap<SendId, Probe>,
    /// When which state or probe wants to be woken: one entry each.
    timers: BTreeSet<(Millis, u64)>,
    /// States that give way when they are old enough, oldest first; those nobody waits for; those whose servers are dead.
    jostle: BTreeSet<u64>,
    idle: BTreeSet<u64>,
    doomed: BTreeSet<u64>,
    /// States that never give way.
    running_on: usize,
    /// Clients of all states.
    waiting: usize,
    /// Questions to be asked on behalf of others, and answers for those who wait for them.
    births: VecDeque<Birth>,
    /// Names asked for so that a zone learns which of its keys are trusted; nobody waits for the answer.
    signals: Vec<(Name, Arc<Forwards>)>,
    /// Zones whose keys are to be asked for before they are needed.
    errands: Vec<(Name, Arc<Forwards>)>,
    news: VecDeque<News>,
    /// When exchanges are looked for again that can give up their places; the last look found none.
    look_at: Millis,
    /// What is left of the hedging budget.
    hedges: u64,
    /// The last number given to a state or an exchange.
    last: u64,
    verbosity: u8,
    /// Signatures verified since the driver last looked after others.
    share: u32,
    counts: Counts,
    effects: Vec<Effect>,
}

/// The code to answer a question with whose type or class cannot be resolved, as Unbound does: transfers are refused,
/// types that are no data are format errors (RFC 6895 3.1).
fn unaskable(qtype: Rtype, qclass: Class) -> Option<Rcode> {
    match (qtype, qclass) {
        (Rtype::AXFR | Rtype::IXFR, _) => Some(Rcode::REFUSED),
        (Rtype::OPT | Rtype::TKEY | Rtype::TSIG | Rtype::MAILA | Rtype::MAILB, _) => Some(Rcode::FORMERR),
        (_, Class::IN | Class::ANY) => None,
        _ => Some(Rcode::REFUSED),
    }
}

/// The key under which an answer is remembered. Where answers are validated one serves all, and what is known of its truth
/// stands beside it; else those of CD questions are kept apart, for nobody has validated them upstream either.
fn key(forwards: &Forwards, name: Name, qtype: Rtype, qclass: Class, cd: bool) -> Key {
    Key { name, qtype, qclass, cd: forwards.key_cd(cd) }
}

/// Whether an error tells something of the server or the way to it. What this machine lacks (descriptors, ports, memory,
/// a transport that is switched off) must not make a healthy server look dead.
fn is_the_servers(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
    refuses(kind)
        || matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | InvalidData | TimedOut | UnexpectedEof)
}

/// Whether the error comes at once and will come again: nobody listens there, or there is no way.
fn refuses(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)
}

impl Mesh {
    /// A mesh without questions. `seed` must come from the system's random source: message ids and the choice of servers
    /// follow from it.
    pub fn new(limits: Limits, seed: [u8; 32], store: Arc<Store>, keys: Arc<KeyCache>) -> Mesh {
        Mesh {
            limits,
            memory: Memory::new(store),
            rng: ChaCha8Rng::from_seed(seed),
            servers: Servers::new(limits),
            lame: Lame::default(),
            unsigned: Lame::default(),
            keys,
            date_ahead: 0,
            busy: VecDeque::new(),
            states: HashMap::new(),
            joined: HashMap::new(),
            flights: HashMap::new(),
            probes: HashMap::new(),
            timers: BTreeSet::new(),
            jostle: BTreeSet::new(),
            idle: BTreeSet::new(),
            doomed: BTreeSet::new(),
            running_on: 0,
            births: VecDeque::new(),
            signals: Vec::new(),
            errands: Vec::new(),
            news: VecDeque::new(),
            waiting: 0,
            look_at: 0,
            hedges: HEDGE_BURST * HEDGE_COST,
            last: 0,
            verbosity: 0,
            share: 0,
            counts: Counts::default(),
            effects: Vec::new(),
        }
    }

    /// The cache's time, by which TTLs are counted, is so many milliseconds ahead of the time that events come with.
    pub fn set_cache_time(&mut self, ahead: i64) {
        self.memory.set_ahead(ahead);
    }

    /// How far unix time is ahead of the mesh's from now on, in milliseconds: signatures have dates.
    pub fn set_date(&mut self, ahead_ms: i64) {
        self.date_ahead = ahead_ms;
    }

    /// Other limits from now on. Questions in progress go on under them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.servers.set_limits(limits);
    }

    /// Lines of this verbosity and below are wanted ([`Effect::Log`]); none at 0.
    pub fn set_verbosity(&mut self, level: u8) {
        self.verbosity = level;
    }

    /// Forgets every question in progress and every exchange, and tells nobody: for a driver that contained a panic, after
    /// which no state is to be trusted. Numbers go on, so a report of an old exchange reaches no new one.
    pub fn abandon(&mut self) {
        self.states.clear();
        self.joined.clear();
        self.flights.clear();
        self.probes.clear();
        self.timers.clear();
        self.jostle.clear();
        self.idle.clear();
        self.doomed.clear();
        self.effects.clear();
        self.births.clear();
        self.signals.clear();
        self.errands.clear();
        self.news.clear();
        self.busy.clear();
        self.servers.forget();
        (self.waiting, self.running_on) = (0, 0);
    }

    /// Questions in progress.
    pub fn queries(&self) -> usize {
        self.states.len()
    }

    /// Questions in progress that a client waits for.
    pub fn wanted(&self) -> usize {
        self.states.len().saturating_sub(self.idle.len())
    }

    /// Clients that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Exchanges that are open: what the driver holds sockets for.
    pub fn exchanges(&self) -> usize {
        self.flights.len() + self.probes.len()
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether this server was silent so often that others are preferred.
    pub fn dead(&self, server: SocketAddr) -> bool {
        self.servers.dead(server)
    }

    /// What is known of each server, in the order of their addresses.
    pub fn servers(&self) -> Vec<ServerView> {
        self.servers.view()
    }

    /// Forgets what is known of all servers (a flush of `infra`).
    pub fn forget_servers(&mut self) {
        self.servers.forget();
        self.lame.forget();
        self.unsigned.forget();
    }

    /// What is to be done, in order. To be called after each event, until it is empty.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.share = 0;
        self.effects.drain(..)
    }

    /// A client asks what the store did not know, or what it knows only as `stale`: then it is told that at once and the
    /// answer refreshed behind it (`serve-expired-client-timeout: 0`), or when the client timeout comes. A question that
    /// is in progress already, under the same forward zones, is joined.
    pub fn query(
        &mut self,
        now: Millis,
        forwards: &Arc<Forwards>,
        question: Question,
        client: ClientId,
        stale: Option<Found>,
    ) {
        self.take_query(now, forwards, question, client, stale, None);
        self.settle(now);
    }

    /// The same for a question that is to be explained: what happens to it is written into `trace`. It joins none in
    /// progress, whose beginning nobody has written down.
    pub fn explain(
        &mut self,
        now: Millis,
        forwards: &Arc<Forwards>,
        question: Question,
        client: ClientId,
        stale: Option<Found>,
        trace: Arc<Trace>,
    ) {
        self.take_query(now, forwards, question, client, stale, Some(trace));
        self.settle(now);
    }

    fn take_query(
        &mut self,
        now: Millis,
        forwards: &Arc<Forwards>,
        question: Question,
        client: ClientId,
        stale: Option<Found>,
        trace: Option<Arc<Trace>>,
    ) {
        let Question { name, qtype, qclass, cd, rd, patient } = question;
        if let Some(rcode) = unaskable(qtype, qclass) {
            return self.tell(vec![client], Answer::new(rcode), None);
        }
        let trust = forwards.trust().map(|trust| &**trust);
        let stale = stale.filter(|found| self.limits.serve_expired && servable(found, trust, cd));
        let at_once = |found: &Found| found.paused || self.limits.serve_expired_client_timeout_ms == 0;
        let mut key = key(forwards, name, qtype, qclass, cd);
        if let Some(found) = stale.as_ref().filter(|found| at_once(found)) {
            self.tell_stale(vec![client], found);
            if rd && !found.paused {
                self.refresh(now, forwards, key);
            }
            return;
        }
        if !rd {
            if let Some(found) = self.denied(now, key.name.as_ref(), &key, false, forwards) {
                return self.tell_as(found.security, vec![client], found.answer, None);
            }
            if let Some(mut answer) = self.memory.referral(&key, now) {
                let security = self.prove_referral(now, forwards, &mut answer);
                return self.tell_as(security, vec![client], answer, None);
            }
            // Nothing at all is known: the root is primed, and what it says of itself is the answer, as in Unbound.
            let begins = forwards.recursion().map(|recursion| recursion.closest(key.name.as_ref(), &[]));
            let outside = forwards.route(key.name.as_ref(), qtype).is_none();
            let Some(stub) = begins.filter(|stub| stub.prime && outside && stale.is_none()) else {
                return self.tell_failure(client, &Failure::NoRecursion);
            };
            key = Key { name: stub.name.clone(), qtype: Rtype::NS, qclass: Class::IN, cd: false };
        }
        if self.waiting >= self.limits.max_queries.saturating_mul(CLIENTS_PER_QUERY) {
            return self.turn_away(client, stale.as_ref());
        }
        let cd = forwards.trust().is_some_and(|trust| !trust.checks(cd));
        let waiter = Waiter { id: client, since: now, patient, cd };
        let same = self.same(&key, false, forwards).filter(|_| trace.is_none());
        if let Some(mut state) = same.and_then(|number| self.states.remove(&number)) {
            if let Some(failure) = self.hopeless(now, &state).filter(|_| stale.is_none()) {
                match self.renewable(now, &state) {
                    Some(found) => self.tell_stale(vec![client], &found),
                    None => self.tell_failure(client, &failure),
                }
                return self.park(state);
            }
            state.clients.push(waiter);
            state.stale = stale.or(state.stale);
            self.waiting += 1;
            return self.park(state);
        }
        if self.make_room(now) {
            let kin = Kin { work: Arc::new(Work::traced(trace)), ..Kin::default() };
            self.begin(now, forwards, key, (Some(waiter), stale), kin);
        } else {
            self.turn_away(client, stale.as_ref());
        }
    }

    /// Asks what is known again, before its time is over (`prefetch`) or because it was served after it. Nobody waits for
    /// it, and it never takes the place of a question.
    pub fn prefetch(&mut self, now: Millis, forwards: &Arc<Forwards>, question: Question) {
        let Question { name, qtype, qclass, cd, .. } = question;
        if unaskable(qtype, qclass).is_none() {
            self.refresh(now, forwards, key(forwards, name, qtype, qclass, cd));
            self.settle(now);
        }
    }

    fn refresh(&mut self, now: Millis, forwards: &Arc<Forwards>, key: Key) {
        if self.same(&key, false, forwards).is_none() && self.states.len() < self.limits.max_queries {
            self.counts.prefetches += 1;
            self.begin(now, forwards, key, (None, None), Kin::default());
        }
    }

    /// The state that answers this question already, if there is one under the same forward zones.
    fn same(&self, key: &Key, raw: bool, forwards: &Arc<Forwards>) -> Option<u64> {
        let number = self.joined.get(&(key.clone(), raw))?;
        self.states.get(number).filter(|state| Arc::ptr_eq(&state.forwards, forwards)).map(|_| *number)
    }

    fn begin(
        &mut self,
        now: Millis,
        forwards: &Arc<Forwards>,
        key: Key,
        (client, stale): (Option<Waiter>, Option<Found>),
        kin: Kin,
    ) {
        let number = self.number();
        let Kin { parents, depth, work, seeks_glue, raw, fresh, shun } = kin;
        let refresh = client.is_none() && parents.is_empty();
        // Who asks for an explanation does not take the place of a question that others join.
        let joined = (key.clone(), raw);
        let aside = seeks_glue || fresh || (work.trace.is_some() && self.joined.contains_key(&joined));
        if !aside {
            self.joined.insert(joined, number);
        }
        self.waiting += usize::from(client.is_some());
        // Unbound's two halves: the first runs on to the end, the other gives way when it gets old.
        let runs_on = parents.is_empty() && self.running_on < self.limits.max_queries.div_ceil(2);
        if runs_on {
            self.running_on += 1;
        } else if parents.is_empty() {
            self.jostle.insert(number);
        }
        self.say(2, || format!("resolving {}", serve::Asked(&key)));
        let state = State {
            number,
            target: key.name.clone(),
            leeway_s: if refresh { self.memory.left(&key, now) } else { 0 },
            refresh,
            asks: (key.name.clone(), key.qtype),
            hunt: None,
            passed: Vec::new(),
            waits: Vec::new(),
            parents,
            seeks_glue,
            depth,
            work,
            clients: client.into_iter().collect(),
            forwards: Arc::clone(forwards),
            began: now,
            ends: now + QUERY_TIME,
            epoch: self.memory.epoch(),
            runs_on,
            stale,
            key,
            chain: Vec::new(),
            proof: None,
            raw,
            fresh,
            doubt: Doubt::of(shun),
            from: None,
            cd: client.is_some_and(|client| client.cd),
            aa: true,
            keep_from: 0,
            zone: None,
            servers: Vec::new(),
            sends: 0,
            tcp: false,
            last_fault: None,
            flights: Vec::new(),
            wake: None,
        };
        self.seek(now, Box::new(state));
    }

    /// Whether there is a place for one more question. If all are taken, one that nobody waits for gives way, else one whose
    /// servers are all dead, else the oldest of the half that may be pushed out, if it has had its time (`jostle-timeout`).
    /// So an upstream that falls silent never takes the places of what others could answer.
    fn make_room(&mut self, now: Millis) -> bool {
        if self.states.len() < self.limits.max_queries {
            return true;
        }
        let old = |number: &u64| {
            let state = self.states.get(number);
            state.is_some_and(|state| now.saturating_sub(state.began) >= self.limits.jostle_timeout_ms)
        };
        let oldest = self.jostle.first().filter(|number| old(number));
        let victim = self.idle.first().or(self.doomed.first()).or(oldest).copied();
        let Some(state) = victim.and_then(|number| self.states.remove(&number)) else { return false };
        self.counts.jostled += 1;
        self.say(4, || format!("jostled out {}", serve::Asked(&state.key)));
        self.fail(now, *state, &Failure::Jostled);
        true
    }

    /// No place is left for this client.
    fn turn_away(&mut self, client: ClientId, stale: Option<&Found>) {
        self.counts.exceeded += 1;
        match stale {
            Some(found) => self.tell_stale(vec![client], found),
            None => self.tell_failure(client, &Failure::Busy),
        }
    }

    /// When [`Mesh::wake`] is to be called next, unless something else happens before; it may lie in the past.
    pub fn next_wake(&self) -> Option<Millis> {
        if self.is_busy() { Some(0) } else { self.timers.first().map(|(at, _)| *at) }
    }

    /// Time has passed: what is due is done.
    pub fn wake(&mut self, now: Millis) {
        self.wake_due(now);
        self.settle(now);
        self.work(now);
    }

    fn wake_due(&mut self, now: Millis) {
        while let Some((at, number)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, number));
            match self.states.remove(&number) {
                Some(mut state) => {
                    state.wake = None;
                    excuse(&mut state, at, now);
                    self.due(now, state);
                }
                None if self.probes.contains_key(&SendId(number)) => {
                    self.probe_silent(now, SendId(number));
                    self.effects.push(Effect::Cancel { id: SendId(number) });
                }
                None => {}
            }
        }
    }

    /// An exchange reached its deadline, and its socket is closed.
    pub fn timeout(&mut self, now: Millis, id: SendId) {
        self.close_late(now, id);
        self.settle(now);
    }

    fn close_late(&mut self, now: Millis, id: SendId) {
        if self.probes.contains_key(&id) {
            return self.probe_silent(now, id);
        }
        let Some(mut state) = self.take(id) else { return };
        let at = state.ends.min(now);
        excuse(&mut state, at, now);
        // After a stand-still the socket may go the moment its packet was sent again, which nobody can have answered yet.
        let silent = state.flight(id).is_some_and(|flight| flight.silent_at.is_some_and(|at| at <= now));
        if silent {
            self.count_silence(now, &mut state, id);
        }
        self.flights.remove(&id);
        state.take_flight(id);
        if silent {
            self.ask_all_after_silence(now, &mut state);
        }
        self.ask(now, state);
    }

    /// An exchange failed: the system would not send, or said the server cannot be reached.
    pub fn failed(&mut self, now: Millis, id: SendId, kind: ErrorKind) {
        self.take_error(now, id, kind);
        self.settle(now);
    }

    fn take_error(&mut self, now: Millis, id: SendId, kind: ErrorKind) {
        let fault = match kind {
            // What came was rubbish: it could be reached very well.
            ErrorKind::InvalidData => Fault::Malformed,
            kind => Fault::Unreachable(kind),
        };
        if let Some(probe) = self.probes.get(&id) {
            let server = probe.server;
            self.end_probe(id);
            return self.unreachable(now, server, kind, fault);
        }
        let Some(mut state) = self.take(id) else { return };
        self.flights.remove(&id);
        let Some(flight) = state.take_flight(id) else { return self.park(state) };
        state.note(now, || Step::Unreachable { server: flight.server, over: flight.over, kind });
        if let Some(target) = state.servers.get_mut(flight.index) {
            // Whoever refuses once refuses again in the same moment.
            target.tries.failures = if refuses(kind) { u8::MAX } else { target.tries.failures.saturating_add(1) };
        }
        if flight.over == Transport::Tcp && is_the_servers(kind) {
            self.servers.streamless(flight.server, now);
        }
        self.unreachable(now, flight.server, kind, fault);
        // What was wrong with its datagrams is the better explanation of a stream that is wrong too.
        let known = |(server, known)| server == flight.server && matches!(known, Fault::WrongId | Fault::WrongQuestion);
        if fault != Fault::Malformed || !state.last_fault.is_some_and(known) {
            state.last_fault = Some((flight.server, fault));
        }
        self.ask(now, state);
    }

    fn unreachable(&mut self, now: Millis, server: SocketAddr, kind: ErrorKind, fault: Fault) {
        if is_the_servers(kind) && kind != ErrorKind::InvalidData {
            self.servers.unreachable(server, fault, refuses(kind), now);
        } else {
            self.servers.useless(server, fault, now);
        }
    }

    /// Takes the state that waits for this exchange out of the mesh, to be worked on: afterwards it is parked or over.
    fn take(&mut self, id: SendId) -> Option<Box<State>> {
        self.states.remove(self.flights.get(&id)?)
    }

    /// WAIT: puts a state back until something happens.
    fn park(&mut self, mut state: Box<State>) {
        let due = state.due(&self.limits);
        if state.wake != Some(due) {
            state.wake.take().map(|old| self.timers.remove(&(old, state.number)));
            self.timers.insert((due, state.number));
            state.wake = Some(due);
        }
        if state.is_idle() {
            self.idle.insert(state.number);
        } else {
            self.idle.remove(&state.number);
        }
        // One that waits for other questions has no servers of its own yet.
        if !state.servers.is_empty() && self.all_dead(&state) {
            self.doomed.insert(state.number);
        } else {
            self.doomed.remove(&state.number);
        }
        self.states.insert(state.number, state);
    }

    /// Takes a finished state off the books; its exchanges end.
    fn forget(&mut self, now: Millis, state: &mut State) {
        self.ground(now, state);
        self.release(state);
        self.waiting = self.waiting.saturating_sub(state.clients.len());
        state.wake.take().map(|at| self.timers.remove(&(at, state.number)));
        self.idle.remove(&state.number);
        self.doomed.remove(&state.number);
        self.jostle.remove(&state.number);
        self.running_on -= usize::from(state.runs_on);
        let joined = (state.key.clone(), state.raw);
        if self.joined.get(&joined) == Some(&state.number) {
            self.joined.remove(&joined);
        }
    }

    /// A line for the log, made only if it is wanted.
    fn say(&mut self, level: u8, text: impl FnOnce() -> String) {
        if level <= self.verbosity {
            self.effects.push(Effect::Log { level, text: text() });
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A number below `len`, any of them as likely.
    fn draw(rng: &mut ChaCha8Rng, len: usize) -> usize {
        rng.next_u32() as usize % len.max(1)
    }
}

/// Time in which this machine stood still (asleep, or its clock was set) is not held against the question, and its clients
/// have not waited.
fn excuse(state: &mut State, due: Millis, now: Millis) {
    let late = now.saturating_sub(due);
    if late >= LATE_WAKE {
        state.ends += late;
        state.clients.iter_mut().for_each(|client| client.since += late);
    }
}
