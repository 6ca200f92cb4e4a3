//! What each fuzz target checks, one module a crate: the targets in `fuzz_targets/` and the replay tests of the crates
//! call the same functions, so a finding becomes a seed and stays found.

pub mod conf_checks;
pub mod dnssec_checks;
pub mod wire_checks;
