//! RRsets and answers: the values that policy, store and resolve hand to each other and that `build` renders.
//!
//! It owns their shape (RFC 2181 5: one TTL, a set of data) and packing, and never reads a packet nor decides a TTL.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use crate::name::Name;
use crate::types::{Class, Rcode, Rtype};

/// Most records one RRset may have: the count travels in 16 bits.
pub const MAX_RECORDS: usize = u16::MAX as usize;
/// Most octets of EDE text that are sent, so that an error never makes a small answer a large one (RFC 8914 3).
pub const MAX_EDE_TEXT: usize = 128;

/// The record data of an RRset, uncompressed, packed one after the other as 16-bit length and octets.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RdataSet {
    packed: Vec<u8>,
    count: u16,
}

impl RdataSet {
    /// An empty set.
    pub fn new() -> RdataSet {
        RdataSet::default()
    }

    /// A set of one.
    pub fn one(rdata: &[u8]) -> RdataSet {
        let mut set = RdataSet { packed: Vec::with_capacity(rdata.len() + 2), count: 0 };
        set.push(rdata);
        set
    }

    /// Records in the set.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The data of each record, in order.
    pub fn iter(&self) -> RdataIter<'_> {
        RdataIter { rest: &self.packed, left: self.count }
    }

    /// The data of the first record.
    pub fn first(&self) -> Option<&[u8]> {
        self.iter().next()
    }

    /// Adds a record. Returns false, and adds nothing, when the data exceed 65535 octets or the set is full
    /// ([`MAX_RECORDS`]). Does not look for duplicates: see [`RdataSet::contains`].
    pub fn push(&mut self, rdata: &[u8]) -> bool {
        let (Ok(len), Some(count)) = (u16::try_from(rdata.len()), self.count.checked_add(1)) else {
            return false;
        };
        self.packed.extend_from_slice(&len.to_be_bytes());
        self.packed.extend_from_slice(rdata);
        self.count = count;
        true
    }

    /// Whether a record with exactly these octets is in the set.
    pub fn contains(&self, rdata: &[u8]) -> bool {
        self.iter().any(|have| have == rdata)
    }

    /// Leaves only the first of equal records (RFC 2181 5), in n log n steps.
    pub fn dedup(&mut self) {
        let mut order: Vec<(&[u8], usize)> = self.iter().zip(0..).collect();
        order.sort_unstable();
        let mut keep: Vec<usize> = Vec::with_capacity(order.len());
        keep.extend(order.chunk_by(|a, b| a.0 == b.0).filter_map(|equal| equal.first()).map(|(_, nth)| *nth));
        if keep.len() == order.len() {
            return;
        }
        keep.sort_unstable();
        let mut kept = RdataSet { packed: Vec::with_capacity(self.packed.len()), count: 0 };
        let mut next = keep.into_iter().peekable();
        for (rdata, nth) in self.iter().zip(0..) {
            if next.next_if_eq(&nth).is_some() {
                kept.push(rdata);
            }
        }
        *self = kept;
    }

    /// How many records there are, and the octets of all: each as 16-bit length and data. For who keeps them elsewhere.
    pub fn as_packed(&self) -> (u16, &[u8]) {
        (self.count, &self.packed)
    }

    /// Takes a set of `count` records from the beginning of packed octets, and what follows it; `None` if they end early.
    pub fn split_packed(count: u16, octets: &[u8]) -> Option<(RdataSet, &[u8])> {
        let mut records = RdataIter { rest: octets, left: count };
        if records.by_ref().take(usize::from(count)).count() != usize::from(count) {
            return None;
        }
        let packed = octets.get(..octets.len() - records.rest.len())?.to_vec();
        Some((RdataSet { packed, count }, records.rest))
    }

    /// Octets of heap reserved, for memory accounting.
    pub fn bytes(&self) -> usize {
        self.packed.capacity()
    }

    /// Gives spare room back, for what is kept a long time.
    pub fn shrink(&mut self) {
        self.packed.shrink_to_fit();
    }
}

