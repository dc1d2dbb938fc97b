//! See `jovis::proxy::fuzzing::plain`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::plain(bytes));
