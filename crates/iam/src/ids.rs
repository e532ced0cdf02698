//! Ids: those of users and roles follow from their ARNs, so that they are the same after a restart.

use sealvol_core::{Entropy, Result};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret::SecretText;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// 16 signs of base32.
fn base32(bytes: &[u8; 10]) -> String {
    let bits = bytes.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let signs = (0..16).rev().map(|place| {
        let index = usize::try_from(bits >> (5 * place) & 31).unwrap_or_default();
        char::from(ALPHABET.get(index).copied().unwrap_or(b'A'))
    });
    signs.collect()
}

/// The unique id of the user or role with `arn`: `prefix` and 16 signs.
pub(crate) fn unique_id(prefix: &str, arn: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(arn.as_bytes()).into();
    let head = digest.first_chunk::<10>().copied().unwrap_or_default();
    format!("{prefix}{}", base32(&head))
}

/// An access key id of a session.
pub(crate) fn session_key_id(entropy: &dyn Entropy) -> Result<String> {
    let mut bytes = [0; 10];
    entropy.fill(&mut bytes)?;
    Ok(format!("ASIA{}", base32(&bytes)))
}

/// A secret access key: 40 signs.
pub(crate) fn session_secret(entropy: &dyn Entropy) -> Result<SecretText> {
    use base64::Engine as _;
    let mut bytes = Zeroizing::new([0; 30]);
    entropy.fill(&mut *bytes)?;
    Ok(SecretText::new(base64::engine::general_purpose::STANDARD.encode(bytes.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_base32() {
        assert_eq!(base32(&[0; 10]), "A".repeat(16));
        assert_eq!(base32(&[255; 10]), "7".repeat(16));
        assert_eq!(base32(b"0123456789"), "GAYTEMZUGU3DOOBZ");
        let id = unique_id("AIDA", "arn:aws:iam::000000000000:user/alice");
        assert_eq!(id.len(), 20);
        assert_ne!(id, unique_id("AIDA", "arn:aws:iam::000000000000:user/bob"));
    }
}
