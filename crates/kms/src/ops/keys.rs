//! Making, describing and listing keys.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use sealvol_envelope::{KeyState, KmsError};
use zeroize::Zeroizing;

use super::pages::{Page, PageSize};
use crate::audit::parameters;
use crate::fault;
use crate::ids::{KeyId, MaterialId, random};
use crate::kms::{Kms, Planned, no_randomness};
use crate::model::{
    AliasRequest, CreateKeyRequest, DescribeKeyRequest, KeyDescription, KeyListEntry,
    KeyMetadataResponse, KeySpec, KeyUsage, ListKeysRequest, ListKeysResponse,
    MultiRegionConfiguration, MultiRegionKey, Nothing, Origin, Timestamp,
    UpdateKeyDescriptionRequest,
};
use crate::operation::{Action, Operation};
use crate::ops::tags;
use crate::secret::Secret;
use crate::session::{Ask, Named, Session};
use crate::state::{AliasRecord, Change, Key, KeyRecord, KeyStatus, Material, State};
use crate::validate::{self, Checks};

const PAGES: PageSize = PageSize { default: 100, max: 1000 };

/// What a new key is to be.
#[derive(Debug, Clone)]
struct NewKey {
    account: String,
    description: String,
    spec: KeySpec,
    usage: KeyUsage,
    origin: Origin,
    multi_region: bool,
    service_managed: bool,
    policy: Option<String>,
    tags: BTreeMap<String, String>,
}

impl Kms {
    /// A record that is not stored yet.
    fn new_key(&self, new: NewKey) -> Result<KeyRecord, KmsError> {
        let created = self.clock.now();
        let id = random(&*self.entropy).map_err(no_randomness)?;
        let own_material = new.origin == Origin::AwsKms;
        // Only symmetric keys do cryptography here; the others need no material.
        let materials = match own_material && new.spec.is_symmetric() {
            true => vec![self.new_material()?],
            false => Vec::new(),
        };
        Ok(KeyRecord {
            id: match new.multi_region {
                true => KeyId::multi_region_from_random(id),
                false => KeyId::from_random(id),
            },
            account: new.account,
            description: new.description,
            status: if own_material { KeyStatus::Enabled } else { KeyStatus::PendingImport },
            created,
            spec: new.spec,
            usage: new.usage,
            origin: new.origin,
            service_managed: new.service_managed,
            policy: new.policy,
            tags: new.tags,
            rotation: None,
            current: None,
            materials,
        })
    }

    pub(crate) fn new_material(&self) -> Result<Material, KmsError> {
        let mut secret = Zeroizing::new([0; 32]);
        self.entropy.fill(secret.as_mut_slice()).map_err(no_randomness)?;
        Ok(Material {
            id: MaterialId(random(&*self.entropy).map_err(no_randomness)?),
            created: self.clock.now(),
            effective: None,
            rotation: None,
            secret: Secret::take(&mut secret),
        })
    }

    pub(crate) fn room_for_a_key(&self, state: &State, account: &str) -> Result<(), KmsError> {
        let max = self.settings.keys_max;
        // The sum first: counting an account's keys takes a walk over all.
        if state.keys().len() >= max
            && state.keys().filter(|key| key.record.account == account).count() >= max
        {
            return Err(fault::limit_exceeded(format!(
                "the account has {max} keys, as many as it may have"
            )));
        }
        Ok(())
    }
}

impl Session {
    /// `CreateKey`: makes a key of the caller's account.
    ///
    /// # Errors
    /// `ValidationException`, `AccessDeniedException`, `MalformedPolicyDocumentException`,
    /// `TagException`, `LimitExceededException`, `UnsupportedOperationException`,
    /// `KMSInternalException`.
    pub fn create_key(&self, request: &CreateKeyRequest) -> Result<KeyMetadataResponse, KmsError> {
        self.make_key(request, None)
    }

