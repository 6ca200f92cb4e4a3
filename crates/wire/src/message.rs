//! Replies of upstream servers: hostile octets to RRsets.
//!
//! It owns the full parse of a message: every bound checked, compression loop-proof, names in the data of known types
//! made whole, records grouped to RRsets. It never judges: whether the reply belongs to a question, and which of its
//! records may be believed, is for the resolver. Every limit is fixed and below named.

use std::fmt;

use crate::name::{NameBuf, NameError, NameRef};
use crate::query::{Header, Opt};
use crate::rdata::{Field, layout};
use crate::rrset::{RdataSet, Rrset};
use crate::types::{Class, Opcode, Rcode, Rtype, flag, option};

/// Most RRsets read from one message. A referral with a hundred name servers, their addresses and signatures needs 401.
pub const MAX_RRSETS: usize = 1024;
/// Most records read from one message: what 65535 octets hold of the smallest useful kind, an address with a compressed
/// owner (16 octets). More can only be empty data, and serve only to keep us busy.
pub const MAX_RECORDS: usize = 4096;
/// Most octets that owners and data may have once decompressed, in one message: four times the largest message. A
/// pointer of 2 octets can stand for 255, and a reply of 64 KiB for 2 MiB (CVE-2026-44390).
pub const MAX_EXPANDED: usize = 4 * 65535;
/// Most RRsets that may look alike (same short hash) without being so before the message is taken for an attack on the
/// grouping. Chance makes none.
const MAX_COLLISIONS: usize = 64;
/// Sets up to this size are kept free of duplicates while they grow; larger ones are sorted once at the end.
const SMALL_SET: usize = 16;
/// Most extended errors kept of one reply (RFC 8914 3 allows several; a forwarder passes on one).
pub const MAX_EDE: usize = 4;
/// Most octets kept of an extended error's text.
pub const MAX_EDE_TEXT: usize = 256;

/// A reply from an upstream server, checked to the last record. Octets after that are ignored, as Unbound does.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message id.
    pub id: u16,
    /// The header bits; see [`flag`].
    pub flags: u16,
    /// The response code, with the high bits of EDNS.
    pub rcode: Rcode,
    /// The question it repeats; some servers leave it out of errors.
    pub question: Option<(NameBuf, Rtype, Class)>,
    /// The answer section.
    pub answer: Vec<Rrset>,
    /// The authority section.
    pub authority: Vec<Rrset>,
    /// The additional section, without OPT.
    pub additional: Vec<Rrset>,
    /// What its OPT record said.
    pub edns: Option<EdnsReply>,
}

/// The OPT record of a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdnsReply {
    /// Octets of UDP payload the server takes.
    pub udp_size: u16,
    /// The EDNS version.
    pub version: u8,
    /// The DO bit.
    pub do_bit: bool,
    /// The extended errors, code and text (RFC 8914): at most [`MAX_EDE`], text of at most [`MAX_EDE_TEXT`] octets,
    /// what is not UTF-8 replaced.
    pub ede: Vec<(u16, String)>,
}

