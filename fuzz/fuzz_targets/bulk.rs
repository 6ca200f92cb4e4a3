//! Fuzzes entries on their way in; see `runbound_fuzz::rows_checks::bulk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::rows_checks::bulk(data));
