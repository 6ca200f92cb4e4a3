//! The query states, and the machine that each of them is.
//!
//! ```text
//!                      no zone, no servers, RD=0
//!   query ──▶ SEEK ───────────────────────────────────────────────────────────────▶ FAIL
//!    │         │ ▲  │ target already in the store ─────────────────────▶ ANSWER       ▲
//!    │ same    │ └──┼───────────────────────────────┐                      ▲          │ none left,
//!    │ as one  ▼    ▼                               │ link (≤ max_restarts)│ records  │ or time is up
//!    │      ┌▶ ASK: choose a server ──▶ Send ──▶ WAIT ─────────────────────┴──────────┤
//!    ▼      │                            ▲        │ TC over UDP: again over TCP       │
//!   JOIN    │                            └────────┤ FORMERR, NOTIMP: again, no EDNS   │
//!           └─────────────────────────────────────┴ silence, error, unusable reply ───┘
//! ```
//!
//! It owns the states, the joining of identical questions, and the matching of replies (RFC 5452 9.1). It never judges
//! records (`scrub`) or servers (`select`). Three promises hold whatever events come in whatever order: each client gets
//! exactly one answer; at most one packet of a state is on its way; a state ends after a bounded number of packets and
//! by its deadline, provided that the driver reports a timeout for each `Send` that got neither reply nor failure.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use store::{Found, Key, Millis, Put, Security, Store};
use wire::types::flag;
use wire::{Answer, Class, Name, Rcode, Reply, Rrset, Rtype};

use crate::forward::{ForwardZone, Forwards};
use crate::limits::{CLIENTS_PER_QUERY, Limits, MAX_SENDS, QUERY_TIME, TCP_TIME};
use crate::scrub::{Finding, known_link, message_ttl, scrub};
use crate::select::{Servers, Tries};
use crate::why::{Failure, Fault};

/// Octets of the fixed part of a message.
const HEADER: usize = 12;
/// Octets of the largest query: header, a name of 255 octets, type and class, an OPT record without options.
const MAX_QUERY: usize = HEADER + 255 + 4 + 11;

/// Who waits for an answer. The driver's own number; the mesh only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u64);

/// Names one packet that was sent. Never used twice by one mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendId(pub u64);

/// How a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// In one datagram.
    Udp,
    /// In a stream, after its length in two octets (which the driver writes and reads).
    Tcp,
}

/// What a client wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in lower case.
    pub name: Name,
    /// The type.
    pub qtype: Rtype,
    /// The class; ANY is asked as IN.
    pub qclass: Class,
    /// Checking disabled: passed on to the forwarder, and remembered apart.
    pub cd: bool,
    /// Recursion desired. Without it nothing is sent.
    pub rd: bool,
    /// The client holds on to the end, as over TCP: the client deadline is not for it.
    pub patient: bool,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this and report [`Mesh::reply`], [`Mesh::timeout`] or [`Mesh::failed`] under `id`. Over UDP from a socket and
    /// port of its own, connected to `server`, so that only that server is heard (RFC 5452 9.2).
    Send {
        /// Names the exchange.
        id: SendId,
        /// Whom to send it to.
        server: SocketAddr,
        /// How.
        over: Transport,
        /// The octets, without a length in front.
        packet: Vec<u8>,
        /// When to report a timeout.
        deadline: Millis,
    },
    /// Send the same datagram once more on the socket of this exchange, which stays open: the same port and id, so that
    /// nobody gets a second chance to guess them (RFC 5452 4.3).
    Resend {
        /// The exchange.
        id: SendId,
    },
    /// A line for the log, as the verbosity asks for it ([`Mesh::set_verbosity`]).
    Log {
        /// The verbosity from which on it is written.
        level: u8,
        /// The line.
        text: String,
    },
    /// The exchange is over: a reply was taken. Close its socket; reports under this id are ignored from now on. Not
    /// given for exchanges the driver ended itself by a timeout or failure.
    Cancel {
        /// The exchange.
        id: SendId,
    },
    /// Answer these clients.
    Answer {
        /// All who asked this question.
        clients: Vec<ClientId>,
        /// What to tell them, TTLs as of now.
        answer: Arc<Answer>,
        /// For SERVFAIL: what Unbound writes after `SERVFAIL <name type class>: ` under `log-servfail`.
        why: Option<String>,
    },
}

