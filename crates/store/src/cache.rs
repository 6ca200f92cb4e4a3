//! The store itself: two tables, of messages and of record sets, and every way to look into them or to add to them.
//!
//! It owns what a look-up may hand out and what an insertion changes; see the [crate] for the whole picture.
//!
//! **Locks.** Whoever holds a message shard may take a set shard; nobody who holds a set shard takes another lock. A look-up
//! holds its message's shard while it visits the sets one after the other; an insertion visits the sets first, each under
//! its own lock, and then the message's shard.
//!
//! **What a reader on another worker sees.** Which sets make up an answer, and its code, are read at one instant, and each
//! set is read whole. Between two sets of one answer another worker may put newer data into the second: then the answer has
//! the older first and the newer second set. Unbound holds the locks of all sets of an answer, but it stores the sets of a
//! reply one after the other, so its readers see the same. It does no harm where sets stand for themselves (addresses,
//! delegations, mail). Where the change of one set contradicts what it stands beside (a link that leads elsewhere, a proof
//! of another range), the new set gets a new generation: a message that refers to the old one is over, and nobody reads half
//! of each. `tests/threads.rs` holds that.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;
use wire::{Answer, Class, Name, NameRef, Rcode, RdataSet, Rrset, RrsetData, Rtype};

use crate::Millis;
use crate::cuts::Cuts;
use crate::denials::{self, Denials};
use crate::message::{Fixed, GENERATIONS, Handle, Handles, Key, Message, Parts, ede};
use crate::sets::{Kind, KnownSet, Security, Set, Trust, Verdict, contradicts};
use crate::shard::{self, Shard, Shards};

/// Octets a store may hold. 0 is a table that keeps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// For messages (`msg-cache-size`).
    pub messages: usize,
    /// For record sets (`rrset-cache-size`).
    pub rrsets: usize,
}

/// How an answer is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    /// When it came.
    pub now: Millis,
    /// Seconds the message may be used; its sets have TTLs of their own, and the shortest bounds them all.
    pub ttl: u32,
    /// Whether the reply had AA: what its sets are worth (RFC 2181 5.4.1).
    pub authoritative: bool,
    /// What is known of its truth.
    pub security: Security,
    /// [`Store::epoch`] when the question was sent: what a flush came after is not stored.
    pub epoch: u64,
    /// Known sets that end within so many seconds count as ended: an answer that was asked for again before its time was over
    /// (`prefetch`) must be able to take the place of equal data. 0 for any other answer.
    pub leeway_s: u32,
}

/// An answer that was remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The answer. TTLs are what is left of them, 0 where the set is expired.
    pub answer: Answer,
    /// Seconds it had when it was stored.
    pub ttl: u32,
    /// Seconds it has left; 0 when stale.
    pub left: u32,
    /// Whether it, or one of its sets, is expired.
    pub stale: bool,
    /// Whether it is in the last tenth of its life, where Unbound's `prefetch` asks again.
    pub prefetch: bool,
    /// Seconds until `prefetch` turns true; 0 when it is, or when the answer is stale.
    pub prefetch_in: u32,
    /// Whether no refresh is to be tried now: see [`Store::pause`].
    pub paused: bool,
    /// What is known of its truth now: an answer that was proven of which a set has changed since is not proven any more.
    /// `answer.ad` says the same.
    pub security: Security,
}

/// What one table holds and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableUsage {
    /// Entries held, expired ones included.
    pub entries: usize,
    /// Octets held.
    pub bytes: usize,
    /// Octets it may hold.
    pub limit: usize,
    /// Look-ups that found a fresh entry.
    pub hits: u64,
    /// Look-ups that found an expired one and could use it.
    pub stale_hits: u64,
    /// Look-ups that found none of use.
    pub misses: u64,
    /// Entries that left to make room.
    pub evictions: u64,
}

/// What the store holds and did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The messages.
    pub messages: TableUsage,
    /// The record sets.
    pub rrsets: TableUsage,
}

