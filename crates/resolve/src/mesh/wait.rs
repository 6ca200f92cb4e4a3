//! Questions that wait for other questions.
//!
//! It owns the ties between states: who waits for whom, and that nobody ever waits for himself. A state that needs the
//! address of a name server, or a zone's own NS records, says so ([`Mesh::want`]) and is parked; afterwards the question is
//! asked as a state of its own, or one that is in progress is joined. When it ends, whoever waits for it is told and goes
//! on. What is to be asked and what is known is `descend`'s.
//!
//! ```text
//!   parent ── want ──▶ births ── bear ──▶ child (new, or joined)     bear: would the child wait for the parent,
//!     ▲                                     │                              straight or through others? Then it is
//!     └──────────── hear_news ◀── news ◀────┘ ends                         told at once that there is nothing to be had.
//! ```
//!
//! Both queues are worked off at the end of each event ([`Mesh::settle`]), when all states are in their places: a state
//! never changes another while it is being worked on itself, and no call nests deeper than one.
//!
//! Bounds: what one client's question may cost is counted in [`Work`], which all states it waits for share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use dnssec::Budget;
use parking_lot::Mutex;
use store::{Key, Millis};
use wire::{Answer, Class, Name, Rcode, Rtype};

use super::Mesh;
use super::state::State;
use crate::limits::{Limits, MAX_KEY_QUESTIONS, MAX_TARGET_COUNT, MAX_TARGET_NX};
use crate::trace::Trace;
use crate::validate::TURN;

/// Times `num-queries-per-thread` that states may be there with those others wait for.
const ROOM_FOR_CHILDREN: usize = 2;
/// States looked at to find out whether one waits for another. Past that it is taken to.
const MAX_WALK: usize = 256;

/// Something a state waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) name: Name,
    pub(super) qtype: Rtype,
    /// The state that finds out, once there is one.
    child: Option<u64>,
}

/// A question to be asked for a state.
pub(super) struct Birth {
    parent: u64,
    name: Name,
    qtype: Rtype,
    seeks_glue: bool,
    fresh: bool,
}

/// An answer for a state that waits for it.
pub(super) struct News {
    parent: u64,
    name: Name,
    qtype: Rtype,
    answer: Arc<Answer>,
    /// It was remembered, and cost nothing.
    known: bool,
    /// Who said so just now.
    from: Option<SocketAddr>,
}

/// Whose question a new state asks.
#[derive(Default)]
pub(super) struct Kin {
    pub(super) parents: Vec<u64>,
    pub(super) depth: u8,
    pub(super) work: Arc<Work>,
    pub(super) seeks_glue: bool,
    pub(super) raw: bool,
    /// Nothing that is remembered of the name counts, and these servers are not asked: what they said is bogus.
    pub(super) fresh: bool,
    pub(super) shun: Vec<SocketAddr>,
}

/// What a client's question has cost so far, at all depths.
#[derive(Debug, Default)]
pub(super) struct Work {
    packets: AtomicU32,
    targets: AtomicU32,
    missing: AtomicU32,
    /// Where its steps are written down, if somebody wants it explained.
    pub(super) trace: Option<Arc<Trace>>,
    keys: AtomicU32,
    /// There was no place for a question that another waits for.
    crowded: AtomicBool,
    /// What proofs may cost. Never renewed (CVE-2026-50045).
    pub(super) budget: Mutex<Budget>,
}

impl Work {
    /// Of a question whose steps are written down, or not.
    pub(super) fn traced(trace: Option<Arc<Trace>>) -> Work {
        Work { trace, ..Work::default() }
    }

    pub(super) fn may_send(&self, limits: &Limits) -> bool {
        self.packets.load(Ordering::Relaxed) < limits.max_global_quota
    }

    pub(super) fn sent(&self) {
        self.packets.fetch_add(1, Ordering::Relaxed);
    }

    /// One more name-server address is looked up; false when it is one too many.
    fn target(&self) -> bool {
        self.targets.fetch_add(1, Ordering::Relaxed) < MAX_TARGET_COUNT
    }

    /// One more DS or DNSKEY set is asked for; false when it is one too many.
    fn key(&self) -> bool {
        self.keys.fetch_add(1, Ordering::Relaxed) < MAX_KEY_QUESTIONS
    }

