//! What we remember: the answers all workers share, and nothing about how they were found.
//!
//! This room owns two things. The [`Store`] maps questions to answers and names to record sets, each with the second its
//! time ends. [`answers`] is the first level before it: one worker's own rendered replies. Neither decides a TTL or what is
//! worth keeping (that is `resolve`), renders (that is `wire`), has a clock (the caller hands in [`Millis`]) or does any
//! input or output.
//!
//! ```text
//!   question ──hash──▶ message shard: index ──▶ slot: code, flags, time ── handles ─┐
//!                      (msg-cache-size)                                            │ shard, slot, generation
//!   owner, type ─hash─▶ set shard: index ──▶ slot: time, trust, security ◀──────────┘
//!                      (rrset-cache-size)        └▶ owner, data, signatures: one piece of heap
//! ```
//!
//! How it is built, from outside to inside:
//!
//! - **Two tables** ([`cache`]). A message is the skeleton of an answer: code, flags, time, and 8 octets for each of its
//!   record sets ([`message`]). A set ([`sets`]) stands in its slot once, however many answers use it. So better data are
//!   seen by every answer at once, TTLs count down from the first arrival, and a set that was flushed or evicted ends the
//!   answers it stood in. What a look-up hands out is a copy of its own.
//! - **Rank** ([`sets`]). Which of two sets is believed follows RFC 2181 5.4.1 with Unbound's refinements. Equal data never
//!   renew their TTL before it ends, and name servers do not even by changing (ghost domains).
//! - **Shards** ([`shard`]). The key's hash picks one of a power of two of shards, each behind its own lock, so workers
//!   rarely meet. Nothing is rendered or sent while one is held. In which order locks are taken, and what a reader on
//!   another worker can see, stands in [`cache`].
//! - **Octets, not entries.** Each table has a limit of octets of heap, counted as the allocator hands them out, indices
//!   and slots included. It is never exceeded once a call has returned. What no shard could hold is not stored.
//! - **SIEVE** (`sieve`) decides who leaves when room is needed: a queue in order of arrival, a mark on every entry that
//!   was read, and a hand that walks from the oldest towards the newest, taking marks off and evicting what has none.
//!   One-hit wonders (random-name floods among them) leave first, and reading needs no reordering.
//! - **Time** is counted in whole seconds, so that all TTLs tick at the same instant. An expired entry stays until its place
//!   is needed: RFC 8767 lets it serve when nothing better is to be had. TTL 0 is never stored.
//! - **Denials** ([`denials`]): an index by which proven NSEC and NSEC3 sets answer questions nobody asked yet (RFC 8198).
//! - **Flushes** (`flush`) walk the tables a few entries a lock hold and start a new epoch, so that an answer that was on
//!   its way meanwhile is not put back. **Dumps** ([`dump`]) are Unbound's text.
//!
//! Keys compare names without regard to case (RFC 4343).
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod answers;
mod borrowed;
pub mod cache;
mod cuts;
pub mod denials;
pub mod dump;
mod flush;
mod index;
pub mod message;
pub mod sets;
pub mod shard;
mod sieve;

pub use answers::Answers;
pub use borrowed::Borrowed;
pub use cache::{Found, Put, Sizes, Store, TableUsage, Usage};
pub use denials::{Denying, HASHED, Hashed};
pub use dump::Loaded;
pub use message::Key;
pub use sets::{KnownSet, Security, Trust};
pub use shard::{MAX_SHARDS, MIN_SHARD_BYTES};

/// Monotonic milliseconds since a moment the caller chose, the same for all workers. Handed in: this room and `resolve`
/// own no clock.
pub type Millis = u64;
