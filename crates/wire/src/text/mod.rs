//! Records as people write them: presentation form to wire form and back, for every type.
//!
//! It owns the record line of `local-data` (`owner [ttl] [class] type data`), as Unbound 1.17.1 reads it, the same read
//! strictly, for lists ([`parse_line`]), and the text of record data as zone files and `dig` show it. It never reads files
//! or directives, and never decides what a record is used for.
//!
//! What Unbound takes, and so do we (probed with `unbound-checkconf` and a running server): owners and names in data are
//! absolute, with or without the final dot; TTL units (`1h30m`); parentheses and `; comment`; text after the data, which
//! is ignored; a type without any data, which makes a record of no octets; `TYPEnnn` and `\# length hex` for any type.
//! What it refuses, and so do we: the class before the TTL.

mod parts;
mod read;
mod write;

pub use read::{parse_data, parse_line, parse_rdata, parse_record};
pub use write::rdata_to_text;

use crate::name::Name;
use crate::types::{Class, Rtype};

/// One record in presentation form, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose record it is, in the case written.
    pub owner: Name,
    /// The TTL in seconds: the one written, or the default handed in. Always `Some`.
    pub ttl: Option<u32>,
    /// Its class.
    pub class: Class,
    /// Its type.
    pub rtype: Rtype,
    /// Its data, uncompressed; empty if the line ends after the type.
    pub rdata: Vec<u8>,
}

