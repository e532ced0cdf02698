//! Making and listing grants.

use std::collections::BTreeSet;

use sealvol_envelope::{EncryptionContext, GrantOperation, KmsError};
use sealvol_policy::{AccountId, Principal};

use super::pages::{Page, PageSize};
use crate::audit::parameters;
use crate::fault;
use crate::ids::{GrantId, random};
use crate::kms::{Planned, no_randomness};
use crate::model::{
    CreateGrantRequest, CreateGrantResponse, GrantConstraints, GrantListEntry, KeySpec, KeyUsage,
    ListGrantsRequest, ListGrantsResponse, ListRetirableGrantsRequest, Timestamp,
};
use crate::operation::{Action, Operation};
use crate::requester::root_arn;
use crate::session::{Ask, Session, end_dry_run};
use crate::state::{Change, Constraint, GrantRecord, GrantTerms, Key, KeyRecord, Operations};
use crate::token::GrantRef;
use crate::validate::Checks;

const PAGES: PageSize = PageSize { default: 50, max: 100 };
const CONSTRAINT_PAIRS_MAX: usize = 8;
const CONSTRAINT_VALUE_MAX: usize = 384;

impl Session {
    /// `CreateGrant`: lets another principal use a key within limits. A named grant with equal
    /// parameters is the same grant, with a new token.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidArnException`, `InvalidGrantTokenException`,
    /// `NotFoundException`, `AccessDeniedException`, `DisabledException`,
    /// `KMSInvalidStateException`, `LimitExceededException`, `DryRunOperationException`,
    /// `KMSInternalException`.
    pub fn create_grant(
        &self,
        request: &CreateGrantRequest,
    ) -> Result<CreateGrantResponse, KmsError> {
        let operation = Operation::CreateGrant;
        self.call(
            operation,
            || parameters::create_grant(request),
            |trail| {
                let terms = terms(request)?;
                let new_id = GrantId(random(&*self.kms.entropy).map_err(no_randomness)?);
                self.change(|state| {
                    let tokens = self.tokens(state, request.grant_tokens.as_deref())?;
                    let named =
                        self.resolve(state, ("keyId", &request.key_id), operation, trail)?;
                    let ask = Ask {
                        tokens: &tokens,
                        terms: Some(&terms),
                        ..Ask::to(Action::CreateGrant)
                    };
                    self.permit(state, named, &ask)?;
                    let record = &named.key.record;
                    self.usable(record)?;
                    supported(record, &terms.operations, &self.arn(record))?;
                    self.check_principals(&terms)?;
                    let existing = named.key.grants.identical(&terms).map(|grant| grant.id);
                    let max = self.kms.settings.grants_per_key_max;
                    if existing.is_none() && named.key.grants.len() >= max {
                        return Err(fault::limit_exceeded(format!(
                            "{} has {max} grants, as many as a key may have",
                            self.arn(record)
                        )));
                    }
                    end_dry_run(request.dry_run)?;
                    let grant = GrantRef { key: record.id, grant: existing.unwrap_or(new_id) };
                    let grant_token =
                        state.tokens.make(&*self.kms.entropy, grant).map_err(no_randomness)?;
                    let change = existing.is_none().then(|| Change::GrantCreated {
                        key: grant.key,
                        grant: GrantRecord {
                            id: new_id,
                            created: self.now(),
                            issuer: self.requester.name().into_owned(),
                            issuer_account: self.home(),
                            terms: terms.clone(),
                        },
                    });
                    let answer =
                        CreateGrantResponse { grant_id: grant.grant.to_string(), grant_token };
                    trail.response = Some(parameters::created_grant(&answer, &self.arn(record)));
                    Ok(Planned { change, answer })
                })
            },
        )
    }

    /// Whether the principals that a grant names exist. Roles that services make for themselves
    /// are theirs to know.
    fn check_principals(&self, terms: &GrantTerms) -> Result<(), KmsError> {
        let named = [Some(terms.grantee.as_str()), terms.retiring.as_deref()];
        for text in named.into_iter().flatten() {
            let known = match Principal::parse(text) {
                Ok(Principal::Service { .. }) => true,
                Ok(_) => self.kms.directory.exists(text),
                Err(_) => is_of_a_person(text),
            };
            if !known {
                return Err(fault::invalid_arn(text));
            }
        }
        Ok(())
    }

