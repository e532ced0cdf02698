//! The operations: requests into the SDK's shapes, answers out of them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kms::operation::RequestId as _;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    GrantConstraints, GrantOperation as SdkGrantOperation, KeyMetadata as SdkKeyMetadata,
    KeyState as SdkKeyState,
};
use sealvol_envelope::{
    CreateGrantRequest, CreatedGrant, DataKey, DecryptRequest, EncryptionContext,
    GenerateDataKeyRequest, GeneratedDataKey, GrantConstraint, GrantTokens, KeyMetadata,
    KeyService, KeyState, KmsError, KmsErrorKind, ReEncryptRequest, RetireGrantRequest,
    WrappedDataKey,
};

use crate::client::{AwsKms, Called, Inner};
use crate::failure::Failure;
use crate::metrics::Operation;
use crate::retry::Traits;

/// Longest ciphertext that KMS gives.
const CIPHERTEXT_LEN_MAX: usize = 6144;

fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    let pairs = context.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    (!context.is_empty()).then(|| pairs.collect())
}

fn tokens(tokens: GrantTokens) -> Option<Vec<String>> {
    (!tokens.0.is_empty()).then_some(tokens.0)
}

/// A call that can be repeated, and that waits for grants if it names any.
const fn repeatable(tokens: &GrantTokens) -> Traits {
    Traits { repeatable: true, waits_for_grants: !tokens.0.is_empty() }
}

/// The decoded buffer goes into locked memory and is zeroised.
fn data_key(plaintext: Option<Blob>, expected_len: Option<u16>) -> Result<DataKey, Failure> {
    let mut bytes = plaintext.map(Blob::into_inner).unwrap_or_default();
    let key = DataKey::take(&mut bytes);
    let fits = expected_len.is_none_or(|expected| key.len() == usize::from(expected));
    if key.is_empty() || !fits {
        return Err(Failure::lacking("plaintext key"));
    }
    Ok(key)
}

fn wrapped(
    ciphertext: Option<Blob>,
    key_arn: Option<String>,
    context: &EncryptionContext,
) -> Result<WrappedDataKey, Failure> {
    let ciphertext = ciphertext.map(Blob::into_inner).unwrap_or_default();
    if ciphertext.is_empty() || ciphertext.len() > CIPHERTEXT_LEN_MAX {
        return Err(Failure::lacking("ciphertext"));
    }
    let key_arn = some(key_arn, "key ARN")?;
    Ok(WrappedDataKey { key_arn, context: context.clone(), ciphertext })
}

fn some(text: Option<String>, what: &str) -> Result<String, Failure> {
    text.filter(|text| !text.is_empty()).ok_or_else(|| Failure::lacking(what))
}

fn metadata(told: Option<SdkKeyMetadata>) -> Result<Result<KeyMetadata, KmsError>, Failure> {
    let told = told.ok_or_else(|| Failure::lacking("key metadata"))?;
    let state = told.key_state().ok_or_else(|| Failure::lacking("key state"))?;
    let state = match state {
        // A multi-region key whose primary region changes stays usable.
        SdkKeyState::Enabled | SdkKeyState::Updating => KeyState::Enabled,
        SdkKeyState::Disabled => KeyState::Disabled,
        SdkKeyState::PendingDeletion | SdkKeyState::PendingReplicaDeletion => {
            KeyState::PendingDeletion
        }
        SdkKeyState::PendingImport => KeyState::PendingImport,
        SdkKeyState::Unavailable => KeyState::Unavailable,
        other => {
            // What any use of the key would answer; the trait has no state for it.
            return Ok(Err(KmsError::new(
                KmsErrorKind::KeyUnusable,
                "KMSInvalidStateException",
                format!("the key is in state {}", other.as_str()),
            )));
        }
    };
    let created_ms = told.creation_date().and_then(|date| date.to_millis().ok()).unwrap_or(0);
    Ok(Ok(KeyMetadata {
        arn: some(told.arn, "key ARN")?,
        key_id: some(Some(told.key_id), "key id")?,
        state,
        description: told.description.unwrap_or_default(),
        created_unix_ms: u64::try_from(created_ms).unwrap_or(0),
    }))
}

fn constraints(constraint: GrantConstraint) -> GrantConstraints {
    let builder = GrantConstraints::builder();
    match constraint {
        GrantConstraint::EncryptionContextEquals(context) => {
            builder.set_encryption_context_equals(Some(pairs(&context).unwrap_or_default()))
        }
        GrantConstraint::EncryptionContextSubset(context) => {
            builder.set_encryption_context_subset(Some(pairs(&context).unwrap_or_default()))
        }
    }
    .build()
}

impl Inner {
    async fn decrypt(&self, request: DecryptRequest) -> Result<DataKey, KmsError> {
        let traits = repeatable(&request.grant_tokens);
        let call = self
            .client
            .decrypt()
            .ciphertext_blob(Blob::new(request.ciphertext))
            .set_encryption_context(pairs(&request.context))
            .set_key_id(request.key_id)
            .set_grant_tokens(tokens(request.grant_tokens));
        self.call(Operation::Decrypt, traits, || {
            let send = call.clone().send();
            async { data_key(send.await.map_err(Failure::from_sdk)?.plaintext, None) }
        })
        .await
        .result
    }
}

#[async_trait]
impl KeyService for AwsKms {
    async fn describe_key(&self, key_id: &str) -> Result<KeyMetadata, KmsError> {
        let call = self.inner.client.describe_key().key_id(key_id);
        let traits = repeatable(&GrantTokens::default());
        self.inner
            .call(Operation::DescribeKey, traits, || {
                let send = call.clone().send();
                async { metadata(send.await.map_err(Failure::from_sdk)?.key_metadata) }
            })
            .await
            .result?
    }

