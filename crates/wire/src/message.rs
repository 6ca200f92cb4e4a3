//! Replies from upstream servers.
use std::fmt;

use crate::name::NameBuf;
use crate::rrset::Rrset;
use crate::types::{Class, Rcode, Rtype, flag};

/// A reply from an upstream server, checked to the last octet.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message id.
    pub id: u16,
    /// The header bits; see [`flag`].
    pub flags: u16,
    /// The response code, with the high bits of EDNS.
    pub rcode: Rcode,
    /// The question it repeats.
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
    /// The extended errors, code and text (RFC 8914).
    pub ede: Vec<(u16, String)>,
}

impl Reply {
    /// Reads a reply.
    pub fn parse(bytes: &[u8]) -> Result<Reply, WireError> {
        let _ = bytes;
        Err(WireError::Short)
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
}

/// Why octets are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends too early.
    Short,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WireError::Short => "the message ends too early",
        })
    }
}

impl std::error::Error for WireError {}
