//! PROVE: an answer is there, but for the proof that it is true.
//!
//! ```text
//!   ANSWER ──▶ PROVE ──▶ finish: told, remembered, each suffix of the chain with what is known of it
//!               │  ▲
//!    DS, DNSKEY │  │ from the store at once, or by a question of its own (`wait`), which proves nothing itself
//!               ▼  │
//!              WAIT ── its share is done ──▶ busy ──▶ work ──▶ PROVE
//! ```
//!
//! It owns the ties between a state and its [`Proof`]: who gets what it needs, when others come first, and what is done with
//! answers for which there is no proof. What is to be proven, and how, is `validate`'s.

use std::net::SocketAddr;
use std::sync::Arc;

use dnssec::{Budget, Outcome};
use store::{Found, Key, Millis, Security};
use wire::{Answer, Class, Name, NameRef, Rcode, Reply, Rrset, Rtype};

use super::Mesh;
use super::serve::Asked;
use super::state::State;
use crate::forward::Forwards;
use crate::keycache::{Ground, Stamp};
use crate::limits::{BOGUS_KEY_TTL, FAILURE_TTL, MAX_ANY_SETS};
use crate::trace::Step;
use crate::trust::Begin;
use crate::validate::{self, Cause, Env, Next, OverBudget, Part, Proof, TURN, Why, is_denial};
use crate::why::{Failure, validation};

/// An answer that is bogus, as it was when others were asked for it.
pub(super) struct Refuted {
    pub(super) links: Vec<Part>,
    pub(super) end: Part,
    pub(super) aa: bool,
    pub(super) left: Option<u32>,
}

/// What was found to be bogus so far, and who said it.
#[derive(Default)]
pub(super) struct Doubt {
    /// Servers that are not asked any more for this question.
    pub(super) shun: Vec<SocketAddr>,
    /// What is told if nobody knows better.
    pub(super) refuted: Option<Box<Refuted>>,
    restarts: u8,
    /// Keys and DS sets to be asked for anew.
    over: Vec<(Name, Rtype)>,
    /// Who said what of keys and DS sets.
    said: Vec<(Name, Rtype, SocketAddr)>,
}

impl Doubt {
    pub(super) fn of(shun: Vec<SocketAddr>) -> Doubt {
        Doubt { shun, ..Doubt::default() }
    }

    fn is_over(&self, name: &Name, rtype: Rtype) -> bool {
        self.over.iter().any(|(over, its)| over == name && *its == rtype)
    }

    fn said(&mut self, name: &Name, rtype: Rtype, from: Option<SocketAddr>) {
        self.over.retain(|(over, its)| over != name || *its != rtype);
        self.said.retain(|(said, its, _)| said != name || *its != rtype);
        self.said.extend(from.map(|from| (name.clone(), rtype, from)));
    }

    fn step(&self, name: &Name, rtype: Rtype) -> Step {
        Step::Doubts { name: name.clone(), rtype, servers: self.shun.clone() }
    }

    fn blame(&mut self, server: Option<SocketAddr>) {
        self.shun.extend(server.filter(|server| !self.shun.contains(server)));
    }

    /// Who said what a link of the chain of trust was broken by.
    fn from(&self, why: &Why) -> Option<SocketAddr> {
        let (name, rtype) = why.chain.as_ref()?;
        self.said.iter().find(|(said, its, _)| said == name && its == rtype).map(|(_, _, from)| *from)
    }

    fn blame_for(&mut self, name: &Name, rtype: Rtype) {
        let said = self.said.iter().find(|(said, its, _)| said == name && *its == rtype);
        let from = said.map(|(_, _, from)| *from);
        self.blame(from);
        self.over.push((name.clone(), rtype));
    }
}

impl Mesh {
    /// The answer is there; if it is to be proven, that comes first. `left` is set when it came from the store, where it has so
    /// many seconds.
    pub(super) fn conclude(
        &mut self,
        now: Millis,
        mut state: Box<State>,
        answer: Answer,
        aa: bool,
        left: Option<u32>,
        security: Security,
    ) {
        let end = Part::new(state.target.clone(), state.key.qtype, answer, security);
        let end = Part { from: state.from.filter(|_| left.is_none()), ..end };
        if state.raw || state.forwards.trust().is_none() {
            return self.finish(now, *state, end, aa, None, left);
        }
        self.ground(now, &mut state);
        self.release(&mut state);
        let mut end = end;
        if state.key.qtype == Rtype::ANY {
            end.answer.answer.truncate(MAX_ANY_SETS);
        }
        state.proof = Some(Box::new(Proof::new(end, aa, left)));
        self.prove(now, state);
    }

