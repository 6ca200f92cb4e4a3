//! Puts it together: a document and a scan become a snapshot, a snapshot becomes running workers.
//!
//! Owns the order of things: open the log, open the sockets, (the caller drops privileges,) compile, start the
//! workers, apply later documents, drain, stop. [`compile`] turns values into rooms and collects every complaint;
//! [`Engine`] holds what runs. It knows no Python and must never decide about a single query: that is `policy`,
//! `store` and `resolve`, called by `net`.

mod anchors;
mod cache;
pub mod compile;
pub mod document;
mod engine;
pub mod explain;
mod failure;
mod follow;
mod listening;
pub mod lookup;
mod querylog;
mod recheck;
pub mod standing;
pub mod surroundings;
mod trust;
pub mod upstreams;
mod watch;

pub use crate::engine::{Change, Effect, Engine, Health};
pub use compile::check;
pub use failure::Failure;
pub use querylog::Erased;
pub use surroundings::Surroundings;
