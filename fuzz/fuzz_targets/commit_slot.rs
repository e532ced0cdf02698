//! See `sealvol_fuzz::commit_slot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::commit_slot::run(data));
