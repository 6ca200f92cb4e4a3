//! [`Dnskey`]: one DNSKEY record, read (RFC 4034 2).
//!
//! It owns flags, protocol and key tags. It does not say whether a key is to be trusted.

use crate::algorithm::Algorithm;

/// Zone Key (RFC 4034 2.1.1): only such keys sign a zone's data.
const ZONE: u16 = 0x0100;
/// Revoked (RFC 5011 2.1).
const REVOKE: u16 = 0x0080;
/// Secure entry point (RFC 4034 2.1.1): a hint only.
const SEP: u16 = 0x0001;

/// A public key of a zone, in the octets of its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dnskey<'a> {
    /// The flags field.
    pub flags: u16,
    /// The protocol field; 3 in every valid key.
    pub protocol: u8,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The public key in the format of its algorithm.
    pub key: &'a [u8],
    /// The whole record data.
    pub rdata: &'a [u8],
}

impl<'a> Dnskey<'a> {
    /// Reads record data; `None` when they are too short to be a key.
    pub fn parse(rdata: &'a [u8]) -> Option<Dnskey<'a>> {
        let ([high, low, protocol, algorithm], key) = rdata.split_first_chunk::<4>()?;
        let flags = u16::from_be_bytes([*high, *low]);
        (!key.is_empty()).then_some(Dnskey { flags, protocol: *protocol, algorithm: Algorithm(*algorithm), key, rdata })
    }

    /// Whether it may sign zone data: zone key bit and protocol 3 (RFC 4034 2.1.1, 2.1.2).
    pub fn is_zone_key(&self) -> bool {
        self.flags & ZONE != 0 && self.protocol == 3
    }

    /// Whether it says that it is a secure entry point.
    pub fn is_sep(&self) -> bool {
        self.flags & SEP != 0
    }

    /// Whether its owner has revoked it (RFC 5011 2.1).
    pub fn is_revoked(&self) -> bool {
        self.flags & REVOKE != 0
    }

    /// The key tag (RFC 4034 App. B). Many keys may have the same.
    pub fn tag(&self) -> u16 {
        key_tag(self.rdata)
    }

    /// Size of the key in bits, if it is a key of its algorithm.
    pub fn bits(&self) -> Option<u32> {
        self.algorithm.key_bits(self.key)
    }

    /// Whether both are the same key but for the REVOKE bit.
    pub(crate) fn same_but_revoked(&self, other: &Dnskey<'_>) -> bool {
        self.flags | REVOKE == other.flags | REVOKE
            && self.protocol == other.protocol
            && self.algorithm == other.algorithm
            && self.key == other.key
    }
}

/// The key tag of DNSKEY record data (RFC 4034 App. B): a checksum; for algorithm 1 the low 24 bits of the modulus but the
/// last eight (App. B.1).
pub fn key_tag(rdata: &[u8]) -> u16 {
    if rdata.get(3) == Some(&Algorithm::RSAMD5.0) {
        return match rdata {
            [_, _, _, _, .., high, low, _] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
    }
    let mut sum = 0u32;
    for pair in rdata.chunks(2) {
        let (high, low) = (pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0));
        sum = sum.wrapping_add(u32::from(u16::from_be_bytes([high, low])));
    }
    sum = sum.wrapping_add(sum >> 16);
    u16::try_from(sum & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4034_2_flags() {
        let key = Dnskey::parse(&[1, 0x81, 3, 8, 1]).unwrap();
        assert!(key.is_zone_key() && key.is_sep() && key.is_revoked());
        let other = Dnskey::parse(&[1, 0, 2, 8, 1]).unwrap();
        assert!(!other.is_zone_key() && !other.is_sep() && !other.is_revoked());
        assert!(Dnskey::parse(&[1, 0, 3, 8]).is_none() && Dnskey::parse(&[]).is_none());
    }

    #[test]
    fn rfc4034_b1_the_tag_of_algorithm_1_is_a_piece_of_the_modulus() {
        assert_eq!(key_tag(&[1, 0, 3, 1, 1, 3, 0xaa, 0x12, 0x34, 0x56]), 0x1234);
        assert_eq!(key_tag(&[1, 0, 3, 1]), 0);
        assert_ne!(key_tag(&[1, 0, 3, 5, 1, 3, 0xaa, 0x12, 0x34, 0x56]), 0x1234);
    }
}
