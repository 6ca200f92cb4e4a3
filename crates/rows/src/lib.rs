//! Entries of the state that are many: records and blocks, by the million, between text and the data plane.
//!
//! Owns what the control plane must not do in Python: rows as the state keeps them, with the code over each ([`codec`]).
//! It opens no file and no database, and never decides what an entry means for an answer: that is `policy`.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod codec;

pub use codec::{Checked, Row, RowsError, Sum, check, mac_row};
