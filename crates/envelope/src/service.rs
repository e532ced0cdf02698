//! The [`KeyService`] trait: the part of KMS that a volume's life needs, bound to a caller.

use std::fmt;

use async_trait::async_trait;

use crate::context::EncryptionContext;
use crate::data_key::{DataKey, WrappedDataKey};
use crate::error::KmsError;

/// Who calls: the principal, and the service that calls on its behalf.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// ARN of the user, role session or account root, or the name of a service principal.
    pub principal: String,
    /// The integrated service through which the call comes (`kms:ViaService`), such as
    /// `ec2.us-east-1.amazonaws.com`.
    pub via_service: Option<String>,
}

/// Tokens of grants that may not have propagated yet. Not secret, but never logged.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct GrantTokens(pub Vec<String>);

impl fmt::Debug for GrantTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantTokens({})", self.0.len())
    }
}

/// Whether a key can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// Usable.
    Enabled,
    /// Every cryptographic call fails until it is enabled.
    Disabled,
    /// Scheduled for deletion.
    PendingDeletion,
    /// Made for key material that was not imported.
    PendingImport,
    /// In a key store that does not answer.
    Unavailable,
}

impl KeyState {
    /// The name that AWS gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
            Self::Unavailable => "Unavailable",
        }
    }
}

/// What [`KeyService::describe_key`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMetadata {
    /// Key id (a UUID).
    pub key_id: String,
    /// Key ARN.
    pub arn: String,
    /// Whether it can be used.
    pub state: KeyState,
    /// Free text.
    pub description: String,
    /// Creation time, milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}

/// Input of both generate-data-key operations. `key_id` may be a key id, key ARN, alias name or
/// alias ARN, here and in the other requests.
#[derive(Debug, Clone)]
pub struct GenerateDataKeyRequest {
    /// Which key wraps the new data key.
    pub key_id: String,
    /// Bound to the wrapped key as associated data.
    pub context: EncryptionContext,
    /// 1 to 1024; volumes use 64.
    pub number_of_bytes: u16,
    /// Grants to consider at once.
    pub grant_tokens: GrantTokens,
}

/// A new data key in both forms.
#[derive(Debug)]
pub struct GeneratedDataKey {
    /// The key itself.
    pub plaintext: DataKey,
    /// The key wrapped by the KMS, with the ARN of the key that wrapped it.
    pub wrapped: WrappedDataKey,
}

/// Input of [`KeyService::decrypt`].
#[derive(Debug, Clone)]
pub struct DecryptRequest {
    /// What the KMS wrapped.
    pub ciphertext: Vec<u8>,
    /// Must equal the context it was wrapped with.
    pub context: EncryptionContext,
    /// When given, the blob must be of this key.
    pub key_id: Option<String>,
    /// Grants to consider at once.
    pub grant_tokens: GrantTokens,
}

/// Input of [`KeyService::re_encrypt`].
#[derive(Debug, Clone)]
pub struct ReEncryptRequest {
    /// What the KMS wrapped.
    pub ciphertext: Vec<u8>,
    /// The context it was wrapped with.
    pub source_context: EncryptionContext,
    /// When given, the blob must be of this key.
    pub source_key_id: Option<String>,
    /// Which key wraps it from now on.
    pub destination_key_id: String,
    /// The new context.
    pub destination_context: EncryptionContext,
    /// Grants to consider at once.
    pub grant_tokens: GrantTokens,
}

/// An operation that a grant allows. The names are AWS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GrantOperation {
    /// `Decrypt`
    Decrypt,
    /// `Encrypt`
    Encrypt,
    /// `GenerateDataKey`
    GenerateDataKey,
    /// `GenerateDataKeyWithoutPlaintext`
    GenerateDataKeyWithoutPlaintext,
    /// `ReEncryptFrom`
    ReEncryptFrom,
    /// `ReEncryptTo`
    ReEncryptTo,
    /// `CreateGrant`
    CreateGrant,
    /// `RetireGrant`
    RetireGrant,
    /// `DescribeKey`
    DescribeKey,
    /// `GenerateDataKeyPair`
    GenerateDataKeyPair,
    /// `GenerateDataKeyPairWithoutPlaintext`
    GenerateDataKeyPairWithoutPlaintext,
    /// `Sign`
    Sign,
    /// `Verify`
    Verify,
    /// `GetPublicKey`
    GetPublicKey,
    /// `GenerateMac`
    GenerateMac,
    /// `VerifyMac`
    VerifyMac,
    /// `DeriveSharedSecret`
    DeriveSharedSecret,
}

impl GrantOperation {
    /// Every operation, in the order of the enum.
    pub const ALL: [Self; 17] = [
        Self::Decrypt,
        Self::Encrypt,
        Self::GenerateDataKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::ReEncryptFrom,
        Self::ReEncryptTo,
        Self::CreateGrant,
        Self::RetireGrant,
        Self::DescribeKey,
        Self::GenerateDataKeyPair,
        Self::GenerateDataKeyPairWithoutPlaintext,
        Self::Sign,
        Self::Verify,
        Self::GetPublicKey,
        Self::GenerateMac,
        Self::VerifyMac,
        Self::DeriveSharedSecret,
    ];