/// What is known of one server, for those who operate the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// Its address and port.
    pub addr: SocketAddr,
    /// Smoothed round-trip time over UDP, milliseconds; `None` if it was never measured.
    pub srtt_ms: Option<u64>,
    /// How much the round-trip time varies, milliseconds.
    pub variance_ms: u64,
    /// Milliseconds it is waited for before a question is asked again.
    pub wait_ms: u64,
    /// Silences and refused connections since its last reply.
    pub silences: u8,
    /// Others are preferred.
    pub dead: bool,
    /// While dead: when it is tried again.
    pub backed_off_until: Option<Millis>,
    /// Questions sent to it, retransmissions not counted.
    pub queries: u64,
    /// Replies that were of use.
    pub answers: u64,
    /// Replies that were of no use, and failures to reach it.
    pub failures: u64,
    /// Times nothing came while it was waited for.
    pub timeouts: u64,
    /// Questions it answered first of several that were asked at once.
    pub wins: u64,
    /// What was wrong the last time something was.
    pub last_fault: Option<String>,
}

/// All questions in progress on one worker.
pub struct Mesh {
    limits: Limits,
    store: Arc<Store>,
    rng: ChaCha8Rng,
    servers: Servers,
    states: HashMap<u64, Box<State>>,
    /// Which state answers which question.
    joined: HashMap<Key, u64>,
    /// Which state waits for which exchange.
    flights: HashMap<SendId, u64>,
    /// Clients of all states.
    waiting: usize,
    /// The last number given to a state or an exchange.
    last: u64,
    effects: Vec<Effect>,
}

/// One question in progress.
struct State {
    number: u64,
    key: Key,
    clients: Vec<ClientId>,
    /// The snapshot's table when the question came; it keeps to it.
    forwards: Arc<Forwards>,
    began: Millis,
    /// The links found so far, first to last.
    chain: Vec<Link>,
    /// Links before this one came by way of a zone that must not be remembered.
    keep_from: usize,
    /// What is asked now: the name in the key, or what the last link leads to.
    target: Name,
    zone: Option<Arc<ForwardZone>>,
    /// How `target` fared with each server of `zone`.
    tries: Vec<Tries>,
    /// Packets sent for `target`.
    sends: u16,
    last_fault: Option<(SocketAddr, Fault)>,
    flight: Option<Flight>,
    /// Whether the last reply that was used had AA.
    authoritative: bool,
    /// The store's epoch when the question came: what is flushed meanwhile is not put back.
    epoch: u64,
}

/// A CNAME, or a DNAME and the CNAME made from it, with signatures; and the name that was asked when it came.
struct Link {
    name: Name,
    sets: Vec<Rrset>,
}

/// A packet on its way.
#[derive(Clone, Copy)]
struct Flight {
    send: SendId,
    /// Index into the servers of the zone.
    index: usize,
    server: SocketAddr,
    over: Transport,
    edns: bool,
    /// The message id.
    id: u16,
    sent: Millis,
    wait: u64,
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

/// Whether an error tells something of the server or the way to it. What this machine lacks (descriptors, ports, memory,
/// a transport that is switched off) must not make a healthy server look dead.
fn is_the_servers(kind: ErrorKind) -> bool {
    use ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, InvalidData, NetworkDown,
        NetworkUnreachable, TimedOut, UnexpectedEof,
    };
    matches!(
        kind,
        BrokenPipe
            | ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | InvalidData
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
            | UnexpectedEof
    )
}

impl Mesh {
    /// A mesh without questions. `seed` must come from the system's random source: message ids and the choice of servers
    /// follow from it.
    pub fn new(limits: Limits, seed: [u8; 32], store: Arc<Store>) -> Mesh {
        Mesh {
            limits,
            store,
            rng: ChaCha8Rng::from_seed(seed),
            servers: Servers::default(),
            states: HashMap::new(),
            joined: HashMap::new(),
            flights: HashMap::new(),
            waiting: 0,
            last: 0,
            effects: Vec::new(),
        }
    }

    /// Other limits from now on. Questions in progress go on under them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets every question in progress and every exchange, and tells nobody: for a driver that contained a panic, after
    /// which no state is to be trusted. Numbers go on, so a report of an old exchange reaches no new one.
    pub fn abandon(&mut self) {
        self.states.clear();
        self.joined.clear();
        self.flights.clear();
        self.effects.clear();
        self.servers = Servers::default();
        self.waiting = 0;
    }

