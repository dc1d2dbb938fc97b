//! See `jovis::proxy::fuzzing::hosts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::hosts(bytes));
