//! Messages out: [`render`] makes the reply to a client, [`question`] the query to an upstream server.
//!
//! It owns what of an [`Answer`] is sent, how small it is made and what happens when it does not fit, as Unbound 1.17.1
//! does it. It never allocates, and never decides what the answer is.
//!
//! When the room ends (seen on the real server): RRsets are sent whole or not at all; if one of the answer or authority
//! section does not fit, TC is set and nothing after it is sent; if one of the additional section does not fit, it and
//! those after it are left out without TC. Room for OPT and its options, but for EDE, is set aside beforehand; EDE is
//! added if there is room left, first with its text, then without.

use crate::name::NameRef;
use crate::query::{HEADER, Header, Query, opt_record, put};
use crate::rdata::{Field, layout};
use crate::rrset::{Answer, Ede, MAX_EDE_TEXT, RdataSet, Rrset};
use crate::types::{Class, Rcode, Rtype, flag, option};

/// Names remembered as targets of compression pointers in one message. More gain little: owners repeat, and the search
/// costs up to this many looks a label.
const TARGETS: usize = 64;
/// Most names compared in one message while looking for compression targets; after that names are written whole. A
/// message of a few hundred records needs a tenth; one made to make us search stops here (CVE-2026-44390).
const COMPARISONS: u32 = 8192;
/// Compression pointers have 14 bits: names behind this offset cannot be targets (RFC 1035 4.1.4).
const REACH: usize = 0x4000;

/// How an answer is rendered.
#[derive(Clone, Copy, Debug)]
pub struct Render<'a> {
    /// Octets the message may have; `out` may be smaller, then its length counts.
    pub max_size: usize,
    /// Leave out what the client does not need (Unbound's `minimal-responses`): authority and additional section, if the
    /// answer holds the type asked for, that is not NS, and no NSEC or NSEC3 proves a wildcard.
    pub minimal: bool,
    /// Start each RRset at this record, modulo its size (Unbound's `rrset-roundrobin`, which gives the message id).
    pub rotate: Option<u32>,
    /// Seconds to take off every TTL, which ends at 0.
    pub age: u32,
    /// Recursion available.
    pub ra: bool,
    /// The OPT record; given when, and only when, the query had one.
    pub edns: Option<EdnsOut<'a>>,
}

/// The OPT record of a reply; version 0, DO as in the query.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdnsOut<'a> {
    /// Octets of UDP payload this server takes.
    pub udp_size: u16,
    /// The cookie option: client and server part (RFC 9018).
    pub cookie: Option<[u8; 24]>,
    /// The NSID option (RFC 5001).
    pub nsid: Option<&'a [u8]>,
    /// The TCP keepalive option, in units of 100 ms (RFC 7828).
    pub keepalive: Option<u16>,
    /// Whether the answer's EDE is sent (RFC 8914).
    pub ede: bool,
}

/// Writes the reply to `q` into `out` and returns its octets; 0 if not even header and question fit.
///
/// RD and CD are copied; AD is set if the answer has it and the query had AD or DO (RFC 6840 5.8). DNSSEC records are
/// left out unless DO is set or they are what was asked for (RFC 4035 3.2.1).
pub fn render(q: &Query, a: &Answer, how: &Render<'_>, out: &mut [u8]) -> usize {
    let room = out.len().min(how.max_size).min(usize::from(u16::MAX));
    let Some(out) = out.get_mut(..room) else {
        return 0;
    };
    let mut w = Writer {
        out,
        at: HEADER,
        limit: room,
        targets: [Target { at: 0, len: 0, flat: false }; TARGETS],
        known: 0,
        left: COMPARISONS,
    };
    if w.question_name(q.qname.as_ref()).and_then(|()| w.put(&numbers(q.qtype, q.qclass))).is_none() {
        return 0;
    }
    let edns = how.edns.as_ref().and_then(|edns| OptPlan::new(edns, room - w.at));
    w.limit = room - edns.as_ref().map_or(0, OptPlan::octets);

    let mut flags = q.flags & (flag::RD | flag::CD) | flag::QR | a.rcode.low();
    flags |= if a.aa { flag::AA } else { 0 };
    flags |= if how.ra { flag::RA } else { 0 };
    flags |= if a.ad && (q.ad() || q.do_bit()) { flag::AD } else { 0 };

    let mut counts = [1, 0, 0, 0];
    let [_, answers, authorities, additionals] = &mut counts;
    let picks = Picks { qtype: q.qtype, dnssec: q.do_bit(), rotate: how.rotate, age: how.age };
    let needed = w.section(&a.answer, true, &picks, answers).and_then(|()| {
        if how.minimal && positive(a, q.qtype) {
            return Some(true);
        }
        w.section(&a.authority, false, &picks, authorities).map(|()| false)
    });
    match needed {
        None => flags |= flag::TC,
        Some(true) => {}
        // Additional records are a courtesy: what does not fit is left out (RFC 2181 9).
        Some(false) => w.additional(&a.additional, &picks, additionals).unwrap_or(()),
    }
    if let Some(edns) = edns {
        w.limit = room;
        let ede = a.ede.as_ref().filter(|_| how.edns.is_some_and(|edns| edns.ede));
        if w.opt(&edns, a.rcode, q.do_bit(), ede).is_some() {
            *additionals += 1;
        }
    }
    let end = w.at;
    Header { id: q.id, flags, counts }.write(out).map_or(0, |_| end)
}

