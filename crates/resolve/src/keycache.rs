//! [`KeyCache`]: the zones whose keys are proven, or known not to be there, so that few chains are walked from the top.
//!
//! It owns remembering, for all workers, and how much: a bound in octets (`key-cache-size`), an end for each entry, and what
//! an entry was concluded under ([`Stamp`]). It proves nothing and asks nobody: what enters is what `validate` concluded.
//!
//! Each shard is a map and a queue in order of arrival. When a shard is full its oldest entries leave, those that were read
//! since they came last get a second turn. The root and the large TLDs are read with every walk and so stay.

use std::hash::BuildHasher;
use std::sync::Arc;

use dnssec::{Reason, ZoneKeys};
use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;
use std::collections::VecDeque;
use store::Millis;
use wire::{Name, NameRef};

use crate::validate::Why;
use store::Borrowed;

/// Default octets (`key-cache-size`): a zone with two keys takes about a kilobyte.
pub const KEY_CACHE_SIZE: usize = 4 << 20;
/// Locks. Workers look in a few times for each question; 16 keep them apart.
const SHARDS: usize = 16;
/// Octets of an entry beside its records: the map's and the queue's places and the allocations' own.
const ENTRY: usize = 256;

/// What a chain of trust arrives at.
#[derive(Clone, Debug)]
pub(crate) enum Ground {
    /// A zone whose keys are proven.
    Keys(Arc<ZoneKeys>),
    /// Proven to be unsigned, or not to be verified here; with a reason where it is of interest.
    Insecure(Option<Reason>),
    /// The chain breaks.
    Bogus(Why),
}

/// Under what something was concluded: configuration, what changes in it while it runs, flushes of the store. Entries of
/// another stamp do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) trust: u64,
    pub(crate) version: u64,
    pub(crate) epoch: u64,
}

/// What is known of zones, shared by all workers.
#[derive(Debug)]
pub struct KeyCache {
    shards: Box<[Mutex<Shard>]>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Name, Entry>,
    queue: VecDeque<Name>,
    octets: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    ground: Ground,
    expires: Millis,
    stamp: Stamp,
    octets: usize,
    /// It was read since it came, or since it had its second turn.
    read: bool,
}

impl Default for KeyCache {
    fn default() -> KeyCache {
        KeyCache::new(KEY_CACHE_SIZE)
    }
}

impl KeyCache {
    /// An empty one that holds about so many octets.
    pub fn new(octets: usize) -> KeyCache {
        let shard = || Mutex::new(Shard { limit: octets / SHARDS, ..Shard::default() });
        KeyCache { shards: std::iter::repeat_with(shard).take(SHARDS).collect(), hasher: DefaultHashBuilder::default() }
    }

    /// Another bound from now on; what is too much leaves with the next entry that comes.
    pub fn resize(&self, octets: usize) {
        self.shards.iter().for_each(|shard| shard.lock().limit = octets / SHARDS);
    }

    /// Zones and octets held.
    pub fn usage(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(zones, octets), shard| {
            let held = shard.lock();
            (zones + held.entries.len(), octets + held.octets)
        })
    }

    fn shard(&self, zone: NameRef<'_>) -> Option<&Mutex<Shard>> {
        let hash = self.hasher.hash_one(zone) as usize;
        self.shards.get(hash % SHARDS)
    }

    /// What is known of exactly this name.
    pub(crate) fn get(&self, zone: NameRef<'_>, now: Millis, stamp: Stamp) -> Option<Ground> {
        let mut held = self.shard(zone)?.lock();
        let entry = held.entries.get_mut(&Borrowed(zone))?;
        if entry.expires <= now || entry.stamp != stamp {
            return None;
        }
        entry.read = true;
        Some(entry.ground.clone())
    }

    /// Remembers for so many seconds what was found.
    pub(crate) fn put(&self, zone: NameRef<'_>, ground: Ground, ttl_s: u32, now: Millis, stamp: Stamp) {
        if ttl_s == 0 {
            return;
        }
        let records = match &ground {
            Ground::Keys(keys) => keys.set().set().rdata.bytes() + keys.set().set().sigs.bytes(),
            _ => 0,
        };
        let octets = ENTRY + 2 * zone.len() + records;
        let expires = now + u64::from(ttl_s) * 1000;
        let entry = Entry { ground, expires, stamp, octets, read: false };
        let Some(shard) = self.shard(zone) else { return };
        let zone = zone.lower().to_name();
        let mut held = shard.lock();
        held.octets += octets;
        match held.entries.insert(zone.clone(), entry) {
            Some(old) => held.octets -= old.octets,
            None => held.queue.push_back(zone),
        }
        held.shrink();
    }
}

impl Shard {
    fn shrink(&mut self) {
        // Each entry comes by twice at most: once to lose its mark, once to leave.
        for _ in 0..2 * self.queue.len() {
            if self.octets <= self.limit {
                return;
            }
            let Some(zone) = self.queue.pop_front() else { return };
            match self.entries.get_mut(&zone) {
                Some(entry) if entry.read => {
                    entry.read = false;
                    self.queue.push_back(zone);
                }
                _ => {
                    self.octets -= self.entries.remove(&zone).map_or(0, |entry| entry.octets);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { trust: 1, version: 2, epoch: 3 };

    fn name(text: &str) -> Name {
        Name::from_text(text).expect("a name")
    }

    fn put(cache: &KeyCache, at: &str) {
        cache.put(name(at).as_ref(), Ground::Insecure(None), 10, 1000, STAMP);
    }

    fn known(cache: &KeyCache, at: &str, now: Millis, stamp: Stamp) -> bool {
        cache.get(name(at).as_ref(), now, stamp).is_some()
    }

    #[test]
    fn what_is_known_ends_with_its_time_and_with_what_it_was_concluded_under() {
        let cache = KeyCache::default();
        put(&cache, "Example.");
        assert!(known(&cache, "eXample.", 10_999, STAMP) && !known(&cache, "example.", 11_000, STAMP));
        for stamp in [Stamp { trust: 0, ..STAMP }, Stamp { version: 0, ..STAMP }, Stamp { epoch: 0, ..STAMP }] {
            assert!(!known(&cache, "example.", 1000, stamp), "{stamp:?}");
        }
    }

    #[test]
    fn key_cache_size_bounds_it_and_what_is_read_stays() {
        let cache = KeyCache::new(SHARDS * 4 * ENTRY);
        put(&cache, "com.");
        for nth in 0..1000 {
            assert!(known(&cache, "com.", 1000, STAMP));
            put(&cache, &format!("n{nth}.test."));
        }
        let (zones, octets) = cache.usage();
        assert!(octets <= SHARDS * 4 * ENTRY && (SHARDS..=SHARDS * 4).contains(&zones), "{zones} {octets}");
        put(&cache, "n999.test.");
        assert_eq!(cache.usage(), (zones, octets), "the same zone again takes no more room");
    }
}
