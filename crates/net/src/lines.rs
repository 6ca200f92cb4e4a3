//! The lines of `log-queries`, `log-replies`, `log-local-actions` and `log-servfail`, letter for letter Unbound's.
//!
//! Owns the forms and nothing else: whether a line is written is the pipeline's to decide, where it goes is the
//! sink's. A name from the network can put nothing into a log but letters, digits and `-_*.?`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use wire::{Class, NameRef, Query, Rcode, Rtype};

/// A name as Unbound logs it: what is not a letter, digit, `-`, `_` or `*` is a `?`; with the final dot.
pub(crate) fn name(out: &mut String, name: NameRef<'_>) {
    if name.is_root() {
        out.push('.');
        return;
    }
    for label in name.labels() {
        for &octet in label {
            let plain = octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'*');
            out.push(if plain { char::from(octet) } else { '?' });
        }
        if !label.is_empty() {
            out.push('.');
        }
    }
}

fn question(out: &mut String, q: (NameRef<'_>, Rtype, Class)) {
    name(out, q.0);
    let _ = write!(out, " {} {}", q.1, q.2);
}

/// `127.0.0.1 example.com. A IN`
pub(crate) fn query(client: IpAddr, q: &Query) -> String {
    let mut out = format!("{client} ");
    question(&mut out, (q.qname.as_ref(), q.qtype, q.qclass));
    out
}

/// Where a query came to, for `log-destaddr`.
pub(crate) struct Destination {
    pub(crate) addr: SocketAddr,
    pub(crate) tcp: bool,
}

/// `127.0.0.1 example.com. A IN NOERROR 0.000000 1 44`: seconds it took, whether it needed no resolving, octets.
/// Without a question, as for clients refused by address, Unbound writes `null TYPE0 CLASS0`; a FORMERR answer has
/// no fields at all.
pub(crate) fn reply(
    client: IpAddr,
    q: Option<&Query>,
    us: u64,
    cached: bool,
    message: &[u8],
    to: Option<&Destination>,
) -> String {
    let code = Rcode(u16::from(message.get(3).copied().unwrap_or(0) & 0x0f));
    if code == Rcode::FORMERR {
        return format!("{client} - - - FORMERR - - - ");
    }
    let mut out = format!("{client} ");
    match q {
        Some(q) => question(&mut out, (q.qname.as_ref(), q.qtype, q.qclass)),
        None => out.push_str("null TYPE0 CLASS0"),
    }
    let word = if code == Rcode::NOTIMP { "NOTIMPL".to_owned() } else { code.to_string() };
    let (s, us) = (us / 1_000_000, us % 1_000_000);
    let _ = write!(out, " {word} {s}.{us:06} {} {}", u8::from(cached), message.len());
    if let Some(to) = to {
        let _ = write!(out, " on {} {} {}", if to.tcp { "tcp" } else { "udp" }, to.addr.ip(), to.addr.port());
    }
    out
}

/// `local.test. redirect 127.0.0.1@47855 a.local.test. A IN`
pub(crate) fn local_action(zone: NameRef<'_>, kind: &str, client: SocketAddr, q: &Query) -> String {
    let mut out = String::new();
    name(&mut out, zone);
    let _ = write!(out, " {kind} {}@{} ", client.ip(), client.port());
    question(&mut out, (q.qname.as_ref(), q.qtype, q.qclass));
    out
}

/// `SERVFAIL <example.com. A IN>: why`
pub(crate) fn servfail(q: (NameRef<'_>, Rtype, Class), why: &str) -> String {
    let mut out = String::from("SERVFAIL <");
    question(&mut out, q);
    let _ = write!(out, ">: {why}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Name;

    fn a_query(text: &str) -> Query {
        let qname = Name::from_text(text).unwrap().as_ref().to_buf();
        Query { id: 1, flags: 0x100, qname, qtype: Rtype(999), qclass: Class::IN, edns: None }
    }

    #[test]
    fn lines_are_those_unbound_wrote_when_asked_the_same() {
        let client: IpAddr = "127.0.0.1".parse().unwrap();
        let q = a_query("a\\032b\\\"\\.c\\007.fwd.Test.");
        assert_eq!(query(client, &q), "127.0.0.1 a?b??c?.fwd.Test. TYPE999 IN");
        let mut message = vec![0; 44];
        message[3] = 5;
        assert_eq!(
            reply(client, Some(&q), 1_004_276, false, &message, None).split_once("IN ").unwrap().1,
            "REFUSED 1.004276 0 44"
        );
        assert_eq!(
            reply(client, None, 0, true, &message[..12], None),
            "127.0.0.1 null TYPE0 CLASS0 REFUSED 0.000000 1 12"
        );
        message[3] = 1;
        assert_eq!(reply(client, Some(&q), 0, true, &message, None), "127.0.0.1 - - - FORMERR - - - ");
        message[3] = 4;
        let to = Destination { addr: "[::1]:53".parse().unwrap(), tcp: true };
        assert!(reply(client, Some(&q), 0, true, &message, Some(&to)).ends_with("NOTIMPL 0.000000 1 44 on tcp ::1 53"));
        let zone = Name::from_text("fwd.test.").unwrap();
        let line = local_action(zone.as_ref(), "redirect", "127.0.0.1:47855".parse().unwrap(), &q);
        assert_eq!(line, "fwd.test. redirect 127.0.0.1@47855 a?b??c?.fwd.Test. TYPE999 IN");
        let root = Name::root();
        assert_eq!(servfail((root.as_ref(), Rtype::A, Class::IN), "why"), "SERVFAIL <. A IN>: why");
    }
}
