//! What a client sent: [`Query`], its one question and its EDNS; and [`Reject`], the reply to what is not a query.
//!
//! It owns every decision that is made on the packet alone, before any policy: those of Unbound 1.17.1, each of them
//! probed on the real server. It never looks at who asked, and never allocates.
//!
//! What Unbound does, in its order (seen; "reflected" means that the whole packet goes back with QR and the code set and
//! everything else as it came, "replied" that a new message with the question is made, with RA, RD and CD copied):
//!
//! | packet | reply |
//! |---|---|
//! | fewer than 12 octets; QR set | none |
//! | TC set | FORMERR, reflected, TC cleared |
//! | opcode neither QUERY nor NOTIFY | NOTIMP, reflected |
//! | QDCOUNT not 1 (RFC 9619) | FORMERR, reflected |
//! | ANCOUNT not 0 (1 is taken in a NOTIFY); NSCOUNT not 0; ARCOUNT above 1, so a second OPT or a TSIG too | FORMERR, reflected |
//! | question cut short, name over 255 octets, compressed or with an unknown label type | FORMERR, reflected |
//! | type AXFR or IXFR | REFUSED, reflected |
//! | type OPT, TKEY, TSIG, MAILA, MAILB or 128 to 248 (meta types without meaning here) | FORMERR, reflected |
//! | the additional record is cut short, not OPT, or not owned by the root | FORMERR, replied with an empty OPT |
//! | EDNS version above 0, options not looked at | BADVERS, replied with OPT, DO copied (RFC 6891 6.1.3) |
//! | NOTIFY (there are no zones here to take it) | REFUSED, replied, OPT if there was one |
//!
//! Type 0, class ANY and classes unknown pass: they are questions, and policy answers them. Octets after the last
//! counted record are ignored, so an OPT that ARCOUNT does not count is no OPT. The OPT owner may be a compression
//! pointer to a root label. An option that goes beyond the OPT data ends the list silently; the query is answered.

use crate::cookie::ClientCookie;
use crate::name::{NameBuf, NameRef};
use crate::rrset::Ede;
use crate::types::{Class, Opcode, Rcode, Rtype, flag, option};

/// Octets of a message header.
pub const HEADER: usize = 12;
/// The UDP payload size in a reject's OPT record when the caller gives none: Unbound's `edns-buffer-size` default, which
/// stays below the smallest path MTU of IPv6 (RFC 9715).
pub const DEFAULT_UDP_SIZE: u16 = 1232;
/// The smallest UDP payload size; what a client announces below it is taken for it (RFC 6891 6.2.5).
pub const MIN_UDP_SIZE: u16 = 512;
/// Most EDNS options looked at in one message; those after are ignored. A client has use for fewer than ten, a packet
/// has room for sixteen thousand (CVE-2026-41292).
pub const MAX_OPTIONS: usize = 64;

/// A client's query: one question, no lifetime, no heap.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// The message id, returned as it came.
    pub id: u16,
    /// The header bits as they came; see [`flag`].
    pub flags: u16,
    /// The name asked for, in the client's case.
    pub qname: NameBuf,
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: Class,
    /// What the OPT record said, if there was one.
    pub edns: Option<EdnsQuery>,
}

/// The OPT record of a query (RFC 6891 6.1). Of options given more than once the first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdnsQuery {
    /// Octets of UDP payload the client takes, at least [`MIN_UDP_SIZE`].
    pub udp_size: u16,
    /// DNSSEC records wanted.
    pub do_bit: bool,
    /// The cookie, if a well-formed one came (RFC 7873).
    pub cookie: Option<ClientCookie>,
    /// A cookie of a length that RFC 7873 5.2.2 forbids: FORMERR where cookies are answered, ignored where they are not.
    pub bad_cookie: bool,
    /// The server's identifier is wanted (RFC 5001).
    pub nsid: bool,
    /// The client knows TCP keepalive (RFC 7828).
    pub keepalive: bool,
    /// The client padded, and so may be padded to (RFC 7830).
    pub padding: bool,
}

