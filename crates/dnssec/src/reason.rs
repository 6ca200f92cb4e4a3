//! [`Reason`]: why something is not secure, in words and as an extended DNS error (RFC 8914).
//!
//! It owns the texts and codes that clients, logs and traces show. It decides nothing.

use std::fmt;

use wire::Ede;

/// Why data are bogus or insecure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The set has no signature.
    NoSignature,
    /// Its signatures cannot be read.
    MalformedSignature,
    /// No signature is by the zone the set belongs to.
    WrongSigner,
    /// RRSIG labels exceed the labels of the owner, or are fewer than the zone's (RFC 4035 5.3.1; CVE-2026-44690,
    /// CVE-2026-52688).
    BadLabels,
    /// A set of a type that no wildcard makes is signed as the expansion of one.
    BadWildcard,
    /// The set has more records or octets than are verified (CVE-2026-56416).
    TooLarge,
    /// No signature of an algorithm that is supported.
    UnsupportedAlgorithm,
    /// Some algorithm that the DS set promises has not signed (harden-algo-downgrade).
    MissingAlgorithm,
    /// Inception after expiration.
    ExpiredBeforeValid,
    /// Past the expiration, clock skew granted.
    Expired,
    /// Before the inception, clock skew granted.
    NotYetValid,
    /// No key has the tag and algorithm of a signature.
    NoMatchingKey,
    /// The key that matches has no zone key bit (RFC 4034 2.1.1).
    NoZoneKeyBit,
    /// The key that matches is revoked (RFC 5011 2.1).
    KeyRevoked,
    /// The key that matches is not one of its algorithm, or of a size that is not verified.
    BadKey,
    /// Every key that matches the DS set is of a size that is not verified.
    UnsupportedKeySize,
    /// The signature does not verify.
    BadSignature,
    /// More signatures or colliding keys than are tried (CVE-2023-50387).
    TooManyAttempts,
    /// There is no DNSKEY set, or nothing in it.
    NoKeys,
    /// No key matches the DS set or trust anchor.
    NoKeyForDs,
    /// All DS records, or anchors, are for algorithms that are not supported.
    UnsupportedDsAlgorithm,
    /// All DS records have digest types that are not supported.
    UnsupportedDigest,
    /// NSEC or NSEC3 records are missing or do not prove the denial.
    NoDenial,
    /// The NSEC or NSEC3 of the name shows that the type is there after all.
    TypeExists,
    /// NSEC3 iterations beyond the limit (RFC 9276 3.2).
    TooManyIterations,
    /// An opt-out NSEC3 covers the name: an unsigned delegation may be there (RFC 5155 6).
    OptOut,
    /// The operator excuses it for a while (RFC 7646).
    NegativeAnchor,
    /// The work allowed for the question is used up.
    OverBudget,
}

impl Reason {
    /// The INFO-CODE for the client; `None` where nothing is wrong, only insecure.
    pub fn ede_code(self) -> Option<u16> {
        Some(match self {
            Reason::NoSignature => Ede::RRSIGS_MISSING,
            Reason::UnsupportedAlgorithm | Reason::UnsupportedDsAlgorithm | Reason::UnsupportedKeySize => {
                Ede::UNSUPPORTED_DNSKEY_ALGORITHM
            }
            Reason::UnsupportedDigest => Ede::UNSUPPORTED_DS_DIGEST,
            Reason::ExpiredBeforeValid => Ede::SIGNATURE_EXPIRED_BEFORE_VALID,
            Reason::Expired => Ede::SIGNATURE_EXPIRED,
            Reason::NotYetValid => Ede::SIGNATURE_NOT_YET_VALID,
            Reason::NoMatchingKey | Reason::NoKeys | Reason::NoKeyForDs => Ede::DNSKEY_MISSING,
            Reason::NoZoneKeyBit => Ede::NO_ZONE_KEY_BIT,
            Reason::NoDenial => Ede::NSEC_MISSING,
            Reason::TooManyIterations => Ede::UNSUPPORTED_NSEC3_ITERATIONS,
            Reason::OverBudget => Ede::DNSSEC_INDETERMINATE,
            Reason::NegativeAnchor => Ede::NEGATIVE_TRUST_ANCHOR,
            Reason::OptOut => return None,
            Reason::MalformedSignature
            | Reason::WrongSigner
            | Reason::BadLabels
            | Reason::BadWildcard
            | Reason::TooLarge
            | Reason::MissingAlgorithm
            | Reason::KeyRevoked
            | Reason::BadKey
            | Reason::BadSignature
            | Reason::TooManyAttempts
            | Reason::TypeExists => Ede::DNSSEC_BOGUS,
        })
    }

    /// A short text, below the limit of EDE texts.
    pub fn text(self) -> &'static str {
        match self {
            Reason::NoSignature => "no signature",
            Reason::MalformedSignature => "the signature is malformed",
            Reason::WrongSigner => "not signed by its zone",
            Reason::BadLabels => "the signature's label count does not fit the name",
            Reason::BadWildcard => "a type that no wildcard makes is signed by one",
            Reason::TooLarge => "too large to verify",
            Reason::UnsupportedAlgorithm => "no signature of a supported algorithm",
            Reason::MissingAlgorithm => "an algorithm of the DS set has not signed",
            Reason::ExpiredBeforeValid => "the signature expires before it begins",
            Reason::Expired => "the signature has expired",
            Reason::NotYetValid => "the signature is not valid yet",
            Reason::NoMatchingKey => "no key matches the signature",
            Reason::NoZoneKeyBit => "the signing key is no zone key",
            Reason::KeyRevoked => "the signing key is revoked",
            Reason::BadKey => "the signing key is malformed or of an unsupported size",
            Reason::UnsupportedKeySize => "no key of a supported size",
            Reason::BadSignature => "the signature does not verify",
            Reason::TooManyAttempts => "too many signatures or colliding keys",
            Reason::NoKeys => "no DNSKEY",
            Reason::NoKeyForDs => "no DNSKEY matches the DS or trust anchor",
            Reason::UnsupportedDsAlgorithm => "no DS or trust anchor of a supported algorithm",
            Reason::UnsupportedDigest => "no DS of a supported digest type",
            Reason::NoDenial => "no proof that the name or type does not exist",
            Reason::TypeExists => "NSEC or NSEC3 shows that the type exists",
            Reason::TooManyIterations => "NSEC3 iterations above the limit",
            Reason::OptOut => "covered by NSEC3 opt-out",
            Reason::NegativeAnchor => "a negative trust anchor is in force",
            Reason::OverBudget => "too much work to validate",
        }
    }

    /// The extended error for the client: code and text.
    pub fn ede(self) -> Option<Ede> {
        self.ede_code().map(|code| Ede::new(code, self.text()))
    }

    /// How far a signature came that failed for this: of several failures the one that came furthest is the one to tell.
    pub(crate) fn reach(self) -> u8 {
        match self {
            Reason::NoSignature => 0,
            Reason::MalformedSignature => 1,
            Reason::WrongSigner => 2,
            Reason::UnsupportedAlgorithm => 3,
            Reason::BadLabels | Reason::BadWildcard => 4,
            Reason::ExpiredBeforeValid | Reason::Expired | Reason::NotYetValid => 5,
            Reason::NoMatchingKey => 6,
            Reason::NoZoneKeyBit | Reason::KeyRevoked => 7,
            Reason::BadKey => 8,
            _ => 9,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
