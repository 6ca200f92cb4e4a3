//! What the mesh asks of the shared store, and what it puts into it.
//!
//! It owns the few ways in which the search for an answer looks at what is remembered, so that each rule stands once: what
//! is a known link, what may be served after its time, what a failure may replace. It decides nothing about questions.

use std::sync::Arc;

use store::{Found, Key, KnownSet, Millis, Put, Security, Store};
use wire::{Answer, Class, Ede, Name, NameRef, Rcode, Rrset, Rtype};

use crate::implied::implied;
use crate::limits::{FAILURE_TTL, Limits, REFERRAL_NAMES};
use crate::scrub::{alias, made_cname};
use crate::trust::Trust;
use crate::validate::Part;

/// The store, as the mesh sees it.
pub(crate) struct Memory {
    store: Arc<Store>,
    /// Milliseconds that the store's time is ahead of the mesh's.
    ahead: i64,
}

impl Memory {
    pub(crate) fn new(store: Arc<Store>) -> Memory {
        Memory { store, ahead: 0 }
    }

    /// How far the store's time is ahead of the mesh's from now on, in milliseconds.
    pub(crate) fn set_ahead(&mut self, ahead: i64) {
        self.ahead = ahead;
    }

    /// The store's time.
    pub(crate) fn time(&self, now: Millis) -> Millis {
        now.saturating_add_signed(self.ahead)
    }

    /// The answer to a question for `name`, otherwise as in `key`, that may still be used.
    pub(crate) fn known(&self, name: NameRef<'_>, key: &Key, now: Millis) -> Option<Found> {
        self.store.get(name, key.qtype, key.qclass, key.cd, self.time(now), None)
    }

    /// What is known of `name`, below the configured zone `apex`, without an answer to the very question: the records of all
    /// types for ANY, as Unbound composes them, or that it cannot exist (`harden-below-nxdomain`, RFC 8020).
    pub(crate) fn implied(
        &self,
        name: NameRef<'_>,
        apex: NameRef<'_>,
        key: &Key,
        now: Millis,
        limits: &Limits,
    ) -> Option<Found> {
        if key.qtype == Rtype::ANY
            && let Some(found) = self.store.any(name, key.qclass, key.cd, self.time(now))
        {
            return Some(found);
        }
        let cut = || self.store.nxdomain_above(name, apex, key.qclass, key.cd, self.time(now));
        limits.harden_below_nxdomain.then(cut)?
    }

    /// What follows for `name` from denials that are remembered (RFC 8198).
    pub(crate) fn denied(
        &self,
        name: (NameRef<'_>, NameRef<'_>),
        key: &Key,
        own: bool,
        trust: &Trust,
        now: Millis,
    ) -> Option<Found> {
        (key.qclass == Class::IN).then(|| implied(&self.store, name, key.qtype, own, trust, self.time(now)))?
    }

    /// The link at `name`, and where it leads, if one is known and may still be used: a CNAME of its own, or a DNAME above it
    /// that is not above `apex`, whose servers are the ones to ask. A DNAME speaks of names nobody has asked for yet, so it
    /// counts only if it is proven; else its servers are asked once more (`iter_scrub_dname_insec`).
    pub(crate) fn link(&self, name: NameRef<'_>, apex: NameRef<'_>, key: &Key, now: Millis) -> Option<(Part, Name)> {
        let set = |owner, rtype| {
            let known = self.store.rrset(owner, rtype, key.qclass, key.cd, self.time(now))?;
            (known.trust.answers() && known.security != Security::Bogus).then_some(known)
        };
        let part = |sets, security| {
            let answer = Answer { answer: sets, ..Answer::default() };
            Part::new(name.lower().to_name(), Rtype::CNAME, answer, security)
        };
        if let Some(KnownSet { set: cname, security, .. }) = set(name, Rtype::CNAME) {
            let target = alias(&cname)?;
            if !dnssec::is_expanded(&cname) {
                return Some((part(vec![cname], security), target));
            }
            // Out of a wildcard it is worth something with its proof alone.
            let found = self.store.get(name, Rtype::CNAME, key.qclass, key.cd, self.time(now), None)?;
            let security = found.security;
            return Some((Part { answer: found.answer, ..part(vec![], security) }, target));
        }
        let above = name.ancestors().skip(1).take_while(|above| above.is_subdomain_of(apex));
        let KnownSet { set: dname, security, .. } = above.filter_map(|above| set(above, Rtype::DNAME)).next()?;
        if security != Security::Secure {
            return None;
        }
        let cname = made_cname(&dname, name)?.ok()?;
        let target = alias(&cname)?;
        Some((part(vec![dname, cname], security), target))
    }

    /// The answer to a question for a DS or DNSKEY set, whatever is known of its truth, and what referrals said.
    pub(crate) fn key(&self, name: &Name, rtype: Rtype, now: Millis) -> Option<Found> {
        let get = |cd| self.store.get(name.as_ref(), rtype, Class::IN, cd, self.time(now), None);
        get(false).or_else(|| if rtype == Rtype::DS { get(true) } else { None })
    }

    /// One set of what delegations are made of, whatever its rank. Delegations are the same for all questions, so they are
    /// kept without regard to checking disabled.
    pub(crate) fn set(&self, name: NameRef<'_>, rtype: Rtype, now: Millis) -> Option<KnownSet> {
        self.store.rrset(name, rtype, Class::IN, false, self.time(now))
    }

    /// Remembers one set that came with a delegation.
    pub(crate) fn learn(&self, set: &Rrset, trust: store::Trust, put: Put) {
        self.store.learn(set, trust, Put { now: self.time(put.now), ..put });
    }

