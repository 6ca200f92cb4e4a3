//! The way from the root down to a name, and the hash of each step.
//!
//! It owns the hash that every table of names in this room uses: that of a suffix is made of the one above it, so a walk
//! over all suffixes of a name reads each octet once. It never holds a table.

use wire::NameRef;
use wire::name::MAX_LABELS;

/// Where the labels of a name begin, with the hash of each of its suffixes to be made step by step.
pub(crate) struct Walk<'n> {
    /// The name in wire form, lower case.
    wire: &'n [u8],
    starts: [u8; MAX_LABELS + 1],
    /// Labels, the root not counted; `starts` has one more, the root's.
    labels: usize,
}

impl<'n> Walk<'n> {
    /// `lower` is in lower case.
    pub(crate) fn new(lower: NameRef<'n>) -> Walk<'n> {
        let wire = lower.as_wire();
        let mut starts = [0u8; MAX_LABELS + 1];
        let mut labels = 0;
        let mut at = 0usize;
        while let Some(&len) = wire.get(at) {
            if let (Some(slot), Ok(start)) = (starts.get_mut(labels), u8::try_from(at)) {
                *slot = start;
            }
            if len == 0 {
                break;
            }
            labels += 1;
            at += usize::from(len) + 1;
        }
        Walk { wire, starts, labels }
    }

    /// Labels of the name, the root not counted.
    pub(crate) fn labels(&self) -> usize {
        self.labels
    }

    /// The suffix of so many labels, in wire form.
    pub(crate) fn suffix(&self, labels: usize) -> &'n [u8] {
        let start = self.starts.get(self.labels.saturating_sub(labels)).copied().unwrap_or(0);
        self.wire.get(usize::from(start)..).unwrap_or_default()
    }

    /// The hashes of the suffixes of 0, 1, 2… labels with these suffixes.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = (u64, &'n [u8])> {
        let mut hash = SEED;
        let mut below = self.wire.len();
        (0..=self.labels).map(move |labels| {
            let suffix = self.suffix(labels);
            let start = self.wire.len() - suffix.len();
            hash = extend(hash, self.wire.get(start..below).unwrap_or_default());
            below = start;
            (hash, suffix)
        })
    }

    /// The hash of the suffix of so many labels.
    pub(crate) fn hash(&self, labels: usize) -> u64 {
        self.suffixes().nth(labels).map_or(SEED, |(hash, _)| hash)
    }
}

/// Any odd number with mixed bits will do: what is in the tables comes from the operator, so nobody else can choose
/// names that collide.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// The hash of a suffix made of the hash of the one above it and the octets of one label with its length.
fn extend(mut hash: u64, label: &[u8]) -> u64 {
    let mut words = label.chunks_exact(8);
    for word in words.by_ref() {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        hash = (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
    let last = words.remainder().iter().fold(1u64, |last, octet| last << 8 | u64::from(*octet));
    hash = (hash.rotate_left(23) ^ last).wrapping_mul(FACTOR);
    hash ^ hash >> 32
}

/// Mixes a class or a zone into the hash of a name.
pub(crate) fn tie(hash: u64, with: u64) -> u64 {
    let hash = (hash ^ with.wrapping_mul(SEED)).wrapping_mul(FACTOR);
    hash ^ hash >> 29
}
