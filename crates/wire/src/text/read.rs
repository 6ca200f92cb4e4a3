//! Presentation form to wire form.
//!
//! It owns the words of a record line, how each part of record data is written, and what is said when it is not. It
//! reads octets, so text in any encoding passes; offsets in errors count octets from the start of the line.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::parts::{ALGORITHMS, CERT_TYPES, PARAM_KEYS, Part, parts};
use super::{Record, RecordError};
use crate::name::{NameBuf, NameRef, ROOT, unescape};
use crate::rdata::{Field, layout};
use crate::types::{Class, Rtype};

/// Most octets of record data: its length travels in 16 bits.
const MAX_RDATA: usize = 65535;

/// Reads a record as `local-data` has it: `owner [ttl] [class] type data`.
///
/// Names are absolute, `@` is the root, the class is IN unless written. A type without any data gives a record without
/// octets, as in Unbound (but for SOA). Text after complete data is ignored. Stricter than Unbound 1.17.1, which serves
/// malformed records for them: data that stop halfway, numbers out of range, base64 with foreign characters, generic
/// data that do not have the layout of a known type, service parameters given twice or named mandatory and missing.
pub fn parse_record(text: &str, default_ttl: u32) -> Result<Record, RecordError> {
    record(Words::new(text.as_bytes(), Reading::LOCAL_DATA), None, default_ttl)
}

/// Reads a record of a list: as [`parse_record`], but the data must be there, complete and the last thing in the line, and
/// names are plain ASCII and below `origin` if they do not end in a dot. With an owner the line begins behind it.
///
/// # Errors
/// It is not a record; the place is an octet of `text`.
pub fn parse_line(
    text: &[u8],
    origin: NameRef<'_>,
    owner: Option<NameRef<'_>>,
    default_ttl: u32,
) -> Result<Record, RecordError> {
    record(Words::new(text, Reading { origin, strict: true }), owner, default_ttl)
}

/// Reads record data alone, as strictly as [`parse_line`] does; names are absolute.
///
/// # Errors
/// They are not data of that type; the place is an octet of `text`.
pub fn parse_data(rtype: Rtype, text: &str) -> Result<Vec<u8>, RecordError> {
    let mut words = Words::new(text.as_bytes(), Reading { origin: ROOT, strict: true });
    let rdata = words.rdata(rtype)?;
    words.finish().map(|()| rdata)
}

fn record(mut words: Words<'_>, owner: Option<NameRef<'_>>, default_ttl: u32) -> Result<Record, RecordError> {
    let owner = match owner {
        Some(owner) => owner.to_name(),
        None => match words.next() {
            Some(owner) => owner.name()?.to_name(),
            None => return Err(error(0, "the record is empty", Some("write: owner [ttl] [class] type data"))),
        },
    };
    let mut word = words.next();
    let ttl = match word.map(|w| (w, w.period())) {
        Some((_, Some(Ok(ttl)))) => {
            word = words.next();
            Some(ttl)
        }
        Some((_, Some(Err(error)))) => return Err(error),
        _ => None,
    };
    let mut class = Class::IN;
    if let Some(given) = word.and_then(|w| w.as_str()).and_then(|w| w.parse().ok()) {
        class = given;
        word = words.next();
    }
    let Some(word) = word else {
        let hint = "write: owner [ttl] [class] type data, for instance www.example. 3600 IN A 192.0.2.1";
        return Err(error(words.text.len(), "the record ends before its type", Some(hint)));
    };
    let Some(rtype) = word.as_str().and_then(|w| w.parse::<Rtype>().ok()) else {
        return Err(no_type(&word));
    };
    let rdata = words.rdata(rtype)?;
    words.finish()?;
    Ok(Record { owner, ttl: Some(ttl.unwrap_or(default_ttl)), class, rtype, rdata })
}

/// Reads record data alone, as they stand after the type in a record; see [`parse_record`].
pub fn parse_rdata(rtype: Rtype, text: &str) -> Result<Vec<u8>, RecordError> {
    let mut words = Words::new(text.as_bytes(), Reading::LOCAL_DATA);
    let rdata = words.rdata(rtype)?;
    words.finish().map(|()| rdata)
}

/// How a line is read.
#[derive(Clone, Copy, Debug)]
struct Reading<'t> {
    /// What names without a final dot stand below, and what `@` means.
    origin: NameRef<'t>,
    /// Data are complete and nothing follows them; names are plain ASCII.
    strict: bool,
}

impl Reading<'static> {
    const LOCAL_DATA: Self = Reading { origin: ROOT, strict: false };
}

fn error(at: usize, what: impl Into<String>, hint: Option<&str>) -> RecordError {
    RecordError { at, what: what.into(), hint: hint.map(str::to_owned) }
}

