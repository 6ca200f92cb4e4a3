//! Keys in a token, by PKCS#11, in a process of their own.
//!
//! A vendor's library is loaded in a helper process and nowhere else, as OpenSSH does: there it can crash, hang or look
//! around without touching the resolver. Owns both sides: [`client`] starts the helper, asks and gives up in time;
//! [`mod@serve`] is the helper. Between them run the frames of [`frame`], with the messages of [`messages`] in them.
//!
//! `unsafe` stands here because every function of PKCS#11 is a C function of a library we do not know. What the kernel is
//! asked goes through `sys`. This crate knows no file of ours, no option and no Python.

#![allow(unsafe_code)] // PKCS#11 is C; each block says what it relies on
#![allow(clippy::result_large_err)] // a failure ends the turn, so its size costs nothing
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod admin;
pub mod client;
mod ecdh;
mod failure;
#[cfg(test)]
mod fake;
pub mod frame;
mod inspect;
mod keeper;
mod keys;
pub mod messages;
mod module;
mod names;
mod objects;
pub mod serve;
mod session;
mod slots;
mod text;
