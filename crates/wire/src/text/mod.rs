//! Records as people write them: presentation form to wire form and back, for every type.
//!
//! It owns the record line of `local-data` (`owner [ttl] [class] type data`), as Unbound 1.17.1 reads it, and the text
//! of record data as zone files and `dig` show it. It never reads files, origins or directives, and never decides what
//! a record is used for.
//!
//! What Unbound takes, and so do we (probed with `unbound-checkconf` and a running server): owners and names in data are
//! absolute, with or without the final dot; TTL units (`1h30m`); parentheses and `; comment`; text after the data, which
//! is ignored; a type without any data, which makes a record of no octets; `TYPEnnn` and `\# length hex` for any type.
//! What it refuses, and so do we: the class before the TTL.

mod parts;
mod read;
mod write;

pub use read::{parse_rdata, parse_record};
pub use write::rdata_to_text;

use crate::name::Name;
use crate::types::{Class, Rtype};

/// One record in presentation form, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose record it is, in the case written.
    pub owner: Name,
    /// The TTL in seconds: the one written, or the default handed in. Always `Some`.
    pub ttl: Option<u32>,
    /// Its class.
    pub class: Class,
    /// Its type.
    pub rtype: Rtype,
    /// Its data, uncompressed; empty if the line ends after the type.
    pub rdata: Vec<u8>,
}

/// Why text is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Octet in the text where it went wrong.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RecordError {}