/// The types an answer to ANY is made of when no message is remembered, as Unbound does it.
const ANY_TYPES: [Rtype; 6] = [Rtype::A, Rtype::AAAA, Rtype::MX, Rtype::SOA, Rtype::NS, Rtype::DNAME];
/// The types under which an NXDOMAIN of a name above is looked for: what names are asked for most. One that was found for
/// another type only is not seen; nothing is lost but a question upstream.
const CUT_TYPES: [Rtype; 8] =
    [Rtype::A, Rtype::AAAA, Rtype::HTTPS, Rtype::NS, Rtype::DS, Rtype::TXT, Rtype::MX, Rtype::SRV];

/// The cache all workers share.
pub struct Store {
    pub(crate) messages: Shards<Message>,
    pub(crate) sets: Shards<Set>,
    pub(crate) denials: Denials,
    hasher: DefaultHashBuilder,
    sizes: Mutex<Sizes>,
    epoch: AtomicU64,
    /// Names whose NXDOMAIN was proven.
    cuts: Cuts,
}

/// A set with its place.
pub(crate) struct Interned {
    pub(crate) handle: Handle,
    pub(crate) expires: u32,
    /// What was known has stayed.
    pub(crate) kept: bool,
    /// It, if its data are others than those that came.
    pub(crate) instead: Option<Rrset>,
}

/// How a set arrives.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) now_s: u32,
    pub(crate) epoch: u64,
    pub(crate) leeway_s: u32,
    pub(crate) kind: Kind,
    pub(crate) trust: Trust,
    pub(crate) security: Security,
}

/// The second a moment falls in. Everything is counted in whole seconds, so that all TTLs tick at the same instant.
pub(crate) fn second(now: Millis) -> u32 {
    u32::try_from(now / 1000).unwrap_or(u32::MAX)
}

impl Store {
    /// An empty store that never holds more than `sizes`.
    pub fn new(sizes: Sizes) -> Store {
        Store {
            messages: shard::shards(sizes.messages),
            sets: shard::shards(sizes.rrsets),
            denials: Denials::new(),
            hasher: DefaultHashBuilder::default(),
            sizes: Mutex::new(sizes),
            epoch: AtomicU64::new(0),
            cuts: Cuts::new(),
        }
    }

    /// Other sizes from now on; what is too much is evicted. The number of shards stays, and a shard whose bare tables
    /// exceed what it may hold now starts anew.
    pub fn resize(&self, sizes: Sizes) {
        // Held to the end: of two at once one wins everywhere.
        let mut held = self.sizes.lock();
        *held = sizes;
        shard::resize(&self.messages, sizes.messages);
        shard::resize(&self.sets, sizes.rrsets);
    }

    /// Changes with every flush. To be read before a question is sent, for [`Put::epoch`].
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Starts a new epoch. To be called before entries are taken out: who holds a shard's lock afterwards and still sees the
    /// old epoch is found by the flush when it comes to that shard.
    pub(crate) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The answer to a question, `name` of any case: one that is fresh, or, with `stale`, one that expired less than so many
    /// seconds ago (0: however long ago).
    pub fn get(
        &self,
        name: NameRef<'_>,
        qtype: Rtype,
        qclass: Class,
        cd: bool,
        now: Millis,
        stale: Option<u32>,
    ) -> Option<Found> {
        let hash = self.hash(name, qtype, qclass, u8::from(cd));
        let now_s = second(now);
        let mut held = shard_of(&self.messages, hash)?.lock();
        let held = &mut *held;
        let slot = held.find(hash as u32, |message| message.may_be(hash, qtype, qclass, cd));
        let outcome = match slot.and_then(|slot| held.queue.peek(slot)) {
            Some(message) => self.read(message, name, now_s, stale),
            None => Err(Unread::NotNow),
        };
        match (outcome, slot) {
            (Ok(found), Some(slot)) => {
                held.queue.mark(slot);
                let hits = if found.stale { &mut held.counters.stale_hits } else { &mut held.counters.hits };
                *hits += 1;
                Some(found)
            }
            (outcome, slot) => {
                held.counters.misses += 1;
                if let (Err(Unread::Broken), Some(slot)) = (outcome, slot) {
                    held.remove(slot);
                }
                None
            }
        }
    }

