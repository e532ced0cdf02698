//! `--kms aws:ENDPOINT`, against a server that answers as KMS does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use crate::support::{Place, Ran, Served};

/// Status and body of the answer to an operation.
type Answer = (&'static str, &'static str);

/// A KMS that answers each operation with what `answer` says, and tells which it was asked for.
struct FakeKms {
    endpoint: String,
    seen: Receiver<String>,
}

impl FakeKms {
    fn start(answer: fn(&str) -> Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (send, seen) = channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut reader = BufReader::new(connection.unwrap());
                let (mut line, mut len, mut operation) = (String::new(), 0, String::new());
                while reader.read_line(&mut line).unwrap() > 2 {
                    let (name, value) = line.trim().split_once(':').unwrap_or_default();
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => len = value.trim().parse().unwrap(),
                        "x-amz-target" => {
                            operation = value.trim().trim_start_matches("TrentService.").to_owned();
                        }
                        _ => {}
                    }
                    line.clear();
                }
                reader.read_exact(&mut vec![0; len]).unwrap();
                let (status, body) = answer(&operation);
                let len = body.len();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\n");
                let answer = format!("{head}connection: close\r\n\r\n{body}");
                // Before the answer, so that whoever has it finds what was asked.
                if send.send(operation).is_err() {
                    return;
                }
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { endpoint, seen }
    }

    fn run(&self, place: &Place, line: &str) -> Ran {
        run(place, &self.endpoint, line)
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<String> {
        self.seen.try_iter().collect()
    }
}

/// Runs with credentials, and with nothing else of the machine's.
fn run(place: &Place, endpoint: &str, line: &str) -> Ran {
    command(place, endpoint, line).output().unwrap().into()
}

fn command(place: &Place, endpoint: &str, line: &str) -> Command {
    let mut command = place.command(&format!("--kms aws:{endpoint} {line}"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("HOME", place.dir.path());
    command
}

const BAD_REQUEST: &str = "400 Bad Request";

/// One key, one data key.
fn working(operation: &str) -> Answer {
    let body = match operation {
        "DescribeKey" => {
            r#"{"KeyMetadata":{"KeyId":"k","Arn":"arn:aws:kms:us-east-1:000000000000:key/k","KeyState":"Enabled"}}"#
        }
        "GenerateDataKeyWithoutPlaintext" => {
            r#"{"CiphertextBlob":"YmxvYg==","KeyId":"arn:aws:kms:us-east-1:000000000000:key/k"}"#
        }
        // 64 bytes.
        "Decrypt" => {
            r#"{"Plaintext":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==","KeyId":"arn:aws:kms:us-east-1:000000000000:key/k"}"#
        }
        _ => return (BAD_REQUEST, r#"{"__type":"UnknownOperationException"}"#),
    };
    ("200 OK", body)
}

#[test]
fn every_volume_verb_works() {
    let place = Place::new();
    let kms = FakeKms::start(working);
    kms.run(&place, "volume create v --size 1MiB").ok();
    assert_eq!(kms.asked(), ["DescribeKey", "GenerateDataKeyWithoutPlaintext"]);
    let told = kms.run(&place, "volume info v").ok();
    assert!(told.contains("arn:aws:kms:us-east-1:000000000000:key/k"), "{told}");
    assert_eq!(kms.asked(), [""; 0], "what is public needs no key");
    kms.run(&place, "volume verify v").ok();
    std::fs::write(place.path("raw"), vec![7; 1024 * 1024]).unwrap();
    kms.run(&place, "volume import raw v").ok();
    kms.run(&place, "volume export v out").ok();
    assert_eq!(kms.asked(), ["Decrypt"; 3]);
    let (raw, out) = (std::fs::read(place.path("raw")), std::fs::read(place.path("out")));
    assert!(raw.unwrap() == out.unwrap());
    kms.run(&place, "--key alias/mine volume import raw w").ok();
    assert_eq!(kms.asked(), ["GenerateDataKeyWithoutPlaintext", "Decrypt"]);
    assert_eq!(place.names(), ["out", "raw", "v", "w"], "no embedded KMS is made");
}

#[test]
fn a_served_volume_asks_once() {
    let place = Place::new();
    let kms = FakeKms::start(working);
    kms.run(&place, "volume create v --size 1MiB").ok();
    kms.asked();
    let socket = place.path("s");
    let mut command = command(&place, &kms.endpoint, "volume serve v --nbd unix:s");
    let served = Served::start(&mut command);
    assert!(socket.exists());
    served.signal("TERM");
    assert_eq!(served.wait().0, 0);
    assert_eq!(kms.asked(), ["Decrypt"]);
}

#[test]
fn the_most_talkative_log_shows_no_key() {
    let place = Place::new();
    let kms = FakeKms::start(working);
    kms.run(&place, "volume create v --size 1MiB").ok();
    let told = kms.run(&place, "-vvv volume verify v");
    assert!(told.err.contains("Decrypt"), "{told:?}");
    for secret in ["AAECAwQFBgcI", "0, 1, 2, 3", "\\u{1}", "\\x01"] {
        assert!(!told.err.contains(secret), "{secret}: {told:?}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let place = Place::new();
    let missing = FakeKms::start(|_| {
        (BAD_REQUEST, r#"{"__type":"NotFoundException","message":"no such alias"}"#)
    });
    let told = missing.run(&place, "volume create v --size 1MiB");
    told.fails(7, &["no key alias/sealvol", "aws kms create-alias", "NotFoundException"]);
    assert_eq!(missing.asked(), ["DescribeKey"]);
    let told = missing.run(&place, "--key alias/mine volume create v --size 1MiB");
    told.fails(7, &["alias/mine", "NotFoundException: no such alias"]);
    assert_eq!(missing.asked(), ["GenerateDataKeyWithoutPlaintext"]);

    // Whoever may not describe the default key may still be allowed to use it.
    let denying = FakeKms::start(|_| {
        (BAD_REQUEST, r#"{"__type":"AccessDeniedException","message":"not you"}"#)
    });
    let told = denying.run(&place, "volume create v --size 1MiB");
    told.fails(4, &["kms:GenerateDataKeyWithoutPlaintext", "AccessDeniedException: not you"]);
    assert_eq!(denying.asked(), ["DescribeKey", "GenerateDataKeyWithoutPlaintext"]);
    assert!(place.names().is_empty());
}

#[test]
fn keys_are_managed_elsewhere() {
    let place = Place::new();
    for verb in ["key create", "key list", "key disable k", "key enable k"] {
        let told = run(&place, "http://127.0.0.1:9", verb);
        told.fails(8, &["aws kms", "--kms file:DIR"]);
    }
    assert!(place.names().is_empty());
}

#[test]
fn data_keys_do_not_cross_a_network_in_clear() {
    let place = Place::new();
    run(&place, "http://192.0.2.1", "volume create v --size 1MiB").fails(2, &["https"]);
    assert!(place.names().is_empty());
}
