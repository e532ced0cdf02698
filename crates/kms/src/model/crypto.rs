//! Encrypting, decrypting and generating.

use sealvol_envelope::EncryptionContext;
use serde::{Deserialize, Serialize};

use super::{Blob, GrantToken, SecretBlob};

/// `GenerateDataKey` and `GenerateDataKeyWithoutPlaintext`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GenerateDataKeyRequest {
    /// Key id, key ARN, alias name or alias ARN.
    pub key_id: String,
    /// Bound to the ciphertext as associated data.
    #[serde(with = "super::context")]
    pub encryption_context: EncryptionContext,
    /// 1 to 1024; exactly one of this and `key_spec`.
    pub number_of_bytes: Option<i64>,
    /// `AES_128` or `AES_256`.
    pub key_spec: Option<String>,
    /// Grants to consider at once.
    pub grant_tokens: Option<Vec<GrantToken>>,
    /// Nitro Enclaves are not supported.
    pub recipient: Option<serde_json::Value>,
    /// Checks everything and does nothing.
    pub dry_run: Option<bool>,
}

/// Answer of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyResponse {
    /// The data key, wrapped.
    pub ciphertext_blob: Blob,
    /// The data key itself; not in `GenerateDataKeyWithoutPlaintext`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<SecretBlob>,
    /// The key's ARN.
    pub key_id: String,
    /// The material that wrapped it.
    pub key_material_id: String,
}

/// `Encrypt`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EncryptRequest {
    /// Key id, key ARN, alias name or alias ARN.
    pub key_id: String,
    /// 1 to 4096 bytes.
    pub plaintext: Option<SecretBlob>,
    /// Bound to the ciphertext as associated data.
    #[serde(with = "super::context")]
    pub encryption_context: EncryptionContext,
    /// Grants to consider at once.
    pub grant_tokens: Option<Vec<GrantToken>>,
    /// `SYMMETRIC_DEFAULT`
    pub encryption_algorithm: Option<String>,
    /// Checks everything and does nothing.
    pub dry_run: Option<bool>,
}

/// Answer of `Encrypt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptResponse {
    /// At most 6144 bytes.
    pub ciphertext_blob: Blob,
    /// The key's ARN.
    pub key_id: String,
    /// `SYMMETRIC_DEFAULT`
    pub encryption_algorithm: &'static str,
}

/// `Decrypt`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DecryptRequest {
    /// 1 to 6144 bytes.
    pub ciphertext_blob: Option<Blob>,
    /// Must equal the context of the encryption.
    #[serde(with = "super::context")]
    pub encryption_context: EncryptionContext,
    /// Grants to consider at once.
    pub grant_tokens: Option<Vec<GrantToken>>,
    /// When given, the ciphertext must be of this key.
    pub key_id: Option<String>,
    /// `SYMMETRIC_DEFAULT`
    pub encryption_algorithm: Option<String>,
    /// Nitro Enclaves are not supported.
    pub recipient: Option<serde_json::Value>,
    /// Checks everything and does nothing.
    pub dry_run: Option<bool>,
    /// `IGNORE_CIPHERTEXT`: the dry run needs no ciphertext.
    pub dry_run_modifiers: Option<Vec<String>>,
}

/// Answer of `Decrypt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DecryptResponse {
    /// The key's ARN.
    pub key_id: String,
    /// What was encrypted.
    pub plaintext: SecretBlob,
    /// `SYMMETRIC_DEFAULT`
    pub encryption_algorithm: &'static str,
    /// The material that encrypted it.
    pub key_material_id: String,
}

/// `ReEncrypt`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReEncryptRequest {
    /// 1 to 6144 bytes.
    pub ciphertext_blob: Option<Blob>,
    /// The context it was encrypted with.
    #[serde(with = "super::context")]
    pub source_encryption_context: EncryptionContext,
    /// When given, the ciphertext must be of this key.
    pub source_key_id: Option<String>,
    /// Key id, key ARN, alias name or alias ARN.
    pub destination_key_id: String,
    /// The new context.
    #[serde(with = "super::context")]
    pub destination_encryption_context: EncryptionContext,
    /// `SYMMETRIC_DEFAULT`
    pub source_encryption_algorithm: Option<String>,
    /// `SYMMETRIC_DEFAULT`
    pub destination_encryption_algorithm: Option<String>,
    /// Grants to consider at once.
    pub grant_tokens: Option<Vec<GrantToken>>,
    /// Checks everything and does nothing.
    pub dry_run: Option<bool>,
    /// `IGNORE_CIPHERTEXT`: the dry run needs no ciphertext.
    pub dry_run_modifiers: Option<Vec<String>>,
}

/// Answer of `ReEncrypt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReEncryptResponse {
    /// Under the destination key.
    pub ciphertext_blob: Blob,
    /// ARN of the key that it was under.
    pub source_key_id: String,
    /// ARN of the destination key.
    pub key_id: String,
    /// `SYMMETRIC_DEFAULT`
    pub source_encryption_algorithm: &'static str,
    /// `SYMMETRIC_DEFAULT`
    pub destination_encryption_algorithm: &'static str,
    /// The material that it was under.
    pub source_key_material_id: String,
    /// The material that it is under.
    pub destination_key_material_id: String,
}

/// `GenerateRandom`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GenerateRandomRequest {
    /// 1 to 1024; mandatory.
    pub number_of_bytes: Option<i64>,
    /// Custom key stores are not supported.
    pub custom_key_store_id: Option<String>,
    /// Nitro Enclaves are not supported.
    pub recipient: Option<serde_json::Value>,
}

/// Answer of `GenerateRandom`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateRandomResponse {
    /// The random bytes.
    pub plaintext: SecretBlob,
}
