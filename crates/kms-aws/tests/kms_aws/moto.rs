//! The suite of the trait against moto, a KMS that others wrote.
//!
//! moto imitates the API and enforces little of it. Each case that it cannot pass is listed with the
//! reason; the list is exact, so that a case that it learns to pass fails this test.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sealvol_envelope::EncryptionContext;
use sealvol_envelope::conformance::{CASES, Fixture as _, NotSupported};

use crate::remote::{Principal, Remote};

const VERSION: &str = "5.2.5";

/// A case that moto fails.
struct Deviation {
    case: &'static str,
    /// With what the case fails: not just somehow.
    says: &'static str,
    because: &'static str,
}

const NO_AUTHORIZATION: &str =
    "any credentials may do everything: neither policies nor grants are looked at";
const NO_STATES: &str = "keys are disabled in name only: it encrypts, decrypts and grants on";

const DEVIATIONS: &[Deviation] = &[
    Deviation {
        case: "c05_context_must_be_exact",
        says: "expected InvalidCiphertextException",
        because: "it authenticates names and values joined without lengths, so that bytes may move between them",
    },
    Deviation {
        case: "c06_damage_is_invalid_ciphertext",
        says: "AccessDeniedException",
        because: "a ciphertext whose first bytes are damaged is one of an unknown key, which it denies",
    },
    Deviation {
        case: "c07_another_key_is_incorrect_key",
        says: "AccessDeniedException",
        because: "a key that is named and is not the owner is denied, not incorrect",
    },
    Deviation {
        case: "c09_unknown_owner_is_denied",
        says: "AccessDeniedException",
        because: "the same: the unknown owner is denied as it should be, the wrongly named key is, too",
    },
    Deviation {
        case: "empty_context_round_trips",
        says: "expected InvalidCiphertextException",
        because: "a pair of empty strings adds no byte to what is authenticated",
    },
    Deviation {
        case: "re_encrypt_changes_the_key",
        says: "AccessDeniedException",
        because: "a key that is named and is not the owner is denied, not incorrect",
    },
    Deviation {
        case: "re_encrypt_checks_its_source",
        says: "expected IncorrectKeyException",
        because: "ReEncrypt ignores SourceKeyId",
    },
    Deviation {
        case: "c18_disabled_key_refuses_cryptography",
        says: "expected DisabledException",
        because: NO_STATES,
    },
    Deviation {
        case: "c44_disabled_key_refuses_create_grant",
        says: "expected DisabledException",
        because: NO_STATES,
    },
    Deviation {
        case: "c59_disabled_key_leaves_open_data_keys_alone",
        says: "expected DisabledException",
        because: NO_STATES,
    },
    Deviation {
        case: "without_a_grant_everything_is_denied",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "a_grant_allows_only_its_operations",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "a_grant_is_for_its_grantee_and_key",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "c34_re_encrypt_needs_both_halves",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "c35_named_grant_is_idempotent",
        says: "assertion `left == right` failed",
        because: "names are kept and not compared: each creation is another grant",
    },
    Deviation {
        case: "c38_operations_are_checked",
        says: "expected ValidationException",
        because: "operations are not checked",
    },
    Deviation {
        case: "c39_constraint_limits",
        says: "expected ValidationException",
        because: "constraints and names are not checked",
    },
    Deviation {
        case: "c40_equals_and_subset",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "c43_child_grants_only_narrow",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "c45_retire_and_revoke_on_a_disabled_key",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "c46_grantee_retires_only_with_retire_grant",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "retiring_principal_retires_by_token_and_by_id",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "c47_ended_grants_no_longer_allow",
        says: "expected AccessDeniedException",
        because: NO_AUTHORIZATION,
    },
    Deviation {
        case: "tokens_are_checked",
        says: "expected InvalidGrantTokenException",
        because: "tokens are not looked at",
    },
];

