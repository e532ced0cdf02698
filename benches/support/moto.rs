//! moto's server, a KMS that others wrote, from PyPI.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Result;

const VERSION: &str = "5.2.5";

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Moto {
    /// Starts one on a free port. The first time it is installed, which needs the network.
    ///
    /// # Errors
    /// When there is no Python, it cannot be installed, or it does not start.
    pub fn start() -> Result<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-moto").join(VERSION);
        let python = dir.join("bin/python");
        if !dir.join("complete").exists() {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
            let package = format!("moto[server]=={VERSION}");
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &package]))?;
            std::fs::write(dir.join("complete"), "")?;
        }
        let mut child = Command::new(dir.join("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let address = lines.by_ref().map_while(std::result::Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("Running on http://")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        // Its log of requests is read away, lest it wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                child.kill()?;
                Err("moto did not say where it listens".into())
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into()),
    }
}
