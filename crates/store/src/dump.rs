//! The cache as text and back, in the form of Unbound's `dump_cache` and `load_cache`.
//!
//! It owns the lines:
//!
//! ```text
//! START_RRSET_CACHE
//! ;rrset 300 1 0 8 0                              TTL left, records, signatures, trust, security
//! www.example. 300 IN A 192.0.2.1                   (tabs between the words)
//! END_RRSET_CACHE
//! START_MSG_CACHE
//! msg www.example. IN A 33152 1 300 0 1 0 0       flags, questions, TTL left, security, sets in each section
//! www.example. IN A 0                             its sets: 1 is an NSEC record of an apex, 4 the SOA record of a no
//! END_MSG_CACHE
//! EOF
//! ```
//!
//! Only what is fresh is written, and nothing that was asked for with checking disabled: the form has no place for that.
//! What is read is believed as much as it says of itself, so it must come from the operator; yet nothing malformed gets in:
//! a set is taken whole or not at all, and a message only if all its sets are there and its links lead from one to the next.

use std::fmt::Write;

use wire::{Answer, Class, Name, Rcode, RdataSet, Record, Rrset, Rtype};

use crate::Millis;
use crate::cache::{Arrival, Chain, Put, Store, known, second};
use crate::message::{Key, Message};
use crate::sets::{Kind, KnownSet, Security, Set, Trust};
use crate::shard;

/// Flags of a remembered answer: a reply to a query with recursion, desired and available.
const FLAGS: u16 = 0x8180;
/// Authoritative answer, authentic data, and the code, in the flags.
const FLAG_AA: u16 = 0x0400;
const FLAG_AD: u16 = 0x0020;
const RCODE_BITS: u16 = 0x000f;
/// The flag of a set in a message: the NSEC record of a zone's apex.
const APEX: u8 = 1;
/// The flag of a set in a message: the SOA record of a negative answer.
const NEGATIVE: u8 = 4;
/// Seconds that any TTL may have (RFC 2181 8).
const MAX_TTL: u32 = 0x7fff_ffff;
/// Most records of a set and sets of a message that are read: what one DNS message can hold (`wire` has the same bounds).
const MAX_RECORDS: usize = 4096;

/// What a [`Store::load`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Sets that are in the store now, or that lost to a better one that was.
    pub rrsets: usize,
    /// Messages that are in the store now.
    pub messages: usize,
    /// Lines that were not understood, or whose set or message was not taken.
    pub refused: usize,
}

impl Store {
    /// Writes one part of the cache as text; parts count from 0. False, and nothing is written, behind the last. All parts one
    /// after the other are one dump. Entries that come or go meanwhile are in it or not.
    pub fn dump(&self, part: usize, now: Millis, out: &mut String) -> bool {
        let now_s = second(now);
        let sets = self.sets.len();
        if part == 0 {
            out.push_str("START_RRSET_CACHE\n");
        }
        if let Some(shard) = self.sets.get(part) {
            shard::each(shard, |set| {
                let before = out.len();
                if write_set(out, set, now_s).is_none() {
                    out.truncate(before);
                }
            });
            if part + 1 == sets {
                out.push_str("END_RRSET_CACHE\nSTART_MSG_CACHE\n");
            }
            return true;
        }
        let Some(shard) = self.messages.get(part - sets) else {
            return false;
        };
        shard::each(shard, |message| {
            let before = out.len();
            if self.write_message(out, message, now_s).is_none() {
                out.truncate(before);
            }
        });
        if part - sets + 1 == self.messages.len() {
            out.push_str("END_MSG_CACHE\nEOF\n");
        }
        true
    }

    /// `None` if it cannot be written; then some of it may have been.
    fn write_message(&self, out: &mut String, message: &Message, now_s: u32) -> Option<()> {
        let left = message.expires.checked_sub(now_s).filter(|left| *left > 0 && !message.cd())?;
        let parts = message.parts()?;
        let mut flags = FLAGS | message.rcode.low();
        flags |= if message.aa() { FLAG_AA } else { 0 };
        flags |= if message.security == Security::Secure { FLAG_AD } else { 0 };
        let [answer, authority] = [parts.answer, parts.authority];
        let total = u16::try_from(parts.handles.len()).ok()?;
        self.asked(message, |name, _| {
            let (class, qtype, security) = (message.qclass(), message.qtype(), message.security as u8);
            let (second, third) = (authority - answer, total - authority);
            writeln!(out, "msg {name} {class} {qtype} {flags} 1 {left} {security} {answer} {second} {third}")
        })?
        .ok()?;
        for handle in parts.handles.iter() {
            let written = self.look_at(handle, |set| {
                let view = set.view().filter(|_| now_s < set.expires)?;
                let flag = match set.kind {
                    kind if kind.is_apex() => APEX,
                    kind if kind.is_negative() => NEGATIVE,
                    _ => 0,
                };
                Some(writeln!(out, "{} {} {} {flag}", view.owner, view.class, view.rtype))
            });
            written?.ok()?;
        }
        Some(())
    }