/// Says what stands where the type should, and what was probably meant.
fn no_type(word: &Word<'_>) -> RecordError {
    let hint = match (word.period(), word.as_str()) {
        (Some(_), _) => Some("the TTL stands before the class: owner [ttl] [class] type data".to_owned()),
        (_, Some(text)) if text.parse::<Ipv4Addr>().is_ok() => Some(format!("the type is missing: A {text}")),
        (_, Some(text)) if text.parse::<Ipv6Addr>().is_ok() => Some(format!("the type is missing: AAAA {text}")),
        (_, Some(text)) if text.parse::<Class>().is_ok() => Some("the class is given twice".to_owned()),
        (_, Some(text)) if text.starts_with(|first: char| first.is_ascii_digit()) => {
            Some("a TTL is a number of seconds, or one with units: 1w 2d 3h 4m 5s".to_owned())
        }
        _ => Some("types without a name are written TYPE123, with data as \\# length hex (RFC 3597)".to_owned()),
    };
    RecordError { at: word.at, what: format!("{} is not a record type", word.shown()), hint }
}

/// One word of the line.
#[derive(Clone, Copy, Debug)]
struct Word<'t> {
    /// Where it starts, its quote included.
    at: usize,
    /// Its octets, escapes in place, quotes around it left out.
    text: &'t [u8],
    quoted: bool,
    reading: Reading<'t>,
}

impl<'t> Word<'t> {
    fn as_str(&self) -> Option<&'t str> {
        if self.quoted { None } else { std::str::from_utf8(self.text).ok() }
    }

    fn shown(&self) -> String {
        format!("\"{}\"", String::from_utf8_lossy(self.text))
    }

    fn wrong(&self, kind: &str, hint: Option<&str>) -> RecordError {
        error(self.at, format!("{} is not {kind}", self.shown()), hint)
    }

    fn name(&self) -> Result<NameBuf, RecordError> {
        if self.text == b"@" && !self.quoted {
            return Ok(self.reading.origin.to_buf());
        }
        // Unbound takes quotes around a name for a part of it, so such a name exists but is never asked for.
        if self.quoted {
            return Err(self.wrong("a name", Some("names are written without quotes")));
        }
        if self.reading.strict && !self.text.iter().all(u8::is_ascii_graphic) {
            return Err(self.wrong("a plain name", Some("names of other alphabets are written in A-labels: xn--…")));
        }
        let mut name = NameBuf::from_text_bytes(self.text)
            .map_err(|cause| error(self.at, format!("{}: {cause}", self.shown()), None))?;
        if !self.is_absolute() {
            name.push_name(self.reading.origin).map_err(|cause| {
                error(self.at, format!("{} below {}: {cause}", self.shown(), self.reading.origin), None)
            })?;
        }
        Ok(name)
    }

    /// Whether a dot ends it that is not escaped.
    fn is_absolute(&self) -> bool {
        match self.text {
            [before @ .., b'.'] => before.iter().rev().take_while(|octet| **octet == b'\\').count() % 2 == 0,
            _ => false,
        }
    }

    fn number<T: TryFrom<u64>>(&self, most: u64) -> Result<T, RecordError> {
        let digits = self.as_str().filter(|text| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()));
        digits
            .and_then(|text| text.parse::<u64>().ok())
            .filter(|number| *number <= most)
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.wrong(&format!("a number from 0 to {most}"), None))
    }

    /// Seconds, with units or without; `None` if the word is nothing of the kind.
    fn period(&self) -> Option<Result<u32, RecordError>> {
        if self.quoted || !self.text.first()?.is_ascii_digit() {
            return None;
        }
        let (mut sum, mut number) = (0u64, 0u64);
        for octet in self.text {
            let unit = match octet.to_ascii_lowercase() {
                digit @ b'0'..=b'9' => {
                    number = number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                    continue;
                }
                b's' => 1,
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86400,
                b'w' => 604_800,
                _ => return None,
            };
            sum = sum.saturating_add(number.saturating_mul(unit));
            number = 0;
        }
        let seconds = u32::try_from(sum.saturating_add(number));
        Some(seconds.map_err(|_| self.wrong("a time of at most 4294967295 seconds", None)))
    }

    /// Number or mnemonic of a table.
    fn number_or(&self, table: &[(&str, u16)], most: u64, kind: &str) -> Result<u16, RecordError> {
        let known = self.as_str().and_then(|text| table.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)));
        match known {
            Some((_, number)) => Ok(*number),
            None => self.number(most).map_err(|_| self.wrong(kind, None)),
        }
    }

    fn rtype(&self) -> Result<Rtype, RecordError> {
        self.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| self.wrong("a record type", None))
    }

    fn v4(&self) -> Result<[u8; 4], RecordError> {
        let address = self.as_str().and_then(|text| text.parse::<Ipv4Addr>().ok());
        address.map(|address| address.octets()).ok_or_else(|| self.wrong("an IPv4 address", None))
    }

    fn v6(&self) -> Result<[u8; 16], RecordError> {
        let address = self.as_str().and_then(|text| text.parse::<Ipv6Addr>().ok());
        address.map(|address| address.octets()).ok_or_else(|| self.wrong("an IPv6 address", None))
    }

    /// The octets that the word stands for, escapes resolved.
    fn octets(&self) -> Result<Vec<u8>, RecordError> {
        let mut out = Vec::with_capacity(self.text.len());
        let mut rest = self.text;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            if first != b'\\' {
                out.push(first);
                continue;
            }
            let hint = "a backslash is followed by a character or by three digits up to 255";
            let (octet, after) = unescape(rest).ok_or_else(|| {
                let at = self.at + usize::from(self.quoted) + self.text.len() - rest.len() - 1;
                error(at, format!("{} has a bad escape", self.shown()), Some(hint))
            })?;
            out.push(octet);
            rest = after;
        }
        Ok(out)
    }

    fn hex(&self, text: &[u8]) -> Result<Vec<u8>, RecordError> {
        let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        text.chunks(2)
            .map(pair)
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| self.wrong("hexadecimal", Some("two digits an octet, 0 to 9 and a to f")))
    }

    fn base64(&self, text: &[u8]) -> Result<Vec<u8>, RecordError> {
        let wrong = || self.wrong("base64", Some("groups of four of A-Z a-z 0-9 + /, the last filled up with ="));
        let mut out = Vec::with_capacity(text.len() / 4 * 3);
        let padding = text.iter().rev().take_while(|octet| **octet == b'=').count();
        let digits = text.get(..text.len() - padding).unwrap_or_default();
        if !text.len().is_multiple_of(4) || padding > 2 {
            return Err(wrong());
        }
        for group in digits.chunks(4) {
            let mut bits = 0u32;
            for octet in group {
                let value = match octet {
                    b'A'..=b'Z' => octet - b'A',
                    b'a'..=b'z' => octet - b'a' + 26,
                    b'0'..=b'9' => octet - b'0' + 52,
                    b'+' => 62,
                    b'/' => 63,
                    _ => return Err(wrong()),
                };
                bits = bits << 6 | u32::from(value);
            }
            let [_, octets @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
            out.extend(octets.iter().take(group.len() * 6 / 8));
        }
        Ok(out)
    }

    fn base32(&self) -> Result<Vec<u8>, RecordError> {
        let wrong = || self.wrong("base32hex", Some("the digits 0 to 9 and a to v, without padding (RFC 5155)"));
        let mut out = Vec::new();
        if self.quoted || self.text.is_empty() || matches!(self.text.len() % 8, 1 | 3 | 6) {
            return Err(wrong());
        }
        for group in self.text.chunks(8) {
            let mut bits = 0u64;
            for octet in group {
                let value = char::from(*octet).to_digit(32).ok_or_else(wrong)?;
                bits = bits << 5 | u64::from(value);
            }
            let octets = (bits << (5 * (8 - group.len()))).to_be_bytes();
            out.extend(octets.iter().skip(3).take(group.len() * 5 / 8));
        }
        Ok(out)
    }
}

