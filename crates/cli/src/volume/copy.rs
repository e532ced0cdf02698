//! `sealvol volume import` and `export`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::FalseyValueParser;
use sealvol::{
    ByteLen, ExportOptions, ImportReport, Job, Volume, export_raw, import_new, import_raw,
};

use super::args::{OpenArgs, SpecArgs};
use crate::exit::{self, Fail};
use crate::global::{Global, IfMissing};
use crate::progress::{Meter, size};
use crate::{output, signals};

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  sealvol volume import debian.raw debian.vol
  sealvol volume import /dev/sdb backup.vol --name sdb-2026
  zcat image.gz | sealvol volume import - big.vol --size 20GiB

Holes and blocks of zeros take no space. A new volume gets its name only when it is complete. What
lies behind the image in a larger volume is not touched.";

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  sealvol volume export debian.vol debian.raw
  sealvol volume export backup.vol /dev/sdb
  sealvol volume export damaged.vol rescued.raw --rescue

The copy is plaintext. Blocks that were never written become holes.";

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// A raw image or block device; - is standard input
    #[arg(value_name = "RAW")]
    raw: PathBuf,
    /// The volume; made at RAW's size if it does not exist
    #[arg(value_name = "VOLUME")]
    volume: PathBuf,
    /// Size of a new volume, if it shall be larger than RAW
    #[arg(long, env = "SEALVOL_SIZE", hide_env = true, value_name = "SIZE")]
    size: Option<ByteLen>,
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    open: OpenArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The volume file
    #[arg(value_name = "VOLUME")]
    volume: PathBuf,
    /// The raw image to make, or a block device
    #[arg(value_name = "RAW")]
    raw: PathBuf,
    /// Overwrite RAW even if it is a file that is not empty
    #[arg(long, env = "SEALVOL_FORCE", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    force: bool,
    /// Go on past unreadable blocks: they become zeros, are listed, and the exit code is 3
    #[arg(long, env = "SEALVOL_RESCUE", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    rescue: bool,
    #[command(flatten)]
    open: OpenArgs,
}

pub(super) fn import(args: &ImportArgs, global: &Global) -> anyhow::Result<()> {
    let raw = if args.raw == Path::new("-") { Path::new("/dev/stdin") } else { &*args.raw };
    let exists = args.volume.symlink_metadata().is_ok();
    if exists && args.size.is_some() {
        return Err(Fail::error(
            exit::USAGE,
            format!(
                "{} exists, so --size has no meaning; leave it out, or name a new volume",
                args.volume.display()
            ),
        ));
    }
    let options = args.open.options()?;
    let runtime = signals::runtime()?;
    let cancel = signals::cancel_flag()?;
    let meter = Meter::new("import", global);
    let update = |progress| meter.update(progress);
    let job = Job::new().on_progress(&update).cancelled_by(&cancel);
    let report = if exists {
        let keys = global.keys(IfMissing::Fail)?;
        let volume = runtime.block_on(Volume::open(&args.volume, options, &*keys.service))?;
        let report = import_raw(raw, &volume, job);
        // What was written stays: close in order either way.
        let closed = volume.close();
        report.and_then(|report| closed.map(|()| report))
    } else {
        let keys = global.keys(IfMissing::Make)?;
        let size = args.size.unwrap_or(ByteLen(0));
        if args.size.is_none() {
            // Before the KMS is asked for a key.
            sealvol::raw_len(raw)?;
        }
        let spec = args.spec.spec(size, global.wrapping_key(&keys)?)?;
        let made = import_new(raw, &args.volume, spec, options, &*keys.service, job);
        runtime.block_on(made).map(|(_, report)| report)
    };
    meter.finish();
    let report = report.map_err(|error| interrupted(error, &cancel))?;
    if global.json {
        return output::json(&report);
    }
    output::text(&describe_import(args, &report))
}

fn describe_import(args: &ImportArgs, report: &ImportReport) -> String {
    let mut text = format!(
        "imported {} into {}: {} written, {} of zeros took no space\n",
        size(ByteLen(report.source_len)),
        args.volume.display(),
        size(ByteLen(report.data_len)),
        size(ByteLen(report.zero_len)),
    );
    if report.padding_len > 0 {
        text.push_str(&format!(
            "the image ends within a block: {} zero bytes fill it up\n",
            report.padding_len
        ));
    }
    text
}

pub(super) fn export(args: &ExportArgs, global: &Global) -> anyhow::Result<()> {
    let options = args.open.options()?.read_only(true);
    let cancel = signals::cancel_flag()?;
    let keys = global.keys(IfMissing::Fail)?;
    let opening = Volume::open(&args.volume, options, &*keys.service);
    let volume = signals::runtime()?.block_on(opening)?;
    if let Some(damage) = &volume.report().corruption
        && !args.rescue
    {
        return Err(Fail::error(
            exit::DAMAGE,
            format!(
                "export {}: the volume's log is damaged, so its latest writes are missing \
                 ({damage}); --rescue exports what is there",
                args.volume.display()
            ),
        ));
    }
    let meter = Meter::new("export", global);
    let update = |progress| meter.update(progress);
    let job = Job::new().on_progress(&update).cancelled_by(&cancel);
    let how = ExportOptions::new().overwrite(args.force).rescue(args.rescue);
    let report = export_raw(&volume, &args.raw, how, job);
    meter.finish();
    let report = report.map_err(|error| interrupted(error, &cancel))?;
    if global.json {
        output::json(&report)?;
    } else {
        output::text(&format!(
            "exported {} to {}: {} written, {} of holes and zeros\n",
            size(ByteLen(report.len)),
            args.raw.display(),
            size(ByteLen(report.data_len)),
            size(ByteLen(report.zero_len)),
        ))?;
    }
    let lost = volume.report().corruption.clone();
    if report.damage.is_empty() && lost.is_none() {
        return Ok(());
    }
    let mut text = format!("{} was exported, but not all of it:", args.volume.display());
    for damage in report.damage.iter().map(ToString::to_string).chain(lost) {
        text.push_str(&format!("\n  {damage}"));
    }
    text.push_str("\nthe listed blocks are zeros in the copy; restore them from elsewhere");
    Err(Fail::error(exit::DAMAGE, text))
}

/// An operation that a signal ended.
pub(super) fn interrupted(error: sealvol::Error, cancel: &AtomicBool) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    if cancel.load(Ordering::Relaxed) {
        let text = "ended by a signal before it was complete; run it again";
        return error.context(Fail::new(exit::INTERRUPTED, text));
    }
    error
}
