//! See `sealvol_fuzz::kms_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::kms_token::run(data));