    /// Remembers an answer in the place of an earlier one to the same question, and its sets by their rank.
    ///
    /// With TTL 0 nothing is stored (RFC 1035 3.2.1: for the transaction in progress only), and what was known is forgotten,
    /// even if it might be served stale: the newest word is that nothing is to be kept. A message of which a set cannot be
    /// stored is not stored, nor one that would put a link or a proof that is known better beside what contradicts it.
    ///
    /// Returns the answer as it is known now where that differs: sets that lost to better ones, or to equal ones that came
    /// before, give way to these, as Unbound tells it to the client who asked.
    pub fn put(&self, key: Key, answer: &Answer, put: Put) -> Option<Answer> {
        let hash = self.hash(key.name.as_ref(), key.qtype, key.qclass, u8::from(key.cd));
        let now_s = second(put.now);
        let sections = [&answer.answer, &answer.authority, &answer.additional];
        let mut handles = Vec::with_capacity(sections.iter().map(|section| section.len()).sum());
        let mut expires = now_s.saturating_add(put.ttl);
        let mut whole = true;
        let mut known: Option<Answer> = None;
        // What a denial proves is known no longer than the denial itself (RFC 9077 3).
        let soa = answer.authority.iter().filter(|set| set.rtype == Rtype::SOA);
        let denied_ttl = soa.map(|soa| soa.ttl).min().unwrap_or(u32::MAX);
        for (nth, section) in sections.into_iter().enumerate().filter(|_| put.ttl > 0) {
            for (at, set) in section.iter().enumerate() {
                if nth == 0 && is_made(answer.answer.get(..at).unwrap_or_default(), set) {
                    handles.push(Handle::MADE);
                    continue;
                }
                let security = if nth == 2 { Security::Unchecked } else { put.security };
                let trust = Trust::of(nth, put.authoritative);
                let arrival = Arrival {
                    now_s,
                    epoch: put.epoch,
                    leeway_s: put.leeway_s,
                    kind: Kind::of(set, nth, key.cd),
                    trust: if security == Security::Secure { Trust::Validated } else { trust },
                    security,
                };
                match self.intern(set, set.ttl, arrival) {
                    Some(interned) => {
                        if security == Security::Secure {
                            self.note_proven(set, denied_ttl.min(set.ttl), arrival);
                        }
                        expires = expires.min(interned.expires);
                        handles.push(interned.handle);
                        let left = interned.expires.saturating_sub(now_s);
                        if interned.kept && (interned.instead.is_some() || left != set.ttl) {
                            let known = known.get_or_insert_with(|| answer.clone());
                            let section = [&mut known.answer, &mut known.authority, &mut known.additional];
                            let place = section.into_iter().nth(nth).and_then(|section| section.get_mut(at));
                            let now =
                                interned.instead.unwrap_or_else(|| Rrset::from_data(left, Arc::clone(set.data())));
                            if let Some(place) = place {
                                *place = now;
                            }
                        }
                    }
                    None => whole = false,
                }
            }
        }
        let ttl = expires.saturating_sub(now_s);
        let fixed = Fixed { hash, expires, ttl, rcode: answer.rcode, aa: answer.aa, security: put.security };
        let first = answer.answer.first().filter(|_| handles.first() != Some(&Handle::MADE));
        let named_by_first = first.is_some_and(|set| set.owner == key.name);
        let count = |sets: usize| u16::try_from(sets).unwrap_or(u16::MAX);
        let parts = Parts {
            handles: Handles::Listed(&handles),
            answer: count(answer.answer.len()),
            authority: count(answer.answer.len() + answer.authority.len()),
            stale_from: 0,
            paused_until: 0,
            name: (!named_by_first).then(|| key.name.as_ref()),
            ede: answer.ede.as_ref().map(|ede| (ede.code, &*ede.text)),
        };
        let message =
            (whole && ttl > 0 && handles.len() <= usize::from(u16::MAX)).then(|| Message::new(&key, &fixed, &parts));
        if message.is_some() && answer.rcode == Rcode::NXDOMAIN && put.security == Security::Secure {
            self.cuts.note(self.hash_name(key.name.as_ref(), key.qclass));
        }
        let known = known.filter(|_| message.is_some());
        self.replace(&key, hash, message, put.epoch);
        known
    }

