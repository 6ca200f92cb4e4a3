//! unbound.conf, scanned without losing anything.
//!
//! Owns the path from files to statements: words, quotes, includes, clauses, and everything that can be wrong with those,
//! told with file, line and column, all of it in one run. Must never judge a value (the Python room `config` does, by the
//! options table) and never build an object for a `local-zone`, `local-data` or `local-data-ptr` of `server:`: people
//! include files with a million of them, so they stay byte ranges into the text.
//!
//! The grammar is Unbound's, in two moods: where a keyword is expected, only a keyword with its colon glued on, a comment
//! or an include means something; where a value is expected, nothing but `include:` is a keyword. Read `lex` for words,
//! `scan` for structure, `source` for where text comes from.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod keywords;
pub mod lex;
mod scan;
pub mod source;
pub mod suggest;

pub use scan::{
    At, Bulk, BulkKind, Clause, File, MAX_DEPTH, MAX_FILES, MAX_MESSAGES, MAX_OCTETS, Message, Scan, Severity,
    Statement, Value, scan, scan_in, scan_text,
};