impl Query {
    /// Reads a query, or says how it is rejected; see the table above.
    pub fn parse(bytes: &[u8]) -> Result<Query, Reject> {
        let Some((header, body)) = Header::split(bytes) else {
            return Err(Reject::Silent);
        };
        if header.flags & flag::QR != 0 {
            return Err(Reject::Silent);
        }
        let opcode = opcode(header.flags);
        if header.flags & flag::TC != 0 {
            return Err(Reject::Reflect { rcode: Rcode::FORMERR });
        }
        if opcode != Opcode::QUERY && opcode != Opcode::NOTIFY {
            return Err(Reject::Reflect { rcode: Rcode::NOTIMP });
        }
        let [questions, answers, authorities, additionals] = header.counts;
        let answers_allowed = u16::from(opcode == Opcode::NOTIFY);
        if questions != 1 || answers > answers_allowed || authorities != 0 || additionals > 1 {
            return Err(Reject::Reflect { rcode: Rcode::FORMERR });
        }
        let Some((qname, qtype, qclass, after)) = split_question(body) else {
            return Err(Reject::Reflect { rcode: Rcode::FORMERR });
        };
        match qtype {
            Rtype::AXFR | Rtype::IXFR => {
                return Err(Reject::Reflect { rcode: Rcode::REFUSED });
            }
            Rtype::OPT | Rtype::TKEY | Rtype::TSIG | Rtype::MAILA | Rtype::MAILB | Rtype(128..=248) => {
                return Err(Reject::Reflect { rcode: Rcode::FORMERR });
            }
            _ => {}
        }
        let echo_question = body.len() - after.len();
        let reply = |rcode, edns, do_bit| Reject::Reply { rcode, echo_question, edns, do_bit };
        let mut at = HEADER + echo_question;
        if answers == 1 {
            at = skip_record(bytes, at).ok_or(reply(Rcode::FORMERR, true, false))?;
        }
        let edns = if additionals == 1 {
            let opt = Opt::read(bytes, at).ok_or(reply(Rcode::FORMERR, true, false))?;
            if opt.version != 0 {
                return Err(reply(Rcode::BADVERS, true, opt.do_bit));
            }
            Some(EdnsQuery::from_opt(&opt))
        } else {
            None
        };
        if opcode == Opcode::NOTIFY {
            return Err(reply(Rcode::REFUSED, edns.is_some(), edns.is_some_and(|edns| edns.do_bit)));
        }
        Ok(Query { id: header.id, flags: header.flags, qname: qname.to_buf(), qtype, qclass, edns })
    }

    /// Recursion desired.
    pub fn rd(&self) -> bool {
        self.flags & flag::RD != 0
    }

    /// Checking disabled.
    pub fn cd(&self) -> bool {
        self.flags & flag::CD != 0
    }

    /// Authentic data: the client understands the bit (RFC 6840 5.7).
    pub fn ad(&self) -> bool {
        self.flags & flag::AD != 0
    }

    /// DNSSEC records wanted.
    pub fn do_bit(&self) -> bool {
        self.edns.is_some_and(|edns| edns.do_bit)
    }

    /// The opcode.
    pub fn opcode(&self) -> Opcode {
        opcode(self.flags)
    }
}

fn opcode(flags: u16) -> Opcode {
    Opcode(u8::try_from((flags & flag::OPCODE) >> 11).unwrap_or(0))
}

/// Why a packet is not a query that can be answered, and what to say to it; [`reject`] writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Say nothing: fewer than 12 octets, or a reply.
    Silent,
    /// Send the packet back whole, with QR and this code: there is no question to make a reply of.
    Reflect {
        /// The response code.
        rcode: Rcode,
    },
    /// Reply to the question.
    Reply {
        /// The response code.
        rcode: Rcode,
        /// Octets after the header that are echoed: the question.
        echo_question: usize,
        /// Whether an OPT record goes with it.
        edns: bool,
        /// Whether that has the DO bit.
        do_bit: bool,
    },
}

impl Reject {
    /// The code of the reply; `None` when there is none.
    pub fn rcode(&self) -> Option<Rcode> {
        match *self {
            Reject::Silent => None,
            Reject::Reflect { rcode } | Reject::Reply { rcode, .. } => Some(rcode),
        }
    }
}

/// Writes the reply to a rejected packet into `out`; returns its octets, 0 for no reply (or no room for it). The OPT
/// record announces [`DEFAULT_UDP_SIZE`].
pub fn reject(packet: &[u8], r: &Reject, out: &mut [u8]) -> usize {
    reject_with(packet, r, DEFAULT_UDP_SIZE, out)
}