    /// For who asked for no recursion: the closest name servers above the name that are known, with their addresses as far as
    /// those are known (RFC 1034 4.3.2 step 4, from the cache).
    pub(crate) fn referral(&self, key: &Key, now: Millis) -> Option<Answer> {
        let set = |owner, rtype| {
            let known = self.store.rrset(owner, rtype, key.qclass, key.cd, self.time(now))?;
            (known.security != Security::Bogus).then_some(known.set)
        };
        let servers = key.name.as_ref().ancestors().find_map(|above| set(above, Rtype::NS))?;
        let names = servers.rdata.iter().take(REFERRAL_NAMES).filter_map(|rdata| NameRef::from_wire(rdata).ok());
        let additional = names.flat_map(|name| [set(name, Rtype::A), set(name, Rtype::AAAA)]).flatten().collect();
        Some(Answer { authority: vec![servers], additional, ..Answer::new(Rcode::NOERROR) })
    }

    /// Remembers an answer; returns it as it is known now, where that differs.
    pub(crate) fn keep(&self, key: Key, answer: &Answer, put: Put) -> Option<Answer> {
        self.store.put(key, answer, Put { now: self.time(put.now), ..put })
    }

    /// Remembers a failure, unless something better is known: another worker may have had more luck, and
    /// what may be served after its time is of more use than a failure (RFC 8767 5).
    pub(crate) fn keep_failure(&self, key: Key, answer: &Answer, put: Put, limits: &Limits, trust: Option<&Trust>) {
        let stale = limits.serve_expired.then(|| oldest(limits));
        let better = self.store.get(key.name.as_ref(), key.qtype, key.qclass, key.cd, self.time(put.now), stale);
        if better.is_none_or(|found| found.stale && !servable(&found, trust, false)) {
            self.keep(key, answer, put);
        }
    }

    /// A search has failed. What is known is not searched for again for a while (a prefetch either). If it may be served after
    /// its time it is handed out, and its time may begin anew (`serve-expired-ttl-reset`), however old it is.
    pub(crate) fn fall_back(&self, key: &Key, now: Millis, limits: &Limits, trust: Option<&Trust>) -> Option<Found> {
        let found = self.last_resort(key, now, limits, trust)?;
        self.store.pause(key, self.time(now), FAILURE_TTL);
        if !found.stale {
            return None;
        }
        if limits.serve_expired_ttl_reset {
            self.store.keep_stale(key, self.time(now));
        }
        Some(found)
    }

    /// What is known, fresh or of an age that may be served when nothing better can be had.
    pub(crate) fn last_resort(&self, key: &Key, now: Millis, limits: &Limits, trust: Option<&Trust>) -> Option<Found> {
        let stale = limits.serve_expired.then(|| oldest(limits));
        let found = self.store.get(key.name.as_ref(), key.qtype, key.qclass, key.cd, self.time(now), stale);
        found.filter(|found| !found.stale || servable(found, trust, false))
    }

    /// Whether something is known that may be served after its time, and is worth more than what is bogus.
    pub(crate) fn has_stale(&self, key: &Key, now: Millis, limits: &Limits, trust: Option<&Trust>) -> bool {
        limits.serve_expired
            && self.last_resort(key, now, limits, trust).is_some_and(|found| found.security != Security::Bogus)
    }

    /// Seconds the answer to a question has left.
    pub(crate) fn left(&self, key: &Key, now: Millis) -> u32 {
        self.known(key.name.as_ref(), key, now).map_or(0, |found| found.left)
    }

    /// Changes with each flush.
    pub(crate) fn epoch(&self) -> u64 {
        self.store.epoch()
    }
}

/// Seconds after its time an answer may still be served when a search has failed; 0 is no bound.
fn oldest(limits: &Limits) -> u32 {
    if limits.serve_expired_ttl_reset { 0 } else { limits.serve_expired_ttl_s }
}

/// Of what use an answer that is remembered is to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is its answer.
    Good,
    /// It is to be proven first.
    Unproven,
    /// It is proven to be wrong: the client is told so.
    Bogus,
}

impl Fit {
    /// What is known and what the client's CD bit asks for, under what this resolver trusts. Failures need no proof: there
    /// is nothing in them that could be wrong.
    pub fn of(found: &Found, trust: Option<&Trust>, cd: bool) -> Fit {
        let Some(trust) = trust else { return Fit::Good };
        if !trust.checks(cd) {
            // Of what was refused without looking there are no data yet.
            let empty = found.security == Security::Bogus && found.answer.rcode == Rcode::SERVFAIL;
            return if empty { Fit::Unproven } else { Fit::Good };
        }
        match found.security {
            Security::Bogus if !trust.permissive => Fit::Bogus,
            Security::Unchecked if found.answer.rcode != Rcode::SERVFAIL => Fit::Unproven,
            _ => Fit::Good,
        }
    }
}

/// What is told of an answer that is proven to be wrong: nothing of it but why (RFC 4035 5.5, RFC 8914).
pub fn refused_answer(answer: &Answer) -> Answer {
    Answer { ede: answer.ede.clone(), ..Answer::new(Rcode::SERVFAIL) }
}

/// Whether an answer may be served after its time: never a failure, nor to who wants it proven what was not.
pub fn servable(found: &Found, trust: Option<&Trust>, cd: bool) -> bool {
    let forged = found.security == Security::Bogus;
    found.stale && found.answer.rcode != Rcode::SERVFAIL && !forged && Fit::of(found, trust, cd) == Fit::Good
}

/// A stale answer as it is told to a client (RFC 8767 4; `serve-expired-reply-ttl`, `ede-serve-expired`).
pub fn stale_answer(found: &Found, limits: &Limits) -> Answer {
    let mut answer = found.answer.clone();
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
