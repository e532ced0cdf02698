//! Sealing and opening: both AES-256-GCM implementations as the engine calls them (48 bytes of
//! associated data, out of place), and AES-256-XTS, which EBS uses, for reference. The XTS is
//! RustCrypto's (`xts-mode` over `aes`), in data units of 4 KiB (512 bytes for the smallest size);
//! it authenticates nothing.

use std::hint::black_box;

use aes::Aes256;
use aes::cipher::KeyInit;
use criterion::{BenchmarkId, Criterion, Throughput};
use sealvol_benches::{Config, criterion, noise};
use sealvol_envelope::aead::AeadBackend;
use xts_mode::{Xts128, get_tweak_default};

const SIZES: [(usize, &str); 4] =
    [(512, "512 B"), (4 << 10, "4 KiB"), (16 << 10, "16 KiB"), (256 << 10, "256 KiB")];
const AAD: [u8; 48] = [3; 48];

fn gcm(c: &mut Criterion) {
    for backend in AeadBackend::ALL {
        let key = backend.expand(&[7; 32]);
        let mut group = c.benchmark_group("seal_open");
        for (len, name) in SIZES {
            let plain = noise(len, 1);
            let mut sealed = vec![0; len];
            let mut counter = 0_u64;
            let mut nonce = || {
                counter += 1;
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&counter.to_le_bytes());
                nonce
            };
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(
                BenchmarkId::new(format!("seal/{}", backend.as_str()), name),
                |b| {
                    b.iter(|| key.seal(&nonce(), &AAD, black_box(&plain), &mut sealed));
                },
            );
            let nonce = nonce();
            let tag = key.seal(&nonce, &AAD, &plain, &mut sealed).expect("lengths are equal");
            let mut opened = vec![0; len];
            group.bench_function(
                BenchmarkId::new(format!("open/{}", backend.as_str()), name),
                |b| {
                    b.iter(|| {
                        key.open(&nonce, &AAD, black_box(&sealed), &tag, &mut opened)
                            .expect("it authenticates");
                    });
                },
            );
        }
        group.finish();
    }
}

fn xts(c: &mut Criterion) {
    let halves = [[7; 32], [8; 32]].map(|half| Aes256::new(&half.into()));
    let [data, tweak] = halves;
    let cipher = Xts128::new(data, tweak);
    let mut group = c.benchmark_group("seal_open");
    for (len, name) in SIZES {
        let unit = len.min(4096);
        let mut buf = noise(len, 1);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("encrypt/aes-256-xts (RustCrypto)", name), |b| {
            b.iter(|| cipher.encrypt_area(black_box(&mut buf), unit, 1000, get_tweak_default));
        });
        group.bench_function(BenchmarkId::new("decrypt/aes-256-xts (RustCrypto)", name), |b| {
            b.iter(|| cipher.decrypt_area(black_box(&mut buf), unit, 1000, get_tweak_default));
        });
    }
    group.finish();
}

fn main() {
    let mut c = criterion(&Config::from_env());
    gcm(&mut c);
    xts(&mut c);
    c.final_summary();
}