/// As [`reject`], announcing `udp_size` octets (Unbound's `edns-buffer-size`).
pub fn reject_with(packet: &[u8], r: &Reject, udp_size: u16, out: &mut [u8]) -> usize {
    let Some((header, body)) = Header::split(packet) else {
        return 0;
    };
    let written = match *r {
        Reject::Silent => None,
        Reject::Reflect { rcode } => {
            let flags = header.flags & !(flag::TC | flag::RCODE) | flag::QR | rcode.low();
            Header { flags, ..header }.write(out).and_then(|at| put(out, at, body))
        }
        Reject::Reply { rcode, echo_question, edns, do_bit } => {
            // Unbound answers a NOTIFY with a bad OPT with opcode QUERY; RFC 1035 4.1.1 has the opcode copied.
            let flags = header.flags & (flag::OPCODE | flag::RD | flag::CD) | flag::QR | flag::RA | rcode.low();
            let counts = [1, 0, 0, u16::from(edns)];
            Header { id: header.id, flags, counts }
                .write(out)
                .and_then(|at| put(out, at, body.get(..echo_question)?))
                .and_then(|at| if edns { put(out, at, &opt_record(udp_size, rcode, do_bit, 0)) } else { Some(at) })
        }
    };
    written.unwrap_or(0)
}

/// Writes the reply to a client that the access control refuses (Unbound's `refuse`), made before the packet is parsed;
/// returns its octets, 0 for no reply.
///
/// Unbound sends the bare header back with QR and REFUSED, the other bits and the opcode as they came and no counts.
/// With `ede` (its option of that name) and a client that speaks EDNS, the question, an OPT record that announces
/// `udp_size` and EDE 18 (Prohibited) are added. Packets of fewer than 12 octets and replies get nothing.
pub fn refuse(packet: &[u8], ede: bool, udp_size: u16, out: &mut [u8]) -> usize {
    let Some((header, body)) = Header::split(packet) else {
        return 0;
    };
    if header.flags & flag::QR != 0 {
        return 0;
    }
    let flags = header.flags & !(flag::TC | flag::RCODE) | flag::QR | Rcode::REFUSED.low();
    let question = (|| {
        let [1, 0, 0, 1] = header.counts else {
            return None;
        };
        let (.., after) = split_question(body)?;
        let question = body.get(..body.len() - after.len())?;
        Opt::read(packet, HEADER + question.len()).map(|_| question)
    })();
    let bare = Header { id: header.id, flags, counts: [0; 4] };
    let written = match question.filter(|_| ede) {
        None => bare.write(out),
        Some(question) => {
            let [code_high, code_low] = Ede::PROHIBITED.to_be_bytes();
            let [option_high, option_low] = option::EDE.to_be_bytes();
            Header { counts: [1, 0, 0, 1], ..bare }
                .write(out)
                .and_then(|at| put(out, at, question))
                .and_then(|at| put(out, at, &opt_record(udp_size, Rcode::REFUSED, false, 6)))
                .and_then(|at| put(out, at, &[option_high, option_low, 0, 2, code_high, code_low]))
        }
    };
    written.unwrap_or(0)
}

/// The fixed part of a message.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    /// Questions, answers, authorities, additionals.
    pub(crate) counts: [u16; 4],
}

impl Header {
    pub(crate) fn split(packet: &[u8]) -> Option<(Header, &[u8])> {
        let (header, body) = packet.split_first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *header;
        let two = |high, low| u16::from_be_bytes([high, low]);
        Some((Header { id: two(a, b), flags: two(c, d), counts: [two(e, f), two(g, h), two(i, j), two(k, l)] }, body))
    }

    /// Writes the header at the start and returns the offset after it.
    pub(crate) fn write(&self, out: &mut [u8]) -> Option<usize> {
        let [qd, an, ns, ar] = self.counts;
        let into = out.get_mut(..HEADER)?;
        for (to, word) in into.chunks_exact_mut(2).zip([self.id, self.flags, qd, an, ns, ar]) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        Some(HEADER)
    }
}

/// Copies `octets` to `out` at `at` and returns the offset after them.
pub(crate) fn put(out: &mut [u8], at: usize, octets: &[u8]) -> Option<usize> {
    let end = at.checked_add(octets.len())?;
    out.get_mut(at..end)?.copy_from_slice(octets);
    Some(end)
}