    /// The name that AWS gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decrypt => "Decrypt",
            Self::Encrypt => "Encrypt",
            Self::GenerateDataKey => "GenerateDataKey",
            Self::GenerateDataKeyWithoutPlaintext => "GenerateDataKeyWithoutPlaintext",
            Self::ReEncryptFrom => "ReEncryptFrom",
            Self::ReEncryptTo => "ReEncryptTo",
            Self::CreateGrant => "CreateGrant",
            Self::RetireGrant => "RetireGrant",
            Self::DescribeKey => "DescribeKey",
            Self::GenerateDataKeyPair => "GenerateDataKeyPair",
            Self::GenerateDataKeyPairWithoutPlaintext => "GenerateDataKeyPairWithoutPlaintext",
            Self::Sign => "Sign",
            Self::Verify => "Verify",
            Self::GetPublicKey => "GetPublicKey",
            Self::GenerateMac => "GenerateMac",
            Self::VerifyMac => "VerifyMac",
            Self::DeriveSharedSecret => "DeriveSharedSecret",
        }
    }

    /// The operation of that name, exact.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }
}

/// Limits a grant to requests whose encryption context matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantConstraint {
    /// The request's context is exactly this one.
    EncryptionContextEquals(EncryptionContext),
    /// The request's context holds all of these pairs, and may hold more.
    EncryptionContextSubset(EncryptionContext),
}

/// Input of [`KeyService::create_grant`].
#[derive(Debug, Clone)]
pub struct CreateGrantRequest {
    /// Which key.
    pub key_id: String,
    /// Who may use the grant.
    pub grantee_principal: String,
    /// Who, besides the creator's account, may retire it.
    pub retiring_principal: Option<String>,
    /// What it allows: not empty, and not `CreateGrant` alone.
    pub operations: Vec<GrantOperation>,
    /// Which contexts it allows.
    pub constraint: Option<GrantConstraint>,
    /// A named grant with equal parameters is the same grant: creation is idempotent.
    pub name: Option<String>,
    /// Grants to consider at once.
    pub grant_tokens: GrantTokens,
}

/// A grant that now exists.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedGrant {
    /// Its id.
    pub grant_id: String,
    /// A token that makes it usable before it has propagated.
    pub grant_token: String,
}

impl fmt::Debug for CreatedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedGrant").field("grant_id", &self.grant_id).finish_non_exhaustive()
    }
}

/// Input of [`KeyService::retire_grant`].
#[derive(Debug, Clone)]
pub enum RetireGrantRequest {
    /// By token.
    Token(GrantTokens),
    /// By key ARN and grant id.
    Id {
        /// The key's ARN.
        key_arn: String,
        /// The grant's id.
        grant_id: String,
    },
}

/// A key management service as one caller sees it. Implementations bind the [`Caller`] when the
/// handle is made; the suite in `conformance` (a feature) says what each operation must do.
///
/// # Cancellation
/// Dropping a future may leave the call done or not done at the service; none of the calls changes
/// anything that the caller already relies on, so repeating one is safe. A repeated unnamed
/// `create_grant` makes a second grant.
#[async_trait]
pub trait KeyService: Send + Sync {
    /// Tells what a key is and whether it can be used.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Retry`.
    async fn describe_key(&self, key_id: &str) -> Result<KeyMetadata, KmsError>;

    /// Makes a data key and returns it in both forms.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `KeyUnusable`, `Invalid`, `Retry`.
    async fn generate_data_key(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<GeneratedDataKey, KmsError>;

    /// Makes a data key and returns only its wrapped form: the plaintext never leaves the service.
    ///
    /// # Errors
    /// As [`generate_data_key`](Self::generate_data_key).
    async fn generate_data_key_without_plaintext(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<WrappedDataKey, KmsError>;

    /// Unwraps a data key.
    ///
    /// # Errors
    /// `Corrupt` when blob or context do not authenticate; else as for generation.
    async fn decrypt(&self, request: DecryptRequest) -> Result<DataKey, KmsError>;

    /// Wraps a wrapped key anew, under another key or context, inside the service.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt) for the source and generation for the destination.
    async fn re_encrypt(&self, request: ReEncryptRequest) -> Result<WrappedDataKey, KmsError>;

    /// Lets another principal use a key within limits.
    ///
    /// # Errors
    /// `Invalid`, `NotFound`, `Denied`, `KeyUnusable`, `LimitExceeded`, `Retry`.
    async fn create_grant(&self, request: CreateGrantRequest) -> Result<CreatedGrant, KmsError>;

    /// Ends a grant. Works in every key state.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Invalid` (malformed token), `Retry`.
    async fn retire_grant(&self, request: RetireGrantRequest) -> Result<(), KmsError>;
}