    /// `CreateKey` and `CreateAlias` as one change: a refused alias leaves no nameless key behind,
    /// and no crash does. Permissions, counts and records are those of the two calls.
    ///
    /// # Errors
    /// As [`create_key`](Self::create_key) and [`create_alias`](Self::create_alias).
    pub fn create_key_with_alias(
        &self,
        request: &CreateKeyRequest,
        alias: &str,
    ) -> Result<KeyMetadataResponse, KmsError> {
        let made = OnceCell::new();
        self.call(
            Operation::CreateAlias,
            || {
                let target_key_id = made.get().cloned().unwrap_or_default();
                parameters::alias(&AliasRequest { alias_name: alias.to_owned(), target_key_id })
            },
            |trail| {
                validate::alias_name(alias)?;
                let answer = self.make_key(request, Some(alias))?;
                let KeyDescription { key_id, arn, aws_account_id, .. } = &answer.key_metadata;
                if let Some(id) = KeyId::parse(key_id) {
                    trail.used(id, arn, aws_account_id);
                }
                made.get_or_init(|| arn.clone());
                Ok(answer)
            },
        )
    }

    fn make_key(
        &self,
        request: &CreateKeyRequest,
        alias: Option<&str>,
    ) -> Result<KeyMetadataResponse, KmsError> {
        self.call(
            Operation::CreateKey,
            || parameters::create_key(request),
            |trail| {
                let new = self.new_key_of(request)?;
                let names: Vec<&str> = new.tags.keys().map(String::as_str).collect();
                let bypass = request.bypass_policy_lockout_safety_check == Some(true);
                let bypass_text = [if bypass { "true" } else { "false" }];
                let (spec, usage, origin) =
                    ([new.spec.as_str()], [new.usage.as_str()], [new.origin.as_str()]);
                let multi_region = [if new.multi_region { "true" } else { "false" }];
                let mut more: Vec<(&'static str, &[&str])> = vec![
                    ("kms:keyspec", &spec),
                    ("kms:keyusage", &usage),
                    ("kms:keyorigin", &origin),
                    ("kms:multiregion", &multi_region),
                    ("kms:bypasspolicylockoutsafetycheck", &bypass_text),
                ];
                if !names.is_empty() {
                    more.push(("aws:tagkeys", &names));
                }
                self.read(|state| {
                    let ask = Ask { more: &more, ..Ask::to(Action::CreateKey) };
                    self.permit_in_account(state, &ask, "*")?;
                    if !names.is_empty() {
                        let ask = Ask { more: &more, ..Ask::to(Action::TagResource) };
                        self.permit_in_account(state, &ask, "*")?;
                    }
                    Ok(())
                })?;
                let mut record = self.kms.new_key(new)?;
                if let Some(text) = &request.policy {
                    self.check_policy(text, &record, bypass)?;
                    record.policy = Some(text.clone());
                }
                let alias = alias.map(|name| self.alias_of_new(&record, name)).transpose()?;
                let description = self.describe(&record);
                let answer = KeyMetadataResponse { key_metadata: description };
                let account = record.account.clone();
                let arn = self.arn(&record);
                trail.used(record.id, &arn, self.kms.settings.shown_account(&account));
                trail.response = serde_json::to_value(&answer.key_metadata)
                    .ok()
                    .map(|metadata| parameters::key_metadata(&metadata));
                self.change(|state| {
                    let change = match alias {
                        None => Change::KeyCreated(record),
                        Some(alias) => {
                            self.alias_is_free(state, &alias.name)?;
                            Change::KeyCreatedWithAlias(record, alias)
                        }
                    };
                    self.kms.room_for_a_key(state, &account)?;
                    Ok(Planned { change: Some(change), answer })
                })
            },
        )
    }

    /// The alias that a key is made with, if its maker may give it.
    fn alias_of_new(&self, record: &KeyRecord, name: &str) -> Result<AliasRecord, KmsError> {
        let draft = Key::draft(record);
        let ask = Ask::to(Action::CreateAlias);
        self.read(|state| {
            self.permit_on_alias(state, name, &ask)?;
            self.permit(state, Named { key: &draft, alias: None }, &ask)
        })?;
        Ok(AliasRecord {
            account: record.account.clone(),
            name: name.to_owned(),
            target: record.id,
            created: record.created,
            updated: record.created,
        })
    }