/// The OPT record up to its options, of which `options` octets follow (RFC 6891 6.1.2).
pub(crate) fn opt_record(udp_size: u16, rcode: Rcode, do_bit: bool, options: u16) -> [u8; 11] {
    let ([size_high, size_low], [len_high, len_low]) = (udp_size.to_be_bytes(), options.to_be_bytes());
    let [type_high, type_low] = Rtype::OPT.0.to_be_bytes();
    let bits = if do_bit { 0x80 } else { 0 };
    [0, type_high, type_low, size_high, size_low, rcode.high(), 0, bits, 0, len_high, len_low]
}

/// Takes a question, whose name may not be compressed, from the front of `body`.
fn split_question(body: &[u8]) -> Option<(NameRef<'_>, Rtype, Class, &[u8])> {
    let (qname, rest) = NameRef::split_from(body).ok()?;
    let (qtype, rest) = rest.split_first_chunk::<2>()?;
    let (qclass, rest) = rest.split_first_chunk::<2>()?;
    Some((qname, Rtype(u16::from_be_bytes(*qtype)), Class(u16::from_be_bytes(*qclass)), rest))
}

/// The offset after the record at `at`, whose owner may be compressed.
fn skip_record(packet: &[u8], at: usize) -> Option<usize> {
    let (_, at) = NameBuf::from_packet(packet, at).ok()?;
    let len = packet.get(at + 8..)?.first_chunk::<2>()?;
    let end = at + 10 + usize::from(u16::from_be_bytes(*len));
    packet.get(..end).map(|_| end)
}

/// An OPT record as it stands in a message (RFC 6891 6.1.2).
#[derive(Clone, Copy)]
pub(crate) struct Opt<'a> {
    pub(crate) udp_size: u16,
    pub(crate) rcode_high: u8,
    pub(crate) version: u8,
    pub(crate) do_bit: bool,
    options: &'a [u8],
}

impl<'a> Opt<'a> {
    /// Reads the record at `at`; `None` if it is no OPT record owned by the root, or cut short.
    pub(crate) fn read(packet: &'a [u8], at: usize) -> Option<Opt<'a>> {
        let after = match packet.get(at)? {
            0 => at + 1,
            _ => NameBuf::from_packet(packet, at).ok().filter(|(name, _)| name.as_ref().is_root())?.1,
        };
        let (rtype, rest) = packet.get(after..)?.split_first_chunk::<2>()?;
        if u16::from_be_bytes(*rtype) != Rtype::OPT.0 {
            return None;
        }
        let (fixed, rest) = rest.split_first_chunk::<8>()?;
        let [size_high, size_low, rcode_high, version, bits, _, len_high, len_low] = *fixed;
        let options = rest.get(..usize::from(u16::from_be_bytes([len_high, len_low])))?;
        Some(Opt {
            udp_size: u16::from_be_bytes([size_high, size_low]),
            rcode_high,
            version,
            do_bit: bits & 0x80 != 0,
            options,
        })
    }

    /// The record of which only the 16-bit class, the TTL and the data are at hand.
    pub(crate) fn from_parts(class: u16, ttl: u32, options: &'a [u8]) -> Opt<'a> {
        let [rcode_high, version, bits, _] = ttl.to_be_bytes();
        Opt { udp_size: class, rcode_high, version, do_bit: bits & 0x80 != 0, options }
    }

    /// The options, code and data: at most [`MAX_OPTIONS`], and none after one that is cut short.
    pub(crate) fn options(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            let (code, after) = rest.split_first_chunk::<2>()?;
            let (len, after) = after.split_first_chunk::<2>()?;
            let (data, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            rest = after;
            Some((u16::from_be_bytes(*code), data))
        })
        .take(MAX_OPTIONS)
    }
}

impl EdnsQuery {
    fn from_opt(opt: &Opt<'_>) -> EdnsQuery {
        let mut edns =
            EdnsQuery { udp_size: opt.udp_size.max(MIN_UDP_SIZE), do_bit: opt.do_bit, ..EdnsQuery::default() };
        for (code, data) in opt.options() {
            match code {
                option::NSID => edns.nsid = true,
                option::COOKIE if edns.cookie.is_none() && !edns.bad_cookie => {
                    edns.cookie = ClientCookie::from_option(data);
                    edns.bad_cookie = edns.cookie.is_none();
                }
                option::KEEPALIVE => edns.keepalive = true,
                option::PADDING => edns.padding = true,
                _ => {}
            }
        }
        edns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use proptest::prelude::*;

    fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
        let mut out = [0; HEADER];
        Header { id: 0x1234, flags, counts }.write(&mut out).unwrap();
        out.to_vec()
    }

