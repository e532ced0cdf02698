//! Bytes in JSON: standard base64 with padding, and nothing else.

use std::fmt;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, Zeroizing};

/// Bytes that anybody may see: ciphertexts, tokens.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

/// Bytes that nobody may: plaintexts, data keys. Wiped when dropped, compared in constant time (their
/// length apart), shown by nothing.
///
/// What it is written into, the body of an answer, is the caller's to wipe. What it is read from is,
/// too, and a text with escapes passes through the JSON reader's own buffer: no client escapes base64.
#[derive(Clone, Default)]
pub struct SecretBlob(Zeroizing<Vec<u8>>);

impl PartialEq for SecretBlob {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBlob {}

impl fmt::Debug for SecretBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBlob(..)")
    }
}

impl SecretBlob {
    /// Takes over `bytes`.
    #[must_use]
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be used and not kept.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// Takes the bytes out, still to be wiped.
    #[must_use]
    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl Serialize for SecretBlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD.encode(&*self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64).map(|mut bytes| Self(std::mem::take(&mut *bytes)))
    }
}

impl<'de> Deserialize<'de> for SecretBlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64).map(Self)
    }
}

struct Base64;

impl Visitor<'_> for Base64 {
    type Value = Zeroizing<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a blob")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        // As long as it can get: a buffer that grew would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
        match STANDARD.decode_vec(text, &mut bytes) {
            Ok(()) => Ok(bytes),
            // The decoder's error would repeat a byte of what may be a secret.
            Err(_) => Err(E::custom("invalid base64")),
        }
    }

    fn visit_string<E: de::Error>(self, mut text: String) -> Result<Self::Value, E> {
        let bytes = self.visit_str(&text);
        text.zeroize();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_standard_padded_base64_is_read() {
        let read = |text: &str| serde_json::from_str::<Blob>(text).map(|blob| blob.0).ok();
        assert_eq!(read(r#""""#), Some(Vec::new()));
        assert_eq!(read(r#""-/8=""#), None);
        assert_eq!(read(r#""+/8=""#), Some(vec![0xfb, 0xff]));
        // An escaped slash is a slash.
        assert_eq!(read(r#""+\/8=""#), Some(vec![0xfb, 0xff]));
        for text in
            [r#""+/8""#, r#""+/8==""#, r#""+/9=""#, r#"" +/8=""#, r#""+/8=\n""#, "5", "null"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_shows_nothing_and_compares() {
        let secret = |bytes: &[u8]| SecretBlob::new(Zeroizing::new(bytes.to_vec()));
        assert_eq!(format!("{:?}", secret(b"abc")), "SecretBlob(..)");
        assert_eq!(format!("{:?}", Blob(b"abc".to_vec())), "Blob(3 bytes)");
        assert!(secret(b"abc") == secret(b"abc").clone());
        assert!(secret(b"abc") != secret(b"abd") && secret(b"abc") != secret(b"ab"));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = serde_json::to_string(&SecretBlob::new(Zeroizing::new(bytes.clone()))).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&Blob(bytes.clone())).unwrap());
            let secret = serde_json::from_str::<SecretBlob>(&text).unwrap();
            prop_assert_eq!(secret.expose_secret(), &bytes[..]);
        }
    }
}
