//! The shape of requests: what KMS refuses with `ValidationException` before it looks at anything.

use sealvol_envelope::{CreateGrantRequest, GrantConstraint, GrantOperation, KmsError};

use crate::fault;
use crate::state::{GrantTerms, Operations};

const DESCRIPTION_MAX: usize = 8192;
const PRINCIPAL_MAX: usize = 256;
const NAME_MAX: usize = 256;
const CONSTRAINT_PAIRS_MAX: usize = 8;
const CONSTRAINT_VALUE_MAX: usize = 384;
const DATA_KEY_LEN_MAX: u16 = 1024;

pub(crate) fn data_key_len(len: u16) -> Result<usize, KmsError> {
    let value = len.to_string();
    let out_of_range = |must: &str| fault::constraint("numberOfBytes", Some(&value), must);
    match len {
        0 => Err(out_of_range("have value greater than or equal to 1")),
        1..=DATA_KEY_LEN_MAX => Ok(usize::from(len)),
        _ => Err(out_of_range("have value less than or equal to 1024")),
    }
}

pub(crate) fn ciphertext(blob: &[u8]) -> Result<(), KmsError> {
    match blob.len() {
        0 => {
            Err(fault::constraint("ciphertextBlob", None, "have length greater than or equal to 1"))
        }
        1..=6144 => Ok(()),
        _ => {
            Err(fault::constraint("ciphertextBlob", None, "have length less than or equal to 6144"))
        }
    }
}

pub(crate) fn description(text: &str) -> Result<(), KmsError> {
    at_most("description", text, DESCRIPTION_MAX)
}

/// An alias name that may be created.
pub(crate) fn alias_name(name: &str) -> Result<(), KmsError> {
    not_empty("aliasName", name)?;
    at_most("aliasName", name, NAME_MAX)?;
    let Some(rest) = name.strip_prefix("alias/") else {
        return Err(fault::validation("Invalid identifier"));
    };
    charset("aliasName", name)?;
    if rest.is_empty() || rest.contains(':') {
        return Err(fault::validation(format!("{name} contains invalid characters for an alias")));
    }
    if rest.starts_with("aws/") {
        return Err(KmsError::new(
            sealvol_envelope::KmsErrorKind::Denied,
            "NotAuthorizedException",
            "alias/aws/ is reserved",
        ));
    }
    Ok(())
}

/// The terms of a requested grant.
pub(crate) fn grant_terms(request: &CreateGrantRequest) -> Result<GrantTerms, KmsError> {
    principal("granteePrincipal", &request.grantee_principal)?;
    if let Some(retiring) = &request.retiring_principal {
        principal("retiringPrincipal", retiring)?;
    }
    if let Some(name) = &request.name {
        not_empty("name", name)?;
        at_most("name", name, NAME_MAX)?;
        charset("name", name)?;
    }
    let operations: Operations = request.operations.iter().copied().collect();
    if operations.is_empty() {
        let must = "have length greater than or equal to 1";
        return Err(fault::constraint("operations", Some("[]"), must));
    }
    if operations.is_subset_of(Operations::from_iter([GrantOperation::CreateGrant])) {
        return Err(fault::validation("CreateGrant can't be the only operation of a grant"));
    }
    if let Some(
        GrantConstraint::EncryptionContextEquals(pairs)
        | GrantConstraint::EncryptionContextSubset(pairs),
    ) = &request.constraint
    {
        if pairs.len() > CONSTRAINT_PAIRS_MAX {
            let must = format!("have at most {CONSTRAINT_PAIRS_MAX} pairs");
            return Err(fault::constraint("constraints", None, &must));
        }
        for (_, value) in pairs.iter() {
            at_most("constraints", value, CONSTRAINT_VALUE_MAX)?;
        }
    }
    Ok(GrantTerms {
        grantee: request.grantee_principal.clone(),
        retiring: request.retiring_principal.clone(),
        operations,
        constraint: request.constraint.clone().map(Into::into),
        name: request.name.clone(),
    })
}

/// An ARN with its six parts, or the name of a service.
fn principal(field: &str, text: &str) -> Result<(), KmsError> {
    not_empty(field, text)?;
    at_most(field, text, PRINCIPAL_MAX)?;
    let well_formed = if text.starts_with("arn:") {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        parts.len() == 6 && parts.last().is_some_and(|resource| !resource.is_empty())
    } else {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@:/_-".contains(&b))
    };
    if well_formed { Ok(()) } else { Err(fault::invalid_arn(text)) }
}

fn not_empty(field: &str, text: &str) -> Result<(), KmsError> {
    if text.is_empty() {
        let must = "have length greater than or equal to 1";
        return Err(fault::constraint(field, Some(text), must));
    }
    Ok(())
}

/// Lengths are counted in characters, as AWS does.
fn at_most(field: &str, text: &str, max: usize) -> Result<(), KmsError> {
    if text.chars().count() > max {
        let must = format!("have length less than or equal to {max}");
        return Err(fault::constraint(field, None, &must));
    }
    Ok(())
}

fn charset(field: &str, text: &str) -> Result<(), KmsError> {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b":/_-".contains(&b)) {
        return Ok(());
    }
    let must = "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$";
    Err(fault::constraint(field, Some(text), must))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_names() {
        assert!(alias_name("alias/sealvol/one_2-3").is_ok());
        let long = format!("alias/{}", "x".repeat(251));
        for (name, code) in [
            ("", "ValidationException"),
            ("sealvol", "ValidationException"),
            ("alias/", "ValidationException"),
            ("alias/a b", "ValidationException"),
            ("alias/a:b", "ValidationException"),
            (long.as_str(), "ValidationException"),
            ("alias/aws/ebs", "NotAuthorizedException"),
        ] {
            assert_eq!(alias_name(name).unwrap_err().code(), code, "{name}");
        }
    }

    #[test]
    fn principals() {
        for good in ["arn:aws:iam::000000000000:role/r", "fargate.us-east-1.amazonaws.com"] {
            assert!(principal("granteePrincipal", good).is_ok());
        }
        for bad in ["", "arn:aws:iam", "arn:aws:iam::0:", "a b", &"x".repeat(257)] {
            assert!(principal("granteePrincipal", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_refused_in_awss_words() {
        assert_eq!(
            data_key_len(0).unwrap_err().message(),
            Some(
                "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy \
                 constraint: Member must have value greater than or equal to 1"
            )
        );
        assert_eq!(data_key_len(1024).unwrap(), 1024);
        assert!(data_key_len(1025).is_err());
    }
}
