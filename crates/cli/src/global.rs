//! Options of every verb, and the KMS they name.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use sealvol::kms::{Kms, KmsParts, KmsSettings, RootKeySource};
use sealvol::{Caller, DeviceError, KeyService, KmsErrorKind, SystemClock, SystemEntropy};
use zeroize::Zeroizing;

use crate::audit::Audit;
use crate::exit::{self, Fail};
use crate::signals;

/// The key that is made on first use.
pub(crate) const DEFAULT_KEY: &str = "alias/sealvol";

/// Options of every verb.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the embedded KMS (in DIR/kms), the record of calls to it (DIR/audit) and other state live
    #[arg(long, global = true, env = "SEALVOL_DATA", hide_env = true)]
    #[arg(value_name = "DIR", default_value = "./sealvol-data")]
    pub(crate) data: PathBuf,

    /// The KMS that wraps data keys: file:DIR (default: file:DATA/kms), aws, or aws:ENDPOINT
    #[arg(long, global = true, env = "SEALVOL_KMS", hide_env = true, value_name = "KMS")]
    pub(crate) kms: Option<KmsChoice>,

    /// The KMS key of new volumes: id, ARN or alias. The default one is made on first use
    #[arg(long, global = true, env = "SEALVOL_KEY", hide_env = true)]
    #[arg(value_name = "KEY", default_value = DEFAULT_KEY)]
    pub(crate) key: String,

    /// Seal the embedded KMS under the passphrase in FILE, instead of a key file
    #[arg(long, global = true, env = "SEALVOL_PASSPHRASE_FILE", hide_env = true)]
    #[arg(value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Print results as JSON on standard output, errors as JSON on standard error
    #[arg(long, global = true, env = "SEALVOL_JSON", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,

    /// Tell about progress even if standard error is no terminal
    #[arg(long, global = true, env = "SEALVOL_PROGRESS", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) progress: bool,

    /// Log more to standard error: -v what is done, -vv how, -vvv everything
    #[arg(short, long, global = true, env = "SEALVOL_VERBOSE", hide_env = true)]
    #[arg(action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Log only errors, and show no progress
    #[arg(short, long, global = true, env = "SEALVOL_QUIET", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
}

/// What `--kms` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KmsChoice {
    /// The embedded KMS in a directory.
    File(PathBuf),
    /// AWS KMS, or what answers like it at an endpoint.
    Aws(Option<String>),
}

impl FromStr for KmsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("file", dir)) if !dir.is_empty() => Ok(Self::File(dir.into())),
            Some(("aws", endpoint)) if !endpoint.is_empty() => {
                Ok(Self::Aws(Some(endpoint.to_owned())))
            }
            None if text == "aws" => Ok(Self::Aws(None)),
            _ => Err("write file:DIR, aws, or aws:ENDPOINT".into()),
        }
    }
}

/// Whether a KMS that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    Make,
    Fail,
}

/// The KMS that volumes use.
pub(crate) struct Keys {
    pub(crate) service: Arc<dyn KeyService>,
    /// It again, if it is the embedded one, whose keys this command manages.
    embedded: Option<Embedded>,
}

/// The embedded KMS, as the account root sees it.
pub(crate) struct Embedded {
    pub(crate) kms: Arc<Kms>,
    pub(crate) caller: Caller,
}

impl Keys {
    /// The embedded KMS, for what only that can do.
    pub(crate) fn embedded(&self, what: &str) -> anyhow::Result<&Embedded> {
        self.embedded.as_ref().ok_or_else(|| {
            Fail::error(
                exit::UNSUPPORTED,
                format!(
                    "{what} is for the embedded KMS (--kms file:DIR); the keys of AWS KMS are \
                     managed with the AWS command line (`aws kms create-key`, `aws kms list-keys`, \
                     ...)"
                ),
            )
        })
    }
}

