//! See `sealvol_fuzz::volume_image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealvol_fuzz::volume_image::run(data));