    /// A proven set is remembered: what it says of names it does not bear is too.
    fn note_proven(&self, set: &Rrset, ttl: u32, arrival: Arrival) {
        if matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3) {
            self.denials.note(set, arrival.now_s.saturating_add(ttl), || self.epoch() == arrival.epoch);
        } else if let Some(wildcard) = denials::wildcard_of(set) {
            let (owner, rdata, sigs) = (wildcard, set.rdata.clone(), set.sigs.clone());
            let wildcard = Rrset::new(owner, set.rtype, set.class, set.ttl, rdata).with_sigs(sigs);
            self.intern(&wildcard, wildcard.ttl, arrival);
        }
    }

    /// Puts a message, or nothing, in the place of the one there was.
    pub(crate) fn replace(&self, key: &Key, hash: u64, message: Option<Message>, epoch: u64) {
        // Whatever leaves is freed after the lock is released.
        let mut left = Vec::new();
        let Some(shard) = shard_of(&self.messages, hash) else {
            return;
        };
        let mut held = shard.lock();
        if self.epoch() != epoch {
            return;
        }
        if let Some(old) = held.find(hash as u32, |old| old.may_be(hash, key.qtype, key.qclass, key.cd)) {
            left.extend(held.remove(old));
        }
        if let Some(message) = message {
            held.insert(message, &mut left);
        }
        drop(held);
    }

    /// Remembers one set that is no answer by itself, by its rank: name servers, their addresses and the proofs that came with
    /// a delegation. TTL 0 is not stored.
    pub fn learn(&self, set: &Rrset, trust: Trust, put: Put) {
        if set.ttl == 0 {
            return;
        }
        let arrival = Arrival {
            now_s: second(put.now),
            epoch: put.epoch,
            leeway_s: put.leeway_s,
            kind: Kind::of(set, 2, false),
            trust,
            security: put.security,
        };
        self.intern(set, set.ttl, arrival);
    }

    /// One set, if it is known and fresh; the TTL is what is left.
    pub fn rrset(&self, name: NameRef<'_>, rtype: Rtype, class: Class, cd: bool, now: Millis) -> Option<KnownSet> {
        let now_s = second(now);
        self.find_set(name, rtype, class, Kind::new(cd), |set| known(set, now_s)).or_else(|| {
            let apex = (rtype == Rtype::NSEC).then_some(Kind::new(cd).apex())?;
            self.find_set(name, rtype, class, apex, |set| known(set, now_s))
        })
    }

    /// An answer to ANY out of sets, as Unbound composes it when it remembers no message: of the commonest types, those that
    /// once were an answer. `None` if there is none, or if one of them came with what was bogus, or needs a
    /// proof: who asks then finds out.
    pub fn any(&self, name: NameRef<'_>, class: Class, cd: bool, now: Millis) -> Option<Found> {
        let known = ANY_TYPES.iter().filter_map(|rtype| self.rrset(name, *rtype, class, cd, now));
        let sets: Vec<KnownSet> = known.filter(|known| known.trust.answers()).collect();
        let left = sets.iter().map(|known| known.set.ttl).min()?;
        let security = sets.iter().map(|known| known.security).min().unwrap_or_default();
        // What a wildcard made is worth nothing without its proof, which stands in the message alone (RFC 4035 5.3.4).
        let lacks = |known: &KnownSet| known.security == Security::Bogus || denials::wildcard_of(&known.set).is_some();
        if sets.iter().any(lacks) {
            return None;
        }
        let ad = security == Security::Secure;
        let answer = Answer { answer: sets.into_iter().map(|known| known.set).collect(), ad, ..Answer::default() };
        Some(Found {
            answer,
            ttl: left,
            left,
            stale: false,
            prefetch: false,
            prefetch_in: left,
            paused: false,
            security,
        })
    }

    /// The NXDOMAIN of the closest name above `name` and below `apex`, if one is remembered that is proven: then `name` does
    /// not exist either (RFC 8020, Unbound's `harden-below-nxdomain`).
    pub fn nxdomain_above(
        &self,
        name: NameRef<'_>,
        apex: NameRef<'_>,
        class: Class,
        cd: bool,
        now: Millis,
    ) -> Option<Found> {
        if self.cuts.is_empty() {
            return None;
        }
        let above = name.ancestors().skip(1).take_while(|above| above.len() > apex.len());
        above.filter(|above| self.cuts.may_have(self.hash_name(*above, class))).find_map(|above| {
            CUT_TYPES.iter().find_map(|qtype| {
                let found = self.get(above, *qtype, class, cd, now, None)?;
                let cut = found.answer.rcode == Rcode::NXDOMAIN
                    && found.security == Security::Secure
                    && found.answer.answer.is_empty();
                cut.then_some(found)
            })
        })
    }

    /// Lets the time for which an expired answer may be served begin anew now (`serve-expired-ttl-reset`).
    pub fn keep_stale(&self, key: &Key, now: Millis) {
        self.set_clocks(key, Some(second(now)), None);
    }

    /// Says that an answer need not be refreshed for so many seconds, because that was just tried in vain (RFC 8767 5: not
    /// more often than every 30 s): [`Found::paused`].
    pub fn pause(&self, key: &Key, now: Millis, for_s: u32) {
        self.set_clocks(key, None, Some(second(now).saturating_add(for_s)));
    }

    fn set_clocks(&self, key: &Key, stale_from: Option<u32>, paused_until: Option<u32>) {
        let hash = self.hash(key.name.as_ref(), key.qtype, key.qclass, u8::from(key.cd));
        let mut left = Vec::new();
        let Some(shard) = shard_of(&self.messages, hash) else {
            return;
        };
        let mut held = shard.lock();
        let slot = held.find(hash as u32, |message| message.may_be(hash, key.qtype, key.qclass, key.cd));
        if let Some(slot) = slot {
            held.change(slot, &mut left, |message| message.set_clocks(stale_from, paused_until));
        }
        drop(held);
    }

    /// What it holds and did.
    pub fn usage(&self) -> Usage {
        let sizes = *self.sizes.lock();
        Usage { messages: usage(&self.messages, sizes.messages), rrsets: usage(&self.sets, sizes.rrsets) }
    }

    /// Puts a set into its slot, or finds that the one there is better. `None` if neither could be.
    pub(crate) fn intern(&self, data: &RrsetData, ttl: u32, arrival: Arrival) -> Option<Interned> {
        let Arrival { now_s, epoch, leeway_s, kind, trust, security } = arrival;
        let hash = self.hash(data.owner.as_ref(), data.rtype, data.class, kind.number());
        let mut set = Set::new(data, hash as u32, kind);
        (set.expires, set.trust, set.security) = (now_s.saturating_add(ttl), trust, security);
        let nth = shard_number(&self.sets, hash);
        let mut left = Vec::new();
        let mut freed = None;
        let mut held = self.sets.get(nth)?.lock();
        if self.epoch() != epoch {
            return None;
        }
        let known = held.find(hash as u32, |have| have.is(data.owner.as_ref(), data.rtype, data.class, kind));
        let interned =
            match known {
                Some(slot) => {
                    let have = held.queue.peek(slot)?;
                    let verdict = have.verdict(&mut set, now_s.saturating_add(leeway_s));
                    let (expires, generation) = (set.expires, have.generation);
                    match verdict {
                        Verdict::Keep => {
                            let same = have.same_data(&set);
                            let instead = if same { None } else { have.rrset(have.expires.saturating_sub(now_s)) };
                            let fits = same || !contradicts(data.rtype);
                            let expires = have.expires;
                            Handle::new(nth, slot, generation).filter(|_| fits).map(|handle| Interned {
                                handle,
                                expires,
                                kept: true,
                                instead,
                            })
                        }
                        Verdict::Replace | Verdict::Succeed => {
                            let generation =
                                if verdict == Verdict::Succeed { held.number(GENERATIONS - 1) } else { generation };
                            let stays = held.change(slot, &mut left, |have| {
                                have.generation = generation;
                                freed = Some(have.become_like(set));
                            });
                            stays.then(|| Handle::new(nth, slot, generation)).flatten().map(|handle| Interned {
                                handle,
                                expires,
                                kept: false,
                                instead: None,
                            })
                        }
                    }
                }
                None => {
                    set.generation = held.number(GENERATIONS - 1);
                    let (expires, generation) = (set.expires, set.generation);
                    held.insert(set, &mut left)
                        .and_then(|slot| Handle::new(nth, slot, generation))
                        .map(|handle| Interned { handle, expires, kept: false, instead: None })
                }
            };
        drop(held);
        drop(freed);
        interned
    }

    /// Shows a known set to `read`.
    pub(crate) fn find_set<T>(
        &self,
        name: NameRef<'_>,
        rtype: Rtype,
        class: Class,
        kind: Kind,
        read: impl FnOnce(&Set) -> Option<T>,
    ) -> Option<T> {
        let hash = self.hash(name, rtype, class, kind.number());
        let mut held = shard_of(&self.sets, hash)?.lock();
        let slot = held.find(hash as u32, |have| have.is(name, rtype, class, kind));
        let seen = slot.and_then(|slot| held.queue.peek(slot)).and_then(read);
        count(&mut held, slot, seen.is_some());
        seen
    }

    /// Shows the set a handle refers to, if it is still that set; for housekeeping, which is no use of it.
    pub(crate) fn look_at<T>(&self, handle: Handle, read: impl FnOnce(&Set) -> Option<T>) -> Option<T> {
        let (nth, slot, generation) = handle.parts();
        let held = self.sets.get(nth)?.lock();
        held.queue.peek(slot).filter(|set| set.generation == generation).and_then(read)
    }

    /// Shows the set a handle refers to, if it is still that set.
    fn follow<T>(&self, handle: Handle, read: impl FnOnce(&Set) -> Option<T>) -> Option<T> {
        let (nth, slot, generation) = handle.parts();
        let mut held = self.sets.get(nth)?.lock();
        let seen = held.queue.peek(slot).filter(|set| set.generation == generation).and_then(read);
        count(&mut held, Some(slot), seen.is_some());
        seen
    }

    /// Reads a message that may be the answer to a question for `name`. Its shard is locked.
    fn read(&self, message: &Message, name: NameRef<'_>, now_s: u32, stale: Option<u32>) -> Result<Found, Unread> {
        let parts = message.parts().ok_or(Unread::Broken)?;
        if parts.name.is_some_and(|own| own != name) {
            return Err(Unread::NotNow);
        }
        let mut ends = message.expires;
        let beyond = match stale {
            None => 0,
            Some(0) => u32::MAX,
            Some(most) => most,
        };
        let usable =
            |ends: u32| now_s < ends || stale.is_some() && now_s - ends.max(parts.stale_from).min(now_s) < beyond;
        if !usable(ends) {
            return Err(Unread::NotNow);
        }
        let mut answer =
            Answer { rcode: message.rcode, aa: message.aa(), ede: parts.ede.map(ede), ..Answer::default() };
        let mut security = message.security;
        let sections = [usize::from(parts.answer), usize::from(parts.authority), parts.handles.len()];
        let mut chain = Chain::default();
        for (at, handle) in parts.handles.iter().enumerate() {
            let set = if handle == Handle::MADE {
                chain.made(name).ok_or(Unread::Broken)?
            } else {
                let (set, expires, proven) = self
                    .follow(handle, |set| {
                        let left = set.expires.saturating_sub(now_s);
                        Some((set.rrset(left)?, set.expires, set.security == Security::Secure))
                    })
                    .ok_or(Unread::Broken)?;
                // An expired set may have been followed by one that nobody proved.
                if security == Security::Secure && !proven && at < usize::from(parts.authority) {
                    security = Security::Unchecked;
                }
                if at == 0 && parts.name.is_none() && set.owner != name {
                    // Another question with the same hash.
                    return Err(Unread::NotNow);
                }
                ends = ends.min(expires);
                set
            };
            let [answers, authorities, _] = sections;
            if at < answers {
                chain.step(&set);
                reserve(&mut answer.answer, answers).push(set);
            } else if at < authorities {
                reserve(&mut answer.authority, authorities - answers).push(set);
            } else {
                reserve(&mut answer.additional, parts.handles.len() - authorities).push(set);
            }
        }
        if !usable(ends) {
            return Err(Unread::NotNow);
        }
        answer.ad = security == Security::Secure;
        let left = ends.saturating_sub(now_s);
        let due = message.expires - message.ttl / 10;
        Ok(Found {
            answer,
            ttl: message.ttl,
            left,
            stale: left == 0,
            prefetch: left > 0 && now_s >= due,
            prefetch_in: if left > 0 { due.saturating_sub(now_s) } else { 0 },
            paused: now_s < parts.paused_until,
            security,
        })
    }

    fn hash_name(&self, name: NameRef<'_>, class: Class) -> u64 {
        self.hash(name, Rtype(0), class, 0)
    }

    pub(crate) fn hash(&self, name: NameRef<'_>, rtype: Rtype, class: Class, kind: u8) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        name.hash(&mut hasher);
        // One write for the rest: fewer rounds of the hash on the hottest path.
        hasher.write_u64(u64::from(rtype.0) << 32 | u64::from(class.0) << 8 | u64::from(kind));
        hasher.finish()
    }
}