    fn question(name: &str, qtype: Rtype) -> Vec<u8> {
        let mut out = Name::from_text(name).unwrap().as_ref().as_wire().to_vec();
        out.extend(qtype.0.to_be_bytes());
        out.extend([0, 1]);
        out
    }

    fn opt(size: u16, version: u8, bits: u8, options: &[u8]) -> Vec<u8> {
        let mut out = opt_record(size, Rcode::NOERROR, false, u16::try_from(options.len()).unwrap()).to_vec();
        out[6] = version;
        out[7] = bits;
        out.extend(options);
        out
    }

    fn option(code: u16, data: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes()[..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
    }

    fn query(flags: u16, edns: &[u8]) -> Vec<u8> {
        let counts = [1, 0, 0, u16::from(!edns.is_empty())];
        [header(flags, counts), question("b.x.test", Rtype::A), edns.to_vec()].concat()
    }

    /// What goes back for a packet: empty for silence.
    fn answered(packet: &[u8]) -> Vec<u8> {
        let mut out = [0xff; 4096];
        let written = reject(packet, &Query::parse(packet).unwrap_err(), &mut out);
        out[..written].to_vec()
    }

    /// The packet with other flags.
    fn reflected(packet: &[u8], flags: u16) -> Vec<u8> {
        [&packet[..2], &flags.to_be_bytes(), &packet[4..]].concat()
    }

    /// Flags, the question, an empty OPT with the given upper TTL octets.
    fn replied(packet: &[u8], flags: u16, question: &[u8], opt: &[u8]) -> Vec<u8> {
        let counts = [0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())];
        [&packet[..2], &flags.to_be_bytes(), &counts, question, opt].concat()
    }

    #[test]
    fn a_plain_query() {
        let q = Query::parse(&query(0x0130, &[])).unwrap();
        assert_eq!((q.id, q.qtype, q.qclass), (0x1234, Rtype::A, Class::IN));
        assert_eq!(q.qname.to_string(), "b.x.test.");
        assert!(q.rd() && q.cd() && q.ad() && !q.do_bit() && q.edns.is_none());
    }

    #[test]
    fn silence_for_the_short_and_for_replies() {
        for len in 0..12 {
            assert_eq!(Query::parse(&vec![0; len]).unwrap_err(), Reject::Silent);
        }
        assert_eq!(Query::parse(&query(0x8100, &[])).unwrap_err(), Reject::Silent);
        assert!(answered(&query(0x8100, &[])).is_empty());
    }

    #[test]
    fn rfc9619_two_questions_is_formerr() {
        for (count, flags, back) in [(0u16, 0x0100, 0x8101), (2, 0x0100, 0x8101), (2, 0x05f5, 0x85f1)] {
            let packet = [header(flags, [count, 0, 0, 0]), question("b.x.test", Rtype::A)].concat();
            assert_eq!(answered(&packet), reflected(&packet, back), "{count}");
        }
    }

    #[test]
    fn unbound_formerr_for_truncated_queries() {
        let packet = query(0x0300, &[]);
        assert_eq!(answered(&packet), reflected(&packet, 0x8101));
        let update = query(0x2b00, &[]);
        assert_eq!(answered(&update), reflected(&update, 0xa901), "before the opcode is looked at");
    }

    #[test]
    fn unbound_notimp_for_other_opcodes() {
        for opcode in (1u16..16).filter(|opcode| *opcode != 4) {
            let packet = query(0x0170 | opcode << 11, &opt(1232, 0, 0x80, &[]));
            assert_eq!(answered(&packet), reflected(&packet, 0x8174 | opcode << 11), "{opcode}");
        }
    }

    #[test]
    fn unbound_refuses_notify() {
        let plain = query(0x21f0, &[]);
        assert_eq!(answered(&plain), replied(&plain, 0xa195, &plain[12..], &[]));
        let edns = query(0x21f0, &opt(4096, 0, 0x80, &[]));
        assert_eq!(answered(&edns), replied(&edns, 0xa195, &edns[12..26], &opt(1232, 0, 0x80, &[])));
        // One answer record is allowed in a NOTIFY (RFC 1996 3.7), two are not.
        let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04";
        let one = [&header(0x2000, [1, 1, 0, 0]), &plain[12..], record].concat();
        assert_eq!(answered(&one), replied(&one, 0xa085, &plain[12..], &[]));
        let two = [&header(0x2000, [1, 2, 0, 0]), &plain[12..], record, record].concat();
        assert_eq!(answered(&two), reflected(&two, 0xa001));
        let cut = [&header(0x2000, [1, 1, 0, 0]), &plain[12..], &record[..15]].concat();
        assert_eq!(Query::parse(&cut).unwrap_err().rcode(), Some(Rcode::FORMERR));
    }