    async fn generate_data_key(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<GeneratedDataKey, KmsError> {
        let GenerateDataKeyRequest { key_id, context, number_of_bytes, grant_tokens } = request;
        let traits = repeatable(&grant_tokens);
        let call = self
            .inner
            .client
            .generate_data_key()
            .key_id(key_id)
            .set_encryption_context(pairs(&context))
            .number_of_bytes(i32::from(number_of_bytes))
            .set_grant_tokens(tokens(grant_tokens));
        self.inner
            .call(Operation::GenerateDataKey, traits, || {
                let (send, context) = (call.clone().send(), &context);
                async move {
                    let made = send.await.map_err(Failure::from_sdk)?;
                    // First, so that it is zeroised whatever else the answer lacks.
                    let plaintext = data_key(made.plaintext, Some(number_of_bytes))?;
                    let wrapped = wrapped(made.ciphertext_blob, made.key_id, context)?;
                    Ok(GeneratedDataKey { plaintext, wrapped })
                }
            })
            .await
            .result
    }

    async fn generate_data_key_without_plaintext(
        &self,
        request: GenerateDataKeyRequest,
    ) -> Result<WrappedDataKey, KmsError> {
        let GenerateDataKeyRequest { key_id, context, number_of_bytes, grant_tokens } = request;
        let traits = repeatable(&grant_tokens);
        let call = self
            .inner
            .client
            .generate_data_key_without_plaintext()
            .key_id(key_id)
            .set_encryption_context(pairs(&context))
            .number_of_bytes(i32::from(number_of_bytes))
            .set_grant_tokens(tokens(grant_tokens));
        self.inner
            .call(Operation::GenerateDataKeyWithoutPlaintext, traits, || {
                let (send, context) = (call.clone().send(), &context);
                async move {
                    let made = send.await.map_err(Failure::from_sdk)?;
                    wrapped(made.ciphertext_blob, made.key_id, context)
                }
            })
            .await
            .result
    }

    async fn decrypt(&self, request: DecryptRequest) -> Result<DataKey, KmsError> {
        let inner = Arc::clone(&self.inner);
        let max = self.inner.settings.coalesced_max;
        let joined = || {
            self.inner.metrics.coalesced(Operation::Decrypt);
            tracing::debug!("joined an equal Decrypt under way");
        };
        let call = |request| async move { inner.decrypt(request).await };
        self.inner.flights.fly(request, max, joined, call).await
    }

    async fn re_encrypt(&self, request: ReEncryptRequest) -> Result<WrappedDataKey, KmsError> {
        let traits = repeatable(&request.grant_tokens);
        let context = request.destination_context;
        let call = self
            .inner
            .client
            .re_encrypt()
            .ciphertext_blob(Blob::new(request.ciphertext))
            .set_source_encryption_context(pairs(&request.source_context))
            .set_source_key_id(request.source_key_id)
            .destination_key_id(request.destination_key_id)
            .set_destination_encryption_context(pairs(&context))
            .set_grant_tokens(tokens(request.grant_tokens));
        self.inner
            .call(Operation::ReEncrypt, traits, || {
                let (send, context) = (call.clone().send(), &context);
                async move {
                    let made = send.await.map_err(Failure::from_sdk)?;
                    wrapped(made.ciphertext_blob, made.key_id, context)
                }
            })
            .await
            .result
    }

    async fn create_grant(&self, request: CreateGrantRequest) -> Result<CreatedGrant, KmsError> {
        let traits =
            Traits { repeatable: request.name.is_some(), ..repeatable(&request.grant_tokens) };
        let operations =
            request.operations.iter().map(|op| SdkGrantOperation::from(op.as_str())).collect();
        let call = self
            .inner
            .client
            .create_grant()
            .key_id(request.key_id)
            .grantee_principal(request.grantee_principal)
            .set_retiring_principal(request.retiring_principal)
            .set_operations(Some(operations))
            .set_constraints(request.constraint.map(constraints))
            .set_name(request.name)
            .set_grant_tokens(tokens(request.grant_tokens));
        self.inner
            .call(Operation::CreateGrant, traits, || {
                let send = call.clone().send();
                async {
                    let made = send.await.map_err(Failure::from_sdk)?;
                    Ok(CreatedGrant {
                        grant_id: some(made.grant_id, "grant id")?,
                        grant_token: some(made.grant_token, "grant token")?,
                    })
                }
            })
            .await
            .result
    }

    async fn retire_grant(&self, request: RetireGrantRequest) -> Result<(), KmsError> {
        // A grant that is not found has ended or never was: that is no reason to wait.
        let traits = repeatable(&GrantTokens::default());
        let call = self.inner.client.retire_grant();
        let call = match request {
            RetireGrantRequest::Token(GrantTokens(tokens)) => match <[String; 1]>::try_from(tokens)
            {
                Ok([token]) => call.grant_token(token),
                Err(_) => {
                    return Err(KmsError::new(
                        KmsErrorKind::Invalid,
                        "ValidationException",
                        "a grant is retired by exactly one token",
                    ));
                }
            },
            RetireGrantRequest::Id { key_arn, grant_id } => call.key_id(key_arn).grant_id(grant_id),
        };
        let Called { result, ambiguous } = self
            .inner
            .call(Operation::RetireGrant, traits, || {
                let send = call.clone().send();
                async {
                    let told = send.await.map_err(Failure::from_sdk)?;
                    // The body of success is empty and the SDK looks at none: without the id that
                    // every AWS service gives, somebody else on the way has answered.
                    match told.request_id() {
                        Some(_) => Ok(()),
                        None => Err(Failure::lacking("request id")),
                    }
                }
            })
            .await;
        match result {
            // An earlier attempt did it, and its answer was lost.
            Err(error) if ambiguous && error.kind() == KmsErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
