//! How a volume is made and how it is opened: plain data, with components by builder methods.

use std::fmt;
use std::sync::Arc;

use sealvol_core::{ByteLen, Clock, Entropy, ErrorKind, SystemClock, SystemEntropy, VolumeId};
use sealvol_engine::Settings;
use sealvol_envelope::aead::AeadBackend;
use sealvol_envelope::{EncryptionContext, GrantTokens};
use sealvol_format::{Geometry, MAX_LOGICAL_BLOCKS};

use crate::error::{Error, Result};

/// When the file gets its space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provisioning {
    /// As data arrives; discarded space goes back to the host.
    #[default]
    Thin,
    /// All of it when the volume is made, written with zeros: it never fails for lack of host
    /// space, and syncs are fastest. Open it with [`OpenOptions::keep_space`], so that it stays so.
    Prewritten,
}

/// What a new volume is to be.
#[derive(Clone)]
#[non_exhaustive]
pub struct VolumeSpec {
    /// Size, a multiple of 4096 up to 128 TiB.
    pub size: ByteLen,
    /// The KMS key that wraps its data key: id, ARN, alias or alias ARN.
    pub key: String,
    /// Its identity; random if `None`.
    pub id: Option<VolumeId>,
    /// Its name, the value of `aws:ebs:id` in the encryption context; `vol-` and 17 hexadecimal
    /// digits of the identity if `None`.
    pub name: Option<String>,
    /// Further pairs of the encryption context.
    pub context: EncryptionContext,
    /// How far the file may grow, in percent of the size (110 to 1000): room for garbage
    /// collection. A larger ratio writes less.
    pub space_percent: u32,
    /// When the file gets its space.
    pub provisioning: Provisioning,
    /// Segment size; the default suits everything but tests.
    pub geometry: Geometry,
    /// Grants to consider at once.
    pub grant_tokens: GrantTokens,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl VolumeSpec {
    /// A thin volume of `size`, with its data key wrapped by `key`.
    #[must_use]
    pub fn new(size: ByteLen, key: impl Into<String>) -> Self {
        Self {
            size,
            key: key.into(),
            id: None,
            name: None,
            context: EncryptionContext::new(),
            space_percent: 130,
            provisioning: Provisioning::Thin,
            geometry: Geometry::DEFAULT,
            grant_tokens: GrantTokens::default(),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Sets the identity.
    #[must_use]
    pub fn id(mut self, id: VolumeId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds pairs to the encryption context.
    #[must_use]
    pub fn context(mut self, context: EncryptionContext) -> Self {
        self.context = context;
        self
    }

    /// Sets the space ratio.
    #[must_use]
    pub const fn space_percent(mut self, percent: u32) -> Self {
        self.space_percent = percent;
        self
    }

    /// Sets when the file gets its space.
    #[must_use]
    pub const fn provisioning(mut self, provisioning: Provisioning) -> Self {
        self.provisioning = provisioning;
        self
    }

    /// Adds grant tokens.
    #[must_use]
    pub fn grant_tokens(mut self, tokens: GrantTokens) -> Self {
        self.grant_tokens = tokens;
        self
    }

    /// Another source of randomness than the system's: only for tests.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// What can be refused before the KMS is asked.
    pub(crate) fn check(&self) -> Result<()> {
        let size = self.size;
        match size.blocks() {
            None => {
                let (below, above) = (size.0 / 4096 * 4096, size.0.next_multiple_of(4096));
                let near =
                    if below == 0 { above.to_string() } else { format!("{below} or {above}") };
                Err(Error::new(
                    ErrorKind::Invalid,
                    format!("the size {} is not a multiple of 4096 bytes; use {near}", size.0),
                ))
            }
            Some(blocks) if blocks.0 == 0 || blocks.0 > MAX_LOGICAL_BLOCKS => Err(Error::new(
                ErrorKind::Invalid,
                format!("the size {size} is impossible; a volume has from 4KiB to 128TiB"),
            )),
            Some(_) if !(110..=1000).contains(&self.space_percent) => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the space ratio {} is impossible; use 110 to 1000 percent",
                    self.space_percent
                ),
            )),
            Some(_) => Ok(()),
        }
    }
}

impl fmt::Debug for VolumeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeSpec")
            .field("size", &self.size)
            .field("key", &self.key)
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// `pread`: a failing disk is an error.
    #[default]
    File,
    /// A memory map: saves a system call for each read, but a failing disk, or another process
    /// truncating the file, kills this process.
    Mmap,
}

