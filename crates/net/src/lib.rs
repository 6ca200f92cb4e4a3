//! Bytes in, bytes out: the worker loop, UDP and TCP towards clients, UDP and TCP towards upstream servers.
//!
//! The room where everything before it comes together for one packet. It owns the sockets, the threads, the waiting and
//! the counting; it decides nothing a rule of `policy`, a state of `resolve` or a format of `wire` decides. The path of a
//! query is one file that reads from top to bottom: `pipeline.rs`.
//!
//! | module | owns |
//! |---|---|
//! | [`listen`] | an `interface:` line becomes sockets, one set a worker |
//! | [`pool`] | the threads: start, apply a snapshot, add and remove listeners, drain, stop |
//! | [`snapshot`] | what a packet is answered by |
//! | [`stats`] | the counters, under Unbound's names |
//! | [`outbound`] | sockets towards upstream servers; which ports queries leave from |
//! | [`lookup`] | questions of the operator, from inside |
//! | [`explain`] | the same with the reasons for what comes of them |
//! | `worker` | one thread's state, its commands and its clock |
//! | `flights` | packets on their way to upstream servers |
//! | `kept` | TCP connections to them, kept and shared |
//! | `pipeline` | the ten steps of a query |
//! | `reply` | the last two of them: octets, counters, log lines |
//! | `refuse` | what is not answered but with a code |
//! | `udp`, `stream` | how packets come and answers go |
//! | `pending` | clients that wait |
//! | `lines` | the log lines of queries and replies |
//! | [`tape`] | what the query log is made from |
//!
//! **A day in the life.** `udp::serve` takes a batch of datagrams and the snapshot. For each, `pipeline::handle` either
//! writes an answer into the outgoing batch, or puts the client into `pending` and the question into the mesh. The batch
//! leaves in one system call. Then the worker performs what the mesh wants: `flights` opens a socket, sends, and waits
//! in a task of its own; its reply goes back into the mesh, the mesh names the clients to answer, `pipeline::finish`
//! renders for each of them. Another thread that has a new snapshot sends a command; the worker takes it between two
//! batches and says so. Nothing on this path takes a lock, but the cache shard's and the log's.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod explain;
mod flights;
mod kept;
mod lines;
pub mod listen;
pub mod lookup;
pub mod outbound;
mod pending;
mod pipeline;
pub mod pool;
mod refuse;
mod reply;
pub mod snapshot;
pub mod stats;
mod stream;
pub mod tape;
mod udp;
mod worker;

pub use explain::{Explained, Inquiry, Room};
pub use listen::{ListenSpec, ListenerSet, SocketOptions};
pub use lookup::Looked;
pub use outbound::{PermittedPorts, PortSet};
pub use pool::Pool;
pub use snapshot::{ConnectionLimit, Serve, Snapshot, SourceAddr, Upstream};
pub use worker::Sockets;
