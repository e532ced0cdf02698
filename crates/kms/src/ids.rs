//! Ids of keys, key materials and grants, and the four ways in which a request names a key.

use std::fmt;

use sealvol_core::Entropy;
use sealvol_envelope::KmsError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::fault;
use crate::settings::KmsSettings;

/// Fills an array from the entropy source.
pub(crate) fn random<const N: usize>(
    entropy: &dyn Entropy,
) -> Result<[u8; N], sealvol_core::Error> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

/// The UUID version (RFC 9562) that marks the id of a multi-Region key. Other keys have version 4.
const MULTI_REGION_VERSION: usize = 8;

/// A key id: a UUID in lower case with hyphens, or, for multi-Region keys, `mrk-` and 32
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyId(Uuid);

impl KeyId {
    pub(crate) fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    pub(crate) fn multi_region_from_random(bytes: [u8; 16]) -> Self {
        let mut builder = uuid::Builder::from_random_bytes(bytes);
        builder.set_version(uuid::Version::Custom);
        Self(builder.into_uuid())
    }

    pub(crate) fn is_multi_region(self) -> bool {
        self.0.get_version_num() == MULTI_REGION_VERSION
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Key ids are compared exactly, so other spellings of a UUID are not key ids.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let (digits, len, multi_region) = match text.strip_prefix("mrk-") {
            Some(digits) => (digits, 32, true),
            None => (text, 36, false),
        };
        let id = Self(Uuid::try_parse(digits).ok().filter(|_| digits.len() == len)?);
        (id.is_multi_region() == multi_region).then_some(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_multi_region() {
            return write!(f, "mrk-{}", self.0.as_simple());
        }
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a key id"))
    }
}

/// 32 random bytes, written as 64 lower-case hexadecimal digits: ids of key materials and grants.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) [u8; 32]);

        impl $name {
            pub(crate) fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; 32];
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return None;
                }
                hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 64];
                // The lengths match by construction.
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| de::Error::custom("not 64 hexadecimal digits"))
            }
        }
    };
}

hex_id! {
    /// Id of one material of a key. A ciphertext names the material that made it.
    MaterialId
}
hex_id! {
    /// Id of a grant.
    GrantId
}

/// What a `KeyId` member of a request names, in the account that its ARN gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRef<'a> {
    /// `None` if the text is no ARN: then it is the caller's account.
    pub(crate) account: Option<&'a str>,
    pub(crate) name: KeyName<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyName<'a> {
    Key(KeyId),
    /// With the `alias/` prefix.
    Alias(&'a str),
}

/// Which forms an operation takes: cryptographic operations and `DescribeKey` all four, every
/// other operation key id and key ARN only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForms {
    WithAliases,
    IdOrArn,
}

impl KmsSettings {
    /// `account` as it is stored.
    pub(crate) fn key_arn(&self, account: &str, key: KeyId) -> String {
        format!("arn:aws:kms:{}:{}:key/{key}", self.region, self.shown_account(account))
    }

    /// `name` has the `alias/` prefix.
    pub(crate) fn alias_arn(&self, account: &str, name: &str) -> String {
        format!("arn:aws:kms:{}:{}:{name}", self.region, self.shown_account(account))
    }

