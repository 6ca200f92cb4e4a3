//! The system calls: what std and tokio do not offer, behind safe functions.
//!
//! This crate owns every `unsafe` of the packet path: batches of datagrams (`udp`), sockets set up as
//! Unbound's options ask (`socket`), names of interfaces (`interfaces`), processor affinity (`affinity`),
//! giving up privileges (`privileges`), what a process with secrets asks about itself (`process`), limits of the process
//! (`limits`), its memory (`memory`), its environment (`environment`), a child process (`child`) and the socket to it
//! (`channel`), `glob(3)` (`glob`), clocks (`clock`), and the log sink (`log`, `syslog`).
//! It knows nothing of DNS and must never learn: no names, no messages, no policy.

#![allow(unsafe_code)] // this is the one crate of the packet path that may: the workspace denies it elsewhere

pub mod affinity;
pub mod channel;
pub mod child;
pub mod clock;
pub mod environment;
pub mod glob;
pub mod interfaces;
pub mod limits;
pub mod log;
pub mod memory;
pub mod privileges;
pub mod process;
pub mod socket;
mod syslog;
pub mod udp;