    /// PROVE, as far as that goes without waiting.
    fn prove(&mut self, now: Millis, mut state: Box<State>) {
        loop {
            let until = state.work.budget.lock().spent().0 + TURN.saturating_sub(self.share);
            let next = self.with_proof(now, &mut state, |proof, links, env| proof.next(links, env, until));
            match next {
                Some(Next::Need(name, rtype)) => {
                    let fresh = state.doubt.is_over(&name, rtype);
                    let known = if fresh { None } else { self.key_known(now, &mut state, &name, rtype) };
                    let Some(answer) = known else {
                        let wanted = if fresh {
                            self.want_fresh(&mut state, &name, rtype)
                        } else {
                            self.want(&mut state, &name, rtype)
                        };
                        if !wanted {
                            return self.fail(now, *state, &Failure::TooMuch("exceeded the maximum of keys", name));
                        }
                        // RFC 8145 5.2: whenever the keys of a zone with an anchor are asked for.
                        let signal = state.forwards.trust().filter(|_| rtype == Rtype::DNSKEY);
                        if let Some(signal) = signal.and_then(|trust| trust.signal(name.as_ref())) {
                            self.signals.push((signal, Arc::clone(&state.forwards)));
                        }
                        return self.park(state);
                    };
                    if !self.hear_now(now, &mut state, &name, rtype, &answer) {
                        return self.over_budget(now, state);
                    }
                }
                Some(Next::Later) => {
                    self.busy.push_back(state.number);
                    return self.park(state);
                }
                Some(Next::OverBudget) => return self.over_budget(now, state),
                Some(Next::Done) => return self.proven(now, state),
                None => return self.park(state),
            }
        }
    }

    /// The answer to a question for a DS or DNSKEY set as far as it is known already: an answer or a referral that was
    /// remembered; that there is no DS set also from proofs of other answers, or because what stands beside this one says so.
    fn key_known(&mut self, now: Millis, state: &mut State, name: &Name, rtype: Rtype) -> Option<Answer> {
        if let Some(found) = self.memory.key(name, rtype, now) {
            return Some(found.answer);
        }
        if rtype != Rtype::DS {
            return None;
        }
        let key = Key { name: name.clone(), qtype: rtype, qclass: Class::IN, cd: false };
        let forwards = Arc::clone(&state.forwards);
        if let Some(found) = self.denied(now, name.as_ref(), &key, true, &forwards) {
            return Some(found.answer);
        }
        self.with_proof(now, state, |proof, links, env| {
            let parts = links.iter().chain([&proof.end]);
            let sets = || parts.clone().flat_map(|part| &part.answer.authority).filter(|set| is_denial(set));
            let claim = dnssec::claims_no_ds(sets(), name.as_ref(), &env.trust.rules, env.budget);
            claim.then(|| Answer { authority: sets().cloned().collect(), ..Answer::new(Rcode::NOERROR) })
        })?
    }