/// The words of a line: blanks between them, parentheses ignored, `;` to the end of the line, quotes around blanks.
struct Words<'t> {
    text: &'t [u8],
    at: usize,
    /// Where the parenthesis stands that is open.
    open: Option<usize>,
    reading: Reading<'t>,
}

impl<'t> Words<'t> {
    fn new(text: &'t [u8], reading: Reading<'t>) -> Words<'t> {
        Words { text, at: 0, open: None, reading }
    }

    /// Reads what is left, which is ignored but for a parenthesis that is never closed: an error, as in Unbound. Read
    /// strictly, nothing may be left.
    fn finish(mut self) -> Result<(), RecordError> {
        while let Some(word) = self.next() {
            if self.reading.strict {
                return Err(error(word.at, format!("{} stands behind the data", word.shown()), None));
            }
        }
        match self.open {
            Some(at) => Err(error(at, "the parenthesis is never closed", None)),
            None => Ok(()),
        }
    }

    fn skip_blanks(&mut self) {
        while let Some(&octet) = self.text.get(self.at) {
            match octet {
                b'(' => self.open = self.open.or(Some(self.at)),
                b')' => self.open = None,
                b';' => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    self.at += rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len());
                    continue;
                }
                octet if is_blank(octet) => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<Word<'t>> {
        self.skip_blanks();
        let start = self.at;
        if *self.text.get(start)? == b'"' {
            let end = self.run(start + 1, |octet| octet == b'"');
            self.at = end + 1; // one behind the end if the quote is missing, which Unbound allows
            return Some(Word { at: start, text: self.text.get(start + 1..end)?, quoted: true, reading: self.reading });
        }
        let end = self.run(start, |octet| is_blank(octet) || octet == b';');
        self.at = end;
        Some(Word { at: start, text: self.text.get(start..end)?, quoted: false, reading: self.reading })
    }

    /// A word in which quotes hold blanks together: `alpn="h2,h3"`.
    fn next_param(&mut self) -> Option<Word<'t>> {
        self.skip_blanks();
        let start = self.at;
        self.text.get(start)?;
        let mut inside = false;
        let end = self.run(start, |octet| {
            inside ^= octet == b'"';
            !inside && (is_blank(octet) || octet == b';')
        });
        self.at = end;
        Some(Word { at: start, text: self.text.get(start..end)?, quoted: false, reading: self.reading })
    }

    /// The offset of the first octet from `start` that ends a word, escaped ones passed over; the end of the text.
    fn run(&self, start: usize, mut ends: impl FnMut(u8) -> bool) -> usize {
        let mut at = start;
        while let Some(&octet) = self.text.get(at) {
            if octet == b'\\' {
                at += 2;
            } else if ends(octet) {
                return at;
            } else {
                at += 1;
            }
        }
        self.text.len()
    }

    fn is_empty(&mut self) -> bool {
        self.skip_blanks();
        self.at >= self.text.len()
    }

    fn need(&mut self, what: &str) -> Result<Word<'t>, RecordError> {
        self.next().ok_or_else(|| error(self.text.len(), format!("the data end before {what}"), None))
    }

    /// All words that are left, as one, blanks taken out; the word is for its place and for messages.
    fn joined(&mut self, what: &str) -> Result<(Word<'t>, Vec<u8>), RecordError> {
        let first = self.need(what)?;
        let mut all = first.text.to_vec();
        while let Some(word) = self.next() {
            all.extend_from_slice(word.text);
        }
        Ok((first, all))
    }

    fn rdata(&mut self, rtype: Rtype) -> Result<Vec<u8>, RecordError> {
        self.skip_blanks();
        let start = self.at;
        let Some(first) = self.next() else {
            return match rtype {
                Rtype::SOA => Err(error(
                    start,
                    "the SOA record has no data",
                    Some("primary, mailbox, serial, refresh, retry, expire, minimum"),
                )),
                // A list of prefixes may be empty (RFC 3123 4).
                _ if self.reading.strict && rtype != Rtype::APL => {
                    Err(error(start, format!("the {rtype} record has no data"), None))
                }
                _ => Ok(Vec::new()),
            };
        };
        let mut out = Vec::new();
        if first.text == b"\\#" && !first.quoted {
            self.generic(rtype, &mut out)?;
        } else if let Some(parts) = parts(rtype) {
            self.at = start;
            for part in parts {
                self.part(*part, &mut out)?;
            }
        } else {
            let hint = Some("write the data as \\# length hex (RFC 3597)");
            return Err(error(start, format!("{rtype} has no presentation form here"), hint));
        }
        if out.len() > MAX_RDATA {
            return Err(error(start, "the data are longer than 65535 octets", None));
        }
        Ok(out)
    }

    /// `\# length hex`, blanks allowed in the digits (RFC 3597 5).
    fn generic(&mut self, rtype: Rtype, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let length = self.need("their length")?;
        let octets: usize = length.number(65535)?;
        let mut first = length;
        let mut digits = Vec::with_capacity(octets * 2);
        while digits.len() < octets * 2 {
            let Some(word) = self.next() else {
                let what = format!("the data have {} of {octets} octets", digits.len() / 2);
                return Err(error(self.text.len(), what, None));
            };
            if digits.is_empty() {
                first = word;
            }
            digits.extend_from_slice(word.text);
        }
        if digits.len() > octets * 2 {
            return Err(error(first.at, format!("the data have more than {octets} octets"), None));
        }
        *out = first.hex(&digits)?;
        if (self.reading.strict || !out.is_empty()) && !fits(rtype, out) {
            return Err(error(first.at, format!("the data are not those of {rtype}"), None));
        }
        Ok(())
    }

    fn part(&mut self, part: Part, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match part {
            Part::Name => out.extend_from_slice(self.need("a name")?.name()?.as_ref().as_wire()),
            Part::U8 => out.push(self.need("a number")?.number(255)?),
            Part::U16 => out.extend(self.need("a number")?.number::<u16>(65535)?.to_be_bytes()),
            Part::U32 => out.extend(self.need("a number")?.number::<u32>(u64::from(u32::MAX))?.to_be_bytes()),
            Part::Period => {
                let word = self.need("a time")?;
                let seconds = word
                    .period()
                    .unwrap_or_else(|| Err(word.wrong("a time in seconds", Some("or with units: 1h30m"))))?;
                out.extend(seconds.to_be_bytes());
            }
            Part::Time => out.extend(time(&self.need("a date")?)?.to_be_bytes()),
            Part::Type => out.extend(self.need("a type")?.rtype()?.0.to_be_bytes()),
            Part::Algorithm => {
                let number = self.need("an algorithm")?.number_or(ALGORITHMS, 255, "a DNSSEC algorithm")?;
                out.push(u8::try_from(number).unwrap_or(0));
            }
            Part::CertType => {
                let number = self.need("a certificate type")?.number_or(CERT_TYPES, 65535, "a certificate type")?;
                out.extend(number.to_be_bytes());
            }
            Part::V4 => out.extend(self.need("an IPv4 address")?.v4()?),
            Part::V6 => out.extend(self.need("an IPv6 address")?.v6()?),
            Part::Text => {
                let word = self.need("a string")?;
                counted(&word, &word.octets()?, out)?;
            }
            Part::OptionalText => {
                if !self.is_empty() {
                    self.part(Part::Text, out)?;
                }
            }
            Part::Texts => {
                self.part(Part::Text, out)?;
                while !self.is_empty() {
                    self.part(Part::Text, out)?;
                }
            }
            Part::LongText => out.extend(self.need("a string")?.octets()?),
            Part::Tag => {
                let word = self.need("a tag")?;
                if word.text.is_empty() || !word.text.iter().all(u8::is_ascii_alphanumeric) {
                    return Err(word.wrong("a tag", Some("letters and digits only, for instance issue")));
                }
                counted(&word, word.text, out)?;
            }
            Part::Hex => {
                let (first, all) = self.joined("hexadecimal")?;
                out.extend(first.hex(&all)?);
            }
            Part::Nsap => {
                let word = self.need("an NSAP address")?;
                let digits = word.as_str().and_then(|text| text.strip_prefix("0x").or(text.strip_prefix("0X")));
                let digits = digits.ok_or_else(|| word.wrong("an NSAP address", Some("it starts with 0x")))?;
                let digits: Vec<u8> = digits.bytes().filter(|octet| *octet != b'.').collect();
                if digits.is_empty() {
                    return Err(word.wrong("an NSAP address", None));
                }
                out.extend(word.hex(&digits)?);
            }
            Part::Base64 => {
                let (first, all) = self.joined("base64")?;
                out.extend(first.base64(&all)?);
            }
            Part::Salt => {
                let word = self.need("a salt")?;
                let salt = if word.text == b"-" { Vec::new() } else { word.hex(word.text)? };
                counted(&word, &salt, out)?;
            }
            Part::Base32 => {
                let word = self.need("the next hashed name")?;
                counted(&word, &word.base32()?, out)?;
            }
            Part::Types => self.types(out)?,
            Part::Services => self.services(out)?,
            Part::Prefixes => self.prefixes(out)?,
            Part::Place => self.place(out)?,
            Part::Dashed(octets) => {
                let word = self.need("an address")?;
                let groups: Vec<&[u8]> = word.text.split(|octet| *octet == b'-').collect();
                if groups.len() != octets || groups.iter().any(|group| group.len() != 2) {
                    let hint = format!("{octets} groups of two hexadecimal digits with - between them");
                    return Err(word.wrong("an address", Some(&hint)));
                }
                out.extend(word.hex(&groups.concat())?);
            }
            Part::Groups => {
                let word = self.need("an identifier")?;
                let groups = word.as_str().map(|text| {
                    let group = |group: &str| {
                        (group.len() <= 4 && group.bytes().all(|octet| octet.is_ascii_hexdigit()))
                            .then(|| u16::from_str_radix(group, 16).ok())
                            .flatten()
                    };
                    text.split(':').map(group).collect::<Option<Vec<u16>>>()
                });
                match groups.flatten().filter(|groups| groups.len() == 4) {
                    Some(groups) => out.extend(groups.into_iter().flat_map(u16::to_be_bytes)),
                    None => {
                        let hint = "four groups of up to four hexadecimal digits with : between them";
                        return Err(word.wrong("an identifier", Some(hint)));
                    }
                }
            }
            Part::Params => self.params(out)?,
            Part::Gateway => self.gateway(out)?,
            Part::Relay => {
                let discovery: u8 = self.need("the discovery bit")?.number(1)?;
                let kind = self.need("a relay type")?;
                let number: u8 = kind.number(3)?;
                out.push(discovery << 7 | number);
                self.endpoint(number, out)?;
            }
            Part::Host => {
                let algorithm: u8 = self.need("an algorithm")?.number(255)?;
                let tag = self.need("a host identity tag")?;
                let key = self.need("a key")?;
                let (tag, key) = (tag.hex(tag.text).map(|octets| (tag, octets))?, key.base64(key.text)?);
                let tag_len = u8::try_from(tag.1.len()).map_err(|_| tag.0.wrong("a host identity tag", None))?;
                out.extend([tag_len, algorithm]);
                out.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
                out.extend(tag.1.iter().chain(&key));
                while let Some(server) = self.next() {
                    out.extend_from_slice(server.name()?.as_ref().as_wire());
                }
            }
        }
        Ok(())
    }

    /// RFC 4034 4.1.2: 256 windows of 256 bits, only those with a bit set, without trailing zeros.
    fn types(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let mut types = Vec::new();
        while let Some(word) = self.next() {
            types.push(word.rtype()?.0);
        }
        types.sort_unstable();
        for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
            let mut bits = [0u8; 32];
            let mut used = 0u8;
            for rtype in window {
                let [high, low] = rtype.to_be_bytes();
                if used == 0 {
                    out.push(high);
                }
                if let Some(octet) = bits.get_mut(usize::from(low >> 3)) {
                    *octet |= 0x80 >> (low & 7);
                }
                used = (low >> 3) + 1;
            }
            out.push(used);
            out.extend(bits.iter().take(usize::from(used)));
        }
        Ok(())
    }

    fn services(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        const PROTOCOLS: &[(&str, u16)] = &[("icmp", 1), ("tcp", 6), ("udp", 17)];
        const PORTS: &[(&str, u16)] = &[
            ("ftp", 21),
            ("ssh", 22),
            ("telnet", 23),
            ("smtp", 25),
            ("time", 37),
            ("domain", 53),
            ("finger", 79),
            ("http", 80),
            ("pop3", 110),
            ("nntp", 119),
            ("ntp", 123),
            ("imap", 143),
            ("https", 443),
        ];
        out.extend(self.need("an IPv4 address")?.v4()?);
        let protocol = self.need("a protocol")?.number_or(PROTOCOLS, 255, "a protocol")?;
        out.push(u8::try_from(protocol).unwrap_or(0));
        let mut bits = Vec::new();
        while let Some(word) = self.next() {
            let port = word.number_or(PORTS, 65535, "a port")?;
            let at = usize::from(port >> 3);
            if bits.len() <= at {
                bits.resize(at + 1, 0u8);
            }
            if let Some(octet) = bits.get_mut(at) {
                *octet |= 0x80 >> (port & 7);
            }
        }
        out.extend(bits);
        Ok(())
    }

    /// RFC 3123 4: `[!]family:address/prefix`, trailing zero octets left out.
    fn prefixes(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        while let Some(word) = self.next() {
            let wrong = || word.wrong("an address prefix", Some("for instance 1:192.0.2.0/24 or !2:2001:db8::/32"));
            let text = word.as_str().ok_or_else(wrong)?;
            let (not, text) = text.strip_prefix('!').map_or((0, text), |text| (0x80, text));
            let (family, text) = text.split_once(':').ok_or_else(wrong)?;
            let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
            let (family, octets, most) = match family {
                "1" => (1u16, address.parse::<Ipv4Addr>().map_err(|_| wrong())?.octets().to_vec(), 32),
                "2" => (2, address.parse::<Ipv6Addr>().map_err(|_| wrong())?.octets().to_vec(), 128),
                _ => return Err(wrong()),
            };
            let prefix = prefix.parse::<u8>().ok().filter(|prefix| *prefix <= most).ok_or_else(wrong)?;
            let used = octets.iter().rposition(|octet| *octet != 0).map_or(0, |at| at + 1);
            out.extend(family.to_be_bytes());
            out.extend([prefix, not | u8::try_from(used).unwrap_or(0)]);
            out.extend(octets.iter().take(used));
        }
        Ok(())
    }

    /// RFC 1876 3: `d1 [m1 [s1]] N|S d2 [m2 [s2]] E|W alt[m] [size[m] [hp[m] [vp[m]]]]`.
    fn place(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let latitude = self.angle(90, [b'N', b'S'])?;
        let longitude = self.angle(180, [b'E', b'W'])?;
        let word = self.need("an altitude")?;
        let altitude = centimetres(&word).and_then(|c| u32::try_from(c + 10_000_000).ok());
        let altitude = altitude.ok_or_else(|| word.wrong("an altitude in metres", None))?;
        out.push(0);
        // The defaults of RFC 1876 3: 1 m across, 10 km and 10 m of error.
        for default in [0x12u8, 0x16, 0x13] {
            let Some(word) = self.next() else {
                out.push(default);
                continue;
            };
            let size = centimetres(&word).and_then(|c| u64::try_from(c).ok()).filter(|c| *c <= 9_000_000_000);
            let mut size = size.ok_or_else(|| word.wrong("a size in metres", None))?;
            let mut power = 0u8;
            while size > 9 {
                size /= 10;
                power += 1;
            }
            out.push(u8::try_from(size << 4).unwrap_or(0) | power);
        }
        for number in [latitude, longitude, altitude] {
            out.extend(number.to_be_bytes());
        }
        Ok(())
    }

    fn angle(&mut self, most: u64, [plus, minus]: [u8; 2]) -> Result<u32, RecordError> {
        let mut milli = 0u64;
        let mut units = [3_600_000u64, 60_000, 1000].into_iter();
        loop {
            let word = self.need("a degree")?;
            let negative = match word.text {
                [side] if side.eq_ignore_ascii_case(&plus) => false,
                [side] if side.eq_ignore_ascii_case(&minus) => true,
                _ => {
                    let hint = format!("degrees, minutes, seconds, then {} or {}", char::from(plus), char::from(minus));
                    let wrong = || word.wrong("a part of an angle", Some(&hint));
                    let unit = units.next().ok_or_else(wrong)?;
                    let bound = if unit == 3_600_000 { most * 1000 } else { 59_999 };
                    let value = word
                        .as_str()
                        .and_then(|text| decimal(text, 3))
                        .filter(|v| *v <= bound && (unit == 1000 || v % 1000 == 0));
                    milli += value.ok_or_else(wrong)? / 1000 * unit
                        + if unit == 1000 { value.unwrap_or(0) % 1000 } else { 0 };
                    continue;
                }
            };
            if milli > most * 3_600_000 {
                return Err(word.wrong("at the end of a possible angle", None));
            }
            let milli = u32::try_from(milli).unwrap_or(0);
            return Ok(if negative { (1 << 31) - milli } else { (1 << 31) + milli });
        }
    }

    /// RFC 9460 2.1: `key[=value]`, sent in rising order of keys.
    fn params(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let mut all: Vec<(u16, Vec<u8>, Word<'t>)> = Vec::new();
        while let Some(word) = self.next_param() {
            let (key, value) = match word.text.iter().position(|octet| *octet == b'=') {
                Some(at) => (word.text.get(..at).unwrap_or_default(), word.text.get(at + 1..)),
                None => (word.text, None),
            };
            let Some(key) = param_key(key) else {
                return Err(word.wrong("a service parameter", Some("keys without a name are written key123")));
            };
            if all.iter().any(|(have, ..)| *have == key) {
                return Err(error(word.at, format!("{} is given twice", word.shown()), None));
            }
            let value = value.map(|value| {
                let inner = value.strip_prefix(b"\"").map(|v| v.strip_suffix(b"\"").unwrap_or(v)).unwrap_or(value);
                let at = word.at + word.text.len() - value.len();
                Word { at, text: inner, quoted: false, reading: self.reading }
            });
            all.push((key, param_value(&word, key, value)?, word));
        }
        for (key, value, word) in &all {
            let missing = value.chunks(2).filter_map(|k| k.try_into().map(u16::from_be_bytes).ok());
            let missing = missing.into_iter().find(|k| *k == 0 || !all.iter().any(|(have, ..)| have == k));
            if let (0, Some(_)) = (key, missing) {
                return Err(error(word.at, "mandatory names a key that is not given", Some("RFC 9460 8")));
            }
        }
        all.sort_unstable_by_key(|(key, ..)| *key);
        for (key, value, word) in all {
            let len = u16::try_from(value.len()).map_err(|_| word.wrong("a service parameter", None))?;
            out.extend(key.to_be_bytes());
            out.extend(len.to_be_bytes());
            out.extend(value);
        }
        Ok(())
    }

    fn gateway(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let kind: u8 = self.need("a gateway type")?.number(3)?;
        let algorithm: u8 = self.need("an algorithm")?.number(255)?;
        out.extend([kind, algorithm]);
        self.endpoint(kind, out)?;
        if self.is_empty() { Ok(()) } else { self.part(Part::Base64, out) }
    }

    /// A gateway or relay: nothing (written `.`), an address or a name.
    fn endpoint(&mut self, kind: u8, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match kind {
            0 => {
                let word = self.need("a dot")?;
                if word.text == b"." {
                    Ok(())
                } else {
                    Err(word.wrong("a dot", Some("type 0 means that there is none")))
                }
            }
            1 => self.part(Part::V4, out),
            2 => self.part(Part::V6, out),
            _ => self.part(Part::Name, out),
        }
    }
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\n' | b'\r' | b'(' | b')')
}

