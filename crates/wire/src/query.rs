//! What a client sent: the one question of a query and its EDNS, with the reply for what is not a query.
use crate::cookie::ClientCookie;
use crate::name::NameBuf;
use crate::types::{Class, Opcode, Rcode, Rtype, flag};

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

/// The OPT record of a query (RFC 6891 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdnsQuery {
    /// Octets of UDP payload the client takes, at least 512.
    pub udp_size: u16,
    /// DNSSEC records wanted.
    pub do_bit: bool,
    /// The cookie, if one came (RFC 7873).
    pub cookie: Option<ClientCookie>,
    /// The server's identifier is wanted (RFC 5001).
    pub nsid: bool,
    /// The client knows TCP keepalive (RFC 7828).
    pub keepalive: bool,
    /// The client padded, and so may be padded to (RFC 7830).
    pub padding: bool,
}

impl Query {
    /// Reads a query.
    pub fn parse(bytes: &[u8]) -> Result<Query, Reject> {
        let _ = bytes;
        Err(Reject::Silent)
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
        Opcode(u8::try_from((self.flags & flag::OPCODE) >> 11).unwrap_or(0))
    }
}

/// Why a packet is not a query that can be answered, and what to say to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Say nothing: fewer than 12 octets, or a reply.
    Silent,
    /// Say this; [`reject`] writes it.
    Reply {
        /// The response code.
        rcode: Rcode,
        /// Octets after the header that are echoed; 0 for none.
        echo_question: usize,
        /// Whether an OPT record goes with it.
        edns: bool,
    },
}

/// Writes the reply to a rejected packet into `out`; returns its octets, 0 for no reply.
pub fn reject(packet: &[u8], r: &Reject, out: &mut [u8]) -> usize {
    let _ = (packet, r, out);
    0
}
