//! From pairs of turns to figures.

use serde::Serialize;

use super::histogram::Histogram;
use super::machine::Machine;
use super::plan::Cell;
use super::turn::Turn;

/// Everything a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) settings: SettingsUsed,
    pub(crate) cipher: Cipher,
    pub(crate) attach: Attach,
    /// Of all turns together. Must be 0.
    pub(crate) kms_calls_during_io: u64,
    /// Geometric mean of the IOPS ratios at 16 KiB, EBS's rating size; absent if not measured.
    pub(crate) iops_ratio_at_16_kib: Option<f64>,
    pub(crate) write_amplification: f64,
    pub(crate) cells: Vec<CellFigures>,
}

impl Report {
    /// What makes the figures say less than they seem to.
    pub(crate) fn warning(&self) -> Option<String> {
        let initialised = self.settings.initialised;
        (initialised < 0.99).then(|| {
            format!(
                "only {:.0}% of the volume holds data; the rest reads as zeros without the disk, \
                 the cipher or a comparison that means anything",
                initialised * 100.0
            )
        })
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct SettingsUsed {
    /// An existing volume, or a temporary one.
    pub(crate) volume: String,
    pub(crate) size_bytes: u64,
    /// Share of the bytes that hold data.
    pub(crate) initialised: f64,
    pub(crate) space_percent: Option<u32>,
    pub(crate) prewritten: bool,
    pub(crate) seconds: f64,
    pub(crate) repeats: u32,
    pub(crate) flush_every: u64,
    pub(crate) queue_depth_is: &'static str,
}

/// The bare cipher, 4 KiB at a time from memory: what no volume can exceed.
#[derive(Debug, Serialize)]
pub(crate) struct Cipher {
    pub(crate) name: &'static str,
    pub(crate) seal_gib_per_s_per_core: f64,
    pub(crate) open_gib_per_s_per_core: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Attach {
    /// Each one: unwrap the key, open the volume.
    pub(crate) times_ms: Vec<f64>,
    pub(crate) median_ms: f64,
    pub(crate) kms_calls_per_attach: f64,
    pub(crate) kms: &'static str,
}

/// One side of a cell.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    /// Mean over the repeats.
    pub(crate) iops: f64,
    pub(crate) mib_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) cpu_s_per_gib: f64,
}

impl Side {
    fn of(turns: &[&Turn]) -> Self {
        let mut latencies = Histogram::default();
        turns.iter().for_each(|turn| latencies.merge(&turn.latencies));
        let seconds: f64 = turns.iter().map(|turn| turn.elapsed.as_secs_f64()).sum();
        let cpu: f64 = turns.iter().map(|turn| turn.cpu.as_secs_f64()).sum();
        let ops: u64 = turns.iter().map(|turn| turn.ops).sum();
        let bytes: u64 = turns.iter().map(|turn| turn.bytes).sum();
        Self {
            iops: ops as f64 / seconds.max(1e-9),
            mib_per_s: bytes as f64 / f64::from(1 << 20) / seconds.max(1e-9),
            p50_us: latencies.percentile_us(0.5),
            p99_us: latencies.percentile_us(0.99),
            p999_us: latencies.percentile_us(0.999),
            cpu_s_per_gib: cpu / (bytes as f64 / f64::from(1 << 30)).max(1e-9),
        }
    }
}

/// Geometric mean of paired ratios, with its 95% interval (Student's t on the logarithms).
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) repeats: Vec<f64>,
}

/// Two-sided 95% quantiles of Student's t for 1 to 30 degrees of freedom.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

impl Ratio {
    pub(crate) fn of(repeats: Vec<f64>) -> Self {
        let logs: Vec<f64> = repeats.iter().map(|r| r.max(1e-9).ln()).collect();
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count.max(1.0);
        let squares: f64 = logs.iter().map(|l| (l - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        let t = T_95.get(logs.len().saturating_sub(2)).copied().unwrap_or(1.96);
        let half = t * deviation / count.max(1.0).sqrt();
        Self { mean: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp(), repeats }
    }
}

/// What sealing adds to a percentile; negative where the sealed volume is faster.
#[derive(Debug, Serialize)]
pub(crate) struct Added {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct CellFigures {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) plain: Side,
    pub(crate) sealed: Side,
    pub(crate) iops_ratio: Ratio,
    pub(crate) added_us: Added,
}

impl CellFigures {
    /// Of pairs (plain, sealed).
    pub(crate) fn of(cell: Cell, pairs: &[(Turn, Turn)]) -> Self {
        let plain = Side::of(&pairs.iter().map(|(plain, _)| plain).collect::<Vec<_>>());
        let sealed = Side::of(&pairs.iter().map(|(_, sealed)| sealed).collect::<Vec<_>>());
        let ratios = pairs.iter().map(|(plain, sealed)| sealed.iops() / plain.iops().max(1e-9));
        let iops_ratio = Ratio::of(ratios.collect());
        let added_us = Added {
            p50: sealed.p50_us - plain.p50_us,
            p99: sealed.p99_us - plain.p99_us,
            p999: sealed.p999_us - plain.p999_us,
        };
        Self { cell, plain, sealed, iops_ratio, added_us }
    }
}

/// The geometric mean of the cells' ratios at 16 KiB.
pub(crate) fn ratio_at_16_kib(cells: &[CellFigures]) -> Option<f64> {
    let at: Vec<f64> = cells
        .iter()
        .filter(|figures| figures.cell.block == 16 << 10)
        .map(|figures| figures.iops_ratio.mean)
        .collect();
    (!at.is_empty()).then(|| Ratio::of(at).mean)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ratios_have_a_narrow_interval() {
        let ratio = Ratio::of(vec![0.9; 5]);
        assert!((ratio.mean - 0.9).abs() < 1e-9 && (ratio.high - ratio.low).abs() < 1e-9);
    }

    #[test]
    fn the_interval_holds_the_mean_and_widens_with_scatter() {
        let narrow = Ratio::of(vec![0.98, 1.0, 1.02, 0.99, 1.01]);
        let wide = Ratio::of(vec![0.5, 2.0, 1.0, 0.8, 1.25]);
        for ratio in [&narrow, &wide] {
            assert!(ratio.low < ratio.mean && ratio.mean < ratio.high);
        }
        assert!((wide.mean - 1.0).abs() < 1e-9);
        assert!(wide.high - wide.low > 10.0 * (narrow.high - narrow.low));
        // By hand: deviation of the logs 0.515, t 2.776, five repeats: a factor of 1.895.
        assert!((wide.high - 1.895).abs() < 0.02, "{}", wide.high);
    }
}
