//! Entries of the state that are many: records and blocks, by the million, between text and the data plane.
//!
//! Owns what the control plane must not do in Python: text and JSON into checked, sorted entries ([`bulk`], which reads with
//! [`object`], [`lines`] and [`entry`]), the octets they are found by ([`key`]), rows as the state keeps them, with the code
//! over each ([`codec`]), and both as the data plane has them ([`items`]). It opens no file and no database, and never decides what an entry means for an answer: that
//! is `policy`.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod bulk;
pub mod codec;
pub mod entry;
pub mod items;
pub mod key;
mod lines;
mod object;

pub use bulk::{Bulk, BulkError, Fault, Kind};
pub use codec::{Checked, Recoded, Row, RowsError, Sum, check, mac_row, recode};
pub use items::{Delta, Loading};
pub use policy::overlay::Overlay;
