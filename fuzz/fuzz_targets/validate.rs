//! Fuzzes validation of messages; see `runbound_fuzz::dnssec_checks::validate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::dnssec_checks::validate(data));
