//! The report for a terminal.

use std::fmt::Write as _;

use super::figures::Report;
use crate::progress::size;

/// The whole report as text.
pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write_all(&mut out, report);
    out
}

fn write_all(out: &mut String, report: &Report) -> std::fmt::Result {
    let Report { machine, settings, cipher, attach, .. } = report;
    writeln!(
        out,
        "{} x {}, {} MiB, Linux {}, {}, load {}",
        machine.cpus,
        machine.cpu,
        machine.memory_mib,
        machine.kernel,
        machine.file_system,
        machine.load
    )?;
    writeln!(
        out,
        "{} volume of {} ({:.0}% initialised); {} turns of {} s; QD = {}; flush every {} writes",
        settings.volume,
        size(sealvol::ByteLen(settings.size_bytes)),
        settings.initialised * 100.0,
        settings.repeats,
        settings.seconds,
        settings.queue_depth_is,
        settings.flush_every,
    )?;
    if report.quick {
        writeln!(out, "QUICK: a smoke run, whose figures mean little")?;
    }
    if let Some(warning) = report.warning() {
        writeln!(out, "CAUTION: {warning}")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:<4} {:<9} {:>8} {:>3} {:>9} {:>9}  {:>22} {:>26} {:>15}",
        "",
        "pattern",
        "block",
        "qd",
        "IOPS",
        "IOPS",
        "ratio (95% interval)",
        "added us p50/p99/p99.9",
        "CPU s/GiB"
    )?;
    writeln!(
        out,
        "{:<4} {:<9} {:>8} {:>3} {:>9} {:>9}  {:>22} {:>26} {:>15}",
        "", "", "", "", "plain", "sealed", "", "", "plain/sealed"
    )?;
    let mut last = None;
    for figures in &report.cells {
        let cell = figures.cell;
        if last.is_some_and(|last| last != (cell.state, cell.pattern)) {
            writeln!(out)?;
        }
        last = Some((cell.state, cell.pattern));
        let ratio = &figures.iops_ratio;
        let added = &figures.added_us;
        writeln!(
            out,
            "{:<4} {:<9} {:>8} {:>3} {:>9.0} {:>9.0}  {:>22} {:>26} {:>15}",
            cell.state.as_str(),
            cell.pattern.as_str(),
            cell.block_name(),
            cell.depth,
            figures.plain.iops,
            figures.sealed.iops,
            format!("{:.2} ({:.2} to {:.2})", ratio.mean, ratio.low, ratio.high),
            format!("{:+.1} / {:+.0} / {:+.0}", added.p50, added.p99, added.p999),
            format!("{:.2} / {:.2}", figures.plain.cpu_s_per_gib, figures.sealed.cpu_s_per_gib),
        )?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "cipher  {} alone: seals {:.2}, opens {:.2} GiB/s per core: the ceiling",
        cipher.name, cipher.seal_gib_per_s_per_core, cipher.open_gib_per_s_per_core
    )?;
    writeln!(
        out,
        "attach  {:.2} ms (median of {}), with {} KMS call each (KMS: {})",
        attach.median_ms,
        attach.times_ms.len(),
        attach.kms_calls_per_attach,
        attach.kms
    )?;
    writeln!(out, "KMS     {} calls during all I/O", report.kms_calls_during_io)?;
    if settings.space_percent.is_some() {
        let percent = settings.space_percent.unwrap_or_default();
        writeln!(
            out,
            "writes  {:.2} bytes to the log for each byte written, at {percent}% space",
            report.write_amplification
        )?;
    }
    if let Some(ratio) = report.iops_ratio_at_16_kib {
        writeln!(out, "16 KiB  {ratio:.2} of the plain file's IOPS (geometric mean of the cells)")?;
    }
    Ok(())
}
