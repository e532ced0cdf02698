//! Order statistics of a handful of figures.

use serde::Serialize;

/// The median; 0 of nothing.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(0.0);
    if sorted.len().is_multiple_of(2) && middle > 0 {
        let lower = sorted.get(middle - 1).copied().unwrap_or(upper);
        f64::midpoint(lower, upper)
    } else {
        upper
    }
}

/// Least, median and greatest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these values; zeros of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let ends = values
            .iter()
            .fold(None, |ends: Option<(f64, f64)>, v| match ends {
                None => Some((*v, *v)),
                Some((low, high)) => Some((low.min(*v), high.max(*v))),
            })
            .unwrap_or_default();
        Self { min: ends.0, median: median(values), max: ends.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_none() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&[]).abs() < 1e-12);
        let spread = Spread::of(&[2.0, 9.0, 4.0]);
        assert!((spread.min - 2.0).abs() < 1e-12 && (spread.max - 9.0).abs() < 1e-12);
    }
}
