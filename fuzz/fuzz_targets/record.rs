//! Fuzzes record lines; see `runbound_fuzz::wire_checks::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::wire_checks::record(data));
