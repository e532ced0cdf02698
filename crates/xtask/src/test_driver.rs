//! `cargo xtask test`: the one command that a person with a fresh clone runs.

use anyhow::{Result, bail};

use crate::{shell, tools};

/// Sums over all test binaries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Totals {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let (number, what) = part.split_once(' ').unwrap_or_default();
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Runs every test: unit, property, crash, interop and documentation tests.
pub(crate) fn run(more: &[&str]) -> Result<()> {
    tools::ensure()?;
    let mut totals = Totals::default();
    // Goes on after a failing binary, so that one run tells everything.
    let mut args = vec!["test", "--workspace", "--no-fail-fast"];
    args.extend_from_slice(more);
    let (time, outcome) =
        shell::timed(|| shell::watch(&mut shell::cargo(&args), |line| totals.add(line)));
    let succeeded = outcome?;
    println!("tests took {} s", time.as_secs());
    let Totals { passed, failed, skipped } = totals;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if !succeeded {
        bail!("the tests failed");
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        let mut totals = Totals::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        ] {
            totals.add(line);
        }
        assert_eq!(totals, Totals { passed: 4, failed: 2, skipped: 1 });
    }
}