/// Writes a query for an upstream server into `out` and returns its octets, 0 if they do not fit. `edns` is the UDP
/// payload size to announce and the DO bit; `None` leaves OPT out.
pub fn question(
    out: &mut [u8],
    id: u16,
    flags: u16,
    name: NameRef<'_>,
    qtype: Rtype,
    qclass: Class,
    edns: Option<(u16, bool)>,
) -> usize {
    Header { id, flags, counts: [1, 0, 0, u16::from(edns.is_some())] }
        .write(out)
        .and_then(|at| put(out, at, name.as_wire()))
        .and_then(|at| put(out, at, &numbers(qtype, qclass)))
        .and_then(|at| match edns {
            Some((size, do_bit)) => put(out, at, &opt_record(size, Rcode::NOERROR, do_bit, 0)),
            None => Some(at),
        })
        .unwrap_or(0)
}

/// Gives a query that [`question`] wrote its one EDNS option. One without an OPT record stays as it is.
pub fn add_option(query: &mut Vec<u8>, code: u16, data: &[u8]) {
    let Ok(len) = u16::try_from(data.len()) else { return };
    let has_opt = query.get(10..HEADER) == Some(&[0, 1]);
    let Some((all, into)) = len.checked_add(4).zip(query.last_chunk_mut::<2>()).filter(|_| has_opt) else { return };
    *into = all.to_be_bytes();
    query.extend(code.to_be_bytes());
    query.extend(len.to_be_bytes());
    query.extend(data);
}

/// Type and class as they stand in questions and records.
fn numbers(rtype: Rtype, class: Class) -> [u8; 4] {
    let ([a, b], [c, d]) = (rtype.0.to_be_bytes(), class.0.to_be_bytes());
    [a, b, c, d]
}

/// Whether `minimal` applies: the answer is what was asked for and nothing else is needed to use or to validate it.
fn positive(a: &Answer, qtype: Rtype) -> bool {
    a.rcode == Rcode::NOERROR
        && qtype != Rtype::NS
        && a.answer.iter().any(|set| set.rtype == qtype)
        && !a.authority.iter().any(|set| matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3))
}

/// What decides which records are sent, and how.
#[derive(Clone, Copy)]
struct Picks {
    qtype: Rtype,
    dnssec: bool,
    rotate: Option<u32>,
    age: u32,
}

impl Picks {
    fn takes(&self, rtype: Rtype, in_answer: bool) -> bool {
        let asked_for = in_answer && (self.qtype == Rtype::ANY || self.qtype == rtype);
        self.dnssec || asked_for || !rtype.is_dnssec()
    }
}

/// The options that an OPT record will have for sure, and their size.
struct OptPlan<'a> {
    edns: &'a EdnsOut<'a>,
    /// Octets of options; 0 also when there was no room for them, and none is written.
    options: u16,
}

impl<'a> OptPlan<'a> {
    /// All options if they fit `room`; else the OPT record alone, else none: a client that asks for its packet to be
    /// filled with options still gets an answer.
    fn new(edns: &'a EdnsOut<'a>, room: usize) -> Option<OptPlan<'a>> {
        let cookie = edns.cookie.map_or(0, |cookie| cookie.len() + 4);
        let nsid = edns.nsid.map_or(0, |nsid| nsid.len() + 4);
        let keepalive = edns.keepalive.map_or(0, |_| 6);
        let options = u16::try_from(cookie + nsid + keepalive).unwrap_or(u16::MAX);
        let all = OptPlan { edns, options };
        if all.octets() <= room {
            return Some(all);
        }
        let bare = OptPlan { edns, options: 0 };
        (bare.octets() <= room).then_some(bare)
    }

    fn octets(&self) -> usize {
        11 + usize::from(self.options)
    }
}

/// A name that stands in the message: where, and how long it is uncompressed.
#[derive(Clone, Copy)]
struct Target {
    at: u16,
    len: u8,
    /// It stands there whole, without a pointer.
    flat: bool,
}

/// A message being written. Every method returns `None` when the room ends; the caller goes back to where it was.
struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
    limit: usize,
    targets: [Target; TARGETS],
    known: usize,
    left: u32,
}

