//! `cargo xtask VERB`: the checks that keep the repository as ARCHITECTURE.md says it is, and the
//! drivers of tests, fuzzing and benches. It knows the sources as text and the crates by name.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool reports")]

mod arrows;
mod bench_smoke;
mod ci;
mod fuzz_smoke;
mod mutants;
mod shell;
mod test_driver;
mod tidy;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask VERB

  test [ARGS...]         installs what the tests need, then runs them all; ARGS go to cargo test
  ci [--without-tests]   everything that CI runs
  arrows                 no crate depends on one that it must not know
  tidy [--fix]           source files, crate roots, and the hash in FORMAT.md
  fuzz-smoke [SECONDS]   every fuzz target for SECONDS (default 10)
  mutants [TEXT]         takes each decision that guards data out of a copy of the code (or those
                         whose description holds TEXT) and asks for a test that fails
  bench-smoke            every bench target, in its quick mode
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["test", rest @ ..] => test_driver::run(rest),
        ["ci"] => ci::run(true),
        ["ci", "--without-tests"] => ci::run(false),
        ["arrows"] => arrows::run(),
        ["tidy"] => tidy::run(false),
        ["tidy", "--fix"] => tidy::run(true),
        ["fuzz-smoke"] => fuzz_smoke::run(fuzz_smoke::SECONDS_DEFAULT),
        ["fuzz-smoke", seconds] => {
            fuzz_smoke::run(seconds.parse().with_context(|| format!("{seconds}: not seconds"))?)
        }
        ["mutants"] => mutants::run(""),
        ["mutants", filter] => mutants::run(filter),
        ["bench-smoke"] => bench_smoke::run(),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            bail!("no such verb: '{}'", args.join(" "))
        }
    }
}

/// The repository's root.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}
