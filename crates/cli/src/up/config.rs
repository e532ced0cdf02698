//! The daemon's configuration: identities, with limits of the KMS and the server beside them.

use std::path::Path;

use sealvol_api::ServerSettings;
use sealvol_iam::{AccountConfig, CONFIG_BYTES_MAX, IamConfig, ServiceConfig, read_toml};
use sealvol_kms::KmsSettings;
use serde::Deserialize;

use crate::exit::{self, Fail};

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    account: Vec<AccountConfig>,
    service: Vec<ServiceConfig>,
    kms: KmsSettings,
    server: ServerSettings,
}

/// A configuration.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) iam: IamConfig,
    pub(crate) kms: KmsSettings,
    pub(crate) server: ServerSettings,
}

impl Config {
    /// Of a file; without one, the defaults.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let File { account, service, kms, server } = match path {
            None => File::default(),
            Some(path) => {
                let text = text_of(path)?;
                read_toml(&text).map_err(|error| {
                    let text = format!("the configuration {} is wrong: {error}", path.display());
                    Fail::error(exit::USAGE, text)
                })?
            }
        };
        server.check().map_err(|why| {
            Fail::error(exit::USAGE, format!("the configuration's [server] is wrong: {why}"))
        })?;
        Ok(Self { iam: IamConfig { account, service }, kms, server })
    }
}

fn text_of(path: &Path) -> anyhow::Result<zeroize::Zeroizing<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => exit::NOT_FOUND,
            std::io::ErrorKind::PermissionDenied => exit::DENIED,
            _ => exit::GENERAL,
        };
        let text = format!("the configuration {} cannot be read: {error}", path.display());
        Fail::error(code, text)
    })?;
    Ok(zeroize::Zeroizing::new(text))
}

/// Reads the files that policies are in; their paths go from the configuration's directory.
pub(crate) fn policy_files(config: Option<&Path>) -> impl FnMut(&str) -> Result<String, String> {
    let dir = config.and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    move |file| {
        let path = dir.join(file);
        let len = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
        if len > u64::try_from(CONFIG_BYTES_MAX).unwrap_or(u64::MAX) {
            return Err("it is too long for a policy".to_owned());
        }
        std::fs::read_to_string(&path).map_err(|error| error.to_string())
    }
}
