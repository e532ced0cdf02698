//! `sealvol key` for people and for programs: each verb once in both forms, and its mistakes.

mod abuse;
mod crypto;
mod grants;
mod manage;
mod record;
mod root;

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Place, Ran};

const ADA: &str = "arn:aws:iam::000000000000:user/ada";

/// A place with a key.
struct Keyed {
    place: Place,
    id: String,
    arn: String,
}

impl Keyed {
    fn new() -> Self {
        let place = Place::new();
        let made = json(&place.run("key create --alias alias/a --json").ok());
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { id: text("key_id"), arn: text("arn"), place }
    }

    /// Runs `sealvol key` with the words of `line`.
    fn run(&self, line: &str) -> Ran {
        self.place.run(&format!("key {line}"))
    }

    fn json(&self, line: &str) -> Value {
        json(&self.run(&format!("--json {line}")).ok())
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.place.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.place.path(name)).unwrap()
    }

    /// Runs `sealvol key` on bytes of standard input; the exit code and the bytes of standard output.
    fn feed(&self, line: &str, input: &[u8]) -> (i32, Vec<u8>) {
        let mut command = self.place.command(&format!("key {line}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), output.stdout)
    }
}

fn json(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "JSON is one line: {text}");
    serde_json::from_str(text).unwrap()
}

fn mode(place: &Place, name: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777
}
