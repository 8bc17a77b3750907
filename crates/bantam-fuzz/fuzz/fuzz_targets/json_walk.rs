#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bantam_fuzz::run("json_walk", bytes));