impl Global {
    /// Opens the KMS.
    pub(crate) fn keys(&self, if_missing: IfMissing) -> anyhow::Result<Keys> {
        let dir = match &self.kms {
            None => self.data.join("kms"),
            Some(KmsChoice::File(dir)) => dir.clone(),
            Some(KmsChoice::Aws(endpoint)) => {
                return Ok(Keys { service: aws(endpoint.clone())?, embedded: None });
            }
        };
        if if_missing == IfMissing::Fail && is_absent(&dir) {
            return Err(Fail::error(
                exit::NOT_FOUND,
                format!(
                    "there is no KMS in {}; name the one that wraps the volume's key with --data or \
                     --kms (`sealvol volume create` and `sealvol key create` make one)",
                    dir.display()
                ),
            ));
        }
        let root_key = self.root_key()?;
        let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
        let audit = Audit::new(self.data.join("audit"));
        let parts = KmsParts { audit: Some(Arc::clone(&audit) as _), ..KmsParts::default() };
        let of_kms = Arc::clone(&clock) as _;
        let kms =
            Kms::open_dir_with(&dir, &root_key, KmsSettings::default(), of_kms, entropy, parts)
                .map_err(DeviceError::from)
                .with_context(|| format!("cannot open the KMS in {}", dir.display()))?;
        audit.open(clock)?;
        let caller = kms.root_caller();
        let service = kms.handle(caller.clone());
        Ok(Keys { service, embedded: Some(Embedded { kms, caller }) })
    }

    /// What the embedded KMS is sealed under.
    pub(crate) fn root_key(&self) -> anyhow::Result<RootKeySource> {
        Ok(match &self.passphrase_file {
            Some(file) => RootKeySource::Passphrase(read_passphrase(file)?),
            None => RootKeySource::KeyFile,
        })
    }

    /// The key to wrap with. The default one is made if it does not exist yet, in the embedded KMS:
    /// a key of AWS costs money and has a policy, so that its owner makes it.
    pub(crate) fn wrapping_key(&self, keys: &Keys) -> anyhow::Result<String> {
        if self.key != DEFAULT_KEY {
            return Ok(self.key.clone());
        }
        match &keys.embedded {
            Some(Embedded { kms, caller }) => {
                kms.ensure_key(caller, DEFAULT_KEY, "Default key of sealvol volumes")
                    .with_context(|| format!("cannot make the key {DEFAULT_KEY}"))?;
            }
            None => {
                let told = signals::runtime()?.block_on(keys.service.describe_key(DEFAULT_KEY));
                // Whoever may not ask may still be allowed to use it.
                if let Err(error) = told
                    && error.kind() == KmsErrorKind::NotFound
                {
                    let text = format!(
                        "AWS KMS has no key {DEFAULT_KEY}; make it (`aws kms create-key`, then `aws \
                         kms create-alias --alias-name {DEFAULT_KEY} --target-key-id ID`), or name \
                         another key with --key"
                    );
                    return Err(
                        anyhow::Error::from(error).context(Fail::new(exit::NOT_FOUND, text))
                    );
                }
            }
        }
        Ok(self.key.clone())
    }
}

/// AWS KMS, or what answers like it at `endpoint`, as the owner of the ambient credentials sees it.
#[cfg(feature = "aws-kms")]
fn aws(endpoint: Option<String>) -> anyhow::Result<Arc<dyn KeyService>> {
    use sealvol::kms_aws::{AwsKms, AwsKmsSettings};

    let settings = AwsKmsSettings { endpoint, ..AwsKmsSettings::default() };
    Ok(signals::runtime()?.block_on(AwsKms::connect(settings)).context("cannot use AWS KMS")?)
}

#[cfg(not(feature = "aws-kms"))]
fn aws(_: Option<String>) -> anyhow::Result<Arc<dyn KeyService>> {
    Err(Fail::error(
        exit::UNSUPPORTED,
        "--kms aws is not in this build, which was made without the feature aws-kms; use the \
         embedded KMS (--kms file:DIR)",
    ))
}

fn is_absent(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The file's text without one line end.
pub(crate) fn read_passphrase(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|e| {
        let code = match e.kind() {
            std::io::ErrorKind::NotFound => exit::NOT_FOUND,
            std::io::ErrorKind::PermissionDenied => exit::DENIED,
            _ => exit::GENERAL,
        };
        Fail::error(
            code,
            format!("the passphrase file {} cannot be read: {e}; check its path", file.display()),
        )
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kms_names_parse() {
        assert_eq!("file:/x".parse(), Ok(KmsChoice::File("/x".into())));
        assert_eq!("aws".parse(), Ok(KmsChoice::Aws(None)));
        assert_eq!(
            "aws:http://127.0.0.1:4599".parse(),
            Ok(KmsChoice::Aws(Some("http://127.0.0.1:4599".into())))
        );
        for bad in ["", "file", "file:", "aws:", "gcp:x", "/x"] {
            assert!(bad.parse::<KmsChoice>().is_err(), "{bad}");
        }
    }
}
