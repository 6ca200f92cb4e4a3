//! How we find out: questions in, answers out, by way of effects.
//!
//! This room owns the search for an answer that is not in the cache. It is **sans-I/O**: it has no clock, no socket, no
//! thread and no runtime. A driver (in production `net`, in tests a fake network with a fake clock) tells a [`Mesh`] what
//! happened ([`Mesh::query`], [`Mesh::reply`], [`Mesh::failed`], [`Mesh::timeout`]) and that time has passed
//! ([`Mesh::wake`], when [`Mesh::next_wake`] says so), and performs what it then finds in [`Mesh::effects`]. What the mesh
//! remembers of answers it puts into the shared [`store::Store`] itself, which is memory and no input or output. Each
//! worker has a mesh of its own.
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
//! **The same query on a bad day.** The server usually answers after 40 ms; after 80 the mesh asks the other one as well.
//! That one says SERVFAIL. At 120 ms the first counts as silent: the packet goes out again on the same socket (`Resend`),
//! which stays open, so that a reply to either packet is heard. Meanwhile three more clients ask the same: they join, no
//! packet is sent for them. After 1.9 s all four are told what is known: an answer past its time, if there is one and the
//! operator wants it served, else SERVFAIL with an extended error that names the server and what it did. The question goes on
//! without them. At two seconds the slow answer comes after all: the next client finds it in the cache, and the server is
//! known to be slow. Had it been silent for good, it would be dead by now: the next questions go elsewhere, a probe nobody
//! waits for finds out when it is back, and if no other server is left, clients are told so at once.
//!
//! | module | owns |
//! |---|---|
//! | [`mesh`] | the questions in progress: joining, timers, who gives way |
//! | `mesh::ask` | what leaves for whom and when: sending, sending again, hedging, racing |
//! | `mesh::hear` | what a reply means: matching, EDNS and TCP fallback, forgeries |
//! | `mesh::serve` | who is told what, what is remembered, stale answers |
//! | `mesh::descend` | recursion: from the root to who knows |
//! | `mesh::wait` | questions that wait for other questions |
//! | `mesh::prove` | answers that wait for their proof, and what becomes of those that have none |
//! | `mesh::probe` | packets that only measure a server |
//! | `mesh::state` | one question in progress, as data |
//! | `mesh::words` | what the mesh and its driver say to each other |
//! | [`forward`] | which servers are asked about which names; private addresses |
//! | [`recursion`] | where recursion begins: root hints, stub zones, switches |
//! | [`trust`] | where validation begins: anchors, and what is excused from it |
//! | `delegation` | a zone's servers, and what a reply of one of them is |
//! | `validate` | what of an answer is to be proven, in which order, with which keys |
//! | [`keycache`] | zones whose keys are proven |
//! | `minimise` | how much of a name a server gets to see |
//! | `lame` | which servers do not serve which zones |
//! | `select` | which server next, how long to wait, who is dead |
//! | `scrub` | what of a reply may be used and for how long |
//! | `implied` | what follows from proofs that are remembered |
//! | `memory` | what is asked of the store and put into it |
//! | `why` | what clients and the log are told about a failure |
//! | [`trace`] | what happened to a question that somebody wants explained |
//! | `witness` | the same of a proof |
//! | [`limits`] | every number, with its reason |
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod delegation;
pub mod forward;
mod implied;
pub mod keycache;
mod lame;
pub mod limits;
mod memory;
pub mod mesh;
mod minimise;
pub mod recursion;
mod scrub;
mod select;
pub mod trace;
pub mod trust;
mod validate;
mod why;
mod witness;

pub use dnssec::says_no_name;
pub use forward::{ForwardZone, Forwards, ForwardsBuilder, PrivateAddresses, Server};
pub use keycache::KeyCache;
pub use limits::Limits;
pub use memory::{Fit, refused_answer, servable, stale_answer};
pub use mesh::{ClientId, Counts, Effect, Mesh, Question, SendId, Transport};
pub use recursion::{Family, Minimise, Recursion, StubZone, root_hints};
pub use select::ServerView;
pub use store::{Found, Key, Millis};
pub use trace::Trace;
pub use trust::{Begin, Live, Trust};
pub use why::Fault;
