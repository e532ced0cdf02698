//! See `sealvol_fuzz::session_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::session_token::run(data));
