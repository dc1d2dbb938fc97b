//! See `jovis::proxy::fuzzing::rest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::rest(bytes));
