//! Wire form to presentation form.
//!
//! It owns how each part of record data is shown, and falls back to the generic form of RFC 3597 5 for data that have
//! not the layout of their type, so that it can show anything and what it shows reads back to the same octets.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::parts::{PARAM_KEYS, Part, parts};
use crate::name::NameRef;
use crate::types::Rtype;

/// Record data in presentation form; the generic form if the type has no other, or the data do not fit it.
pub fn rdata_to_text(rtype: Rtype, rdata: &[u8]) -> String {
    let shown = parts(rtype).and_then(|parts| {
        let mut w = Words { out: String::new(), rest: rdata };
        for part in parts {
            w.part(*part)?;
        }
        w.rest.is_empty().then_some(w.out)
    });
    shown.unwrap_or_else(|| {
        let mut out = format!("\\# {}", rdata.len());
        if !rdata.is_empty() {
            out.push(' ');
            out.push_str(&hex(rdata));
        }
        out
    })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut out, octet| {
        let _ = write!(out, "{octet:02x}"); // writing to a String cannot fail
        out
    })
}

/// A character string in quotes (RFC 1035 5.1).
fn quoted(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for &octet in text {
        match octet {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            b' '..=b'~' => out.push(char::from(octet)),
            _ => {
                let _ = write!(out, "\\{octet:03}");
            }
        }
    }
    out.push('"');
    out
}

