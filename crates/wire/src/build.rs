//! Messages out.
use crate::name::NameRef;
use crate::query::Query;
use crate::rrset::Answer;
use crate::types::{Class, Rtype};

/// How an answer is rendered.
#[derive(Clone, Copy, Debug)]
pub struct Render<'a> {
    /// Octets the message may have.
    pub max_size: usize,
    /// Leave out what the client does not need (Unbound's `minimal-responses`).
    pub minimal: bool,
    /// Start each RRset at this record, modulo its size (Unbound's `rrset-roundrobin`).
    pub rotate: Option<u32>,
    /// Seconds to take off every TTL, which ends at 0.
    pub age: u32,
    /// Recursion available.
    pub ra: bool,
    /// The OPT record; given when, and only when, the query had one.
    pub edns: Option<EdnsOut<'a>>,
}

/// The OPT record of a reply.
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

/// Writes the reply to `q` into `out` and returns its octets.
pub fn render(q: &Query, a: &Answer, how: &Render<'_>, out: &mut [u8]) -> usize {
    let _ = (q, a, how, out);
    0
}

/// Writes a query for an upstream server into `out` and returns its octets.
pub fn question(
    out: &mut [u8],
    id: u16,
    flags: u16,
    name: NameRef<'_>,
    qtype: Rtype,
    qclass: Class,
    edns: Option<(u16, bool)>,
) -> usize {
    let _ = (out, id, flags, name, qtype, qclass, edns);
    0
}
