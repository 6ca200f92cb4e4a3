//! [`Canonical`]: an RRset in canonical form and order, and the octets a signature is made over (RFC 4034 3.1.8.1, 6).
//!
//! It owns which names in record data are lower-cased (RFC 4034 6.2 as corrected by RFC 6840 5.1), and the bound on what is
//! built. It judges no signature. Canonical order of names is [`wire::NameRef`]'s own order.

use std::borrow::Cow;

use wire::{Class, NameRef, Rrset, Rtype};

use crate::budget::{MAX_RECORDS, MAX_SIGNED_OCTETS};
use crate::sig::Rrsig;

/// A set's records in the order they are signed in, equal ones once.
#[derive(Debug)]
pub struct Canonical<'a> {
    rtype: Rtype,
    class: Class,
    rdata: Vec<Cow<'a, [u8]>>,
    octets: usize,
}

impl<'a> Canonical<'a> {
    /// Puts the records in order; `None` when there are more than [`MAX_RECORDS`] or [`MAX_SIGNED_OCTETS`].
    pub fn new(set: &'a Rrset) -> Option<Canonical<'a>> {
        if set.rdata.len() > MAX_RECORDS {
            return None;
        }
        let mut rdata: Vec<Cow<'a, [u8]>> = set.rdata.iter().map(|rdata| canonical_rdata(set.rtype, rdata)).collect();
        rdata.sort_unstable();
        rdata.dedup();
        let octets = rdata.iter().map(|rdata| rdata.len()).sum();
        (octets <= MAX_SIGNED_OCTETS).then_some(Canonical { rtype: set.rtype, class: set.class, rdata, octets })
    }

    /// The records' data in canonical order.
    pub fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        self.rdata.iter().map(AsRef::as_ref)
    }

    /// What the signature is over: its own fields, then every record with `owner`, which is the set's owner or the wildcard
    /// it was made from, and the original TTL. `None` above [`MAX_SIGNED_OCTETS`].
    pub(crate) fn signed_data(&self, sig: &Rrsig<'_>, owner: NameRef<'_>) -> Option<Vec<u8>> {
        let (owner, signer) = (owner.lower(), sig.signer.lower());
        let (owner, signer) = (owner.as_ref().as_wire(), signer.as_ref().as_wire());
        let size = sig.fixed.len() + signer.len() + self.rdata.len() * (owner.len() + 10) + self.octets;
        if size > MAX_SIGNED_OCTETS {
            return None;
        }
        let mut data = Vec::with_capacity(size);
        data.extend_from_slice(sig.fixed);
        data.extend_from_slice(signer);
        for rdata in &self.rdata {
            data.extend_from_slice(owner);
            data.extend_from_slice(&self.rtype.0.to_be_bytes());
            data.extend_from_slice(&self.class.0.to_be_bytes());
            data.extend_from_slice(&sig.original_ttl.to_be_bytes());
            data.extend_from_slice(&u16::try_from(rdata.len()).ok()?.to_be_bytes());
            data.extend_from_slice(rdata);
        }
        Some(data)
    }
}

/// A part of record data on the way to and between its names.
enum Part {
    /// So many octets that stay as they are.
    Skip(usize),
    /// A character string that stays as it is.
    Text,
    /// A domain name, lower-cased.
    Name,
    /// The address suffix of A6 and, if its prefix is not empty, a name (RFC 2874 3.1.1).
    A6,
}

/// Where the names stand that are lower-cased. NSEC's next name is not among them (RFC 6840 5.1), nor is any name of a type
/// newer than RFC 3597.
fn parts(rtype: Rtype) -> &'static [Part] {
    use Part::{A6, Name, Skip, Text};
    match rtype {
        Rtype::NS
        | Rtype::MD
        | Rtype::MF
        | Rtype::CNAME
        | Rtype::MB
        | Rtype::MG
        | Rtype::MR
        | Rtype::PTR
        | Rtype::DNAME
        | Rtype::NXT => &[Name],
        Rtype::SOA | Rtype::MINFO | Rtype::RP => &[Name, Name],
        Rtype::MX | Rtype::AFSDB | Rtype::RT | Rtype::KX => &[Skip(2), Name],
        Rtype::PX => &[Skip(2), Name, Name],
        Rtype::SRV => &[Skip(6), Name],
        Rtype::NAPTR => &[Skip(4), Text, Text, Text, Name],
        Rtype::SIG | Rtype::RRSIG => &[Skip(18), Name],
        Rtype::A6 => &[A6],
        _ => &[],
    }
}

/// Record data in canonical form. Data that do not have the shape of their type stay as they are.
pub fn canonical_rdata(rtype: Rtype, rdata: &[u8]) -> Cow<'_, [u8]> {
    let parts = parts(rtype);
    if parts.is_empty() {
        return Cow::Borrowed(rdata);
    }
    lowered(parts, rdata).map_or(Cow::Borrowed(rdata), Cow::Owned)
}