struct Words<'a> {
    out: String,
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    fn word(&mut self, word: impl std::fmt::Display) -> Option<()> {
        if !self.out.is_empty() {
            self.out.push(' ');
        }
        write!(self.out, "{word}").ok()
    }

    fn take(&mut self, octets: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(octets)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn name(&mut self) -> Option<NameRef<'a>> {
        let (name, rest) = NameRef::split_from(self.rest).ok()?;
        self.rest = rest;
        Some(name)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn part(&mut self, part: Part) -> Option<()> {
        match part {
            Part::Name => {
                let name = self.name()?;
                self.word(name)
            }
            Part::U8 | Part::Algorithm => {
                let number = self.u8()?;
                self.word(number)
            }
            Part::U16 | Part::CertType => {
                let number = self.u16()?;
                self.word(number)
            }
            Part::U32 | Part::Period => {
                let number = self.u32()?;
                self.word(number)
            }
            Part::Time => {
                let time = self.u32()?;
                self.word(date(time))
            }
            Part::Type => {
                let rtype = self.u16()?;
                self.word(Rtype(rtype))
            }
            Part::V4 => {
                let address = self.array::<4>()?;
                self.word(Ipv4Addr::from(address))
            }
            Part::V6 => {
                let address = self.array::<16>()?;
                self.word(Ipv6Addr::from(address))
            }
            Part::Text => {
                let text = self.counted()?;
                self.word(quoted(text))
            }
            Part::OptionalText => {
                if self.rest.is_empty() {
                    return Some(());
                }
                self.part(Part::Text)
            }
            Part::Texts => {
                self.part(Part::Text)?;
                while !self.rest.is_empty() {
                    self.part(Part::Text)?;
                }
                Some(())
            }
            Part::LongText => {
                let text = self.all();
                self.word(quoted(text))
            }
            Part::Tag => {
                let tag = self.counted().filter(|tag| !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric))?;
                self.word(String::from_utf8_lossy(tag))
            }
            Part::Hex => {
                let octets = self.all();
                if octets.is_empty() { None } else { self.word(hex(octets)) }
            }
            Part::Nsap => {
                let octets = self.all();
                if octets.is_empty() { None } else { self.word(format_args!("0x{}", hex(octets))) }
            }
            Part::Base64 => {
                let octets = self.all();
                if octets.is_empty() { None } else { self.word(base64(octets)) }
            }
            Part::Salt => match self.counted()? {
                [] => self.word('-'),
                salt => self.word(hex(salt)),
            },
            Part::Base32 => {
                let octets = self.counted().filter(|octets| !octets.is_empty())?;
                self.word(base32(octets))
            }
            Part::Types => self.types(),
            Part::Services => self.services(),
            Part::Prefixes => self.prefixes(),
            Part::Place => self.place(),
            Part::Dashed(octets) => {
                let words: Vec<String> = self.take(octets)?.iter().map(|octet| format!("{octet:02x}")).collect();
                self.word(words.join("-"))
            }
            Part::Groups => {
                let words: Vec<String> = self.array::<8>()?.chunks(2).map(hex).collect();
                self.word(words.join(":"))
            }
            Part::Params => self.params(),
            Part::Gateway => self.gateway(),
            Part::Relay => self.relay(),
            Part::Host => self.host(),
        }
    }

    /// Windows in rising order, without trailing zeros, or the text would read back to other octets.
    fn types(&mut self) -> Option<()> {
        let mut before = None;
        while !self.rest.is_empty() {
            let window = self.u8()?;
            let bits = self.counted()?;
            if bits.len() > 32 || bits.last().is_none_or(|last| *last == 0) || before.is_some_and(|b| b >= window) {
                return None;
            }
            before = Some(window);
            for (octet, nth) in bits.iter().zip(0u16..) {
                for bit in (0..8u16).filter(|bit| octet & (0x80 >> bit) != 0) {
                    self.word(Rtype(u16::from(window) << 8 | nth << 3 | bit))?;
                }
            }
        }
        Some(())
    }

    fn services(&mut self) -> Option<()> {
        self.part(Part::V4)?;
        self.part(Part::U8)?;
        let bits = self.all();
        if bits.len() > 8192 || bits.last() == Some(&0) {
            return None;
        }
        for (octet, nth) in bits.iter().zip(0u32..) {
            for bit in (0..8u32).filter(|bit| octet & (0x80 >> bit) != 0) {
                self.word(nth * 8 + bit)?;
            }
        }
        Some(())
    }

    fn prefixes(&mut self) -> Option<()> {
        while !self.rest.is_empty() {
            let [family, prefix, length] = [self.u16()?, u16::from(self.u8()?), u16::from(self.u8()?)];
            let not = if length & 0x80 != 0 { "!" } else { "" };
            let octets = self.take(usize::from(length & 0x7f))?;
            if octets.last() == Some(&0) {
                return None; // RFC 3123 4: trailing zeros are not sent
            }
            let mut address = [0u8; 16];
            address.get_mut(..octets.len())?.copy_from_slice(octets);
            let [a, b, c, d, ..] = address;
            match family {
                1 if octets.len() <= 4 && prefix <= 32 => {
                    self.word(format_args!("{not}1:{}/{prefix}", Ipv4Addr::new(a, b, c, d)))?;
                }
                2 if prefix <= 128 => self.word(format_args!("{not}2:{}/{prefix}", Ipv6Addr::from(address)))?,
                _ => return None,
            }
        }
        Some(())
    }

    /// RFC 1876 3, with millimetres of an arc second and centimetres.
    fn place(&mut self) -> Option<()> {
        let [version, size, horizontal, vertical] = self.array()?;
        let (latitude, longitude, altitude) = (self.u32()?, self.u32()?, self.u32()?);
        let length = |octet: u8| {
            let (base, power) = (u64::from(octet >> 4), u32::from(octet & 15));
            (base <= 9 && power <= 9 && (base > 0 || power == 0)).then(|| base * 10u64.pow(power))
        };
        if version != 0 {
            return None;
        }
        for (value, degrees, [minus, plus]) in [(latitude, 90, ['S', 'N']), (longitude, 180, ['W', 'E'])] {
            let from_zero = i64::from(value) - (1 << 31);
            let (milli, side) = (from_zero.unsigned_abs(), if from_zero < 0 { minus } else { plus });
            if milli > degrees * 3_600_000 {
                return None;
            }
            let (seconds, milli) = (milli / 1000, milli % 1000);
            self.word(format_args!("{} {} {}.{milli:03} {side}", seconds / 3600, seconds / 60 % 60, seconds % 60))?;
        }
        let centimetres = i64::from(altitude) - 10_000_000;
        let sign = if centimetres < 0 { "-" } else { "" };
        let centimetres = centimetres.unsigned_abs();
        self.word(format_args!("{sign}{}.{:02}m", centimetres / 100, centimetres % 100))?;
        for octet in [size, horizontal, vertical] {
            let centimetres = length(octet)?;
            self.word(format_args!("{}.{:02}m", centimetres / 100, centimetres % 100))?;
        }
        Some(())
    }

    /// RFC 9460 2.2 and 8: keys strictly rising, those named mandatory given, or the text would not read back.
    fn params(&mut self) -> Option<()> {
        let mut keys = Vec::new();
        let mut mandatory: &[u8] = &[];
        while !self.rest.is_empty() {
            let key = self.u16()?;
            let len = self.u16()?;
            let value = self.take(usize::from(len))?;
            if keys.last().is_some_and(|before| *before >= key) {
                return None;
            }
            keys.push(key);
            if key == 0 {
                mandatory = value;
            }
            self.word(param_key(key))?;
            if let Some(value) = param_value(key, value)? {
                write!(self.out, "={value}").ok()?;
            }
        }
        let mandatory = mandatory.chunks_exact(2).map(|key| key.try_into().map_or(0, u16::from_be_bytes));
        let good = mandatory.clone().is_sorted_by(|a, b| a < b)
            && mandatory.clone().all(|key| key != 0 && keys.binary_search(&key).is_ok());
        good.then_some(())
    }

    fn gateway(&mut self) -> Option<()> {
        let [kind, algorithm] = self.array()?;
        self.word(kind)?;
        self.word(algorithm)?;
        match kind {
            0 => self.word('.')?,
            1 => self.part(Part::V4)?,
            2 => self.part(Part::V6)?,
            3 => self.part(Part::Name)?,
            _ => return None,
        }
        if self.rest.is_empty() { Some(()) } else { self.part(Part::Base64) }
    }

    fn relay(&mut self) -> Option<()> {
        let kind = self.u8()?;
        self.word(kind >> 7)?;
        self.word(kind & 0x7f)?;
        match kind & 0x7f {
            0 => self.word('.'),
            1 => self.part(Part::V4),
            2 => self.part(Part::V6),
            3 => self.part(Part::Name),
            _ => None,
        }
    }

    fn host(&mut self) -> Option<()> {
        let [tag_len, algorithm] = self.array()?;
        let key_len = self.u16()?;
        let (tag, key) = (self.take(usize::from(tag_len))?, self.take(usize::from(key_len))?);
        if tag.is_empty() || key.is_empty() {
            return None;
        }
        self.word(algorithm)?;
        self.word(hex(tag))?;
        self.word(base64(key))?;
        while !self.rest.is_empty() {
            self.part(Part::Name)?;
        }
        Some(())
    }
}

