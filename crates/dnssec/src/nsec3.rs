//! [`Nsec3`] and [`Hashes`]: verified NSEC3 records of one chain, and what they say about hashed names (RFC 5155).
//!
//! It owns hashing, which is paid for by the block (CVE-2023-50868), and the rules for a single record. Putting records
//! together into a proof is [`crate::Denial`]'s.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use wire::{NameRef, Rtype};

use crate::bitmap::Types;
use crate::budget::{Budget, OverBudget};
use crate::verify::Secure;

/// SHA-1, the only hash algorithm there is (RFC 5155 11).
const SHA1: u8 = 1;
/// Octets of its hash.
const HASH: usize = 20;
/// The only flag there is (RFC 5155 3.1.2.1).
const OPT_OUT: u8 = 1;

/// The hash of a name.
pub type Hash = [u8; HASH];

/// How a zone hashes its names: salt and iterations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes<'a> {
    /// Additional iterations.
    pub iterations: u16,
    /// The salt, up to 255 octets.
    pub salt: &'a [u8],
}

impl Hashes<'_> {
    /// Hashes a name (RFC 5155 5), paying for each block that goes through SHA-1.
    pub fn hash(&self, name: NameRef<'_>, budget: &mut Budget) -> Result<Hash, OverBudget> {
        // SHA-1 appends nine octets at least to what it hashes.
        let blocks = |octets: usize| u32::try_from((octets + self.salt.len() + 9).div_ceil(64)).unwrap_or(u32::MAX);
        let each = blocks(HASH).saturating_mul(u32::from(self.iterations));
        budget.hash(blocks(name.len()).saturating_add(each))?;
        let mut input = [0u8; 255 + 255];
        let mut once = |octets: &[u8]| {
            let all = octets.iter().chain(self.salt);
            let used = input.iter_mut().zip(all).map(|(into, octet)| *into = *octet).count();
            digest(&SHA1_FOR_LEGACY_USE_ONLY, input.get(..used).unwrap_or_default())
                .as_ref()
                .try_into()
                .unwrap_or([0; HASH])
        };
        let mut hash: Hash = once(name.lower().as_ref().as_wire());
        for _ in 0..self.iterations {
            hash = once(&hash);
        }
        Ok(hash)
    }
}

/// "From this hash to the next there is nothing, and here are these types."
#[derive(Clone, Copy, Debug)]
pub struct Nsec3<'a> {
    owner: Hash,
    next: Hash,
    types: Types<'a>,
    hashes: Hashes<'a>,
    opt_out: bool,
    ttl: u32,
}

impl<'a> Nsec3<'a> {
    /// Reads a verified set. `None` for what is to be ignored: unknown hash algorithms and flags (RFC 5155 8.1, 8.2), an
    /// owner that is not a hash right below the zone that signed it (CVE-2026-10723), more than one record, a bad bitmap.
    pub fn new(secure: &'a Secure, zone: NameRef<'_>) -> Option<Nsec3<'a>> {
        let set = secure.set();
        let owner = set.owner.as_ref();
        if set.rtype != Rtype::NSEC3 || secure.zone() != zone || owner.parent()? != zone || set.rdata.len() != 1 {
            return None;
        }
        let ([algorithm, flags, i1, i2, salt], rest) = set.rdata.first()?.split_first_chunk::<5>()?;
        let (salt, rest) = rest.split_at_checked(usize::from(*salt))?;
        let (len, rest) = rest.split_first()?;
        let (next, types) = rest.split_at_checked(usize::from(*len))?;
        if *algorithm != SHA1 || flags & !OPT_OUT != 0 {
            return None;
        }
        Some(Nsec3 {
            owner: from_base32hex(owner.labels().next()?)?,
            next: next.try_into().ok()?,
            types: Types::parse(types)?,
            hashes: Hashes { iterations: u16::from_be_bytes([*i1, *i2]), salt },
            opt_out: flags & OPT_OUT != 0,
            ttl: set.ttl,
        })
    }

    /// The types at the name hashed.
    pub fn types(&self) -> Types<'a> {
        self.types
    }

    /// How its chain hashes.
    pub fn hashes(&self) -> Hashes<'a> {
        self.hashes
    }

    /// Whether unsigned delegations may hide in the gap (RFC 5155 6).
    pub fn is_opt_out(&self) -> bool {
        self.opt_out
    }

    /// Seconds it may be used.
    pub(crate) fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Whether it stands at this hash.
    pub fn matches(&self, hash: &Hash) -> bool {
        self.owner == *hash
    }

    /// Whether it denies that a name of this hash exists. The last of the chain points back to the first.
    pub fn covers(&self, hash: &Hash) -> bool {
        if self.owner < self.next {
            self.owner < *hash && *hash < self.next
        } else {
            *hash != self.owner && (self.owner < *hash || *hash < self.next)
        }
    }
}

