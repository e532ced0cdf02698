//! The root key, which seals the whole KMS on its disk.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use sealvol::DeviceError;
use sealvol::kms::RootKeySource;

use super::desk::Desk;
use crate::exit::{self, Fail};
use crate::global::read_passphrase;

pub(super) const EXAMPLES: &str = "Examples:
  sealvol key rotate-root
  sealvol key rotate-root --to-passphrase-file new.txt
  sealvol --passphrase-file new.txt key rotate-root --to-key-file

The old root key still opens old copies of the KMS: remove those, or keep them as safe as before.";

#[derive(Debug, clap::Args)]
pub(super) struct RotateRootArgs {
    /// Under a fresh key file in the KMS's directory, mode 0600 [default for a KMS that has one]
    #[arg(long, env = "SEALVOL_TO_KEY_FILE", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new(), conflicts_with = "to_passphrase_file")]
    to_key_file: bool,
    /// Under the passphrase in FILE
    #[arg(long, env = "SEALVOL_TO_PASSPHRASE_FILE", hide_env = true, value_name = "FILE")]
    to_passphrase_file: Option<PathBuf>,
}

pub(super) fn rotate(desk: &Desk, args: &RotateRootArgs) -> anyhow::Result<()> {
    if !desk.is_owner {
        return Err(Fail::error(
            exit::USAGE,
            "rotate-root is no operation of the KMS, and no policy speaks of it: leave --as and \
             --via-service out",
        ));
    }
    if desk.by_passphrase && !args.to_key_file && args.to_passphrase_file.is_none() {
        let text = "say what is to seal the KMS: --to-passphrase-file FILE, or --to-key-file";
        return Err(Fail::error(exit::USAGE, text));
    }
    let (new, text) = match &args.to_passphrase_file {
        Some(file) => (
            RootKeySource::Passphrase(read_passphrase(file)?),
            format!(
                "the KMS is sealed under the passphrase in {file} from now on: give \
                 --passphrase-file {file}\nprocesses that have it open have to open it again",
                file = file.display()
            ),
        ),
        None => (
            RootKeySource::KeyFile,
            "the KMS is sealed under a fresh key file from now on: back up its directory anew"
                .to_owned(),
        ),
    };
    desk.kms
        .rotate_root_key(&new)
        .map_err(DeviceError::from)
        .context("cannot seal the KMS anew; it is as it was")?;
    desk.done(&text)
}