    /// `ListGrants`: the grants of a key.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidGrantIdException`, `InvalidMarkerException`,
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn list_grants(&self, request: &ListGrantsRequest) -> Result<ListGrantsResponse, KmsError> {
        let operation = Operation::ListGrants;
        self.call(
            operation,
            || parameters::list_grants(request),
            |trail| {
                let page = Page::parse("grants", PAGES, request.limit, request.marker.as_deref())?;
                let mut checks = Checks::default();
                if let Some(grantee) = &request.grantee_principal {
                    checks.principal("granteePrincipal", grantee);
                }
                checks.finish()?;
                let only = request.grant_id.as_deref().map(parse_grant_id).transpose()?;
                self.read(|state| {
                    let action = Action::ListGrants;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    let after = page.after.as_deref().map(GrantId::parse);
                    let after =
                        after.map(|after| after.ok_or_else(fault::invalid_marker)).transpose()?;
                    let wanted = |grant: &GrantRecord| {
                        after.is_none_or(|after| grant.id > after)
                            && only.is_none_or(|only| grant.id == only)
                            && request
                                .grantee_principal
                                .as_ref()
                                .is_none_or(|grantee| *grantee == grant.terms.grantee)
                    };
                    let grants = key.grants.iter().filter(|grant| wanted(grant));
                    let entries = grants.map(|g| (g.id.to_string(), self.listed_grant(key, g)));
                    let cut = page.cut(entries);
                    let truncated = cut.next_marker.is_some();
                    Ok(ListGrantsResponse {
                        grants: cut.entries,
                        next_marker: cut.next_marker,
                        truncated,
                    })
                })
            },
        )
    }

    /// `ListRetirableGrants`: the grants, of all keys and accounts, that a principal of the
    /// caller's account may retire.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidMarkerException`, `AccessDeniedException`.
    pub fn list_retirable_grants(
        &self,
        request: &ListRetirableGrantsRequest,
    ) -> Result<ListGrantsResponse, KmsError> {
        let operation = Operation::ListRetirableGrants;
        self.call(
            operation,
            || parameters::list_retirable_grants(request),
            |_trail| {
                let page =
                    Page::parse("retirable", PAGES, request.limit, request.marker.as_deref())?;
                let mut checks = Checks::default();
                checks.required("retiringPrincipal", &request.retiring_principal);
                if !request.retiring_principal.is_empty() {
                    checks.principal("retiringPrincipal", &request.retiring_principal);
                }
                checks.finish()?;
                self.read(|state| {
                    self.permit_in_account(state, &Ask::to(Action::ListRetirableGrants), "*")?;
                    let retiring = request.retiring_principal.as_str();
                    let account = Principal::parse(retiring).ok().and_then(|p| p.account());
                    let own = self.requester.account(&self.kms.settings);
                    if account.is_some_and(|account| account.as_str() != own) {
                        let name = self.requester.name();
                        let why = " because the principal is of another account";
                        let action = Action::ListRetirableGrants;
                        return Err(fault::access_denied(&name, action, retiring, why));
                    }
                    let after = page.after.clone().unwrap_or_default();
                    let entries = state.keys().flat_map(|key| {
                        key.grants
                            .iter()
                            .filter(|grant| grant.terms.retiring.as_deref() == Some(retiring))
                            .map(move |grant| {
                                (format!("{}/{}", key.record.id, grant.id), key, grant)
                            })
                    });
                    let entries = entries
                        .filter(|(place, _, _)| *place > after)
                        .map(|(place, key, grant)| (place, self.listed_grant(key, grant)));
                    let cut = page.cut(entries);
                    let truncated = cut.next_marker.is_some();
                    Ok(ListGrantsResponse {
                        grants: cut.entries,
                        next_marker: cut.next_marker,
                        truncated,
                    })
                })
            },
        )
    }

