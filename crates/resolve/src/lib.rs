//! How we find out: questions in, answers out, by way of effects.
//!
//! This room owns the search for an answer that is not in the cache. It is **sans-I/O**: it has no clock, no socket, no
//! thread and no runtime. A driver (in production `net`, in tests a fake network with a fake clock) tells a [`Mesh`] what
//! happened ([`Mesh::query`], [`Mesh::reply`], [`Mesh::timeout`], [`Mesh::failed`]) and performs what it then finds in
//! [`Mesh::effects`]. What the mesh remembers of answers it puts into the shared [`store::Store`] itself, which is memory
//! and no input or output. Each worker has a mesh of its own.
//!
//! **One query, told once.** A client asks for `www.example. A`. The cache does not know; the driver calls `query`. The
//! closest forward zone is `.`, with two servers of which nothing is known: one is drawn. The mesh writes a packet with
//! an id nobody can guess and hands out `Send { id, server, packet, deadline }`. Forty milliseconds later the driver calls
//! `reply` with what came back. The id is the one sent, the question is the one asked; the reply says
//! `www.example. CNAME web.host.example.` and also has an address for that name. The link is believed, the address is
//! not: nobody asked this server for it under that name. `web.host.example.` is looked up in the store, then asked for in
//! its own right. The second reply ends the search: `Answer { clients, answer }` carries both records to everyone who
//! asked, and the store now knows the answer to both questions. `Cancel` tells the driver which exchanges are over.
//!
//! **The same query on a bad day.** The first server says nothing for 376 ms; the driver calls `timeout`, the mesh draws
//! the other server. That one says SERVFAIL. Meanwhile three more clients ask the same: they join, no packet is sent
//! for them. The mesh goes on, each wait longer, until every server failed five times or thirty seconds have passed.
//! Then all four clients get SERVFAIL with an extended error that names the last server and what was wrong with it,
//! `why` tells the log the same in Unbound's words, and for five seconds the store answers SERVFAIL without asking
//! anyone. The servers that stayed silent are now known as dead: the next question goes elsewhere, and one question in a
//! while finds out whether they are back.
//!
//! | module | owns |
//! |---|---|
//! | [`mesh`] | the query states, who waits for which, the state machine |
//! | [`forward`] | which servers are asked about which names |
//! | `select` | which server next, how long to wait, who is dead |
//! | `scrub` | what of a reply may be used and for how long |
//! | `why` | what clients and the log are told about a failure |
//! | [`limits`] | every number, with its reason |
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod forward;
pub mod limits;
mod memory;
pub mod mesh;
mod scrub;
mod select;
mod why;

pub use forward::{ForwardZone, Forwards, ForwardsBuilder, PrivateAddresses, Server};
pub use limits::Limits;
pub use memory::{servable, stale_answer};
pub use mesh::{ClientId, Counts, Effect, Mesh, Question, SendId, Transport};
pub use select::ServerView;
pub use store::{Found, Key, Millis};
