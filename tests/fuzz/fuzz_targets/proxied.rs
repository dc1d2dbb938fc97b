//! See `jovis::proxy::fuzzing::proxied`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::proxied(bytes));
