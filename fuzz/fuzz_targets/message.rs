//! Fuzzes any packet, as a query and as a reply; see `runbound_fuzz::wire_checks::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::wire_checks::message(data));
