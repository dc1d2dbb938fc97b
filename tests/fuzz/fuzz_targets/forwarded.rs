//! See `jovis::proxy::fuzzing::forwarded`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jovis::proxy::fuzzing::forwarded(bytes));