    #[test]
    fn unbound_formerr_for_records_that_do_not_belong() {
        for counts in [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 2], [1, 0, 0, 3]] {
            let packet =
                [header(0x0100, counts), question("b.x.test", Rtype::A), opt(1232, 0, 0, &[]), opt(1232, 0, 0, &[])]
                    .concat();
            assert_eq!(answered(&packet), reflected(&packet, 0x8101), "{counts:?}");
        }
    }

    #[test]
    fn unbound_formerr_for_bad_questions() {
        let long = [&[63u8; 64][..], &[63; 64], &[63; 64]].concat();
        for bad in [
            b"".to_vec(),
            b"\x03ab".to_vec(),
            b"\x80aaaaaaaaaaaaaaaaaaa".to_vec(),
            b"\xc0\x0c\0\x01\0\x01".to_vec(),
            b"\x01a\xc0\x0c\0\x01\0\x01".to_vec(),
            b"\x01a\0\0".to_vec(),
            [&long[..], &[62; 63], &[0, 0, 1, 0, 1]].concat(),
        ] {
            let packet = [header(0x0100, [1, 0, 0, 0]), bad.clone()].concat();
            assert_eq!(answered(&packet), reflected(&packet, 0x8101), "{bad:?}");
        }
        let longest = [header(0x0100, [1, 0, 0, 0]), long, vec![61; 62], vec![0, 0, 1, 0, 1]].concat();
        assert_eq!(Query::parse(&longest).unwrap().qname.as_ref().len(), 255);
    }

    #[test]
    fn unbound_meta_types() {
        for number in (0..=300).chain([32768, 65535]) {
            let packet = [header(0x0110, [1, 0, 0, 0]), question("b.x.test", Rtype(number))].concat();
            let rcode = Query::parse(&packet).err().and_then(|r| r.rcode());
            let want = match number {
                41 | 128..=250 | 253 | 254 => Some(Rcode::FORMERR),
                251 | 252 => Some(Rcode::REFUSED),
                _ => None,
            };
            assert_eq!(rcode, want, "{number}");
            if let Some(rcode) = want {
                assert_eq!(answered(&packet), reflected(&packet, 0x8110 | rcode.low()));
            }
        }
    }

    #[test]
    fn rfc6891_6_1_3_badvers() {
        let packet = query(0x05f0, &opt(1232, 255, 0x80, &option(option::COOKIE, b"bad")));
        let mut back = opt(1232, 0, 0x80, &[]);
        back[5] = 1;
        assert_eq!(answered(&packet), replied(&packet, 0x8190, &packet[12..26], &back));
    }

    #[test]
    fn unbound_formerr_with_opt_for_bad_opt_records() {
        let good = opt(1232, 0, 0x80, &[]);
        let mut long = good.clone();
        long[10] = 5;
        let owned = [b"\x01a", &good[..]].concat();
        let pointer = [b"\xc0\x0c", &good[1..]].concat();
        let other = b"\x00\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04".to_vec();
        for bad in [long, owned, pointer, other, good[..10].to_vec(), good[..6].to_vec(), vec![0]] {
            let packet = query(0x05f0, &bad);
            assert_eq!(answered(&packet), replied(&packet, 0x8191, &packet[12..26], &opt(1232, 0, 0, &[])), "{bad:?}");
        }
        let missing = [header(0x0100, [1, 0, 0, 1]), question("b.x.test", Rtype::A)].concat();
        assert_eq!(answered(&missing), replied(&missing, 0x8181, &missing[12..], &opt(1232, 0, 0, &[])));
    }