    fn listed_grant(&self, key: &Key, grant: &GrantRecord) -> GrantListEntry {
        let GrantRecord { id, created, issuer_account, terms, .. } = grant;
        let (mut subset, mut equals) = (None, None);
        match &terms.constraint {
            Some(Constraint::Subset(pairs)) => subset = Some(pairs.clone()),
            Some(Constraint::Equals(pairs)) => equals = Some(pairs.clone()),
            None => {}
        }
        let constraints = GrantConstraints {
            encryption_context_subset: subset,
            encryption_context_equals: equals,
            source_arn: terms.source_arn.clone(),
        };
        let person = |is_service: bool, name: Option<&String>| match is_service {
            true => (None, name.cloned()),
            false => (name.cloned(), None),
        };
        let (grantee, grantee_service) = person(terms.grantee_is_service, Some(&terms.grantee));
        let (retiring, retiring_service) =
            person(terms.retiring_is_service, terms.retiring.as_ref());
        GrantListEntry {
            key_id: self.arn(&key.record),
            grant_id: id.to_string(),
            name: terms.name.clone().unwrap_or_default(),
            creation_date: Timestamp(*created),
            grantee_principal: grantee,
            grantee_service_principal: grantee_service,
            retiring_principal: retiring,
            retiring_service_principal: retiring_service,
            issuing_account: root_arn(self.kms.settings.shown_account(issuer_account)),
            operations: terms.operations.iter().map(GrantOperation::as_str).collect(),
            constraints: (constraints != GrantConstraints::default()).then_some(constraints),
        }
    }
}

pub(super) fn parse_grant_id(text: &str) -> Result<GrantId, KmsError> {
    let mut checks = Checks::default();
    match text.len() {
        // Not repeated: it may be a token that was put in the wrong place.
        129.. => checks.add("grantId", None, "have length less than or equal to 128"),
        _ => checks.length("grantId", text, 1, 128),
    }
    checks.finish()?;
    GrantId::parse(text).ok_or_else(fault::invalid_grant_id)
}

/// An ARN with its six parts.
fn is_well_formed(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    text.starts_with("arn:") && parts.len() == 6 && parts.last().is_some_and(|r| !r.is_empty())
}

/// An ARN of IAM or STS in some account, of a kind that policies here do not know.
fn is_of_a_person(text: &str) -> bool {
    let mut parts = text.splitn(6, ':').skip(2);
    let (service, region, account) = (parts.next(), parts.next(), parts.next());
    is_well_formed(text)
        && matches!(service, Some("iam" | "sts"))
        && region == Some("")
        && account.is_some_and(|account| AccountId::parse(account).is_some())
}

/// The terms of a requested grant.
fn terms(request: &CreateGrantRequest) -> Result<GrantTerms, KmsError> {
    let mut checks = Checks::default();
    let people = [
        ("granteePrincipal", &request.grantee_principal),
        ("granteeServicePrincipal", &request.grantee_service_principal),
        ("retiringPrincipal", &request.retiring_principal),
        ("retiringServicePrincipal", &request.retiring_service_principal),
    ];
    for (field, text) in people {
        if let Some(text) = text {
            checks.principal(field, text);
        }
    }
    if let Some(name) = &request.name {
        checks.name("name", name);
    }
    checks.tokens(request.grant_tokens.as_deref());
    if request.operations.is_empty() {
        checks.missing("operations");
    }
    let names: Vec<_> = GrantOperation::ALL.iter().map(|operation| operation.as_str()).collect();
    for operation in &request.operations {
        checks.one_of("operations", Some(operation), &names);
    }
    checks.finish()?;

    let (grantee, grantee_is_service) =
        match (&request.grantee_principal, &request.grantee_service_principal) {
            (Some(principal), None) => (principal.clone(), false),
            (None, Some(service)) => (service.clone(), true),
            (None, None) => return Err(fault::missing("granteePrincipal")),
            (Some(_), Some(_)) => {
                return Err(fault::validation(
                    "GranteePrincipal and GranteeServicePrincipal exclude each other",
                ));
            }
        };
    let (retiring, retiring_is_service) =
        match (&request.retiring_principal, &request.retiring_service_principal) {
            (Some(_), Some(_)) => {
                return Err(fault::validation(
                    "RetiringPrincipal and RetiringServicePrincipal exclude each other",
                ));
            }
            (None, Some(service)) => (Some(service.clone()), true),
            (principal, None) => (principal.clone(), false),
        };
    let operations: BTreeSet<_> =
        request.operations.iter().filter_map(|name| GrantOperation::from_name(name)).collect();
    if operations.iter().all(|operation| *operation == GrantOperation::CreateGrant) {
        return Err(fault::validation("CreateGrant can't be the only operation of a grant"));
    }
    let (constraint, source_arn) = constraint(request.constraints.as_ref())?;
    if grantee_is_service && (source_arn.is_none() || retiring.is_none()) {
        return Err(fault::validation(
            "A grant to a service principal needs a SourceArn constraint and a retiring principal",
        ));
    }
    Ok(GrantTerms {
        grantee,
        retiring,
        operations: operations.into_iter().collect(),
        constraint,
        name: request.name.clone(),
        grantee_is_service,
        retiring_is_service,
        source_arn,
    })
}

