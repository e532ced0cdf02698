//! Everything that CI runs, in its order: cheap checks first, the tests last, so that their closing
//! lines end the log.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::shell::{cargo, run as sh, timed};
use crate::{arrows, bench_smoke, fuzz_smoke, test_driver, tidy};

/// A step's name and what it does.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("tidy", || tidy::run(false)),
    ("arrows", arrows::run),
    ("clippy", clippy),
    ("docs", docs),
    ("build", || sh(&mut cargo(&["build", "--release", "--locked"]))),
    ("fuzz-smoke", || fuzz_smoke::run(fuzz_smoke::SECONDS_DEFAULT)),
    ("bench-smoke", bench_smoke::run),
];

/// Runs the steps, and stops at the first that fails. `.ci/run` leaves the tests out here, because
/// it calls the README's own command for them.
pub(crate) fn run(tests: bool) -> Result<()> {
    let test: Step = ("test", || test_driver::run(&[]));
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for (name, step) in STEPS.iter().chain(tests.then_some(&test)) {
        println!("== {name}");
        let (time, outcome) = timed(step);
        times.push((name, time));
        if outcome.is_err() {
            print_times(&times);
        }
        outcome.with_context(|| format!("step {name}"))?;
        println!("== {name}: {:.1} s", time.as_secs_f64());
    }
    print_times(&times);
    Ok(())
}

fn print_times(times: &[(&str, Duration)]) {
    println!("== times");
    for (name, time) in times {
        println!("{:>8.1} s  {name}", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("{:>8.1} s  together", total.as_secs_f64());
}

fn fmt() -> Result<()> {
    sh(&mut cargo(&["fmt", "--all", "--check"]))?;
    sh(&mut cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn clippy() -> Result<()> {
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    sh(&mut cargo(&args))
}

fn docs() -> Result<()> {
    sh(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}
