//! See `sealvol_fuzz::sigv4_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::sigv4_request::run(data));