    /// Questions in progress.
    pub fn queries(&self) -> usize {
        self.states.len()
    }

    /// Clients that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether this server was silent so often that others are preferred.
    pub fn dead(&self, server: SocketAddr) -> bool {
        self.servers.dead(server)
    }

    /// What is known of each server, in no order.
    pub fn servers(&self, _now: Millis) -> Vec<ServerView> {
        Vec::new()
    }

    /// Forgets what is known of all servers (a flush of `infra`).
    pub fn forget_servers(&mut self) {
        self.servers = Servers::default();
    }

    /// Lines of this verbosity and below are wanted ([`Effect::Log`]).
    pub fn set_verbosity(&mut self, _level: u8) {}

    /// When [`Mesh::wake`] is to be called next, unless something else happens before; it may lie in the past.
    pub fn next_wake(&self) -> Option<Millis> {
        None
    }

    /// Time has passed: what is due is done.
    pub fn wake(&mut self, _now: Millis) {}

    /// What is to be done, in order. To be called after each event, until it is empty.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// A client asks what the store did not know. A question that is in progress already, under the same forward zones,
    /// is joined.
    pub fn query(&mut self, now: Millis, forwards: &Arc<Forwards>, question: Question, client: ClientId) {
        let Question { name, qtype, qclass, cd, rd, patient: _ } = question;
        if let Some(rcode) = unaskable(qtype, qclass) {
            return self.tell(vec![client], Answer::new(rcode), None);
        }
        if !rd {
            return self.tell_failure(client, &Failure::NoRecursion);
        }
        if self.waiting >= self.limits.max_queries.saturating_mul(CLIENTS_PER_QUERY) {
            return self.tell_failure(client, &Failure::Busy);
        }
        let key = Key { name, qtype, qclass, cd };
        let same = self.joined.get(&key).and_then(|number| self.states.get_mut(number));
        if let Some(state) = same.filter(|state| Arc::ptr_eq(&state.forwards, forwards)) {
            state.clients.push(client);
            self.waiting += 1;
            return;
        }
        if self.states.len() >= self.limits.max_queries {
            return self.tell_failure(client, &Failure::Busy);
        }
        let number = self.number();
        self.joined.insert(key.clone(), number);
        self.waiting += 1;
        let state = State {
            number,
            target: key.name.clone(),
            key,
            clients: vec![client],
            forwards: Arc::clone(forwards),
            began: now,
            chain: Vec::new(),
            keep_from: 0,
            zone: None,
            tries: Vec::new(),
            sends: 0,
            last_fault: None,
            flight: None,
            authoritative: false,
            epoch: self.store.epoch(),
        };
        self.seek(now, Box::new(state));
    }

    /// Octets came for an exchange. What cannot be from the server that was asked (RFC 5452 9.1: another id, or no DNS
    /// header at all) is passed over when it came by UDP, and the exchange goes on.
    pub fn reply(&mut self, now: Millis, id: SendId, bytes: &[u8], over: Transport) {
        let Some(flight) = self.flight(id).filter(|flight| flight.over == over) else {
            return;
        };
        let header = bytes.first_chunk::<HEADER>().filter(|[id0, id1, ..]| [*id0, *id1] == flight.id.to_be_bytes());
        let Some(&[_, _, flags0, flags1, ..]) = header else {
            if over == Transport::Tcp {
                // A stream has one speaker: no one else can have sent this.
                self.settle(now, flight, Err(Fault::Malformed));
            }
            return;
        };
        let flags = u16::from_be_bytes([flags0, flags1]);
        let rtt = (over == Transport::Udp).then(|| now.saturating_sub(flight.sent));
        self.servers.answered(flight.server, rtt, self.limits.unknown_server_time);
        if flags & flag::QR == 0 || flags & flag::OPCODE != 0 {
            return self.settle(now, flight, Err(Fault::Malformed));
        }
        let code = Rcode(flags & flag::RCODE);
        if flight.edns && matches!(code, Rcode::FORMERR | Rcode::NOTIMP) {
            // RFC 6891 7: a server from before EDNS. For this question only, so that a forged reply cannot take DNSSEC
            // from those that follow.
            return self.again(now, flight, over, false);
        }
        if flags & flag::TC != 0 {
            return match over {
                Transport::Udp => self.again(now, flight, Transport::Tcp, flight.edns),
                Transport::Tcp => self.settle(now, flight, Err(Fault::Truncated)),
            };
        }
        match Reply::parse(bytes) {
            // BADVERS: it knows OPT but not version 0; without it there is nothing to disagree about.
            Ok(reply) if flight.edns && reply.rcode == Rcode::BADVERS => self.again(now, flight, over, false),
            Ok(reply) => self.settle(now, flight, Ok(reply)),
            Err(_) => self.settle(now, flight, Err(Fault::Malformed)),
        }
    }