impl Reply {
    /// Reads a reply.
    ///
    /// RRsets keep the order in which they first appear and have the lowest TTL of their records (RFC 2181 5.2); a TTL
    /// with the top bit set is 0 (RFC 2181 8); equal records are one (RFC 2181 5). RRSIG records go with the set they
    /// cover, if it is in the same section and the question was not for them; else they form a set for each type they
    /// cover. A message with TC set may end in the middle of a record: what came before is returned.
    pub fn parse(bytes: &[u8]) -> Result<Reply, WireError> {
        let (header, body) = Header::split(bytes).ok_or(WireError::Short)?;
        if header.flags & flag::QR == 0 {
            return Err(WireError::NotAReply);
        }
        let [questions, counts @ ..] = header.counts;
        let mut at = bytes.len() - body.len();
        let question = match questions {
            0 => None,
            1 => {
                let (name, after) = NameBuf::from_packet(bytes, at)?;
                let [a, b, c, d] = *chunk::<4>(bytes, after)?;
                at = after + 4;
                Some((name, Rtype(u16::from_be_bytes([a, b])), Class(u16::from_be_bytes([c, d]))))
            }
            _ => return Err(WireError::Questions),
        };
        let mut reply = Reply {
            id: header.id,
            flags: header.flags,
            rcode: Rcode(header.flags & flag::RCODE),
            question,
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            edns: None,
        };
        let mut limits =
            Limits { records: MAX_RECORDS, rrsets: MAX_RRSETS, octets: MAX_EXPANDED, collisions: MAX_COLLISIONS };
        let mut scratch = Vec::new();
        'sections: for (nth, count) in counts.into_iter().enumerate() {
            let mut section = Section::default();
            let mut cut = false;
            for _ in 0..count {
                let record = match RawRecord::read(bytes, at, &mut scratch) {
                    Ok(record) => record,
                    Err(WireError::Short) if reply.tc() => {
                        cut = true;
                        break;
                    }
                    Err(error) => return Err(error),
                };
                at = record.after;
                limits.charge(&record, scratch.len())?;
                if record.rtype == Rtype::OPT {
                    if nth != 2 || reply.edns.is_some() || !record.owner.as_ref().is_root() {
                        return Err(WireError::BadOpt);
                    }
                    let opt = Opt::from_parts(record.class.0, record.ttl, &scratch);
                    reply.rcode = Rcode(reply.rcode.0 | u16::from(opt.rcode_high) << 4);
                    reply.edns = Some(EdnsReply::from_opt(&opt));
                    continue;
                }
                section.add(&record, &scratch, &mut limits)?;
            }
            // Who asks for signatures gets them as what they asked for.
            let gather = nth != 0 || reply.question.as_ref().is_none_or(|(_, qtype, _)| *qtype != Rtype::RRSIG);
            let sets = section.finish(gather, &mut limits)?;
            match nth {
                0 => reply.answer = sets,
                1 => reply.authority = sets,
                _ => reply.additional = sets,
            }
            if cut {
                break 'sections;
            }
        }
        Ok(reply)
    }

    /// Authoritative answer.
    pub fn aa(&self) -> bool {
        self.flags & flag::AA != 0
    }

    /// Truncated.
    pub fn tc(&self) -> bool {
        self.flags & flag::TC != 0
    }

    /// Recursion available.
    pub fn ra(&self) -> bool {
        self.flags & flag::RA != 0
    }

    /// Authentic data.
    pub fn ad(&self) -> bool {
        self.flags & flag::AD != 0
    }

    /// The opcode.
    pub fn opcode(&self) -> Opcode {
        Opcode(u8::try_from((self.flags & flag::OPCODE) >> 11).unwrap_or(0))
    }
}

