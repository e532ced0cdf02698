//! The report as one page that needs nothing else: inline SVG, no script, light and dark, and
//! narrow enough for a phone.

use std::fmt::{Result, Write as _};

use super::figures::{CellFigures, Report};
use super::plan::{Pattern, State};
use crate::progress::size;

const STYLE: &str = "
:root{color-scheme:light dark;--ground:#fcfcfb;--card:#fff;--ink:#1b1f24;--soft:#5d6670;
--line:#d9dde2;--plain:#8b949e;--sealed:#1f6feb;--miss:#b3541e}
@media(prefers-color-scheme:dark){:root{--ground:#0e1116;--card:#161b22;--ink:#e6eaef;--soft:#98a2ad;
--line:#2d343d;--plain:#8b949e;--sealed:#58a6ff;--miss:#e0894f}}
*{box-sizing:border-box}
body{margin:0;padding:1rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",sans-serif}
main{max-width:75rem;margin:0 auto}
h1{font-size:1.5rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.05rem;margin:0 0 .25rem}
h3{font-size:.8rem;font-weight:600;color:var(--soft);margin:.75rem 0 .25rem}
p{margin:.25rem 0;max-width:48rem}
.soft{color:var(--soft);font-size:.875rem}
.warn{border-left:.25rem solid var(--miss);padding-left:.75rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1rem 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.75rem}
.tile b{display:block;font-size:1.4rem;line-height:1.3;font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(21rem,100%),1fr));gap:.75rem}
svg{display:block;width:100%;height:auto;max-width:34rem}
svg text{font:11px system-ui,-apple-system,\"Segoe UI\",sans-serif;fill:var(--ink);
font-variant-numeric:tabular-nums}
svg .s{fill:var(--soft);font-size:10px}
svg .grid{stroke:var(--line)}
svg .one{stroke:var(--ink);stroke-dasharray:3 2}
svg .bar{fill:var(--sealed);opacity:.75}
svg .whisker{stroke:var(--ink);stroke-width:1.5}
svg .plain{stroke:var(--plain);fill:var(--plain)}
svg .sealed{stroke:var(--sealed);fill:var(--sealed)}
svg .hollow{fill:var(--card)}
.key{display:inline-block;width:.8em;height:.8em;border-radius:50%;vertical-align:-.05em}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums;white-space:nowrap}
td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid var(--line)}
td:nth-child(-n+3),th:nth-child(-n+3){text-align:left}
details{margin:1rem 0}
summary{cursor:pointer}
";

/// Width of every plot in its own units: that of a phone.
const WIDTH: f64 = 360.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 88.0;
const PLOT: f64 = WIDTH - LEFT - RIGHT;
const TOP: f64 = 18.0;

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write_page(&mut out, report);
    out
}

fn write_page(out: &mut String, report: &Report) -> Result {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\">\n<title>Sealvol benchmark</title>\n\
         <style>{STYLE}</style></head><body><main>\n<h1>Sealed volume beside a plain file</h1>\n"
    )?;
    conditions(out, report)?;
    tiles(out, report)?;
    write!(
        out,
        "<p class=\"soft\">Bars: IOPS of the sealed volume over those of the plain file, geometric \
         mean of neighbouring turns, with its 95% interval; the dashed line is the plain file. \
         Lines below: latency of <span class=\"key\" style=\"background:var(--plain)\"></span> the \
         plain file and <span class=\"key\" style=\"background:var(--sealed)\"></span> the sealed \
         volume, from p50 (dot) through p99 (ring) to p99.9 (end), on a logarithmic scale; at the \
         right, what sealing adds at p99.</p>\n<div class=\"cards\">\n"
    )?;
    for state in [State::Warm, State::Cold] {
        for pattern in [Pattern::RandRead, Pattern::RandWrite, Pattern::SeqRead, Pattern::SeqWrite]
        {
            let cells: Vec<&CellFigures> = report
                .cells
                .iter()
                .filter(|c| c.cell.state == state && c.cell.pattern == pattern)
                .collect();
            if !cells.is_empty() {
                card(out, state, pattern, &cells)?;
            }
        }
    }
    out.push_str("</div>\n");
    table(out, report)?;
    out.push_str("</main></body></html>\n");
    Ok(())
}

