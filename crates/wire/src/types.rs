//! The numbers of the IANA registries that DNS messages carry: types, classes, response codes, opcodes, header bits.
//!
//! It owns their names and their text forms (RFC 3597 for what has no name) and never decides what a number means for
//! an answer.

use std::fmt;
use std::str::FromStr;

/// A number and its names: constants, `Display`, `FromStr` that takes any case.
macro_rules! numbers {
    ($(#[$doc:meta])* $type:ident($int:ty), unknown $prefix:literal, { $($name:ident $text:literal = $value:literal $what:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub $int);

        impl $type {
            $(
                #[doc = $what]
                pub const $name: $type = $type($value);
            )*

            /// The registered mnemonic, if there is one here.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(text) => f.write_str(text),
                    None => write!(f, concat!($prefix, "{}"), self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<$type, UnknownWord> {
                $(
                    if text.eq_ignore_ascii_case($text) {
                        return Ok($type($value));
                    }
                )*
                let (prefix, number) = text.split_at_checked($prefix.len()).ok_or(UnknownWord)?;
                if !prefix.eq_ignore_ascii_case($prefix) || !number.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(UnknownWord);
                }
                number.parse().map($type).map_err(|_| UnknownWord)
            }
        }
    };
}

/// The text is neither a mnemonic known here nor the prefix with a number in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a known word")
    }
}

impl std::error::Error for UnknownWord {}

