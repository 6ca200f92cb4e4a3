//! Which names may have been proven not to exist: a filter before the look-ups that RFC 8020 asks for.
//!
//! Every question that is not remembered could lie below a name that is known not to be there, and to find out takes a
//! look-up for each name above it and each type asked often. Nearly always there is none. This owns a few bits for each such
//! name: when they are not set there is none for sure, and when they are it is worth looking. It never says that there is
//! one.
//!
//! Two generations: when one is full it is the old one, and what was the old one is forgotten. So the oldest names are not
//! found any more, which costs a question upstream and nothing else.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bits of a generation, a power of two: 16 KiB.
const BITS: usize = 1 << 17;
/// Names in a generation, each with two bits: when it is full, one look-up in sixteen finds bits that are not of its name.
const NAMES: usize = BITS / 8;

/// The filter. Threads may miss a name that another one puts in at the same moment.
pub(crate) struct Cuts {
    words: [Box<[AtomicU64]>; 2],
    /// Names put in so far; which generation is filled follows from it.
    names: AtomicUsize,
}

impl Cuts {
    pub(crate) fn new() -> Cuts {
        let words = || (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Cuts { words: [words(), words()], names: AtomicUsize::new(0) }
    }

    /// Puts a name in, by its hash.
    pub(crate) fn note(&self, hash: u64) {
        let nth = self.names.fetch_add(1, Ordering::Relaxed);
        let Some(words) = self.words.get(nth / NAMES % 2) else { return };
        if nth.is_multiple_of(NAMES) {
            words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        for (at, bit) in places(hash) {
            if let Some(word) = words.get(at) {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// Whether no name at all is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.load(Ordering::Relaxed) == 0
    }

    /// False: the name was not put in, or long ago.
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        self.words.iter().any(|words| has(words, hash))
    }
}

fn has(words: &[AtomicU64], hash: u64) -> bool {
    places(hash).into_iter().all(|(at, bit)| words.get(at).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0))
}

/// Two bits, each as its word and its mask.
fn places(hash: u64) -> [(usize, u64); 2] {
    [hash, hash >> 32].map(|part| {
        let nth = part as usize % BITS;
        (nth / 64, 1 << (nth % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    #[test]
    fn what_was_put_in_lately_is_found_and_hardly_anything_else() {
        let cuts = Cuts::new();
        assert!(cuts.is_empty());
        let all = 5 * NAMES as u64;
        for n in 0..all {
            cuts.note(hash(n));
            assert!(cuts.may_have(hash(n)) && !cuts.is_empty());
        }
        assert!((all - NAMES as u64..all).all(|n| cuts.may_have(hash(n))));
        let others = (all..all + 10_000).filter(|n| cuts.may_have(hash(*n))).count();
        assert!(others < 1_500, "{others} of 10,000");
        assert!((0..1_000).filter(|n| cuts.may_have(hash(*n))).count() < 200, "the oldest are forgotten");
    }
}
