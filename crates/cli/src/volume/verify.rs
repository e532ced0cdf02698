//! `sealvol volume verify`.

use std::path::PathBuf;

use sealvol::{ByteLen, Job, VerifyReport};

use super::args::OpenArgs;
use super::copy::interrupted;
use crate::exit::{self, Fail};
use crate::global::{Global, IfMissing};
use crate::progress::{Meter, size};
use crate::{output, signals};

pub(super) const EXAMPLES: &str = "\
Examples:
  sealvol volume verify disk.vol
  sealvol volume verify disk.vol --json | jq .damage

The file is not changed. A volume that a crash left is sound, and exits with 0: what was never
flushed may be gone. Exit code 3 means damage.";

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The volume file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    open: OpenArgs,
}

pub(super) fn run(args: &VerifyArgs, global: &Global) -> anyhow::Result<()> {
    let options = args.open.options()?;
    let cancel = signals::cancel_flag()?;
    let keys = global.keys(IfMissing::Fail)?;
    let meter = Meter::new("verify", global);
    let update = |progress| meter.update(progress);
    let job = Job::new().on_progress(&update).cancelled_by(&cancel);
    let checked = sealvol::verify(&args.path, options, &*keys.service, job);
    let report = signals::runtime()?.block_on(checked);
    meter.finish();
    let report = report.map_err(|error| interrupted(error, &cancel))?;
    if global.json {
        output::json(&report)?;
    } else {
        output::text(&describe(args, &report))?;
    }
    if report.sound {
        return Ok(());
    }
    let copy =
        "restore the volume from a copy, or save the rest with `sealvol volume export --rescue`";
    Err(Fail::error(
        exit::DAMAGE,
        format!(
            "{} is damaged: {} problems{}; {copy}",
            args.path.display(),
            report.problem_count,
            if report.log.is_some() { ", and its log is cut short" } else { "" }
        ),
    ))
}

fn describe(args: &VerifyArgs, report: &VerifyReport) -> String {
    let verdict = if report.sound { "sound" } else { "damaged" };
    let mut text = format!(
        "{} ({}): {verdict}\n  {} blocks ({}), {} pages and {} segment headers read\n",
        args.path.display(),
        report.volume.name,
        report.blocks_checked,
        size(ByteLen(report.blocks_checked.saturating_mul(4096))),
        report.pages_checked,
        report.segments_checked,
    );
    for problem in &report.problems {
        text.push_str(&format!("  {}", problem.what));
        if let Some(offset) = problem.file_offset {
            text.push_str(&format!(" (at byte {offset} of the file)"));
        }
        text.push_str(&format!(": {}\n", problem.detail));
    }
    let listed = report.problems.len() as u64;
    if report.problem_count > listed {
        text.push_str(&format!("  and {} problems more\n", report.problem_count - listed));
    }
    if let Some(log) = &report.log {
        text.push_str(&format!("  log: {log}\n"));
    }
    if let Some(note) = &report.superblock {
        text.push_str(&format!(
            "  superblock: {note}; its twin is used, and the next open repairs it\n"
        ));
    }
    if report.clean {
        text.push_str("  closed in order\n");
    } else {
        text.push_str(&format!(
            "  left by a crash, or open: the next open replays {} groups; {} incomplete ones, \
             never flushed, are dropped\n",
            report.replayed_groups, report.dropped_groups
        ));
    }
    text
}
