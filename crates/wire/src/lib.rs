//! Names, messages, EDNS: bytes to values and back.
//!
//! The room that knows how DNS looks on the wire and on paper. It owns every offset, length and escape, and has no
//! clock, no sockets and no shared state: each function is a pure one of its arguments. What comes from the network can
//! not panic it; the lints below refuse the ways there are.
//!
//! | module | takes | gives |
//! |---|---|---|
//! | [`query`] | a client's packet | [`Query`], or [`Reject`] and the reply to send |
//! | [`build`] | [`Query`] and [`Answer`] | the reply, without a heap allocation |
//! | [`message`] | an upstream server's packet | [`Reply`], every bound checked |
//! | [`text`] | `www.example. 300 IN A 192.0.2.1` | [`Record`], and back |
//! | [`cookie`] | a cookie option and the secrets | whether the address is proven |
//! | [`name`], [`types`], [`rrset`] | | the values the others speak in |
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod build;
pub mod cookie;
pub mod message;
pub mod name;
pub mod query;
mod rdata;
pub mod rrset;
pub mod text;
pub mod types;

pub use build::{EdnsOut, Render, add_option, question, render};
pub use cookie::{ClientCookie, CookieSecret, CookieState};
pub use message::{EdnsReply, Reply, WireError};
pub use name::{Name, NameBuf, NameError, NameRef};
pub use query::{EdnsQuery, Query, Reject, refuse, reject, reject_with};
pub use rdata::compressible;
pub use rrset::{Answer, Ede, RdataSet, Rrset, RrsetData};
pub use text::{Record, RecordError, parse_record, rdata_to_text};
pub use types::{Class, Opcode, Rcode, Rtype};
