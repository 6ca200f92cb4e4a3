//! Fuzzes EDNS options and OPT records; see `runbound_fuzz::wire_checks::edns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::wire_checks::edns(data));