    /// An exchange reached its deadline.
    pub fn timeout(&mut self, now: Millis, id: SendId) {
        let Some((flight, mut state)) = self.land(id) else {
            return;
        };
        let mut again = true;
        if let Some(tries) = state.tries.get_mut(flight.index) {
            match flight.over {
                Transport::Udp => {
                    tries.silences = tries.silences.saturating_add(1);
                    again = tries.silences.is_multiple_of(2);
                }
                Transport::Tcp => tries.failures = tries.failures.saturating_add(1),
            }
        }
        let waited = (flight.over == Transport::Udp).then_some(flight.wait);
        self.servers.silent(flight.server, waited, again, now, self.limits.unknown_server_time);
        state.last_fault = Some((flight.server, Fault::Silent));
        self.ask(now, state);
    }

    /// An exchange failed: the system would not send, or said the server cannot be reached.
    pub fn failed(&mut self, now: Millis, id: SendId, kind: ErrorKind) {
        let Some((flight, mut state)) = self.land(id) else {
            return;
        };
        if let Some(tries) = state.tries.get_mut(flight.index) {
            tries.failures = tries.failures.saturating_add(1);
        }
        if is_the_servers(kind) {
            self.servers.silent(flight.server, None, true, now, self.limits.unknown_server_time);
        }
        state.last_fault = Some((flight.server, Fault::Unreachable(kind)));
        self.ask(now, state);
    }

    /// SEEK: who knows about the target? Maybe the store: the answer, if a link led there (else the driver has looked), or
    /// the next link, learned when another type of the same name was asked for.
    fn seek(&mut self, now: Millis, mut state: Box<State>) {
        let zone = state.forwards.find(state.target.as_ref(), state.key.qtype).cloned();
        if zone.as_ref().is_none_or(|zone| !zone.no_cache) {
            let known = |qtype| self.store.get(state.target.as_ref(), qtype, state.key.qclass, state.key.cd, now, None);
            if !state.chain.is_empty()
                && let Some(known) = known(state.key.qtype)
            {
                return self.finish_known(now, *state, known);
            }
            if !matches!(state.key.qtype, Rtype::CNAME | Rtype::DS | Rtype::ANY)
                && let Some((sets, target)) = known(Rtype::CNAME).and_then(|known| known_link(known.answer))
            {
                return self.follow(now, state, sets, target);
            }
        }
        let Some(zone) = zone else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        if zone.servers.is_empty() {
            let failure = Failure::NoServers(zone.name.clone());
            return self.fail(now, *state, &failure);
        }
        if zone.no_cache {
            state.keep_from = state.chain.len() + 1;
        }
        state.tries = vec![Tries::default(); zone.servers.len()];
        state.zone = Some(zone);
        (state.sends, state.last_fault) = (0, None);
        self.ask(now, state);
    }

    /// ASK: the next server, if there is one and time is left.
    fn ask(&mut self, now: Millis, state: Box<State>) {
        let Some(zone) = state.zone.clone() else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        let time_left = now < state.began + QUERY_TIME;
        let choice = if time_left && state.sends < MAX_SENDS {
            let servers = zone.servers.iter().zip(&state.tries).map(|(server, tries)| (server.addr, *tries));
            let rng = &mut self.rng;
            let draw = |len: usize| rng.next_u32() as usize % len.max(1);
            self.servers.choose(servers, self.limits.msg_retry, self.limits.unknown_server_time, now, draw)
        } else {
            None
        };
        match (choice, state.last_fault) {
            (Some(index), _) => {
                let over = if zone.tcp_only { Transport::Tcp } else { Transport::Udp };
                self.send(now, state, index, over, true);
            }
            (None, None) => self.fail(now, *state, &Failure::OutOfTime(zone.name.clone())),
            (None, Some((server, fault))) => {
                let name = zone.name.clone();
                let failure = if time_left {
                    Failure::AllFailed(name, server, fault)
                } else {
                    Failure::TimeUp(name, server, fault)
                };
                self.fail(now, *state, &failure);
            }
        }
    }