    /// Reads what [`Store::dump`] or Unbound wrote. Sets take their place by the same rule as sets that come in replies; a
    /// message does not take the place of one that is fresh. What is expired or not understood is left out and counted.
    /// Pieces of a dump may be loaded one after the other, sets before the messages that need them.
    pub fn load(&self, text: &str, now: Millis) -> Loaded {
        let epoch = self.epoch();
        let mut loaded = Loaded::default();
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            // What belongs to a header are the lines up to the next one.
            let own: Vec<&str> = std::iter::from_fn(|| lines.next_if(|next| kind_of(next) == Line::Other)).collect();
            let (taken, refused) = match kind_of(line) {
                Line::Set(header) => {
                    let taken = self.load_set(header, &own, now, epoch).is_some();
                    loaded.rrsets += usize::from(taken);
                    (taken, 1 + own.len())
                }
                Line::Message(header) => {
                    let taken = self.load_message(header, &own, now, epoch).is_some();
                    loaded.messages += usize::from(taken);
                    (taken, 1 + own.len())
                }
                Line::Frame => (own.is_empty(), own.len()),
                Line::Other => (false, 1 + own.len()),
            };
            loaded.refused += if taken { 0 } else { refused };
        }
        loaded
    }

    fn load_set(&self, header: &str, lines: &[&str], now: Millis, epoch: u64) -> Option<()> {
        let mut words = header.split_ascii_whitespace().peekable();
        let apex = words.next_if_eq(&"nsec_apex").is_some();
        let ttl = words.next()?.parse().ok().filter(|ttl| (1..=MAX_TTL).contains(ttl))?;
        let (records, sigs): (usize, usize) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let trust = Trust::from_number(words.next()?.parse().ok()?)?;
        let security = Security::from_number(words.next()?.parse().ok()?)?;
        if records == 0 || records.checked_add(sigs)? != lines.len() || lines.len() > MAX_RECORDS {
            return None;
        }
        let mut lines = lines.iter().map(|line| wire::parse_record(line, 0));
        let first = lines.next()?.ok()?;
        let (mut data, mut signatures) = (RdataSet::one(&first.rdata), RdataSet::new());
        for (nth, record) in (1..).zip(lines) {
            let record = record.ok().filter(|record| record.owner == first.owner && record.class == first.class)?;
            let into = match nth < records {
                true => Some(&mut data).filter(|_| record.rtype == first.rtype)?,
                false => Some(&mut signatures).filter(|_| covers(&record, first.rtype))?,
            };
            if record.rdata.is_empty() || into.contains(&record.rdata) || !into.push(&record.rdata) {
                return None;
            }
        }
        if first.rdata.is_empty() || !is_data(first.rtype, first.class) {
            return None;
        }
        let kind = match first.rtype {
            // Beside a negative answer, which is where SOA records stand in authority sections.
            Rtype::SOA if matches!(trust, Trust::AuthorityAa | Trust::AuthorityNoAa) => Kind::new(false).negative(),
            Rtype::NSEC if apex => Kind::new(false).apex(),
            _ => Kind::new(false),
        };
        let set = Rrset::new(first.owner, first.rtype, first.class, ttl, data).with_sigs(signatures);
        let arrival = Arrival { now_s: second(now), epoch, leeway_s: 0, kind, trust, security };
        self.intern(&set, ttl, arrival).map(|_| ())
    }

    fn load_message(&self, header: &str, lines: &[&str], now: Millis, epoch: u64) -> Option<()> {
        let mut words = header.split_ascii_whitespace();
        let (name, class, qtype) = question(&mut words)?;
        let flags: u16 = words.next()?.parse().ok()?;
        let questions: u16 = words.next()?.parse().ok()?;
        let ttl = words.next()?.parse().ok().filter(|ttl| (1..=MAX_TTL).contains(ttl))?;
        let mut security = Security::from_number(words.next()?.parse().ok()?)?;
        let mut count = || words.next()?.parse::<u16>().ok().map(usize::from);
        let counts = [count()?, count()?, count()?];
        let rcode = Rcode(flags & RCODE_BITS);
        let useful = matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN);
        let askable = is_data(qtype, class) || qtype == Rtype::ANY && is_data(Rtype::A, class);
        if questions != 1 || !useful || !askable || counts.iter().sum::<usize>() != lines.len() {
            return None;
        }
        let mut sets = lines.iter().map(|line| self.load_reference(line, class, now));
        let mut answer = Answer { aa: flags & FLAG_AA != 0, ..Answer::new(rcode) };
        for (nth, section) in
            [&mut answer.answer, &mut answer.authority, &mut answer.additional].into_iter().enumerate()
        {
            for known in sets.by_ref().take(counts.get(nth).copied()?) {
                let known = known?;
                // No message is more certain than its parts.
                security = if nth < 2 { security.min(known.security) } else { security };
                section.push(known.set);
            }
        }
        // A set of the type asked for that is reached is the answer, even if it is a link itself.
        let asked = |set: &Rrset| set.rtype == qtype || qtype == Rtype::ANY;
        let unfinished = answer.answer.last().is_some_and(|set| !asked(set));
        if !Chain::reaches_all(name.as_ref(), &answer.answer)
            || unfinished && rcode == Rcode::NOERROR && answer.authority.is_empty()
        {
            return None;
        }
        let key = Key { name: name.lower(), qtype, qclass: class, cd: false };
        if self.get(key.name.as_ref(), qtype, class, false, now, None).is_some() {
            return None;
        }
        self.put(key, &answer, Put { now, ttl, authoritative: false, security, epoch, leeway_s: 0 });
        Some(())
    }

    /// The set a line of a message names, if it is known and fresh.
    fn load_reference(&self, line: &str, class: Class, now: Millis) -> Option<KnownSet> {
        let mut words = line.split_ascii_whitespace();
        let (name, own_class, rtype) = question(&mut words)?;
        let flags: u8 = words.next()?.parse().ok()?;
        let kind = Kind::new(false);
        let kinds = [
            (flags & NEGATIVE != 0).then(|| kind.negative()),
            Some(if flags & APEX != 0 { kind.apex() } else { kind }),
        ];
        let find = |kind| self.find_set(name.as_ref(), rtype, class, kind, |set| known(set, second(now)));
        kinds.into_iter().flatten().filter(|_| own_class == class).find_map(find)
    }
}

