//! How the data of each type are written: one table for reading and writing.
//!
//! It owns which parts a type's data have in presentation form; what a part looks like is for its two readers. Types
//! that are not in the table have the generic form of RFC 3597 5 alone.

use crate::types::Rtype;

/// One part of record data in presentation form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A domain name.
    Name,
    /// A number of 8 bits.
    U8,
    /// A number of 16 bits.
    U16,
    /// A number of 32 bits.
    U32,
    /// Seconds, with units or without (`1h30m`).
    Period,
    /// A time of RRSIG: `YYYYMMDDHHmmSS` or seconds since 1970 (RFC 4034 3.2).
    Time,
    /// A record type.
    Type,
    /// A DNSSEC algorithm: number or mnemonic (RFC 4034 A.1).
    Algorithm,
    /// A certificate type: number or mnemonic (RFC 4398 2.1).
    CertType,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// A character string.
    Text,
    /// A character string that may be missing.
    OptionalText,
    /// One character string or more.
    Texts,
    /// A string that fills the data, without a length (CAA, URI).
    LongText,
    /// A string of letters and digits, its length before it (CAA).
    Tag,
    /// The rest in hexadecimal, blanks allowed.
    Hex,
    /// The rest in hexadecimal after `0x`, dots allowed (NSAP).
    Nsap,
    /// The rest in base64, blanks allowed.
    Base64,
    /// Octets counted by one before them, in hexadecimal; `-` for none (the salt of NSEC3).
    Salt,
    /// Octets counted by one before them, in base32hex without padding (the next owner of NSEC3).
    Base32,
    /// A bitmap of types (RFC 4034 4.1.2).
    Types,
    /// An address, protocol and ports (WKS).
    Services,
    /// Address prefixes (APL).
    Prefixes,
    /// A place on earth (LOC).
    Place,
    /// So many octets, hexadecimal, with dashes (EUI48, EUI64).
    Dashed(usize),
    /// Eight octets as four groups of hexadecimal, with colons (NID, L64).
    Groups,
    /// Service parameters (SVCB, HTTPS).
    Params,
    /// Gateway type, algorithm, gateway, key (IPSECKEY after its precedence).
    Gateway,
    /// Discovery bit, relay type and relay (AMTRELAY after its precedence).
    Relay,
    /// Algorithm, host identity tag, key, servers (HIP).
    Host,
}

/// The parts of a type's data, `None` if it has the generic form alone.
pub(super) fn parts(rtype: Rtype) -> Option<&'static [Part]> {
    use Part::*;
    Some(match rtype {
        Rtype::A => &[V4],
        Rtype::AAAA => &[V6],
        Rtype::NS
        | Rtype::MD
        | Rtype::MF
        | Rtype::CNAME
        | Rtype::MB
        | Rtype::MG
        | Rtype::MR
        | Rtype::PTR
        | Rtype::DNAME
        | Rtype::NSAP_PTR => &[Name],
        Rtype::SOA => &[Name, Name, U32, Period, Period, Period, Period],
        Rtype::WKS => &[Services],
        Rtype::HINFO => &[Text, Text],
        Rtype::MINFO | Rtype::RP | Rtype::TALINK => &[Name, Name],
        Rtype::MX | Rtype::AFSDB | Rtype::RT | Rtype::KX | Rtype::LP => &[U16, Name],
        Rtype::TXT | Rtype::SPF | Rtype::NINFO | Rtype::AVC | Rtype::RESINFO | Rtype::WALLET => &[Texts],
        Rtype::X25 => &[Text],
        Rtype::ISDN => &[Text, OptionalText],
        Rtype::NSAP => &[Nsap],
        Rtype::SIG | Rtype::RRSIG => &[Type, Algorithm, U8, Period, Time, Time, U16, Name, Base64],
        Rtype::KEY | Rtype::DNSKEY | Rtype::CDNSKEY | Rtype::RKEY => &[U16, U8, Algorithm, Base64],
        Rtype::PX => &[U16, Name, Name],
        Rtype::GPOS => &[Text, Text, Text],
        Rtype::LOC => &[Place],
        Rtype::EID | Rtype::NIMLOC => &[Hex],
        Rtype::SRV => &[U16, U16, U16, Name],
        Rtype::NAPTR => &[U16, U16, Text, Text, Text, Name],
        Rtype::CERT => &[CertType, U16, Algorithm, Base64],
        Rtype::APL => &[Prefixes],
        Rtype::DS | Rtype::CDS | Rtype::DLV | Rtype::TA => &[U16, Algorithm, U8, Hex],
        Rtype::SSHFP => &[U8, U8, Hex],
        Rtype::IPSECKEY => &[U8, Gateway],
        Rtype::NSEC => &[Name, Types],
        Rtype::DHCID | Rtype::OPENPGPKEY => &[Base64],
        Rtype::NSEC3 => &[U8, U8, U16, Salt, Base32, Types],
        Rtype::NSEC3PARAM => &[U8, U8, U16, Salt],
        Rtype::TLSA | Rtype::SMIMEA => &[U8, U8, U8, Hex],
        Rtype::HIP => &[Host],
        Rtype::CSYNC => &[U32, U16, Types],
        Rtype::ZONEMD => &[U32, U8, U8, Hex],
        Rtype::SVCB | Rtype::HTTPS => &[U16, Name, Params],
        Rtype::DSYNC => &[Type, U8, U16, Name],
        Rtype::NID | Rtype::L64 => &[U16, Groups],
        Rtype::L32 => &[U16, V4],
        Rtype::EUI48 => &[Dashed(6)],
        Rtype::EUI64 => &[Dashed(8)],
        Rtype::URI => &[U16, U16, LongText],
        Rtype::CAA => &[U8, Tag, LongText],
        Rtype::DOA => &[U32, U32, U8, Text, Base64],
        Rtype::AMTRELAY => &[U8, Relay],
        _ => return None,
    })
}

/// DNSSEC algorithms and their mnemonics (IANA registry "DNS Security Algorithm Numbers").
pub(super) const ALGORITHMS: &[(&str, u16)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Certificate types and their mnemonics (RFC 4398 2.1).
pub(super) const CERT_TYPES: &[(&str, u16)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// Service parameter keys (RFC 9460 14.3.2, RFC 9461, RFC 9540).
pub(super) const PARAM_KEYS: &[(&str, u16)] = &[
    ("mandatory", 0),
    ("alpn", 1),
    ("no-default-alpn", 2),
    ("port", 3),
    ("ipv4hint", 4),
    ("ech", 5),
    ("ipv6hint", 6),
    ("dohpath", 7),
    ("ohttp", 8),
];
