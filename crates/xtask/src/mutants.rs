//! Takes the engine's data-guarding decisions out of a copy of the code, one at a time, and asks the
//! tests that are said to guard them to fail. A mutant that survives is a decision without a test.

mod list;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{root, shell};

/// One decision taken out.
struct Mutant {
    /// Number in the design, as in ARCHITECTURE.md, section 7.
    decision: u32,
    what: &'static str,
    file: &'static str,
    /// Occurs exactly once.
    find: &'static str,
    replace: &'static str,
    /// Arguments of `cargo test`; one of these runs must fail.
    tests: &'static [&'static str],
}

/// Longest time of one build or test run: a mutant that hangs is found, too.
const LIMIT_SECONDS: &str = "300";

/// Runs the mutants whose description contains `filter`.
pub(crate) fn run(filter: &str) -> Result<()> {
    let tree = copy_tree()?;
    let mut survivors = Vec::new();
    let chosen: Vec<&Mutant> = list::MUTANTS.iter().filter(|m| name(m).contains(filter)).collect();
    for mutant in &chosen {
        let (time, outcome) = shell::timed(|| is_found(&tree, mutant));
        let verdict = match outcome.with_context(|| name(mutant))? {
            Some(by) => format!("found by {by}"),
            None => {
                survivors.push(name(mutant));
                "SURVIVED".to_owned()
            }
        };
        println!("{:>6.0} s  {}: {verdict}", time.as_secs_f64(), name(mutant));
    }
    if !survivors.is_empty() {
        bail!("{} of {} mutants survived: {}", survivors.len(), chosen.len(), survivors.join("; "));
    }
    println!("mutants: {} decisions taken out, each found by a test", chosen.len());
    Ok(())
}

fn name(mutant: &Mutant) -> String {
    format!("decision {}: {}", mutant.decision, mutant.what)
}

/// The tracked files as they are now, in a directory of their own.
fn copy_tree() -> Result<PathBuf> {
    let (from, to) = (root(), root().join("target/mutants/tree"));
    let listed = shell::output(&mut shell::command(
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard"],
    ))?;
    for file in listed.lines() {
        let (source, target) = (from.join(file), to.join(file));
        let Ok(bytes) = fs::read(&source) else { continue };
        // What has not changed keeps its time, so that cargo need not build it again.
        if fs::read(&target).is_ok_and(|old| old == bytes) {
            continue;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &bytes).with_context(|| target.display().to_string())?;
    }
    Ok(to)
}

/// Applies a mutant, runs its tests, and takes it back. The name of the run that failed.
fn is_found(tree: &Path, mutant: &Mutant) -> Result<Option<String>> {
    let path = tree.join(mutant.file);
    let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let count = source.matches(mutant.find).count();
    if count != 1 {
        bail!("{} holds its text {count} times: the code has moved on", mutant.file);
    }
    fs::write(&path, source.replace(mutant.find, mutant.replace))?;
    let outcome = (|| {
        for test in mutant.tests {
            if !passes(tree, test)? {
                return Ok(Some((*test).to_owned()));
            }
        }
        Ok(None)
    })();
    fs::write(&path, source)?;
    outcome
}

fn passes(tree: &Path, test: &str) -> Result<bool> {
    let cargo = |args: &[&str], words: &str| {
        // From coreutils: it ends cargo and the test program together.
        let mut command = Command::new("timeout");
        command.arg(LIMIT_SECONDS);
        command.arg(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        command.args(args).args(words.split(' ')).current_dir(tree).stdin(Stdio::null());
        command.env("CARGO_TARGET_DIR", root().join("target/mutants/target"));
        command.env("SEALVOL_CRASH_POINTS", "12000");
        command
    };
    // A mutant that does not compile proves nothing.
    if !cargo(&["test", "--no-run", "--quiet"], test).status()?.success() {
        bail!("the mutant does not compile");
    }
    let mut command = cargo(&["test", "--quiet"], test);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_its_place_in_the_code() {
        for mutant in list::MUTANTS {
            let source = fs::read_to_string(root().join(mutant.file)).unwrap();
            assert_eq!(source.matches(mutant.find).count(), 1, "{}", name(mutant));
            assert_ne!(mutant.find, mutant.replace, "{}", name(mutant));
        }
    }
}
