//! See `sealvol_fuzz::kms_store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::kms_store::run(data));
