//! Options that several verbs share.

use clap::builder::FalseyValueParser;
use sealvol::{Backend, ByteLen, OpenOptions, Provisioning, Settings, VolumeId, VolumeSpec};

use crate::pairs::{context, parse_pair};

/// How a volume is opened.
#[derive(Debug, clap::Args)]
pub(crate) struct OpenArgs {
    /// Refuse the file unless it is this volume (32 hexadecimal digits, as `volume info` shows)
    #[arg(long, env = "SEALVOL_EXPECT_ID", hide_env = true, value_name = "ID")]
    #[arg(value_parser = parse_id)]
    expect_id: Option<VolumeId>,
    /// Refuse the file unless this KMS key wraps its data key
    #[arg(long, env = "SEALVOL_EXPECT_KEY", hide_env = true, value_name = "ARN")]
    expect_key: Option<String>,
    /// Refuse the file unless its data key is bound to exactly these pairs (repeat it)
    #[arg(long, env = "SEALVOL_EXPECT_CONTEXT", hide_env = true, value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_pair, value_delimiter = ',')]
    expect_context: Vec<(String, String)>,
    /// Memory for the map of the volume
    #[arg(long, env = "SEALVOL_MAP_CACHE", hide_env = true, value_name = "SIZE")]
    map_cache: Option<ByteLen>,
    /// Read the file through a memory map: faster, but a failing disk kills the process
    #[arg(long, env = "SEALVOL_MMAP", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    mmap: bool,
}

impl OpenArgs {
    pub(crate) fn options(&self) -> anyhow::Result<OpenOptions> {
        let mut settings = Settings::default();
        if let Some(budget) = self.map_cache {
            settings.map_cache = budget;
        }
        let mut options = OpenOptions::new().settings(settings).backend(if self.mmap {
            Backend::Mmap
        } else {
            Backend::File
        });
        options.expect_id = self.expect_id;
        options.expect_key_arn.clone_from(&self.expect_key);
        if !self.expect_context.is_empty() {
            options.expect_context = Some(context(&self.expect_context)?);
        }
        Ok(options)
    }
}

/// What a new volume is.
#[derive(Debug, clap::Args)]
pub(crate) struct SpecArgs {
    /// Its name, the value of aws:ebs:id in the encryption context [default: vol- and 17 digits]
    #[arg(long, env = "SEALVOL_NAME", hide_env = true)]
    name: Option<String>,
    /// A further pair of the encryption context (repeat it)
    #[arg(long, env = "SEALVOL_CONTEXT", hide_env = true, value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_pair, value_delimiter = ',')]
    context: Vec<(String, String)>,
    /// How far the file may grow, in percent of the size: room for garbage collection
    #[arg(long, env = "SEALVOL_SPACE_PERCENT", hide_env = true, value_name = "PERCENT")]
    #[arg(default_value_t = 130)]
    space_percent: u32,
    /// When the file gets its space: as data arrives, or all of it now
    #[arg(long, env = "SEALVOL_PROVISIONING", hide_env = true, value_name = "HOW")]
    #[arg(default_value = "thin")]
    provisioning: ProvisioningArg,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ProvisioningArg {
    Thin,
    Prewritten,
}

impl SpecArgs {
    pub(crate) fn spec(&self, size: ByteLen, key: String) -> anyhow::Result<VolumeSpec> {
        let mut spec = VolumeSpec::new(size, key)
            .context(context(&self.context)?)
            .space_percent(self.space_percent)
            .provisioning(match self.provisioning {
                ProvisioningArg::Thin => Provisioning::Thin,
                ProvisioningArg::Prewritten => Provisioning::Prewritten,
            });
        spec.name.clone_from(&self.name);
        Ok(spec)
    }
}

fn parse_id(text: &str) -> Result<VolumeId, String> {
    let wrong =
        || "a volume id has 32 hexadecimal digits; `sealvol volume info` shows it".to_owned();
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let id = u128::from_str_radix(text, 16).map_err(|_| wrong())?;
    Ok(VolumeId(id.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse() {
        let id = VolumeId([0xab; 16]);
        assert_eq!(parse_id(&id.to_string()), Ok(id));
        assert!(parse_id("vol-12").is_err());
        assert!(parse_id(&"+".repeat(32)).is_err());
    }
}
