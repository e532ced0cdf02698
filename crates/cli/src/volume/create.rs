//! `sealvol volume create`.

use std::path::PathBuf;

use sealvol::{ByteLen, Volume};

use super::args::SpecArgs;
use super::info;
use crate::global::{Global, IfMissing};
use crate::{output, signals};

pub(super) const EXAMPLES: &str = "\
Examples:
  sealvol volume create disk.vol --size 20GiB
  sealvol --data /srv/keys volume create disk.vol --size 1TiB --context tenant=blue
  sealvol --key alias/backups volume create backup.vol --size 512MiB --provisioning prewritten";

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The file to make; an existing one is never replaced
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Its size, a multiple of 4096 bytes: 512MiB, 20GiB, 1TiB
    #[arg(long, env = "SEALVOL_SIZE", hide_env = true, value_name = "SIZE")]
    size: ByteLen,
    #[command(flatten)]
    spec: SpecArgs,
}

pub(super) fn run(args: &CreateArgs, global: &Global) -> anyhow::Result<()> {
    let keys = global.keys(IfMissing::Make)?;
    let spec = args.spec.spec(args.size, global.wrapping_key(&keys)?)?;
    let made = signals::runtime()?.block_on(Volume::create(&args.path, spec, &*keys.service))?;
    if global.json {
        return output::json(&made);
    }
    output::text(&format!(
        "created {}\n{}next: sealvol volume serve {} --nbd unix:/tmp/{}.sock\n",
        args.path.display(),
        info::describe(&made),
        args.path.display(),
        made.name,
    ))
}