fn conditions(out: &mut String, report: &Report) -> Result {
    let (machine, settings) = (&report.machine, &report.settings);
    writeln!(
        out,
        "<p class=\"soft\">{} &times; {}, {} of memory, Linux {}, {}, load {} at the start. Sealvol \
         {}. Volume: {}, {}, {:.0}% initialised{}. {} turns of {} s for each side and cell, plain \
         and sealed in ABBA order; queue depth is {}; buffered I/O, {}.</p>",
        machine.cpus,
        escape(&machine.cpu),
        size(sealvol::ByteLen(machine.memory_mib << 20)),
        escape(&machine.kernel),
        escape(&machine.file_system),
        escape(&machine.load),
        report.version,
        escape(&settings.volume),
        size(sealvol::ByteLen(settings.size_bytes)),
        settings.initialised * 100.0,
        match settings.space_percent {
            Some(percent) if settings.prewritten => format!(", {percent}% space, pre-written"),
            Some(percent) => format!(", {percent}% space, thin"),
            None => String::new(),
        },
        settings.repeats,
        settings.seconds,
        settings.queue_depth_is,
        match settings.flush_every {
            0 => "no flush".to_owned(),
            n => format!("a flush after every {n} writes"),
        },
    )?;
    if let Some(warning) = report.warning() {
        writeln!(out, "<p class=\"warn\">{}</p>", escape(&warning))?;
    }
    if report.quick {
        writeln!(out, "<p class=\"warn\">A quick run: its figures mean little.</p>")?;
    }
    Ok(())
}

fn tiles(out: &mut String, report: &Report) -> Result {
    let cipher = &report.cipher;
    let mut tiles = Vec::new();
    if let Some(ratio) = report.iops_ratio_at_16_kib {
        tiles.push((format!("{ratio:.2}"), "of the plain file's IOPS at 16 KiB".to_owned()));
    }
    tiles.extend([
        (
            format!("{:.2} GiB/s", cipher.open_gib_per_s_per_core),
            format!(
                "{} opens per core, seals {:.2}: the ceiling",
                cipher.name, cipher.seal_gib_per_s_per_core
            ),
        ),
        (
            format!("{:.2} ms", report.attach.median_ms),
            format!(
                "to attach, with {} KMS call (KMS {})",
                report.attach.kms_calls_per_attach, report.attach.kms
            ),
        ),
        (report.kms_calls_during_io.to_string(), "KMS calls during all I/O".to_owned()),
    ]);
    if report.settings.space_percent.is_some() {
        tiles.push((
            format!("{:.2}", report.write_amplification),
            "bytes to the log for each byte written".to_owned(),
        ));
    }
    out.push_str("<div class=\"tiles\">");
    for (figure, meaning) in tiles {
        write!(
            out,
            "<div class=\"tile\"><b>{}</b><span class=\"soft\">{}</span></div>",
            escape(&figure),
            escape(&meaning)
        )?;
    }
    out.push_str("</div>\n");
    Ok(())
}

const fn title(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::RandRead => "Random reads",
        Pattern::RandWrite => "Random writes",
        Pattern::SeqRead => "Sequential reads",
        Pattern::SeqWrite => "Sequential writes",
    }
}

fn card(out: &mut String, state: State, pattern: Pattern, cells: &[&CellFigures]) -> Result {
    write!(
        out,
        "<section class=\"card\"><h2>{}, {}</h2><h3>IOPS, sealed over plain</h3>",
        title(pattern),
        state.as_str()
    )?;
    ratios(out, cells)?;
    out.push_str("<h3>Latency, \u{b5}s</h3>");
    latencies(out, cells)?;
    out.push_str("</section>\n");
    Ok(())
}

