//! The shared cache: shards, each a hash table over a `Sieve`, under one limit of octets.
//!
//! It owns look-up, insertion, eviction and the count of octets; see the [crate] for the whole picture.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;
use wire::{Class, NameRef, Rtype};

use crate::Millis;
use crate::message::{Key, Message, allocated};
use crate::sieve::Sieve;

/// Most shards, a power of two: four for each of 16 workers, enough that two rarely want the same lock.
pub const MAX_SHARDS: usize = 64;
/// Fewest octets a shard has before there are more of them, so that one of the largest messages (64 KiB on the wire,
/// several times that as RRsets) fits into any cache of at least this size.
pub const MIN_SHARD_BYTES: usize = 512 * 1024;

/// What the cache did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Look-ups that found a usable entry.
    pub hits: u64,
    /// Look-ups that found none, or one whose time had passed.
    pub misses: u64,
    /// Entries that left to make room.
    pub evictions: u64,
}

/// The cache of answers all workers share.
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    hasher: DefaultHashBuilder,
    limit: usize,
}

/// One entry of a shard.
struct Entry {
    key: Key,
    hash: u64,
    message: Arc<Message>,
    /// Octets of heap behind `key` and `message`.
    heap: usize,
}

struct Shard {
    /// Indices into `queue`, by the hash of the key.
    index: HashTable<u32>,
    queue: Sieve<Entry>,
    /// Octets behind all entries, without `index` and `queue` themselves.
    heap: usize,
    limit: usize,
    counters: Counters,
}

impl Store {
    /// An empty cache that never holds more than `limit_bytes` octets (`msg-cache-size`). 0 is a cache that keeps
    /// nothing.
    pub fn new(limit_bytes: usize) -> Store {
        let shards = match limit_bytes / MIN_SHARD_BYTES {
            0 => 1,
            fit => (1 << fit.ilog2()).min(MAX_SHARDS),
        };
        let shard = || {
            Mutex::new(Shard {
                index: HashTable::new(),
                queue: Sieve::new(),
                heap: 0,
                limit: limit_bytes / shards,
                counters: Counters::default(),
            })
        };
        Store {
            shards: (0..shards).map(|_| shard()).collect(),
            hasher: DefaultHashBuilder::default(),
            limit: limit_bytes,
        }
    }

    /// The answer to a question, if one is remembered whose time has not passed. `name` may have any case.
    pub fn get(&self, name: NameRef<'_>, qtype: Rtype, qclass: Class, cd: bool, now: Millis) -> Option<Arc<Message>> {
        let hash = self.hash(name, qtype, qclass, cd);
        let mut shard = self.shard(hash)?.lock();
        let shard = &mut *shard;
        let found = shard.find(hash, name, qtype, qclass, cd).and_then(|index| {
            let message = &shard.queue.peek(index)?.message;
            (!message.expired(now)).then(|| (index, Arc::clone(message)))
        });
        match found {
            Some((index, message)) => {
                shard.queue.mark(index);
                shard.counters.hits += 1;
                Some(message)
            }
            None => {
                shard.counters.misses += 1;
                None
            }
        }
    }

    /// Remembers an answer in the place of an earlier one to the same question. Not stored are a TTL of 0 and a message
    /// too large for its shard. `message.stored` is the time by which expired entries are told when room is needed.
    pub fn put(&self, key: Key, mut message: Message) {
        if message.ttl == 0 {
            return;
        }
        message.shrink();
        let name = key.name.as_ref();
        let hash = self.hash(name, key.qtype, key.qclass, key.cd);
        let heap = allocated(name.len()) + message.heap();
        let now = message.stored;
        // Whatever leaves is freed after the lock is released.
        let mut left = Vec::new();
        if let Some(shard) = self.shard(hash) {
            let entry = Entry { key, hash, message: Arc::new(message), heap };
            shard.lock().insert(entry, now, &mut left);
        }
    }

    /// Forgets everything.
    pub fn flush_all(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let old = shard.clear();
            drop(shard);
            drop(old);
        }
    }

    /// Octets held.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes()).sum()
    }

    /// Octets it may hold.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Entries held, those whose time has passed included.
    pub fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().queue.len()).sum()
    }

    /// What it did so far.
    pub fn counters(&self) -> Counters {
        self.shards.iter().fold(Counters::default(), |sum, shard| {
            let one = shard.lock().counters;
            Counters {
                hits: sum.hits + one.hits,
                misses: sum.misses + one.misses,
                evictions: sum.evictions + one.evictions,
            }
        })
    }

    fn hash(&self, name: NameRef<'_>, qtype: Rtype, qclass: Class, cd: bool) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        name.hash(&mut hasher);
        // One write for the rest: fewer rounds of the hash on the hottest path.
        hasher.write_u64(u64::from(qtype.0) << 32 | u64::from(qclass.0) << 8 | u64::from(cd));
        hasher.finish()
    }

    /// The shard of a hash. The table inside the shard uses the lowest and the highest bits, so this takes from the
    /// middle.
    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        self.shards.get((hash >> 32) as usize & (self.shards.len() - 1))
    }
}

impl Shard {
    fn bytes(&self) -> usize {
        self.heap + allocated(self.index.allocation_size()) + allocated(self.queue.heap())
    }

    fn find(&self, hash: u64, name: NameRef<'_>, qtype: Rtype, qclass: Class, cd: bool) -> Option<u32> {
        let same = |index: &u32| {
            self.queue.peek(*index).is_some_and(|entry| {
                let key = &entry.key;
                entry.hash == hash
                    && key.qtype == qtype
                    && key.qclass == qclass
                    && key.cd == cd
                    && key.name.as_ref() == name
            })
        };
        self.index.find(hash, same).copied()
    }

    fn insert(&mut self, entry: Entry, now: Millis, left: &mut Vec<Entry>) {
        let key = &entry.key;
        if let Some(old) = self.find(entry.hash, key.name.as_ref(), key.qtype, key.qclass, key.cd) {
            left.extend(self.remove(old));
        }
        if entry.heap > self.limit {
            return;
        }
        let (hash, heap) = (entry.hash, entry.heap);
        let Some(new) = self.queue.push(entry) else {
            return;
        };
        let queue = &self.queue;
        self.index.insert_unique(hash, new, |index| queue.peek(*index).map_or(0, |entry| entry.hash));
        self.heap += heap;
        while self.bytes() > self.limit {
            let Some(victim) = self.queue.victim(|entry| entry.message.expired(now)) else {
                // Nothing is left to evict and the empty tables alone are too large.
                self.clear();
                break;
            };
            left.extend(self.remove(victim));
            self.counters.evictions += 1;
        }
    }

    fn remove(&mut self, index: u32) -> Option<Entry> {
        let entry = self.queue.remove(index)?;
        if let Ok(found) = self.index.find_entry(entry.hash, |other| *other == index) {
            found.remove();
        }
        self.heap = self.heap.saturating_sub(entry.heap);
        Some(entry)
    }

    /// Forgets all and hands back the memory, to be freed where no lock is held.
    fn clear(&mut self) -> (HashTable<u32>, Sieve<Entry>) {
        self.heap = 0;
        (std::mem::replace(&mut self.index, HashTable::new()), std::mem::replace(&mut self.queue, Sieve::new()))
    }
}
