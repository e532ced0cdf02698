//! The shape of requests: what KMS refuses with `ValidationException` before it looks at anything.

use sealvol_envelope::{EncryptionContext, KmsError, KmsErrorKind};

use crate::fault;
use crate::model::GrantToken;
use crate::settings::KmsSettings;

/// Longest description, characters.
const DESCRIPTION_MAX: usize = 8192;
/// Longest alias or grant name, characters.
const NAME_MAX: usize = 256;
/// Longest principal, characters.
const PRINCIPAL_MAX: usize = 256;
/// Most tokens of a request, and longest token.
const TOKENS_MAX: usize = 10;
const TOKEN_MAX: usize = 8192;
/// Longest plaintext and ciphertext, bytes.
pub(crate) const PLAINTEXT_MAX: usize = 4096;
const CIPHERTEXT_MAX: usize = 6144;
/// Longest value that a message repeats, bytes.
const ECHO_MAX: usize = 256;

/// Most violations that a message spells out: a request may have a hundred thousand.
const FOUND_MAX: usize = 16;

/// Collects what is wrong with a request, so that one answer names everything, in AWS's words.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    found: Vec<String>,
    count: usize,
}

impl Checks {
    /// A member `must` be something that it is not. `value` is `None` for members that AWS does not
    /// echo.
    pub(crate) fn add(&mut self, field: &str, value: Option<&str>, must: &str) {
        let value = value.filter(|value| value.len() <= ECHO_MAX);
        let value = value.map(|value| format!(" '{value}'")).unwrap_or_default();
        self.push(|| {
            format!("Value{value} at '{field}' failed to satisfy constraint: Member must {must}")
        });
    }

    fn push(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.found.len() < FOUND_MAX {
            self.found.push(text());
        }
    }

    pub(crate) fn missing(&mut self, field: &str) {
        self.push(|| {
            format!("Value null at '{field}' failed to satisfy constraint: Member must not be null")
        });
    }

    pub(crate) fn required(&mut self, field: &str, text: &str) {
        if text.is_empty() {
            self.missing(field);
        }
    }

    /// Lengths are counted in characters, as AWS does.
    pub(crate) fn length(&mut self, field: &str, text: &str, min: usize, max: usize) {
        let len = text.chars().count();
        if len < min {
            self.add(field, Some(text), &format!("have length greater than or equal to {min}"));
        }
        if len > max {
            self.add(field, Some(text), &format!("have length less than or equal to {max}"));
        }
    }

    /// A member of bytes, whose value is not echoed.
    pub(crate) fn bytes(&mut self, field: &str, len: usize, max: usize) {
        if len == 0 {
            self.add(field, None, "have length greater than or equal to 1");
        }
        if len > max {
            self.add(field, None, &format!("have length less than or equal to {max}"));
        }
    }

    pub(crate) fn range(&mut self, field: &str, value: Option<i64>, min: i64, max: i64) {
        let Some(value) = value else { return };
        let text = value.to_string();
        if value < min {
            self.add(field, Some(&text), &format!("have value greater than or equal to {min}"));
        }
        if value > max {
            self.add(field, Some(&text), &format!("have value less than or equal to {max}"));
        }
    }

    pub(crate) fn one_of(&mut self, field: &str, value: Option<&str>, allowed: &[&str]) {
        let Some(value) = value else { return };
        if !allowed.contains(&value) {
            let must = format!("satisfy enum value set: [{}]", allowed.join(", "));
            self.add(field, Some(value), &must);
        }
    }