fn label(figures: &CellFigures) -> String {
    format!("{} qd{}", figures.cell.block_name(), figures.cell.depth)
}

/// Where rows lie: a gap between block sizes.
fn places(cells: &[&CellFigures], pitch: f64) -> Vec<f64> {
    let mut y = TOP;
    let mut last = None;
    cells
        .iter()
        .map(|figures| {
            if last.is_some_and(|last| last != figures.cell.block) {
                y += 6.0;
            }
            last = Some(figures.cell.block);
            let place = y;
            y += pitch;
            place
        })
        .collect()
}

fn open_svg(out: &mut String, height: f64, text: &str) -> Result {
    write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        escape(text)
    )
}

fn ratios(out: &mut String, cells: &[&CellFigures]) -> Result {
    const PITCH: f64 = 17.0;
    let ys = places(cells, PITCH);
    let bottom = ys.last().copied().unwrap_or(TOP) + PITCH;
    // A wide interval must not squeeze the bars.
    let most = cells.iter().map(|c| c.iops_ratio.mean).fold(1.0, f64::max);
    let end = cells.iter().map(|c| c.iops_ratio.high).fold(most, f64::max).min(most * 1.5) * 1.02;
    let x = |ratio: f64| LEFT + ratio.clamp(0.0, end) / end * PLOT;
    open_svg(out, bottom + 4.0, "IOPS of the sealed volume over those of the plain file")?;
    let step = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
        .into_iter()
        .find(|step| end / step <= 5.0)
        .unwrap_or(100.0);
    let mut tick = 0.0;
    while tick <= end {
        let at = x(tick);
        write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>\
             <text class=\"s\" x=\"{at:.1}\" y=\"11\" text-anchor=\"middle\">{tick}</text>"
        )?;
        tick += step;
    }
    for (figures, y) in cells.iter().zip(&ys) {
        let ratio = &figures.iops_ratio;
        let middle = y + PITCH / 2.0;
        write!(
            out,
            "<g><title>{}: {:.3} ({:.3} to {:.3}); {:.0} against {:.0} IOPS</title>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"bar\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"/>\
             <line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}<tspan class=\"s\" dx=\"4\">{}\u{2013}{}</tspan>\
             </text></g>",
            label(figures),
            ratio.mean,
            ratio.low,
            ratio.high,
            figures.sealed.iops,
            figures.plain.iops,
            LEFT - 6.0,
            middle + 4.0,
            label(figures),
            y + 3.0,
            x(ratio.mean) - LEFT,
            PITCH - 6.0,
            x(ratio.low),
            x(ratio.high),
            LEFT + PLOT + 6.0,
            middle + 4.0,
            short(ratio.mean),
            short(ratio.low),
            short(ratio.high),
        )?;
    }
    let one = x(1.0);
    write!(
        out,
        "<line class=\"one\" x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/></svg>"
    )
}

