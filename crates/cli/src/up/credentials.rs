//! `DIR/credentials`: the account root's access key, as the aws command and SDKs read it. Made once,
//! kept afterwards.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealvol_core::Entropy;
use sealvol_iam::{AccessKeyConfig, AccountConfig, IamConfig, SecretText};
use zeroize::Zeroizing;

use super::files::write_private;
use crate::exit::{self, Fail};

/// Signs of an access key's id.
const SIGNS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An access key.
pub(crate) struct Credentials {
    id: String,
    secret: SecretText,
}

impl Credentials {
    /// Those of the file, which is made if it is not there.
    pub(crate) fn open(path: &Path, region: &str, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => Self::parse(&text).ok_or_else(|| {
                let text = format!(
                    "{} has no access key in [default]; remove it to have a new one made",
                    path.display()
                );
                Fail::error(exit::DAMAGE, text)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Self::make(entropy)?;
                write_private(path, made.text(region).as_bytes())
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(made)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make(entropy: &dyn Entropy) -> anyhow::Result<Self> {
        let mut bytes = Zeroizing::new([0_u8; 16 + 30]);
        entropy.fill(&mut *bytes).context("no randomness")?;
        let (id, secret) = bytes.split_at(16);
        let signs =
            id.iter().map(|byte| SIGNS.get(usize::from(byte % 32)).map_or('A', |s| char::from(*s)));
        let id = ["AKIA".to_owned(), signs.collect()].concat();
        Ok(Self { id, secret: SecretText::new(STANDARD.encode(secret)) })
    }

    fn text(&self, region: &str) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "# The account root's access key of this sealvol installation.\n[default]\n\
             aws_access_key_id = {}\naws_secret_access_key = {}\nregion = {region}\n",
            self.id,
            self.secret.expose_secret()
        ))
    }

    /// The key of the section `[default]`.
    fn parse(text: &str) -> Option<Self> {
        let (mut id, mut secret, mut is_default) = (None, None, false);
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                is_default = line == "[default]";
                continue;
            }
            let Some((name, value)) = line.split_once('=') else { continue };
            match (is_default, name.trim()) {
                (true, "aws_access_key_id") => id = Some(value.trim().to_owned()),
                (true, "aws_secret_access_key") => {
                    secret = Some(SecretText::new(value.trim().to_owned()));
                }
                _ => {}
            }
        }
        Some(Self { id: id.filter(|id| !id.is_empty())?, secret: secret? })
    }

    /// Makes it a key of the account's root, in an account that may be there or not.
    pub(crate) fn add_root_key(self, iam: &mut IamConfig, account: &str) {
        let key = AccessKeyConfig { id: self.id, secret: self.secret, via_service: None };
        match iam.account.iter_mut().find(|known| known.id == account) {
            Some(known) => known.access_keys.push(key),
            None => iam.account.push(AccountConfig {
                id: account.to_owned(),
                access_keys: vec![key],
                user: Vec::new(),
                role: Vec::new(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use sealvol_core::SystemEntropy;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let made = Credentials::make(&SystemEntropy).unwrap();
        assert_eq!((made.id.len(), made.secret.expose_secret().len()), (20, 40));
        let read = Credentials::parse(&made.text("us-east-1")).unwrap();
        assert_eq!((&read.id, &read.secret), (&made.id, &made.secret));
        let other = format!("[other]\naws_access_key_id = X\n{}", *made.text("r"));
        assert_eq!(Credentials::parse(&other).unwrap().id, made.id);
        for nothing in ["", "[default]", "[default]\naws_access_key_id=A", "aws_access_key_id=A"] {
            assert!(Credentials::parse(nothing).is_none(), "{nothing}");
        }
    }
}