impl std::fmt::Debug for RdataSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a RdataSet {
    type Item = &'a [u8];
    type IntoIter = RdataIter<'a>;

    fn into_iter(self) -> RdataIter<'a> {
        self.iter()
    }
}

impl<'a> FromIterator<&'a [u8]> for RdataSet {
    /// Collects data; what [`RdataSet::push`] does not take is left out.
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(all: I) -> RdataSet {
        let mut set = RdataSet::new();
        for rdata in all {
            set.push(rdata);
        }
        set
    }
}

/// The records of a set; see [`RdataSet::iter`].
#[derive(Clone, Debug)]
pub struct RdataIter<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Iterator for RdataIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk::<2>()?;
        let (rdata, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        Some(rdata)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for RdataIter<'_> {}

/// A set of records with one owner, type, class and TTL (RFC 2181 5), and the signatures over it. Contents are shared, the
/// TTL is its own: a clone costs one reference count, and may count down by itself.
///
/// Reads as its [`RrsetData`]: `set.owner`, `set.rdata`, `set.sigs`.
#[derive(Clone, PartialEq, Eq)]
pub struct Rrset {
    /// Seconds it may be kept.
    pub ttl: u32,
    data: Arc<RrsetData>,
}

/// The contents of an [`Rrset`]: all but the TTL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RrsetData {
    /// Whose records they are.
    pub owner: Name,
    /// Their type.
    pub rtype: Rtype,
    /// Their class.
    pub class: Class,
    /// Their data.
    pub rdata: RdataSet,
    /// The data of the RRSIG records that cover them and came with them. A signature without what it covers, and an
    /// answer to a question for RRSIG, is a set of type RRSIG, one for each type covered.
    pub sigs: RdataSet,
}

impl Rrset {
    /// A set without signatures.
    pub fn new(owner: Name, rtype: Rtype, class: Class, ttl: u32, rdata: RdataSet) -> Rrset {
        Rrset { ttl, data: Arc::new(RrsetData { owner, rtype, class, rdata, sigs: RdataSet::new() }) }
    }

    /// The same set with these signatures over it, which replace those it had.
    #[must_use]
    pub fn with_sigs(mut self, sigs: RdataSet) -> Rrset {
        self.make_mut().sigs = sigs;
        self
    }

    /// The shared contents.
    pub fn data(&self) -> &Arc<RrsetData> {
        &self.data
    }

    /// Shared contents with a TTL of their own, in seconds.
    pub fn from_data(ttl: u32, data: Arc<RrsetData>) -> Rrset {
        Rrset { ttl, data }
    }

    /// The contents to be changed; copied first if others share them.
    pub fn make_mut(&mut self) -> &mut RrsetData {
        Arc::make_mut(&mut self.data)
    }
}

impl Deref for Rrset {
    type Target = RrsetData;

    fn deref(&self) -> &RrsetData {
        &self.data
    }
}

impl std::fmt::Debug for Rrset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} {} {:?}", self.owner, self.ttl, self.class, self.rtype, self.rdata)?;
        if self.sigs.is_empty() { Ok(()) } else { write!(f, " signed {:?}", self.sigs) }
    }
}

/// An answer before it is rendered: what policy, store and resolve hand to net.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The response code, 12 bits.
    pub rcode: Rcode,
    /// Authoritative answer.
    pub aa: bool,
    /// Authentic data: what validation found. Whether the client sees it depends on its query too (RFC 6840 5.8).
    pub ad: bool,
    /// The answer section.
    pub answer: Vec<Rrset>,
    /// The authority section.
    pub authority: Vec<Rrset>,
    /// The additional section, without OPT.
    pub additional: Vec<Rrset>,
    /// Why it is as it is, for clients that speak EDNS.
    pub ede: Option<Ede>,
}

impl Answer {
    /// An answer with this code and nothing in it.
    pub fn new(rcode: Rcode) -> Answer {
        Answer { rcode, ..Answer::default() }
    }
}

