//! One question in progress, as data.
//!
//! It owns the shape of a state and what can be read off it: what is due when, who is pending, what was asked. It decides
//! nothing and has no effects; the machine is in `ask`, `hear` and `serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use store::{Found, Key, Millis, Put, Security};
use wire::{Class, Name, NameRef, Reply, Rtype};

use super::descend::Hunt;
use super::prove::Doubt;
use super::wait::{Wait, Work};
use super::{ClientId, SendId, Transport};
use crate::forward::{ForwardZone, Forwards};
use crate::limits::{Limits, PATIENT_DEADLINE};
use crate::select::{Candidate, Tries};
use crate::trace::Step;
use crate::trust::Trust;
use crate::validate::{Part, Proof};
use crate::why::Fault;

/// One question in progress.
pub(super) struct State {
    pub(super) number: u64,
    pub(super) key: Key,
    /// Who waits, in the order they came.
    pub(super) clients: Vec<Waiter>,
    /// The snapshot's table when the question came; it keeps to it.
    pub(super) forwards: Arc<Forwards>,
    pub(super) began: Millis,
    /// When it is given up.
    pub(super) ends: Millis,
    /// The store's epoch when it began: what is learned for a store that was flushed since is not kept.
    pub(super) epoch: u64,
    /// For a refresh: seconds the answer it refreshes had left.
    pub(super) leeway_s: u32,
    /// Asked again though an answer is known (prefetch, or behind a stale answer): what is remembered does not count.
    pub(super) refresh: bool,
    /// One of the half that nothing pushes out (`num-queries-per-thread`).
    pub(super) runs_on: bool,
    /// What to serve if nothing better is found in time.
    pub(super) stale: Option<Found>,
    /// The links found so far, first to last.
    pub(super) chain: Vec<Part>,
    /// The answer, as soon as it is there, while it is being proven.
    pub(super) proof: Option<Box<Proof>>,
    /// Asked on behalf of another question that proves what it needs itself: nothing of it is proven here.
    pub(super) raw: bool,
    /// What is remembered of the target does not count: it was found to be bogus.
    pub(super) fresh: bool,
    /// What was found to be bogus so far.
    pub(super) doubt: Doubt,
    /// Who answered last; `None`: it was remembered.
    pub(super) from: Option<SocketAddr>,
    /// The client that asked first set CD, so forwarders see it.
    pub(super) cd: bool,
    /// Whether each reply of the chain was authoritative.
    pub(super) aa: bool,
    /// Links before this one came by way of a zone that must not be remembered.
    pub(super) keep_from: usize,
    /// What is asked now: the name in the key, or what the last link leads to.
    pub(super) target: Name,
    /// What packets say: the target and the type in the key, or a part of the target (QNAME minimisation).
    pub(super) asks: (Name, Rtype),
    /// The forward zone that is asked, or
    pub(super) zone: Option<Arc<ForwardZone>>,
    /// where recursion stands.
    pub(super) hunt: Option<Box<Hunt>>,
    /// Stub zones that failed and are passed by (`stub-first`).
    pub(super) passed: Vec<Name>,
    /// Questions that this one waits for, and the states that wait for this one.
    pub(super) waits: Vec<Wait>,
    pub(super) parents: Vec<u64>,
    /// It looks for the glue that the parent of the target's zone has, not for what the zone itself says.
    pub(super) seeks_glue: bool,
    /// How many questions wait for this one, one for the other: 0 for what a client asked.
    pub(super) depth: u8,
    /// Work done for the client's question, by this state and all it waits for.
    pub(super) work: Arc<Work>,
    /// The servers that may be asked for `target`, those of the zone before those that stand in for it.
    pub(super) servers: Vec<Target>,
    /// Packets sent for `target`.
    pub(super) sends: u16,
    /// Datagrams are not trusted for this question any more: someone guesses, or a server does not keep the case.
    pub(super) tcp: bool,
    pub(super) last_fault: Option<(SocketAddr, Fault)>,
    /// Exchanges under way, oldest first.
    pub(super) flights: Vec<Flight>,
    /// The entry among the mesh's timers.
    pub(super) wake: Option<Millis>,
}

/// Someone who waits.
#[derive(Clone, Copy)]
pub(super) struct Waiter {
    pub(super) id: ClientId,
    pub(super) since: Millis,
    /// Told later than at the client deadline.
    pub(super) patient: bool,
    /// It wants the data even if they are bogus (CD).
    pub(super) cd: bool,
}

/// A server of the zone, and how the question fared with it.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    pub(super) tries: Tries,
    /// Stands in while the zone's own servers are dead (`resolv-fallback`).
    pub(super) reserve: bool,
    /// It did not take this question with EDNS: it said so, or it was silent.
    pub(super) shuns_edns: bool,
    /// It asks others and serves nothing itself.
    pub(super) borrows: bool,
    /// It left signatures out where there are some: it is asked when nobody else is left.
    pub(super) unsigned: bool,
    /// Of its zone: only over TCP, nothing remembered.
    pub(super) tcp_only: bool,
    pub(super) no_cache: bool,
}

/// An exchange under way: a socket that is open, and what is expected on it.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) send: SendId,
    /// Index into the servers of the state.
    pub(super) index: usize,
    pub(super) server: SocketAddr,
    pub(super) over: Transport,
    pub(super) edns: bool,
    /// The message id.
    pub(super) id: u16,
    /// The name in the case in which it was written, where the reply must keep it.
    pub(super) cased: Option<Name>,
    /// When the packet left first, and last.
    pub(super) sent: Millis,
    pub(super) last: Millis,
    /// When it counts as unanswered; `None` when it does already. The exchange stays open all the same.
    pub(super) silent_at: Option<Millis>,
    /// When another server is asked as well; while it is held, when a place is looked for again.
    pub(super) hedge_at: Option<Millis>,
    /// Replies that were not to this packet.
    pub(super) strays: u8,
    /// It has not left yet: the driver has no place for its socket.
    pub(super) held: bool,
}

