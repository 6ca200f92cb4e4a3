//! [`Rrsig`]: one RRSIG record, read, and what it says about the set it covers (RFC 4034 3, RFC 4035 5.3.1).
//!
//! It owns time windows in serial arithmetic and label counts. It verifies nothing: a signature that passes here has only
//! the right to be verified.

use wire::{NameBuf, NameRef, Rrset, Rtype};

use crate::algorithm::Algorithm;
use crate::reason::Reason;
use crate::rules::{Date, Rules};

/// Octets before the signer's name.
const FIXED: usize = 18;

/// A signature over an RRset.
#[derive(Clone, Copy, Debug)]
pub struct Rrsig<'a> {
    /// The type of the records signed.
    pub covered: Rtype,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Labels of the name signed, root and a leading `*` not counted.
    pub labels: u8,
    /// The TTL that is signed, seconds.
    pub original_ttl: u32,
    /// Unix seconds modulo 2^32 until which it holds.
    pub expiration: u32,
    /// Unix seconds modulo 2^32 from which it holds.
    pub inception: u32,
    /// Tag of the key that signed.
    pub tag: u16,
    /// The zone whose key signed.
    pub signer: NameRef<'a>,
    /// The signature in the format of its algorithm.
    pub signature: &'a [u8],
    /// All that stands before the signer's name, which is signed as it is.
    pub(crate) fixed: &'a [u8],
}

