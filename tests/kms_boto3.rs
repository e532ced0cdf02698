//! The endpoint as AWS's own clients see it: boto3 and the `aws` command, against `sealvol up`.
//!
//! The tests themselves are in Python, in `kms_boto3/`: the 59 conformance cases by their numbers,
//! each with status and shape of the answers, and the protocol beside them. Here is what surrounds
//! them: a Python environment with pinned packages, two daemons, and the proof that every case ran.
//!
//! The environment is made once for each content of `requirements.txt` and needs the network only
//! then. Where it cannot be made the test is skipped, loudly; under CI (`CI=true`) it fails.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail and print as tests do"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sealvol_tests::cli::{Sandbox, binary};
use sealvol_tests::tools::{Stopwatch, run, text};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How many cases there are.
const CASES: u32 = 59;
/// Of the daemon whose grants take time.
const PROPAGATION_SECONDS: u64 = 3;

const REQUIREMENTS: &str = include_str!("kms_boto3/requirements.txt");
const CONFIG: &str = include_str!("kms_boto3/config.toml");

/// The Python that has boto3 and the `aws` command; or why there is none.
fn environment() -> Result<PathBuf, String> {
    let python = |command: &mut Command, what: &str| {
        let output = command.output().map_err(|error| format!("{what}: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let said = [output.stdout, output.stderr].concat();
                Err(format!("{what}: {}", String::from_utf8_lossy(&said).trim()))
            }
        }
    };
    let version = python(Command::new("python3").arg("--version"), "python3")?;
    let digest = Sha256::new().chain_update(REQUIREMENTS).chain_update(version).finalize();
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kms-boto3-{name}"));
    let (program, complete) = (dir.join("bin/python"), dir.join("complete"));
    if complete.exists() {
        return Ok(program);
    }
    // One that was not finished is begun anew. The test runs alone: nobody else is at it.
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let hint = "python3 -m venv (Debian: the package python3-venv)";
    python(Command::new("python3").args(["-m", "venv"]).arg(&dir), hint)?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("kms_boto3/requirements.txt");
    let mut install = Command::new(&program);
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary", ":all:", "--requirement"])
        .arg(requirements);
    python(&mut install, "pip install")?;
    std::fs::write(&complete, "").map_err(|error| format!("{}: {error}", complete.display()))?;
    Ok(program)
}

/// A daemon. Dropping it kills it.
struct Daemon {
    sandbox: Sandbox,
    child: Child,
    url: String,
}

impl Daemon {
    /// Starts one and waits until it is up.
    fn start(propagation_seconds: u64) -> Self {
        let sandbox = Sandbox::new(env!("CARGO_TARGET_TMPDIR"));
        let delay =
            format!("grant_propagation_delay = {{ secs = {propagation_seconds}, nanos = 0 }}");
        let (before, after) = CONFIG.split_once("# PROPAGATION").unwrap();
        std::fs::write(sandbox.path("config.toml"), format!("{before}{delay} #{after}")).unwrap();
        let mut command = sandbox.command(&["up", "--listen", "127.0.0.1:0", "--json"]);
        command.arg("--config").arg(sandbox.path("config.toml"));
        // What it logs is for whoever looks into a failure.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the daemon did not come up: {error}: {line:?}"));
        let url = ready["url"].as_str().unwrap_or_else(|| panic!("no url: {line}")).to_owned();
        Self { sandbox, child, url }
    }

    fn data(&self) -> PathBuf {
        self.sandbox.path("data")
    }

    /// Ends it as an operator does.
    fn stop(mut self) {
        run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()]));
        let status = self.child.wait().unwrap();
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

/// Outcomes by the tests' names, and how often each case's number is among them.
fn outcomes(report: &Value) -> (BTreeMap<String, String>, BTreeMap<u32, u32>) {
    let mut by_name = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for test in report["tests"].as_array().unwrap() {
        let name = test["name"].as_str().unwrap().to_owned();
        if let Some(number) = name.strip_prefix("case_").and_then(|rest| rest.split('_').next()) {
            *numbers.entry(number.parse().unwrap()).or_default() += 1;
        }
        by_name.insert(name, test["outcome"].as_str().unwrap().to_owned());
    }
    (by_name, numbers)
}

/// Every case by its number once, and everything passed.
#[test]
fn awss_clients_see_what_the_specification_says() {
    let python = match environment() {
        Ok(python) => python,
        Err(why) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("the tests with boto3 need a Python environment: {why}")
        }
        Err(why) => {
            eprintln!("\nSKIPPED: the 59 cases through boto3 did not run: {why}\n");
            return;
        }
    };
    let quick = Daemon::start(0);
    let slow = Daemon::start(PROPAGATION_SECONDS);
    let result = quick.sandbox.path("result.json");
    let stopwatch = Stopwatch::new();
    let mut command = Command::new(python);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("SEALVOL_TEST_ENDPOINT", &quick.url)
        .env("SEALVOL_TEST_DATA", quick.data())
        .env("SEALVOL_TEST_SLOW_ENDPOINT", &slow.url)
        .env("SEALVOL_TEST_SLOW_DATA", slow.data())
        .env("SEALVOL_TEST_BIN", binary())
        .env("SEALVOL_TEST_PROPAGATION_SECONDS", PROPAGATION_SECONDS.to_string());
    let output = command
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kms_boto3/run.py"))
        .arg(&result)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(&result)
        .unwrap_or_else(|error| panic!("{} is not there: {error}\n{told}", text(&result)));
    let report: Value = serde_json::from_str(&report).unwrap();
    let (by_name, numbers) = outcomes(&report);
    let bad: Vec<_> = by_name.iter().filter(|(_, outcome)| *outcome != "passed").collect();
    assert!(bad.is_empty() && output.status.success(), "{bad:#?}\n{}\n{told}", report["broken"]);
    let wanted: BTreeMap<u32, u32> = (1..=CASES).map(|number| (number, 1)).collect();
    assert_eq!(numbers, wanted, "each case has one test");
    eprintln!("{} tests through boto3 in {:?}", by_name.len(), stopwatch.elapsed());
    quick.stop();
    slow.stop();
}
