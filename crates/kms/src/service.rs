//! The part of the KMS that a volume's life needs, as [`KeyService`] has it.

use async_trait::async_trait;
use sealvol_envelope::{
    CreateGrantRequest, CreatedGrant, DataKey, DecryptRequest, GenerateDataKeyRequest,
    GeneratedDataKey, GrantConstraint, GrantTokens, KeyMetadata, KeyService, KeyState, KmsError,
    ReEncryptRequest, RetireGrantRequest, WrappedDataKey,
};

use crate::fault;
use crate::model::{
    self, Blob, DescribeKeyRequest, GrantConstraints, GrantToken, KeyDescription, SecretBlob,
};
use crate::session::Session;

impl From<KeyDescription> for KeyMetadata {
    fn from(key: KeyDescription) -> Self {
        Self {
            key_id: key.key_id,
            arn: key.arn,
            state: match key.key_state {
                "Enabled" => KeyState::Enabled,
                "Disabled" => KeyState::Disabled,
                "PendingDeletion" => KeyState::PendingDeletion,
                "PendingImport" => KeyState::PendingImport,
                _ => KeyState::Unavailable,
            },
            description: key.description,
            created_unix_ms: key.creation_date.0.0,
        }
    }
}

fn tokens(tokens: GrantTokens) -> Option<Vec<GrantToken>> {
    Some(tokens.0.into_iter().map(GrantToken).collect())
}

fn taken(plaintext: SecretBlob) -> DataKey {
    DataKey::take(&mut plaintext.into_inner())
}

fn generation(request: &GenerateDataKeyRequest) -> model::GenerateDataKeyRequest {
    model::GenerateDataKeyRequest {
        key_id: request.key_id.clone(),
        encryption_context: request.context.clone(),
        number_of_bytes: Some(i64::from(request.number_of_bytes)),
        grant_tokens: tokens(request.grant_tokens.clone()),
        ..model::GenerateDataKeyRequest::default()
    }
}

/// Its futures are ready at once: the work is done in the first poll.
#[async_trait]
impl KeyService for Session {
    async fn describe_key(&self, key_id: &str) -> Result<KeyMetadata, KmsError> {
        let request = DescribeKeyRequest { key_id: key_id.to_owned(), grant_tokens: None };
        self.describe_key(&request).map(|answer| answer.key_metadata.into())
    }

    async fn generate_data_key(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<GeneratedDataKey, KmsError> {
        let answer = self.generate_data_key(&generation(&request))?;
        let plaintext = answer.plaintext.ok_or_else(|| fault::internal("no plaintext"))?;
        let wrapped = WrappedDataKey {
            key_arn: answer.key_id,
            context: request.context,
            ciphertext: answer.ciphertext_blob.0,
        };
        Ok(GeneratedDataKey { plaintext: taken(plaintext), wrapped })
    }

    async fn generate_data_key_without_plaintext(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<WrappedDataKey, KmsError> {
        let answer = self.generate_data_key_without_plaintext(&generation(&request))?;
        Ok(WrappedDataKey {
            key_arn: answer.key_id,
            context: request.context,
            ciphertext: answer.ciphertext_blob.0,
        })
    }

    async fn decrypt(&self, request: DecryptRequest) -> Result<DataKey, KmsError> {
        let request = model::DecryptRequest {
            ciphertext_blob: Some(Blob(request.ciphertext)),
            encryption_context: request.context,
            key_id: request.key_id,
            grant_tokens: tokens(request.grant_tokens),
            ..model::DecryptRequest::default()
        };
        self.decrypt(&request).map(|answer| taken(answer.plaintext))
    }

    async fn re_encrypt(&self, request: ReEncryptRequest) -> Result<WrappedDataKey, KmsError> {
        let request = model::ReEncryptRequest {
            ciphertext_blob: Some(Blob(request.ciphertext)),
            source_encryption_context: request.source_context,
            source_key_id: request.source_key_id,
            destination_key_id: request.destination_key_id,
            destination_encryption_context: request.destination_context,
            grant_tokens: tokens(request.grant_tokens),
            ..model::ReEncryptRequest::default()
        };
        let answer = self.re_encrypt(&request)?;
        Ok(WrappedDataKey {
            key_arn: answer.key_id,
            context: request.destination_encryption_context,
            ciphertext: answer.ciphertext_blob.0,
        })
    }

    async fn create_grant(&self, request: CreateGrantRequest) -> Result<CreatedGrant, KmsError> {
        let constraints = request.constraint.map(|constraint| match constraint {
            GrantConstraint::EncryptionContextEquals(pairs) => GrantConstraints {
                encryption_context_equals: Some(pairs),
                ..GrantConstraints::default()
            },
            GrantConstraint::EncryptionContextSubset(pairs) => GrantConstraints {
                encryption_context_subset: Some(pairs),
                ..GrantConstraints::default()
            },
        });
        let operations = request.operations.iter().map(|o| o.as_str().to_owned()).collect();
        let answer = self.create_grant(&model::CreateGrantRequest {
            key_id: request.key_id,
            grantee_principal: Some(request.grantee_principal),
            retiring_principal: request.retiring_principal,
            operations,
            constraints,
            name: request.name,
            grant_tokens: tokens(request.grant_tokens),
            ..model::CreateGrantRequest::default()
        })?;
        Ok(CreatedGrant { grant_id: answer.grant_id, grant_token: answer.grant_token })
    }

    async fn retire_grant(&self, request: RetireGrantRequest) -> Result<(), KmsError> {
        let request = match request {
            RetireGrantRequest::Token(tokens) => match <[String; 1]>::try_from(tokens.0) {
                Ok([token]) => model::RetireGrantRequest {
                    grant_token: Some(GrantToken(token)),
                    ..model::RetireGrantRequest::default()
                },
                Err(_) => return Err(fault::validation("RetireGrant takes one grant token")),
            },
            RetireGrantRequest::Id { key_arn, grant_id } => model::RetireGrantRequest {
                key_id: Some(key_arn),
                grant_id: Some(grant_id),
                ..model::RetireGrantRequest::default()
            },
        };
        self.retire_grant(&request).map(drop)
    }
}