fn latencies(out: &mut String, cells: &[&CellFigures]) -> Result {
    const PITCH: f64 = 20.0;
    let ys = places(cells, PITCH);
    let bottom = ys.last().copied().unwrap_or(TOP) + PITCH;
    let sides = || cells.iter().flat_map(|c| [&c.plain, &c.sealed]);
    let least = sides().map(|s| s.p50_us).fold(f64::INFINITY, f64::min).max(0.01);
    let most = sides().map(|s| s.p999_us).fold(least * 10.0, f64::max);
    let (low, high) = (least.log10().floor(), most.log10().ceil());
    let x = |us: f64| LEFT + (us.max(0.01).log10() - low) / (high - low).max(1.0) * PLOT;
    open_svg(out, bottom + 4.0, "Latency percentiles of the plain file and the sealed volume")?;
    let mut decade = low;
    while decade <= high {
        let at = x(10_f64.powf(decade));
        let text = match decade {
            d if d < 0.0 => format!("{:.1}", 10_f64.powf(d)),
            d if d < 3.0 => format!("{:.0}", 10_f64.powf(d)),
            d if d < 6.0 => format!("{:.0}k", 10_f64.powf(d - 3.0)),
            d => format!("{:.0}M", 10_f64.powf(d - 6.0)),
        };
        write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>\
             <text class=\"s\" x=\"{at:.1}\" y=\"11\" text-anchor=\"middle\">{text}</text>"
        )?;
        decade += 1.0;
    }
    for (figures, y) in cells.iter().zip(&ys) {
        write!(
            out,
            "<g><title>{}: plain {:.1} / {:.1} / {:.1}, sealed {:.1} / {:.1} / {:.1} \u{b5}s at p50 \
             / p99 / p99.9</title><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            label(figures),
            figures.plain.p50_us,
            figures.plain.p99_us,
            figures.plain.p999_us,
            figures.sealed.p50_us,
            figures.sealed.p99_us,
            figures.sealed.p999_us,
            LEFT - 6.0,
            y + PITCH / 2.0 + 4.0,
            label(figures),
        )?;
        for (side, class, at) in
            [(&figures.plain, "plain", y + 6.5), (&figures.sealed, "sealed", y + 13.5)]
        {
            let (p50, p99, p999) = (x(side.p50_us), x(side.p99_us), x(side.p999_us));
            write!(
                out,
                "<g class=\"{class}\"><line x1=\"{p50:.1}\" x2=\"{p999:.1}\" y1=\"{at:.1}\" \
                 y2=\"{at:.1}\"/><line x1=\"{p999:.1}\" x2=\"{p999:.1}\" y1=\"{:.1}\" \
                 y2=\"{:.1}\"/><circle cx=\"{p50:.1}\" cy=\"{at:.1}\" r=\"2.5\"/><circle \
                 class=\"hollow\" cx=\"{p99:.1}\" cy=\"{at:.1}\" r=\"2.2\"/></g>",
                at - 2.5,
                at + 2.5,
            )?;
        }
        write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            LEFT + PLOT + 6.0,
            y + PITCH / 2.0 + 4.0,
            signed_us(figures.added_us.p99),
        )?;
    }
    out.push_str("</svg>");
    Ok(())
}

/// Three digits or so.
fn short(ratio: f64) -> String {
    match ratio {
        r if r < 10.0 => format!("{r:.2}"),
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

fn signed_us(us: f64) -> String {
    match us.abs() {
        a if a < 100.0 => format!("{us:+.1} \u{b5}s"),
        a if a < 10_000.0 => format!("{us:+.0} \u{b5}s"),
        _ => format!("{:+.1} ms", us / 1000.0),
    }
}

fn table(out: &mut String, report: &Report) -> Result {
    out.push_str(
        "<details><summary>All figures</summary><div class=\"scroll\"><table><thead><tr><th>state\
         <th>pattern<th>block<th>qd<th>IOPS plain<th>sealed<th>MiB/s plain<th>sealed<th>ratio<th>95% \
         interval<th>added p50 \u{b5}s<th>p99<th>p99.9<th>CPU s/GiB plain<th>sealed</tr></thead>\
         <tbody>\n",
    );
    for figures in &report.cells {
        let (cell, ratio, added) = (figures.cell, &figures.iops_ratio, &figures.added_us);
        let (plain, sealed) = (&figures.plain, &figures.sealed);
        writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.3}<td>{:.3} to \
             {:.3}<td>{:+.1}<td>{:+.1}<td>{:+.1}<td>{:.3}<td>{:.3}</tr>",
            cell.state.as_str(),
            cell.pattern.as_str(),
            cell.block_name(),
            cell.depth,
            plain.iops,
            sealed.iops,
            plain.mib_per_s,
            sealed.mib_per_s,
            ratio.mean,
            ratio.low,
            ratio.high,
            added.p50,
            added.p99,
            added.p999,
            plain.cpu_s_per_gib,
            sealed.cpu_s_per_gib,
        )?;
    }
    out.push_str("</tbody></table></div></details>\n");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