/// How an exchange is to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct How {
    pub(super) over: Transport,
    pub(super) edns: bool,
}

impl Flight {
    /// Whether the same datagram left more than once, so that nobody can tell which one a reply is to (Karn).
    pub(super) fn resent(&self) -> bool {
        self.last > self.sent
    }

    /// Whether a reply may still come in the time the server usually takes.
    pub(super) fn pending(&self) -> bool {
        self.held || self.silent_at.is_some()
    }
}

impl State {
    /// Writes a step down if somebody wants this question explained.
    pub(super) fn note(&self, now: Millis, step: impl FnOnce() -> Step) {
        if let Some(trace) = &self.work.trace {
            trace.note(now, self.number, (&self.target, self.key.qtype), step());
        }
    }

    /// When something is to be done if nothing happens before.
    pub(super) fn due(&self, limits: &Limits) -> Millis {
        let flights = self.flights.iter().flat_map(|flight| [flight.silent_at, flight.hedge_at]).flatten();
        flights.chain(self.client_due(limits)).fold(self.ends, Millis::min)
    }

    /// When the first of the clients is told something, whatever is known by then.
    pub(super) fn client_due(&self, limits: &Limits) -> Option<Millis> {
        let stale = self.clients.first().and_then(|client| self.due_of(client, limits));
        // Those who came first are due first, but for the patient ones.
        let impatient = self.clients.iter().find(|client| !client.patient);
        let late = impatient.and_then(|client| self.due_of(client, limits));
        stale.into_iter().chain(late).min()
    }

    /// When this client is told something, whatever is known by then.
    pub(super) fn due_of(&self, client: &Waiter, limits: &Limits) -> Option<Millis> {
        let stale = self.stale.is_some().then_some(limits.serve_expired_client_timeout_ms);
        let deadline = limits.client_deadline_ms;
        let late = (deadline > 0).then_some(if client.patient { deadline.max(PATIENT_DEADLINE) } else { deadline });
        // Who comes when the search has gone on for longer than the client timeout need not wait for the same.
        let stale = stale.map(|after| (self.began + after).max(client.since));
        stale.into_iter().chain(late.map(|after| client.since + after)).min()
    }

    /// The zone whose servers are asked.
    pub(super) fn apex(&self) -> Option<&Name> {
        let forward = || self.zone.as_ref().map(|zone| &zone.name);
        self.hunt.as_ref().map(|hunt| &hunt.at.zone).or_else(forward)
    }

    /// What its answer is held against, if answers are.
    pub(super) fn trust(&self) -> Option<&Trust> {
        self.forwards.trust().map(|trust| &**trust)
    }

    /// Whether packets ask for the whole target.
    pub(super) fn asks_all(&self) -> bool {
        self.asks.0 == self.target && self.asks.1 == self.key.qtype
    }

    /// Whether nobody would miss it.
    pub(super) fn is_idle(&self) -> bool {
        self.clients.is_empty() && self.parents.is_empty()
    }

    /// Whether another question's work pays for it.
    pub(super) fn is_for_another(&self) -> bool {
        self.raw || self.depth > 0
    }

    /// Whether somebody who was asked may still answer in time.
    pub(super) fn pending(&self) -> bool {
        self.flights.iter().any(Flight::pending)
    }

    /// How what was found is remembered.
    pub(super) fn put(&self, now: Millis, ttl: u32, authoritative: bool) -> Put {
        let State { epoch, leeway_s, .. } = *self;
        Put { now, ttl, authoritative, security: Security::Unchecked, epoch, leeway_s }
    }

    /// Whether it waits for the answer to this question.
    pub(super) fn waits_for(&self, name: &Name, qtype: Rtype) -> bool {
        self.waits.iter().any(|wait| wait.name == *name && wait.qtype == qtype)
    }

    /// The exchange with this id.
    pub(super) fn flight(&self, id: SendId) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.send == id)
    }

    /// The exchange with this id, to be changed.
    pub(super) fn flight_mut(&mut self, id: SendId) -> Option<&mut Flight> {
        self.flights.iter_mut().find(|flight| flight.send == id)
    }

    /// Takes the exchange with this id out.
    pub(super) fn take_flight(&mut self, id: SendId) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.send == id)?;
        Some(self.flights.remove(at))
    }

    /// The servers as `select` judges them; `others_only` leaves those out that are being asked already.
    pub(super) fn candidates(&self, others_only: bool) -> Vec<Candidate> {
        let busy = |index| others_only && self.flights.iter().any(|flight| flight.index == index);
        let candidate = |(index, target): (usize, &Target)| Candidate {
            addr: target.addr,
            tries: target.tries,
            qtype: self.asks.1,
            reserve: target.reserve,
            left_out: busy(index) || target.unsigned || self.doubt.shun.contains(&target.addr),
        };
        self.servers.iter().enumerate().map(candidate).collect()
    }
}

/// Whether a reply repeats this question, its name in any case.
pub(super) fn asked(reply: &Reply, name: NameRef<'_>, qtype: wire::Rtype) -> bool {
    let Some((said, said_type, said_class)) = &reply.question else { return false };
    said.as_ref() == name && *said_type == qtype && *said_class == Class::IN
}
