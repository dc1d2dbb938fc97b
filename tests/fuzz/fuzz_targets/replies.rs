//! See `jovis::proxy::fuzzing::replies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::replies(bytes));
