//! [`Algorithm`]: the numbers of the DNSSEC algorithm registry (RFC 9904), which of them are verified here, and how.
//!
//! It owns the way from key octets and signature octets to the crypto library, and the sizes that are let through to it.
//! It knows no records and pays nothing: whoever has it verify has paid the budget.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

use ed448_goldilocks::{Signature, VerifyingKey};

use crate::reason::Reason;
use crate::rules::Rules;

/// Smallest RSA modulus that is verified, in bits. RFC 5702 2 allows 512, which anyone can factor in hours, and the crypto
/// library takes none below this.
pub const MIN_RSA_BITS: u32 = 1024;
/// Largest RSA modulus that is verified, in bits (RFC 3110 2, RFC 5702 2): a verification costs the square of it.
pub const MAX_RSA_BITS: u32 = 4096;
/// Largest RSA public exponent, in bits: 2^32+1 is in use, and each bit costs a squaring. The crypto library's limit too.
pub const MAX_RSA_EXPONENT_BITS: u32 = 33;

/// A DNSSEC algorithm number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Algorithm(pub u8);

impl Algorithm {
    /// RSA/MD5 (RFC 2537): not to be used, and its key tag is computed in its own way.
    pub const RSAMD5: Algorithm = Algorithm(1);
    /// DSA (RFC 2536): not to be used, and not verified.
    pub const DSA: Algorithm = Algorithm(3);
    /// RSA/SHA-1 (RFC 3110).
    pub const RSASHA1: Algorithm = Algorithm(5);
    /// DSA in zones with NSEC3 (RFC 5155).
    pub const DSA_NSEC3: Algorithm = Algorithm(6);
    /// RSA/SHA-1 in zones with NSEC3 (RFC 5155).
    pub const RSASHA1_NSEC3: Algorithm = Algorithm(7);
    /// RSA/SHA-256 (RFC 5702).
    pub const RSASHA256: Algorithm = Algorithm(8);
    /// RSA/SHA-512 (RFC 5702).
    pub const RSASHA512: Algorithm = Algorithm(10);
    /// ECDSA P-256 with SHA-256 (RFC 6605).
    pub const ECDSAP256: Algorithm = Algorithm(13);
    /// ECDSA P-384 with SHA-384 (RFC 6605).
    pub const ECDSAP384: Algorithm = Algorithm(14);
    /// Ed25519 (RFC 8080).
    pub const ED25519: Algorithm = Algorithm(15);
    /// Ed448 (RFC 8080).
    pub const ED448: Algorithm = Algorithm(16);

    /// Whether signatures of this algorithm are verified under these rules. What is not, is treated as if the zone were
    /// not signed with it (RFC 4035 5.2).
    pub fn is_supported(self, rules: &Rules) -> bool {
        match self {
            Algorithm::DSA | Algorithm::DSA_NSEC3 => rules.fake_sha1 || rules.fake_dsa,
            Algorithm::RSASHA1 | Algorithm::RSASHA1_NSEC3 => rules.rsasha1 || rules.fake_sha1,
            Algorithm::RSASHA256
            | Algorithm::RSASHA512
            | Algorithm::ECDSAP256
            | Algorithm::ECDSAP384
            | Algorithm::ED25519
            | Algorithm::ED448 => true,
            _ => false,
        }
    }

    /// What one verification costs, in those of P-256 (see [`crate::budget::VERIFICATIONS`]): Ed448 takes a millisecond.
    pub(crate) fn cost(self) -> u32 {
        match self {
            Algorithm::ED448 => 12,
            _ => 1,
        }
    }

    /// Size of a key of this algorithm in bits: the modulus for RSA, the curve's for the others.
    pub fn key_bits(self, key: &[u8]) -> Option<u32> {
        match self {
            Algorithm::RSAMD5
            | Algorithm::RSASHA1
            | Algorithm::RSASHA1_NSEC3
            | Algorithm::RSASHA256
            | Algorithm::RSASHA512 => rsa_parts(key).map(|(_, modulus)| bits(modulus)),
            // RFC 2536 2: the size parameter T counts 64 bits beyond 512.
            Algorithm::DSA | Algorithm::DSA_NSEC3 => key.first().map(|t| 512 + 64 * u32::from(*t)),
            Algorithm::ECDSAP256 | Algorithm::ECDSAP384 => u32::try_from(key.len() * 4).ok(),
            _ => u32::try_from(key.len() * 8).ok(),
        }
    }

