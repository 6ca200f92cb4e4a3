//! What we remember: the answers all workers share, and nothing about how they were found.
//!
//! This room owns one thing, the [`Store`]: a map from a question to the answer that was found for it, the moment it
//! was stored and the seconds it may be used. It never decides a TTL or what is worth keeping (that is `resolve`), never
//! renders (that is `wire`), has no clock (the caller hands in [`Millis`]) and does no input or output.
//!
//! How it is built, from outside to inside:
//!
//! - **Shards** ([`cache`]). The key's hash picks one of a power of two of shards, each behind its own lock, so workers
//!   rarely meet. A lock is held for one look-up or one insertion, never while anything is rendered or sent; what a
//!   look-up hands out is an `Arc`, which stays good when the entry is evicted a moment later.
//! - **Bytes, not entries.** The limit is octets of heap, counted as the allocator hands them out ([`message`]), tables
//!   and lists included. It is never exceeded once a call has returned, whatever sizes the answers have. A message that
//!   no shard could hold is not stored.
//! - **SIEVE** (`sieve`) decides who leaves when room is needed: a queue in order of arrival, a mark on every entry
//!   that was read, and a hand that walks from the oldest towards the newest, taking marks off and evicting what has
//!   none. One-hit wonders (random-name floods among them) leave first, and reading needs no reordering.
//! - **Time.** An entry is used while its age is below its TTL. After that [`Store::get`] does not hand it out; the
//!   octets are reclaimed when the hand passes, or when a newer answer to the same question replaces it.
//!
//! Keys compare names without regard to case (RFC 4343). Looking up takes a borrowed name of any case and allocates
//! nothing.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod answers;
pub mod cache;
pub mod dump;
mod flush;
mod index;
pub mod message;
pub mod sets;
pub mod shard;
mod sieve;

pub use answers::Answers;
pub use cache::{Found, Put, Sizes, Store, TableUsage, Usage};
pub use dump::Loaded;
pub use message::Key;
pub use sets::{KnownSet, Security, Trust};
pub use shard::{MAX_SHARDS, MIN_SHARD_BYTES};

/// Monotonic milliseconds since a moment the caller chose, the same for all workers. Handed in: this room and `resolve`
/// own no clock.
pub type Millis = u64;