/// How a volume is opened. The identity, key and context recorded in the file are public and can
/// be replaced together with the file; a caller that knows what they must be pins them here.
#[derive(Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Refuse writes, and leave the file untouched, even after a crash.
    pub read_only: bool,
    /// Open a volume whose log is damaged, losing openly what followed the damage.
    pub accept_truncation: bool,
    /// The volume that the caller means.
    pub expect_id: Option<VolumeId>,
    /// The KMS key that must have wrapped the current data key: its ARN.
    pub expect_key_arn: Option<String>,
    /// The encryption context that the current data key must be bound to, exactly.
    pub expect_context: Option<EncryptionContext>,
    /// Grants to consider at once.
    pub grant_tokens: GrantTokens,
    /// Tunables of the engine.
    pub settings: Settings,
    /// How the file is read.
    pub backend: Backend,
    /// Which AES-GCM implementation seals.
    pub aead: AeadBackend,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            accept_truncation: false,
            expect_id: None,
            expect_key_arn: None,
            expect_context: None,
            grant_tokens: GrantTokens::default(),
            settings: Settings::default(),
            backend: Backend::default(),
            aead: AeadBackend::fastest(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl OpenOptions {
    /// Writable, with default settings, trusting what the file says it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens for reading only.
    #[must_use]
    pub const fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Opens in spite of a damaged log.
    #[must_use]
    pub const fn accept_truncation(mut self, accept: bool) -> Self {
        self.accept_truncation = accept;
        self
    }

    /// Pins the identity.
    #[must_use]
    pub const fn expect_id(mut self, id: VolumeId) -> Self {
        self.expect_id = Some(id);
        self
    }

    /// Pins the KMS key.
    #[must_use]
    pub fn expect_key_arn(mut self, arn: impl Into<String>) -> Self {
        self.expect_key_arn = Some(arn.into());
        self
    }

    /// Pins the encryption context.
    #[must_use]
    pub fn expect_context(mut self, context: EncryptionContext) -> Self {
        self.expect_context = Some(context);
        self
    }

    /// Adds grant tokens.
    #[must_use]
    pub fn grant_tokens(mut self, tokens: GrantTokens) -> Self {
        self.grant_tokens = tokens;
        self
    }

    /// Sets the engine's tunables.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// For a [`Provisioning::Prewritten`] volume: gives no space back to the host, and writes
    /// nothing ahead. Changes [`settings`](Self::settings), so call it after that.
    #[must_use]
    pub const fn keep_space(mut self) -> Self {
        self.settings.keep_free_segments = u32::MAX;
        self.settings.prewrite_segments = 0;
        self
    }

    /// Sets how the file is read.
    #[must_use]
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Sets which AES-GCM implementation seals.
    #[must_use]
    pub const fn aead(mut self, aead: AeadBackend) -> Self {
        self.aead = aead;
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of randomness than the system's: only for tests.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("read_only", &self.read_only)
            .field("expect_id", &self.expect_id)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_and_ratios_name_possible_ones() {
        let refuse = |spec: VolumeSpec, words: &str| {
            let error = spec.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(words), "{error}");
        };
        refuse(VolumeSpec::new(ByteLen(5000), "k"), "use 4096 or 8192");
        refuse(VolumeSpec::new(ByteLen(1), "k"), "use 4096");
        refuse(VolumeSpec::new(ByteLen(0), "k"), "from 4KiB to 128TiB");
        refuse(VolumeSpec::new(ByteLen(1 << 48), "k"), "from 4KiB to 128TiB");
        refuse(VolumeSpec::new(ByteLen(4096), "k").space_percent(100), "110 to 1000");
        VolumeSpec::new(ByteLen(1 << 47), "k").check().unwrap();
    }
}
