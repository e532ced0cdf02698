//! `sealvol bench`: measures a volume as AWS says to measure EBS: block size by pattern by queue
//! depth, initialised and cold, with the plain file and the sealed volume in turn.
//!
//! Order: [`plan`] lists the cells; [`devices`] makes the two sides; [`turn`] runs one cell on one
//! side; [`measure`] pairs the turns; [`figures`] turns pairs into figures; [`table`] and [`html`]
//! show them.

mod devices;
mod figures;
mod histogram;
mod html;
mod machine;
mod measure;
mod noise;
mod plan;
mod table;
mod turn;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use sealvol::ByteLen;

use crate::exit::{self, Fail};
use crate::global::Global;
use crate::{output, signals};

use figures::Report;
use plan::{Pattern, Plan};

const EXAMPLES: &str = "\
Examples:
  sealvol bench --quick
  sealvol bench --dir /mnt/nvme --size 8GiB --html report.html
  sealvol bench disk.vol --block-size 16KiB --depth 1,16

Queue depth is the number of threads, each with one request under way. Reads and writes are buffered,
on both sides; every 32nd write (--flush-every) is followed by a flush, which counts into its latency.
`warm` is a volume that was written once in full; `cold` is the same with the page cache dropped
before each turn. With PATH, an existing volume is read and never written, beside a new plain file.
Without it, the volume, its KMS and the plain file are temporary, and removed at the end.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// Measure reading this volume, instead of a temporary one
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Where the temporary files go: on the disk to be measured
    #[arg(long, env = "SEALVOL_BENCH_DIR", hide_env = true, value_name = "DIR")]
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Size of the volume and the plain file
    #[arg(long, env = "SEALVOL_BENCH_SIZE", hide_env = true, value_name = "SIZE")]
    #[arg(default_value = "2GiB", default_value_if("quick", "true", "64MiB"))]
    size: ByteLen,
    /// Space over size, in percent: room for garbage collection
    #[arg(long, env = "SEALVOL_BENCH_SPACE", hide_env = true, value_name = "PERCENT")]
    #[arg(default_value_t = 130, value_parser = clap::value_parser!(u32).range(110..=1000))]
    space: u32,
    /// Write the whole volume file with zeros first, so that no write waits for the file to grow
    #[arg(long, env = "SEALVOL_BENCH_PREWRITTEN", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    prewritten: bool,
    /// Seconds of each turn
    #[arg(long, env = "SEALVOL_BENCH_SECONDS", hide_env = true, value_name = "SECONDS")]
    #[arg(default_value_t = 1.0, default_value_if("quick", "true", "0.1"), value_parser = seconds)]
    seconds: f64,
    /// Turns of each side, for each cell
    #[arg(long, env = "SEALVOL_BENCH_REPEATS", hide_env = true, value_name = "N")]
    #[arg(default_value_t = 5, default_value_if("quick", "true", "3"))]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1000))]
    repeats: u32,
    /// Writes between two flushes; 0 for no flush at all
    #[arg(long, env = "SEALVOL_BENCH_FLUSH_EVERY", hide_env = true, value_name = "N")]
    #[arg(default_value_t = 32)]
    flush_every: u64,
    /// Block sizes
    #[arg(long, env = "SEALVOL_BENCH_BLOCK_SIZE", hide_env = true, value_name = "SIZES")]
    #[arg(value_delimiter = ',', default_value = "4KiB,16KiB,256KiB,1MiB")]
    #[arg(default_value_if("quick", "true", "4KiB,256KiB"))]
    block_size: Vec<ByteLen>,
    /// Patterns
    #[arg(long, env = "SEALVOL_BENCH_PATTERN", hide_env = true, value_name = "PATTERNS")]
    #[arg(value_delimiter = ',', value_enum)]
    #[arg(default_value = "randread,randwrite,seqread,seqwrite")]
    pattern: Vec<Pattern>,
    /// Queue depths
    #[arg(long, env = "SEALVOL_BENCH_DEPTH", hide_env = true, value_name = "DEPTHS")]
    #[arg(value_delimiter = ',', default_value = "1,4,16,32")]
    #[arg(default_value_if("quick", "true", "1,16"))]
    depth: Vec<u16>,
    /// A smoke test of a few seconds; its figures mean little
    #[arg(long, env = "SEALVOL_BENCH_QUICK", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    quick: bool,
    /// Also write the results as JSON to FILE (`--json` prints them)
    #[arg(long, env = "SEALVOL_BENCH_JSON_FILE", hide_env = true, value_name = "FILE")]
    json_file: Option<PathBuf>,
    /// Also write a page with plots to FILE
    #[arg(long, env = "SEALVOL_BENCH_HTML", hide_env = true, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.01..=3600.0).contains(&value) => Ok(value),
        _ => Err("write a number of seconds from 0.01 to 3600".into()),
    }
}

/// Runs the benchmark.
pub(crate) fn run(args: &BenchArgs, global: &Global) -> anyhow::Result<()> {
    let plan = Plan::new(args)?;
    // Found out now rather than after a quarter of an hour.
    for file in [&args.json_file, &args.html].into_iter().flatten() {
        check_writable(file)?;
    }
    let cancelled = signals::cancel_flag()?;
    let report = match measure::all(&plan, args, global, &cancelled) {
        Err(error) if error.is::<measure::Cancelled>() => {
            return Err(Fail::error(
                exit::INTERRUPTED,
                "stopped by a signal; the temporary files are removed",
            ));
        }
        outcome => outcome?,
    };
    show(args, global, &report)
}

fn show(args: &BenchArgs, global: &Global, report: &Report) -> anyhow::Result<()> {
    if let Some(file) = &args.json_file {
        let json = serde_json::to_string_pretty(report).context("write JSON")?;
        write(file, &json)?;
    }
    if let Some(file) = &args.html {
        write(file, &html::page(report))?;
    }
    if global.json { output::json(report) } else { output::text(&table::render(report)) }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn check_writable(file: &Path) -> anyhow::Result<()> {
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .map(drop)
        .with_context(|| format!("cannot write {}; choose another place", file.display()))
}