/// Whether data have the layout of their type, as far as others rely on it.
fn fits(rtype: Rtype, rdata: &[u8]) -> bool {
    let mut rest = rdata;
    for field in layout(rtype) {
        let taken = match *field {
            Field::Fixed(octets) => octets,
            Field::Text => rest.first().map_or(1, |len| 1 + usize::from(*len)),
            Field::Rest => rest.len(),
            Field::Compressed | Field::Plain => match NameRef::split_from(rest) {
                Ok((name, _)) => name.len(),
                Err(_) => return false,
            },
        };
        match rest.get(taken..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Appends octets with one before them that counts them.
fn counted(word: &Word<'_>, octets: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let len = u8::try_from(octets.len()).map_err(|_| {
        error(
            word.at,
            format!("the string has {} octets", octets.len()),
            Some("at most 255; a TXT record can have several strings"),
        )
    })?;
    out.push(len);
    out.extend_from_slice(octets);
    Ok(())
}

/// A decimal number with at most `digits` digits after the point, times ten to the power of `digits`.
fn decimal(text: &str, digits: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let all = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || part.len() > digits || !all(whole) || !all(part) {
        return None;
    }
    format!("{whole}{part:0<digits$}").parse().ok()
}

fn centimetres(word: &Word<'_>) -> Option<i64> {
    let text = word.as_str()?;
    let text = text.strip_suffix(['m', 'M']).unwrap_or(text);
    match text.strip_prefix('-') {
        Some(text) => decimal(text, 2).and_then(|c| i64::try_from(c).ok()).map(|c| -c),
        None => decimal(text, 2).and_then(|c| i64::try_from(c).ok()),
    }
}

/// `YYYYMMDDHHmmSS` or seconds since 1970, modulo 2^32 (RFC 4034 3.2).
fn time(word: &Word<'_>) -> Result<u32, RecordError> {
    let wrong = || word.wrong("a date", Some("YYYYMMDDHHmmSS or seconds since 1970"));
    let text = word.as_str().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit())).ok_or_else(wrong)?;
    if text.len() != 14 {
        return word.number(u64::from(u32::MAX)).map_err(|_| wrong());
    }
    let field = |from: usize, to: usize| text.get(from..to).and_then(|text| text.parse::<u32>().ok()).ok_or_else(wrong);
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return Err(wrong()),
    };
    if year < 1970 || day == 0 || day > days || hour > 23 || minute > 59 || second > 60 {
        return Err(wrong());
    }
    // Days since 1 March of year 0, so that the leap day ends a year; 719468 of them lie before 1970.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Ok(days.wrapping_mul(86400).wrapping_add(hour * 3600 + minute * 60 + second))
}