/// Why a message is not handed out.
enum Unread {
    /// It is another one, or its time has passed.
    NotNow,
    /// A set it refers to is gone: it will never be whole again.
    Broken,
}

/// The links of an answer section as far as it was read.
#[derive(Default)]
pub(crate) struct Chain {
    /// What the last CNAME leads to.
    at: Option<Name>,
    /// Owner and target of the last DNAME, and its TTL.
    dname: Option<(Name, Name, u32)>,
}

impl Chain {
    fn step(&mut self, set: &Rrset) {
        let leads_to = || set.rdata.first().and_then(|rdata| Name::from_wire(rdata).ok());
        match set.rtype {
            Rtype::CNAME => self.at = leads_to(),
            Rtype::DNAME => self.dname = leads_to().map(|to| (set.owner.clone(), to, set.ttl)),
            _ => {}
        }
    }

    /// Whether each set of an answer section that begins at `qname` is reached by the links before it.
    pub(crate) fn reaches_all(qname: NameRef<'_>, section: &[Rrset]) -> bool {
        let mut chain = Chain::default();
        section.iter().all(|set| {
            let here = chain.at.as_ref().map_or(qname, Name::as_ref);
            let reached = match set.rtype {
                Rtype::DNAME => here.is_subdomain_of(set.owner.as_ref()),
                _ => set.owner == here,
            };
            chain.step(set);
            reached
        })
    }