    /// Whether a test switch says that signatures of such a key are valid, since nothing here can verify them.
    pub(crate) fn is_faked(self, bits: Option<u32>, rules: &Rules) -> bool {
        match self {
            Algorithm::DSA | Algorithm::DSA_NSEC3 => rules.fake_sha1 || rules.fake_dsa,
            Algorithm::RSASHA1 | Algorithm::RSASHA1_NSEC3 => {
                rules.fake_sha1 && bits.is_none_or(|bits| !self.verifies_size(bits))
            }
            _ => false,
        }
    }

    /// Whether keys of this algorithm and so many bits are let through to the crypto library.
    pub(crate) fn verifies_size(self, bits: u32) -> bool {
        match self {
            Algorithm::RSASHA1 | Algorithm::RSASHA1_NSEC3 | Algorithm::RSASHA256 | Algorithm::RSASHA512 => {
                (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits)
            }
            _ => true,
        }
    }

    /// Whether `signature` is one by `key` over `data`. Errors: [`Reason::UnsupportedAlgorithm`], [`Reason::BadKey`],
    /// [`Reason::BadSignature`].
    pub(crate) fn verify(self, key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Reason> {
        match self {
            Algorithm::RSASHA1 | Algorithm::RSASHA1_NSEC3 => {
                rsa(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, key, data, signature)
            }
            Algorithm::RSASHA256 => rsa(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key, data, signature),
            Algorithm::RSASHA512 => rsa(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, key, data, signature),
            Algorithm::ECDSAP256 => point::<65>(&ECDSA_P256_SHA256_FIXED, key, data, signature),
            Algorithm::ECDSAP384 => point::<97>(&ECDSA_P384_SHA384_FIXED, key, data, signature),
            Algorithm::ED25519 if key.len() == 32 => curve(&ED25519, key, data, signature),
            Algorithm::ED25519 => Err(Reason::BadKey),
            Algorithm::ED448 => ed448(key, data, signature),
            _ => Err(Reason::UnsupportedAlgorithm),
        }
    }
}

impl fmt::Display for Algorithm {
    /// The mnemonic of the registry, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Algorithm::RSAMD5 => "RSAMD5",
            Algorithm::DSA => "DSA",
            Algorithm::RSASHA1 => "RSASHA1",
            Algorithm::DSA_NSEC3 => "DSA-NSEC3-SHA1",
            Algorithm::RSASHA1_NSEC3 => "RSASHA1-NSEC3-SHA1",
            Algorithm::RSASHA256 => "RSASHA256",
            Algorithm::RSASHA512 => "RSASHA512",
            Algorithm::ECDSAP256 => "ECDSAP256SHA256",
            Algorithm::ECDSAP384 => "ECDSAP384SHA384",
            Algorithm::ED25519 => "ED25519",
            Algorithm::ED448 => "ED448",
            Algorithm(other) => return write!(f, "{other}"),
        })
    }
}

/// Exponent and modulus of an RSA key (RFC 3110 2), without leading zeros.
fn rsa_parts(key: &[u8]) -> Option<(&[u8], &[u8])> {
    fn trim(mut number: &[u8]) -> &[u8] {
        while let [0, rest @ ..] = number {
            number = rest;
        }
        number
    }
    let (len, rest) = match key {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [] | [0, ..] => return None,
        [len, rest @ ..] => (usize::from(*len), rest),
    };
    let (exponent, modulus) = rest.split_at_checked(len)?;
    Some((trim(exponent), trim(modulus)))
}

/// Bits of a number without leading zeros.
fn bits(number: &[u8]) -> u32 {
    let whole = u32::try_from(number.len()).unwrap_or(u32::MAX).saturating_mul(8);
    whole.saturating_sub(number.first().map_or(0, |first| first.leading_zeros()))
}

fn rsa(how: &RsaParameters, key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Reason> {
    let (e, n) = rsa_parts(key).ok_or(Reason::BadKey)?;
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits(n)) || !(2..=MAX_RSA_EXPONENT_BITS).contains(&bits(e)) {
        return Err(Reason::BadKey);
    }
    RsaPublicKeyComponents { n, e }.verify(how, data, signature).map_err(|_| Reason::BadSignature)
}

