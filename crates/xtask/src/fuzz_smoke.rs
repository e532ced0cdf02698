//! Every fuzz target for a little while, from its committed seeds, on the stable toolchain.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::{root, shell};

/// How long each target runs unless the caller says otherwise.
pub(crate) const SECONDS_DEFAULT: u64 = 6;
/// The cargo-fuzz that CI installs where there is none.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

pub(crate) fn run(seconds: u64) -> Result<()> {
    if !shell::works(&mut shell::cargo(&["fuzz", "--version"])) {
        let version = ["--version", CARGO_FUZZ_VERSION];
        let args = [&["install", "cargo-fuzz", "--locked"][..], &version].concat();
        shell::run(&mut shell::cargo(&args))?;
    }
    // The sanitizers need a nightly compiler; coverage-guided fuzzing does not.
    shell::run(&mut shell::cargo(&["fuzz", "build", "-s", "none"]))?;
    let listed = shell::output(&mut shell::cargo(&["fuzz", "list"]))?;
    let targets: Vec<&str> = listed.lines().collect();
    let binaries = root().join("fuzz/target").join(host()?).join("release");

    // As many at a time as there are cores; each has one thread.
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(targets.len().max(1));
    let queue = Mutex::new(targets.iter());
    let findings = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(target) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                    let outcome = smoke(&binaries.join(target), target, seconds);
                    if let (Err(error), Ok(mut findings)) = (outcome, findings.lock()) {
                        eprintln!("{target}: {error:#}");
                        findings.push((*target).to_owned());
                    }
                }
            });
        }
    });
    let findings = findings.into_inner().unwrap_or_default();
    if !findings.is_empty() {
        bail!("findings in: {}", findings.join(", "));
    }
    println!("fuzz-smoke: {} targets, {seconds} s each, no finding", targets.len());
    Ok(())
}

/// Runs one target. What it finds of interest goes under `target/`, so that the tree stays as it is.
fn smoke(binary: &Path, target: &str, seconds: u64) -> Result<()> {
    let root = root();
    let found = root.join("target/fuzz-smoke").join(target);
    let artifacts = root.join("fuzz/artifacts").join(target);
    for dir in [&found, &artifacts] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let log = root.join("target/fuzz-smoke").join(format!("{target}.log"));
    let file = fs::File::create(&log)?;
    let mut command = shell::command(&binary.to_string_lossy(), &[]);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-rss_limit_mb=2048", "-timeout=30", "-max_len=4096", "-print_final_stats=1"])
        .arg(&found)
        .arg(root.join("fuzz/corpus").join(target))
        // What was once a finding runs first, with the seeds.
        .args(Some(root.join("fuzz/regressions").join(target)).filter(|path| path.is_dir()))
        .stdout(file.try_clone()?)
        .stderr(file);
    let status = command.status().with_context(|| binary.display().to_string())?;
    let text = fs::read(&log)?;
    let text = String::from_utf8_lossy(&text);
    if !status.success() {
        // From the panic on, if there is one; libFuzzer's own report is at the end.
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.iter().position(|line| line.contains("panicked at"));
        let start = start.unwrap_or(lines.len().saturating_sub(40));
        for line in lines.get(start..).unwrap_or_default() {
            eprintln!("{target}| {line}");
        }
        bail!(
            "{status}; run it again with: cargo fuzz run -s none {target} fuzz/artifacts/{target}/FILE"
        );
    }
    let stat = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()
    };
    let coverage =
        text.lines().rev().find_map(|line| line.split(" cov: ").nth(1)?.split(' ').next());
    println!(
        "  {target}: {} runs, {} edges",
        stat("stat::number_of_executed_units").unwrap_or("?"),
        coverage.unwrap_or("?"),
    );
    Ok(())
}

/// The triple that cargo-fuzz builds for.
fn host() -> Result<String> {
    let text = shell::output(&mut shell::command("rustc", &["-vV"]))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say its host")
}
