//! What people who embed the KMS need most, in few words; the operations with all their members are
//! in [`crate::Session`].

use std::sync::Arc;

use sealvol_core::UnixMillis;
use sealvol_envelope::{Caller, KeyMetadata, KmsError};

use crate::kms::Kms;
use crate::model::{
    AliasListEntry, AliasRequest, CreateKeyRequest, DescribeKeyRequest, GrantListEntry, KeyRequest,
    ListAliasesRequest, ListGrantsRequest, ListKeysRequest, RevokeGrantRequest,
};
use crate::validate;

/// An alias, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `alias/...`
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// ARN of the key that it names.
    pub target_key_arn: String,
    /// When it was made.
    pub created: UnixMillis,
    /// When it last got another target.
    pub updated: UnixMillis,
}

impl Kms {
    /// Makes an enabled symmetric key with the default policy.
    ///
    /// # Errors
    /// As [`crate::Session::create_key`].
    pub fn create_key(
        self: &Arc<Self>,
        caller: &Caller,
        description: &str,
    ) -> Result<KeyMetadata, KmsError> {
        let request = CreateKeyRequest {
            description: Some(description.to_owned()),
            ..CreateKeyRequest::default()
        };
        self.session_of(caller).create_key(&request).map(|answer| answer.key_metadata.into())
    }

    /// The key of an alias; made, together with the alias and in one step, if there is no such
    /// alias. For default keys: callers that race, in any number of processes, get one key.
    ///
    /// # Errors
    /// As [`crate::Session::create_key`] and [`crate::Session::create_alias`].
    pub fn ensure_key(
        self: &Arc<Self>,
        caller: &Caller,
        alias: &str,
        description: &str,
    ) -> Result<KeyMetadata, KmsError> {
        validate::alias_name(alias)?;
        let session = self.session_of(caller);
        let account = session.home();
        let known = || self.read(|state| Ok(state.alias(&account, alias).is_some()));
        let describe = || {
            let request = DescribeKeyRequest { key_id: alias.to_owned(), grant_tokens: None };
            session.describe_key(&request).map(|answer| answer.key_metadata.into())
        };
        if known()? {
            return describe();
        }
        let request = CreateKeyRequest {
            description: Some(description.to_owned()),
            ..CreateKeyRequest::default()
        };
        match session.create_key_with_alias(&request, alias) {
            // Somebody else was first.
            Err(error) if error.code() == "AlreadyExistsException" => describe(),
            made => made.map(|answer| answer.key_metadata.into()),
        }
    }

    /// Gives a key an alias. `key_id` is a key id or key ARN.
    ///
    /// # Errors
    /// As [`crate::Session::create_alias`].
    pub fn create_alias(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        key_id: &str,
    ) -> Result<(), KmsError> {
        let request =
            AliasRequest { alias_name: name.to_owned(), target_key_id: key_id.to_owned() };
        self.session_of(caller).create_alias(&request).map(drop)
    }

    /// Every key of the caller's account, by key id.
    ///
    /// # Errors
    /// As [`crate::Session::list_keys`] and [`crate::Session::describe_key`].
    pub fn list_keys(self: &Arc<Self>, caller: &Caller) -> Result<Vec<KeyMetadata>, KmsError> {
        let session = self.session_of(caller);
        let mut keys = Vec::new();
        let mut request = ListKeysRequest { limit: Some(1000), marker: None };
        loop {
            let page = session.list_keys(&request)?;
            for key in page.keys {
                let request = DescribeKeyRequest { key_id: key.key_id, grant_tokens: None };
                keys.push(session.describe_key(&request)?.key_metadata.into());
            }
            request.marker = page.next_marker;
            if request.marker.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Every alias of the caller's account, by name; those of one key if `key_id` (id or ARN) is
    /// given.
    ///
    /// # Errors
    /// As [`crate::Session::list_aliases`].
    pub fn list_aliases(
        self: &Arc<Self>,
        caller: &Caller,
        key_id: Option<&str>,
    ) -> Result<Vec<Alias>, KmsError> {
        let session = self.session_of(caller);
        let mut aliases = Vec::new();
        let mut request = ListAliasesRequest {
            key_id: key_id.map(str::to_owned),
            limit: Some(100),
            marker: None,
        };
        loop {
            let page = session.list_aliases(&request)?;
            aliases.extend(page.aliases.into_iter().map(alias));
            request.marker = page.next_marker;
            if request.marker.is_none() {
                return Ok(aliases);
            }
        }
    }

    /// Makes a key usable. Enabling an enabled key succeeds.
    ///
    /// # Errors
    /// As [`crate::Session::enable_key`].
    pub fn enable_key(self: &Arc<Self>, caller: &Caller, key_id: &str) -> Result<(), KmsError> {
        self.session_of(caller).enable_key(&KeyRequest::new(key_id)).map(drop)
    }

    /// Makes a key unusable. What was unwrapped stays unwrapped; nothing is lost.
    ///
    /// # Errors
    /// As [`crate::Session::disable_key`].
    pub fn disable_key(self: &Arc<Self>, caller: &Caller, key_id: &str) -> Result<(), KmsError> {
        self.session_of(caller).disable_key(&KeyRequest::new(key_id)).map(drop)
    }

    /// The grants of a key, by grant id.
    ///
    /// # Errors
    /// As [`crate::Session::list_grants`].
    pub fn list_grants(
        self: &Arc<Self>,
        caller: &Caller,
        key_id: &str,
    ) -> Result<Vec<GrantListEntry>, KmsError> {
        let session = self.session_of(caller);
        let mut grants = Vec::new();
        let mut request = ListGrantsRequest {
            key_id: key_id.to_owned(),
            limit: Some(100),
            ..ListGrantsRequest::default()
        };
        loop {
            let page = session.list_grants(&request)?;
            grants.extend(page.grants);
            request.marker = page.next_marker;
            if request.marker.is_none() {
                return Ok(grants);
            }
        }
    }

    /// Ends a grant by its id. Works in every key state.
    ///
    /// # Errors
    /// As [`crate::Session::revoke_grant`].
    pub fn revoke_grant(
        self: &Arc<Self>,
        caller: &Caller,
        key_id: &str,
        grant_id: &str,
    ) -> Result<(), KmsError> {
        let request = RevokeGrantRequest {
            key_id: key_id.to_owned(),
            grant_id: grant_id.to_owned(),
            dry_run: None,
        };
        self.session_of(caller).revoke_grant(&request).map(drop)
    }
}

fn alias(entry: AliasListEntry) -> Alias {
    // `arn:aws:kms:region:account:alias/...` and the key's share all but the resource.
    let place = entry.alias_arn.split(":alias/").next().unwrap_or_default();
    Alias {
        target_key_arn: format!("{place}:key/{}", entry.target_key_id),
        name: entry.alias_name,
        arn: entry.alias_arn,
        created: entry.creation_date.0,
        updated: entry.last_updated_date.0,
    }
}
