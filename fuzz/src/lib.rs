//! What each fuzz target checks, one module a crate: the targets in `fuzz_targets/` and the replay tests of the crates
//! call the same functions, so a finding becomes a seed and stays found.

pub mod conf_checks;
pub mod conversation_checks;
pub mod dnssec_checks;
pub mod rows_checks;
pub mod wire_checks;

// The network, the Internet and the signer of the tests of `resolve`: a conversation is played there too.
#[allow(dead_code)]
#[path = "../../crates/resolve/tests/mesh/internet.rs"]
mod internet;
#[allow(dead_code)]
#[path = "../../crates/resolve/tests/mesh/net.rs"]
mod net;
#[allow(dead_code)]
#[path = "../../crates/resolve/tests/mesh/signer.rs"]
mod signer;
