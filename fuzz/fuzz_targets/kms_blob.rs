//! See `sealvol_fuzz::kms_blob`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::kms_blob::run(data));