fn param_key(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some((_, key)) = PARAM_KEYS.iter().find(|(name, _)| *name == text) {
        return Some(*key);
    }
    let digits = text.strip_prefix("key").filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))?;
    digits.parse().ok().filter(|key| *key != u16::MAX)
}

/// The value of a service parameter on the wire (RFC 9460 7, RFC 9461 5, RFC 9540 4).
fn param_value(param: &Word<'_>, key: u16, value: Option<Word<'_>>) -> Result<Vec<u8>, RecordError> {
    let Some(value) = value.filter(|value| !value.text.is_empty()) else {
        return match key {
            0 | 1 | 3..=7 => Err(error(param.at, format!("{} has no value", param.shown()), None)),
            _ => Ok(Vec::new()),
        };
    };
    let octets = value.octets()?;
    let mut out = Vec::new();
    let items = |octets: &[u8]| -> Vec<Vec<u8>> { octets.split(|octet| *octet == b',').map(<[u8]>::to_vec).collect() };
    let item = |text: &'_ [u8]| -> String { String::from_utf8_lossy(text).into_owned() };
    match key {
        0 => {
            let mut keys = Vec::new();
            for name in items(&octets) {
                keys.push(param_key(&name).ok_or_else(|| value.wrong("a list of service parameter keys", None))?);
            }
            keys.sort_unstable();
            if !keys.is_sorted_by(|a, b| a < b) {
                return Err(value.wrong("a list of different keys", None));
            }
            out.extend(keys.into_iter().flat_map(u16::to_be_bytes));
        }
        1 => {
            for id in alpn_ids(&octets) {
                if id.is_empty() {
                    return Err(value.wrong("a list of protocols", Some("for instance h2,h3")));
                }
                counted(&value, &id, &mut out)?;
            }
        }
        2 | 8 => {
            return Err(error(param.at, format!("{} takes no value", param.shown()), None));
        }
        3 => out.extend(Word { text: &octets, ..value }.number::<u16>(65535)?.to_be_bytes()),
        4 => {
            for address in items(&octets) {
                out.extend(Word { text: &address, ..value }.v4()?);
            }
        }
        5 => out.extend(value.base64(&octets)?),
        6 => {
            for address in items(&octets) {
                let parsed = item(&address).parse::<Ipv6Addr>();
                out.extend(parsed.map_err(|_| value.wrong("a list of IPv6 addresses", None))?.octets());
            }
        }
        _ => out.extend(octets),
    }
    Ok(out)
}

/// Splits a list at its commas; `\,` and `\\` are a comma and a backslash in an item (RFC 9460 A.1).
fn alpn_ids(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut ids = vec![Vec::new()];
    let mut escaped = false;
    for &octet in octets {
        match (octet, escaped) {
            (b'\\', false) => {
                escaped = true;
                continue;
            }
            (b',', false) => ids.push(Vec::new()),
            (octet, _) => {
                if let Some(id) = ids.last_mut() {
                    id.push(octet);
                }
            }
        }
        escaped = false;
    }
    ids
}