    /// Sends the question to a server and waits.
    fn send(&mut self, now: Millis, mut state: Box<State>, index: usize, over: Transport, edns: bool) {
        let Some((server, several)) =
            state.zone.as_ref().and_then(|zone| Some((zone.servers.get(index)?.addr, zone.servers.len() > 1)))
        else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        let unknown = self.limits.unknown_server_time;
        let wait = match over {
            Transport::Tcp => TCP_TIME,
            // A dead one that is tried again must not hold up a question others can answer.
            Transport::Udp if several && self.servers.dead(server) => self.servers.wait(server, unknown).min(unknown),
            Transport::Udp => self.servers.wait(server, unknown),
        };
        let deadline = (now + wait.max(1)).min((state.began + QUERY_TIME).max(now + 1));
        let id = (self.rng.next_u32() >> 16) as u16;
        let flags = if state.key.cd { flag::RD | flag::CD } else { flag::RD };
        let edns_out = edns.then_some((self.limits.edns_buffer_size, true));
        let mut buffer = [0; MAX_QUERY];
        let len = wire::question(&mut buffer, id, flags, state.target.as_ref(), state.key.qtype, Class::IN, edns_out);
        let packet = buffer.get(..len).unwrap_or_default().to_vec();
        let send = SendId(self.number());
        state.sends = state.sends.saturating_add(1);
        state.flight = Some(Flight { send, index, server, over, edns, id, sent: now, wait: deadline - now });
        self.flights.insert(send, state.number);
        self.states.insert(state.number, state);
        self.effects.push(Effect::Send { id: send, server, over, packet, deadline });
    }

    /// Asks the same server once more, in another way.
    fn again(&mut self, now: Millis, flight: Flight, over: Transport, edns: bool) {
        let Some((_, state)) = self.land(flight.send) else {
            return;
        };
        self.effects.push(Effect::Cancel { id: flight.send });
        if state.sends >= MAX_SENDS || now >= state.began + QUERY_TIME {
            return self.ask(now, state);
        }
        self.send(now, state, flight.index, over, edns);
    }