/// What a line of a dump is.
#[derive(PartialEq)]
enum Line<'a> {
    Set(&'a str),
    Message(&'a str),
    Frame,
    Other,
}

fn kind_of(line: &str) -> Line<'_> {
    const FRAMES: [&str; 5] = ["START_RRSET_CACHE", "END_RRSET_CACHE", "START_MSG_CACHE", "END_MSG_CACHE", "EOF"];
    match (line.strip_prefix(";rrset"), line.strip_prefix("msg ")) {
        (Some(header), _) => Line::Set(header),
        (_, Some(header)) => Line::Message(header),
        _ if FRAMES.contains(&line) => Line::Frame,
        _ => Line::Other,
    }
}

/// Name, class and type.
fn question<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<(Name, Class, Rtype)> {
    Some((Name::from_text(words.next()?).ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Whether a record is a signature over records of this type.
fn covers(record: &Record, rtype: Rtype) -> bool {
    record.rtype == Rtype::RRSIG && record.rdata.first_chunk::<2>().is_some_and(|of| u16::from_be_bytes(*of) == rtype.0)
}

/// Whether type and class name data, of which something can be remembered (RFC 6895 3.1).
fn is_data(rtype: Rtype, class: Class) -> bool {
    let meta = rtype.0 == 0 || rtype == Rtype::OPT || (128..=255).contains(&rtype.0);
    !meta && !matches!(class.0, 0 | 254 | 255)
}

/// `None` if the set is not to be written; then some of it may have been.
fn write_set(out: &mut String, set: &Set, now_s: u32) -> Option<()> {
    let left = set.expires.checked_sub(now_s).filter(|left| *left > 0 && !set.kind.cd())?;
    let view = set.view()?;
    let (data, sigs) = view.data()?;
    let apex = if set.kind.is_apex() { " nsec_apex" } else { "" };
    let (trust, security) = (set.trust as u8, set.security as u8);
    writeln!(out, ";rrset{apex} {left} {} {} {trust} {security}", data.len(), sigs.len()).ok()?;
    let records = data.iter().map(|rdata| (view.rtype, rdata)).chain(sigs.iter().map(|sig| (Rtype::RRSIG, sig)));
    for (rtype, rdata) in records {
        let text = wire::rdata_to_text(rtype, rdata);
        writeln!(out, "{}\t{left}\t{}\t{rtype}\t{text}", view.owner, view.class).ok()?;
    }
    Some(())
}
