//! [`Ds`]: one DS record, read, and which of a DS set count (RFC 4034 5, RFC 4509, RFC 6605).
//!
//! It owns digests. It says whether a key is the one that a parent means, never whether the DS itself is to be believed.

use aws_lc_rs::digest::{Algorithm as Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};
use wire::NameRef;

use crate::algorithm::Algorithm;
use crate::budget::{Budget, OverBudget};
use crate::key::Dnskey;
use crate::reason::Reason;
use crate::rules::Rules;

/// SHA-1 (RFC 4034 5.1.3).
const SHA_1: u8 = 1;

/// A parent's word on which key its child begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ds<'a> {
    /// Key tag of the key meant.
    pub tag: u16,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Digest type.
    pub digest_type: u8,
    /// The digest over owner name and key.
    pub digest: &'a [u8],
}

impl<'a> Ds<'a> {
    /// Reads record data; `None` when they are too short.
    pub fn parse(rdata: &'a [u8]) -> Option<Ds<'a>> {
        let ([high, low, algorithm, digest_type], digest) = rdata.split_first_chunk::<4>()?;
        let tag = u16::from_be_bytes([*high, *low]);
        Some(Ds { tag, algorithm: Algorithm(*algorithm), digest_type: *digest_type, digest })
    }

    fn digest_with(&self) -> Option<&'static Digest> {
        match self.digest_type {
            SHA_1 => Some(&SHA1_FOR_LEGACY_USE_ONLY),
            2 => Some(&SHA256),
            4 => Some(&SHA384),
            _ => None,
        }
    }

    /// Whether the digest is that of this key at `owner` (RFC 4034 5.1.4). Tag and algorithm are not compared.
    pub(crate) fn is_digest_of(
        &self,
        owner: NameRef<'_>,
        key: &Dnskey<'_>,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        let Some(with) = self.digest_with() else { return Ok(false) };
        budget.octets(owner.len() + key.rdata.len())?;
        let mut data = Vec::with_capacity(owner.len() + key.rdata.len());
        data.extend_from_slice(owner.lower().as_ref().as_wire());
        data.extend_from_slice(key.rdata);
        Ok(digest(with, &data).as_ref() == self.digest)
    }
}

/// The DS records of a set that count. Those of unsupported algorithms and digest types do not (RFC 4035 5.2), and with
/// `harden-algo-downgrade` only the strongest digest type does (RFC 4509 3). Without it SHA-1 counts beside stronger ones, as
/// in Unbound: it is a second preimage that a forger would need. The reason, when none is left, is why the zone is insecure.
pub(crate) fn usable<'a>(records: impl Iterator<Item = &'a [u8]>, rules: &Rules) -> Result<Vec<Ds<'a>>, Reason> {
    let all: Vec<Ds<'a>> = records.filter_map(Ds::parse).collect();
    let mut kept: Vec<Ds<'a>> = all.iter().copied().filter(|ds| ds.algorithm.is_supported(rules)).collect();
    if kept.is_empty() {
        return Err(Reason::UnsupportedDsAlgorithm);
    }
    kept.retain(|ds| ds.digest_with().is_some());
    let strongest = kept.iter().map(|ds| ds.digest_type).max().ok_or(Reason::UnsupportedDigest)?;
    if rules.harden_algo_downgrade {
        kept.retain(|ds| ds.digest_type == strongest);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(records: &[(u8, u8)], rules: &Rules) -> Result<Vec<(u8, u8)>, Reason> {
        let rdata: Vec<[u8; 5]> = records.iter().map(|(algorithm, digest)| [0, 1, *algorithm, *digest, 9]).collect();
        usable(rdata.iter().map(|r| &r[..]), rules)
            .map(|all| all.iter().map(|ds| (ds.algorithm.0, ds.digest_type)).collect())
    }

    #[test]
    fn rfc4509_3_sha1_is_ignored_beside_a_stronger_digest_where_downgrades_are_hardened_against() {
        let hardened = Rules { harden_algo_downgrade: true, ..Rules::default() };
        assert_eq!(kept(&[(8, 1), (8, 2)], &Rules::default()), Ok(vec![(8, 1), (8, 2)]));
        assert_eq!(kept(&[(8, 1), (8, 2)], &hardened), Ok(vec![(8, 2)]));
        assert_eq!(kept(&[(8, 1), (13, 4)], &hardened), Ok(vec![(13, 4)]));
        assert_eq!(kept(&[(8, 1)], &hardened), Ok(vec![(8, 1)]));
        // A stronger digest that cannot be used takes nothing away.
        assert_eq!(kept(&[(8, 1), (8, 3), (12, 2)], &hardened), Ok(vec![(8, 1)]));
    }

    #[test]
    fn rfc4035_5_2_what_is_unsupported_makes_insecure_not_bogus() {
        let rules = Rules::default();
        assert_eq!(kept(&[(17, 2), (253, 2), (12, 2)], &rules), Err(Reason::UnsupportedDsAlgorithm));
        assert_eq!(kept(&[(8, 3), (8, 200)], &rules), Err(Reason::UnsupportedDigest));
        assert_eq!(kept(&[(5, 2), (7, 2)], &Rules { rsasha1: false, ..rules }), Err(Reason::UnsupportedDsAlgorithm));
    }

    #[test]
    fn harden_algo_downgrade_keeps_the_strongest_digest_alone() {
        let rules = Rules { harden_algo_downgrade: true, ..Rules::default() };
        assert_eq!(kept(&[(8, 1), (8, 2), (13, 4), (8, 4)], &rules), Ok(vec![(13, 4), (8, 4)]));
    }
}
