//! One shard of a table: entries behind a lock, found by hash, evicted by SIEVE, counted in octets.
//!
//! It owns look-up, insertion, eviction and the count of octets, for messages and for record sets alike. It knows nothing
//! of names or of what an entry means.

use parking_lot::Mutex;

use crate::index::{Index, MAX_SLOTS};
use crate::sieve::Sieve;

/// Most shards of a table, a power of two: four for each of 16 workers, enough that two rarely want the same lock.
pub const MAX_SHARDS: usize = 64;
/// Fewest octets a shard has before there are more of them, so that one of the largest messages (64 KiB on the wire,
/// several times that with compressed names made whole) fits into any table of at least this size.
pub const MIN_SHARD_BYTES: usize = 512 * 1024;
/// Slots looked at in one lock hold when a whole table is walked: a tenth of a millisecond even where each is
/// written out as text, so that no answer waits long.
const STRIDE: u32 = 64;
/// Entries evicted in one lock hold when a table is made smaller.
const EVICTED_AT_ONCE: usize = 256;

/// What a shard must know of an entry.
pub(crate) trait Entry {
    /// 32 bits of the hash of its key.
    fn hash(&self) -> u32;
    /// Octets of heap behind it, as the allocator counts.
    fn heap(&self) -> usize;
}

/// What a table did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) hits: u64,
    pub(crate) stale_hits: u64,
    pub(crate) misses: u64,
    pub(crate) evictions: u64,
}

/// See the [module](self).
pub(crate) struct Shard<T> {
    /// Slots of `queue`, by the hash of their entries.
    index: Index,
    pub(crate) queue: Sieve<T>,
    /// Octets behind all entries, without `index` and `queue` themselves.
    heap: usize,
    limit: usize,
    /// The last number given by [`Shard::number`].
    last: u32,
    pub(crate) counters: Counters,
}

/// All shards of one table.
pub(crate) type Shards<T> = Box<[Mutex<Shard<T>>]>;

/// The shards of a table of `limit` octets.
pub(crate) fn shards<T: Entry>(limit: usize) -> Shards<T> {
    let count = match limit / MIN_SHARD_BYTES {
        0 => 1,
        fit => (1 << fit.ilog2()).min(MAX_SHARDS),
    };
    (0..count).map(|_| Mutex::new(Shard::new(limit / count))).collect()
}

/// Makes the limit of a table `limit` octets, a few evictions a lock hold.
pub(crate) fn resize<T: Entry>(shards: &Shards<T>, limit: usize) {
    for shard in shards {
        loop {
            let mut left = Vec::new();
            let mut held = shard.lock();
            held.limit = limit / shards.len().max(1);
            let done = held.make_room(EVICTED_AT_ONCE, &mut left);
            drop(held);
            if done {
                break;
            }
        }
    }
}

/// Takes out all entries that `gone` names, a few a lock hold, and returns how many.
pub(crate) fn sweep<T: Entry>(shards: &Shards<T>, mut gone: impl FnMut(&T) -> bool) -> usize {
    let mut removed = 0;
    walk(shards, |held, slot| {
        let leaves = held.queue.peek(slot).is_some_and(&mut gone);
        removed += usize::from(leaves);
        if leaves { held.remove(slot) } else { None }
    });
    removed
}

/// Shows every slot of every shard to `visit`, a few a lock hold. What it takes out is dropped when no lock is held.
fn walk<T: Entry>(shards: &Shards<T>, mut visit: impl FnMut(&mut Shard<T>, u32) -> Option<T>) {
    for shard in shards {
        let mut at = 0;
        loop {
            let mut left = Vec::new();
            let mut held = shard.lock();
            let end = held.queue.end();
            let stop = end.min(at + STRIDE);
            left.extend((at..stop).filter_map(|slot| visit(&mut held, slot)));
            drop(held);
            at = stop;
            if at >= end {
                break;
            }
        }
    }
}

/// Shows all entries of one shard to `show`, a few a lock hold.
pub(crate) fn each<T: Entry>(shard: &Mutex<Shard<T>>, mut show: impl FnMut(&T)) {
    let mut at = 0;
    loop {
        let held = shard.lock();
        let end = held.queue.end();
        let stop = end.min(at + STRIDE);
        (at..stop).filter_map(|slot| held.queue.peek(slot)).for_each(&mut show);
        drop(held);
        at = stop;
        if at >= end {
            break;
        }
    }
}

/// Forgets everything and returns how many entries there were.
pub(crate) fn clear<T: Entry>(shards: &Shards<T>) -> usize {
    let empty = |shard: &Mutex<Shard<T>>| {
        let mut held = shard.lock();
        let entries = held.queue.len();
        let old = held.clear();
        drop(held);
        drop(old);
        entries
    };
    shards.iter().map(empty).sum()
}

impl<T: Entry> Shard<T> {
    fn new(limit: usize) -> Shard<T> {
        Shard {
            index: Index::default(),
            queue: Sieve::new(MAX_SLOTS),
            heap: 0,
            limit,
            last: 0,
            counters: Counters::default(),
        }
    }