    /// Records of the KMS's own account hold the empty string, so that stores from before there were
    /// other accounts stay as they are.
    pub(crate) fn stored_account<'a>(&self, account: &'a str) -> &'a str {
        if account == self.account { "" } else { account }
    }

    /// The account of a stored record.
    pub(crate) fn shown_account<'a>(&'a self, stored: &'a str) -> &'a str {
        if stored.is_empty() { &self.account } else { stored }
    }

    pub(crate) fn parse_key_ref<'a>(
        &self,
        field: &str,
        text: &'a str,
        forms: KeyForms,
    ) -> Result<KeyRef<'a>, KmsError> {
        match text.len() {
            0 => return Err(fault::missing(field)),
            1..=2048 => {}
            _ => {
                let must = "have length less than or equal to 2048";
                return Err(fault::constraint(field, None, must));
            }
        }
        let malformed = || fault::not_found(format!("Invalid keyId '{text}'"));
        let is_arn = text.starts_with("arn:");
        let (account, resource) = match is_arn {
            true => self.resource(text).map(|(account, resource)| (Some(account), resource))?,
            false => (None, text),
        };
        if resource.starts_with("alias/") {
            return match forms {
                KeyForms::WithAliases => Ok(KeyRef { account, name: KeyName::Alias(resource) }),
                KeyForms::IdOrArn => Err(malformed()),
            };
        }
        let id = match (resource.strip_prefix("key/"), is_arn) {
            (Some(id), true) => id,
            (None, false) => resource,
            _ => return Err(malformed()),
        };
        let name = KeyName::Key(KeyId::parse(id).ok_or_else(malformed)?);
        Ok(KeyRef { account, name })
    }

    /// Account and resource of an ARN of this region.
    fn resource<'a>(&self, arn: &'a str) -> Result<(&'a str, &'a str), KmsError> {
        let mut parts = arn.splitn(6, ':');
        let (_arn, partition, service) = (parts.next(), parts.next(), parts.next());
        let (Some(region), Some(account), Some(resource)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(fault::invalid_arn(arn));
        };
        if partition != Some("aws") || service != Some("kms") {
            return Err(fault::invalid_arn(arn));
        }
        if region != self.region {
            return Err(fault::not_found(format!("Invalid arn {region}")));
        }
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(fault::invalid_arn(arn));
        }
        Ok((account, resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a0a0a0a-1b1b-4c2c-8d3d-4e4e4e4e4e4e";

    fn parse(text: &str, forms: KeyForms) -> Result<KeyName<'_>, String> {
        let settings = KmsSettings::default();
        let parsed = settings.parse_key_ref("keyId", text, forms);
        parsed.map(|key| key.name).map_err(|e| e.to_string())
    }

    #[test]
    fn four_forms_name_a_key_and_two_manage_it() {
        let key = Ok(KeyName::Key(KeyId::parse(ID).unwrap()));
        let alias = Ok(KeyName::Alias("alias/a"));
        let arn = KmsSettings::default().key_arn("", KeyId::parse(ID).unwrap());
        let alias_arn = KmsSettings::default().alias_arn("", "alias/a");
        for forms in [KeyForms::WithAliases, KeyForms::IdOrArn] {
            assert_eq!(parse(ID, forms), key);
            assert_eq!(parse(&arn, forms), key);
        }
        assert_eq!(parse("alias/a", KeyForms::WithAliases), alias);
        assert_eq!(parse(&alias_arn, KeyForms::WithAliases), alias);
        assert_eq!(
            parse("alias/a", KeyForms::IdOrArn),
            Err("NotFoundException: Invalid keyId 'alias/a'".into())
        );
        assert!(parse(&alias_arn, KeyForms::IdOrArn).is_err());
    }

    #[test]
    fn messages_are_those_of_aws() {
        for (text, message) in [
            ("nonsense", "NotFoundException: Invalid keyId 'nonsense'"),
            ("key/nonsense", "NotFoundException: Invalid keyId 'key/nonsense'"),
            (
                "arn:aws:kms:mars-north-1:000000000000:key/0a0a0a0a-1b1b-4c2c-8d3d-4e4e4e4e4e4e",
                "NotFoundException: Invalid arn mars-north-1",
            ),
            ("arn:aws:kms", "InvalidArnException: Invalid arn arn:aws:kms"),
            (
                "arn:aws:s3:us-east-1:000000000000:x",
                "InvalidArnException: Invalid arn arn:aws:s3:us-east-1:000000000000:x",
            ),
        ] {
            assert_eq!(parse(text, KeyForms::WithAliases), Err(message.into()));
        }
        assert!(parse("", KeyForms::IdOrArn).unwrap_err().starts_with("ValidationException"));
        let long = "x".repeat(2049);
        assert!(parse(&long, KeyForms::IdOrArn).unwrap_err().starts_with("ValidationException"));
    }

    #[test]
    fn other_spellings_of_a_uuid_are_not_key_ids() {
        assert!(KeyId::parse(&ID.to_uppercase()).is_none());
        assert!(KeyId::parse(&format!("{{{ID}}}")).is_none());
        assert!(KeyId::parse(&ID.replace('-', "")).is_none());
        assert!(KeyId::parse(&format!("mrk-{ID}")).is_none());
        assert!(KeyId::parse(&format!("mrk-{}", ID.replace('-', ""))).is_none());
    }

    #[test]
    fn multi_region_ids_have_their_own_form() {
        let id = KeyId::multi_region_from_random([0x5a; 16]);
        let text = id.to_string();
        assert!(text.starts_with("mrk-") && text.len() == 36, "{text}");
        assert_eq!(KeyId::parse(&text), Some(id));
        assert_eq!(KeyId::from_bytes(*id.as_bytes()), id);
    }
}
