//! See `sealvol_fuzz::policy_document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::policy_document::run(data));
