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
use crate::rrset::{Answer, Ede, MAX_EDE_TEXT, Rrset};
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
        targets: [Target { at: 0, len: 0 }; TARGETS],
        known: 0,
        left: COMPARISONS,
    };
    if w.name(q.qname.as_ref(), true)
        .and_then(|()| w.put(&numbers(q.qtype, q.qclass)))
        .is_none()
    {
        return 0;
    }
    let edns = how
        .edns
        .as_ref()
        .and_then(|edns| OptPlan::new(edns, room - w.at));
    w.limit = room - edns.as_ref().map_or(0, OptPlan::octets);

    let mut flags = q.flags & (flag::RD | flag::CD) | flag::QR | a.rcode.low();
    flags |= if a.aa { flag::AA } else { 0 };
    flags |= if how.ra { flag::RA } else { 0 };
    flags |= if a.ad && (q.ad() || q.do_bit()) {
        flag::AD
    } else {
        0
    };

    let mut counts = [1, 0, 0, 0];
    let [_, answers, authorities, additionals] = &mut counts;
    let picks = Picks {
        qtype: q.qtype,
        dnssec: q.do_bit(),
        rotate: how.rotate,
        age: how.age,
    };
    let needed = w.section(&a.answer, true, &picks, answers).and_then(|()| {
        if how.minimal && positive(a, q.qtype) {
            return Some(true);
        }
        w.section(&a.authority, false, &picks, authorities)
            .map(|()| false)
    });
    match needed {
        None => flags |= flag::TC,
        Some(true) => {}
        // Additional records are a courtesy: what does not fit is left out (RFC 2181 9).
        Some(false) => w
            .section(&a.additional, false, &picks, additionals)
            .unwrap_or(()),
    }
    if let Some(edns) = edns {
        w.limit = room;
        let ede = a
            .ede
            .as_ref()
            .filter(|_| how.edns.is_some_and(|edns| edns.ede));
        if w.opt(&edns, a.rcode, q.do_bit(), ede).is_some() {
            *additionals += 1;
        }
    }
    let end = w.at;
    Header {
        id: q.id,
        flags,
        counts,
    }
    .write(out)
    .map_or(0, |_| end)
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
    Header {
        id,
        flags,
        counts: [1, 0, 0, u16::from(edns.is_some())],
    }
    .write(out)
    .and_then(|at| put(out, at, name.as_wire()))
    .and_then(|at| put(out, at, &numbers(qtype, qclass)))
    .and_then(|at| match edns {
        Some((size, do_bit)) => put(out, at, &opt_record(size, Rcode::NOERROR, do_bit, 0)),
        None => Some(at),
    })
    .unwrap_or(0)
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
        && !a
            .authority
            .iter()
            .any(|set| matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3))
}

/// What decides which records are sent, and how.
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
    edns: EdnsOut<'a>,
    options: u16,
}