fn lowered(parts: &[Part], rdata: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(rdata.len());
    let mut rest = rdata;
    for part in parts {
        let keep = match part {
            Part::Skip(octets) => *octets,
            Part::Text => 1 + usize::from(*rest.first()?),
            Part::A6 => 1 + 128usize.checked_sub(usize::from(*rest.first()?))?.div_ceil(8),
            Part::Name => 0,
        };
        let (kept, after) = rest.split_at_checked(keep)?;
        let has_name = matches!(part, Part::Name) || (matches!(part, Part::A6) && kept.first() != Some(&0));
        out.extend_from_slice(kept);
        rest = after;
        if has_name {
            let (name, after) = NameRef::split_from(rest).ok()?;
            out.extend_from_slice(name.lower().as_ref().as_wire());
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::text::parse_rdata;

    fn canonical(rtype: Rtype, text: &str) -> Vec<u8> {
        canonical_rdata(rtype, &parse_rdata(rtype, text).unwrap()).into_owned()
    }

    #[test]
    fn rfc4034_6_2_names_of_old_types_are_lowered() {
        for (rtype, text) in [
            (Rtype::NS, "NS.Example."),
            (Rtype::CNAME, "A.B."),
            (Rtype::PTR, "A.B."),
            (Rtype::DNAME, "A.B."),
            (Rtype::SOA, "A. B.C. 1 2 3 4 5"),
            (Rtype::MX, "10 Mail.X."),
            (Rtype::RP, "A.B. C.D."),
            (Rtype::AFSDB, "1 A.B."),
            (Rtype::RT, "1 A.B."),
            (Rtype::KX, "1 A.B."),
            (Rtype::PX, "1 A.B. C.D."),
            (Rtype::SRV, "1 2 3 A.B."),
            (Rtype::MINFO, "A.B. C.D."),
        ] {
            assert_eq!(canonical(rtype, text), parse_rdata(rtype, &text.to_lowercase()).unwrap(), "{rtype}");
        }
        // Texts keep their case, the name behind them does not.
        let naptr = canonical(Rtype::NAPTR, r#"1 2 "S" "SIP+D2U" "!X!Y!" Re.Place."#);
        assert_eq!(naptr, parse_rdata(Rtype::NAPTR, r#"1 2 "S" "SIP+D2U" "!X!Y!" re.place."#).unwrap());
    }

    #[test]
    fn rfc6840_5_1_the_next_name_of_nsec_keeps_its_case() {
        let nsec = parse_rdata(Rtype::NSEC, "Next.Example. A NSEC").unwrap();
        assert_eq!(&*canonical_rdata(Rtype::NSEC, &nsec), &nsec[..]);
        let svcb = parse_rdata(Rtype::SVCB, "1 Target.Example. alpn=h2").unwrap();
        assert_eq!(&*canonical_rdata(Rtype::SVCB, &svcb), &svcb[..]);
    }

    #[test]
    fn rfc2874_3_1_1_a6_has_a_name_behind_its_suffix() {
        assert_eq!(&*canonical_rdata(Rtype::A6, b"\x78\xff\x01A\x00"), b"\x78\xff\x01a\x00");
        assert_eq!(&*canonical_rdata(Rtype::A6, b"\x80\x01A\x00"), b"\x80\x01a\x00");
        let mut whole = vec![0u8];
        whole.extend([0x41; 16]);
        assert_eq!(&*canonical_rdata(Rtype::A6, &whole), &whole[..]);
        assert_eq!(&*canonical_rdata(Rtype::A6, b"\x81A"), b"\x81A");
    }

    #[test]
    fn cve_2026_56416_canonical_form_is_bounded() {
        let owner = wire::Name::from_text("x.example").unwrap();
        let set = |count: usize, len: usize| {
            let mut rdata = wire::RdataSet::new();
            for nth in 0..count {
                let mut one = vec![0; len];
                one[..8].copy_from_slice(&nth.to_be_bytes());
                rdata.push(&one);
            }
            Rrset::new(owner.clone(), Rtype::TXT, Class::IN, 1, rdata)
        };
        assert!(Canonical::new(&set(8, 65_535)).is_some());
        assert!(Canonical::new(&set(9, 65_535)).is_none());
        assert!(Canonical::new(&set(MAX_RECORDS, 8)).is_some());
        assert!(Canonical::new(&set(MAX_RECORDS + 1, 8)).is_none());
        // Data that end inside a name are left alone.
        for cut in [&b"\x05MAIL"[..], b"", b"\x00\x0a\x3fX"] {
            assert_eq!(&*canonical_rdata(Rtype::MX, cut), cut);
        }
    }

    proptest! {
        #[test]
        fn rfc4034_6_3_order_is_total_and_without_doubles(
            all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 1..20),
            turn in 0usize..20,
        ) {
            let set = |all: &[Vec<u8>]| {
                let rdata = all.iter().map(|rdata| &rdata[..]).collect();
                Rrset::new(wire::Name::root(), Rtype::NULL, Class::IN, 0, rdata)
            };
            let one = set(&all);
            let order: Vec<Vec<u8>> = Canonical::new(&one).unwrap().rdata().map(<[u8]>::to_vec).collect();
            // RFC 4034 6.3: octet by octet, unsigned, a missing octet before zero.
            for pair in order.windows(2) {
                let at = pair[0].iter().zip(&pair[1]).position(|(a, b)| a != b);
                prop_assert!(at.map_or(pair[0].len() < pair[1].len(), |at| pair[0][at] < pair[1][at]));
            }
            let mut turned = all.clone();
            turned.rotate_left(turn % all.len());
            let two = set(&turned);
            prop_assert_eq!(order, Canonical::new(&two).unwrap().rdata().map(<[u8]>::to_vec).collect::<Vec<_>>());
        }

        #[test]
        fn canonical_rdata_keeps_length_and_is_stable(rtype in 0u16..70, rdata in proptest::collection::vec(any::<u8>(), 0..80)) {
            let once = canonical_rdata(Rtype(rtype), &rdata).into_owned();
            prop_assert_eq!(once.len(), rdata.len());
            prop_assert_eq!(&*canonical_rdata(Rtype(rtype), &once), &once[..]);
            prop_assert!(once.eq_ignore_ascii_case(&rdata));
        }
    }
}