/// Why text is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Octet in the text where it went wrong.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RecordError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn rdata(line: &str) -> String {
        hex(&parse_record(line, 3600).unwrap_or_else(|error| panic!("{line}: {error}")).rdata)
    }

    #[test]
    fn record_lines() {
        for (line, owner, ttl, class, rtype) in [
            ("x.test. A 192.0.2.1", "x.test.", 3600, Class::IN, Rtype::A),
            ("x A 192.0.2.1", "x.", 3600, Class::IN, Rtype::A),
            ("X.test.\t300\tIN\tA\t192.0.2.1", "X.test.", 300, Class::IN, Rtype::A),
            ("x.test. 1h30m CH TXT y", "x.test.", 5400, Class::CH, Rtype::TXT),
            ("x.test. 1h30 TXT y", "x.test.", 3630, Class::IN, Rtype::TXT),
            ("x.test. 1w2d3h4m5s TXT y", "x.test.", 788_645, Class::IN, Rtype::TXT),
            ("x.test. 4294967295 TXT y", "x.test.", u32::MAX, Class::IN, Rtype::TXT),
            ("x.test. CLASS1 TYPE1 1.2.3.4", "x.test.", 3600, Class::IN, Rtype::A),
            ("x.test. 0 any a 1.2.3.4 ; note (", "x.test.", 0, Class::ANY, Rtype::A),
            ("  ( x.test. A 1.2.3.4 )", "x.test.", 3600, Class::IN, Rtype::A),
            ("@ A 1.2.3.4", ".", 3600, Class::IN, Rtype::A),
            ("*.x.test. A 1.2.3.4", "*.x.test.", 3600, Class::IN, Rtype::A),
        ] {
            let r = parse_record(line, 3600).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(
                (r.owner.to_string().as_str(), r.ttl, r.class, r.rtype),
                (owner, Some(ttl), class, rtype),
                "{line}"
            );
        }
    }

    /// What Unbound 1.17.1 made of the same lines, asked over the network.
    #[test]
    fn unbound_makes_the_same_octets() {
        for (line, want) in [
            ("x. A", ""),
            ("x. TXT", ""),
            ("x. TYPE999", ""),
            ("x. CNAME @", "00"),
            (r#"x. TXT a b "c d" e"f""#, "01610162036320640465226622"),
            (r#"x. TXT "abc"def"#, "0361626303646566"),
            (r#"x. TXT "abc"#, "03616263"),
            (r#"x. TXT ab\"c "d\"e" f\032g"#, "04616222630364226503662067"),
            ("x. TXT a;b c", "0161"),
            ("x. TXT (a b)c", "0161016201 63"),
            ("x. CAA 0 issue x y", "0005697373756578"),
            (r"x. A \# 4 01020304 05", "01020304"),
            (r"x. A \# 4 01 02 03 04", "01020304"),
            (r"x. A \# 0", ""),
            ("x. A 1.2.3.4 extra words", "01020304"),
            ("x. A 1.2.3.4 # note", "01020304"),
            ("x. A 1.2.3.4 )", "01020304"),
            ("x. HTTPS 1 . key1=h2", "00010000010003026832"),
            ("x. HTTPS 1 . no-default-alpn port=1", "00010000020000000300020001"),
            (r#"x. HTTPS 1 . alpn="h2,h\\\,3""#, "0001000001000702683203682c33"),
            ("x. WKS 1.2.3.4 TCP smtp 80", "01020304060000004000000000000080"),
            ("x. APL", ""),
            ("x. NSEC y.test.", "0179047465737400"),
            ("x. NID 10 14:4fff:ff20:ee64", "000a00144fffff20ee64"),
            (
                "x. RRSIG A 8 2 3600 20500101000000 1735689600 1 x.test. aaaa",
                "0001080200000e10967a7600677485800001017804746573740069a69a",
            ),
            ("x. SOA a. b. 1 1h 2m 3d 4w", "0161000162000000000100000e10000000780003f4800024ea00"),
            ("x. URI 1 1 http://x/", "00010001687474703a2f2f782f"),
            ("x. NSAP 0x47.0005", "470005"),
            ("x. GPOS 1 2 3", "013101320133"),
            ("x. EID ab cd", "abcd"),
            ("x. IPSECKEY 10 0 2 . AQNR", "0a0002010351"),
            (
                "x. HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs.example.com.",
                "10020006200100107b1a74df365639cc39f1d57803010001b77103727673076578616d706c6503636f6d00",
            ),
            ("x. LOC 52 22 23.123 N 4 53 32.000 W -2.50m 0.05m 10000m 10m", "005016138b3cf0937ef3432000989586"),
        ] {
            assert_eq!(rdata(line), want.replace(' ', ""), "{line}");
        }
    }

    #[test]
    fn every_type_reads_and_shows() {
        for (line, shown) in [
            ("AAAA 2001:DB8::1", "2001:db8::1"),
            ("MX 10 Mail.x.test", "10 Mail.x.test."),
            ("SRV 0 5 443 .", "0 5 443 ."),
            ("RP a. b.", "a. b."),
            ("ISDN 1 2", r#""1" "2""#),
            ("ISDN 1", r#""1""#),
            ("NAPTR 1 1 u E2U+sip \"\" .", r#"1 1 "u" "E2U+sip" "" ."#),
            ("CERT PKIX 1 RSASHA1 aaaa", "1 1 5 aaaa"),
            ("APL 1:192.168.32.0/21 !1:192.168.38.0/28 2:::/0", "1:192.168.32.0/21 !1:192.168.38.0/28 2:::/0"),
            ("DS 60485 RSASHA256 2 AB cd", "60485 8 2 abcd"),
            ("SSHFP 1 1 abcdef", "1 1 abcdef"),
            ("IPSECKEY 10 3 2 a.b. AQNR", "10 3 2 a.b. AQNR"),
            ("IPSECKEY 10 2 0 ::1", "10 2 0 ::1"),
            ("RRSIG A 8 2 3600 20240229235960 1 1 x. aaaa", "A 8 2 3600 20240301000000 19700101000001 1 x. aaaa"),
            ("NSEC y.test. NS A TYPE999 A RRSIG", "y.test. A NS RRSIG TYPE999"),
            ("DNSKEY 256 3 ECDSAP256SHA256 Aw== ", "256 3 13 Aw=="),
            ("NSEC3 1 0 1 AABB 2vptu5timamqttgl4luu9kg21e0aor3s A", "1 0 1 aabb 2vptu5timamqttgl4luu9kg21e0aor3s A"),
            ("NSEC3PARAM 1 0 0 -", "1 0 0 -"),
            ("TLSA 3 1 1 ab CD", "3 1 1 abcd"),
            ("CSYNC 66 3 A NS AAAA", "66 3 A NS AAAA"),
            ("ZONEMD 1 1 1 abcdef", "1 1 1 abcdef"),
            ("HTTPS 0 a.test", "0 a.test."),
            (
                "HTTPS 1 . port=443 alpn=h2,h3 ipv6hint=::1,::2 ipv4hint=1.2.3.4,1.2.3.5 ech=aGk= key999=abc mandatory=port,alpn",
                r#"1 . mandatory=alpn,port alpn="h2,h3" port=443 ipv4hint=1.2.3.4,1.2.3.5 ech=aGk= ipv6hint=::1,::2 key999="abc""#,
            ),
            ("SVCB 1 a. dohpath=/dns-query{?dns} ohttp", r#"1 a. dohpath="/dns-query{?dns}" ohttp"#),
            ("EUI48 00-11-22-33-44-fF", "00-11-22-33-44-ff"),
            ("EUI64 00-11-22-33-44-55-66-77", "00-11-22-33-44-55-66-77"),
            ("L32 10 1.2.3.4", "10 1.2.3.4"),
            ("URI 1 1 \"http://x/\"", r#"1 1 "http://x/""#),
            ("CAA 0 issue \"x; y\"", r#"0 issue "x; y""#),
            ("LOC 52 N 4 W 0", "52 0 0.000 N 4 0 0.000 W 0.00m 1.00m 10000.00m 10.00m"),
            ("LOC 90 0 0.5 S 4 E", "error"),
            ("AMTRELAY 10 1 3 a.b", "10 1 3 a.b."),
            ("DSYNC CDS 1 53 a.", "CDS 1 53 a."),
            ("DOA 1 1 1 \"\" aaaa", r#"1 1 1 "" aaaa"#),
            (r"TYPE4711 \# 3 AbCd EF", r"\# 3 abcdef"),
            (r"NULL \# 0", r"\# 0"),
        ] {
            let parsed = parse_record(&format!("x.test. {line}"), 0);
            if shown == "error" {
                assert!(parsed.is_err(), "{line}");
                continue;
            }
            let r = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(rdata_to_text(r.rtype, &r.rdata), shown, "{line}");
            assert_eq!(parse_rdata(r.rtype, shown).unwrap(), r.rdata, "{line}");
        }
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        for (line, at, what, hint) in [
            ("", 0, "empty", "owner"),
            ("x.test.", 7, "before its type", "owner"),
            ("x.test. IN 300 A 192.0.2.1", 11, "\"300\" is not a record type", "TTL stands before the class"),
            ("x.test. IN IN A 192.0.2.1", 11, "not a record type", "twice"),
            ("x.test. 192.0.2.1", 8, "not a record type", "A 192.0.2.1"),
            ("x.test. 2001:db8::1", 8, "not a record type", "AAAA 2001:db8::1"),
            ("x.test. 1x A 1.2.3.4", 8, "not a record type", "units"),
            ("x.test. FOO 1", 8, "not a record type", "TYPE123"),
            ("x.test. ANY", 11, "before its type", ""),
            ("x..test. A 1.2.3.4", 0, "empty label", ""),
            ("\"x.test.\" A 1.2.3.4", 0, "not a name", "without quotes"),
            ("x.test. 99999w A 1.2.3.4", 8, "4294967295", ""),
            ("x.test. A 1.2.3", 10, "\"1.2.3\" is not an IPv4 address", ""),
            ("x.test. A 01.2.3.4", 10, "not an IPv4 address", ""),
            ("x.test. A 192.0.2.1, 192.0.2.2", 10, "\"192.0.2.1,\" is not an IPv4 address", ""),
            ("x.test. A \"1.2.3.4\"", 10, "not an IPv4 address", ""),
            ("x.test. AAAA 1.2.3.4", 13, "not an IPv6 address", ""),
            ("x.test. MX 10", 13, "end before a name", ""),
            ("x.test. MX 65536 a.", 11, "0 to 65535", ""),
            ("x.test. MX mail.test 10", 11, "not a number", ""),
            ("x.test. SOA", 11, "SOA", "serial"),
            ("x.test. TXT a\\256", 13, "escape", "three digits"),
            ("x.test. TXT \"ab\\2\"", 15, "escape", "three digits"),
            ("x.test. A ( 1.2.3.4", 10, "parenthesis", ""),
            ("x.test. TYPE999 abcd", 16, "no presentation form", "\\#"),
            (r"x.test. A \# 4 010203", 21, "3 of 4", ""),
            (r"x.test. A \# 3 010203", 15, "not those of A", ""),
            (r"x.test. CNAME \# 2 c00c", 19, "not those of CNAME", ""),
            (r"x.test. TYPE9 \# 1 0g", 19, "hexadecimal", ""),
            ("x.test. SSHFP 1 1 abc", 18, "hexadecimal", "two digits"),
            ("x.test. DNSKEY 256 3 8 A*EA", 23, "base64", ""),
            ("x.test. DNSKEY 256 3 8 AwE", 23, "base64", ""),
            ("x.test. RRSIG A 8 2 1 20261301000000 1 1 x. aaaa", 22, "not a date", "YYYY"),
            ("x.test. NSEC3 1 0 1 - - A", 22, "base32", ""),
            ("x.test. CAA 0 is-sue x", 14, "not a tag", "issue"),
            ("x.test. HTTPS 1 . foo=bar", 18, "not a service parameter", "key123"),
            ("x.test. HTTPS 1 . alpn=h2 alpn=h3", 26, "twice", ""),
            ("x.test. HTTPS 1 . mandatory=alpn", 18, "mandatory", "8"),
            ("x.test. HTTPS 1 . port", 18, "no value", ""),
            ("x.test. HTTPS 1 . port=99999", 23, "0 to 65535", ""),
            ("x.test. EUI48 00:11:22:33:44:55", 14, "not an address", "6 groups"),
            ("x.test. LOC 91 N 4 E 0m", 12, "angle", "degrees"),
        ] {
            let error = parse_record(line, 3600).expect_err(line);
            assert_eq!(error.at, at, "{line}: {error}");
            assert!(error.what.contains(what), "{line}: {error}");
            assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{line}: {error}");
        }
        let long = format!("x.test. TXT {}", "a".repeat(256));
        assert_eq!(parse_record(&long, 0).unwrap_err().at, 12);
    }

    #[test]
    fn lines_of_lists_are_read_strictly() {
        let origin = Name::from_text("example.").unwrap();
        let read = |line: &str, owner: Option<&Name>| {
            parse_line(line.as_bytes(), origin.as_ref(), owner.map(Name::as_ref), 60)
        };
        for (line, owner, data) in [
            ("www A 192.0.2.1", "www.example.", "192.0.2.1"),
            ("www.test. 1h IN CNAME a.b", "www.test.", "a.b.example."),
            ("@ MX 10 @", "example.", "10 example."),
            (r"a\. CNAME a\.", r"a\..example.", r"a\..example."),
            (r"a\\. CNAME a\\.", r"a\\.", r"a\\."),
            ("www APL", "www.example.", ""),
            (r"www TYPE4711 \# 0", "www.example.", "\\# 0"),
        ] {
            let record = read(line, None).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(
                (record.owner.to_string().as_str(), &*rdata_to_text(record.rtype, &record.rdata)),
                (owner, data)
            );
        }
        assert_eq!(read(" A 192.0.2.1", Some(&origin)).unwrap().owner, origin);
        for (line, at, what) in [
            ("www A", 5, "has no data"),
            ("www A 192.0.2.1 192.0.2.2", 16, "behind the data"),
            (r"www A \# 0", 9, "not those of A"),
            ("wüw A 192.0.2.1", 0, "not a plain name"),
            ("www CNAME wüw", 10, "not a plain name"),
        ] {
            let error = read(line, None).expect_err(line);
            assert!(error.at == at && error.what.contains(what), "{line}: {error} at {}", error.at);
        }
        let long = format!("{0}.{0}.{0}.{1} A 192.0.2.1", "a".repeat(63), "b".repeat(54));
        assert!(read(&long, None).unwrap_err().what.contains("below example."));
        assert!(parse_data(Rtype::A, "192.0.2.1, 192.0.2.2").is_err());
        assert!(parse_data(Rtype::TXT, "").is_err());
        assert_eq!(parse_data(Rtype::CNAME, "a").unwrap(), b"\x01a\0");
    }

    #[test]
    fn dates_of_four_hundred_years() {
        for (text, seconds) in [
            ("19700101000000", 0u32),
            ("20000229120000", 951_825_600),
            ("20240301000000", 1_709_251_200),
            ("20380119031408", 1 << 31),
            ("21060207062815", u32::MAX),
        ] {
            let line = format!("A 8 2 1 {text} {seconds} 1 x. aaaa");
            let rdata = parse_rdata(Rtype::RRSIG, &line).unwrap();
            assert_eq!(rdata[8..12], seconds.to_be_bytes(), "{text}");
            assert_eq!(rdata_to_text(Rtype::RRSIG, &rdata), format!("A 8 2 1 {text} {text} 1 x. aaaa"));
        }
    }

    proptest! {
        #[test]
        fn any_data_show_and_read_back(rtype in prop_oneof![0u16..70, 99u16..110, 255u16..265, any::<u16>()], rdata in proptest::collection::vec(any::<u8>(), 1..80)) {
            let rtype = Rtype(rtype);
            let shown = rdata_to_text(rtype, &rdata);
            match parse_rdata(rtype, &shown) {
                Ok(back) => prop_assert_eq!(back, rdata, "{} {}", rtype, shown),
                // Data that do not fit their type are shown in the generic form, which then says so too.
                Err(_) => prop_assert!(shown.starts_with("\\#")),
            }
        }

        #[test]
        fn small_octets_make_more_valid_data(rtype in 0u16..70, rdata in proptest::collection::vec(0u8..6, 1..60)) {
            let rtype = Rtype(rtype);
            let shown = rdata_to_text(rtype, &rdata);
            match parse_rdata(rtype, &shown) {
                Ok(back) => prop_assert_eq!(back, rdata, "{} {}", rtype, shown),
                Err(_) => prop_assert!(shown.starts_with("\\#")),
            }
        }

        #[test]
        fn any_text_is_a_record_or_an_error_inside_it(text in "[ -~\\t]{0,60}") {
            if let Err(error) = parse_record(&text, 0) {
                prop_assert!(error.at <= text.len());
            }
        }

        #[test]
        fn any_data_text_is_data_or_an_error(rtype in 0u16..270, text in "[ -~é]{0,60}") {
            if let Ok(rdata) = parse_rdata(Rtype(rtype), &text) {
                let shown = rdata_to_text(Rtype(rtype), &rdata);
                if !rdata.is_empty() {
                    prop_assert_eq!(parse_rdata(Rtype(rtype), &shown).ok(), Some(rdata), "{}", shown);
                }
            }
        }

        #[test]
        fn words_of_the_grammar_do_not_panic(rtype in 0u16..270, words in proptest::collection::vec("[0-9]{1,5}|[a-f0-9]{2,4}|\\.|a\\.b|1\\.2\\.3\\.4|::1|N|E|\\(|\\)|;|\"x y|alpn=h2|port=1|-|A|1:1\\.2\\.3\\.4/8|[0-9]{14}|\\\\#", 0..9)) {
            let _ = parse_rdata(Rtype(rtype), &words.join(" "));
        }
    }
}