fn constraint(
    constraints: Option<&GrantConstraints>,
) -> Result<(Option<Constraint>, Option<String>), KmsError> {
    let Some(constraints) = constraints else { return Ok((None, None)) };
    let source_arn = constraints.source_arn.clone();
    let wrong = match &source_arn {
        Some(arn) => arn.is_empty() || arn.len() > 2048 || !is_well_formed(arn),
        None => false,
    };
    if wrong {
        return Err(fault::validation("SourceArn is not an ARN"));
    }
    let pairs =
        match (&constraints.encryption_context_equals, &constraints.encryption_context_subset) {
            // Even if one is empty.
            (Some(_), Some(_)) => {
                return Err(fault::validation("More than one constraint supplied"));
            }
            (None, None) => return Ok((None, source_arn)),
            (Some(pairs), None) => Constraint::Equals(pairs.clone()),
            (None, Some(pairs)) => Constraint::Subset(pairs.clone()),
        };
    let (Constraint::Equals(context) | Constraint::Subset(context)) = &pairs;
    check_pairs(context)?;
    Ok((Some(pairs), source_arn))
}

fn check_pairs(pairs: &EncryptionContext) -> Result<(), KmsError> {
    let mut checks = Checks::default();
    if pairs.len() > CONSTRAINT_PAIRS_MAX {
        checks.add("constraints", None, &format!("have at most {CONSTRAINT_PAIRS_MAX} pairs"));
    }
    for (name, value) in pairs.iter() {
        checks.length("constraints", name, 1, CONSTRAINT_VALUE_MAX);
        checks.length("constraints", value, 0, CONSTRAINT_VALUE_MAX);
    }
    checks.finish()
}

/// Whether keys of this kind have these operations.
fn supported(record: &KeyRecord, operations: &Operations, arn: &str) -> Result<(), KmsError> {
    use GrantOperation::*;
    let of_kind: &[GrantOperation] = match (record.spec, record.usage) {
        (KeySpec::SymmetricDefault, _) => &[
            Encrypt,
            Decrypt,
            GenerateDataKey,
            GenerateDataKeyWithoutPlaintext,
            GenerateDataKeyPair,
            GenerateDataKeyPairWithoutPlaintext,
            ReEncryptFrom,
            ReEncryptTo,
        ],
        (_, KeyUsage::EncryptDecrypt) => {
            &[Encrypt, Decrypt, ReEncryptFrom, ReEncryptTo, GetPublicKey]
        }
        (_, KeyUsage::SignVerify) => &[Sign, Verify, GetPublicKey],
        (_, KeyUsage::GenerateVerifyMac) => &[GenerateMac, VerifyMac],
        (_, KeyUsage::KeyAgreement) => &[DeriveSharedSecret, GetPublicKey],
    };
    let allowed: Operations =
        of_kind.iter().copied().chain([CreateGrant, RetireGrant, DescribeKey]).collect();
    if operations.is_subset_of(allowed) {
        return Ok(());
    }
    let wrong: Vec<_> =
        operations.iter().filter(|o| !allowed.contains(*o)).map(GrantOperation::as_str).collect();
    Err(fault::validation(format!(
        "The operations [{}] are not supported by {arn}, whose key spec is {} and whose usage is {}",
        wrong.join(", "),
        record.spec.as_str(),
        record.usage.as_str()
    )))
}