    fn new_key_of(&self, request: &CreateKeyRequest) -> Result<NewKey, KmsError> {
        let mut checks = Checks::default();
        if let Some(text) = &request.description {
            checks.description(text);
        }
        let specs: Vec<_> = KeySpec::ALL.iter().map(|spec| spec.as_str()).collect();
        let usages: Vec<_> = KeyUsage::ALL.iter().map(|usage| usage.as_str()).collect();
        let origins: Vec<_> = Origin::ALL.iter().map(|origin| origin.as_str()).collect();
        checks.one_of("keySpec", request.key_spec.as_deref(), &specs);
        let old_spec = request.customer_master_key_spec.as_deref();
        checks.one_of("customerMasterKeySpec", old_spec, &specs);
        checks.one_of("keyUsage", request.key_usage.as_deref(), &usages);
        checks.one_of("origin", request.origin.as_deref(), &origins);
        tags::shape(&mut checks, request.tags.as_deref().unwrap_or_default());
        if request.policy.as_deref() == Some("") {
            checks.add("policy", Some(""), "have length greater than or equal to 1");
        }
        checks.finish()?;
        if request.key_spec.is_some() && old_spec.is_some() {
            return Err(fault::validation(
                "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. \
                 CustomerMasterKeySpec is deprecated.",
            ));
        }
        let spec = request.key_spec.as_deref().or(old_spec).and_then(KeySpec::from_name);
        let spec = spec.unwrap_or(KeySpec::SymmetricDefault);
        let usage = match request.key_usage.as_deref().and_then(KeyUsage::from_name) {
            Some(usage) => usage,
            None => spec.default_usage().ok_or_else(|| {
                fault::validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
            })?,
        };
        if !spec.allows(usage) {
            return Err(fault::validation(format!(
                "KeyUsage {} is not compatible with KeySpec {}",
                usage.as_str(),
                spec.as_str()
            )));
        }
        let origin = request.origin.as_deref().and_then(Origin::from_name);
        let origin = origin.unwrap_or(Origin::AwsKms);
        if matches!(origin, Origin::AwsCloudHsm | Origin::ExternalKeyStore)
            || request.custom_key_store_id.is_some()
            || request.xks_key_id.is_some()
        {
            return Err(fault::unsupported("custom and external key stores are not supported"));
        }
        let given = request.tags.as_deref().unwrap_or_default();
        let tags = tags::merged(&BTreeMap::new(), given, self.kms.settings.tags_per_key_max)?;
        Ok(NewKey {
            account: self.home(),
            description: request.description.clone().unwrap_or_default(),
            spec,
            usage,
            origin,
            multi_region: request.multi_region == Some(true),
            service_managed: false,
            policy: None,
            tags,
        })
    }

    /// `DescribeKey`.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidGrantTokenException`, `NotFoundException`,
    /// `AccessDeniedException`.
    pub fn describe_key(
        &self,
        request: &DescribeKeyRequest,
    ) -> Result<KeyMetadataResponse, KmsError> {
        self.call(
            Operation::DescribeKey,
            || parameters::describe_key(request),
            |trail| {
                let mut checks = Checks::default();
                checks.tokens(request.grant_tokens.as_deref());
                checks.finish()?;
                self.read(|state| {
                    let tokens = self.tokens(state, request.grant_tokens.as_deref())?;
                    let named = ("keyId", request.key_id.as_str());
                    let named = self.resolve(state, named, Operation::DescribeKey, trail)?;
                    let ask = Ask { tokens: &tokens, ..Ask::to(Action::DescribeKey) };
                    self.permit(state, named, &ask)?;
                    Ok(KeyMetadataResponse { key_metadata: self.describe(&named.key.record) })
                })
            },
        )
    }

