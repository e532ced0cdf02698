//! Key policies: what may be put, and reading them back.

use sealvol_envelope::KmsError;
use sealvol_policy::{NamedPrincipal, Policy, Qualifier};

use crate::audit::parameters;
use crate::authorize;
use crate::fault;
use crate::kms::Planned;
use crate::model::{
    GetKeyPolicyRequest, GetKeyPolicyResponse, ListKeyPoliciesRequest, ListKeyPoliciesResponse,
    Nothing, PutKeyPolicyRequest,
};
use crate::operation::{Action, Operation};
use crate::requester::root_arn;
use crate::session::{Ask, Named, Session};
use crate::state::{Change, Key, KeyRecord};
use crate::validate::Checks;

/// The one policy that a key has.
const NAME: &str = "default";

impl Session {
    /// `PutKeyPolicy`: replaces a key's policy.
    ///
    /// # Errors
    /// `ValidationException`, `MalformedPolicyDocumentException`, `LimitExceededException`,
    /// `NotFoundException`, `AccessDeniedException`, `KMSInternalException`.
    pub fn put_key_policy(&self, request: &PutKeyPolicyRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::PutKeyPolicy;
        self.call(
            operation,
            || parameters::put_key_policy(request),
            |trail| {
                let mut checks = Checks::default();
                checks.required("policy", &request.policy);
                policy_name(&mut checks, request.policy_name.as_deref());
                checks.finish()?;
                if request.policy_name.as_deref().is_some_and(|name| name != NAME) {
                    return Err(fault::not_found("No such policy exists"));
                }
                let bypass = request.bypass_policy_lockout_safety_check == Some(true);
                let bypass_text = [if bypass { "true" } else { "false" }];
                let more: [(&'static str, &[&str]); 1] =
                    [("kms:bypasspolicylockoutsafetycheck", &bypass_text)];
                self.change(|state| {
                    let named =
                        self.resolve(state, ("keyId", &request.key_id), operation, trail)?;
                    let ask = Ask { more: &more, ..Ask::to(Action::PutKeyPolicy) };
                    self.permit(state, named, &ask)?;
                    let policy = self.accepted(&request.policy)?;
                    if !bypass {
                        let facts = self.facts(state, Some(named), &ask);
                        let arn = self.arn(&named.key.record);
                        if !authorize::by_policy(&facts, Some(&policy), &arn).is_allowed() {
                            return Err(locked_out());
                        }
                    }
                    let (key, policy) = (named.key.record.id, request.policy.clone());
                    Ok(Planned {
                        change: Some(Change::KeyPolicySet { key, policy }),
                        answer: Nothing,
                    })
                })
            },
        )
    }

    /// Whether a key that is being made may have this policy.
    pub(crate) fn check_policy(
        &self,
        text: &str,
        record: &KeyRecord,
        bypass: bool,
    ) -> Result<(), KmsError> {
        let policy = self.accepted(text)?;
        if bypass {
            return Ok(());
        }
        // The key as it will be, without its material.
        let draft = Key::draft(record);
        self.read(|state| {
            let named = Named { key: &draft, alias: None };
            let facts = self.facts(state, Some(named), &Ask::to(Action::PutKeyPolicy));
            let arn = self.arn(record);
            match authorize::by_policy(&facts, Some(&policy), &arn).is_allowed() {
                true => Ok(()),
                false => Err(locked_out()),
            }
        })
    }

    /// A document that parses, names principals that exist, and is not of a kind that KMS refuses.
    fn accepted(&self, text: &str) -> Result<Policy, KmsError> {
        let policy = authorize::parse_policy(text, &self.kms.settings)?;
        for used in policy.principals() {
            let exists = match used.principal {
                NamedPrincipal::Everyone | NamedPrincipal::Service(_) => true,
                NamedPrincipal::Account(account) => {
                    self.kms.directory.exists(&root_arn(account.as_str()))
                }
                NamedPrincipal::Arn(principal) => self.kms.directory.exists(&principal.name()),
                _ => false,
            };
            if !exists {
                return Err(fault::malformed_policy(
                    "Policy contains a statement with one or more invalid principals.",
                ));
            }
        }
        for used in policy.conditions() {
            if used.qualifier == Qualifier::ForAllValues
                && used.key.starts_with("kms:encryptioncontext:")
            {
                // The exception's type is not confirmed (kms.md, section 2).
                return Err(fault::malformed_policy(format!(
                    "OverlyPermissiveCondition: statement {} applies ForAllValues to {}, which has \
                     one value; without the pair it would be true",
                    used.statement, used.key
                )));
            }
        }
        Ok(policy)
    }

    /// `GetKeyPolicy`.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `AccessDeniedException`.
    pub fn get_key_policy(
        &self,
        request: &GetKeyPolicyRequest,
    ) -> Result<GetKeyPolicyResponse, KmsError> {
        let operation = Operation::GetKeyPolicy;
        self.call(
            operation,
            || parameters::get_key_policy(request),
            |trail| {
                let mut checks = Checks::default();
                policy_name(&mut checks, request.policy_name.as_deref());
                checks.finish()?;
                self.read(|state| {
                    let action = Action::GetKeyPolicy;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    if request.policy_name.as_deref().is_some_and(|name| name != NAME) {
                        return Err(fault::not_found("No such policy exists"));
                    }
                    let account = self.kms.settings.shown_account(&key.record.account);
                    let policy = match &key.record.policy {
                        Some(text) => text.clone(),
                        None => authorize::default_policy(account),
                    };
                    Ok(GetKeyPolicyResponse { policy, policy_name: NAME })
                })
            },
        )
    }

    /// `ListKeyPolicies`: every key has one, `default`.
    ///
    /// # Errors
    /// As [`get_key_policy`](Self::get_key_policy), and `InvalidMarkerException`.
    pub fn list_key_policies(
        &self,
        request: &ListKeyPoliciesRequest,
    ) -> Result<ListKeyPoliciesResponse, KmsError> {
        let operation = Operation::ListKeyPolicies;
        self.call(
            operation,
            || parameters::list_key_policies(request),
            |trail| {
                let mut checks = Checks::default();
                checks.range("limit", request.limit, 1, 1000);
                checks.finish()?;
                if request.marker.is_some() {
                    return Err(fault::invalid_marker());
                }
                self.read(|state| {
                    let action = Action::ListKeyPolicies;
                    self.managed(state, &request.key_id, operation, action, trail)?;
                    Ok(ListKeyPoliciesResponse { policy_names: vec![NAME], truncated: false })
                })
            },
        )
    }
}

fn policy_name(checks: &mut Checks, name: Option<&str>) {
    let Some(name) = name else { return };
    checks.length("policyName", name, 1, 128);
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        checks.add("policyName", Some(name), "satisfy regular expression pattern: [\\w]+");
    }
}

fn locked_out() -> KmsError {
    fault::malformed_policy(
        "The new key policy will not allow you to update the key policy in the future.",
    )
}
