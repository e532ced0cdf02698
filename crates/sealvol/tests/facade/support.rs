//! A directory with a KMS, and volumes in it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use sealvol::kms::{Kms, KmsSettings};
use sealvol::{
    BlockDevice, ByteLen, CreateGrantRequest, CreatedGrant, DataKey, DecryptRequest, Error,
    GenerateDataKeyRequest, GeneratedDataKey, KeyMetadata, KeyService, KmsError, KmsErrorKind,
    OpenOptions, ReEncryptRequest, RetireGrantRequest, Settings, SystemClock, SystemEntropy,
    Volume, VolumeInfo, VolumeSpec, WrappedDataKey, WriteFlags,
};

pub(crate) const KEY: &str = "alias/test";
pub(crate) const SIZE: ByteLen = ByteLen::mib(16);

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) kms: Arc<Kms>,
    pub(crate) keys: Arc<dyn KeyService>,
    pub(crate) key_arn: String,
}

pub(crate) fn new_kms() -> (Arc<Kms>, Arc<dyn KeyService>, String) {
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
    let kms = Kms::in_memory(KmsSettings::default(), clock, entropy).unwrap();
    let key = kms.ensure_key(&kms.root_caller(), KEY, "").unwrap();
    let keys = kms.handle(kms.root_caller());
    (kms, keys, key.arn)
}

impl World {
    pub(crate) fn new() -> Self {
        let (kms, keys, key_arn) = new_kms();
        Self { dir: tempfile::tempdir().unwrap(), kms, keys, key_arn }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn spec() -> VolumeSpec {
        VolumeSpec::new(SIZE, KEY)
    }

    pub(crate) fn create(&self, name: &str) -> VolumeInfo {
        run(Volume::create(self.path(name), Self::spec(), &*self.keys)).unwrap()
    }

    pub(crate) fn open(&self, name: &str) -> Volume {
        self.try_open(name, OpenOptions::new()).unwrap()
    }

    pub(crate) fn try_open(&self, name: &str, options: OpenOptions) -> Result<Volume, Error> {
        run(Volume::open(self.path(name), options, &*self.keys))
    }

    /// A volume that was written to and closed, and the bytes it holds.
    pub(crate) fn filled(&self, name: &str) -> Vec<u8> {
        self.filled_as(name, Self::spec())
    }

    pub(crate) fn filled_as(&self, name: &str, spec: VolumeSpec) -> Vec<u8> {
        let content = pattern(usize::try_from(spec.size.0).unwrap());
        run(Volume::create(self.path(name), spec, &*self.keys)).unwrap();
        // Nothing ahead, so that the file is small.
        let settings = Settings { prewrite_segments: 0, ..Settings::default() };
        let volume = self.try_open(name, OpenOptions::new().settings(settings)).unwrap();
        for (at, chunk) in (0_u64..).zip(content.chunks(256 << 10)) {
            if chunk.iter().any(|byte| *byte != 0) {
                volume.write(at * (256 << 10), chunk, WriteFlags::default()).unwrap();
            }
        }
        volume.close().unwrap();
        content
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        let root = self.kms.root_caller();
        if enabled {
            self.kms.enable_key(&root, &self.key_arn).unwrap();
        } else {
            self.kms.disable_key(&root, &self.key_arn).unwrap();
        }
    }

    /// Names in the directory.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn read_all(device: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(device.info().len.0).unwrap()];
    device.read(0, &mut bytes).unwrap();
    bytes
}

/// Data with runs of zeros of several sizes, the same each time.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; len];
    for (at, block) in bytes.chunks_mut(4096).enumerate() {
        // Whole 256 KiB holes, and single zero blocks.
        if at / 64 % 4 == 3 || at % 7 == 2 {
            continue;
        }
        for word in block.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
    }
    bytes
}

/// A key service that fails every call alike.
pub(crate) struct Failing(pub(crate) KmsErrorKind, pub(crate) &'static str);

impl Failing {
    fn fail<T>(&self) -> Result<T, KmsError> {
        Err(KmsError::new(self.0, self.1, "as told"))
    }
}

#[async_trait]
impl KeyService for Failing {
    async fn describe_key(&self, _: &str) -> Result<KeyMetadata, KmsError> {
        self.fail()
    }
    async fn generate_data_key(
        &self,
        _: GenerateDataKeyRequest,
    ) -> Result<GeneratedDataKey, KmsError> {
        self.fail()
    }
    async fn generate_data_key_without_plaintext(
        &self,
        _: GenerateDataKeyRequest,
    ) -> Result<WrappedDataKey, KmsError> {
        self.fail()
    }
    async fn decrypt(&self, _: DecryptRequest) -> Result<DataKey, KmsError> {
        self.fail()
    }
    async fn re_encrypt(&self, _: ReEncryptRequest) -> Result<WrappedDataKey, KmsError> {
        self.fail()
    }
    async fn create_grant(&self, _: CreateGrantRequest) -> Result<CreatedGrant, KmsError> {
        self.fail()
    }
    async fn retire_grant(&self, _: RetireGrantRequest) -> Result<(), KmsError> {
        self.fail()
    }
}
