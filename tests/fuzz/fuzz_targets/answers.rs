//! See `jovis::proxy::fuzzing::answers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::answers(bytes));
