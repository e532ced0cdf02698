//! Encrypting, decrypting and generating data keys. The order of checks is AWS's: the request's
//! shape, the tokens, the key, permission, the key's state, its usage, and only then the ciphertext.

use sealvol_envelope::{EncryptionContext, KmsError, KmsErrorKind};
use zeroize::Zeroizing;

use crate::audit::parameters;
use crate::blob::{CiphertextBlob, seal};
use crate::fault;
use crate::ids::MaterialId;
use crate::kms::no_randomness;
use crate::model::{
    Blob, DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, GenerateDataKeyRequest,
    GenerateDataKeyResponse, KeyUsage, ReEncryptRequest, ReEncryptResponse, SecretBlob,
};
use crate::operation::{Action, Operation};
use crate::session::{Ask, Named, Session, end_dry_run};
use crate::state::{Key, State};
use crate::token::GrantRef;
use crate::trail::Trail;
use crate::validate::{Checks, PLAINTEXT_MAX, no_recipient};

const ALGORITHM: &str = "SYMMETRIC_DEFAULT";
const ALGORITHMS: &[&str] =
    &["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"];

/// What a cryptographic request asks of a key.
#[derive(Clone, Copy)]
struct Use<'a> {
    operation: Operation,
    action: Action,
    context: &'a EncryptionContext,
    tokens: &'a [GrantRef],
    algorithm: Option<&'a str>,
    more: &'a [(&'static str, &'a [&'a str])],
}

/// A ciphertext to open, with what the caller says about it.
struct Source<'a> {
    /// `None` in a dry run that ignores it.
    ciphertext: Option<&'a [u8]>,
    /// Member name and key.
    key_id: Option<(&'static str, &'a str)>,
}

/// What came out of a ciphertext.
struct Opened<'a> {
    key: &'a Key,
    /// `None` if the ciphertext was ignored.
    inside: Option<(Zeroizing<Vec<u8>>, MaterialId)>,
}

impl Session {
    /// `Encrypt`: seals 1 to 4096 bytes under a key.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidGrantTokenException`, `NotFoundException`,
    /// `AccessDeniedException`, `DisabledException`, `KMSInvalidStateException`,
    /// `InvalidKeyUsageException`, `DryRunOperationException`.
    pub fn encrypt(&self, request: &EncryptRequest) -> Result<EncryptResponse, KmsError> {
        self.call(
            Operation::Encrypt,
            || parameters::encrypt(request),
            |trail| {
                let mut checks = Checks::default();
                match &request.plaintext {
                    Some(plaintext) => {
                        checks.bytes("plaintext", plaintext.expose_secret().len(), PLAINTEXT_MAX);
                    }
                    None => checks.missing("plaintext"),
                }
                checks.tokens(request.grant_tokens.as_deref());
                checks.context(
                    "encryptionContext",
                    &request.encryption_context,
                    &self.kms.settings,
                );
                algorithm(
                    &mut checks,
                    "encryptionAlgorithm",
                    request.encryption_algorithm.as_deref(),
                );
                checks.finish()?;
                self.read(|state| {
                    let tokens = self.tokens(state, request.grant_tokens.as_deref())?;
                    let wanted = Use {
                        operation: Operation::Encrypt,
                        action: Action::Encrypt,
                        context: &request.encryption_context,
                        tokens: &tokens,
                        algorithm: request.encryption_algorithm.as_deref(),
                        more: &[],
                    };
                    let key = self.admit(state, ("keyId", &request.key_id), &wanted, trail)?;
                    end_dry_run(request.dry_run)?;
                    let plaintext =
                        request.plaintext.as_ref().map_or(&[][..], SecretBlob::expose_secret);
                    let (ciphertext, _) = self.seal(key, &request.encryption_context, plaintext)?;
                    Ok(EncryptResponse {
                        ciphertext_blob: Blob(ciphertext),
                        key_id: self.arn(&key.record),
                        encryption_algorithm: ALGORITHM,
                    })
                })
            },
        )
    }

