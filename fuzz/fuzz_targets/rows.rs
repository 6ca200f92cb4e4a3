//! Fuzzes rows of the state; see `runbound_fuzz::rows_checks::rows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::rows_checks::rows(data));
