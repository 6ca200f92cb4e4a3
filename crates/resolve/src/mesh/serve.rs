//! ANSWER and FAIL: what is told to whom, and what is remembered.
//!
//! It owns the end of a question, the following of links, and what clients hear before the end: stale data (RFC 8767) or
//! the reason why nothing came in time. It never sends to servers.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use store::{Found, Key, Millis, Put, Security};
use wire::{Answer, Name, Rcode, Reply, Rrset, Rtype};

use super::state::{Link, State};
use super::{ClientId, Effect, Mesh};
use crate::limits::{FAILURE_TTL, UNREACHABLE_TTL};
use crate::memory::stale_answer;
use crate::scrub::{Finding, Scope, message_ttl, scrub};
use crate::trace::Step;
use crate::why::{Failure, Fault};

/// A question as Unbound's log writes it: name, type, class.
pub(super) struct Asked<'a>(pub(super) &'a Key);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.0.name, self.0.qtype, self.0.qclass)
    }
}

/// A server as Unbound's log writes it: the zone, the address, the port.
pub(super) struct At<'a>(&'a State, SocketAddr);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At(state, server) = self;
        match state.apex() {
            Some(zone) => write!(f, "<{zone}> {}#{}", server.ip(), server.port()),
            None => write!(f, "{}#{}", server.ip(), server.port()),
        }
    }
}

/// What is of use in a reply, and whether it was authoritative.
pub(super) struct Useful {
    pub(super) aa: bool,
    pub(super) finding: Finding,
}

impl State {
    pub(super) fn at(&self, server: SocketAddr) -> At<'_> {
        At(self, server)
    }
}

impl Mesh {
    /// What a reply to the question means; `None` when it answers something else.
    pub(super) fn find(&self, state: &State, reply: Reply) -> Option<Useful> {
        let zone = state.apex()?;
        let scope = Scope { zone: zone.as_ref(), private: state.forwards.private(), limits: &self.limits };
        let aa = reply.aa();
        Some(Useful { aa, finding: scrub(reply, state.asks.0.as_ref(), state.asks.1, &scope)? })
    }

    /// The answer, or a link to go on from.
    pub(super) fn use_reply(&mut self, now: Millis, mut state: Box<State>, useful: Useful) {
        let Useful { aa, finding } = useful;
        state.aa &= aa;
        self.say(2, || format!("query response was {}", kind(&finding)));
        match finding {
            Finding::Answer(answer) => self.finish(now, *state, answer, aa, None, None),
            Finding::Link(sets, target) => {
                let keep = state.keep_from <= state.chain.len();
                if keep && sets.first().is_some_and(|set| set.rtype == Rtype::CNAME) {
                    let key = Key { name: state.target.clone(), qtype: Rtype::CNAME, ..state.key.clone() };
                    let answer = Answer { answer: sets.clone(), ..Answer::default() };
                    let ttl = message_ttl(&answer, Rtype::CNAME, &self.limits);
                    self.memory.keep(key, &answer, state.put(now, ttl, aa));
                }
                state.note(now, || Step::Link { to: target.clone(), remembered: false });
                self.follow(now, state, sets, target);
            }
        }
    }

    /// A link leads on, unless it leads in a circle or one too far.
    pub(super) fn follow(&mut self, now: Millis, mut state: Box<State>, sets: Vec<Rrset>, target: Name) {
        self.ground(now, &mut state);
        let circle = target == state.target || state.chain.iter().any(|link| link.name == target);
        if circle || state.chain.len() >= usize::from(self.limits.max_restarts) {
            let stop = if circle { target } else { state.target.clone() };
            return self.fail(now, *state, &Failure::TooManyLinks(stop));
        }
        let name = std::mem::replace(&mut state.target, target);
        state.chain.push(Link { name, sets });
        self.say(2, || format!("resolving {}", Asked(&state.key)));
        self.seek(now, state);
    }

    /// ANSWER, of which the store knew the end.
    pub(super) fn finish_known(&mut self, now: Millis, state: State, known: Found) {
        state.note(now, || super::steps::remembered(&known));
        // What is known already, fresh or stale, is of more use than a failure remembered (RFC 8767 5).
        if known.answer.rcode == Rcode::SERVFAIL && (state.refresh || state.stale.is_some()) {
            return self.fail(now, state, &Failure::RecentlyFailed);
        }
        let why = (known.answer.rcode == Rcode::SERVFAIL).then(|| Failure::RecentlyFailed.why());
        self.finish(now, state, known.answer, false, why, Some(known.left));
    }

    /// ANSWER: `end` answers the last target. Everyone is told, and each part of the chain that leads to the end is
    /// remembered as an answer of its own. `left` is set when the end came from the store, where it has so many seconds.
    pub(super) fn finish(
        &mut self,
        now: Millis,
        mut state: State,
        end: Answer,
        aa: bool,
        why: Option<String>,
        left: Option<u32>,
    ) {
        self.forget(now, &mut state);
        self.say(3, || format!("finishing processing for {}", Asked(&state.key)));
        let (put, all_aa) = (state.put(now, 0, aa), state.aa);
        state.note(now, || Step::Answered { rcode: end.rcode, security: put.security });
        let State { key, clients, parents, chain, keep_from, target, .. } = state;
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
        let mut told = None;
        for from in keep_from..=links {
            let name = match chain.get(from) {
                Some(link) => &link.name,
                None if left.is_some() => break,
                None => &target,
            };
            let answer = whole(from);
            let ttl = message_ttl(&answer, key.qtype, &self.limits).min(left.unwrap_or(u32::MAX));
            let authoritative = if from == links { aa } else { all_aa };
            let of_it = Key { name: name.clone(), ..key.clone() };
            let known = self.memory.keep(of_it, &answer, Put { ttl, authoritative, ..put });
            told = if from == 0 { known } else { told };
        }
        let answer = match told {
            Some(answer) => answer,
            None if links == 0 => end,
            None => whole(0),
        };
        self.tell_parents(parents, &key, &answer, left.is_some());
        let clients = clients.iter().map(|client| client.id).collect();
        self.tell(clients, answer, why);
    }

