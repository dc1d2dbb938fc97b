//! See `jovis::proxy::fuzzing::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::frames(bytes));