    #[test]
    fn unbound_takes_odd_but_harmless_packets() {
        let pointer_to_root = [b"\xc0\x15", &opt(1232, 0, 0, &[])[1..]].concat();
        assert!(Query::parse(&query(0x0100, &pointer_to_root)).unwrap().edns.is_some());
        let uncounted = [query(0x0100, &[]), opt(1232, 0, 0, &[])].concat();
        assert!(Query::parse(&uncounted).unwrap().edns.is_none());
        let trailing = [query(0x0100, &opt(1232, 0, 0, &[])), b"junk".to_vec()].concat();
        assert!(Query::parse(&trailing).unwrap().edns.is_some());
        for cut in [&b"\0"[..], b"\0\x03\0", b"\0\x03\0\x04"] {
            let q = Query::parse(&query(0x0100, &opt(1232, 0, 0, cut))).unwrap();
            assert!(!q.edns.unwrap().nsid, "{cut:?}");
        }
    }

    #[test]
    fn edns_options() {
        let options = [
            option(option::NSID, b""),
            option(option::COOKIE, b"12345678"),
            option(option::COOKIE, b"abcdefgh"),
            option(option::KEEPALIVE, b""),
            option(option::PADDING, &[0; 9]),
            option(65001, b"x"),
        ]
        .concat();
        let edns = Query::parse(&query(0x0100, &opt(100, 0, 0xff, &options))).unwrap().edns.unwrap();
        assert_eq!((edns.udp_size, edns.do_bit), (512, true), "RFC 6891 6.2.5");
        assert!(edns.nsid && edns.keepalive && edns.padding && !edns.bad_cookie);
        assert_eq!(edns.cookie.unwrap().client, *b"12345678");
        for len in [0usize, 7, 9, 15, 41] {
            let bad = option(option::COOKIE, &vec![0; len]);
            let edns = Query::parse(&query(0x0100, &opt(1232, 0, 0, &bad))).unwrap().edns.unwrap();
            assert!(edns.bad_cookie && edns.cookie.is_none(), "{len}");
        }
    }

    #[test]
    fn cve_2026_41292_option_lists_are_cut() {
        let mut options = option(65001, b"").repeat(MAX_OPTIONS);
        options.extend(option(option::NSID, b""));
        let edns = Query::parse(&query(0x0100, &opt(1232, 0, 0, &options))).unwrap().edns.unwrap();
        assert!(!edns.nsid);
    }

    #[test]
    fn unbound_refused_by_access_control() {
        let mut out = [0; 512];
        let plain = query(0x07f5, &[]);
        let written = refuse(&plain, true, 1232, &mut out);
        assert_eq!(out[..written], [0x12, 0x34, 0x85, 0xf5, 0, 0, 0, 0, 0, 0, 0, 0]);
        let edns = query(0x0170, &opt(4096, 0, 0x80, &[]));
        let written = refuse(&edns, true, 1232, &mut out);
        let ede = opt(1232, 0, 0, b"\0\x0f\0\x02\0\x12");
        assert_eq!(out[..written], replied(&edns, 0x8175, &edns[12..26], &ede));
        assert_eq!(refuse(&edns, false, 1232, &mut out), 12);
        assert_eq!(refuse(&query(0x8000, &[]), true, 1232, &mut out), 0);
        assert_eq!(refuse(&plain[..11], true, 1232, &mut out), 0);
    }

    proptest! {
        #[test]
        fn any_octets_are_a_query_or_a_reject_that_fits(packet in proptest::collection::vec(any::<u8>(), 0..120), room in 0usize..200) {
            check(&packet, room);
        }

        #[test]
        fn near_queries_too(flags in any::<u16>(), counts in prop::array::uniform4(0u16..3), qtype in 0u16..300, tail in proptest::collection::vec(any::<u8>(), 0..40), room in 0usize..200) {
            let packet = [header(flags & !flag::QR, counts), question("b.x.test", Rtype(qtype)), opt(1232, 0, 0, &tail)].concat();
            check(&packet, room);
        }
    }

    fn check(packet: &[u8], room: usize) {
        let mut out = vec![0; room];
        match Query::parse(packet) {
            Ok(q) => {
                assert_eq!(q.qname.as_ref().as_wire().len() + 4 + HEADER, packet.len().min(q.qname.as_ref().len() + 16))
            }
            Err(r) => {
                let written = reject(packet, &r, &mut out);
                assert!(written <= room);
                // Never more than the question and an OPT record beyond what came in.
                assert!(written <= packet.len() + 11);
            }
        }
        assert!(refuse(packet, true, 1232, &mut out) <= packet.len() + 6);
    }
}