/// A moto server that ends with the test.
struct Moto {
    process: Child,
    endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The Python that has moto, installed under cargo's target directory by the first test that asks.
fn python() -> Result<PathBuf, String> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let home = tmp.join(format!("moto-{VERSION}"));
    if !home.is_dir() {
        // Aside, then renamed, so that what is there is complete.
        let aside = tmp.join(format!("moto-{VERSION}.{}", std::process::id()));
        run(Command::new("python3").args(["-m", "venv"]).arg(&aside))?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let package = format!("moto[server]=={VERSION}");
        run(Command::new(aside.join("bin/python")).args(install).arg(package))?;
        if let Err(error) = std::fs::rename(&aside, &home)
            && !home.is_dir()
        {
            return Err(format!("rename {}: {error}", aside.display()));
        }
    }
    Ok(home.join("bin/python"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn start(python: &Path) -> Moto {
    let mut process = Command::new(python)
        .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let endpoint = lines
        .find_map(|line| line.unwrap().split_once("Running on ").map(|(_, url)| url.to_owned()))
        .expect("moto tells where it listens");
    // What it logs must go somewhere, or it stops.
    std::thread::spawn(move || lines.for_each(drop));
    Moto { process, endpoint: endpoint.trim().to_owned() }
}

fn principal(name: &str) -> Principal {
    Principal {
        arn: format!("arn:aws:iam::123456789012:role/{name}"),
        access_key_id: format!("AKID{}", name.to_uppercase()),
        secret_access_key: "secret".into(),
    }
}

/// A ciphertext of a key that only another account of the server has.
async fn foreign(moto: &Moto) -> Vec<u8> {
    let admin = principal("stranger");
    let remote = Remote::new(&moto.endpoint, &admin, &[], "stranger", None).await;
    let request = sealvol_envelope::GenerateDataKeyRequest {
        key_id: remote.keys()[0].id.clone(),
        context: EncryptionContext::new(),
        number_of_bytes: 64,
        grant_tokens: Default::default(),
    };
    let made = remote.privileged().generate_data_key_without_plaintext(request).await.unwrap();
    let mut ciphertext = made.ciphertext;
    // moto writes the key's id in front; another id is a key that it lacks.
    ciphertext[0] = if ciphertext[0] == b'0' { b'1' } else { b'0' };
    ciphertext
}

#[tokio::test]
async fn moto_keeps_the_promises_that_it_can() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!is_ci, "moto {VERSION} cannot be installed: {why}");
            eprintln!("NOT RUN: the suite against moto {VERSION}, which is not here: {why}");
            return;
        }
    };
    let moto = start(&python);
    let foreign = foreign(&moto).await;
    let mut wrong = Vec::new();
    for case in CASES {
        let others = [principal("one"), principal("two")];
        let (admin, foreign) = (principal("admin"), Some(foreign.clone()));
        let fixture = Remote::new(&moto.endpoint, &admin, &others, case.name, foreign).await;
        let run = tokio::spawn(async move { (case.run)(&fixture).await });
        let outcome = match run.await {
            Ok(Ok(())) => None,
            Ok(Err(NotSupported(why))) => Some(format!("not supported: {why}")),
            Err(panic) => Some(message(panic.into_panic())),
        };
        let listed = DEVIATIONS.iter().find(|deviation| deviation.case == case.name);
        match (outcome, listed) {
            (None, None) => {}
            (Some(told), Some(listed)) if told.contains(listed.says) => {
                eprintln!("moto deviates in {}: {}", case.name, listed.because);
            }
            (None, Some(_)) => wrong.push(format!("{}: passes now, take it off", case.name)),
            (Some(told), _) => wrong.push(format!("{}: {told}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "the list of deviations is not exact:\n{}", wrong.join("\n"));
    let known = |deviation: &&Deviation| CASES.iter().any(|case| case.name == deviation.case);
    assert_eq!(DEVIATIONS.iter().filter(known).count(), DEVIATIONS.len(), "a case was renamed");
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map(ToString::to_string).unwrap_or_default(),
    }
}
