//! Bytes in from a file or standard input, out to a file or standard output. Secret bytes pass
//! through buffers that are wiped, and never go to a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sealvol::kms::model::SecretBlob;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::exit::{self, Fail};

/// Longest plaintext that a key encrypts itself.
pub(super) const PLAINTEXT_MAX: usize = 4096;
/// Longest ciphertext.
pub(super) const CIPHERTEXT_MAX: usize = 6144;
/// More than any policy may have.
const TEXT_MAX: usize = 1 << 20;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Files are for their owner only.
    Secret,
    Public,
}

/// Where an answer's bytes go.
#[derive(Debug, clap::Args)]
pub(super) struct OutArgs {
    /// Write the raw bytes to FILE, which must not exist, instead of to standard output
    #[arg(long, env = "SEALVOL_OUT", hide_env = true, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl OutArgs {
    pub(super) fn path(&self) -> Option<&Path> {
        self.out.as_deref()
    }
}

/// Reads a file, or standard input if the name is `-`.
pub(super) fn read(path: &str, len_max: usize, what: &str) -> anyhow::Result<SecretBlob> {
    let mut file = open(path).map_err(|e| unreadable(path, &e))?;
    // Of its final length at once, and one more byte to see that there is none.
    let mut bytes = Zeroizing::new(vec![0; len_max + 1]);
    let mut len = 0;
    while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(path, &e)),
        }
    }
    if len > len_max {
        return Err(Fail::error(
            exit::USAGE,
            format!("{} has more than {len_max} bytes, too many for {what}", name(path)),
        ));
    }
    bytes.truncate(len);
    Ok(SecretBlob::new(bytes))
}

/// Reads a text, such as a policy.
pub(super) fn read_text(path: &str, what: &str) -> anyhow::Result<String> {
    let bytes = read(path, TEXT_MAX, what)?;
    let text = std::str::from_utf8(bytes.expose_secret());
    Ok(text
        .map_err(|_| Fail::error(exit::USAGE, format!("{} is not text in UTF-8", name(path))))?
        .to_owned())
}

fn open(path: &str) -> io::Result<File> {
    match path {
        // Not through the standard library's buffer, which is not wiped.
        "-" => Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
        _ => File::open(path),
    }
}

fn name(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

fn unreadable(path: &str, error: &io::Error) -> anyhow::Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound => exit::NOT_FOUND,
        io::ErrorKind::PermissionDenied => exit::DENIED,
        _ => exit::GENERAL,
    };
    Fail::error(code, format!("{} cannot be read: {error}; check its path", name(path)))
}

/// Refuses what would go wrong, before the KMS is asked.
pub(super) fn check_out(out: Option<&Path>, option: &str) -> anyhow::Result<()> {
    match out {
        Some(path) if path.symlink_metadata().is_ok_and(|found| !is_special(&found)) => {
            Err(taken(path, option))
        }
        None if io::stdout().is_terminal() => Err(Fail::error(
            exit::USAGE,
            format!(
                "raw bytes and keys are not written to a terminal: use {option} FILE, or a pipe"
            ),
        )),
        _ => Ok(()),
    }
}

/// Devices and pipes exist before they are written to.
fn is_special(found: &std::fs::Metadata) -> bool {
    let kind = found.file_type();
    !kind.is_file() && !kind.is_dir() && !kind.is_symlink()
}

fn taken(path: &Path, option: &str) -> anyhow::Error {
    let text = format!("{} exists already: remove it, or give {option} another", path.display());
    Fail::error(exit::CONFLICT, text)
}

/// Writes the bytes raw: to a new file, durably, or to standard output.
pub(super) fn write(
    out: Option<&Path>,
    option: &str,
    kind: Kind,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let Some(path) = out else { return to_stdout(bytes) };
    let special = path.symlink_metadata().is_ok_and(|found| is_special(&found));
    let mode = if kind == Kind::Secret { 0o600 } else { 0o644 };
    let mut file =
        OpenOptions::new().write(true).create_new(!special).mode(mode).open(path).map_err(|e| {
            match e.kind() {
                io::ErrorKind::AlreadyExists => taken(path, option),
                _ => anyhow::Error::from(e).context(format!("cannot write {}", path.display())),
            }
        })?;
    let written =
        file.write_all(bytes).and_then(|()| if special { Ok(()) } else { file.sync_all() });
    written.map_err(|e| {
        if !special {
            // Half a key is worse than none; the first error is the one to tell.
            let _removed = std::fs::remove_file(path).is_ok();
        }
        anyhow::Error::from(e).context(format!("cannot write {}", path.display()))
    })
}

/// Writes AWS's answer, which holds a secret, as JSON.
pub(super) fn write_json(answer: &impl Serialize) -> anyhow::Result<()> {
    // Longer than any answer: a buffer that grows would leave copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(16 * 1024));
    serde_json::to_writer(&mut *line, answer).context("write JSON")?;
    line.push(b'\n');
    to_stdout(&line)
}

/// Not through the standard library's buffer, which is not wiped.
fn to_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    match stdout.and_then(|mut stdout| stdout.write_all(bytes)) {
        // A reader that went away has seen what it wanted.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(e).context("write to standard output")
        }
        _ => Ok(()),
    }
}
