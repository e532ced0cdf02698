//! The `sealvol` command as a child process.
//!
//! The tests run the binary that `SEALVOL_BIN` names; without it they have cargo build one in the
//! profile that they themselves were built in, once a process.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use crate::tools::run;

/// The binary.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("SEALVOL_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--package", "sealvol-cli", "--bin", "sealvol", "--profile", "test"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = run(&mut command);
    let messages = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let executable = messages.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    executable.unwrap_or_else(|| panic!("cargo built no executable: {messages}")).into()
}

/// A directory with a KMS and volumes of its own.
#[derive(Debug)]
pub struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    /// A new one under `parent`, on a real disk. Socket paths must stay short: sockets are elsewhere.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(parent: &str) -> Self {
        Self { dir: tempfile::tempdir_in(parent).expect("a temporary directory") }
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command with the sandbox's KMS and nothing from the environment.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SEALVOL_") {
                command.env_remove(name);
            }
        }
        command.arg("--data").arg(self.path("data")).args(arguments).current_dir(&self.dir);
        command
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        run(&mut self.command(arguments))
    }
}

/// A volume being served on a Unix socket. Dropping it kills the server.
#[derive(Debug)]
pub struct Served {
    child: Child,
    socket: PathBuf,
    /// Unix socket paths are limited to about 100 bytes, and temporary directories can be deep.
    _socket_dir: tempfile::TempDir,
    /// What the server said before it was ready.
    pub greeting: String,
}

impl Served {
    /// Starts a server and waits until clients can connect.
    ///
    /// # Panics
    /// When it ends before.
    #[must_use]
    pub fn start(sandbox: &Sandbox, volume: &Path) -> Self {
        let socket_dir = tempfile::tempdir().expect("a temporary directory");
        let socket = socket_dir.path().join("s");
        let address = format!("unix:{}", crate::tools::text(&socket));
        let mut command = sandbox.command(&[OsStr::new("volume"), OsStr::new("serve")]);
        command.arg(volume).args(["--nbd", &address]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut greeting = String::new();
        while !greeting.lines().any(|line| line.starts_with("ready:")) {
            if lines.read_line(&mut greeting).expect("the server speaks UTF-8") == 0 {
                let mut said = String::new();
                let mut stderr = child.stderr.take().expect("a pipe");
                stderr.read_to_string(&mut said).expect("the server speaks UTF-8");
                panic!("the server ended before it was ready: {greeting}{said}");
            }
        }
        Self { child, socket, _socket_dir: socket_dir, greeting }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its address, as NBD programs write it.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", crate::tools::text(&self.socket))
    }

    /// Peak resident memory of the server, in bytes.
    ///
    /// # Panics
    /// When the server is gone.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the server runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") << 10
    }

    /// kill -9.
    ///
    /// # Panics
    /// When it had ended already.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("the server can be waited for");
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server can be waited for");
    }

    /// SIGTERM, as an operator ends it: the volume is closed in order.
    ///
    /// # Panics
    /// When it does not exit with success.
    pub fn stop(mut self) {
        run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()]));
        let status = self.child.wait().expect("the server can be waited for");
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).expect("the server speaks UTF-8");
        }
        assert!(status.success(), "the server ended with {status}: {said}");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what they are for.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}
