//! The KMS as one caller sees it.

use std::sync::Arc;

use async_trait::async_trait;
use sealvol_envelope::{
    Caller, CreateGrantRequest, CreatedGrant, DataKey, DecryptRequest, GenerateDataKeyRequest,
    GeneratedDataKey, KeyMetadata, KeyService, KmsError, ReEncryptRequest, RetireGrantRequest,
    WrappedDataKey,
};

use super::Kms;
use crate::counters::Operation;

/// A [`KeyService`] bound to a caller. Its futures are ready at once: the work is done in the first
/// poll.
#[derive(Debug)]
pub(super) struct Handle {
    kms: Arc<Kms>,
    caller: Caller,
}

impl Handle {
    pub(super) const fn new(kms: Arc<Kms>, caller: Caller) -> Self {
        Self { kms, caller }
    }
}

#[async_trait]
impl KeyService for Handle {
    async fn describe_key(&self, key_id: &str) -> Result<KeyMetadata, KmsError> {
        self.kms.counted(Operation::DescribeKey, || self.kms.describe(&self.caller, key_id))
    }

    async fn generate_data_key(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<GeneratedDataKey, KmsError> {
        self.kms.counted(Operation::GenerateDataKey, || self.kms.generate(&self.caller, request))
    }

    async fn generate_data_key_without_plaintext(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<WrappedDataKey, KmsError> {
        self.kms.counted(Operation::GenerateDataKeyWithoutPlaintext, || {
            self.kms.generate_without_plaintext(&self.caller, request)
        })
    }

    async fn decrypt(&self, request: DecryptRequest) -> Result<DataKey, KmsError> {
        self.kms.counted(Operation::Decrypt, || self.kms.decrypt(&self.caller, &request))
    }

    async fn re_encrypt(&self, request: ReEncryptRequest) -> Result<WrappedDataKey, KmsError> {
        self.kms.counted(Operation::ReEncrypt, || self.kms.re_encrypt(&self.caller, request))
    }

    async fn create_grant(&self, request: CreateGrantRequest) -> Result<CreatedGrant, KmsError> {
        self.kms.counted(Operation::CreateGrant, || self.kms.create_grant(&self.caller, &request))
    }

    async fn retire_grant(&self, request: RetireGrantRequest) -> Result<(), KmsError> {
        self.kms.counted(Operation::RetireGrant, || self.kms.retire_grant(&self.caller, &request))
    }
}
