//! Results on stdout, errors on stderr, for people or as JSON.

use std::io::Write as _;

use anyhow::Context as _;
use serde::Serialize;

/// Writes to stdout. A reader that went away is no error: it has seen what it wanted.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(e).context("write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value).context("write JSON")?;
    line.push('\n');
    text(&line)
}

/// Tells a person something beside the result, on stderr.
pub(crate) fn note(note: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell.
    let _outcome = writeln!(stderr, "{note}");
}

#[derive(Serialize)]
struct ErrorJson {
    error: String,
    causes: Vec<String>,
    exit_code: u8,
}

/// Tells what went wrong, with every cause.
pub(crate) fn error(error: &anyhow::Error, code: u8, as_json: bool) {
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    if as_json {
        let value = ErrorJson { error: error.to_string(), causes, exit_code: code };
        note(&serde_json::to_string(&value).unwrap_or_default());
        return;
    }
    let mut lines = format!("error: {error}");
    for cause in causes {
        lines.push_str(&format!("\n  cause: {cause}"));
    }
    note(&lines);
}
