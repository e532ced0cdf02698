//! See `sealvol_fuzz::kms_http_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::kms_http_body::run(data));
