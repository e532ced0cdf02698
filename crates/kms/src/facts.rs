//! The condition keys of a request to KMS (kms.md, section 2), looked up when a policy asks.

use std::borrow::Cow;

use sealvol_core::UnixMillis;
use sealvol_envelope::EncryptionContext;
use sealvol_policy::{ConditionKeys, Values};

use crate::operation::Action;
use crate::requester::Requester;
use crate::settings::KmsSettings;
use crate::state::{Constraint, GrantTerms, Key, State};

/// What is known of a request when it is decided on.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) settings: &'a KmsSettings,
    pub(crate) state: Option<&'a State>,
    pub(crate) requester: &'a Requester,
    pub(crate) now: UnixMillis,
    pub(crate) action: Action,
    pub(crate) key: Option<&'a Key>,
    /// The alias by which the request named the key.
    pub(crate) request_alias: Option<&'a str>,
    /// For cryptographic operations.
    pub(crate) context: Option<&'a EncryptionContext>,
    /// For CreateGrant: the terms asked for.
    pub(crate) terms: Option<&'a GrantTerms>,
    /// Keys of single operations, in lower case.
    pub(crate) more: &'a [(&'static str, &'a [&'a str])],
}

impl<'a> Facts<'a> {
    /// The pairs that `kms:EncryptionContext:...` reads: on CreateGrant, the constraint's.
    fn pairs(&self) -> Option<&'a EncryptionContext> {
        match self.terms.map(|terms| &terms.constraint) {
            Some(Some(Constraint::Equals(pairs) | Constraint::Subset(pairs))) => Some(pairs),
            Some(None) => None,
            None => self.context,
        }
    }

    /// Key names are matched without regard to case; `kms:EncryptionContextKeys` is there for who
    /// wants to tell them apart.
    fn pair(&self, name: &str) -> Option<Values<'a>> {
        let values: Vec<Cow<'a, str>> = self
            .pairs()?
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| Cow::Borrowed(value))
            .collect();
        match values.as_slice() {
            [] => None,
            [one] => Some(Values::One(one.clone())),
            _ => Some(Values::Many(values)),
        }
    }

    fn of_grant(&self, key: &str) -> Option<Values<'a>> {
        if key == "grantisforawsresource" {
            let applies = matches!(
                self.action,
                Action::CreateGrant | Action::ListGrants | Action::RevokeGrant
            );
            return applies.then(|| Values::bool(self.requester.via_service.is_some()));
        }
        let terms = self.terms?;
        let one = |text: &'a str| Some(Values::one(text));
        match key {
            "grantoperations" => {
                let names = terms.operations.iter().map(|o| Cow::Borrowed(o.as_str())).collect();
                Some(Values::Many(names))
            }
            "grantconstrainttype" => match (&terms.constraint, &terms.source_arn) {
                (Some(Constraint::Equals(_)), _) => one("EncryptionContextEquals"),
                (Some(Constraint::Subset(_)), _) => one("EncryptionContextSubset"),
                (None, Some(_)) => one("SourceArn"),
                (None, None) => None,
            },
            "grantconstraintsourcearn" => one(terms.source_arn.as_deref()?),
            "granteeprincipal" if !terms.grantee_is_service => one(&terms.grantee),
            "granteeserviceprincipal" if terms.grantee_is_service => one(&terms.grantee),
            "retiringprincipal" if !terms.retiring_is_service => one(terms.retiring.as_deref()?),
            "retiringserviceprincipal" if terms.retiring_is_service => {
                one(terms.retiring.as_deref()?)
            }
            _ => None,
        }
    }

    fn of_key(&self, name: &str) -> Option<Values<'a>> {
        let key = self.key?;
        let one = |text: &'a str| Some(Values::one(text));
        match name {
            "viaservice" => one(self.requester.via_service.as_deref()?),
            "calleraccount" => Some(Values::one(self.requester.account(self.settings))),
            "keyspec" => one(key.record.spec.as_str()),
            "keyusage" => one(key.record.usage.as_str()),
            "keyorigin" => one(key.record.origin.as_str()),
            "multiregion" => Some(Values::bool(key.record.id.is_multi_region())),
            "multiregionkeytype" if key.record.id.is_multi_region() => one("PRIMARY"),
            "requestalias" => one(self.request_alias?),
            "resourcealiases" => {
                let id = key.record.id;
                let aliases = self.state?.aliases().filter(move |alias| alias.target == id);
                Some(Values::Many(aliases.map(|alias| Cow::Borrowed(&*alias.name)).collect()))
            }
            "encryptionalgorithm" if self.context.is_some() => one("SYMMETRIC_DEFAULT"),
            _ => None,
        }
    }

    fn global(&self, key: &str) -> Option<Values<'a>> {
        if let Some(name) = key.strip_prefix("resourcetag/") {
            let tags = self.key?.record.tags.iter();
            let mut found = tags.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            return found.next().map(|(_, value)| Values::one(value.as_str()));
        }
        let requester = self.requester;
        let origin = requester.origin.as_deref();
        match key {
            "requestedregion" => Some(Values::one(self.settings.region.as_str())),
            "resourceaccount" => {
                let account = self.settings.shown_account(&self.key?.record.account);
                Some(Values::one(account))
            }
            "sourcearn" => Some(Values::one(requester.source_arn.as_deref()?)),
            "sourceaccount" => Some(Values::one(requester.source_account.as_deref()?)),
            "viaawsservice" => Some(Values::bool(requester.via_service.is_some())),
            "calledvia" => {
                let service = requester.via_service.as_deref()?;
                Some(Values::Many(vec![Cow::Owned(service_of(service))]))
            }
            "calledviafirst" | "calledvialast" => {
                Some(Values::one(service_of(requester.via_service.as_deref()?)))
            }
            "sourceip" => Some(Values::one(origin?.source_ip?.to_string())),
            "useragent" => Some(Values::one(origin?.user_agent.as_deref()?)),
            "securetransport" => Some(Values::bool(origin?.secure_transport)),
            "currenttime" => Some(Values::one(crate::time::iso(self.now))),
            "epochtime" => Some(Values::one((self.now.0 / 1000).to_string())),
            _ => None,
        }
    }
}

impl ConditionKeys for Facts<'_> {
    fn get(&self, key: &str) -> Option<Values<'_>> {
        if let Some((_, values)) = self.more.iter().find(|(name, _)| *name == key) {
            return match values {
                [one] => Some(Values::one(*one)),
                many => Some(Values::Many(many.iter().map(|text| Cow::Borrowed(*text)).collect())),
            };
        }
        let (prefix, name) = key.split_once(':')?;
        match prefix {
            "kms" => match name.split_once(':') {
                Some(("encryptioncontext", name)) => self.pair(name),
                Some(_) => None,
                None if name == "encryptioncontextkeys" => {
                    let names = self.pairs()?.iter().map(|(name, _)| Cow::Borrowed(name));
                    Some(Values::Many(names.collect()))
                }
                None => self.of_grant(name).or_else(|| self.of_key(name)),
            },
            "aws" => self.global(name),
            _ => None,
        }
    }
}

/// `ec2.us-east-1.amazonaws.com` is `ec2.amazonaws.com` to `aws:CalledVia`.
fn service_of(endpoint: &str) -> String {
    let mut parts = endpoint.split('.');
    match (parts.next(), endpoint.ends_with(".amazonaws.com")) {
        (Some(service), true) => format!("{service}.amazonaws.com"),
        _ => endpoint.to_owned(),
    }
}
