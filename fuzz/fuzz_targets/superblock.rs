//! See `sealvol_fuzz::superblock`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::superblock::run(data));
