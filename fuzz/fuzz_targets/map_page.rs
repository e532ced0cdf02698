//! See `sealvol_fuzz::map_page`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::map_page::run(data));