    pub(crate) fn describe(&self, record: &KeyRecord) -> KeyDescription {
        let settings = &self.kms.settings;
        let arn = self.arn(record);
        let state = KeyState::from(record.status);
        let (spec, usage) = (record.spec, record.usage);
        let of_usage = |wanted, list| if usage == wanted { list } else { &[][..] };
        let multi_region = record.id.is_multi_region();
        let key = || MultiRegionKey { arn: arn.clone(), region: settings.region.clone() };
        KeyDescription {
            aws_account_id: settings.shown_account(&record.account).to_owned(),
            key_id: record.id.to_string(),
            creation_date: Timestamp(record.created),
            enabled: state == KeyState::Enabled,
            description: record.description.clone(),
            key_usage: usage.as_str(),
            key_state: state.as_str(),
            deletion_date: match record.status {
                KeyStatus::PendingDeletion { delete_at } => Some(Timestamp(delete_at)),
                _ => None,
            },
            origin: record.origin.as_str(),
            key_manager: if record.service_managed { "AWS" } else { "CUSTOMER" },
            customer_master_key_spec: spec.as_str(),
            key_spec: spec.as_str(),
            encryption_algorithms: of_usage(KeyUsage::EncryptDecrypt, spec.encryption_algorithms()),
            signing_algorithms: of_usage(KeyUsage::SignVerify, spec.signing_algorithms()),
            mac_algorithms: of_usage(KeyUsage::GenerateVerifyMac, spec.mac_algorithms()),
            key_agreement_algorithms: of_usage(KeyUsage::KeyAgreement, &["ECDH"]),
            multi_region,
            multi_region_configuration: multi_region.then(|| MultiRegionConfiguration {
                multi_region_key_type: "PRIMARY",
                primary_key: key(),
                replica_keys: Vec::new(),
            }),
            current_key_material_id: record.current(self.now()).map(|m| m.id.to_string()),
            arn,
        }
    }

    /// `ListKeys`: those of the caller's account.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidMarkerException`, `AccessDeniedException`.
    pub fn list_keys(&self, request: &ListKeysRequest) -> Result<ListKeysResponse, KmsError> {
        self.call(
            Operation::ListKeys,
            || parameters::list_keys(request),
            |_trail| {
                let page = Page::parse("keys", PAGES, request.limit, request.marker.as_deref())?;
                self.read(|state| {
                    self.permit_in_account(state, &Ask::to(Action::ListKeys), "*")?;
                    let after = page.after.as_deref().map(KeyId::parse);
                    let after = match after {
                        Some(None) => return Err(fault::invalid_marker()),
                        Some(after) => after,
                        None => None,
                    };
                    let home = self.home();
                    let own = |key: &&Key| key.record.account == home;
                    let entries = state.keys_after(after).filter(own).map(|key| {
                        let key_id = key.record.id.to_string();
                        (key_id.clone(), KeyListEntry { key_id, key_arn: self.arn(&key.record) })
                    });
                    let cut = page.cut(entries);
                    let truncated = cut.next_marker.is_some();
                    Ok(ListKeysResponse {
                        keys: cut.entries,
                        next_marker: cut.next_marker,
                        truncated,
                    })
                })
            },
        )
    }

    /// `UpdateKeyDescription`.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `AccessDeniedException`,
    /// `KMSInvalidStateException`, `KMSInternalException`.
    pub fn update_key_description(
        &self,
        request: &UpdateKeyDescriptionRequest,
    ) -> Result<Nothing, KmsError> {
        let operation = Operation::UpdateKeyDescription;
        self.call(
            operation,
            || parameters::update_key_description(request),
            |trail| {
                let mut checks = Checks::default();
                match &request.description {
                    Some(text) => checks.description(text),
                    None => checks.missing("description"),
                }
                checks.finish()?;
                self.change(|state| {
                    let action = Action::UpdateKeyDescription;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    self.lasting(&key.record)?;
                    let description = request.description.clone().unwrap_or_default();
                    let change = Change::KeyDescriptionSet { key: key.record.id, description };
                    Ok(Planned { change: Some(change), answer: Nothing })
                })
            },
        )
    }
}
