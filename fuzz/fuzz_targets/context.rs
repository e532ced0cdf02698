//! See `sealvol_fuzz::context`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::context::run(data));
