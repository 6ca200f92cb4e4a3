//! Fuzzes the mesh with recursion, validation and forwarding; see `runbound_fuzz::conversation_checks::conversation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runbound_fuzz::conversation_checks::conversation(data));
