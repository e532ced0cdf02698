//! Runs the binary.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_sealvol");

/// A directory to run in; `./sealvol-data` in it has the KMS.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

/// What a run ended with.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// It failed with this code, and told all of these.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "'{word}' is missing: {self:?}");
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SEALVOL_") {
                command.env_remove(name);
            }
        }
        command.args(line.split_whitespace()).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs `sealvol` with the words of `line`.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.command(line).output().unwrap().into()
    }

    /// An image with data, zeros and a hole.
    pub(crate) fn image(&self, name: &str, len: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut bytes = vec![0; len];
        for (at, block) in bytes.chunks_mut(4096).enumerate() {
            if at % 5 == 3 {
                continue;
            }
            for word in block.chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
            }
        }
        std::fs::write(self.path(name), &bytes).unwrap();
        bytes
    }

    /// Starts `sealvol volume serve` and waits until it is ready.
    pub(crate) fn serve(&self, line: &str) -> Served {
        Served::start(&mut self.command(&format!("volume serve {line}")))
    }
}

/// A running `sealvol volume serve`.
pub(crate) struct Served {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) uri: String,
    /// What it printed until it was ready.
    pub(crate) said: String,
}

impl Served {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let uri = loop {
            let mut row = String::new();
            if stdout.read_line(&mut row).unwrap() == 0 {
                let mut err = String::new();
                child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
                panic!("it ended before it was ready: {said} {err}");
            }
            said.push_str(&row);
            if let Some(uri) = row.strip_prefix("ready: ") {
                break uri.trim().to_owned();
            }
        };
        Self { child, stdout, uri, said }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end; the exit code (or minus the signal) and stderr.
    pub(crate) fn wait(mut self) -> (i32, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = self.child.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        (status.code().unwrap_or(-signal), err)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Gone already is as good.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
}

/// Runs a tool of the Debian package `package`.
#[track_caller]
pub(crate) fn tool(package: &str, name: &str, args: &[&str]) -> String {
    let output = Command::new(name)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{name} (Debian package {package}) does not run: {e}"));
    let ran = Ran::from(output);
    assert_eq!(ran.code, 0, "{name} {args:?}: {ran:?}");
    ran.out
}