    /// FAIL: stale data if there is any (RFC 8767 5), else SERVFAIL, for everyone; remembered for the name that was asked and
    /// for the one that failed (RFC 9520).
    pub(super) fn fail(&mut self, now: Millis, mut state: State, failure: &Failure) {
        self.forget(now, &mut state);
        self.say(3, || format!("finishing processing for {}", Asked(&state.key)));
        let answer = failure.answer();
        state.note(now, || Step::Failed { ede: failure.ede(), why: failure.why() });
        if failure.lasts() && state.keep_from <= state.chain.len() {
            let ttl = if failure.is_unreachable() { UNREACHABLE_TTL } else { FAILURE_TTL };
            let asked = (state.keep_from == 0).then_some(&state.key.name);
            let failed = (!state.chain.is_empty()).then_some(&state.target);
            for name in asked.into_iter().chain(failed) {
                let key = Key { name: name.clone(), ..state.key.clone() };
                self.memory.keep_failure(key, &answer, state.put(now, ttl, false), &self.limits);
            }
        }
        let lasts = failure.lasts() || matches!(failure, Failure::RecentlyFailed | Failure::Down(..));
        let tried = (self.limits.serve_expired || state.refresh) && lasts && state.keep_from == 0;
        self.tell_parents(std::mem::take(&mut state.parents), &state.key, &answer, *failure == Failure::RecentlyFailed);
        let known = if tried { self.memory.fall_back(&state.key, now, &self.limits) } else { None };
        let clients = state.clients.iter().map(|client| client.id).collect();
        match state.stale.as_ref().or(known.as_ref()) {
            Some(found) => self.tell_stale(clients, found),
            None => self.tell(clients, answer, Some(failure.why())),
        }
    }

    /// Tells those clients something that have waited as long as clients wait: stale data, or what the servers did so far.
    /// The question goes on.
    pub(super) fn tell_due(&mut self, now: Millis, state: &mut State) {
        if state.client_due(&self.limits).is_none_or(|due| due > now) {
            return;
        }
        let clients = std::mem::take(&mut state.clients);
        let is_due = |client: &_| state.due_of(client, &self.limits).is_some_and(|due| due <= now);
        let (due, rest): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_due);
        state.clients = rest;
        self.waiting = self.waiting.saturating_sub(due.len());
        let due: Vec<ClientId> = due.iter().map(|client| client.id).collect();
        let known = state.stale.clone().or_else(|| self.renewable(now, state));
        state.note(now, || Step::Late { stale: known.is_some() });
        if let Some(found) = known {
            return self.tell_stale(due, &found);
        }
        let zone = state.apex().cloned().unwrap_or_else(Name::root);
        let hunts = state.hunt.is_some();
        let asked = state.flights.last().map(|flight| {
            let unsent = flight.held.then_some(Fault::Unreachable(ErrorKind::QuotaExceeded));
            (flight.server, unsent)
        });
        let blamed = state.last_fault.filter(|(_, fault)| *fault != Fault::Silent);
        let failure = match blamed.map(|(server, fault)| (server, Some(fault))).or(asked) {
            Some((server, fault)) if hunts => Failure::LateZone(zone, server, fault),
            Some((server, fault)) => Failure::Late(zone, server, fault),
            None => Failure::OutOfTime(zone),
        };
        self.counts.late += due.len() as u64;
        self.tell(due, failure.answer(), Some(failure.why()));
    }

    /// What was too old when the client came, but is given out all the same because a failure would make its time begin anew
    /// (`serve-expired-ttl-reset`).
    pub(super) fn renewable(&self, now: Millis, state: &State) -> Option<Found> {
        let reset = self.limits.serve_expired_ttl_reset && state.keep_from == 0;
        reset.then(|| self.memory.last_resort(&state.key, now, &self.limits))?.filter(|found| found.stale)
    }

    /// Serves an answer after its time.
    pub(super) fn tell_stale(&mut self, clients: Vec<ClientId>, found: &Found) {
        if !clients.is_empty() {
            self.counts.expired += clients.len() as u64;
            let answer = Arc::new(stale_answer(found, &self.limits));
            self.effects.push(Effect::Answer { clients, answer, why: None, stale: true, security: found.security });
        }
    }

    pub(super) fn tell(&mut self, clients: Vec<ClientId>, answer: Answer, why: Option<String>) {
        if !clients.is_empty() {
            let security = Security::Unchecked;
            self.effects.push(Effect::Answer { clients, answer: Arc::new(answer), why, stale: false, security });
        }
    }

    pub(super) fn tell_failure(&mut self, client: ClientId, failure: &Failure) {
        self.tell(vec![client], failure.answer(), Some(failure.why()));
    }
}

/// What Unbound's log calls a reply.
fn kind(finding: &Finding) -> &'static str {
    match finding {
        Finding::Link(..) => "CNAME",
        Finding::Answer(answer) if answer.rcode == Rcode::NXDOMAIN => "NXDOMAIN ANSWER",
        Finding::Answer(answer) if answer.answer.is_empty() => "nodata ANSWER",
        Finding::Answer(_) => "ANSWER",
    }
}
