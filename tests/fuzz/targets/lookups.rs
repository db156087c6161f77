#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eep_tests::fuzz::run("lookups", bytes));