impl EdnsReply {
    fn from_opt(opt: &Opt<'_>) -> EdnsReply {
        let ede = opt
            .options()
            .filter(|(code, _)| *code == option::EDE)
            .filter_map(|(_, data)| data.split_first_chunk::<2>())
            .map(|(code, text)| {
                let text = text.get(..MAX_EDE_TEXT).unwrap_or(text);
                (u16::from_be_bytes(*code), String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
            })
            .take(MAX_EDE)
            .collect();
        EdnsReply { udp_size: opt.udp_size, version: opt.version, do_bit: opt.do_bit, ede }
    }
}

/// What one message may still cost.
struct Limits {
    records: usize,
    rrsets: usize,
    octets: usize,
    collisions: usize,
}

impl Limits {
    fn charge(&mut self, record: &RawRecord, rdata: usize) -> Result<(), WireError> {
        self.records = self.records.checked_sub(1).ok_or(WireError::TooMany)?;
        let octets = record.owner.as_ref().len() + rdata;
        self.octets = self.octets.checked_sub(octets).ok_or(WireError::TooLarge)?;
        Ok(())
    }
}

/// One record; its data, made whole, are in the caller's scratch buffer.
struct RawRecord {
    owner: NameBuf,
    rtype: Rtype,
    class: Class,
    ttl: u32,
    after: usize,
}

impl RawRecord {
    fn read(packet: &[u8], at: usize, rdata: &mut Vec<u8>) -> Result<RawRecord, WireError> {
        let (owner, at) = NameBuf::from_packet(packet, at)?;
        let [t1, t2, c1, c2, l1, l2, l3, l4, d1, d2] = *chunk::<10>(packet, at)?;
        let rtype = Rtype(u16::from_be_bytes([t1, t2]));
        let ttl = u32::from_be_bytes([l1, l2, l3, l4]);
        let start = at + 10;
        let end = start + usize::from(u16::from_be_bytes([d1, d2]));
        // Pointers aim at the whole packet before them, but nothing of the data may lie behind their end.
        let packet = packet.get(..end).ok_or(WireError::Short)?;
        rdata.clear();
        expand(packet, start, rtype, rdata)?;
        let ttl = if ttl > 0x7fff_ffff && rtype != Rtype::OPT { 0 } else { ttl };
        Ok(RawRecord { owner, rtype, class: Class(u16::from_be_bytes([c1, c2])), ttl, after: end })
    }
}

/// Appends the record data that run from `start` to the end of `packet`, names made whole, and checks their layout.
fn expand(packet: &[u8], start: usize, rtype: Rtype, into: &mut Vec<u8>) -> Result<(), WireError> {
    let mut at = start;
    for field in layout(rtype) {
        let end = match *field {
            Field::Fixed(octets) => at + octets,
            Field::Text => at + 1 + usize::from(*packet.get(at).ok_or(WireError::BadRdata)?),
            Field::Rest => packet.len(),
            Field::Compressed | Field::Plain => {
                // A name that ends behind the data is bad data, not a message cut short.
                let (name, after) = NameBuf::from_packet(packet, at).map_err(|_| WireError::BadRdata)?;
                into.extend_from_slice(name.as_ref().as_wire());
                at = after;
                continue;
            }
        };
        into.extend_from_slice(packet.get(at..end).ok_or(WireError::BadRdata)?);
        at = end;
    }
    // Decompressed data that no longer fit the 16-bit length cannot be kept (CVE-2026-56416).
    if at == packet.len() && into.len() <= usize::from(u16::MAX) { Ok(()) } else { Err(WireError::BadRdata) }
}

fn chunk<const N: usize>(packet: &[u8], at: usize) -> Result<&[u8; N], WireError> {
    packet.get(at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(WireError::Short)
}

/// A section being grouped. `keys` holds a short hash of each set: looking for a record's set reads 4 octets a set.
#[derive(Default)]
struct Section {
    sets: Vec<Rrset>,
    keys: Vec<u32>,
}

impl Section {
    fn add(&mut self, record: &RawRecord, rdata: &[u8], limits: &mut Limits) -> Result<(), WireError> {
        let covered = covered(record.rtype, rdata);
        let key = key(record.owner.as_ref(), record.rtype, record.class, covered);
        for (set, have) in self.sets.iter_mut().zip(&self.keys).rev() {
            if *have != key {
                continue;
            }
            let same = set.rtype == record.rtype
                && set.class == record.class
                && set.owner == record.owner.as_ref()
                && set.rdata.first().map(|first| self::covered(set.rtype, first)) == Some(covered);
            if same {
                set.ttl = set.ttl.min(record.ttl);
                if set.rdata.len() > SMALL_SET || !set.rdata.contains(rdata) {
                    set.make_mut().rdata.push(rdata);
                }
                return Ok(());
            }
            limits.collisions = limits.collisions.checked_sub(1).ok_or(WireError::TooMany)?;
        }
        limits.rrsets = limits.rrsets.checked_sub(1).ok_or(WireError::TooMany)?;
        self.keys.push(key);
        let rdata = RdataSet::one(rdata);
        self.sets.push(Rrset::new(record.owner.to_name(), record.rtype, record.class, record.ttl, rdata));
        Ok(())
    }

    /// The sets, free of duplicates, each with the signatures over it if `gather`: they stand where the first of the two
    /// stood and have the lower TTL (RFC 4034 3: it should be the same).
    fn finish(mut self, gather: bool, limits: &mut Limits) -> Result<Vec<Rrset>, WireError> {
        for set in &mut self.sets {
            let rdata = &mut set.make_mut().rdata;
            if rdata.len() > SMALL_SET {
                rdata.dedup();
            }
            rdata.shrink();
        }
        if !gather || !self.sets.iter().any(|set| set.rtype == Rtype::RRSIG) {
            return Ok(self.sets);
        }
        let mut sets: Vec<Option<Rrset>> = self.sets.into_iter().map(Some).collect();
        for nth in 0..sets.len() {
            let Some(sigs) = sets.get_mut(nth).and_then(|slot| slot.take_if(|set| set.rtype == Rtype::RRSIG)) else {
                continue;
            };
            let wanted = Rtype(sigs.rdata.first().map_or(0, |first| covered(sigs.rtype, first)));
            let wanted_key = key(sigs.owner.as_ref(), wanted, sigs.class, 0);
            let mut under = None;
            for (other, _) in self.keys.iter().enumerate().filter(|(_, have)| **have == wanted_key) {
                match sets.get(other).and_then(Option::as_ref) {
                    Some(set) if set.rtype == wanted && set.class == sigs.class && set.owner == sigs.owner => {
                        under = Some(other);
                        break;
                    }
                    _ => limits.collisions = limits.collisions.checked_sub(1).ok_or(WireError::TooMany)?,
                }
            }
            let set = under.and_then(|under| sets.get_mut(under)?.take()).map(|mut set| {
                set.ttl = set.ttl.min(sigs.ttl);
                set.with_sigs(sigs.rdata.clone())
            });
            if let Some(slot) = sets.get_mut(under.unwrap_or(nth).min(nth)) {
                *slot = Some(set.unwrap_or(sigs));
            }
        }
        Ok(sets.into_iter().flatten().collect())
    }
}

/// The type that a signature covers; 0 for every other record.
fn covered(rtype: Rtype, rdata: &[u8]) -> u16 {
    match (rtype, rdata.first_chunk::<2>()) {
        (Rtype::RRSIG | Rtype::SIG, Some(covered)) => u16::from_be_bytes(*covered),
        _ => 0,
    }
}

/// FNV-1a over owner, type, class and covered type. Not keyed: what collides is compared, and counted.
fn key(owner: NameRef<'_>, rtype: Rtype, class: Class, covered: u16) -> u32 {
    let lower = owner.lower();
    let numbers = [rtype.0, class.0, covered].map(u16::to_be_bytes);
    let octets = lower.as_ref().as_wire().iter().chain(numbers.iter().flatten());
    octets.fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}

/// Why octets are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends too early.
    Short,
    /// QR is not set: a query, or the echo of one (RFC 9619 and "QR=0 replies" of the attack corpus).
    NotAReply,
    /// More than one question (RFC 9619).
    Questions,
    /// A name is malformed.
    Name(NameError),
    /// Record data do not have the layout of their type, or exceed 65535 octets.
    BadRdata,
    /// More than one OPT record, or one in the wrong section or with an owner (RFC 6891 6.1.1).
    BadOpt,
    /// More records or RRsets than [`MAX_RECORDS`] and [`MAX_RRSETS`].
    TooMany,
    /// Decompressed, the message exceeds [`MAX_EXPANDED`].
    TooLarge,
}

impl From<NameError> for WireError {
    fn from(error: NameError) -> WireError {
        match error {
            NameError::BadLength => WireError::Short,
            other => WireError::Name(other),
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Short => f.write_str("the message ends too early"),
            WireError::NotAReply => f.write_str("the message is not a reply"),
            WireError::Questions => f.write_str("the message has more than one question"),
            WireError::Name(error) => error.fmt(f),
            WireError::BadRdata => f.write_str("record data do not have the layout of their type"),
            WireError::BadOpt => f.write_str("the OPT record is not alone, misplaced or has an owner"),
            WireError::TooMany => f.write_str("the message has too many records"),
            WireError::TooLarge => f.write_str("the message is too large once decompressed"),
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUESTION: &[u8] = b"\x03www\x07example\0\0\x01\0\x01";

    fn message(flags: u16, counts: [u16; 3], records: &[&[u8]]) -> Vec<u8> {
        let [an, ns, ar] = counts;
        let mut out = vec![0; 12];
        Header { id: 9, flags, counts: [1, an, ns, ar] }.write(&mut out).unwrap();
        [&out, QUESTION, &records.concat()].concat()
    }

    fn record(owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rdata.len()).unwrap();
        [owner, &rtype.0.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &len.to_be_bytes(), rdata].concat()
    }

    const WWW: &[u8] = b"\xc0\x0c";

    #[test]
    fn rfc2181_5_records_become_rrsets() {
        let a1 = record(WWW, Rtype::A, 300, &[192, 0, 2, 1]);
        let a2 = record(b"\x03WWW\x07exAMPle\0", Rtype::A, 200, &[192, 0, 2, 2]);
        let txt = record(WWW, Rtype::TXT, 0x8000_0000, b"\x01x");
        let bytes = message(0x8180, [5, 0, 0], &[&a1, &txt, &a2, &a1, &txt]);
        let reply = Reply::parse(&bytes).unwrap();
        assert_eq!(reply.question.unwrap().0.to_string(), "www.example.");
        assert_eq!(reply.answer.len(), 2);
        assert_eq!((reply.answer[0].rdata.len(), reply.answer[0].ttl), (2, 200), "one TTL, the lowest; no duplicates");
        assert_eq!((reply.answer[1].rdata.len(), reply.answer[1].ttl), (1, 0), "RFC 2181 8");
        assert!(reply.ra() && !reply.aa() && !reply.tc() && !reply.ad());
    }

    #[test]
    fn rfc2181_5_duplicates_go_from_large_sets_too() {
        let all: Vec<Vec<u8>> =
            (0..600u16).map(|n| record(WWW, Rtype::A, 1, &[10, 0, 0, u8::try_from(n % 200).unwrap()])).collect();
        let reply =
            Reply::parse(&message(0x8180, [600, 0, 0], &all.iter().map(Vec::as_slice).collect::<Vec<_>>())).unwrap();
        let found: Vec<u8> = reply.answer[0].rdata.iter().map(|r| r[3]).collect();
        assert_eq!(found, (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn signatures_are_grouped_by_what_they_cover() {
        let sig = |covered: u8| record(WWW, Rtype::RRSIG, 9, &[&[0, covered][..], &[0; 16], b"\0sig"].concat());
        let reply = Reply::parse(&message(0x8180, [3, 0, 0], &[&sig(1), &sig(28), &sig(1)])).unwrap();
        assert_eq!(reply.answer.len(), 2);
    }

    #[test]
    fn signatures_go_with_the_set_they_cover() {
        let sig = |covered: u8| record(WWW, Rtype::RRSIG, 9, &[&[0, covered][..], &[0; 16], b"\0sig"].concat());
        let a = record(b"\x03WWW\x07exAMPle\0", Rtype::A, 300, &[192, 0, 2, 1]);
        let txt = record(WWW, Rtype::TXT, 5, b"\x01x");
        // One before and one after its set, one without: the order is that of first appearance.
        let bytes = message(0x8180, [6, 1, 0], &[&sig(16), &sig(28), &a, &sig(1), &txt, &sig(16), &sig(6)]);
        let reply = Reply::parse(&bytes).unwrap();
        let seen: Vec<_> = reply.answer.iter().map(|s| (s.rtype, s.ttl, s.rdata.len(), s.sigs.len())).collect();
        assert_eq!(seen, [(Rtype::TXT, 5, 1, 1), (Rtype::RRSIG, 9, 1, 0), (Rtype::A, 9, 1, 1)]);
        assert_eq!((reply.authority[0].rtype, reply.authority.len()), (Rtype::RRSIG, 1), "not across sections");
        let mut asked_for = bytes;
        asked_for[12 + QUESTION.len() - 3] = 46;
        let reply = Reply::parse(&asked_for).unwrap();
        assert_eq!(reply.answer.iter().map(|set| set.rtype.0).collect::<Vec<_>>(), [46, 46, 1, 46, 16]);
    }

    #[test]
    fn rfc3597_4_names_in_known_types_are_made_whole() {
        for (rtype, sent, whole) in [
            (Rtype::CNAME, &b"\x01a\xc0\x10"[..], &b"\x01a\x07example\0"[..]),
            (Rtype::MX, b"\0\x05\xc0\x10", b"\0\x05\x07example\0"),
            (Rtype::SRV, b"\0\0\0\0\0\0\xc0\x10", b"\0\0\0\0\0\0\x07example\0"),
            (Rtype::NAPTR, b"\0\0\0\0\x01u\0\0\xc0\x10", b"\0\0\0\0\x01u\0\0\x07example\0"),
            (Rtype::NSEC, b"\xc0\x10\0\x01\x40", b"\x07example\0\0\x01\x40"),
            (Rtype(4711), b"\xc0\x10", b"\xc0\x10"),
        ] {
            let bytes = message(0x8180, [1, 0, 0], &[&record(WWW, rtype, 1, sent)]);
            assert_eq!(Reply::parse(&bytes).unwrap().answer[0].rdata.first(), Some(whole), "{rtype}");
        }
    }

    #[test]
    fn bad_data_are_refused() {
        for (rtype, bad) in [
            (Rtype::A, &b"\x01\x02\x03"[..]),
            (Rtype::A, b"\x01\x02\x03\x04\x05"),
            (Rtype::AAAA, b"\x01\x02\x03\x04"),
            (Rtype::CNAME, b""),
            (Rtype::CNAME, b"\x01a"),
            (Rtype::CNAME, b"\0x"),
            (Rtype::CNAME, b"\xc0\xff"),
            (Rtype::MX, b"\0"),
            (Rtype::SOA, b"\0\0\0\0\0\0"),
            (Rtype::NAPTR, b"\0\0\0\0\x09u"),
        ] {
            let bytes = message(0x8180, [1, 0, 0], &[&record(WWW, rtype, 1, bad)]);
            assert_eq!(Reply::parse(&bytes).unwrap_err(), WireError::BadRdata, "{rtype} {bad:?}");
        }
        // A name in the data may not run on into the record that follows.
        let mut bytes = message(
            0x8180,
            [2, 0, 0],
            &[&record(WWW, Rtype::CNAME, 1, b"\x03ab"), &record(b"\0", Rtype::A, 1, &[0; 4])],
        );
        assert_eq!(Reply::parse(&bytes).unwrap_err(), WireError::BadRdata);
        bytes.truncate(20);
        assert_eq!(Reply::parse(&bytes).unwrap_err(), WireError::Short);
    }

    #[test]
    fn cve_2026_56416_data_too_long_once_decompressed_are_refused() {
        // An NSEC of 65535 octets whose compressed name makes it longer.
        let mut rdata = b"\xc0\x0c".to_vec();
        rdata.resize(65535 - 64, 0);
        let bytes = message(0x8180, [1, 0, 0], &[&record(WWW, Rtype::NSEC, 1, &rdata)]);
        assert!(Reply::parse(&bytes).is_ok());
        rdata.resize(65535, 0);
        let bytes = message(0x8180, [1, 0, 0], &[&record(WWW, Rtype::NSEC, 1, &rdata)]);
        assert_eq!(Reply::parse(&bytes).unwrap_err(), WireError::BadRdata);
    }

    #[test]
    fn cve_2026_44390_expansion_is_bounded() {
        let long = [&[60u8; 61][..], &[60; 61], &[60; 61], &[60; 61], b"\0"].concat();
        let mut records = vec![record(WWW, Rtype::NS, 1, &long)];
        let at = u16::try_from(12 + QUESTION.len() + 12).unwrap();
        for n in 0..3000u16 {
            let owner = [&[2], &n.to_be_bytes()[..], &(0xc000 | at).to_be_bytes()].concat();
            records.push(record(&owner, Rtype::MINFO, 1, &(0xc000 | at).to_be_bytes().repeat(2)));
        }
        let bytes = message(0x8180, [3001, 0, 0], &records.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(matches!(Reply::parse(&bytes).unwrap_err(), WireError::TooLarge | WireError::Name(NameError::TooLong)));
    }

    #[test]
    fn numbers_of_records_and_sets_are_bounded() {
        let many = |count: u16, owner: &dyn Fn(u16) -> Vec<u8>| {
            let all: Vec<Vec<u8>> = (0..count).map(|n| record(&owner(n), Rtype(999), 1, &n.to_be_bytes())).collect();
            Reply::parse(&message(0x8180, [count, 0, 0], &all.iter().map(Vec::as_slice).collect::<Vec<_>>()))
        };
        let own = |n: u16| format!("\u{5}{n:05}\0").into_bytes();
        let limit = u16::try_from(MAX_RRSETS).unwrap();
        assert_eq!(many(limit, &own).unwrap().answer.len(), MAX_RRSETS);
        assert_eq!(many(limit + 1, &own).unwrap_err(), WireError::TooMany);
        let limit = u16::try_from(MAX_RECORDS).unwrap();
        assert_eq!(many(limit, &|_| WWW.to_vec()).unwrap().answer[0].rdata.len(), MAX_RECORDS);
        assert_eq!(many(limit + 1, &|_| WWW.to_vec()).unwrap_err(), WireError::TooMany);
    }

    #[test]
    fn rfc6891_opt() {
        let opt = b"\0\0\x29\x10\0\x01\0\x80\0\0\x09\0\x0f\0\x05\0\x17net";
        let reply = Reply::parse(&message(0x8180, [0, 0, 1], &[opt])).unwrap();
        assert_eq!(reply.rcode, Rcode::BADVERS);
        let edns = reply.edns.unwrap();
        assert_eq!((edns.udp_size, edns.version, edns.do_bit), (4096, 0, true));
        assert_eq!(edns.ede, [(23, "net".to_owned())]);
        for (counts, records) in [([1, 0, 0], vec![&opt[..]]), ([0, 0, 2], vec![&opt[..], &opt[..]])] {
            assert_eq!(Reply::parse(&message(0x8180, counts, &records)).unwrap_err(), WireError::BadOpt);
        }
        let owned = [b"\x01a", &opt[..]].concat();
        assert_eq!(Reply::parse(&message(0x8180, [0, 0, 1], &[&owned])).unwrap_err(), WireError::BadOpt);
    }

    #[test]
    fn not_replies() {
        assert_eq!(Reply::parse(&message(0x0100, [0; 3], &[])).unwrap_err(), WireError::NotAReply);
        assert_eq!(Reply::parse(&[0; 11]).unwrap_err(), WireError::Short);
        let mut two = message(0x8180, [0; 3], &[QUESTION]);
        two[5] = 2;
        assert_eq!(Reply::parse(&two).unwrap_err(), WireError::Questions);
        let mut none = message(0x8185, [0; 3], &[])[..12].to_vec();
        none[5] = 0;
        assert_eq!(Reply::parse(&none).unwrap().question, None);
    }

    #[test]
    fn a_truncated_reply_may_be_cut_anywhere() {
        let records = [record(WWW, Rtype::A, 1, &[192, 0, 2, 1]), record(WWW, Rtype::A, 1, &[192, 0, 2, 2])];
        let bytes = message(0x8380, [2, 0, 0], &[&records[0], &records[1]]);
        for len in 12 + QUESTION.len()..bytes.len() {
            assert!(Reply::parse(&bytes[..len]).unwrap().tc(), "{len}");
        }
        let whole = message(0x8180, [2, 0, 0], &[&records[0], &records[1]]);
        assert_eq!(Reply::parse(&whole[..whole.len() - 1]).unwrap_err(), WireError::Short);
    }

    proptest! {
        #[test]
        fn any_octets_are_a_reply_or_an_error(counts in prop::array::uniform3(0u16..5), tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reply::parse(&message(0x8180, counts, &[&tail]));
        }

        #[test]
        fn records_of_any_data_are_a_reply_or_an_error(rtype in 0u16..70, ttl in any::<u32>(), data in proptest::collection::vec(any::<u8>(), 0..60)) {
            let bytes = message(0x8180, [1, 0, 0], &[&record(WWW, Rtype(rtype), ttl, &data)]);
            if let Ok(reply) = Reply::parse(&bytes) {
                prop_assert!(reply.answer.iter().all(|set| set.ttl <= 0x7fff_ffff));
            }
        }
    }
}