    /// The CNAME that the last DNAME means, with its TTL (RFC 6672 3.1).
    fn made(&self, qname: NameRef<'_>) -> Option<Rrset> {
        let from = self.at.as_ref().map_or(qname, Name::as_ref);
        let (owner, to, ttl) = self.dname.as_ref()?;
        let target = from.to_buf().rewrite(owner.as_ref(), to.as_ref())?.ok()?;
        let rdata = RdataSet::one(target.as_ref().as_wire());
        Some(Rrset::new(from.to_name(), Rtype::CNAME, Class::IN, *ttl, rdata))
    }
}

/// Whether a set is the CNAME that a DNAME before it means.
fn is_made(before: &[Rrset], set: &Rrset) -> bool {
    if set.rtype != Rtype::CNAME {
        return false; // before the walk: an answer to ANY may have thousands of sets
    }
    let mut chain = Chain::default();
    before.iter().for_each(|set| chain.step(set));
    before.iter().any(|set| set.rtype == Rtype::DNAME)
        && chain.made(set.owner.as_ref()).is_some_and(|made| made.data() == set.data())
}

pub(crate) fn known(set: &Set, now_s: u32) -> Option<KnownSet> {
    let left = set.expires.checked_sub(now_s).filter(|left| *left > 0)?;
    Some(KnownSet { set: set.rrset(left)?, trust: set.trust, security: set.security })
}

