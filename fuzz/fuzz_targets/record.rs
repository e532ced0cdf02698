//! See `sealvol_fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::record::run(data));
