//! Generating, unwrapping and rewrapping data keys. The order of checks is AWS's: the request's
//! shape, the tokens, the key, permission, the key's state, and only then the ciphertext.

use sealvol_envelope::{
    Caller, DataKey, DecryptRequest, EncryptionContext, GenerateDataKeyRequest, GeneratedDataKey,
    KeyMetadata, KmsError, ReEncryptRequest, WrappedDataKey,
};
use zeroize::Zeroizing;

use super::{Kms, no_randomness, usable};
use crate::authorize::{Action, KeyRequest};
use crate::blob::{CiphertextBlob, seal};
use crate::fault;
use crate::ids::KeyForms;
use crate::state::{Key, State};
use crate::token::GrantRef;
use crate::validate;

impl Kms {
    pub(super) fn describe(&self, caller: &Caller, key_id: &str) -> Result<KeyMetadata, KmsError> {
        self.read(|state| {
            let (key, arn) = self.resolve(state, key_id, KeyForms::WithAliases)?;
            self.manage(caller, Action::DescribeKey, key, &arn)?;
            Ok(self.metadata(&key.record))
        })
    }

    pub(super) fn generate(
        &self,
        caller: &Caller,
        request: GenerateDataKeyRequest,
    ) -> Result<GeneratedDataKey, KmsError> {
        let (mut plaintext, wrapped) =
            self.generate_wrapped(caller, Action::GenerateDataKey, request)?;
        Ok(GeneratedDataKey { plaintext: DataKey::take(&mut plaintext), wrapped })
    }

    pub(super) fn generate_without_plaintext(
        &self,
        caller: &Caller,
        request: GenerateDataKeyRequest,
    ) -> Result<WrappedDataKey, KmsError> {
        let action = Action::GenerateDataKeyWithoutPlaintext;
        self.generate_wrapped(caller, action, request).map(|(_plaintext, wrapped)| wrapped)
    }

    fn generate_wrapped(
        &self,
        caller: &Caller,
        action: Action,
        request: GenerateDataKeyRequest,
    ) -> Result<(Zeroizing<Vec<u8>>, WrappedDataKey), KmsError> {
        let len = validate::data_key_len(request.number_of_bytes)?;
        self.read(|state| {
            let tokens = state.tokens.check_all(&request.grant_tokens)?;
            let (key, key_arn) = self.resolve(state, &request.key_id, KeyForms::WithAliases)?;
            self.permit(caller, action, (key, &key_arn), &request.context, &tokens)?;
            // Of its final length at once: a buffer that grows would leave copies behind.
            let mut plaintext = Zeroizing::new(vec![0; len]);
            self.entropy.fill(&mut plaintext).map_err(no_randomness)?;
            let ciphertext = self.seal(key, &request.context, &plaintext)?;
            let wrapped = WrappedDataKey { key_arn, context: request.context, ciphertext };
            Ok((plaintext, wrapped))
        })
    }

    pub(super) fn decrypt(
        &self,
        caller: &Caller,
        request: &DecryptRequest,
    ) -> Result<DataKey, KmsError> {
        self.read(|state| {
            let source = Source {
                ciphertext: &request.ciphertext,
                context: &request.context,
                key_id: request.key_id.as_deref(),
            };
            let tokens = state.tokens.check_all(&request.grant_tokens)?;
            let mut plaintext = self.open(state, caller, Action::Decrypt, &source, &tokens)?;
            Ok(DataKey::take(&mut plaintext))
        })
    }

    pub(super) fn re_encrypt(
        &self,
        caller: &Caller,
        request: ReEncryptRequest,
    ) -> Result<WrappedDataKey, KmsError> {
        self.read(|state| {
            let source = Source {
                ciphertext: &request.ciphertext,
                context: &request.source_context,
                key_id: request.source_key_id.as_deref(),
            };
            let tokens = state.tokens.check_all(&request.grant_tokens)?;
            let (key, key_arn) =
                self.resolve(state, &request.destination_key_id, KeyForms::WithAliases)?;
            let context = request.destination_context;
            // Before the source is opened: half the permission opens nothing.
            self.permit(caller, Action::ReEncryptTo, (key, &key_arn), &context, &tokens)?;
            let plaintext = self.open(state, caller, Action::ReEncryptFrom, &source, &tokens)?;
            let ciphertext = self.seal(key, &context, &plaintext)?;
            Ok(WrappedDataKey { key_arn, context, ciphertext })
        })
    }

    /// Opens a ciphertext for a caller that may do so.
    fn open(
        &self,
        state: &State,
        caller: &Caller,
        action: Action,
        source: &Source<'_>,
        tokens: &[GrantRef],
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        validate::ciphertext(source.ciphertext)?;
        let blob = CiphertextBlob::parse(source.ciphertext);
        let key = match source.key_id {
            Some(key_id) => {
                let (key, arn) = self.resolve(state, key_id, KeyForms::WithAliases)?;
                self.permit(caller, action, (key, &arn), source.context, tokens)?;
                key
            }
            None => {
                let blob = blob.map_err(|_| fault::invalid_ciphertext())?;
                let key = state.key(blob.key_id()).ok_or_else(fault::ciphertext_denied)?;
                let arn = self.settings.key_arn(key.record.id);
                self.permit_blob(caller, action, (key, &arn), source.context, tokens)?;
                key
            }
        };
        let blob = blob.map_err(|_| fault::invalid_ciphertext())?;
        if blob.key_id() != key.record.id {
            return Err(fault::incorrect_key());
        }
        let material =
            key.record.material(blob.material_id()).ok_or_else(fault::invalid_ciphertext)?;
        blob.open(&material.secret, source.context)
    }

    fn seal(
        &self,
        key: &Key,
        context: &EncryptionContext,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KmsError> {
        let record = &key.record;
        let material = record
            .material(record.current)
            .ok_or_else(|| fault::internal("the key has no current material"))?;
        seal(&*self.entropy, (record.id, material.id, &material.secret), context, plaintext)
    }

    /// Permission, then the key's state.
    fn permit(
        &self,
        caller: &Caller,
        action: Action,
        (key, key_arn): (&Key, &str),
        context: &EncryptionContext,
        tokens: &[GrantRef],
    ) -> Result<(), KmsError> {
        let context = Some(context);
        self.authorize(&KeyRequest { caller, action, key, key_arn, context, tokens, terms: None })?;
        usable(key.record.status, key_arn)
    }

    /// [`permit`](Self::permit) where the ciphertext, not the caller, named the key: a refusal then
    /// does not tell whether the key exists.
    fn permit_blob(
        &self,
        caller: &Caller,
        action: Action,
        key: (&Key, &str),
        context: &EncryptionContext,
        tokens: &[GrantRef],
    ) -> Result<(), KmsError> {
        self.permit(caller, action, key, context, tokens).map_err(|error| {
            if error.kind() == sealvol_envelope::KmsErrorKind::Denied {
                fault::ciphertext_denied()
            } else {
                error
            }
        })
    }
}

/// A ciphertext to open, with what the caller says about it.
struct Source<'a> {
    ciphertext: &'a [u8],
    context: &'a EncryptionContext,
    key_id: Option<&'a str>,
}
