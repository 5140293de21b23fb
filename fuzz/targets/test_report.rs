#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xp::fuzzing::test_report(bytes));