/// Counts a look-up of a set and marks what was read.
fn count(held: &mut Shard<Set>, slot: Option<u32>, read: bool) {
    match slot.filter(|_| read) {
        Some(slot) => {
            held.queue.mark(slot);
            held.counters.hits += 1;
        }
        None => held.counters.misses += 1,
    }
}

/// Makes room for all of a section at once.
fn reserve(section: &mut Vec<Rrset>, len: usize) -> &mut Vec<Rrset> {
    if section.capacity() == 0 {
        section.reserve_exact(len);
    }
    section
}

/// The shard of a hash. The tables inside the shards use the low half, so this takes from the high one.
fn shard_number<T>(shards: &Shards<T>, hash: u64) -> usize {
    (hash >> 32) as usize & (shards.len() - 1)
}

pub(crate) fn shard_of<T>(shards: &Shards<T>, hash: u64) -> Option<&Mutex<Shard<T>>> {
    shards.get(shard_number(shards, hash))
}

fn usage<T: shard::Entry>(shards: &Shards<T>, limit: usize) -> TableUsage {
    shards.iter().fold(TableUsage { limit, ..TableUsage::default() }, |sum, shard| {
        let held = shard.lock();
        TableUsage {
            entries: sum.entries + held.queue.len(),
            bytes: sum.bytes + held.bytes(),
            limit,
            hits: sum.hits + held.counters.hits,
            stale_hits: sum.stale_hits + held.counters.stale_hits,
            misses: sum.misses + held.counters.misses,
            evictions: sum.evictions + held.counters.evictions,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(n: u8) -> Name {
        Name::from_text(&format!("{}.example.", "n".repeat(usize::from(n) + 1))).unwrap()
    }

    fn recounted<T: shard::Entry>(shards: &Shards<T>) -> Result<(), TestCaseError> {
        for shard in shards {
            let (counted, found) = shard.lock().recount();
            prop_assert_eq!(counted, found);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn octets_counted_are_octets_found(
            limit in 1_000usize..60_000,
            ops in prop::collection::vec((0u8..8, 0u8..20, 0usize..600, 1u32..9), 1..200),
        ) {
            let store = Store::new(Sizes { messages: limit, rrsets: limit });
            let mut now = 0;
            for (what, n, size, ttl) in ops {
                let key = Key { name: name(n), qtype: Rtype::TXT, qclass: Class::IN, cd: false };
                let rdata = RdataSet::one(&vec![n; size]);
                let set = Rrset::new(name(n), Rtype::TXT, Class::IN, ttl, rdata);
                let put = Put { now, ttl, authoritative: n > 9, security: Security::Unchecked, epoch: store.epoch(), leeway_s: 0 };
                match what {
                    0..=2 => drop(store.put(key, &Answer { answer: vec![set], ..Answer::default() }, put)),
                    3 => drop(store.put(key, &Answer { authority: vec![set], ..Answer::new(Rcode::NXDOMAIN) }, put)),
                    4 => store.pause(&key, now, 5),
                    5 => now += 1000 * u64::from(ttl),
                    6 => drop(store.flush_name(key.name.as_ref())),
                    _ => store.resize(Sizes { messages: limit - size, rrsets: limit - size }),
                }
                recounted(&store.messages)?;
                recounted(&store.sets)?;
                let usage = store.usage();
                prop_assert!(usage.messages.bytes <= usage.messages.limit, "{:?}", usage);
                prop_assert!(usage.rrsets.bytes <= usage.rrsets.limit, "{:?}", usage);
            }
        }
    }
}
