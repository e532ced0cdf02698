//! Attach time: unwrapping the data key and opening the volume, for a small volume and a thin one
//! of 1 TiB. The KMS is the embedded one in memory, so this is the engine's share and the cipher's;
//! a KMS across a network adds one round trip.

use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use sealvol_benches::{Config, Result, criterion, fill};
use sealvol_core::{
    BlockDevice, ByteLen, Entropy, SystemClock, SystemEntropy, VolumeId, WriteFlags,
};
use sealvol_engine::{CreateOptions, Engine, create, read_public};
use sealvol_envelope::aead::AeadBackend;
use sealvol_envelope::{
    DecryptRequest, EncryptionContext, GenerateDataKeyRequest, GrantTokens, KeyService,
};
use sealvol_format::{Geometry, StoredKey};
use sealvol_kms::{Kms, KmsSettings};
use sealvol_storage::{FileStorage, OpenMode};

struct Host {
    runtime: tokio::runtime::Runtime,
    kms: Arc<dyn KeyService>,
}

impl Host {
    /// Creates a volume; returns nothing, as the file says everything.
    fn create(&self, path: &Path, key_id: &str, len: ByteLen) -> Result<()> {
        let context = EncryptionContext::for_volume("vol-0123456789abcdef0")?;
        let wrapped = self.runtime.block_on(self.kms.generate_data_key_without_plaintext(
            GenerateDataKeyRequest {
                key_id: key_id.to_owned(),
                context,
                number_of_bytes: 64,
                grant_tokens: GrantTokens::default(),
            },
        ))?;
        let mut id = [0; 16];
        SystemEntropy.fill(&mut id)?;
        let options = CreateOptions {
            volume: VolumeId(id),
            blocks: len.blocks().ok_or("the size is not a multiple of 4096")?,
            key: StoredKey {
                id: 1,
                lineage: id,
                commitment: [0; 32],
                key_arn: wrapped.key_arn,
                context: wrapped.context.canonical(),
                blob: wrapped.ciphertext,
            },
            geometry: Geometry::DEFAULT,
            space_percent: 130,
        };
        create(&FileStorage::create_new(path)?, &options)?;
        Ok(())
    }

    /// What an attach does: read the public header, unwrap, open.
    fn attach(&self, path: &Path) -> Result<Engine> {
        let storage = FileStorage::open(path, OpenMode::ReadWrite)?;
        let public = read_public(&storage)?;
        let stored = public.keys.first().ok_or("the volume has no key")?;
        let key = self.runtime.block_on(self.kms.decrypt(DecryptRequest {
            ciphertext: stored.blob.clone(),
            context: EncryptionContext::from_canonical(&stored.context)?,
            key_id: Some(stored.key_arn.clone()),
            grant_tokens: GrantTokens::default(),
        }))?;
        let builder = Engine::builder(Arc::new(storage)).aead(AeadBackend::fastest());
        Ok(builder.open(vec![(stored.id, key)])?.0)
    }
}

fn attach(c: &mut Criterion, config: &Config) -> Result<()> {
    let dir = config.bench_dir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let kms = Kms::in_memory(
        KmsSettings::default(),
        Arc::new(SystemClock::new()),
        Arc::new(SystemEntropy),
    )?;
    let key_id = kms.create_key(&kms.root_caller(), "bench")?.key_id;
    let host = Host { runtime, kms: kms.handle(kms.root_caller()) };
    let mut group = c.benchmark_group("attach");
    let sizes = [
        ("64 MiB, full", ByteLen::mib(64)),
        ("1 TiB, thin", ByteLen::gib(1024)),
        ("1 TiB, written over its whole range", ByteLen::gib(1024)),
    ];
    for (index, (name, len)) in sizes.into_iter().enumerate() {
        let path = dir.path().join(format!("volume-{index}"));
        host.create(&path, &key_id, len)?;
        let engine = host.attach(&path)?;
        match index {
            0 => fill(&engine)?,
            2 => {
                for part in 0..4096 {
                    let offset = part * (len.0 / 4096);
                    engine.write(offset, &[5; 4096], WriteFlags::default())?;
                }
                engine.flush()?;
            }
            _ => {}
        }
        engine.close()?;
        let before = kms.counters().total_calls();
        let mut attaches = 0;
        group.bench_function(BenchmarkId::new("unwrap and open", name), |b| {
            // The close is not part of it, but must happen before the next attach.
            b.iter_custom(|rounds| {
                let clock = SystemClock::new();
                let mut elapsed = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let start = sealvol_core::Clock::monotonic(&clock);
                    let engine = host.attach(&path).expect("the volume opens");
                    elapsed += sealvol_core::Clock::monotonic(&clock) - start;
                    attaches += 1;
                    engine.close().expect("the volume closes");
                }
                elapsed
            });
        });
        let calls = kms.counters().total_calls() - before;
        if calls != attaches {
            return Err(format!("{attaches} attaches made {calls} KMS calls").into());
        }
    }
    group.finish();
    Ok(())
}

fn main() -> Result<()> {
    let config = Config::from_env();
    let mut c = criterion(&config);
    attach(&mut c, &config)?;
    c.final_summary();
    Ok(())
}
