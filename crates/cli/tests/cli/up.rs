//! The daemon: what it makes and says, who may run beside it, how it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{Place, signal};

/// A running `sealvol up --json`.
struct Up {
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: serde_json::Value,
}

impl Up {
    fn start(place: &Place, line: &str) -> Self {
        let mut command = place.command(&format!("up --listen 127.0.0.1:0 --json {line}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut row = String::new();
        if stdout.read_line(&mut row).unwrap() == 0 {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("it ended before it was up: {err}");
        }
        Self { child, stdout, said: serde_json::from_str(&row).unwrap() }
    }

    fn text(&self, member: &str) -> &str {
        self.said[member].as_str().unwrap()
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.text("address")).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Ends it: the exit code and stderr.
    fn end(mut self, name: &str) -> (Option<i32>, String) {
        signal(&self.child, name);
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        assert_eq!(out, "", "more than one line");
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), err)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Gone already is as good.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn the_first_start_makes_what_later_ones_keep() {
    let place = Place::new();
    let up = Up::start(&place, "");
    assert_eq!((up.text("account"), up.text("region")), ("000000000000", "us-east-1"));
    assert!(up.get("/healthz").contains(r#""kms":"embedded""#));
    assert!(up.get("/metrics").contains("# TYPE sealvol_audit_records_lost counter"));
    let path = place.path("sealvol-data/credentials");
    assert_eq!(up.text("credentials"), path.canonicalize().unwrap().to_str().unwrap());
    let credentials = std::fs::read_to_string(&path).unwrap();
    let value = |name: &str| {
        let line = credentials.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(" = ").to_owned()
    };
    assert!(credentials.contains("[default]\n"));
    let id = value("aws_access_key_id");
    assert!(id.starts_with("AKIA") && id.len() == 20, "{id}");
    assert_eq!(value("aws_secret_access_key").len(), 40);
    assert_eq!(value("region"), "us-east-1");
    for name in ["credentials", "session-key"] {
        let mode = std::fs::metadata(place.path("sealvol-data").join(name)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(up.end("TERM"), (Some(0), String::new()));

    let up = Up::start(&place, "");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), credentials);
    assert_eq!(up.end("INT"), (Some(0), String::new()));
}

#[test]
fn one_daemon_runs_on_a_directory() {
    let place = Place::new();
    let up = Up::start(&place, "");
    place.run("up --listen 127.0.0.1:0").fails(5, &["another `sealvol up`", "--data"]);
    // The address is one daemon's, too.
    let address = up.text("address");
    place
        .run(&format!("up --data other --listen {address}"))
        .fails(5, &["cannot listen", "--listen"]);
    // Keys can be managed beside it.
    place.run("key create --alias alias/a").ok();
    assert_eq!(up.end("KILL").0, None);
    // A lock does not outlive its daemon.
    let up = Up::start(&place, "");
    assert_eq!(up.end("TERM").0, Some(0));
}

#[test]
fn what_cannot_be_served_is_told() {
    let place = Place::new();
    place.run("up --auth any --listen 0.0.0.0:0").fails(2, &["loopback"]);
    place.run("up --auth none").fails(2, &["signature", "any"]);
    place.run("up --listen here").fails(2, &["--listen"]);
    place.run("up --config missing.toml").fails(7, &["missing.toml"]);
    for (text, words) in [
        ("[[acount]]", &["line 1", "acount"][..]),
        ("[server]\nport = 1", &["line 2", "port"]),
        ("[server]\nconnections_max = 0", &["connections_max"]),
        ("[kms]\naccount = \"1\"", &["kms.account"]),
        ("[kms.rates]\ncryptographic = \"secret\"", &["line 2"]),
        ("[[account]]\nid = \"x\"", &["id has to be"]),
        (
            "[[account]]\nid = \"000000000000\"\n[[account.role]]\nname = \"r\"\ntrust_file = \"none\"",
            &["none", "cannot be read"],
        ),
    ] {
        std::fs::write(place.path("c.toml"), text).unwrap();
        let ran = place.run("up --listen 127.0.0.1:0 --config c.toml");
        ran.fails(2, words);
        assert!(!ran.err.contains("secret"), "{ran:?}");
    }
    std::fs::write(place.path("sealvol-data/credentials"), "[other]\n").unwrap();
    place.run("up --listen 127.0.0.1:0").fails(3, &["credentials", "[default]"]);
}

#[test]
fn what_is_printed_can_be_pasted() {
    let place = Place::new();
    let mut command = place.command("up --listen 127.0.0.1:0 --auth any --kms aws");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while !said.contains("aws kms create-key") {
        assert!(stdout.read_line(&mut said).unwrap() > 0, "{said}");
    }
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
    for part in [
        "sealvol is up at http://127.0.0.1:",
        "export AWS_SHARED_CREDENTIALS_FILE=/",
        "export AWS_ENDPOINT_URL=http://127.0.0.1:",
        "AWS_DEFAULT_REGION=us-east-1",
        "the KMS endpoint is off",
        "no signature is checked",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!place.path("sealvol-data/kms").exists());
}

#[test]
fn the_aws_command_calls_it() {
    if Command::new("aws").arg("--version").output().is_err() {
        let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!in_ci, "the aws command is missing");
        println!("skipped: the aws command is missing");
        return;
    }
    let place = Place::new();
    let role = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}}"#;
    std::fs::write(place.path("trust.json"), role).unwrap();
    let config = "[[account]]\nid = \"000000000000\"\n[[account.role]]\nname = \"r\"\n\
                  trust_file = \"trust.json\"\n[kms]\nkeys_max = 1\n";
    std::fs::write(place.path("c.toml"), config).unwrap();
    let up = Up::start(&place, "--config c.toml");
    let aws = |line: &str| {
        let mut command = Command::new("aws");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .args(line.split(' '))
            .args(["--output", "text"])
            .env("AWS_SHARED_CREDENTIALS_FILE", up.text("credentials"))
            .env("AWS_CONFIG_FILE", place.path("no-config"))
            .env("AWS_ENDPOINT_URL", up.text("url"))
            .env("AWS_PAGER", "");
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (done, key, err) = aws("kms create-key --query KeyMetadata.KeyId");
    assert!(done, "{err}");
    let key = key.trim();
    let (done, out, err) = aws(&format!("kms disable-key --key-id {key}"));
    assert!(done && out.is_empty(), "{out} {err}");
    let (done, _, err) = aws(&format!("kms generate-data-key --key-spec AES_256 --key-id {key}"));
    assert!(!done && err.contains("(DisabledException)"), "{err}");
    // The configuration's limit.
    let (done, _, err) = aws("kms create-key");
    assert!(!done && err.contains("(LimitExceededException)"), "{err}");
    let (done, out, err) = aws("sts get-caller-identity --query Arn");
    assert!(done && out.trim() == "arn:aws:iam::000000000000:root", "{out} {err}");
    assert_eq!(up.end("TERM"), (Some(0), String::new()));
    // Everything was recorded, with the id of its request.
    let audit = place.path("sealvol-data/audit");
    let files = std::fs::read_dir(audit).unwrap();
    let records: String =
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for name in ["CreateKey", "DisableKey", "GenerateDataKey"] {
        let line = records.lines().find(|line| line.contains(&format!("\"eventName\":\"{name}\"")));
        let record: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
        assert_eq!(record["sourceIPAddress"], "127.0.0.1");
        assert_eq!(record["requestID"].as_str().unwrap().len(), 36);
    }
}
