//! See `jovis::proxy::fuzzing::targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::targets(bytes));
