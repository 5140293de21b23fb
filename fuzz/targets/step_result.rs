#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xp::fuzzing::step_result(bytes));