    /// Lets the proof of a state do something. `None` if it has none.
    fn with_proof<T>(
        &mut self,
        now: Millis,
        state: &mut State,
        work: impl FnOnce(&mut Proof, &mut [Part], &mut Env<'_>) -> T,
    ) -> Option<T> {
        let State { forwards, proof, chain, work: shared, epoch, number, target, key, .. } = state;
        let (trust, proof) = (forwards.trust()?, proof.as_deref_mut()?);
        let stamp = Stamp { trust: trust.id(), version: trust.live().version(), epoch: *epoch };
        let date = now.saturating_add_signed(self.date_ahead) / 1000;
        let mut budget = shared.budget.lock();
        let tell = |step| {
            if let Some(trace) = &shared.trace {
                trace.note(now, *number, (target, key.qtype), step);
            }
        };
        let teller: Option<&dyn Fn(Step)> = if shared.trace.is_some() { Some(&tell) } else { None };
        let (keys, now) = (&*self.keys, self.memory.time(now));
        let (before, _) = budget.spent();
        let mut env = Env { trust, keys, stamp, now, date, budget: &mut budget, teller };
        let done = work(proof, chain, &mut env);
        let verifications = budget.spent().0.saturating_sub(before);
        self.share = self.share.saturating_add(verifications);
        self.counts.verifications += u64::from(verifications);
        self.counts.most_at_once = self.counts.most_at_once.max(u64::from(self.share));
        Some(done)
    }

    /// False if the work is used up.
    fn hear_now(&mut self, now: Millis, state: &mut State, name: &Name, rtype: Rtype, answer: &Answer) -> bool {
        let heard = self.with_proof(now, state, |proof, _, env| proof.hear(name, rtype, answer, env));
        !matches!(heard, Some(Err(OverBudget)))
    }

    /// A DS or DNSKEY set that was wanted is there, or is not to be had.
    pub(super) fn hear_key(
        &mut self,
        now: Millis,
        mut state: Box<State>,
        (name, rtype): (&Name, Rtype),
        answer: &Answer,
        from: Option<SocketAddr>,
    ) {
        state.doubt.said(name, rtype, from);
        if !state.proof.as_ref().is_some_and(|proof| proof.needs(name, rtype)) {
            return self.park(state);
        }
        if !self.hear_now(now, &mut state, name, rtype, answer) {
            return self.over_budget(now, state);
        }
        self.prove(now, state);
    }

    fn over_budget(&mut self, now: Millis, state: Box<State>) {
        self.fail(now, *state, &Failure::OverBudget);
    }

    /// Time passes while the proof waits.
    pub(super) fn wait_for_proof(&mut self, now: Millis, state: Box<State>) {
        if now >= state.ends {
            let zone = state.target.clone();
            return self.fail(now, *state, &Failure::OutOfTime(zone));
        }
        self.park(state);
    }

    /// What follows from proofs of other answers, for a name that is validated at all (RFC 8198).
    pub(super) fn denied(
        &mut self,
        now: Millis,
        name: NameRef<'_>,
        key: &Key,
        raw: bool,
        forwards: &Forwards,
    ) -> Option<Found> {
        let trust = forwards.trust()?;
        let date = now.saturating_add_signed(self.date_ahead) / 1000;
        let seat = if key.qtype == Rtype::DS { name.parent()? } else { name };
        let apex = forwards.apex(seat, Rtype::A);
        let found = self.memory.denied((name, apex), key, raw, trust, now)?;
        if !matches!(trust.begin(seat, date), Begin::At(_)) {
            return None;
        }
        match found.answer.rcode {
            _ if raw => {}
            Rcode::NXDOMAIN => self.counts.implied_nxdomain += 1,
            _ => self.counts.implied_noerror += 1,
        }
        Some(found)
    }

    /// Whether a proof gave way to others and wants to go on.
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty() || !self.news.is_empty()
    }

    /// Goes on with one proof that gave way, for its share. To be called between batches while [`Mesh::is_busy`];
    /// [`Mesh::wake`] does it too.
    pub fn work(&mut self, now: Millis) {
        self.settle(now);
        if self.share < TURN
            && let Some(state) = self.busy.pop_front().and_then(|number| self.states.remove(&number))
        {
            self.prove(now, state);
            self.settle(now);
        }
    }

    /// Every part is proven, or one is bogus: then others are asked, as often as that may be.
    fn proven(&mut self, now: Millis, mut state: Box<State>) {
        let Some(proof) = state.proof.take() else { return self.park(state) };
        state.note(now, || super::steps::judged(&state.chain, &proof.end));
        let nth = state.chain.iter().position(|part| part.security == Security::Bogus);
        let part = nth.and_then(|nth| state.chain.get(nth)).unwrap_or(&proof.end);
        let Some(why) = part.why.clone() else {
            let Proof { end, aa, left, .. } = *proof;
            return self.finish(now, *state, end, aa, None, left);
        };
        if why.cause != Cause::Unfetched && self.may_restart(now, &state) {
            return self.restart(now, state, proof, nth, &why);
        }
        let Proof { end, aa, left, .. } = *proof;
        // That nobody else could be asked explains less than what was wrong at first.
        let first = state.doubt.refuted.take().filter(|_| why.cause == Cause::Unfetched);
        let (end, aa, left) = match first.map(|first| *first) {
            Some(Refuted { links, end, aa, left }) => {
                state.chain = links;
                (end, aa, left)
            }
            None => (end, aa, left),
        };
        self.finish(now, *state, end, aa, None, left);
    }

