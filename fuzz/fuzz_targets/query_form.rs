//! See `sealvol_fuzz::query_form`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::query_form::run(data));