impl Default for Rcode {
    fn default() -> Rcode {
        Rcode::NOERROR
    }
}

/// An extended DNS error (RFC 8914): a code and a text that is sent up to [`MAX_EDE_TEXT`] octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ede {
    /// The INFO-CODE.
    pub code: u16,
    /// The EXTRA-TEXT; may be empty.
    pub text: Cow<'static, str>,
}

impl Ede {
    /// Other error.
    pub const OTHER: u16 = 0;
    /// Unsupported DNSKEY algorithm.
    pub const UNSUPPORTED_DNSKEY_ALGORITHM: u16 = 1;
    /// Unsupported DS digest type.
    pub const UNSUPPORTED_DS_DIGEST: u16 = 2;
    /// Stale answer.
    pub const STALE_ANSWER: u16 = 3;
    /// Forged answer.
    pub const FORGED_ANSWER: u16 = 4;
    /// DNSSEC indeterminate.
    pub const DNSSEC_INDETERMINATE: u16 = 5;
    /// DNSSEC bogus.
    pub const DNSSEC_BOGUS: u16 = 6;
    /// Signature expired.
    pub const SIGNATURE_EXPIRED: u16 = 7;
    /// Signature not yet valid.
    pub const SIGNATURE_NOT_YET_VALID: u16 = 8;
    /// DNSKEY missing.
    pub const DNSKEY_MISSING: u16 = 9;
    /// RRSIGs missing.
    pub const RRSIGS_MISSING: u16 = 10;
    /// No zone key bit set.
    pub const NO_ZONE_KEY_BIT: u16 = 11;
    /// NSEC missing.
    pub const NSEC_MISSING: u16 = 12;
    /// Cached error.
    pub const CACHED_ERROR: u16 = 13;
    /// Not ready.
    pub const NOT_READY: u16 = 14;
    /// Blocked by the operator.
    pub const BLOCKED: u16 = 15;
    /// Censored by someone else's demand.
    pub const CENSORED: u16 = 16;
    /// Filtered as the client asked for.
    pub const FILTERED: u16 = 17;
    /// Prohibited for this client.
    pub const PROHIBITED: u16 = 18;
    /// Stale NXDOMAIN answer.
    pub const STALE_NXDOMAIN: u16 = 19;
    /// Not authoritative.
    pub const NOT_AUTHORITATIVE: u16 = 20;
    /// Not supported.
    pub const NOT_SUPPORTED: u16 = 21;
    /// No reachable authority.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// Network error.
    pub const NETWORK_ERROR: u16 = 23;
    /// Invalid data.
    pub const INVALID_DATA: u16 = 24;
    /// Signature expired before it was valid.
    pub const SIGNATURE_EXPIRED_BEFORE_VALID: u16 = 25;
    /// Unsupported NSEC3 iterations value (RFC 9276 3.2).
    pub const UNSUPPORTED_NSEC3_ITERATIONS: u16 = 27;
    /// A negative trust anchor is in force (RFC 7646).
    pub const NEGATIVE_TRUST_ANCHOR: u16 = 33;

    /// An error with a fixed text, or with none (`""`).
    pub const fn new(code: u16, text: &'static str) -> Ede {
        Ede { code, text: Cow::Borrowed(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut set = RdataSet::new();
        assert!(set.push(&[192, 0, 2, 1]));
        assert!(set.push(&[]));
        assert!(set.push(&[1; 65535]));
        assert!(!set.push(&[1; 65536]));
        assert_eq!(set.len(), 3);
        assert_eq!(set.iter().map(<[u8]>::len).collect::<Vec<_>>(), [4, 0, 65535]);
        assert!(set.contains(&[192, 0, 2, 1]) && !set.contains(&[192, 0, 2, 2]));
    }

    #[test]
    fn a_full_set_takes_no_more() {
        let mut set = RdataSet::new();
        for _ in 0..MAX_RECORDS {
            assert!(set.push(&[]));
        }
        assert!(!set.push(&[]));
        assert_eq!(set.iter().count(), MAX_RECORDS);
    }
}
