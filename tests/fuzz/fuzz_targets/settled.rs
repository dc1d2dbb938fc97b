//! See `jovis::proxy::fuzzing::settled`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::settled(bytes));
