//! How grant tokens and encryption contexts look in JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A grant token. Not secret, but never logged.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantToken(pub String);

impl fmt::Debug for GrantToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantToken(..)")
    }
}

/// An encryption context as a JSON object. Its length is the operation's to check.
pub(crate) mod context {
    use std::collections::BTreeMap;

    use sealvol_envelope::EncryptionContext;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        context: &EncryptionContext,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(context.iter())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<EncryptionContext, D::Error> {
        // An explicit null is no context, as for every member.
        let pairs = Option::<BTreeMap<String, String>>::deserialize(deserializer)?;
        Ok(EncryptionContext::from_map(pairs.unwrap_or_default()))
    }
}
