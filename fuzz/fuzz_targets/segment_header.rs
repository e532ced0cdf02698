//! See `sealvol_fuzz::segment_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::segment_header::run(data));