numbers! {
    /// A resource record type (RFC 1035 3.2.2, RFC 6895 3.1); unknown ones are written `TYPE123` (RFC 3597 5).
    Rtype(u16), unknown "TYPE", {
        A "A" = 1 "Address (RFC 1035).",
        NS "NS" = 2 "Name server (RFC 1035).",
        MD "MD" = 3 "Mail destination (RFC 1035, obsolete).",
        MF "MF" = 4 "Mail forwarder (RFC 1035, obsolete).",
        CNAME "CNAME" = 5 "Canonical name (RFC 1035).",
        SOA "SOA" = 6 "Start of authority (RFC 1035).",
        MB "MB" = 7 "Mailbox (RFC 1035).",
        MG "MG" = 8 "Mail group (RFC 1035).",
        MR "MR" = 9 "Mail rename (RFC 1035).",
        NULL "NULL" = 10 "Anything (RFC 1035).",
        WKS "WKS" = 11 "Well known services (RFC 1035).",
        PTR "PTR" = 12 "Pointer (RFC 1035).",
        HINFO "HINFO" = 13 "Host information (RFC 1035, RFC 8482).",
        MINFO "MINFO" = 14 "Mailbox information (RFC 1035).",
        MX "MX" = 15 "Mail exchange (RFC 1035).",
        TXT "TXT" = 16 "Text (RFC 1035).",
        RP "RP" = 17 "Responsible person (RFC 1183).",
        AFSDB "AFSDB" = 18 "AFS database (RFC 1183).",
        X25 "X25" = 19 "X.25 address (RFC 1183).",
        ISDN "ISDN" = 20 "ISDN address (RFC 1183).",
        RT "RT" = 21 "Route through (RFC 1183).",
        NSAP "NSAP" = 22 "NSAP address (RFC 1706).",
        NSAP_PTR "NSAP-PTR" = 23 "NSAP pointer (RFC 1348).",
        SIG "SIG" = 24 "Signature (RFC 2535, RFC 2931).",
        KEY "KEY" = 25 "Key (RFC 2535, RFC 2930).",
        PX "PX" = 26 "X.400 mapping (RFC 2163).",
        GPOS "GPOS" = 27 "Geographical position (RFC 1712).",
        AAAA "AAAA" = 28 "IPv6 address (RFC 3596).",
        LOC "LOC" = 29 "Location (RFC 1876).",
        NXT "NXT" = 30 "Next (RFC 2535, obsolete).",
        EID "EID" = 31 "Endpoint identifier.",
        NIMLOC "NIMLOC" = 32 "Nimrod locator.",
        SRV "SRV" = 33 "Service (RFC 2782).",
        ATMA "ATMA" = 34 "ATM address.",
        NAPTR "NAPTR" = 35 "Naming authority pointer (RFC 3403).",
        KX "KX" = 36 "Key exchanger (RFC 2230).",
        CERT "CERT" = 37 "Certificate (RFC 4398).",
        A6 "A6" = 38 "IPv6 address (RFC 2874, historic).",
        DNAME "DNAME" = 39 "Delegation name (RFC 6672).",
        SINK "SINK" = 40 "Kitchen sink.",
        OPT "OPT" = 41 "EDNS (RFC 6891); not a record.",
        APL "APL" = 42 "Address prefix list (RFC 3123).",
        DS "DS" = 43 "Delegation signer (RFC 4034).",
        SSHFP "SSHFP" = 44 "SSH key fingerprint (RFC 4255).",
        IPSECKEY "IPSECKEY" = 45 "IPsec key (RFC 4025).",
        RRSIG "RRSIG" = 46 "Signature (RFC 4034).",
        NSEC "NSEC" = 47 "Next secure (RFC 4034).",
        DNSKEY "DNSKEY" = 48 "Zone key (RFC 4034).",
        DHCID "DHCID" = 49 "DHCP identifier (RFC 4701).",
        NSEC3 "NSEC3" = 50 "Hashed next secure (RFC 5155).",
        NSEC3PARAM "NSEC3PARAM" = 51 "NSEC3 parameters (RFC 5155).",
        TLSA "TLSA" = 52 "TLS association (RFC 6698).",
        SMIMEA "SMIMEA" = 53 "S/MIME association (RFC 8162).",
        HIP "HIP" = 55 "Host identity (RFC 8005).",
        NINFO "NINFO" = 56 "Zone status.",
        RKEY "RKEY" = 57 "Record key.",
        TALINK "TALINK" = 58 "Trust anchor link.",
        CDS "CDS" = 59 "Child DS (RFC 7344).",
        CDNSKEY "CDNSKEY" = 60 "Child DNSKEY (RFC 7344).",
        OPENPGPKEY "OPENPGPKEY" = 61 "OpenPGP key (RFC 7929).",
        CSYNC "CSYNC" = 62 "Child synchronisation (RFC 7477).",
        ZONEMD "ZONEMD" = 63 "Zone digest (RFC 8976).",
        SVCB "SVCB" = 64 "Service binding (RFC 9460).",
        HTTPS "HTTPS" = 65 "HTTPS service binding (RFC 9460).",
        DSYNC "DSYNC" = 66 "Delegation synchronisation (RFC 9859).",
        SPF "SPF" = 99 "Sender policy (RFC 7208, obsolete).",
        NID "NID" = 104 "Node identifier (RFC 6742).",
        L32 "L32" = 105 "Locator of 32 bits (RFC 6742).",
        L64 "L64" = 106 "Locator of 64 bits (RFC 6742).",
        LP "LP" = 107 "Locator pointer (RFC 6742).",
        EUI48 "EUI48" = 108 "48-bit address (RFC 7043).",
        EUI64 "EUI64" = 109 "64-bit address (RFC 7043).",
        NXNAME "NXNAME" = 128 "Mark of a name that does not exist (RFC 9824).",
        TKEY "TKEY" = 249 "Transaction key (RFC 2930).",
        TSIG "TSIG" = 250 "Transaction signature (RFC 8945).",
        IXFR "IXFR" = 251 "Incremental transfer (RFC 1995); a question only.",
        AXFR "AXFR" = 252 "Zone transfer (RFC 5936); a question only.",
        MAILB "MAILB" = 253 "Mailbox records (RFC 1035); a question only.",
        MAILA "MAILA" = 254 "Mail agent records (RFC 1035, obsolete); a question only.",
        ANY "ANY" = 255 "All records (RFC 1035, RFC 8482); a question only.",
        URI "URI" = 256 "Uniform resource identifier (RFC 7553).",
        CAA "CAA" = 257 "Certification authority authorisation (RFC 8659).",
        AVC "AVC" = 258 "Application visibility.",
        DOA "DOA" = 259 "Digital object architecture.",
        AMTRELAY "AMTRELAY" = 260 "Multicast relay (RFC 8777).",
        RESINFO "RESINFO" = 261 "Resolver information (RFC 9606).",
        WALLET "WALLET" = 262 "Wallet address.",
        TA "TA" = 32768 "Trust authority.",
        DLV "DLV" = 32769 "Lookaside validation (RFC 4431, obsolete).",
    }
}

impl Rtype {
    /// Whether records of this type exist for DNSSEC's sake only and are left out unless asked for (RFC 4035 3.2.1).
    pub fn is_dnssec(self) -> bool {
        matches!(
            self,
            Rtype::RRSIG
                | Rtype::NSEC
                | Rtype::NSEC3
                | Rtype::NSEC3PARAM
                | Rtype::DNSKEY
                | Rtype::DS
                | Rtype::SIG
                | Rtype::KEY
                | Rtype::NXT
        )
    }
}

numbers! {
    /// A class (RFC 1035 3.2.4); unknown ones are written `CLASS7` (RFC 3597 5).
    Class(u16), unknown "CLASS", {
        IN "IN" = 1 "The Internet.",
        CS "CS" = 2 "CSNET (obsolete).",
        CH "CH" = 3 "Chaos: server identity (RFC 4892).",
        HS "HS" = 4 "Hesiod.",
        NONE "NONE" = 254 "None (RFC 2136).",
        ANY "ANY" = 255 "Any class; a question only.",
    }
}

