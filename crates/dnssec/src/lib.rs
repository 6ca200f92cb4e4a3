//! Is it true? DNSSEC validation as pure functions over RRsets, every step charged to a [`Budget`].
//!
//! The room has no clock (time is handed in, unix seconds), no sockets, no cache and no shared state. Octets from the
//! network cannot panic it. It fetches nothing: the caller, a validator that can ask questions, walks the chain and hands
//! over what it has got. A protocol outcome is a value here, never an error.
//!
//! # Types are the chain
//!
//! What is proven cannot be made up, because the values that stand for proof are made in one place each:
//!
//! | value | says | made by |
//! |---|---|---|
//! | [`Anchor`] | believed without proof | configuration, [`Autotrust`] |
//! | [`ZoneKeys`] | these are the zone's keys | [`by_anchor`], [`by_ds`] |
//! | [`Secure`] | this set is what its zone says | [`verify()`], which wants [`ZoneKeys`] |
//! | [`Denial`] | these records of the zone deny things | [`Denial::new`], which wants [`Secure`] sets |
//! | [`Proven`] | this name, type or DS set is not there | the proofs of [`Denial`] |
//!
//! `by_ds` wants a [`Secure`] DS set, and so the chain closes: anchor, keys, DS, keys, DS, …, keys, answer.
//! [`Secure::remembered`] is the one door for what a cache kept.
//!
//! # How a chain is walked
//!
//! For an answer to `www.child.example A`, with one [`Budget`] from the first step to the last, restarts included:
//!
//! 1. **Where it begins.** [`Anchors::above`] gives the closest anchor over the name. None: the answer is insecure, there is
//!    nothing to check. (Negative trust anchors and `domain-insecure` are the caller's: below one, stop here.)
//! 2. **The first keys.** Fetch the DNSKEY set of the anchor's zone; [`by_anchor`] gives [`ZoneKeys`]. [`Keys::Insecure`]:
//!    everything below is insecure. [`Keys::Bogus`]: everything below is bogus; ask other servers before giving up.
//! 3. **How far down.** [`signer()`] of the answer's sets says where they claim to be signed. It is a hint where to go and
//!    proves nothing: an answer without signatures still needs the walk, to learn whether it may be without. Then the way
//!    goes down to the name of the question (for a DS question: to the name above it).
//! 4. **One step down**, for each next name between the zone and the goal: ask for its DS set.
//!    - There is one: [`verify()`] it with the keys at hand, fetch the DNSKEY set of that name, [`by_ds`] gives the next
//!      [`ZoneKeys`]. [`Keys::Insecure`] (algorithms or digests not supported): all below is insecure, done.
//!    - There is none: [`verify()`] the NSEC or NSEC3 sets of the reply, make a [`Denial`], ask [`Denial::no_ds`].
//!      [`NoDs::Unsigned`], [`NoDs::Insecure`]: all below is insecure, done. [`NoDs::NoCut`]: not a zone cut, take the next
//!      name with the same keys. [`NoDs::NoName`]: the name is not there, so no cut is there or below; stop here, the keys at
//!      hand are those of the answer, which may be out of a wildcard. [`NoDs::Bogus`]: bogus.
//!    - There is a CNAME instead: verified with the keys at hand it means no zone cut, as `NoCut`.
//! 5. **The answer.** [`verify()`] every set of the answer and authority sections with the keys of its zone.
//!    - A set out of a wildcard ([`Secure::wildcard`]) needs [`Denial::wildcard_answer`] for the name asked. That holds for
//!      CNAMEs too. Without the proof it is bogus.
//!    - A CNAME without signature next to a verified DNAME is true if [`synthesised`] says so.
//!    - Each name of a CNAME chain may be in another zone; each walks from its own anchor, with what is remembered.
//! 6. **A denial.** NXDOMAIN: [`Denial::name_error`]; NOERROR without data: [`Denial::no_data`], both for the last name of the
//!    chain. [`Proof::Insecure`] is an answer without AD. [`Proven::nxname`] says that a "no data" stands for a name that does
//!    not exist (RFC 9824): send NXDOMAIN to who can take it.
//! 7. **What is said.** Secure if every part is, insecure if a part is insecure and none bogus; then SERVFAIL with
//!    [`Reason::ede`]. The TTL of every set is [`Secure::set`]'s, that of a denial [`Proven::ttl`] at most. Sets of the
//!    additional section that do not verify are left out, no more.
//!
//! [`Denial::synthesise`] answers later questions out of remembered records (RFC 8198).
//!
//! # What is bounded
//!
//! [`budget`] names every limit with the attack it answers. Whoever runs out of budget gets `OverBudget`: nothing is known,
//! so the client gets SERVFAIL, and nothing is cached as bogus for longer than a failure.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod algorithm;
pub mod anchor;
pub mod autotrust;
pub mod bitmap;
pub mod budget;
pub mod canonical;
pub mod denial;
mod dname;
mod ds;
mod key;
mod keys;
mod nsec;
pub mod nsec3;
mod reason;
pub mod rules;
mod sig;
#[cfg(test)]
mod tests;
mod verify;

pub use algorithm::Algorithm;
pub use anchor::{Anchor, AnchorError, Anchors};
pub use autotrust::Autotrust;
pub use bitmap::Types;
pub use budget::{Budget, OverBudget};
pub use canonical::Canonical;
pub use denial::{Denial, NoDs, Proof, Proven, Synthesis, claims_no_ds};
pub use dname::synthesised;
pub use ds::Ds;
pub use key::{Dnskey, key_tag};
pub use keys::{Keys, ZoneKeys, by_anchor, by_ds};
pub use nsec::{Nsec, says_no_name};
pub use nsec3::Nsec3;
pub use reason::Reason;
pub use rules::{Date, Iterations, Rules};
pub use sig::{Rrsig, is_expanded, signer};
pub use verify::{Outcome, Secure, verify};
