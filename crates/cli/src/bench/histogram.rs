//! Latencies in logarithmic buckets: 64 to each power of two, so 1.6% wide.

const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) << SUB_BITS;

/// Counts of nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

fn bucket_of(ns: u64) -> usize {
    let index = if ns < SUB {
        ns
    } else {
        let shift = ns.ilog2() - SUB_BITS;
        u64::from(shift + 1) * SUB + ((ns >> shift) & (SUB - 1))
    };
    usize::try_from(index).unwrap_or(BUCKETS - 1)
}

/// The middle of a bucket.
fn value_of(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket as f64;
    }
    let (shift, sub) = (bucket / SUB - 1, bucket % SUB);
    let width = 2_f64.powi(i32::try_from(shift).unwrap_or(0));
    (SUB + sub) as f64 * width + width / 2.0
}

impl Histogram {
    pub(crate) fn record(&mut self, ns: u64) {
        if let Some(count) = self.counts.get_mut(bucket_of(ns)) {
            *count += 1;
            self.total += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to += from;
        }
        self.total += other.total;
    }

    /// The value that `share` of the records do not exceed, in microseconds; 0 of no record.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let wanted = share * self.total as f64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= wanted {
                return value_of(bucket) / 1000.0;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for exponent in 0..63 {
            for ns in [1_u64 << exponent, (1 << exponent) + (1 << exponent) / 3] {
                let bucket = bucket_of(ns);
                assert!(bucket >= last && bucket < BUCKETS);
                last = bucket;
                let error = (value_of(bucket) - ns as f64).abs() / ns as f64;
                assert!(error <= 0.016, "{ns}: {error}");
            }
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_of_a_ramp() {
        let mut all = Histogram::default();
        let mut half = Histogram::default();
        (1..=500).for_each(|us| all.record(us * 1000));
        (501..=1000).for_each(|us| half.record(us * 1000));
        all.merge(&half);
        for (share, us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = all.percentile_us(share);
            assert!((found - us).abs() / us < 0.02, "{share}: {found}");
        }
        assert!(Histogram::default().percentile_us(0.5).abs() < 1e-9);
    }
}