numbers! {
    /// A response code of 12 bits: header and EDNS together (RFC 6891 6.1.3).
    Rcode(u16), unknown "RCODE", {
        NOERROR "NOERROR" = 0 "No error.",
        FORMERR "FORMERR" = 1 "The query is malformed.",
        SERVFAIL "SERVFAIL" = 2 "The server failed.",
        NXDOMAIN "NXDOMAIN" = 3 "The name does not exist.",
        NOTIMP "NOTIMP" = 4 "Not implemented.",
        REFUSED "REFUSED" = 5 "Refused by policy.",
        YXDOMAIN "YXDOMAIN" = 6 "A name exists that should not; also a DNAME result too long (RFC 6672).",
        YXRRSET "YXRRSET" = 7 "An RRset exists that should not.",
        NXRRSET "NXRRSET" = 8 "An RRset that should exist does not.",
        NOTAUTH "NOTAUTH" = 9 "Not authoritative, or not authorised.",
        NOTZONE "NOTZONE" = 10 "The name is not in the zone.",
        DSOTYPENI "DSOTYPENI" = 11 "DSO type not implemented (RFC 8490).",
        BADVERS "BADVERS" = 16 "EDNS version not supported (RFC 6891).",
        BADKEY "BADKEY" = 17 "TSIG key not recognised (RFC 8945).",
        BADTIME "BADTIME" = 18 "TSIG out of its time window (RFC 8945).",
        BADCOOKIE "BADCOOKIE" = 23 "Bad or missing server cookie (RFC 7873).",
    }
}

impl Rcode {
    /// The four bits of the header.
    pub fn low(self) -> u16 {
        self.0 & 0x0f
    }

    /// The eight bits of the OPT record.
    pub fn high(self) -> u8 {
        u8::try_from(self.0 >> 4 & 0xff).unwrap_or(0)
    }
}

numbers! {
    /// An opcode (RFC 1035 4.1.1).
    Opcode(u8), unknown "OPCODE", {
        QUERY "QUERY" = 0 "A question.",
        IQUERY "IQUERY" = 1 "Inverse query (obsolete, RFC 3425).",
        STATUS "STATUS" = 2 "Server status.",
        NOTIFY "NOTIFY" = 4 "A zone has changed (RFC 1996).",
        UPDATE "UPDATE" = 5 "Dynamic update (RFC 2136).",
        DSO "DSO" = 6 "Stateful operations (RFC 8490).",
    }
}

/// Header bits, as they stand in the second 16 bits of a message (RFC 1035 4.1.1, RFC 4035 3).
pub mod flag {
    /// This is a reply.
    pub const QR: u16 = 0x8000;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// The reserved bit, which Unbound keeps as the client sent it in some replies.
    pub const Z: u16 = 0x0040;
    /// Authentic data.
    pub const AD: u16 = 0x0020;
    /// Checking disabled.
    pub const CD: u16 = 0x0010;
    /// The four bits of the opcode.
    pub const OPCODE: u16 = 0x7800;
    /// The four bits of the response code.
    pub const RCODE: u16 = 0x000f;
}

/// EDNS option codes (IANA registry "DNS EDNS0 Option Codes").
pub mod option {
    /// Name server identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// Client subnet (RFC 7871).
    pub const CLIENT_SUBNET: u16 = 8;
    /// Cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// TCP keepalive (RFC 7828).
    pub const KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended DNS error (RFC 8914).
    pub const EDE: u16 = 15;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3597_unknown_types_and_classes_have_a_text_form() {
        assert_eq!(Rtype(731).to_string(), "TYPE731");
        assert_eq!("type731".parse(), Ok(Rtype(731)));
        assert_eq!("TYPE1".parse(), Ok(Rtype::A));
        assert_eq!(Class(32).to_string(), "CLASS32");
        assert_eq!("CLASS32".parse(), Ok(Class(32)));
        for bad in ["TYPE", "TYPE65536", "TYPE+1", "TYPEx", "", "é", "TYP"] {
            assert_eq!(bad.parse::<Rtype>(), Err(UnknownWord), "{bad}");
        }
    }

    #[test]
    fn every_mnemonic_reads_back() {
        for number in 0..=u16::MAX {
            let rtype = Rtype(number);
            assert_eq!(rtype.to_string().to_lowercase().parse(), Ok(rtype));
        }
    }

    #[test]
    fn rfc6891_6_1_3_extended_rcode_is_split() {
        assert_eq!((Rcode::BADVERS.low(), Rcode::BADVERS.high()), (0, 1));
        assert_eq!((Rcode::NXDOMAIN.low(), Rcode::NXDOMAIN.high()), (3, 0));
    }
}
