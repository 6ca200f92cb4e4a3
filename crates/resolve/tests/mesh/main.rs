//! The mesh on a fake network with a fake clock: scenarios named by the RFC section or the Unbound behaviour they hold,
//! and properties that hold whatever happens.

mod chains;
mod failures;
mod forwarding;
mod net;
mod properties;
mod ttl;
