//! See `jovis::proxy::fuzzing::paths`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::paths(bytes));
