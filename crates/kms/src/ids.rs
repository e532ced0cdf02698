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

/// A key id: a UUID in lower case with hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyId(Uuid);

impl KeyId {
    pub(crate) fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Key ids are compared exactly, so other spellings of a UUID are not key ids.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// What a `KeyId` member of a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRef {
    Key(KeyId),
    /// With the `alias/` prefix.
    Alias(String),
}

/// Which forms an operation takes: cryptographic operations and `DescribeKey` all four, every
/// other operation key id and key ARN only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForms {
    WithAliases,
    IdOrArn,
}

impl KmsSettings {
    pub(crate) fn key_arn(&self, key: KeyId) -> String {
        format!("arn:aws:kms:{}:{}:key/{key}", self.region, self.account)
    }

    /// `name` has the `alias/` prefix.
    pub(crate) fn alias_arn(&self, name: &str) -> String {
        format!("arn:aws:kms:{}:{}:{name}", self.region, self.account)
    }

    pub(crate) fn parse_key_ref(&self, text: &str, forms: KeyForms) -> Result<KeyRef, KmsError> {
        match text.chars().count() {
            0 => {
                return Err(fault::constraint(
                    "keyId",
                    Some(text),
                    "have length greater than or equal to 1",
                ));
            }
            1..=2048 => {}
            _ => {
                return Err(fault::constraint(
                    "keyId",
                    Some(text),
                    "have length less than or equal to 2048",
                ));
            }
        }
        let malformed = || fault::not_found(format!("Invalid keyId '{text}'"));
        let resource = if text.starts_with("arn:") { self.own_resource(text)? } else { text };
        if resource.starts_with("alias/") {
            return match forms {
                KeyForms::WithAliases => Ok(KeyRef::Alias(resource.to_owned())),
                KeyForms::IdOrArn => Err(malformed()),
            };
        }
        let id = match (resource.strip_prefix("key/"), text.starts_with("arn:")) {
            (Some(id), true) => id,
            (None, false) => resource,
            _ => return Err(malformed()),
        };
        KeyId::parse(id).map(KeyRef::Key).ok_or_else(malformed)
    }

    /// The resource part of an ARN of this account and region.
    fn own_resource<'a>(&self, arn: &'a str) -> Result<&'a str, KmsError> {
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
        if account != self.account {
            // Another account's key: this KMS has none.
            return Err(fault::not_found(format!("Key '{arn}' does not exist")));
        }
        Ok(resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a0a0a0a-1b1b-4c2c-8d3d-4e4e4e4e4e4e";

    fn parse(text: &str, forms: KeyForms) -> Result<KeyRef, String> {
        KmsSettings::default().parse_key_ref(text, forms).map_err(|e| e.to_string())
    }

    #[test]
    fn four_forms_name_a_key_and_two_manage_it() {
        let key = Ok(KeyRef::Key(KeyId::parse(ID).unwrap()));
        let alias = Ok(KeyRef::Alias("alias/a".into()));
        let arn = KmsSettings::default().key_arn(KeyId::parse(ID).unwrap());
        let alias_arn = KmsSettings::default().alias_arn("alias/a");
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
    }
}
