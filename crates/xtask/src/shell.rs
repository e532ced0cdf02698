//! Running other programs from the repository's root.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::root;

/// A program with arguments, run in the root, without input.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The same `cargo` that runs this.
pub(crate) fn cargo(args: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), args)
}

/// Runs to success, output as it comes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", text(command));
    let status = command.status().with_context(|| text(command))?;
    if !status.success() {
        bail!("`{}` failed: {status}", text(command));
    }
    Ok(())
}

/// Runs to success and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| text(command))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", text(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| text(command))
}

/// Runs with output as it comes, and shows each line to `line` as well. Tells whether it succeeded.
pub(crate) fn watch(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    println!("$ {}", text(command));
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| text(command))?;
    let stdout = child.stdout.take().context("the child's output is piped")?;
    let mut out = std::io::stdout().lock();
    for text in BufReader::new(stdout).split(b'\n') {
        let text = String::from_utf8_lossy(&text?).into_owned();
        writeln!(out, "{text}")?;
        line(&text);
    }
    drop(out);
    Ok(child.wait()?.success())
}

/// Whether a program can be run at all: silent.
pub(crate) fn works(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// How long `work` took, and what it came to.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    #[expect(clippy::disallowed_methods, reason = "tells people how long a step took")]
    let start = Instant::now();
    let outcome = work();
    (start.elapsed(), outcome)
}

fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    // The path of cargo tells nobody anything.
    let text = words.join(" ");
    match words.first().and_then(|program| program.rsplit('/').next()) {
        Some("cargo") => format!("cargo {}", words.get(1..).unwrap_or_default().join(" ")),
        _ => text,
    }
}