impl<'a> OptPlan<'a> {
    /// All options if they fit `room`; else the OPT record alone, else none: a client that asks for its packet to be
    /// filled with options still gets an answer.
    fn new(edns: &EdnsOut<'a>, room: usize) -> Option<OptPlan<'a>> {
        let bare = EdnsOut {
            udp_size: edns.udp_size,
            ede: edns.ede,
            ..EdnsOut::default()
        };
        [*edns, bare].into_iter().find_map(|edns| {
            let lengths = [
                edns.cookie.map(|c| c.len()),
                edns.nsid.map(<[u8]>::len),
                edns.keepalive.map(|_| 2),
            ];
            let options: usize = lengths.into_iter().flatten().map(|len| len + 4).sum();
            let plan = OptPlan {
                edns,
                options: u16::try_from(options).ok()?,
            };
            (plan.octets() <= room).then_some(plan)
        })
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
            if let (true, Ok(at), Ok(len)) =
                (here < REACH, u16::try_from(here), u8::try_from(rest.len()))
                && let Some(slot) = self.targets.get_mut(self.known)
            {
                *slot = Target { at, len };
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
            if self.stands_at(usize::from(target.at), name) {
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
                            if self
                                .out
                                .get(at + 1..end)
                                .is_some_and(|l| l.eq_ignore_ascii_case(label)) =>
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

    /// Writes the RRsets of a section that are to be sent and counts their records; `None` when one did not fit, those
    /// before it written.
    fn section(
        &mut self,
        sets: &[Rrset],
        in_answer: bool,
        picks: &Picks,
        count: &mut u16,
    ) -> Option<()> {
        for set in sets.iter().filter(|set| picks.takes(set.rtype, in_answer)) {
            let (at, known) = (self.at, self.known);
            if self.rrset(set, picks).is_none() {
                (self.at, self.known) = (at, known);
                return None;
            }
            *count = count.saturating_add(u16::try_from(set.rdata.len()).unwrap_or(u16::MAX));
        }
        Some(())
    }

    fn rrset(&mut self, set: &Rrset, picks: &Picks) -> Option<()> {
        let ttl = set.ttl.saturating_sub(picks.age).to_be_bytes();
        let (numbers, layout) = (numbers(set.rtype, set.class), layout(set.rtype));
        let compressed = layout.contains(&Field::Compressed);
        let len = u32::try_from(set.rdata.len()).ok()?;
        let first = picks.rotate.and_then(|n| n.checked_rem(len)).unwrap_or(0);
        let first = usize::try_from(first).ok()?;
        let records = set
            .rdata
            .iter()
            .skip(first)
            .chain(set.rdata.iter().take(first));
        let mut owner_at: Option<[u8; 2]> = None;
        for rdata in records {
            // The owner is searched for once: the records after the first point where the first one points or stands.
            match owner_at {
                Some(pointer) => self.put(&pointer)?,
                None => {
                    let here = self.at;
                    self.name(set.owner.as_ref(), true)?;
                    owner_at = self.pointer_to(here);
                }
            }
            self.put(&numbers)?;
            self.put(&ttl)?;
            let len_at = self.at;
            self.put(&u16::try_from(rdata.len()).ok()?.to_be_bytes())?;
            if !compressed || self.compressed(layout, rdata).is_none() {
                // Not of the layout of its type, as text in the generic form may be: sent as it is.
                self.at = len_at + 2;
                self.put(rdata)?;
            }
            let len = u16::try_from(self.at - len_at - 2).ok()?;
            put(self.out, len_at, &len.to_be_bytes())?;
        }
        Some(())
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
    fn opt(
        &mut self,
        plan: &OptPlan<'_>,
        rcode: Rcode,
        do_bit: bool,
        ede: Option<&Ede>,
    ) -> Option<()> {
        let room = self.limit - self.at - plan.octets();
        let ede = ede.and_then(|ede| {
            let text = clip(&ede.text, MAX_EDE_TEXT);
            [text, ""]
                .into_iter()
                .find(|text| text.len() + 6 <= room)
                .map(|text| (ede.code, text))
        });
        let options =
            plan.options + ede.map_or(0, |(_, text)| u16::try_from(text.len() + 6).unwrap_or(0));
        self.put(&opt_record(plan.edns.udp_size, rcode, do_bit, options))?;
        let mut option = |code: u16, parts: [&[u8]; 2]| {
            let len = u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).ok()?;
            self.put(&code.to_be_bytes())?;
            self.put(&len.to_be_bytes())?;
            parts.into_iter().try_for_each(|part| self.put(part))
        };
        if let Some(nsid) = plan.edns.nsid {
            option(option::NSID, [nsid, &[]])?;
        }
        if let Some(cookie) = plan.edns.cookie {
            option(option::COOKIE, [&cookie, &[]])?;
        }
        if let Some(time) = plan.edns.keepalive {
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
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    text.get(..end).unwrap_or("")
}