    /// A server has said its last word in this exchange. If it is of use the state goes on, else another try is made.
    fn settle(&mut self, now: Millis, flight: Flight, outcome: Result<Reply, Fault>) {
        let Some((_, mut state)) = self.land(flight.send) else {
            return;
        };
        self.effects.push(Effect::Cancel { id: flight.send });
        let fault = match outcome {
            Err(fault) => fault,
            Ok(reply) if !matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN) => {
                Fault::Said(reply.rcode)
            }
            Ok(reply) if !state.asked(&reply) => Fault::WrongQuestion,
            Ok(reply) => return self.use_reply(now, state, reply),
        };
        if let Some(tries) = state.tries.get_mut(flight.index) {
            tries.failures = tries.failures.saturating_add(1);
        }
        state.last_fault = Some((flight.server, fault));
        self.ask(now, state);
    }

    /// A reply to the question: the answer, or a link to go on from.
    fn use_reply(&mut self, now: Millis, mut state: Box<State>, reply: Reply) {
        state.authoritative = reply.aa();
        let Some(zone) = &state.zone else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        match scrub(reply, state.target.as_ref(), state.key.qtype, zone.name.as_ref(), &self.limits) {
            Finding::Answer(answer) => self.finish(now, *state, answer, None, None),
            Finding::Link(sets, target) => {
                if !zone.no_cache && sets.first().is_some_and(|set| set.rtype == Rtype::CNAME) {
                    let key = Key { name: state.target.clone(), qtype: Rtype::CNAME, ..state.key.clone() };
                    let answer = Answer { answer: sets.clone(), ..Answer::default() };
                    let ttl = message_ttl(&answer, Rtype::CNAME, &self.limits);
                    self.store.put(key, &answer, state.put(now, ttl));
                }
                self.follow(now, state, sets, target);
            }
        }
    }

    /// A link leads on, unless it leads in a circle or one too far.
    fn follow(&mut self, now: Millis, mut state: Box<State>, sets: Vec<Rrset>, target: Name) {
        let circle = target == state.target || state.chain.iter().any(|link| link.name == target);
        if circle || state.chain.len() >= usize::from(self.limits.max_restarts) {
            let stop = if circle { target } else { state.target.clone() };
            return self.fail(now, *state, &Failure::TooManyLinks(stop));
        }
        let name = std::mem::replace(&mut state.target, target);
        state.chain.push(Link { name, sets });
        self.seek(now, state);
    }

    /// ANSWER, of which the store knew the end.
    fn finish_known(&mut self, now: Millis, state: State, known: Found) {
        let answer = known.answer;
        let why = (answer.rcode == Rcode::SERVFAIL).then(|| Failure::RecentlyFailed.why());
        self.finish(now, state, answer, why, Some(known.left));
    }

    /// ANSWER: `end` answers the last target. Everyone is told, and each part of the chain that leads to the end is
    /// remembered as an answer of its own. `left` is set when the end came from the store, where it has so many seconds.
    fn finish(&mut self, now: Millis, state: State, end: Answer, why: Option<String>, left: Option<u32>) {
        self.forget(&state);
        let put = state.put(now, 0);
        let State { key, clients, chain, keep_from, target, .. } = state;
        let links = chain.len();
        let whole = |from: usize| {
            let mut answer = end.clone();
            answer.answer = chain
                .iter()
                .skip(from)
                .flat_map(|link| link.sets.iter().cloned())
                .chain(end.answer.iter().cloned())
                .collect();
            answer
        };
        for from in keep_from..=links {
            let name = match chain.get(from) {
                Some(link) => &link.name,
                None if left.is_some() => break,
                None => &target,
            };
            let answer = whole(from);
            let ttl = message_ttl(&answer, key.qtype, &self.limits).min(left.unwrap_or(u32::MAX));
            self.store.put(Key { name: name.clone(), ..key.clone() }, &answer, Put { ttl, ..put });
        }
        let answer = if links == 0 { end } else { whole(0) };
        self.tell(clients, answer, why);
    }

    /// FAIL: SERVFAIL for everyone, remembered for the name that was asked and for the one that failed (RFC 9520).
    fn fail(&mut self, now: Millis, state: State, failure: &Failure) {
        self.forget(&state);
        let answer = failure.answer();
        if failure.lasts() && state.keep_from <= state.chain.len() {
            let asked = (state.keep_from == 0).then_some(&state.key.name);
            let failed = (!state.chain.is_empty()).then_some(&state.target);
            for name in asked.into_iter().chain(failed) {
                let key = Key { name: name.clone(), ..state.key.clone() };
                // Another worker may have had more luck.
                if self.store.get(name.as_ref(), key.qtype, key.qclass, key.cd, now, None).is_none() {
                    let ttl = message_ttl(&answer, key.qtype, &self.limits);
                    self.store.put(key, &answer, state.put(now, ttl));
                }
            }
        }
        self.tell(state.clients, answer, Some(failure.why()));
    }

    /// Takes a finished state off the books.
    fn forget(&mut self, state: &State) {
        self.waiting = self.waiting.saturating_sub(state.clients.len());
        if self.joined.get(&state.key) == Some(&state.number) {
            self.joined.remove(&state.key);
        }
    }

    fn tell(&mut self, clients: Vec<ClientId>, answer: Answer, why: Option<String>) {
        self.effects.push(Effect::Answer { clients, answer: Arc::new(answer), why });
    }

    fn tell_failure(&mut self, client: ClientId, failure: &Failure) {
        self.tell(vec![client], failure.answer(), Some(failure.why()));
    }

    /// The flight under this id, which stays in the air.
    fn flight(&self, id: SendId) -> Option<Flight> {
        self.states.get(self.flights.get(&id)?)?.flight
    }

    /// Takes the flight under this id down, and its state out of the mesh to be worked on.
    fn land(&mut self, id: SendId) -> Option<(Flight, Box<State>)> {
        let number = self.flights.remove(&id)?;
        let mut state = self.states.remove(&number)?;
        Some((state.flight.take()?, state))
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl State {
    /// How what was found is put into the store.
    fn put(&self, now: Millis, ttl: u32) -> Put {
        Put { now, ttl, authoritative: self.authoritative, security: Security::Unchecked, epoch: self.epoch }
    }

    /// Whether a reply repeats the question that is on its way.
    fn asked(&self, reply: &Reply) -> bool {
        reply.question.as_ref().is_some_and(|(name, qtype, qclass)| {
            name.as_ref() == self.target.as_ref() && *qtype == self.key.qtype && *qclass == Class::IN
        })
    }
}
