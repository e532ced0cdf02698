//! See `sealvol_fuzz::iam_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::iam_config::run(data));