impl<'a> Rrsig<'a> {
    /// Reads record data; `None` when they are no signature.
    pub fn parse(rdata: &'a [u8]) -> Option<Rrsig<'a>> {
        Rrsig::read(rdata).filter(|sig| !sig.signature.is_empty())
    }

    /// The same, were it cut after the signer's name.
    fn read(rdata: &'a [u8]) -> Option<Rrsig<'a>> {
        let (fixed, rest) = rdata.split_at_checked(FIXED)?;
        let (signer, signature) = NameRef::split_from(rest).ok()?;
        let [c1, c2, algorithm, labels, t1, t2, t3, t4, e1, e2, e3, e4, i1, i2, i3, i4, k1, k2] = *fixed else {
            return None;
        };
        Some(Rrsig {
            covered: Rtype(u16::from_be_bytes([c1, c2])),
            algorithm: Algorithm(algorithm),
            labels,
            original_ttl: u32::from_be_bytes([t1, t2, t3, t4]),
            expiration: u32::from_be_bytes([e1, e2, e3, e4]),
            inception: u32::from_be_bytes([i1, i2, i3, i4]),
            tag: u16::from_be_bytes([k1, k2]),
            signer,
            signature,
            fixed,
        })
    }

    /// Checks the dates (RFC 4034 3.1.5: serial arithmetic, so that 2106 is a year like others) and gives the seconds that
    /// are left. The skew granted is a tenth of the lifetime within `val-sig-skew-min` and `-max`; a signature that lives on
    /// skew alone has what is left of it.
    pub(crate) fn left(&self, rules: &Rules, now: u64) -> Result<u32, Reason> {
        let now = match rules.date {
            Date::Now => u32::try_from(now & 0xffff_ffff).unwrap_or(0),
            Date::Fixed(date) => date,
            Date::Ignored => return Ok(u32::MAX),
        };
        let lifetime = serial(self.expiration, self.inception);
        let lifetime = u32::try_from(lifetime).map_err(|_| Reason::ExpiredBeforeValid)?;
        let skew = (lifetime / 10).max(rules.skew_min_s).min(rules.skew_max_s);
        let early = serial(self.inception, now);
        if early > 0 && early.unsigned_abs() > skew {
            return Err(Reason::NotYetValid);
        }
        let left = serial(self.expiration, now);
        match u32::try_from(left) {
            Ok(left) => Ok(left),
            Err(_) => skew.checked_sub(left.unsigned_abs()).ok_or(Reason::Expired),
        }
    }

    /// Checks signer and labels against the set's owner and the zone that must have signed (RFC 4035 5.3.1). Gives the name
    /// that was signed and, if it is the wildcard the owner was made from, that wildcard's parent: the closest encloser.
    pub(crate) fn signed_name<'o>(
        &self,
        set: &'o Rrset,
        zone: NameRef<'_>,
    ) -> Result<(NameBuf, Option<NameRef<'o>>), Reason> {
        let owner = set.owner.as_ref();
        if self.signer != zone || !may_sign(zone, set) {
            return Err(Reason::WrongSigner);
        }
        let labels = usize::from(self.labels);
        let here = owner.label_count();
        let counted = here - usize::from(owner.is_wildcard());
        if labels > counted || labels < zone.label_count() {
            return Err(Reason::BadLabels);
        }
        if labels == counted {
            return Ok((owner.to_buf(), None));
        }
        if matches!(set.rtype, Rtype::SOA | Rtype::DNSKEY | Rtype::DS | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM)
        {
            return Err(Reason::BadWildcard);
        }
        let encloser = owner.ancestors().nth(here - labels).ok_or(Reason::BadLabels)?;
        let mut wildcard = NameBuf::root();
        wildcard.push_label(b"*").and_then(|()| wildcard.push_name(encloser)).map_err(|_| Reason::BadLabels)?;
        Ok((wildcard, Some(encloser)))
    }
}

/// Whether `zone` is where a set of this owner and type is signed: the owner lies in it; DS stands above the cut, keys and
/// SOA at the apex.
fn may_sign(zone: NameRef<'_>, set: &Rrset) -> bool {
    let owner = set.owner.as_ref();
    match set.rtype {
        Rtype::DS => owner != zone && owner.is_subdomain_of(zone),
        Rtype::DNSKEY | Rtype::SOA | Rtype::NSEC3PARAM => owner == zone,
        _ => owner.is_subdomain_of(zone),
    }
}

/// `a - b` in serial arithmetic (RFC 1982).
fn serial(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// The zone that the set says it is signed by: the signer of its first signature that could be right. A hint where to get
/// keys, which an attacker can set: only verification with those keys makes it true.
pub fn signer(set: &Rrset) -> Option<NameRef<'_>> {
    set.sigs
        .iter()
        .filter_map(Rrsig::read)
        .find(|sig| sig.covered == set.rtype && may_sign(sig.signer, set))
        .map(|sig| sig.signer)
}

/// Whether the set says that it was made from a wildcard: its first signature counts fewer labels than its owner has.
pub fn is_expanded(set: &Rrset) -> bool {
    let owner = set.owner.as_ref();
    let own = owner.label_count() - usize::from(owner.is_wildcard());
    let first = set.sigs.first().and_then(Rrsig::parse);
    first.is_some_and(|sig| usize::from(sig.labels) < own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Class, Name, RdataSet};

    fn sig(labels: u8, inception: u32, expiration: u32) -> Vec<u8> {
        let mut rdata = vec![0, 1, 13, labels, 0, 0, 0, 60];
        rdata.extend(expiration.to_be_bytes());
        rdata.extend(inception.to_be_bytes());
        rdata.extend(b"\x12\x34\x07example\x00S");
        rdata
    }

    fn left(inception: u32, expiration: u32, now: u64) -> Result<u32, Reason> {
        Rrsig::parse(&sig(1, inception, expiration)).unwrap().left(&Rules::default(), now)
    }

    #[test]
    fn rfc4034_3_1_5_dates_are_serial_numbers() {
        let (day, end) = (86_400, u32::MAX);
        assert_eq!(left(end - day, day, u64::from(end)), Ok(day + 1));
        assert_eq!(left(end - day, day, u64::from(end) + 1), Ok(day));
        assert_eq!(left(100, 50, 75), Err(Reason::ExpiredBeforeValid));
        assert_eq!(left(end - day, day, u64::from(3 * day)), Err(Reason::Expired));
        assert_eq!(left(1000, 1000 + day, (1 << 32) + 2000), Ok(day - 1000));
    }

    #[test]
    fn val_sig_skew_is_a_tenth_of_the_lifetime_within_its_bounds() {
        let month = 30 * 86_400;
        // A short life gets the minimum, a long one the maximum, one between a tenth.
        for (lifetime, skew) in [(100, 3600), (100_000, 10_000), (month, 86_400)] {
            let (from, to) = (10_000_000, 10_000_000 + lifetime);
            let at = |time: u32| left(from, to, u64::from(time));
            assert_eq!(at(from - skew), Ok(lifetime + skew));
            assert_eq!(at(from - skew - 1), Err(Reason::NotYetValid));
            assert_eq!(at(to), Ok(0));
            assert_eq!(at(to + skew), Ok(0));
            assert_eq!(at(to + skew - 5), Ok(5));
            assert_eq!(at(to + skew + 1), Err(Reason::Expired));
        }
    }

    #[test]
    fn val_override_date_replaces_the_clock_or_stops_it() {
        let octets = sig(1, 1000, 2000);
        let sig = Rrsig::parse(&octets).unwrap();
        let strict = Rules { skew_min_s: 0, skew_max_s: 0, ..Rules::default() };
        assert_eq!(sig.left(&Rules { date: Date::Fixed(1500), ..strict.clone() }, 9_000_000), Ok(500));
        assert_eq!(sig.left(&Rules { date: Date::Ignored, ..strict.clone() }, 9_000_000), Ok(u32::MAX));
        assert_eq!(sig.left(&strict, 9_000_000), Err(Reason::Expired));
    }

    fn signed(owner: &str, rtype: Rtype, labels: u8) -> Result<(String, Option<String>), Reason> {
        let set = Rrset::new(Name::from_text(owner).unwrap(), rtype, Class::IN, 1, RdataSet::new());
        let zone = Name::from_text("example").unwrap();
        let octets = sig(labels, 0, 1);
        let (name, encloser) = Rrsig::parse(&octets).unwrap().signed_name(&set, zone.as_ref())?;
        Ok((name.to_string(), encloser.map(|name| name.to_string())))
    }

    #[test]
    fn cve_2026_44690_more_labels_than_the_owner_has() {
        assert_eq!(signed("a.example", Rtype::A, 3), Err(Reason::BadLabels));
        assert_eq!(signed("*.example", Rtype::A, 2), Err(Reason::BadLabels));
        assert_eq!(signed("a.example", Rtype::A, 255), Err(Reason::BadLabels));
    }

    #[test]
    fn cve_2026_52688_fewer_labels_are_a_wildcard_and_never_above_the_zone() {
        assert_eq!(signed("a.b.example", Rtype::A, 1), Ok(("*.example.".into(), Some("example.".into()))));
        assert_eq!(signed("a.b.example", Rtype::A, 2), Ok(("*.b.example.".into(), Some("b.example.".into()))));
        assert_eq!(signed("a.b.example", Rtype::A, 0), Err(Reason::BadLabels));
        assert_eq!(signed("*.b.example", Rtype::A, 2), Ok(("*.b.example.".into(), None)));
        for rtype in [Rtype::NSEC, Rtype::NSEC3, Rtype::DS] {
            assert_eq!(signed("a.b.example", rtype, 1), Err(Reason::BadWildcard), "{rtype}");
        }
    }

    #[test]
    fn rfc4035_5_3_1_the_signer_is_the_zone() {
        assert_eq!(signed("a.other", Rtype::A, 2), Err(Reason::WrongSigner));
        assert_eq!(signed("example", Rtype::DS, 1), Err(Reason::WrongSigner));
        assert_eq!(signed("a.example", Rtype::DNSKEY, 2), Err(Reason::WrongSigner));
        assert_eq!(signed("a.example", Rtype::SOA, 2), Err(Reason::WrongSigner));
        assert!(signed("a.example", Rtype::DS, 2).is_ok() && signed("example", Rtype::DNSKEY, 1).is_ok());
    }

    #[test]
    fn cut_signatures_are_none() {
        let whole = sig(1, 0, 1);
        for len in 0..whole.len() {
            assert!(Rrsig::parse(&whole[..len]).is_none(), "{len}");
        }
    }
}
