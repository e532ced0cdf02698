//! What to do about an error of the KMS.

use std::fmt::Display;

use anyhow::Context as _;
use sealvol::KmsError;

/// Adds to an error what failed and what to do next; its own name and message stay the cause.
pub(super) trait Told<T> {
    fn told(self, what: impl Display) -> anyhow::Result<T>;
}

impl<T> Told<T> for Result<T, KmsError> {
    fn told(self, what: impl Display) -> anyhow::Result<T> {
        let Err(error) = &self else { return self.map_err(Into::into) };
        let text = match next(error) {
            Some(next) => format!("cannot {what}; {next}"),
            None => format!("cannot {what}"),
        };
        self.context(text)
    }
}

fn next(error: &KmsError) -> Option<&'static str> {
    Some(match error.code() {
        "AccessDeniedException" => {
            "a key policy or a grant has to allow it (`sealvol key policy get`, `sealvol key grant \
             list`); principals named with --as have no policies of their own here"
        }
        "AlreadyExistsException" => {
            "that alias names a key already: choose another, use that key (`sealvol key list`), or \
             move the alias with `sealvol key alias update`"
        }
        "ConflictException" => "a rotation is under way: try again when it is over",
        "DisabledException" => "`sealvol key enable` makes the key usable again",
        "IncorrectKeyException" => {
            "another key made this ciphertext: leave the key out, and the KMS finds it"
        }
        "InvalidArnException" => "check the ARN: its region and account, and the principal's kind",
        "InvalidCiphertextException" => {
            "the bytes or the encryption context are not those of the encryption: give the whole \
             ciphertext, and the same --context pairs"
        }
        "InvalidGrantIdException" => "`sealvol key grant list KEY` shows the ids of grants",
        "InvalidGrantTokenException" => {
            "give the token as `sealvol key grant create` printed it, or none: grants of this KMS \
             count at once"
        }
        "InvalidKeyUsageException" => {
            "the key is not for encryption: `sealvol key describe` shows what it is for"
        }
        "KMSInternalException" => "see the log (-v), and check the disk that the KMS is on",
        "KMSInvalidStateException" => {
            "`sealvol key describe` shows the key's state; `sealvol key cancel-deletion` keeps a \
             key that is to be deleted"
        }
        "LimitExceededException" => "remove what is no longer needed, or use another key",
        "MalformedPolicyDocumentException" => {
            "`sealvol key policy show default` prints a policy to start from; a policy that locks \
             you out needs --bypass-policy-lockout-check"
        }
        "NotAuthorizedException" => "alias/aws/ names keys that services manage: take another name",
        "NotFoundException" => {
            "`sealvol key list` shows the keys and their aliases, `sealvol key grant list` grants"
        }
        "TagException" => {
            "a tag is given once, its name does not begin with aws:, and a key has 50"
        }
        "ThrottlingException" => "try again in a moment",
        "UnsupportedOperationException" => {
            "`sealvol key describe` shows the key's spec; this works with SYMMETRIC_DEFAULT"
        }
        "ValidationException" => "the cause says which value, --help what is possible",
        _ => return None,
    })
}
