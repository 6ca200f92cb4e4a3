//! Fuzzes the scanner of unbound.conf; see `runbound_fuzz::conf_checks::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::conf_checks::config(data));
