//! The last entries of the query log, in the order of their time, each with its number.
//!
//! Owns what is kept and how the tapes of several workers become one order. Entries stay in the form the workers wrote
//! them in; what is kept is shared, so that whoever reads holds no lock. It must never show or interpret an entry.

use std::collections::VecDeque;
use std::sync::Arc;

use net::tape::{Entries, Entry};

/// Octets of a chunk that is made of several tapes.
const CHUNK: usize = 64 * 1024;

/// Some entries in a row.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Number of the first.
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) octets: Arc<[u8]>,
}

impl Chunk {
    /// The entries with their numbers.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, Entry<'_>)> {
        (self.first..).zip(Entries::of(&self.octets))
    }
}

/// The ring.
#[derive(Debug)]
pub(super) struct Ring {
    chunks: VecDeque<Chunk>,
    retention: u64,
    /// The number of the entry that comes next; the first has 1.
    next: u64,
}

impl Ring {
    pub(super) fn new() -> Ring {
        Ring { chunks: VecDeque::new(), retention: 0, next: 1 }
    }

    /// How many entries are kept from now on.
    pub(super) fn keep(&mut self, retention: u64) {
        self.retention = retention;
        self.trim();
    }

    /// The number of the entry that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest entry that is shown: chunks leave as a whole, so a few older ones may still be there.
    pub(super) fn oldest(&self) -> u64 {
        self.next.saturating_sub(self.retention).max(1)
    }

    /// What is kept, the oldest first. The first chunk may begin before [`Ring::oldest`].
    pub(super) fn chunks(&self) -> Vec<Chunk> {
        self.chunks.iter().cloned().collect()
    }

    pub(super) fn octets(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.octets.len()).sum()
    }

    /// Forgets all; numbers go on.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Forgets some entries and says how many. The numbers of the others change, so that none is missing in between; what
    /// comes next has the number it would have had.
    pub(super) fn retain(&mut self, keep: impl Fn(&Entry<'_>) -> bool) -> u64 {
        let mut gone = 0;
        let mut number = self.next;
        let oldest = self.oldest();
        let mut kept = VecDeque::with_capacity(self.chunks.len());
        for chunk in self.chunks.drain(..).rev() {
            let mut octets = Vec::with_capacity(chunk.octets.len());
            let mut count = 0;
            for (entry_number, entry) in chunk.entries() {
                if keep(&entry) {
                    octets.extend_from_slice(entry.octets);
                    count += 1;
                } else if entry_number >= oldest {
                    gone += 1;
                }
            }
            if count > 0 {
                number -= count;
                kept.push_front(Chunk { first: number, count, octets: octets.into() });
            }
        }
        self.chunks = kept;
        gone
    }

    /// Takes what workers wrote, each one's tapes in their order. Returns the new chunks: all of it with `whole`, else at
    /// least as much as is kept.
    pub(super) fn take(&mut self, workers: Vec<VecDeque<Vec<u8>>>, whole: bool) -> Vec<Chunk> {
        let least = if whole { u64::MAX } else { self.retention };
        let mut cut = Vec::with_capacity(workers.len());
        for tapes in workers.into_iter().filter(|tapes| !tapes.is_empty()) {
            let mut newest: VecDeque<Vec<u8>> = VecDeque::new();
            let mut count = 0;
            for tape in tapes.into_iter().rev() {
                let here = Entries::of(&tape).count() as u64;
                if count < least {
                    newest.push_front(tape);
                } else {
                    self.next += here; // it has a number, and has been there
                }
                count += here;
            }
            cut.push(newest);
        }
        let mut new = Vec::new();
        let mut push = |octets: &[u8]| {
            let count = Entries::of(octets).count() as u64;
            if count > 0 {
                new.push(Chunk { first: self.next, count, octets: octets.into() });
                self.next += count;
            }
        };
        match cut.as_slice() {
            [one] => one.iter().for_each(|tape| push(tape)),
            several => merge(several, push),
        }
        self.chunks.extend(new.iter().cloned());
        self.trim();
        new
    }

    fn trim(&mut self) {
        let oldest = self.oldest();
        while self.chunks.front().is_some_and(|chunk| self.retention == 0 || chunk.first + chunk.count <= oldest) {
            self.chunks.pop_front();
        }
    }
}

/// Hands out the entries of several workers in the order of their time, some tens of kilobytes at once.
fn merge(workers: &[VecDeque<Vec<u8>>], mut push: impl FnMut(&[u8])) {
    let mut heads: Vec<_> =
        workers.iter().map(|tapes| tapes.iter().flat_map(|tape| Entries::of(tape)).peekable()).collect();
    let mut octets = Vec::with_capacity(CHUNK);
    loop {
        let times = heads.iter_mut().enumerate().filter_map(|(i, head)| Some((head.peek()?.unix_us, i)));
        let Some((_, first)) = times.min() else { break };
        if let Some(entry) = heads.get_mut(first).and_then(Iterator::next) {
            octets.extend_from_slice(entry.octets);
        }
        if octets.len() >= CHUNK {
            push(&octets);
            octets.clear();
        }
    }
    push(&octets);
}
