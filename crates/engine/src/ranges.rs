//! A set of LBA ranges: what was discarded or zeroed since a checkpoint.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint, non-adjacent ranges, by start.
#[derive(Debug, Clone, Default)]
pub(crate) struct RangeSet {
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Adds `[start, end)`, merging with what it touches.
    pub(crate) fn insert(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        if let Some((&from, &to)) = self.ranges.range(..=start).next_back()
            && to >= start
        {
            start = from;
            end = end.max(to);
        }
        while let Some((&from, &to)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&from);
            end = end.max(to);
        }
        self.ranges.insert(start, end);
    }

    pub(crate) fn contains(&self, lba: u64) -> bool {
        self.ranges.range(..=lba).next_back().is_some_and(|(_, &end)| end > lba)
    }

    /// Whether `[start, end)` lies in one range.
    pub(crate) fn covers(&self, start: u64, end: u64) -> bool {
        self.ranges.range(..=start).next_back().is_some_and(|(_, &to)| to >= end)
    }

    /// Whether any range touches `[start, end)`.
    pub(crate) fn intersects(&self, start: u64, end: u64) -> bool {
        self.first_at_or_after(start).is_some_and(|range| range.start < end)
    }

    /// The range that holds `lba`, or the next one after it.
    pub(crate) fn first_at_or_after(&self, lba: u64) -> Option<Range<u64>> {
        if let Some((&from, &to)) = self.ranges.range(..=lba).next_back()
            && to > lba
        {
            return Some(from..to);
        }
        self.ranges.range(lba..).next().map(|(&from, &to)| from..to)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "LBAs below 96")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A bitmap is the oracle.
        #[test]
        fn behaves_as_a_set(inserts in proptest::collection::vec((0_u64..64, 0_u64..16), 0..20)) {
            let mut set = RangeSet::default();
            let mut oracle = [false; 96];
            for (start, len) in inserts {
                set.insert(start, start + len);
                for bit in &mut oracle[start as usize..(start + len) as usize] {
                    *bit = true;
                }
                for lba in 0..95 {
                    prop_assert_eq!(set.contains(lba), oracle[lba as usize]);
                    let next = set.first_at_or_after(lba);
                    let expected = (lba..96).find(|l| oracle[*l as usize]);
                    prop_assert_eq!(next.map(|r| r.start.max(lba)), expected);
                    for end in lba + 1..96 {
                        let bits = &oracle[lba as usize..end as usize];
                        prop_assert_eq!(set.covers(lba, end), bits.iter().all(|b| *b));
                        prop_assert_eq!(set.intersects(lba, end), bits.iter().any(|b| *b));
                    }
                }
            }
        }
    }
}