    /// One more name server has no address.
    pub(super) fn one_missing(&self) {
        self.missing.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn too_many_missing(&self) -> bool {
        self.missing.load(Ordering::Relaxed) > MAX_TARGET_NX
    }

    pub(super) fn too_many_targets(&self) -> bool {
        self.targets.load(Ordering::Relaxed) >= MAX_TARGET_COUNT
    }

    /// Whether something was used up, so that what fails now may fail for that alone. Who asks chooses what uses it up and where
    /// that ends, so nothing may follow from it for the name where it ended: others have all of theirs left.
    pub(super) fn is_used_up(&self, limits: &Limits) -> bool {
        !self.may_send(limits)
            || self.too_many_missing()
            || self.too_many_targets()
            || self.keys.load(Ordering::Relaxed) >= MAX_KEY_QUESTIONS
            || self.crowded.load(Ordering::Relaxed)
    }
}

/// Whether a question is for a link of a chain of trust.
pub(super) fn is_key(qtype: Rtype) -> bool {
    matches!(qtype, Rtype::DS | Rtype::DNSKEY)
}

impl Mesh {
    /// The state will wait for the answer to this question. False if it may not ask any more.
    pub(super) fn want(&mut self, state: &mut State, name: &Name, qtype: Rtype) -> bool {
        self.want_from(state, name, qtype, false, false)
    }

    /// The same for what the parent of the name's zone has as glue.
    pub(super) fn want_glue(&mut self, state: &mut State, name: &Name, qtype: Rtype) -> bool {
        self.want_from(state, name, qtype, true, false)
    }

    /// The same for what is remembered and was found to be bogus: others are to say it.
    pub(super) fn want_fresh(&mut self, state: &mut State, name: &Name, qtype: Rtype) -> bool {
        self.want_from(state, name, qtype, false, true)
    }

    /// The same for what is only to be checked (`harden-referral-path`). It counts for no limit but that of packets: it must
    /// not take the place of what is needed.
    pub(super) fn want_check(&mut self, state: &mut State, name: &Name, qtype: Rtype) {
        if !state.waits_for(name, qtype) {
            self.conceive(state, name, qtype, false, false);
        }
    }

    fn want_from(&mut self, state: &mut State, name: &Name, qtype: Rtype, seeks_glue: bool, fresh: bool) -> bool {
        if state.waits_for(name, qtype) {
            return true;
        }
        let may = if is_key(qtype) { state.work.key() } else { state.work.target() };
        if may {
            self.conceive(state, name, qtype, seeks_glue, fresh);
        }
        may
    }

    fn conceive(&mut self, state: &mut State, name: &Name, qtype: Rtype, seeks_glue: bool, fresh: bool) {
        state.waits.push(Wait { name: name.clone(), qtype, child: None });
        self.births.push_back(Birth { parent: state.number, name: name.clone(), qtype, seeks_glue, fresh });
    }

    /// Works off what the last event left: questions to be asked for others, and answers for those who wait.
    pub(super) fn settle(&mut self, now: Millis) {
        loop {
            // Keys that many wait for are verified for each: whoever has not heard of them yet hears of them next time.
            if self.share >= TURN && self.news.front().is_some_and(|news| is_key(news.qtype)) {
                return;
            }
            if let Some(News { parent, name, qtype, answer, known, from }) = self.news.pop_front() {
                let Some(mut state) = self.states.remove(&parent) else { continue };
                let before = state.waits.len();
                state.waits.retain(|wait| wait.name != name || wait.qtype != qtype);
                if state.waits.len() == before {
                    self.park(state);
                } else {
                    if is_key(qtype) {
                        self.hear_key(now, state, (&name, qtype), &answer, from);
                    } else {
                        self.hear_news(now, state, (&name, qtype), &answer, known);
                    }
                }
            } else if let Some(birth) = self.births.pop_front() {
                self.bear(now, birth);
            } else if let Some((name, forwards)) = self.errands.pop() {
                // Keys that the answer will want soon (`prefetch-key`); its proof joins the question.
                let key = Key { name, qtype: Rtype::DNSKEY, qclass: Class::IN, cd: false };
                if self.same(&key, true, &forwards).is_none() && self.states.len() < self.limits.max_queries {
                    self.begin(now, &forwards, key, (None, None), Kin { raw: true, ..Kin::default() });
                }
            } else if let Some((name, forwards)) = self.signals.pop() {
                self.refresh(now, &forwards, Key { name, qtype: Rtype::NULL, qclass: Class::IN, cd: false });
            } else {
                return;
            }
        }
    }

