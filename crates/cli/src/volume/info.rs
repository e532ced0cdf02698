//! `sealvol volume info`.

use std::path::PathBuf;

use sealvol::{InfoState, VolumeInfo};

use crate::global::Global;
use crate::output;
use crate::progress::size;

pub(super) const EXAMPLES: &str = "\
Examples:
  sealvol volume info disk.vol
  sealvol volume info disk.vol --json | jq .keys

It needs no key, and works while the volume is open. Nothing that it shows is authenticated.";

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The volume file
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(super) fn run(args: &InfoArgs, global: &Global) -> anyhow::Result<()> {
    let info = VolumeInfo::read(&args.path)?;
    if global.json {
        return output::json(&info);
    }
    output::text(&describe(&info))
}

/// Several lines for people.
pub(super) fn describe(info: &VolumeInfo) -> String {
    let state = match info.state {
        InfoState::Blank => "blank: never opened",
        InfoState::Clean => "closed in order",
        _ => "open now, or left by a crash",
    };
    let mut text = format!(
        "  name       {}\n  id         {}\n  size       {} ({} bytes)\n  state      {state}\n  \
         sealed by  {}, format {}, {} segments, superblock generation {}\n  file       {} on disk, \
         {} long, grows to {}\n",
        info.name,
        info.id,
        size(info.size),
        info.size.0,
        info.suite,
        info.format_version,
        info.segment_len,
        info.generation,
        size(info.file_allocated),
        size(info.file_len),
        size(info.file_limit),
    );
    for key in &info.keys {
        text.push_str(&format!("  key {:<6} {}\n", key.id, key.key_arn));
        for (name, value) in key.context.iter() {
            text.push_str(&format!("    bound to {name}={value}\n"));
        }
    }
    text
}