/// A hash as the first label of an NSEC3 owner, in lower case (RFC 5155 3.3).
pub fn to_base32hex(hash: &Hash) -> [u8; HASH * 8 / 5] {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut out = [0u8; HASH * 8 / 5];
    for (five, letters) in hash.chunks_exact(5).zip(out.chunks_exact_mut(8)) {
        let value = five.iter().fold(0u64, |value, octet| value << 8 | u64::from(*octet));
        for (nth, letter) in letters.iter_mut().enumerate() {
            *letter = LETTERS.get((value >> (35 - 5 * nth)) as usize % 32).copied().unwrap_or(b'0');
        }
    }
    out
}

/// Base 32 with the extended hex alphabet, no padding (RFC 4648 7): 32 letters are 20 octets.
fn from_base32hex(text: &[u8]) -> Option<Hash> {
    let mut out = [0u8; HASH];
    if text.len() != HASH * 8 / 5 {
        return None;
    }
    for (group, into) in text.chunks_exact(8).zip(out.chunks_exact_mut(5)) {
        let mut value = 0u64;
        for letter in group {
            let digit = match letter {
                b'0'..=b'9' => letter - b'0',
                b'a'..=b'v' => letter - b'a' + 10,
                b'A'..=b'V' => letter - b'A' + 10,
                _ => return None,
            };
            value = value << 5 | u64::from(digit);
        }
        into.copy_from_slice(value.to_be_bytes().get(3..)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Name;

    #[test]
    fn rfc5155_app_a_hashes() {
        let salt = [0xaa, 0xbb, 0xcc, 0xdd];
        let hashes = Hashes { iterations: 12, salt: &salt };
        for (name, hash) in [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("ai.example", "gjeqe526plbf1g8mklp59enfd789njgi"),
            ("ns1.example", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
            ("ns2.example", "q04jkcevqvmu85r014c7dkba38o0ji5r"),
            ("w.example", "k8udemvp1j2f7eg6jebps17vp3n8i58h"),
            ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
            ("x.w.example", "b4um86eghhds6nea196smvmlo4ors995"),
            ("y.w.example", "ji6neoaepv8b5o6k4ev33abha8ht9fgc"),
            ("X.Y.W.Example", "2vptu5timamqttgl4luu9kg21e0aor3s"),
            ("xx.example", "t644ebqk9bibcna874givr6joj62mlhv"),
        ] {
            let name = Name::from_text(name).unwrap();
            let got = hashes.hash(name.as_ref(), &mut Budget::default()).unwrap();
            assert_eq!(got, from_base32hex(hash.as_bytes()).unwrap(), "{name}");
        }
    }

    #[test]
    fn cve_2023_50868_every_iteration_is_paid_for() {
        let name = Name::from_text("a.example").unwrap();
        let mut budget = Budget::new(0, 1000);
        Hashes { iterations: 99, salt: &[] }.hash(name.as_ref(), &mut budget).unwrap();
        assert_eq!(budget.spent().1, 100);
        // A long salt makes each iteration five blocks.
        Hashes { iterations: 99, salt: &[0; 255] }.hash(name.as_ref(), &mut budget).unwrap();
        assert_eq!(budget.spent().1, 600);
        assert_eq!(Hashes { iterations: 65_535, salt: &[] }.hash(name.as_ref(), &mut budget), Err(OverBudget));
    }

    #[test]
    fn rfc5155_3_1_7_the_last_record_covers_around_the_end() {
        let between = |owner: u8, next: u8, hash: u8| {
            let (types, hashes) = (Types::parse(&[]).unwrap(), Hashes { iterations: 0, salt: &[] });
            let nsec3 = Nsec3 { owner: [owner; 20], next: [next; 20], types, hashes, opt_out: false, ttl: 0 };
            nsec3.covers(&[hash; 20])
        };
        for (owner, next, hash, covers) in [
            (10, 20, 15, true),
            (10, 20, 10, false),
            (10, 20, 20, false),
            (10, 20, 5, false),
            (20, 10, 25, true),
            (20, 10, 5, true),
            (20, 10, 10, false),
            (20, 10, 15, false),
            (20, 10, 20, false),
            (10, 10, 9, true),
            (10, 10, 11, true),
            (10, 10, 10, false),
        ] {
            assert_eq!(between(owner, next, hash), covers, "{hash} between {owner} and {next}");
        }
    }

    #[test]
    fn rfc4648_7_base32hex() {
        assert_eq!(from_base32hex(&[b'0'; 32]), Some([0; 20]));
        assert_eq!(from_base32hex(&[b'v'; 32]), Some([255; 20]));
        assert_eq!(from_base32hex(&[b'V'; 32]), Some([255; 20]));
        assert_eq!(from_base32hex(&[b'w'; 32]), None);
        assert_eq!(from_base32hex(&[b'0'; 31]), None);
        for text in [b"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", b"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"] {
            assert_eq!(&to_base32hex(&from_base32hex(text).unwrap()), text);
        }
    }
}
