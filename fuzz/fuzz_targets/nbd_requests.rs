//! See `sealvol_fuzz::nbd_requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::nbd_requests::run(data));
