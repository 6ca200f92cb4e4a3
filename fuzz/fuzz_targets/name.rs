//! Fuzzes names, compressed, in wire form and as text; see `runbound_fuzz::wire_checks::name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::wire_checks::name(data));
