//! Every bench target in its quick mode: that they run, not what they say.

use std::fs;

use anyhow::Result;

use crate::{root, shell, tools};

/// What the tests are built with, so that nothing is compiled for this alone: what a bench says here is
/// not looked at.
const PROFILE: &[&str] = &["--profile", "test"];
/// Longest time for one target.
const SECONDS_MAX: &str = "300";

pub(crate) fn run() -> Result<()> {
    // One of the targets compares with other servers.
    tools::ensure()?;
    let mut build = vec!["bench"];
    build.extend_from_slice(PROFILE);
    build.extend_from_slice(&["-p", "sealvol-benches", "--no-run"]);
    shell::run(&mut shell::cargo(&build))?;
    let manifest = fs::read_to_string(root().join("benches/Cargo.toml"))?;
    let targets = bench_targets(&manifest);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    for target in &targets {
        let bench = ["bench", "--quiet", "-p", "sealvol-benches", "--bench", target];
        let (verb, rest) = bench.split_at(1);
        let bench = [verb, PROFILE, rest].concat();
        let limit = ["--kill-after=10", SECONDS_MAX, &cargo];
        let mut command = shell::command("timeout", &[&limit[..], &bench].concat());
        let (time, outcome) = shell::timed(|| shell::run(command.env("SEALVOL_BENCH_QUICK", "1")));
        outcome?;
        println!("bench-smoke: {target} took {} s", time.as_secs());
    }
    println!("bench-smoke: {} targets run", targets.len());
    Ok(())
}

/// The names of the `[[bench]]` targets.
fn bench_targets(manifest: &str) -> Vec<String> {
    let tables = manifest.split("[[bench]]").skip(1);
    tables
        .filter_map(|table| {
            table.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found() {
        let manifest =
            "[package]\nname = \"p\"\n[[bench]]\nname = \"a\"\n\n[[bench]]\nname = \"b\"\n";
        assert_eq!(bench_targets(manifest), ["a", "b"]);
        assert!(bench_targets("[package]\nname = \"p\"\n").is_empty());
    }
}
