//! What may be said: who is served, what is answered locally, and in which order that is decided.
//!
//! The room owns the operator's rules in their compiled, immutable form. It has no clock, no sockets and no shared
//! state: a [`Policy`] is built once per snapshot and read by every worker. It never resolves, never caches and never
//! sends; it says [`Verdict::Pass`] and the pipeline goes on.
//!
//! | module | owns |
//! |---|---|
//! | [`verdict`] | THE ORDER: one function that a person can read from top to bottom |
//! | [`acl`] | `access-control`: which client is treated how |
//! | [`local`] | `local-zone`, `local-data`, `local-data-ptr` and the zones that are there by default |
//! | [`overlay`] | records and blocks of the API, shared between snapshots |
//! | [`chaos`] | class CH: `id.server`, `version.bind`, `trustanchor.unbound` |
//! | [`problem`] | what is wrong with a rule, and where it stands |
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod acl;
pub mod chaos;
pub mod local;
pub mod overlay;
pub mod problem;
pub mod verdict;
mod walk;

pub use acl::{Acl, AclAction, AclBuilder};
pub use chaos::{Chaos, Texts};
pub use local::{Defaults, LocalZones, LocalZonesBuilder, ZoneKind};
pub use overlay::{Block, Item, Overlay};
pub use problem::{Origin, Problem, Severity};
pub use verdict::{Decision, LocalHit, Policy, Verdict};
