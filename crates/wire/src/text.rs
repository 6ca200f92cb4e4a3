//! Presentation form.
use crate::name::Name;
use crate::types::{Class, Rtype};

/// One record in presentation form, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose record it is.
    pub owner: Name,
    /// The TTL in seconds: the one written, or the default.
    pub ttl: Option<u32>,
    /// Its class.
    pub class: Class,
    /// Its type.
    pub rtype: Rtype,
    /// Its data, uncompressed.
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

/// Reads `owner [ttl] [class] type data`.
pub fn parse_record(text: &str, default_ttl: u32) -> Result<Record, RecordError> {
    let _ = default_ttl;
    Err(RecordError {
        at: 0,
        what: format!("{text:?} is not a record"),
        hint: None,
    })
}

/// Record data in presentation form.
pub fn rdata_to_text(rtype: Rtype, rdata: &[u8]) -> String {
    format!("\\# {} {rtype}", rdata.len())
}