    /// Why an answer would be bogus whatever it said: the chain to it is known to be broken. Who wants it as it is gets it.
    pub(super) fn broken_chain(&self, now: Millis, state: &State) -> Option<Failure> {
        let trust = state.forwards.trust().filter(|trust| !state.raw && !trust.permissive)?;
        if state.clients.is_empty() || state.clients.iter().any(|client| client.cd) {
            return None;
        }
        let stamp = Stamp { trust: trust.id(), version: trust.live().version(), epoch: state.epoch };
        let date = now.saturating_add_signed(self.date_ahead) / 1000;
        let why = validate::broken(trust, &self.keys, stamp, (self.memory.time(now), date), state.target.as_ref())?;
        Some(Failure::bogus(&state.key, Some(&why), None))
    }

    /// Whether other servers may be asked for what is bogus. Who wants it as it is need not wait for that.
    fn may_restart(&self, now: Millis, state: &State) -> bool {
        let most = state.forwards.trust().map_or(0, |trust| trust.max_restart);
        let wanted = state.clients.is_empty() || state.clients.iter().any(|client| !client.cd);
        state.doubt.restarts < most && wanted && now < state.ends && state.work.may_send(&self.limits)
    }

    /// Asks others than those who said what is bogus, for that alone. The budget is not renewed (CVE-2026-50045).
    fn restart(&mut self, now: Millis, mut state: Box<State>, mut proof: Box<Proof>, nth: Option<usize>, why: &Why) {
        state.doubt.restarts += 1;
        self.say(4, || format!("{why}: asking others"));
        if state.doubt.refuted.is_none() {
            let (links, end, aa, left) = (state.chain.clone(), proof.end.clone(), proof.aa, proof.left);
            state.doubt.refuted = Some(Box::new(Refuted { links, end, aa, left }));
        }
        if let Some((name, rtype)) = &why.chain {
            state.doubt.blame_for(name, *rtype);
            state.note(now, || state.doubt.step(name, *rtype));
            proof.again(&mut state.chain);
            state.proof = Some(proof);
            return self.prove(now, state);
        }
        let part = nth.and_then(|nth| state.chain.get(nth)).unwrap_or(&proof.end);
        let (name, from) = (part.name.clone(), part.from);
        state.doubt.blame(from);
        state.note(now, || state.doubt.step(&name, state.key.qtype));
        state.chain.truncate(nth.unwrap_or(state.chain.len()));
        (state.target, state.fresh) = (name, true);
        self.seek(now, state);
    }

    /// What is bogus for good is said, and remembered of the zone whose keys it is about.
    pub(super) fn note_bogus(&mut self, now: Millis, state: &State, why: &Why, from: Option<SocketAddr>) {
        let cut_short = why.cause == Cause::Unfetched && state.work.is_used_up(&self.limits);
        if let (Some(trust), Some((zone, _)), false) = (state.forwards.trust(), &why.chain, cut_short) {
            let stamp = Stamp { trust: trust.id(), version: trust.live().version(), epoch: state.epoch };
            let ttl = if why.cause == Cause::Unfetched { FAILURE_TTL } else { BOGUS_KEY_TTL };
            self.keys.put(zone.as_ref(), Ground::Bogus(why.clone()), ttl, self.memory.time(now), stamp);
        }
        self.log_bogus(state, why, from);
    }

