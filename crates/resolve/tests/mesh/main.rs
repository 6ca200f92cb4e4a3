//! The mesh on a fake network with a fake clock: scenarios named by the RFC section or the Unbound behaviour they hold,
//! and properties that hold whatever happens.

mod attacks;
mod chains;
mod chaos;
#[allow(unreachable_pub)] // public for the fuzz targets, which are another crate
#[path = "../../../../fuzz/src/conversation_checks.rs"]
mod conversation_checks;
mod conversations;
mod corpus;
mod crowd;
mod dead;
mod delegations;
mod denied;
mod descent;
mod explained;
mod failures;
mod forwarding;
mod guard;
mod internet;
mod late;
mod net;
mod properties;
mod scenarios;
mod signed;
mod signer;
mod stale;
mod ttl;
mod validation;
