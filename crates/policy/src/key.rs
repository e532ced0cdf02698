//! Condition keys: one spelling for each, and which of them the identity answers.

/// Before it everything is folded; what follows names a pair of the encryption context, in the
/// document's spelling (KMS matches it without regard to case; that is the context's business).
const ENCRYPTION_CONTEXT: &str = "kms:encryptioncontext:";

/// A condition key in its one spelling: lower case, but for what follows `kms:encryptioncontext:`
/// or the first `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConditionKey {
    text: Box<str>,
    pub(crate) source: KeySource,
}

/// Who knows a key's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The request's context.
    Request,
    /// The identity.
    Caller(CallerKey),
}

/// The global keys that follow from who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallerKey {
    Account,
    Arn,
    IsService,
    ServiceName,
    ServiceNames,
    Tag,
    Type,
    UserId,
    UserName,
}

impl ConditionKey {
    /// Reads a key: `prefix:name`, without blanks.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (prefix, name) = text.split_once(':')?;
        let is_sound = !prefix.is_empty()
            && !name.is_empty()
            && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !text.contains(char::is_control);
        is_sound.then(|| {
            let text = canonical(text);
            let source = source(&text);
            Self { text: text.into(), source }
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What follows the first `/`, as in `aws:principaltag/Team`.
    pub(crate) fn part(&self) -> &str {
        self.text.split_once('/').map_or("", |(_, part)| part)
    }
}

fn canonical(text: &str) -> String {
    let folded = text.to_ascii_lowercase();
    let keep_from = if folded.starts_with(ENCRYPTION_CONTEXT) {
        ENCRYPTION_CONTEXT.len()
    } else {
        text.find('/').unwrap_or(text.len())
    };
    // ASCII folding changes no lengths, so the cut is the same in both.
    match (folded.get(..keep_from), text.get(keep_from..)) {
        (Some(head), Some(tail)) => format!("{head}{tail}"),
        _ => folded,
    }
}

fn source(canonical: &str) -> KeySource {
    let caller = match canonical {
        "aws:principalaccount" => CallerKey::Account,
        "aws:principalarn" => CallerKey::Arn,
        "aws:principalisawsservice" => CallerKey::IsService,
        "aws:principalservicename" => CallerKey::ServiceName,
        "aws:principalservicenameslist" => CallerKey::ServiceNames,
        "aws:principaltype" => CallerKey::Type,
        "aws:userid" => CallerKey::UserId,
        "aws:username" => CallerKey::UserName,
        _ if canonical.starts_with("aws:principaltag/") => CallerKey::Tag,
        _ => return KeySource::Request,
    };
    KeySource::Caller(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_spelling() {
        let spelled = |text: &str| ConditionKey::parse(text).unwrap().as_str().to_owned();
        assert_eq!(spelled("KMS:ViaService"), "kms:viaservice");
        assert_eq!(spelled("kms:encryptionContext:AWS:ebs/ID"), "kms:encryptioncontext:AWS:ebs/ID");
        assert_eq!(spelled("aws:PrincipalTag/Team:A"), "aws:principaltag/Team:A");
        assert_eq!(spelled("kms:EncryptionContextKeys"), "kms:encryptioncontextkeys");
        for bad in ["", "kms", ":x", "kms:", "a b:c", "kms:\n"] {
            assert_eq!(ConditionKey::parse(bad), None, "{bad:?}");
        }
    }
}