    /// `GenerateDataKey`: a new data key, in both forms.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub fn generate_data_key(
        &self,
        request: &GenerateDataKeyRequest,
    ) -> Result<GenerateDataKeyResponse, KmsError> {
        let parameters = || parameters::generate_data_key(request);
        self.call(Operation::GenerateDataKey, parameters, |trail| {
            no_recipient(request.recipient.as_ref())?;
            self.generate(Operation::GenerateDataKey, Action::GenerateDataKey, request, trail)
        })
    }

    /// `GenerateDataKeyWithoutPlaintext`: a new data key, wrapped; its plaintext never leaves the
    /// KMS.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub fn generate_data_key_without_plaintext(
        &self,
        request: &GenerateDataKeyRequest,
    ) -> Result<GenerateDataKeyResponse, KmsError> {
        let parameters = || parameters::generate_data_key(request);
        self.call(Operation::GenerateDataKeyWithoutPlaintext, parameters, |trail| {
            let (operation, action) = (
                Operation::GenerateDataKeyWithoutPlaintext,
                Action::GenerateDataKeyWithoutPlaintext,
            );
            let generated = self.generate(operation, action, request, trail)?;
            Ok(GenerateDataKeyResponse { plaintext: None, ..generated })
        })
    }

    fn generate(
        &self,
        operation: Operation,
        action: Action,
        request: &GenerateDataKeyRequest,
        trail: &mut Trail,
    ) -> Result<GenerateDataKeyResponse, KmsError> {
        let mut checks = Checks::default();
        checks.range("numberOfBytes", request.number_of_bytes, 1, 1024);
        checks.one_of("keySpec", request.key_spec.as_deref(), &["AES_256", "AES_128"]);
        checks.tokens(request.grant_tokens.as_deref());
        checks.context("encryptionContext", &request.encryption_context, &self.kms.settings);
        checks.finish()?;
        let len = match (request.number_of_bytes, request.key_spec.as_deref()) {
            (Some(bytes), None) => usize::try_from(bytes).unwrap_or_default(),
            (None, Some("AES_128")) => 16,
            (None, Some(_)) => 32,
            (None, None) | (Some(_), Some(_)) => {
                return Err(fault::validation(
                    "Please specify either number of bytes or key spec.",
                ));
            }
        };
        self.read(|state| {
            let tokens = self.tokens(state, request.grant_tokens.as_deref())?;
            let wanted = Use {
                operation,
                action,
                context: &request.encryption_context,
                tokens: &tokens,
                algorithm: None,
                more: &[],
            };
            let key = self.admit(state, ("keyId", &request.key_id), &wanted, trail)?;
            end_dry_run(request.dry_run)?;
            // Of its final length at once: a buffer that grows would leave copies behind.
            let mut plaintext = Zeroizing::new(vec![0; len]);
            self.kms.entropy.fill(&mut plaintext).map_err(no_randomness)?;
            let (ciphertext, material) = self.seal(key, &request.encryption_context, &plaintext)?;
            Ok(GenerateDataKeyResponse {
                ciphertext_blob: Blob(ciphertext),
                plaintext: Some(SecretBlob::new(plaintext)),
                key_id: self.arn(&key.record),
                key_material_id: material.to_string(),
            })
        })
    }

    /// `Decrypt`: opens what this KMS sealed.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt), and `InvalidCiphertextException`, `IncorrectKeyException`.
    pub fn decrypt(&self, request: &DecryptRequest) -> Result<DecryptResponse, KmsError> {
        self.call(
            Operation::Decrypt,
            || parameters::decrypt(request),
            |trail| {
                let ignored =
                    ignores_ciphertext(request.dry_run, request.dry_run_modifiers.as_deref());
                let mut checks = Checks::default();
                ciphertext(&mut checks, request.ciphertext_blob.as_ref(), ignored);
                modifiers(&mut checks, request.dry_run_modifiers.as_deref());
                checks.tokens(request.grant_tokens.as_deref());
                checks.context(
                    "encryptionContext",
                    &request.encryption_context,
                    &self.kms.settings,
                );
                algorithm(
                    &mut checks,
                    "encryptionAlgorithm",
                    request.encryption_algorithm.as_deref(),
                );
                checks.finish()?;
                no_recipient(request.recipient.as_ref())?;
                let source = Source {
                    ciphertext: given(request.ciphertext_blob.as_ref(), ignored),
                    key_id: request.key_id.as_deref().map(|key_id| ("keyId", key_id)),
                };
                self.read(|state| {
                    let tokens = self.tokens(state, request.grant_tokens.as_deref())?;
                    let wanted = Use {
                        operation: Operation::Decrypt,
                        action: Action::Decrypt,
                        context: &request.encryption_context,
                        tokens: &tokens,
                        algorithm: request.encryption_algorithm.as_deref(),
                        more: &[],
                    };
                    let opened = self.open(state, &source, &wanted, trail)?;
                    end_dry_run(request.dry_run)?;
                    let (plaintext, material) =
                        opened.inside.ok_or_else(fault::invalid_ciphertext)?;
                    Ok(DecryptResponse {
                        key_id: self.arn(&opened.key.record),
                        plaintext: SecretBlob::new(plaintext),
                        encryption_algorithm: ALGORITHM,
                        key_material_id: material.to_string(),
                    })
                })
            },
        )
    }

    /// `ReEncrypt`: opens a ciphertext and seals its content anew, under another key or context,
    /// inside the KMS.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt).
    pub fn re_encrypt(&self, request: &ReEncryptRequest) -> Result<ReEncryptResponse, KmsError> {
        self.call(
            Operation::ReEncrypt,
            || parameters::re_encrypt(request),
            |trail| {
                let ignored =
                    ignores_ciphertext(request.dry_run, request.dry_run_modifiers.as_deref());
                let settings = &self.kms.settings;
                let mut checks = Checks::default();
                ciphertext(&mut checks, request.ciphertext_blob.as_ref(), ignored);
                modifiers(&mut checks, request.dry_run_modifiers.as_deref());
                checks.required("destinationKeyId", &request.destination_key_id);
                checks.tokens(request.grant_tokens.as_deref());
                let (from, to) =
                    (&request.source_encryption_context, &request.destination_encryption_context);
                checks.context("sourceEncryptionContext", from, settings);
                checks.context("destinationEncryptionContext", to, settings);
                let from_algorithm = request.source_encryption_algorithm.as_deref();
                let to_algorithm = request.destination_encryption_algorithm.as_deref();
                algorithm(&mut checks, "sourceEncryptionAlgorithm", from_algorithm);
                algorithm(&mut checks, "destinationEncryptionAlgorithm", to_algorithm);
                checks.finish()?;
                let source = Source {
                    ciphertext: given(request.ciphertext_blob.as_ref(), ignored),
                    key_id: request.source_key_id.as_deref().map(|key_id| ("sourceKeyId", key_id)),
                };
                self.read(|state| {
                    let tokens = self.tokens(state, request.grant_tokens.as_deref())?;
                    let mut wanted = Use {
                        operation: Operation::ReEncrypt,
                        action: Action::ReEncryptTo,
                        context: to,
                        tokens: &tokens,
                        algorithm: to_algorithm,
                        more: &[],
                    };
                    let same = self.is_same_key(state, &source, &request.destination_key_id);
                    let same = [if same { "true" } else { "false" }];
                    let more: [(&'static str, &[&str]); 1] = [("kms:reencryptonsamekey", &same)];
                    wanted.more = &more;
                    // Before the source is opened: half the permission opens nothing.
                    let named = ("destinationKeyId", request.destination_key_id.as_str());
                    let mut destination = Trail::default();
                    let key = self.admit(state, named, &wanted, &mut destination);
                    let wanted = Use {
                        action: Action::ReEncryptFrom,
                        context: from,
                        algorithm: from_algorithm,
                        ..wanted
                    };
                    let opened = match key {
                        Ok(_) => Some(self.open(state, &source, &wanted, trail)?),
                        Err(_) => None,
                    };
                    // Records list the source first.
                    for used in destination.keys {
                        trail.used(used.id, &used.arn, &used.account);
                    }
                    let (key, opened) = (key?, opened.ok_or_else(fault::invalid_ciphertext)?);
                    end_dry_run(request.dry_run)?;
                    let (plaintext, material) =
                        opened.inside.ok_or_else(fault::invalid_ciphertext)?;
                    let (ciphertext, to_material) = self.seal(key, to, &plaintext)?;
                    Ok(ReEncryptResponse {
                        ciphertext_blob: Blob(ciphertext),
                        source_key_id: self.arn(&opened.key.record),
                        key_id: self.arn(&key.record),
                        source_encryption_algorithm: ALGORITHM,
                        destination_encryption_algorithm: ALGORITHM,
                        source_key_material_id: material.to_string(),
                        destination_key_material_id: to_material.to_string(),
                    })
                })
            },
        )
    }

    /// For `kms:ReEncryptOnSameKey`: whether the ciphertext names the destination key.
    fn is_same_key(&self, state: &State, source: &Source<'_>, destination: &str) -> bool {
        let named = ("destinationKeyId", destination);
        let resolved = self.resolve(state, named, Operation::ReEncrypt, &mut Trail::default()).ok();
        let blob = source.ciphertext.and_then(|bytes| CiphertextBlob::parse(bytes).ok());
        resolved.zip(blob).is_some_and(|(to, from)| to.key.record.id == from.key_id())
    }

    /// A key that the caller may use in this way, that is enabled and of the right kind.
    fn admit<'a>(
        &self,
        state: &'a State,
        named: (&str, &'a str),
        wanted: &Use<'_>,
        trail: &mut Trail,
    ) -> Result<&'a Key, KmsError> {
        let named = self.resolve(state, named, wanted.operation, trail)?;
        self.permit_use(state, named, wanted)?;
        self.usable(&named.key.record)?;
        self.suited(named.key, wanted)?;
        Ok(named.key)
    }

    fn permit_use(
        &self,
        state: &State,
        named: Named<'_>,
        wanted: &Use<'_>,
    ) -> Result<(), KmsError> {
        let ask = Ask {
            action: wanted.action,
            context: Some(wanted.context),
            tokens: wanted.tokens,
            terms: None,
            more: wanted.more,
        };
        self.permit(state, named, &ask)
    }

    /// Whether a key's kind goes with the operation.
    fn suited(&self, key: &Key, wanted: &Use<'_>) -> Result<(), KmsError> {
        let record = &key.record;
        let operation = wanted.operation.as_str();
        if record.usage != KeyUsage::EncryptDecrypt {
            return Err(fault::invalid_key_usage(format!(
                "{} key usage is {} which is not valid for {operation}.",
                self.arn(record),
                record.usage.as_str()
            )));
        }
        if !record.spec.is_symmetric() {
            if matches!(
                wanted.operation,
                Operation::GenerateDataKey | Operation::GenerateDataKeyWithoutPlaintext
            ) {
                return Err(fault::invalid_key_usage(format!(
                    "{} key spec is {} which is not valid for {operation}.",
                    self.arn(record),
                    record.spec.as_str()
                )));
            }
            return Err(fault::unsupported(format!(
                "{operation} with {} keys is not offered by the embedded KMS; use a \
                 SYMMETRIC_DEFAULT key",
                record.spec.as_str()
            )));
        }
        match wanted.algorithm {
            None | Some(ALGORITHM) => Ok(()),
            Some(other) => Err(fault::invalid_key_usage(format!(
                "Algorithm {other} is incompatible with key spec {}.",
                record.spec.as_str()
            ))),
        }
    }

    /// Opens a ciphertext for a caller that may do so.
    fn open<'a>(
        &self,
        state: &'a State,
        source: &Source<'a>,
        wanted: &Use<'_>,
        trail: &mut Trail,
    ) -> Result<Opened<'a>, KmsError> {
        let blob = source.ciphertext.map(CiphertextBlob::parse);
        let key = match (source.key_id, &blob) {
            (Some(named), _) => {
                let named = self.resolve(state, named, wanted.operation, trail)?;
                self.permit_use(state, named, wanted)?;
                self.usable(&named.key.record)?;
                named.key
            }
            // The ciphertext, not the caller, names the key: a refusal does not tell whether the
            // key exists.
            (None, Some(blob)) => {
                let blob = blob.map_err(|_| fault::invalid_ciphertext())?;
                let key = state.key(blob.key_id()).ok_or_else(fault::ciphertext_denied)?;
                self.used(trail, key);
                let named = Named { key, alias: None };
                self.permit_use(state, named, wanted).map_err(|error| match error.kind() {
                    KmsErrorKind::Denied => fault::ciphertext_denied(),
                    _ => error,
                })?;
                self.usable(&key.record)?;
                key
            }
            (None, None) => {
                let mut checks = Checks::default();
                checks.missing("keyId");
                return Err(checks.finish().err().unwrap_or_else(fault::invalid_ciphertext));
            }
        };
        let Some(blob) = blob else {
            self.suited(key, wanted)?;
            return Ok(Opened { key, inside: None });
        };
        let blob = blob.map_err(|_| fault::invalid_ciphertext())?;
        if blob.key_id() != key.record.id {
            return Err(fault::incorrect_key());
        }
        self.suited(key, wanted)?;
        let material =
            key.record.material(blob.material_id()).ok_or_else(fault::invalid_ciphertext)?;
        let plaintext = blob.open(&material.secret, wanted.context)?;
        Ok(Opened { key, inside: Some((plaintext, material.id)) })
    }

    fn seal(
        &self,
        key: &Key,
        context: &EncryptionContext,
        plaintext: &[u8],
    ) -> Result<(Vec<u8>, MaterialId), KmsError> {
        let material = key
            .record
            .current(self.now())
            .ok_or_else(|| fault::internal("the key has no material"))?;
        let key = (key.record.id, material.id, &material.secret);
        Ok((seal(&*self.kms.entropy, key, context, plaintext)?, material.id))
    }
}

fn algorithm(checks: &mut Checks, field: &str, algorithm: Option<&str>) {
    checks.one_of(field, algorithm, ALGORITHMS);
}

fn modifiers(checks: &mut Checks, modifiers: Option<&[String]>) {
    for modifier in modifiers.unwrap_or_default() {
        checks.one_of("dryRunModifiers", Some(modifier), &["IGNORE_CIPHERTEXT"]);
    }
}

/// Whether a dry run asks about the key alone.
fn ignores_ciphertext(dry_run: Option<bool>, modifiers: Option<&[String]>) -> bool {
    let asked = modifiers.unwrap_or_default().iter().any(|text| text == "IGNORE_CIPHERTEXT");
    asked && dry_run == Some(true)
}

fn ciphertext(checks: &mut Checks, blob: Option<&Blob>, ignored: bool) {
    match blob {
        Some(blob) => checks.ciphertext(blob.0.len()),
        None if ignored => {}
        None => checks.missing("ciphertextBlob"),
    }
}

fn given(blob: Option<&Blob>, ignored: bool) -> Option<&[u8]> {
    blob.filter(|_| !ignored).map(|blob| blob.0.as_slice())
}