    /// Whether a reply has no signature at all though the zone is known to be signed (DNSSEC lameness).
    pub(super) fn lacks_signatures(&self, now: Millis, state: &State, zone: &Name, reply: &Reply) -> bool {
        let Some(trust) = state.forwards.trust().filter(|trust| trust.lame_check) else { return false };
        if !matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
            return false;
        }
        // What a zone below says, on the same server, is none of this zone's business.
        let deeper = |set: &Rrset| set.rtype == Rtype::SOA && set.owner != *zone;
        if reply.authority.iter().any(deeper) {
            return false;
        }
        let mut sets = reply.answer.iter().chain(&reply.authority);
        if sets.any(|set| set.rtype == Rtype::RRSIG || !set.sigs.is_empty()) {
            return false;
        }
        let stamp = Stamp { trust: trust.id(), version: trust.live().version(), epoch: state.epoch };
        let date = now.saturating_add_signed(self.date_ahead) / 1000;
        let Begin::At(anchor) = trust.begin(zone.as_ref(), date) else { return false };
        match self.keys.get(zone.as_ref(), self.memory.time(now), stamp) {
            Some(ground) => matches!(ground, Ground::Keys(_)),
            None if anchor.owner == *zone => true,
            None => {
                let ds = self.memory.set(zone.as_ref(), Rtype::DS, now);
                ds.is_some_and(|known| !known.set.sigs.is_empty())
            }
        }
    }

    fn log_bogus(&mut self, state: &State, why: &Why, from: Option<SocketAddr>) {
        let level = state.forwards.trust().map_or(0, |trust| trust.log_level);
        let asked = Asked(&state.key);
        match level {
            0 => {}
            1 => self.say(0, || format!("validation failure {asked}")),
            _ => self.say(0, || {
                let from = state.doubt.from(why).or(from);
                format!("validation failure <{asked}>: {}", validation(why, &state.key, from))
            }),
        }
    }

    /// Whether a forwarder is asked with CD: where nothing is validated, as the client wants; else when the client did, and
    /// when a forwarder has failed, which may be because it validates and finds what it got to be bogus.
    pub(super) fn passes_cd(&self, state: &State) -> bool {
        if state.forwards.trust().is_none() {
            return state.key.cd;
        }
        let failed = || state.servers.iter().any(|target| target.tries.failures > 0);
        state.hunt.is_none() && (state.cd || !state.doubt.shun.is_empty() || failed())
    }

    /// What is told from memory of who knows more, to who asked for no recursion, is proven if that takes nothing that is not
    /// remembered.
    pub(super) fn prove_referral(&self, now: Millis, forwards: &Forwards, answer: &mut Answer) -> Security {
        let (Some(trust), Some(ns)) = (forwards.trust(), answer.authority.first_mut()) else {
            return Security::Unchecked;
        };
        let stamp = Stamp { trust: trust.id(), version: trust.live().version(), epoch: self.memory.epoch() };
        let Some(Ground::Keys(keys)) = self.keys.get(ns.owner.as_ref(), self.memory.time(now), stamp) else {
            return Security::Unchecked;
        };
        let date = now.saturating_add_signed(self.date_ahead) / 1000;
        let mut budget = Budget::default();
        let mut verify = |set: &Rrset| match dnssec::verify(set, &keys, &trust.rules, date, &mut budget) {
            Outcome::Secure(secure) if secure.wildcard().is_none() => Some(secure.into_set()),
            _ => None,
        };
        let Some(proven) = verify(ns) else { return Security::Unchecked };
        *ns = proven;
        answer.additional.retain_mut(|set| match verify(set) {
            Some(proven) => {
                *set = proven;
                true
            }
            None => !trust.clean_additional,
        });
        answer.ad = true;
        Security::Secure
    }

    /// What a referral says of the DS set of the zone below is an answer to the question for it.
    pub(super) fn keep_ds(&mut self, now: Millis, state: &State, child: &Name, proofs: &[Rrset], aa: bool) {
        if state.forwards.trust().is_none() || proofs.is_empty() {
            return;
        }
        let (answer, authority): (Vec<_>, Vec<_>) = proofs.iter().cloned().partition(|set| set.rtype == Rtype::DS);
        let ttl = proofs.iter().map(|set| set.ttl).min().unwrap_or(0);
        let answer = Answer { answer, authority, ..Answer::new(Rcode::NOERROR) };
        // Without the SOA record of a real answer a denial is for our own proofs alone.
        let cd = answer.answer.is_empty();
        let early = state.forwards.trust().is_some_and(|trust| trust.prefetch_key) && !cd;
        if early && self.memory.key(child, Rtype::DNSKEY, now).is_none() {
            self.errands.push((child.clone(), Arc::clone(&state.forwards)));
        }
        let key = Key { name: child.clone(), qtype: Rtype::DS, qclass: Class::IN, cd };
        self.memory.keep(key, &answer, state.put(now, ttl, aa));
    }
}