    /// Octets held: entries, what is behind them, and the tables they stand in.
    pub(crate) fn bytes(&self) -> usize {
        self.heap + allocated(self.index.heap()) + allocated(self.queue.heap())
    }

    /// The octets of heap counted and what a recount finds: equal, or the count is broken.
    #[cfg(test)]
    pub(crate) fn recount(&self) -> (usize, usize) {
        let all = (0..self.queue.end()).filter_map(|slot| self.queue.peek(slot)).map(Entry::heap).sum();
        (self.heap, all)
    }

    /// A number below `end`, the next after the last one given, and after the highest 0 again.
    pub(crate) fn number(&mut self, end: u32) -> u32 {
        self.last = if self.last + 1 < end { self.last + 1 } else { 0 };
        self.last
    }

    /// The slot of the entry with this hash that is the `same`.
    pub(crate) fn find(&self, hash: u32, same: impl Fn(&T) -> bool) -> Option<u32> {
        self.index.find(hash, |slot| self.queue.peek(slot).is_some_and(|entry| entry.hash() == hash && same(entry)))
    }

    /// Makes room for an entry and puts it in. `None` if it is too large to be held.
    /// What leaves is handed over in `left`, to be dropped when the lock is released.
    pub(crate) fn insert(&mut self, entry: T, left: &mut Vec<T>) -> Option<u32> {
        let (hash, heap) = (entry.hash(), entry.heap());
        // Room is made before the tables grow: what leaves gives back its place in them, but not their octets.
        while self.bytes() + heap + self.index.growth() + self.queue_growth() > self.limit {
            if heap > self.limit || self.bytes() == 0 {
                left.push(entry);
                return None;
            }
            match self.queue.victim() {
                Some(victim) => {
                    left.extend(self.remove(victim));
                    self.counters.evictions += 1;
                }
                // Nothing is left to evict and the empty tables alone are too large.
                None => drop(self.clear()),
            }
        }
        let new = self.queue.push(entry)?;
        let queue = &self.queue;
        self.index.insert(hash, new, |slot| queue.peek(slot).map_or(0, Entry::hash));
        self.heap += heap;
        Some(new)
    }

    fn queue_growth(&self) -> usize {
        allocated(self.queue.heap_for_one_more()) - allocated(self.queue.heap())
    }

    /// Changes the entry at `slot`, whose hash must stay, and makes room if it grew. Returns whether it is still there.
    pub(crate) fn change(&mut self, slot: u32, left: &mut Vec<T>, how: impl FnOnce(&mut T)) -> bool {
        let Some(entry) = self.queue.peek_mut(slot) else {
            return false;
        };
        let before = entry.heap();
        how(entry);
        let after = entry.heap();
        self.heap = (self.heap + after).saturating_sub(before);
        self.make_room(usize::MAX, left);
        self.queue.peek(slot).is_some()
    }

    /// Evicts until the limit holds; at most `most` entries, then false.
    fn make_room(&mut self, most: usize, left: &mut Vec<T>) -> bool {
        for _ in 0..most {
            if self.bytes() <= self.limit {
                return true;
            }
            let Some(victim) = self.queue.victim() else {
                // Nothing is left to evict and the empty tables alone are too large.
                drop(self.clear());
                return true;
            };
            left.extend(self.remove(victim));
            self.counters.evictions += 1;
        }
        false
    }

    /// Takes the entry at `slot` out.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.queue.remove(slot)?;
        let queue = &self.queue;
        self.index.remove(entry.hash(), slot, |slot| queue.peek(slot).map_or(0, Entry::hash));
        self.heap = self.heap.saturating_sub(entry.heap());
        Some(entry)
    }

    /// Forgets all and hands back the memory, to be freed where no lock is held.
    fn clear(&mut self) -> (Index, Sieve<T>) {
        self.heap = 0;
        (std::mem::take(&mut self.index), std::mem::replace(&mut self.queue, Sieve::new(MAX_SLOTS)))
    }
}

/// Octets the allocator takes for a request of `size`. jemalloc's: multiples of 16 up to 128, then four steps to each
/// doubling up to 14 KiB, then whole pages. Other allocators round by about as much. `tests/accounting.rs` holds it to that.
pub(crate) fn allocated(size: usize) -> usize {
    /// The largest request that is rounded in steps of its size.
    const SMALL: usize = 14 * 1024;
    const PAGE: usize = 4096;
    match size {
        0 => 0,
        1..=8 => 8,
        9..=128 => size.next_multiple_of(16),
        129..=SMALL => size.next_multiple_of(size.next_power_of_two() / 8),
        _ => size.next_multiple_of(PAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_as_the_allocator_rounds() {
        for (size, class) in [
            (0, 0),
            (1, 8),
            (9, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (1025, 1280),
            (13_000, 14_336),
            (14_337, 16_384),
            (66_460, 69_632),
        ] {
            assert_eq!(allocated(size), class, "{size}");
        }
    }
}
