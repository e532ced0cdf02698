//! Paired rows: their ratios, the bars they must meet, the table and the JSON.

use serde::Serialize;

use crate::stats::{Spread, median};
use crate::{Machine, Result};

/// What a ratio must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
    /// Only reported.
    None,
}

impl Bar {
    /// Whether `ratio` meets it; `None` where there is nothing to meet.
    #[must_use]
    pub fn is_met_by(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bar) => Some(ratio >= bar),
            Self::AtMost(bar) => Some(ratio <= bar),
            Self::None => None,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::AtLeast(bar) => format!(">= {bar}"),
            Self::AtMost(bar) => format!("<= {bar}"),
            Self::None => "-".to_owned(),
        };
        f.pad(&text)
    }
}

/// One line of the table: repeats of two neighbouring turns.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was done.
    pub name: String,
    /// Unit of `plain` and `sealed`.
    pub unit: &'static str,
    /// The plain file's rate (or what stands for it), by repeat.
    pub plain: Vec<f64>,
    /// The sealed volume's rate, by repeat.
    pub sealed: Vec<f64>,
    /// Their ratios, by repeat.
    pub ratios: Vec<f64>,
    /// What the median ratio must be.
    pub bar: Bar,
    /// Anything else worth saying.
    pub note: String,
}

impl Row {
    /// An empty row.
    pub fn new(name: impl Into<String>, unit: &'static str, bar: Bar) -> Self {
        Self {
            name: name.into(),
            unit,
            plain: Vec::new(),
            sealed: Vec::new(),
            ratios: Vec::new(),
            bar,
            note: String::new(),
        }
    }

    /// Adds a repeat whose ratio is sealed over plain: a gain in rate.
    pub fn push(&mut self, plain: f64, sealed: f64) {
        self.push_ratio(plain, sealed, sealed / plain.max(1e-9));
    }

    /// Adds a repeat whose ratio is that of the times: how much longer the sealed side takes.
    pub fn push_times(&mut self, plain: f64, sealed: f64) {
        self.push_ratio(plain, sealed, plain / sealed.max(1e-9));
    }

    /// Adds a repeat with a ratio of its own.
    pub fn push_ratio(&mut self, plain: f64, sealed: f64, ratio: f64) {
        self.plain.push(plain);
        self.sealed.push(sealed);
        self.ratios.push(ratio);
    }

    /// The ratios' spread.
    #[must_use]
    pub fn spread(&self) -> Spread {
        Spread::of(&self.ratios)
    }

    /// Whether the median meets the bar.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        self.bar.is_met_by(self.spread().median)
    }

    /// The row as a line of the table.
    #[must_use]
    pub fn line(&self) -> String {
        let spread = self.spread();
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        format!(
            "{:<44} {:>12.0} {:>12.0} {:<6} {:>7.2} {:>7.2} {:>7.2}  {:>7} {:<6} {}",
            self.name,
            median(&self.plain),
            median(&self.sealed),
            self.unit,
            spread.min,
            spread.median,
            spread.max,
            self.bar,
            verdict,
            self.note,
        )
    }

    /// The heading over [`line`](Self::line).
    #[must_use]
    pub fn heading() -> String {
        format!(
            "{:<44} {:>12} {:>12} {:<6} {:>7} {:>7} {:>7}  {:>7} {:<6} note",
            "row", "plain", "sealed", "unit", "min", "MEDIAN", "max", "bar", "",
        )
    }
}

/// Everything a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// A smoke run, whose figures mean nothing.
    pub quick: bool,
    /// What.
    pub rows: Vec<Row>,
}

impl Report {
    /// The report as JSON, each row with the spread of its ratios and the verdict.
    ///
    /// # Errors
    /// When a figure cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        let mut value = serde_json::to_value(self)?;
        let rows = value.get_mut("rows").and_then(serde_json::Value::as_array_mut);
        for (json, row) in rows.into_iter().flatten().zip(&self.rows) {
            if let Some(object) = json.as_object_mut() {
                object.insert("spread".into(), serde_json::to_value(row.spread())?);
                object.insert("met".into(), serde_json::to_value(row.is_met())?);
            }
        }
        Ok(serde_json::to_string_pretty(&value)?)
    }

    /// Names of the rows that missed their bar.
    #[must_use]
    pub fn missed(&self) -> Vec<&str> {
        let missed = self.rows.iter().filter(|row| row.is_met() == Some(false));
        missed.map(|row| row.name.as_str()).collect()
    }
}

/// Runs `plain` and `sealed` in turn, `repeats` times, in ABBA order, and hands each pair to `take`.
///
/// # Errors
/// As the turns.
pub fn ab_order<T>(
    repeats: usize,
    mut plain: impl FnMut(usize) -> Result<T>,
    mut sealed: impl FnMut(usize) -> Result<T>,
    mut take: impl FnMut(T, T),
) -> Result<()> {
    for repeat in 0..repeats {
        if repeat.is_multiple_of(2) {
            let first = plain(repeat)?;
            take(first, sealed(repeat)?);
        } else {
            let first = sealed(repeat)?;
            take(plain(repeat)?, first);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_judge_the_median() {
        let mut row = Row::new("x", "op/s", Bar::AtLeast(2.0));
        for sealed in [10.0, 20.0, 30.0] {
            row.push(10.0, sealed);
        }
        assert_eq!(row.is_met(), Some(true));
        row.bar = Bar::AtMost(1.5);
        assert_eq!(row.is_met(), Some(false));
        row.bar = Bar::None;
        assert_eq!(row.is_met(), None);
    }

    #[test]
    fn turns_alternate_and_keep_their_sides() {
        let order = std::cell::RefCell::new(Vec::new());
        let mut pairs = Vec::new();
        let turn = |name: char| {
            order.borrow_mut().push(name);
            Ok(name)
        };
        ab_order(2, |_| turn('p'), |_| turn('s'), |p, s| pairs.push((p, s))).unwrap();
        assert_eq!(*order.borrow(), ['p', 's', 's', 'p']);
        assert_eq!(pairs, [('p', 's'), ('p', 's')]);
    }
}