    fn bear(&mut self, now: Millis, Birth { parent, name, qtype, seeks_glue, fresh }: Birth) {
        let Some(state) = self.states.get(&parent) else { return };
        if !state.waits.iter().any(|wait| wait.name == name && wait.qtype == qtype) {
            return;
        }
        let (forwards, depth, work) = (Arc::clone(&state.forwards), state.depth, Arc::clone(&state.work));
        let key = Key { name, qtype, qclass: Class::IN, cd: false };
        let raw = forwards.trust().is_some();
        let shun = if fresh { state.doubt.shun.clone() } else { Vec::new() };
        // Keys are asked for where the question stands; addresses one step deeper, for those may go on without end.
        let depth = if is_key(qtype) { depth } else { depth.saturating_add(1) };
        let child = match self.same(&key, raw, &forwards).filter(|_| !seeks_glue && !fresh) {
            Some(child) if child == parent || self.waits_for(child, parent) => None,
            Some(child) => {
                state.note(now, || super::steps::wants(&key, seeks_glue, Some(child), true));
                self.idle.remove(&child);
                self.states.get_mut(&child).map(|state| state.parents.push(parent)).map(|()| child)
            }
            None if self.states.len() >= self.limits.max_queries.saturating_mul(ROOM_FOR_CHILDREN) => {
                work.crowded.store(true, Ordering::Relaxed);
                None
            }
            None => {
                let kin = Kin { parents: vec![parent], depth, work, seeks_glue, raw, fresh, shun };
                // Its number is the next one; it may be over before `begin` returns, and then the news are on their way.
                let child = self.last + 1;
                state.note(now, || super::steps::wants(&key, seeks_glue, Some(child), false));
                self.tie(parent, &key, child);
                return self.begin(now, &forwards, key, (None, None), kin);
            }
        };
        match child {
            Some(child) => self.tie(parent, &key, child),
            None => {
                self.say(4, || format!("{} {qtype} would wait for itself", key.name));
                if let Some(state) = self.states.get(&parent) {
                    state.note(now, || super::steps::wants(&key, seeks_glue, None, false));
                }
                self.tell_parents(vec![parent], &key, &Answer::new(Rcode::SERVFAIL), false, None);
            }
        }
    }

    fn tie(&mut self, parent: u64, key: &Key, child: u64) {
        let waits = self.states.get_mut(&parent).map(|state| &mut state.waits);
        let wait = waits.and_then(|all| all.iter_mut().find(|w| w.name == key.name && w.qtype == key.qtype));
        if let Some(wait) = wait {
            wait.child = Some(child);
        }
    }

    /// Whether `state` waits for `other`, straight or through others.
    fn waits_for(&self, state: u64, other: u64) -> bool {
        let mut seen = vec![state];
        let mut at = 0;
        while let Some(number) = seen.get(at) {
            at += 1;
            let waits = self.states.get(number).map(|state| state.waits.as_slice()).unwrap_or_default();
            for child in waits.iter().filter_map(|wait| wait.child) {
                if child == other || seen.len() >= MAX_WALK {
                    return true;
                }
                if !seen.contains(&child) {
                    seen.push(child);
                }
            }
        }
        false
    }

    /// A state has ended: those who wait for it hear how, and whether that was `known` before.
    pub(super) fn tell_parents(
        &mut self,
        parents: Vec<u64>,
        key: &Key,
        answer: &Answer,
        known: bool,
        from: Option<SocketAddr>,
    ) {
        if parents.is_empty() {
            return;
        }
        let answer = Arc::new(answer.clone());
        for parent in parents {
            let (name, qtype, answer) = (key.name.clone(), key.qtype, Arc::clone(&answer));
            self.news.push_back(News { parent, name, qtype, answer, known, from });
        }
    }

    /// A state waits no longer. What it waited for goes on, for others or for the cache.
    pub(super) fn release(&mut self, state: &mut State) {
        for child in std::mem::take(&mut state.waits).into_iter().filter_map(|wait| wait.child) {
            if let Some(child) = self.states.get_mut(&child) {
                child.parents.retain(|parent| *parent != state.number);
                if child.is_idle() {
                    self.idle.insert(child.number);
                }
            }
        }
    }
}
