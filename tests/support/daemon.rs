//! `sealvol up` as a child process, which can be killed and started again on its directory.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::cli::Sandbox;
use crate::tools::{run, text};

/// An access key.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl AccessKey {
    /// Of a configuration.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into() }
    }
}

/// A daemon that is up. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// Where it listens: `HOST:PORT`.
    pub address: String,
    /// The account root's.
    pub root_key: AccessKey,
}

impl Daemon {
    /// Starts one on the sandbox's directory with its file `config.toml`, on any free port, and waits
    /// until it is up. What it logs goes to this process's standard error.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command(&["up", "--listen", "127.0.0.1:0", "--json"]);
        let config = sandbox.path("config.toml");
        command.args(["--config", text(&config)]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the daemon starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let ready: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the daemon did not come up: {error}: {line:?}"));
        let url = ready.get("url").and_then(|url| url.as_str()).expect("it tells its URL");
        let address = url.strip_prefix("http://").expect("plain HTTP").trim_end_matches('/');
        let address = address.to_owned();
        let credentials = std::fs::read_to_string(sandbox.path("data").join("credentials"));
        let credentials = credentials.expect("it has made its credentials");
        let value = |name: &str| {
            let line = credentials.lines().find(|line| line.starts_with(name));
            let (_, value) = line.and_then(|line| line.split_once('=')).expect("a complete key");
            value.trim().to_owned()
        };
        let root_key =
            AccessKey { id: value("aws_access_key_id"), secret: value("aws_secret_access_key") };
        Self { child, address, root_key }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// kill -9.
    ///
    /// # Panics
    /// When it had ended already.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("the daemon can be waited for");
        assert!(ended.is_none(), "the daemon ended by itself: {ended:?}");
        self.child.kill().expect("the daemon can be killed");
        self.child.wait().expect("the daemon can be waited for");
    }

    /// SIGTERM, as an operator ends it.
    ///
    /// # Panics
    /// When it does not exit with success.
    pub fn stop(mut self) {
        run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()]));
        let status = self.child.wait().expect("the daemon can be waited for");
        assert!(status.success(), "the daemon ended with {status}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what they are for.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}
