//! Rules of the source files that no other tool knows.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{root, shell};

/// Crate roots that do not forbid unsafe code, and what they say instead.
const UNSAFE_HOMES: &[(&str, &str)] = &[
    ("crates/storage/src/lib.rs", "#![deny(unsafe_code)]"),
    ("crates/sys/src/lib.rs", "#![expect(unsafe_code, reason ="),
    ("crates/vhost/src/lib.rs", "#![deny(unsafe_code)]"),
];

/// Byte order is part of a format: the wrong one's conversions are denied where it is written.
const BYTE_ORDERS: &[(&str, &str)] = &[
    ("crates/format/src/lib.rs", "#![deny(clippy::big_endian_bytes)]"),
    ("crates/nbd/src/lib.rs", "#![deny(clippy::little_endian_bytes)]"),
];

/// Directories of one machine. Written in two halves, lest this file break its own rule.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/tmp/ba", "sh_jobs"),
];

const FORMAT_DOC: &str = "crates/format/FORMAT.md";
const HASH_START: &str = "<!-- format-source: ";
const HASH_END: &str = " -->";

pub(crate) fn run(fix: bool) -> Result<()> {
    let files = files()?;
    let mut problems = Vec::new();
    for path in &files {
        // Files that are deleted but not committed, and binary ones, say nothing.
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        check_text(path, &text, &mut problems);
    }
    format_hash(fix, &mut problems)?;
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} files are not tidy", problems.len());
    }
    println!("tidy: {} files", files.len());
    Ok(())
}

/// What git tracks or would track.
fn files() -> Result<Vec<String>> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = shell::output(&mut shell::command("git", &args))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn check_text(path: &str, text: &str, problems: &mut Vec<String>) {
    let mut problem = |text: &str| problems.push(format!("{path}: {text}"));
    let is_rust = path.ends_with(".rs");
    if is_rust && !text.starts_with("//!") {
        problem("open with a `//!` that says what the file owns");
    }
    let is_source =
        is_rust || path.ends_with(".toml") || path.ends_with(".sh") || path == ".ci/run";
    if is_source && let Some(line) = text.lines().position(|line| !line.is_ascii()) {
        problem(&format!("line {}: not ASCII", line + 1));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(found) = MACHINE_PATHS.iter().find(|found| names_path(line, found)) {
            problem(&format!("line {}: names {found}, a path of one machine", number + 1));
        }
    }
    if is_crate_root(path) {
        let home = UNSAFE_HOMES.iter().find(|(home, _)| *home == path);
        let wanted = home.map_or("#![forbid(unsafe_code)]", |(_, wanted)| *wanted);
        if !text.lines().any(|line| line.starts_with(wanted)) {
            problem(&format!("the crate's root lacks `{wanted}`"));
        }
        let order = BYTE_ORDERS.iter().find(|(home, _)| *home == path);
        if let Some((_, wanted)) = order.filter(|(_, wanted)| !text.contains(wanted)) {
            problem(&format!("the crate's root lacks `{wanted}`"));
        }
    }
    let member = path.ends_with("/Cargo.toml") && !path.starts_with("fuzz/");
    if member && !text.contains("[lints]\nworkspace = true") {
        problem("does not take the workspace's lints");
    }
}

/// Whether `line` has an absolute path that begins with `path`.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}*".contains(c))
    })
}

fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["crates", _, "src", file] => matches!(*file, "lib.rs" | "main.rs"),
        ["fuzz", "src", file] | ["benches" | "tests", "support", file] => *file == "lib.rs",
        _ => false,
    }
}

/// FORMAT.md names the sources that it describes by their hash, so that a change of the format's code
/// makes its author look at the document.
fn format_hash(fix: bool, problems: &mut Vec<String>) -> Result<()> {
    let path = root().join(FORMAT_DOC);
    let Ok(text) = fs::read_to_string(&path) else {
        println!("tidy: {FORMAT_DOC} is not there yet");
        return Ok(());
    };
    let hash = source_hash(&root().join("crates/format/src"))?;
    let wanted = format!("{HASH_START}{hash}{HASH_END}");
    let Some(line) = text.lines().find(|line| line.starts_with(HASH_START)) else {
        if fix {
            fs::write(&path, format!("{}\n\n{wanted}\n", text.trim_end()))?;
        } else {
            problems.push(format!("{FORMAT_DOC}: has no line `{HASH_START}...{HASH_END}`"));
        }
        return Ok(());
    };
    if line != wanted {
        if fix {
            fs::write(&path, text.replace(line, &wanted))?;
            println!("tidy: {FORMAT_DOC} now goes with {hash}");
        } else {
            problems.push(format!(
                "{FORMAT_DOC}: crates/format/src has changed since it was last compared; read both, \
                 then run `cargo xtask tidy --fix`"
            ));
        }
    }
    Ok(())
}

/// SHA-256 over names and contents, without what follows `#[cfg(test)]`: tests change no format.
fn source_hash(dir: &Path) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            bail!("{}: source_hash does not look into folders", entry.path().display());
        }
        names.push(name);
    }
    names.sort();
    let mut hash = Sha256::new();
    for name in names {
        let text = fs::read_to_string(dir.join(&name))?;
        let code = text.split("\n#[cfg(test)]\n").next().unwrap_or(&text);
        for part in [name.as_bytes(), code.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        check_text(path, text, &mut problems);
        problems
    }

    #[test]
    fn a_source_opens_with_its_purpose_in_ascii() {
        assert!(problems("crates/x/src/a.rs", "//! Owns a.\n").is_empty());
        assert_eq!(problems("crates/x/src/a.rs", "use b;\n").len(), 1);
        assert_eq!(problems("crates/x/src/a.rs", "//! Owns \u{e4}.\n").len(), 1);
        assert!(problems("notes.md", "\u{e4}\n").is_empty());
    }

    #[test]
    fn a_crate_root_rules_out_unsafe_code() {
        assert!(problems("crates/x/src/lib.rs", "//! X.\n#![forbid(unsafe_code)]\n").is_empty());
        assert_eq!(problems("crates/x/src/lib.rs", "//! X.\n").len(), 1);
        assert_eq!(problems("crates/sys/src/lib.rs", "//! X.\n#![forbid(unsafe_code)]\n").len(), 1);
        let format = "//! X.\n#![forbid(unsafe_code)]\n";
        assert_eq!(problems("crates/format/src/lib.rs", format).len(), 1);
    }

    #[test]
    fn machine_paths_are_found_and_relative_ones_are_not() {
        for path in MACHINE_PATHS {
            assert_eq!(problems("notes.md", &format!("see {path}x")).len(), 1, "{path}");
            assert!(problems("notes.md", &format!("see a{path}x")).is_empty(), "{path}");
        }
    }
}