    /// `[a-zA-Z0-9:/_-]+`
    pub(crate) fn name(&mut self, field: &str, text: &str) {
        self.length(field, text, 1, NAME_MAX);
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b":/_-".contains(&b)) {
            let must = "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$";
            self.add(field, Some(text), must);
        }
    }

    /// `[\w+=,.@:/-]+`
    pub(crate) fn principal(&mut self, field: &str, text: &str) {
        self.length(field, text, 1, PRINCIPAL_MAX);
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b)) {
            let must = "satisfy regular expression pattern: ^[\\w+=,.@:/-]+$";
            self.add(field, Some(text), must);
        }
    }

    pub(crate) fn tokens(&mut self, tokens: Option<&[GrantToken]>) {
        let tokens = tokens.unwrap_or_default();
        if tokens.len() > TOKENS_MAX {
            let must = format!("have length less than or equal to {TOKENS_MAX}");
            self.add("grantTokens", None, &must);
        }
        for token in tokens {
            self.token("grantTokens", token);
        }
    }

    pub(crate) fn token(&mut self, field: &str, token: &GrantToken) {
        if !(1..=TOKEN_MAX).contains(&token.0.len()) {
            self.add(field, None, &format!("have length between 1 and {TOKEN_MAX}"));
        }
    }

    pub(crate) fn description(&mut self, text: &str) {
        self.length("description", text, 0, DESCRIPTION_MAX);
    }

    pub(crate) fn ciphertext(&mut self, len: usize) {
        self.bytes("ciphertextBlob", len, CIPHERTEXT_MAX);
    }

    /// A context's limit is this project's, and a setting: AWS documents none.
    pub(crate) fn context(
        &mut self,
        field: &str,
        context: &EncryptionContext,
        settings: &KmsSettings,
    ) {
        let max = settings.encryption_context_bytes_max;
        if context.canonical_len() > max {
            let must = format!("be at most {max} bytes long, names and values together");
            self.add(field, None, &must);
        }
    }

    pub(crate) fn finish(self) -> Result<(), KmsError> {
        match self.found.as_slice() {
            [] => Ok(()),
            [one] => Err(fault::validation(format!("1 validation error detected: {one}"))),
            many => Err(fault::validation(format!(
                "{} validation errors detected: {}",
                self.count,
                many.join("; ")
            ))),
        }
    }
}

/// Members whose values mean something that this KMS cannot do.
pub(crate) fn no_recipient(recipient: Option<&serde_json::Value>) -> Result<(), KmsError> {
    match recipient {
        None | Some(serde_json::Value::Null) => Ok(()),
        Some(_) => Err(fault::unsupported(
            "Recipient is for Nitro Enclaves, which the embedded KMS does not serve; leave it out",
        )),
    }
}

/// An alias name that may be created or changed.
pub(crate) fn alias_name(name: &str) -> Result<(), KmsError> {
    let mut checks = Checks::default();
    checks.required("aliasName", name);
    if !name.is_empty() {
        checks.name("aliasName", name);
    }
    checks.finish()?;
    let Some(rest) = name.strip_prefix("alias/") else {
        return Err(fault::validation("Invalid identifier"));
    };
    if rest.is_empty() || rest.contains(':') {
        return Err(fault::validation(format!("{name} contains invalid characters for an alias")));
    }
    if rest.starts_with("aws/") {
        return Err(KmsError::new(
            KmsErrorKind::Denied,
            "NotAuthorizedException",
            "alias/aws/ is reserved for keys that services manage",
        ));
    }
    Ok(())
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
    fn one_answer_names_everything_in_awss_words() {
        let mut checks = Checks::default();
        checks.range("numberOfBytes", Some(0), 1, 1024);
        assert_eq!(
            checks.finish().unwrap_err().message(),
            Some(
                "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy \
                 constraint: Member must have value greater than or equal to 1"
            )
        );
        let mut checks = Checks::default();
        checks.required("keyId", "");
        checks.bytes("plaintext", 5000, 4096);
        assert_eq!(
            checks.finish().unwrap_err().message(),
            Some(
                "2 validation errors detected: Value null at 'keyId' failed to satisfy \
                 constraint: Member must not be null; Value at 'plaintext' failed to satisfy \
                 constraint: Member must have length less than or equal to 4096"
            )
        );
        assert!(Checks::default().finish().is_ok());
    }

    #[test]
    fn a_message_stays_short_however_much_is_wrong() {
        let mut checks = Checks::default();
        (0..100_000).for_each(|_| checks.required("keyId", ""));
        let error = checks.finish().unwrap_err();
        let message = error.message().unwrap();
        assert!(message.starts_with("100000 validation errors detected: "), "{message}");
        assert!(message.len() < 4096, "{}", message.len());
    }
}