fn param_key(key: u16) -> String {
    match PARAM_KEYS.iter().find(|(_, number)| *number == key) {
        Some((text, _)) => (*text).to_owned(),
        None => format!("key{key}"),
    }
}

/// The value of a service parameter as text; inner `None` for a key that has none (RFC 9460 2.1, 7).
fn param_value(key: u16, value: &[u8]) -> Option<Option<String>> {
    let list = |words: Vec<String>| (!words.is_empty()).then(|| Some(words.join(",")));
    match key {
        0 => {
            let keys = value.chunks(2).map(|k| k.try_into().map(u16::from_be_bytes).map(param_key).ok());
            list(keys.collect::<Option<Vec<_>>>()?)
        }
        1 => {
            let mut escaped = Vec::new();
            let mut rest = value;
            while let Some((len, after)) = rest.split_first() {
                let (id, after) = after.split_at_checked(usize::from(*len))?;
                if id.is_empty() {
                    return None;
                }
                if !escaped.is_empty() {
                    escaped.push(b',');
                }
                for &octet in id {
                    if matches!(octet, b',' | b'\\') {
                        escaped.push(b'\\');
                    }
                    escaped.push(octet);
                }
                rest = after;
            }
            if escaped.is_empty() { None } else { Some(Some(quoted(&escaped))) }
        }
        2 | 8 => value.is_empty().then_some(None),
        3 => value.try_into().map(u16::from_be_bytes).map(|port| Some(port.to_string())).ok(),
        4 => {
            let all = value.chunks(4).map(|a| <[u8; 4]>::try_from(a).map(|a| Ipv4Addr::from(a).to_string()).ok());
            list(all.collect::<Option<Vec<_>>>()?)
        }
        5 => (!value.is_empty()).then(|| Some(base64(value))),
        6 => {
            let all = value.chunks(16).map(|a| <[u8; 16]>::try_from(a).map(|a| Ipv6Addr::from(a).to_string()).ok());
            list(all.collect::<Option<Vec<_>>>()?)
        }
        _ if value.is_empty() => Some(None),
        _ => Some(Some(quoted(value))),
    }
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS`, in the first era of RFC 4034 3.1.5's serial arithmetic.
fn date(time: u32) -> String {
    let (days, seconds) = (time / 86400, time % 86400);
    // Days from 1 March of year 0, so that the leap day ends a year and 400 years are a period (146097 days).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + later;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let bits = group.iter().chain([&0, &0]).take(3).fold(0u32, |bits, octet| bits << 8 | u32::from(*octet));
        for nth in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * nth) & 63).ok().and_then(|at| DIGITS.get(at));
            out.push(if nth > group.len() { '=' } else { digit.map_or('=', |digit| char::from(*digit)) });
        }
    }
    out
}

/// RFC 4648 7, lower case and without padding, as NSEC3 has it (RFC 5155 3.3).
fn base32(octets: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut out = String::with_capacity(octets.len().div_ceil(5) * 8);
    for group in octets.chunks(5) {
        let bits = group.iter().chain([&0; 4]).take(5).fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
        for nth in 0..(group.len() * 8).div_ceil(5) {
            let digit = usize::try_from(bits >> (35 - 5 * nth) & 31).ok().and_then(|at| DIGITS.get(at));
            out.extend(digit.map(|digit| char::from(*digit)));
        }
    }
    out
}