impl Writer<'_> {
    fn put(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.at + octets.len();
        if end > self.limit {
            return None;
        }
        self.out.get_mut(self.at..end)?.copy_from_slice(octets);
        self.at = end;
        Some(())
    }

    /// Writes the name of the question, before which there is nothing to point at, and remembers it and what it ends in.
    fn question_name(&mut self, name: NameRef<'_>) -> Option<()> {
        let end = self.at + name.len();
        self.put(name.as_wire())?;
        for (slot, part) in self.targets.iter_mut().zip(name.ancestors()) {
            if part.is_root() {
                break;
            }
            *slot =
                Target { at: u16::try_from(end - part.len()).ok()?, len: u8::try_from(part.len()).ok()?, flat: true };
            self.known += 1;
        }
        Some(())
    }

    /// Writes a name; if `compress`, with a pointer to the longest part of it that stands in the message already, and
    /// remembers the rest as targets.
    fn name(&mut self, name: NameRef<'_>, compress: bool) -> Option<()> {
        if !compress {
            return self.put(name.as_wire());
        }
        let mut rest = name;
        while let (Some(parent), Some(label)) = (rest.parent(), rest.as_wire().get(..rest.len())) {
            if let Some(at) = self.find(rest) {
                return self.put(&(0xc000 | at).to_be_bytes());
            }
            let own = label.get(..rest.len() - parent.len())?;
            let here = self.at;
            self.put(own)?;
            if let (true, Ok(at), Ok(len)) = (here < REACH, u16::try_from(here), u8::try_from(rest.len()))
                && let Some(slot) = self.targets.get_mut(self.known)
            {
                *slot = Target { at, len, flat: false };
                self.known += 1;
            }
            rest = parent;
        }
        self.put(&[0])
    }

    /// Where `name` stands in the message, any case.
    fn find(&mut self, name: NameRef<'_>) -> Option<u16> {
        for target in self.targets.get(..self.known)? {
            if usize::from(target.len) != name.len() {
                continue;
            }
            self.left = self.left.checked_sub(1)?;
            let at = usize::from(target.at);
            let equal = if target.flat {
                // Length octets are at most 63 and so never letters: names can be compared without a look at labels.
                self.out.get(at..at + name.len()).is_some_and(|there| there.eq_ignore_ascii_case(name.as_wire()))
            } else {
                self.stands_at(at, name)
            };
            if equal {
                return Some(target.at);
            }
        }
        None
    }

    /// Whether the name that we wrote at `at` is `name`. Our own pointers go backwards, and each label read is one of
    /// `name` too, so this ends.
    fn stands_at(&self, at: usize, name: NameRef<'_>) -> bool {
        let mut at = at;
        let mut labels = name.labels();
        loop {
            match self.out.get(at) {
                Some(&high @ 0xc0..) => {
                    let Some(&low) = self.out.get(at + 1) else {
                        return false;
                    };
                    at = usize::from(high & 0x3f) << 8 | usize::from(low);
                }
                Some(&len) => {
                    let end = at + 1 + usize::from(len);
                    match (labels.next(), len) {
                        (None, 0) => return true,
                        (Some(label), 1..)
                            if self.out.get(at + 1..end).is_some_and(|l| l.eq_ignore_ascii_case(label)) =>
                        {
                            at = end;
                        }
                        _ => return false,
                    }
                }
                None => return false,
            }
        }
    }

    /// Writes the RRsets of a section that are to be sent, each followed by its signatures, and counts the records;
    /// `None` when one did not fit, those before it written.
    fn section(&mut self, sets: &[Rrset], in_answer: bool, picks: &Picks, count: &mut u16) -> Option<()> {
        let signed = picks.takes(Rtype::RRSIG, in_answer);
        for set in sets.iter().filter(|set| picks.takes(set.rtype, in_answer)) {
            self.whole(count, |w| {
                let data = w.records(set, &set.rdata, set.rtype, picks)?;
                Some(data + if signed { w.signatures(set, picks)? } else { 0 })
            })?;
        }
        Some(())
    }

    /// The additional section: signatures come after all data, so that they are the first to have no room.
    fn additional(&mut self, sets: &[Rrset], picks: &Picks, count: &mut u16) -> Option<()> {
        for set in sets.iter().filter(|set| picks.takes(set.rtype, false)) {
            self.whole(count, |w| w.records(set, &set.rdata, set.rtype, picks))?;
        }
        if picks.dnssec {
            for set in sets {
                self.whole(count, |w| w.signatures(set, picks))?;
            }
        }
        Some(())
    }

    /// Lets `write` write and adds the records it tells to `count`; if it had no room, all is as before.
    fn whole(&mut self, count: &mut u16, write: impl FnOnce(&mut Self) -> Option<u16>) -> Option<()> {
        let (at, known) = (self.at, self.known);
        let Some(records) = write(self) else {
            (self.at, self.known) = (at, known);
            return None;
        };
        *count = count.saturating_add(records);
        Some(())
    }

    /// Writes the signatures over a set, in the order they came in.
    fn signatures(&mut self, set: &Rrset, picks: &Picks) -> Option<u16> {
        self.records(set, &set.sigs, Rtype::RRSIG, &Picks { rotate: None, ..*picks })
    }

    /// Writes records of one set and returns how many.
    fn records(&mut self, set: &Rrset, data: &RdataSet, rtype: Rtype, picks: &Picks) -> Option<u16> {
        let ttl = set.ttl.saturating_sub(picks.age).to_be_bytes();
        let layout = layout(rtype);
        let compressed = layout.contains(&Field::Compressed);
        let len = u16::try_from(data.len()).ok()?;
        if len == 0 {
            return Some(0);
        }
        let first = if len > 1 { picks.rotate.map_or(0, |n| n % u32::from(len)) } else { 0 };
        let first = usize::try_from(first).ok()?;
        let records = data.iter().skip(first).chain(data.iter().take(first));
        let [n1, n2, n3, n4] = numbers(rtype, set.class);
        let [t1, t2, t3, t4] = ttl;
        // The owner is searched for once: the records after the first point where the first one points or stands.
        let owner = set.owner.as_ref();
        let mut pointer = self.find(owner).map(|at| (0xc000 | at).to_be_bytes());
        for rdata in records {
            let [l1, l2] = u16::try_from(rdata.len()).ok()?.to_be_bytes();
            match pointer {
                Some([p1, p2]) => self.put(&[p1, p2, n1, n2, n3, n4, t1, t2, t3, t4, l1, l2])?,
                None => {
                    let here = self.at;
                    self.name(owner, true)?;
                    pointer = self.pointer_to(here);
                    self.put(&[n1, n2, n3, n4, t1, t2, t3, t4, l1, l2])?;
                }
            }
            let start = self.at;
            if compressed && self.compressed(layout, rdata).is_some() {
                let len = u16::try_from(self.at - start).ok()?;
                put(self.out, start - 2, &len.to_be_bytes())?;
            } else {
                // Opaque, or not of the layout of its type, as text in the generic form may be: sent as it is.
                self.at = start;
                self.put(rdata)?;
            }
        }
        Some(len)
    }

    /// What points to the name just written at `at`; `None` if it is the root or out of reach, and so written anew.
    fn pointer_to(&self, at: usize) -> Option<[u8; 2]> {
        match (self.out.get(at)?, self.out.get(at + 1)) {
            (0, _) => None,
            (&high @ 0xc0.., Some(&low)) => Some([high, low]),
            _ if at < REACH => u16::try_from(at).ok().map(|at| (0xc000 | at).to_be_bytes()),
            _ => None,
        }
    }

    /// Writes data with names in them, compressed; `None` if they have not this layout or there is no room.
    fn compressed(&mut self, layout: &[Field], rdata: &[u8]) -> Option<()> {
        let known = self.known;
        let mut rest = rdata;
        let mut write = |w: &mut Self| {
            for field in layout {
                let taken = match *field {
                    Field::Compressed | Field::Plain => {
                        let (name, after) = NameRef::split_from(rest).ok()?;
                        w.name(name, *field == Field::Compressed)?;
                        rest = after;
                        continue;
                    }
                    Field::Fixed(octets) => octets,
                    Field::Text => 1 + usize::from(*rest.first()?),
                    Field::Rest => rest.len(),
                };
                let (octets, after) = rest.split_at_checked(taken)?;
                w.put(octets)?;
                rest = after;
            }
            rest.is_empty().then_some(())
        };
        let written = write(self);
        if written.is_none() {
            self.known = known;
        }
        written
    }

    /// Writes the OPT record, with EDE if that still fits.
    fn opt(&mut self, plan: &OptPlan<'_>, rcode: Rcode, do_bit: bool, ede: Option<&Ede>) -> Option<()> {
        let room = self.limit - self.at - plan.octets();
        let ede = ede.and_then(|ede| {
            let text = clip(&ede.text, MAX_EDE_TEXT);
            [text, ""].into_iter().find(|text| text.len() + 6 <= room).map(|text| (ede.code, text))
        });
        let options = plan.options + ede.map_or(0, |(_, text)| u16::try_from(text.len() + 6).unwrap_or(0));
        self.put(&opt_record(plan.edns.udp_size, rcode, do_bit, options))?;
        if options == 0 {
            return Some(());
        }
        let edns = if plan.options == 0 { &EdnsOut::default() } else { plan.edns };
        let mut option = |code: u16, parts: [&[u8]; 2]| {
            let len = u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).ok()?;
            self.put(&code.to_be_bytes())?;
            self.put(&len.to_be_bytes())?;
            parts.into_iter().try_for_each(|part| self.put(part))
        };
        if let Some(nsid) = edns.nsid {
            option(option::NSID, [nsid, &[]])?;
        }
        if let Some(cookie) = edns.cookie {
            option(option::COOKIE, [&cookie, &[]])?;
        }
        if let Some(time) = edns.keepalive {
            option(option::KEEPALIVE, [&time.to_be_bytes(), &[]])?;
        }
        if let Some((code, text)) = ede {
            option(option::EDE, [&code.to_be_bytes(), text.as_bytes()])?;
        }
        Some(())
    }
}

