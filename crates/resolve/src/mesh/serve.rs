//! ANSWER and FAIL: what is told to whom, and what is remembered.
//!
//! It owns the end of a question, the following of links, and what clients hear before the end: stale data (RFC 8767) or
//! the reason why nothing came in time. It never sends to servers.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use store::{Found, Key, Millis, Put, Security};
use wire::{Answer, Name, Rcode, Reply, Rtype};

use super::prove::Refuted;
use super::state::State;
use super::wait::is_key;
use super::{ClientId, Effect, Mesh};
use crate::limits::{FAILURE_TTL, UNREACHABLE_TTL};
use crate::memory::stale_answer;
use crate::scrub::{Finding, Scope, message_ttl, scrub};
use crate::trace::Step;
use crate::validate::{Cause, Part, Why, least};
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
            Finding::Answer(answer) => self.conclude(now, state, answer, aa, None, Security::Unchecked),
            Finding::Link(answer, authority, target) => {
                let answer = Answer { answer, authority, ..Answer::default() };
                let link = Part::new(state.target.clone(), Rtype::CNAME, answer, Security::Unchecked);
                let link = Part { from: state.from, ..link };
                let keep = state.keep_from <= state.chain.len();
                if keep && link.answer.answer.first().is_some_and(|set| set.rtype == Rtype::CNAME) {
                    let key = Key { name: state.target.clone(), qtype: Rtype::CNAME, ..state.key.clone() };
                    let ttl = message_ttl(&link.answer, Rtype::CNAME, &self.limits);
                    self.memory.keep(key, &link.answer, state.put(now, ttl, aa));
                }
                if state.raw && is_key(state.key.qtype) {
                    // A name with an alias has no keys: that is the answer, for the proof alone.
                    state.keep_from = usize::MAX;
                    return self.conclude(now, state, link.answer, aa, None, Security::Unchecked);
                }
                state.note(now, || Step::Link { to: target.clone(), remembered: false });
                self.follow(now, state, link, target);
            }
        }
    }

    /// A link leads on, unless it leads in a circle or one too far.
    pub(super) fn follow(&mut self, now: Millis, mut state: Box<State>, link: Part, target: Name) {
        self.ground(now, &mut state);
        let circle = target == state.target || state.chain.iter().any(|link| link.name == target);
        if circle || state.chain.len() >= usize::from(self.limits.max_restarts) {
            let stop = if circle { target } else { state.target.clone() };
            return self.fail(now, *state, &Failure::TooManyLinks(stop));
        }
        state.target = target;
        state.fresh = false;
        state.chain.push(link);
        self.say(2, || format!("resolving {}", Asked(&state.key)));
        self.seek(now, state);
    }

    /// ANSWER, of which the store knew the end.
    pub(super) fn finish_known(&mut self, now: Millis, state: Box<State>, known: Found) {
        state.note(now, || super::steps::remembered(&known));
        if known.answer.rcode != Rcode::SERVFAIL {
            return self.conclude(now, state, known.answer, false, Some(known.left), known.security);
        }
        // What is known already, fresh or stale, is of more use than a failure remembered (RFC 8767 5).
        if state.refresh || state.stale.is_some() {
            return self.fail(now, *state, &Failure::RecentlyFailed);
        }
        let end = Part::new(state.target.clone(), state.key.qtype, known.answer, Security::Indeterminate);
        self.finish(now, *state, end, false, Some(Failure::RecentlyFailed.why()), Some(known.left));
    }

    /// ANSWER: `end` answers the last target. Everyone is told, and each part of the chain that leads to the end is
    /// remembered as an answer of its own, with the least of what is known of its own parts. `left` is set when the end came
    /// from the store, where it has so many seconds.
    pub(super) fn finish(
        &mut self,
        now: Millis,
        mut state: State,
        end: Part,
        aa: bool,
        why: Option<String>,
        left: Option<u32>,
    ) {
        self.forget(now, &mut state);
        self.say(3, || format!("finishing processing for {}", Asked(&state.key)));
        let trust = state.forwards.trust().filter(|_| !state.raw && why.is_none()).cloned();
        let security = |from: usize| match &trust {
            Some(trust) => match least(state.chain.iter().skip(from).chain(std::iter::once(&end))) {
                Security::Bogus if trust.permissive => Security::Indeterminate,
                security => security,
            },
            None => Security::Unchecked,
        };
        let bogus = security(0) == Security::Bogus;
        let whys = || state.chain.iter().chain(std::iter::once(&end)).find_map(|part| part.why.as_ref());
        if let Some(why) = whys().cloned() {
            self.note_bogus(now, &state, &why, end.from);
        }
        let failure = bogus.then(|| Failure::bogus(&state.key, whys(), end.answer.ede.as_ref()));
        let known = match &failure {
            Some(_) if state.keep_from == 0 && (self.limits.serve_expired || state.refresh) => {
                self.memory.fall_back(&state.key, now, &self.limits, state.trust())
            }
            _ => None,
        };
        // For want of a link that this question could not ask for any more nothing is bogus to others.
        let cut_short = whys().is_some_and(|why| why.cause == Cause::Unfetched) && state.work.is_used_up(&self.limits);
        if let Some(failure) = failure.as_ref().filter(|_| cut_short) {
            if state.keep_from == 0 {
                let put = state.put(now, FAILURE_TTL, false);
                self.memory.keep_failure(state.key.clone(), &failure.answer(), put, &self.limits, state.trust());
            }
            state.keep_from = usize::MAX;
        }
        let found = security(0);
        // Clients that set CD are told what there is, and so is whoever asks as one.
        let blind = state.clients.first().is_some_and(|client| client.cd);
        state.note(now, || match failure.as_ref().filter(|_| !blind) {
            Some(failure) => Step::Failed { ede: failure.ede(), why: failure.why() },
            None => Step::Answered { rcode: end.answer.rcode, security: found },
        });
        self.counts.bogus_sets += u64::from(bogus);
        let (put, all_aa) = (state.put(now, 0, aa), state.aa);
        let links = state.chain.len();
        let whole = |from: usize| {
            let parts = || state.chain.iter().skip(from).chain(std::iter::once(&end));
            let mut answer = Answer { rcode: end.answer.rcode, aa: end.answer.aa, ..Answer::default() };
            answer.answer = parts().flat_map(|part| part.answer.answer.iter().cloned()).collect();
            answer.authority = parts().flat_map(|part| part.answer.authority.iter().cloned()).collect();
            answer.additional = end.answer.additional.clone();
            answer.ede = parts().find_map(|part| part.answer.ede.clone());
            answer.ad = security(from) == Security::Secure;
            if security(from) == Security::Bogus || trust.as_ref().is_some_and(|trust| trust.permissive) {
                answer.ede = whys().map(Why::ede).or(answer.ede);
            }
            answer
        };
        let mut told = None;
        let name_of = |from: usize| state.chain.get(from).map_or(&state.target, |link| &link.name);
        let key_of = |from: usize| Key { name: name_of(from).clone(), ..state.key.clone() };
        // What is bogus takes the place of nothing that may be served after its time, not even a part of it (CVE-2026-46582).
        let stale_at = |from: &usize| bogus && self.memory.has_stale(&key_of(*from), now, &self.limits, state.trust());
        let last_stale = (state.keep_from..=links).rev().find(stale_at);
        for from in state.keep_from..=links {
            if from == links && left.is_some() && trust.is_none() {
                break;
            }
            if from == 0 && known.is_some() {
                continue;
            }
            if let (Some(failure), true) = (&failure, last_stale.is_some_and(|last| from <= last)) {
                let security = security(from);
                let ttl = trust.as_ref().map_or(FAILURE_TTL, |trust| trust.bogus_ttl_s);
                let put = Put { ttl, security, ..put };
                self.memory.keep_failure(key_of(from), &failure.answer(), put, &self.limits, state.trust());
                continue;
            }
            let mut answer = whole(from);
            // What is bogus, or was tolerated, is soon looked at again; who is told it now sees the TTLs that came.
            if let Some(trust) = trust.as_ref().filter(|_| whys().is_some()) {
                let sets = answer.answer.iter_mut().chain(&mut answer.authority).chain(&mut answer.additional);
                sets.for_each(|set| set.ttl = set.ttl.min(trust.bogus_ttl_s));
            }
            let most = state.chain.iter().skip(from).map(|part| part.most).fold(end.most, u32::min);
            let ttl = message_ttl(&answer, state.key.qtype, &self.limits).min(left.unwrap_or(u32::MAX)).min(most);
            let authoritative = if from == links { aa } else { all_aa };
            let put = Put { ttl, authoritative, security: security(from), ..put };
            let known = self.memory.keep(key_of(from), &answer, put);
            told = if from == 0 { known.filter(|_| whys().is_none()) } else { told };
        }
        let answer = told.unwrap_or_else(|| whole(0));
        let parents = std::mem::take(&mut state.parents);
        let clients = std::mem::take(&mut state.clients);
        let Some(failure) = failure else {
            self.tell_parents(parents, &state.key, &answer, left.is_some(), state.from);
            return self.tell_as(found, clients.iter().map(|client| client.id).collect(), answer, why);
        };
        self.tell_parents(parents, &state.key, &failure.answer(), left.is_some(), state.from);
        let (bold, others): (Vec<_>, Vec<_>) = clients.into_iter().partition(|client| client.cd);
        self.tell_as(found, bold.iter().map(|client| client.id).collect(), Answer { ede: None, ..answer }, None);
        let others = others.iter().map(|client| client.id).collect();
        match state.stale.as_ref().or(known.as_ref()) {
            Some(found) => self.tell_stale(others, found),
            None => self.tell_as(found, others, failure.answer(), Some(failure.why())),
        }
    }

    /// FAIL: stale data if there is any (RFC 8767 5), else SERVFAIL, for everyone; remembered for the name that was asked and
    /// for the one that failed (RFC 9520).
    pub(super) fn fail(&mut self, now: Millis, mut state: State, failure: &Failure) {
        if let Some(Refuted { links, end, aa, left }) = state.doubt.refuted.take().map(|refuted| *refuted) {
            // There is nothing better than what was found to be bogus.
            state.chain = links;
            return self.finish(now, state, end, aa, None, left);
        }
        self.forget(now, &mut state);
        self.say(3, || format!("finishing processing for {}", Asked(&state.key)));
        let answer = failure.answer();
        state.note(now, || Step::Failed { ede: failure.ede(), why: failure.why() });
        if failure.lasts() && state.keep_from <= state.chain.len() {
            let ttl = if failure.is_unreachable() { UNREACHABLE_TTL } else { FAILURE_TTL };
            // What this question has used up, the names it was led to can do nothing for.
            let own = failure.is_of_the_question() || now >= state.ends || state.work.is_used_up(&self.limits);
            let asked = (state.keep_from == 0 && !(own && state.is_for_another())).then_some(&state.key.name);
            let failed = (!state.chain.is_empty() && !own).then_some(&state.target);
            for name in asked.into_iter().chain(failed) {
                let key = Key { name: name.clone(), ..state.key.clone() };
                // A chain that is broken is no failure for who checks for himself (CD).
                let bogus = matches!(failure, Failure::Bogus(..));
                let security = if bogus { Security::Bogus } else { Security::Unchecked };
                let put = Put { security, ..state.put(now, ttl, false) };
                self.memory.keep_failure(key, &answer, put, &self.limits, state.trust());
            }
        }
        let found = matches!(failure, Failure::RecentlyFailed | Failure::Down(..) | Failure::Bogus(..));
        let lasts = failure.lasts() || found;
        let tried = (self.limits.serve_expired || state.refresh) && lasts && state.keep_from == 0;
        self.tell_parents(
            std::mem::take(&mut state.parents),
            &state.key,
            &answer,
            *failure == Failure::RecentlyFailed,
            None,
        );
        let known = if tried { self.memory.fall_back(&state.key, now, &self.limits, state.trust()) } else { None };
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
        reset
            .then(|| self.memory.last_resort(&state.key, now, &self.limits, state.trust()))?
            .filter(|found| found.stale)
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
        self.tell_as(Security::Unchecked, clients, answer, why);
    }

    pub(super) fn tell_as(&mut self, security: Security, clients: Vec<ClientId>, answer: Answer, why: Option<String>) {
        if !clients.is_empty() {
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