/// An ECDSA key stands in DNSKEY as its two coordinates (RFC 6605 4); the library wants the octet 4 before them.
fn point<const LEN: usize>(
    how: &'static dyn VerificationAlgorithm,
    key: &[u8],
    data: &[u8],
    signature: &[u8],
) -> Result<(), Reason> {
    let mut octets = [4u8; LEN];
    match octets.split_first_mut() {
        Some((_, rest)) if rest.len() == key.len() => rest.copy_from_slice(key),
        _ => return Err(Reason::BadKey),
    }
    curve(how, &octets, data, signature)
}

fn curve(how: &'static dyn VerificationAlgorithm, key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Reason> {
    UnparsedPublicKey::new(how, key).verify(data, signature).map_err(|_| Reason::BadSignature)
}

fn ed448(key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Reason> {
    let key = key.try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok()).ok_or(Reason::BadKey)?;
    let signature = Signature::from_slice(signature).map_err(|_| Reason::BadSignature)?;
    key.verify_raw(&signature, data).map_err(|_| Reason::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3110_2_long_and_short_exponent_lengths() {
        assert_eq!(rsa_parts(&[1, 3, 0, 0, 9]), Some((&[3][..], &[9][..])));
        assert_eq!(rsa_parts(&[0, 0, 2, 0, 3, 7]), Some((&[3][..], &[7][..])));
        assert_eq!((rsa_parts(&[]), rsa_parts(&[5, 1]), rsa_parts(&[0, 1])), (None, None, None));
        assert_eq!((bits(&[]), bits(&[1]), bits(&[0x80, 0])), (0, 1, 16));
    }

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
    }

    #[test]
    fn rfc8032_7_4_ed448() {
        for (key, data, signature) in [
            (
                "5fd7449b59b461fd2ce787ec616ad46a1da1342485a70e1f8a0ea75d80e96778edf124769b46c7061bd6783df1e50f6cd1fa1abeafe8256180",
                "",
                "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f2b233f034f628281f2fd7a22ddd47d7828c59bd0a21bfd3980\
                 ff0d2028d4b18a9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4dbb61149f05a7363268c71d95808ff2e652600",
            ),
            (
                "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c235160627b4c3a9480",
                "03",
                "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f4352541b143c4b981b7e18f62de8ccdf633fc1bf037ab7cd77980\
                 5e0dbcc0aae1cbcee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0ff3348ab21aa4adafd1d234441cf807c03a00",
            ),
        ] {
            let (key, data, signature) = (octets(key), octets(data), octets(signature));
            let verify = |key: &[u8], data: &[u8], signature: &[u8]| Algorithm::ED448.verify(key, data, signature);
            assert_eq!(verify(&key, &data, &signature), Ok(()));
            assert_eq!(verify(&key, b"x", &signature), Err(Reason::BadSignature));
            assert_eq!(verify(&key, &data, &signature[..113]), Err(Reason::BadSignature));
            assert_eq!(verify(&key[..56], &data, &signature), Err(Reason::BadKey));
            assert_eq!(verify(&[0xff; 57], &data, &signature), Err(Reason::BadKey));
            for at in [0, 56, 57, 112, 113] {
                let mut wrong = signature.clone();
                wrong[at] ^= 1;
                assert_eq!(verify(&key, &data, &wrong), Err(Reason::BadSignature), "{at}");
            }
        }
    }

    #[test]
    fn rsa_keys_out_of_bounds_reach_no_arithmetic() {
        let key = |exponent: &[u8], octets: usize| {
            let mut key = vec![u8::try_from(exponent.len()).unwrap()];
            key.extend_from_slice(exponent);
            key.extend(std::iter::repeat_n(0xff, octets));
            key
        };
        for (key, why) in [
            (key(&[3], 64), Reason::BadKey),
            (key(&[3], 513), Reason::BadKey),
            (key(&[1; 6], 256), Reason::BadKey),
            (key(&[1], 256), Reason::BadKey),
            (key(&[3], 256), Reason::BadSignature),
        ] {
            assert_eq!(Algorithm::RSASHA256.verify(&key, b"", &[1; 256]), Err(why));
        }
    }
}