/// At most `most` octets of `text`, no character cut.
fn clip(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Reply;
    use crate::name::{Name, NameBuf};
    use crate::query::EdnsQuery;
    use crate::text::parse_record;
    use proptest::prelude::*;

    fn query(name: &str, qtype: Rtype, edns: Option<bool>) -> Query {
        let edns = edns.map(|do_bit| EdnsQuery { udp_size: 1232, do_bit, ..EdnsQuery::default() });
        let qname = NameBuf::from_text(name).unwrap();
        Query { id: 0x1234, flags: 0x0100, qname, qtype, qclass: Class::IN, edns }
    }

    /// RRsets of record lines; equal owners and types next to each other are one set.
    fn sets(lines: &[&str]) -> Vec<Rrset> {
        let mut sets: Vec<Rrset> = Vec::new();
        for line in lines {
            let r = parse_record(line, 3600).unwrap();
            match sets.last_mut().filter(|set| set.owner == r.owner && set.rtype == r.rtype) {
                Some(set) => assert!(set.make_mut().rdata.push(&r.rdata)),
                None => {
                    sets.push(Rrset::new(r.owner, r.rtype, r.class, r.ttl.unwrap(), RdataSet::one(&r.rdata)));
                }
            }
        }
        sets
    }

    const HOW: Render<'static> = Render { max_size: 1232, minimal: true, rotate: None, age: 0, ra: true, edns: None };
    const OPT: EdnsOut<'static> = EdnsOut { udp_size: 1232, cookie: None, nsid: None, keepalive: None, ede: true };

    fn rendered(q: &Query, a: &Answer, how: &Render<'_>) -> Vec<u8> {
        let mut out = vec![0xee; 65535];
        let written = render(q, a, how, &mut out);
        out.truncate(written);
        out
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn unbound_negative_answer_octet_for_octet() {
        let soa = sets(&["x.test. 77 SOA ns.X.test. host.x.TEST. 1 2 3 4 77"]);
        let a = Answer { aa: true, authority: soa, ..Answer::new(Rcode::NXDOMAIN) };
        let want = "1234858300010000000100000\
            44e6f7065015804746573540000010001c011000600010000004d0020026e73c01104686f7374c011000000010000000200000003000000040000004d";
        assert_eq!(rendered(&query("Nope.X.tesT", Rtype::A, None), &a, &HOW), hex(&want.replace(' ', "")));
    }

    #[test]
    fn unbound_compresses_the_types_of_rfc_1035_alone() {
        for (qtype, line, want) in [
            (Rtype::MX, "mx.x.test. 100 MX 10 b.x.test.", "000a0162c00f"),
            (Rtype::SRV, "srv.x.test. 100 SRV 10 1 1 b.x.test.", "000a0001000101620178047465737400"),
            (Rtype::CNAME, "mx.x.test. 100 CNAME Other.X.Test.", "054f74686572c00f"),
        ] {
            let a = Answer { answer: sets(&[line]), ..Answer::default() };
            let out = rendered(&query(line.split(' ').next().unwrap(), qtype, None), &a, &HOW);
            assert!(out.ends_with(&hex(want)), "{line}: {out:02x?}");
        }
    }

    #[test]
    fn rfc4343_the_question_keeps_the_clients_case() {
        let a = Answer { answer: sets(&["a.x.test. 100 A 192.0.2.1"]), ..Answer::default() };
        let out = rendered(&query("A.X.TesT", Rtype::A, None), &a, &HOW);
        assert_eq!(out[12..22], *b"\x01A\x01X\x04TesT\0");
        assert_eq!(out[26..28], [0xc0, 12]);
    }

    #[test]
    fn flags_follow_query_and_answer() {
        let a = Answer { ad: true, aa: true, ..Answer::default() };
        for (flags, edns, ra, want) in [
            (0x0100, None, true, 0x8580),
            (0x0000, None, false, 0x8400),
            (0x0170, None, true, 0x85b0),
            (0x0110, Some(true), true, 0x85b0),
            (0x0110, Some(false), true, 0x8590),
        ] {
            let q = Query { flags, ..query("x.test", Rtype::A, edns) };
            let out = rendered(&q, &a, &Render { ra, ..HOW });
            assert_eq!(u16::from_be_bytes([out[2], out[3]]), want, "{flags:04x}");
        }
    }

    #[test]
    fn unbound_minimal_responses() {
        let answer = sets(&["x.test. 100 A 192.0.2.1"]);
        let ns = sets(&["x.test. 100 NS ns.x.test."]);
        let nsec = sets(&["x.test. 100 NSEC y.test. A"]);
        let glue = sets(&["ns.x.test. 100 A 192.0.2.2"]);
        let counts = |q: &Query, a: &Answer, minimal: bool| {
            let out = rendered(q, a, &Render { minimal, ..HOW });
            [out[7], out[9], out[11]]
        };
        let q = query("x.test", Rtype::A, None);
        let full =
            Answer { answer: answer.clone(), authority: ns.clone(), additional: glue.clone(), ..Answer::default() };
        assert_eq!(counts(&q, &full, true), [1, 0, 0]);
        assert_eq!(counts(&q, &full, false), [1, 1, 1]);
        let nodata = Answer { authority: ns.clone(), additional: glue.clone(), ..Answer::default() };
        assert_eq!(counts(&q, &nodata, true), [0, 1, 1]);
        let priming = Answer { answer: ns, additional: glue, ..Answer::default() };
        assert_eq!(counts(&query("x.test", Rtype::NS, None), &priming, true), [1, 0, 1]);
        let wildcard = Answer { answer, authority: nsec, ..Answer::default() };
        assert_eq!(counts(&query("x.test", Rtype::A, Some(true)), &wildcard, true)[1], 1);
    }

    #[test]
    fn rfc4035_3_2_1_signatures_only_with_do() {
        let sig = "x.test. 100 RRSIG A 13 2 100 20300101000000 20200101000000 1 x.test. aaaa";
        let a = Answer {
            answer: sets(&["x.test. 100 A 192.0.2.1", sig]),
            authority: sets(&["x.test. 100 NS ns.x.test.", "x.test. 100 NSEC y.test. A"]),
            ..Answer::default()
        };
        let counts = |qtype, edns| {
            let out = rendered(&query("x.test", qtype, edns), &a, &Render { minimal: false, ..HOW });
            [out[7], out[9]]
        };
        assert_eq!(counts(Rtype::A, None), [1, 1]);
        assert_eq!(counts(Rtype::A, Some(false)), [1, 1]);
        assert_eq!(counts(Rtype::A, Some(true)), [2, 2]);
        assert_eq!(counts(Rtype::RRSIG, None), [2, 1]);
        assert_eq!(counts(Rtype::ANY, None), [2, 1]);
    }

    #[test]
    fn unbound_sends_signatures_after_their_set_and_last_in_the_additional_section() {
        let signed = |lines: &[&str], data: &str| {
            let sigs = RdataSet::from_iter([&[1, 1][..], &[2, 2], &[3, 3]]);
            vec![sets(lines).remove(0).with_sigs(sigs), sets(&[data]).remove(0)]
        };
        let a = Answer {
            answer: signed(&["x.test. 100 A 192.0.2.1", "x.test. 100 A 192.0.2.2"], "x.test. 100 TXT x"),
            additional: signed(&["y.test. 100 A 192.0.2.3"], "z.test. 100 A 192.0.2.4"),
            ..Answer::default()
        };
        let full = Render { minimal: false, rotate: Some(1), ..HOW };
        let shown = |qtype, edns, how: &Render<'_>| {
            let out = rendered(&query("x.test", qtype, edns), &a, how);
            let types = |mut from: usize, count: u8| {
                let mut all = Vec::new();
                for _ in 0..count {
                    from = NameBuf::from_packet(&out, from).unwrap().1 + 10;
                    let len = usize::from(out[from - 1]);
                    all.push((out[from - 9], out[from + len - 1]));
                    from += len;
                }
                (all, from)
            };
            let (answer, at) = types(24, out[7]);
            (answer, types(at, out[11]).0, out.len())
        };
        let (a1, a2, txt, sigs) = ((1, 1), (1, 2), (16, b'x'), [(46, 1), (46, 2), (46, 3)]);
        let (answer, additional, len) = shown(Rtype::A, Some(true), &full);
        assert_eq!(answer, [&[a2, a1][..], &sigs, &[txt]].concat(), "the data turn, the signatures do not");
        assert_eq!(additional, [&[(1, 3), (1, 4)][..], &sigs].concat());
        let (_, additional, _) = shown(Rtype::A, Some(true), &Render { max_size: len - 1, ..full });
        assert_eq!(additional, [(1, 3), (1, 4)], "no TC for them, and no half of them");
        assert_eq!(shown(Rtype::A, None, &full).0, [a2, a1, txt]);
        assert_eq!(shown(Rtype::ANY, None, &full).0, [&[a2, a1][..], &sigs, &[txt]].concat());
    }

    #[test]
    fn rotation_starts_at_the_id_and_keeps_the_set() {
        let lines: Vec<String> = (1..=3).map(|n| format!("x.test. 100 A 192.0.2.{n}")).collect();
        let answer = sets(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let a = Answer { answer, ..Answer::default() };
        for (rotate, want) in [(None, [1, 2, 3]), (Some(0), [1, 2, 3]), (Some(1), [2, 3, 1]), (Some(0x1235), [3, 1, 2])]
        {
            let out = rendered(&query("x.test", Rtype::A, None), &a, &Render { rotate, ..HOW });
            assert_eq!([out[24 + 15], out[24 + 31], out[24 + 47]], want, "{rotate:?}");
        }
    }

    #[test]
    fn ttl_ages_to_zero_and_no_further() {
        let a = Answer { answer: sets(&["x.test. 100 A 192.0.2.1"]), ..Answer::default() };
        for (age, left) in [(0, 100), (99, 1), (100, 0), (u32::MAX, 0)] {
            let out = rendered(&query("x.test", Rtype::A, None), &a, &Render { age, ..HOW });
            assert_eq!(Reply::parse(&out).unwrap().answer[0].ttl, left);
        }
    }

    #[test]
    fn rfc2181_9_truncation_by_whole_rrsets() {
        let lines: Vec<String> = (0..28).map(|n| format!("mid.x.test. 100 A 192.0.2.{n}")).collect();
        let answer = sets(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let extra = sets(&["ns.x.test. 100 A 192.0.2.1"]);
        let q = query("mid.x.test", Rtype::A, None);
        let a = Answer { aa: true, answer: answer.clone(), ..Answer::default() };
        // As the real server: 476 octets, 487 with OPT.
        assert_eq!(rendered(&q, &a, &Render { max_size: 476, ..HOW }).len(), 476);
        let short = rendered(&q, &a, &Render { max_size: 475, ..HOW });
        assert_eq!((short.len(), &short[2..12]), (28, &[0x87, 0x80, 0, 1, 0, 0, 0, 0, 0, 0][..]));
        let edns = Render { edns: Some(OPT), ..HOW };
        assert_eq!(rendered(&q, &a, &Render { max_size: 487, ..edns }).len(), 487);
        let short = rendered(&q, &a, &Render { max_size: 486, ..edns });
        assert_eq!((short.len(), short[2], short[11]), (39, 0x87, 1));
        // Authority that does not fit truncates, additional is left out.
        let full = Render { minimal: false, max_size: 480, ..HOW };
        let authority = Answer { authority: extra.clone(), ..a.clone() };
        assert_eq!(rendered(&q, &authority, &full)[2], 0x87);
        let additional = Answer { additional: extra, ..a };
        let out = rendered(&q, &additional, &full);
        assert_eq!((out[2], out.len(), out[11]), (0x85, 476, 0));
    }

    #[test]
    fn opt_carries_what_it_should() {
        let a = Answer { ede: Some(Ede::new(Ede::BLOCKED, "no")), ..Answer::new(Rcode::BADCOOKIE) };
        let edns = EdnsOut { cookie: Some([7; 24]), nsid: Some(b"me"), keepalive: Some(300), ..OPT };
        let out = rendered(&query("x.test", Rtype::A, Some(true)), &a, &Render { edns: Some(edns), ..HOW });
        let mut want = vec![0, 0, 41, 4, 208, 1, 0, 0x80, 0, 0, 48];
        want.extend([0, 3, 0, 2, b'm', b'e', 0, 10, 0, 24]);
        want.extend([7; 24]);
        want.extend([0, 11, 0, 2, 1, 44, 0, 15, 0, 4, 0, 15, b'n', b'o']);
        assert_eq!(out[24..], want);
        assert_eq!(Reply::parse(&out).unwrap().rcode, Rcode::BADCOOKIE);
    }

    #[test]
    fn rfc8914_text_gives_way_before_the_code_and_both_before_data() {
        let a = Answer {
            answer: sets(&["x.test. 100 A 192.0.2.1"]),
            ede: Some(Ede { code: 15, text: "é".repeat(100).into() }),
            ..Answer::default()
        };
        let q = query("x.test", Rtype::A, Some(false));
        let full = rendered(&q, &a, &Render { edns: Some(OPT), ..HOW });
        assert_eq!(full.len(), 24 + 16 + 11 + 6 + MAX_EDE_TEXT, "text is bounded");
        for (room, len) in [(full.len() - 1, 57), (57, 57), (56, 51), (51, 51)] {
            let out = rendered(&q, &a, &Render { edns: Some(OPT), max_size: room, ..HOW });
            assert_eq!((out.len(), out[7]), (len, 1), "{room}");
        }
        let quiet = EdnsOut { ede: false, ..OPT };
        assert_eq!(rendered(&q, &a, &Render { edns: Some(quiet), ..HOW }).len(), 51);
    }

    #[test]
    fn options_give_way_to_the_answer_to_come() {
        let q = query("x.test", Rtype::A, Some(false));
        let edns = EdnsOut { nsid: Some(&[b'n'; 600]), ..OPT };
        let how = Render { edns: Some(edns), max_size: 512, ..HOW };
        assert_eq!(rendered(&q, &Answer::default(), &how).len(), 24 + 11);
        assert_eq!(rendered(&q, &Answer::default(), &Render { max_size: 30, ..how }).len(), 24);
        assert_eq!(rendered(&q, &Answer::default(), &Render { max_size: 23, ..how }).len(), 0);
    }

    #[test]
    fn cve_2026_44390_the_search_for_compression_targets_ends() {
        // Names of the same length that differ in their first label: each is compared with every target.
        let lines: Vec<String> =
            (0..900).map(|n| format!("m{n:04}.a.b.c.d.e.f.g.h.test. MX 1 x{n:04}.b.c.d.e.f.g.h.test.")).collect();
        let a = Answer { answer: sets(&lines.iter().map(String::as_str).collect::<Vec<_>>()), ..Answer::default() };
        let mut out = vec![0; 65535];
        let mut w = Writer {
            out: &mut out,
            at: 12,
            limit: 65535,
            targets: [Target { at: 0, len: 0, flat: false }; TARGETS],
            known: 0,
            left: COMPARISONS,
        };
        let picks = Picks { qtype: Rtype::MX, dnssec: false, rotate: None, age: 0 };
        let mut count = 0;
        w.section(&a.answer, true, &picks, &mut count);
        assert_eq!(w.left, 0);
        let reply = rendered(&query("x.test", Rtype::MX, None), &a, &Render { max_size: 65535, ..HOW });
        let back = Reply::parse(&reply).unwrap();
        assert!(back.answer.iter().zip(&a.answer).all(|(back, sent)| back.rdata == sent.rdata));
    }

    #[test]
    fn an_upstream_query() {
        let mut out = [0; 64];
        let name = Name::from_text("x.test").unwrap();
        let len = question(&mut out, 7, flag::RD, name.as_ref(), Rtype::A, Class::IN, Some((1232, true)));
        let q = Query::parse(&out[..len]).unwrap();
        assert_eq!((q.id, q.rd(), q.do_bit(), q.edns.unwrap().udp_size), (7, true, true, 1232));
        assert_eq!(question(&mut out, 7, 0, name.as_ref(), Rtype::A, Class::IN, None), 24);
        assert_eq!(question(&mut out[..34], 7, 0, name.as_ref(), Rtype::A, Class::IN, Some((1232, true))), 0);
    }

    #[test]
    fn a_query_gets_an_option_where_it_has_edns() {
        let name = Name::from_text("x.test").unwrap();
        let mut out = [0; 64];
        for edns in [None, Some((1232, true))] {
            let len = question(&mut out, 7, flag::RD, name.as_ref(), Rtype::A, Class::IN, edns);
            let mut query = out[..len].to_vec();
            add_option(&mut query, 65_001, b"abc d");
            assert_eq!(query.len(), len + if edns.is_some() { 9 } else { 0 });
            let q = Query::parse(&query).unwrap();
            assert_eq!((q.edns.is_some(), q.do_bit()), (edns.is_some(), edns.is_some()));
            if edns.is_some() {
                assert_eq!(query[len - 2..], [0, 9, 0xfd, 0xe9, 0, 5, b'a', b'b', b'c', b' ', b'd']);
            }
            // Nothing is as long as that; it must not become something else.
            let before = query.clone();
            add_option(&mut query, 65_001, &[0; 65_532]);
            assert_eq!(query, before);
        }
    }

    fn any_name() -> impl Strategy<Value = Name> {
        let label =
            prop_oneof!["[a-cA-C]{1,3}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 1..20)];
        proptest::collection::vec(label, 0..5)
            .prop_map(|labels| NameBuf::from_labels(labels.iter().map(Vec::as_slice)).unwrap().to_name())
    }

    /// Data of a type with names, and of one without.
    fn any_set() -> impl Strategy<Value = Rrset> {
        let data = (any_name(), any_name(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..30));
        (any_name(), 0u8..6, any::<u16>(), proptest::collection::vec(data, 1..4)).prop_map(
            |(owner, kind, ttl, data)| {
                let rtype = [Rtype::NS, Rtype::MX, Rtype::SOA, Rtype::SRV, Rtype::TXT, Rtype(4711)][usize::from(kind)];
                let mut rdata = RdataSet::new();
                for (one, two, number, octets) in data {
                    let (one, two) = (one.as_ref().as_wire(), two.as_ref().as_wire());
                    let all = match rtype {
                        Rtype::NS => one.to_vec(),
                        Rtype::MX => [&number.to_be_bytes(), one].concat(),
                        Rtype::SRV => [&[0; 6], one].concat(),
                        Rtype::SOA => [one, two, &[5; 20]].concat(),
                        _ => octets,
                    };
                    // Compression may give one name the other's case, and what is the same is read once.
                    if !rdata.iter().any(|known| known.eq_ignore_ascii_case(&all)) {
                        rdata.push(&all);
                    }
                }
                Rrset::new(owner, rtype, Class::IN, u32::from(ttl), rdata)
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_rendered_parses_back(qname in any_name(), mut answer in proptest::collection::vec(any_set(), 0..6), mut authority in proptest::collection::vec(any_set(), 0..4)) {
            // Two sets of one owner and type would be read as one.
            for section in [&mut answer, &mut authority] {
                section.sort_by(|a, b| (&a.owner, a.rtype).cmp(&(&b.owner, b.rtype)));
                section.dedup_by(|a, b| a.owner == b.owner && a.rtype == b.rtype);
            }
            let q = Query { qname: qname.as_ref().to_buf(), ..query(".", Rtype::ANY, Some(true)) };
            let a = Answer { answer, authority, ..Answer::new(Rcode::NXDOMAIN) };
            let how = Render { max_size: 65535, minimal: false, edns: Some(OPT), ..HOW };
            let out = rendered(&q, &a, &how);
            let back = Reply::parse(&out).unwrap();
            prop_assert_eq!(&back.question, &Some((q.qname, Rtype::ANY, Class::IN)));
            prop_assert_eq!(back.rcode, Rcode::NXDOMAIN);
            for (back, sent) in [(&back.answer, &a.answer), (&back.authority, &a.authority)] {
                prop_assert_eq!(back.len(), sent.len());
                for (back, sent) in back.iter().zip(sent) {
                    prop_assert_eq!(&back.owner, &sent.owner);
                    prop_assert_eq!((back.rtype, back.ttl, back.rdata.len()), (sent.rtype, sent.ttl, sent.rdata.len()));
                    for (back, sent) in back.rdata.iter().zip(&sent.rdata) {
                        prop_assert!(back.eq_ignore_ascii_case(sent));
                    }
                }
            }
            // Compression never makes a message larger than its parts.
            let whole: usize = a.answer.iter().chain(&a.authority).flat_map(|set| set.rdata.iter().map(|r| r.len() + set.owner.as_ref().len() + 10)).sum();
            prop_assert!(out.len() <= 12 + q.qname.as_ref().len() + 4 + whole + 11);
        }

        #[test]
        fn the_limit_is_kept(sets in proptest::collection::vec(any_set(), 0..8), max_size in 0usize..600, room in 0usize..600, ede in proptest::option::of(".{0,200}")) {
            let q = query("a.b.test", Rtype::ANY, Some(true));
            let a = Answer { answer: sets.clone(), additional: sets, ede: ede.map(|text| Ede { code: 1, text: text.into() }), ..Answer::default() };
            let edns = EdnsOut { cookie: Some([1; 24]), nsid: Some(b"n"), ..OPT };
            let mut out = vec![0; room];
            let written = render(&q, &a, &Render { max_size, minimal: false, edns: Some(edns), ..HOW }, &mut out);
            prop_assert!(written <= max_size.min(room));
            if written > 0 {
                prop_assert!(Reply::parse(&out[..written]).is_ok());
            } else {
                prop_assert!(max_size.min(room) < 12 + 10 + 4);
            }
        }
    }
}
