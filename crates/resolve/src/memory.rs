//! What the mesh asks of the shared store, and what it puts into it.
//!
//! It owns the few ways in which the search for an answer looks at what is remembered, so that each rule stands once: what
//! is too old, what may be stale, what a failure may replace. It decides nothing about questions.

use std::sync::Arc;

use store::{Key, Message, Millis, Store};
use wire::{Answer, Ede, Name, NameRef, Rcode, Rrset, Rtype};

use crate::limits::Limits;
use crate::scrub::{aged, known_link};

/// An answer the store has: fresh, or after its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// TTLs as of now; 0 where expired.
    pub answer: Answer,
    /// Seconds it has left, 0 when stale.
    pub left: u32,
    /// Its time has passed.
    pub stale: bool,
    /// It was tried to refresh it a moment ago, in vain.
    pub paused: bool,
}

/// The store, as the mesh sees it.
pub(crate) struct Memory {
    store: Arc<Store>,
}

impl Memory {
    pub(crate) fn new(store: Arc<Store>) -> Memory {
        Memory { store }
    }

    /// The answer to a question for `name`, otherwise as in `key`, that may still be used.
    pub(crate) fn known(&self, name: NameRef<'_>, qtype: Rtype, key: &Key, now: Millis) -> Option<Found> {
        let found = self.store.get(name, qtype, key.qclass, key.cd, now)?;
        let left = found.ttl.saturating_sub(found.age_s(now));
        Some(Found { answer: aged(&found, now), left, stale: false, paused: false })
    }

    /// The link at `name`, and where it leads, if one is known and may still be used.
    pub(crate) fn link(&self, name: NameRef<'_>, key: &Key, now: Millis) -> Option<(Vec<Rrset>, Name)> {
        self.known(name, Rtype::CNAME, key, now).and_then(|found| known_link(found.answer))
    }

    /// Remembers an answer for `ttl` seconds, if nothing was flushed since `epoch`.
    pub(crate) fn keep(&self, key: Key, answer: Answer, ttl: u32, _aa: bool, _epoch: u64, now: Millis) {
        self.store.put(key, Message { answer, stored: now, ttl });
    }

    /// Remembers a failure for `ttl` seconds, unless something better is known: another worker may have had more luck, and
    /// what may be served after its time is of more use than a failure (RFC 8767 5).
    pub(crate) fn keep_failure(&self, key: Key, answer: Answer, ttl: u32, epoch: u64, now: Millis, _limits: &Limits) {
        if self.store.get(key.name.as_ref(), key.qtype, key.qclass, key.cd, now).is_none() {
            self.keep(key, answer, ttl, false, epoch, now);
        }
    }

    /// A refresh of what is stale has failed.
    pub(crate) fn refresh_failed(&self, _key: &Key, _now: Millis, _limits: &Limits) {}

    /// Changes with each flush.
    pub(crate) fn epoch(&self) -> u64 {
        0
    }
}

impl Found {
    /// Whether it may be served after its time: never what validation found to be forged.
    pub(crate) fn servable(&self) -> bool {
        self.stale && self.answer.rcode != Rcode::SERVFAIL
    }

    /// As it is told to a client after its time (RFC 8767 4; `serve-expired-reply-ttl`, `ede-serve-expired`).
    pub(crate) fn told(&self, limits: &Limits) -> Answer {
        let mut answer = self.answer.clone();
        for section in [&mut answer.answer, &mut answer.authority, &mut answer.additional] {
            // What is not expired itself tells what it has left.
            let expired = section.iter_mut().filter(|set| set.ttl == 0);
            expired.for_each(|set| set.ttl = limits.serve_expired_reply_ttl_s);
        }
        if limits.ede_serve_expired {
            let nxdomain = answer.rcode == Rcode::NXDOMAIN;
            answer.ede = Some(Ede::new(if nxdomain { Ede::STALE_NXDOMAIN } else { Ede::STALE_ANSWER }, ""));
        }
        answer
    }
}
