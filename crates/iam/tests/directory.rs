//! Goal: a configuration becomes the identities that it describes, or an error that names the place
//! and no secret. Method: one configuration with everything in it, and the same with one mistake.

use sealvol_iam::{CallerIdentity, Directory, IamConfig, IamError, Known};
use sealvol_policy::{AccountId, Limits, MapContext, NamedPrincipal, Query, decide};

const CONFIG: &str = r#"
[[account]]
id = "000000000000"
access_keys = [{ id = "ROOTKEY", secret = "root-secret" }]

[[account.user]]
name = "alice"
tags = { team = "a" }
access_keys = [{ id = "AKIAALICE", secret = "alice-secret" }]
policies = [{ name = "kms", file = "alice.json" }]

[account.user.boundary]
name = "bound"
document = '{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}'

[[account.role]]
name = "worker"
path = "/batch/"
trust = '{"Statement": {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}}'
max_session = "2h"

[[account]]
id = "111122223333"

[[service]]
names = ["fargate.amazonaws.com"]
account = "000000000000"
source_arn = "arn:aws:ecs:us-east-1:000000000000:task/c/t"
access_keys = [{ id = "FARGATE", secret = "fargate-secret" }]
"#;

fn build(text: &str, known: Known) -> Result<Directory, IamError> {
    let mut read = |file: &str| match file {
        "alice.json" => Ok(r#"{"Statement": {"Effect": "Allow", "Action": ["kms:Create*", "s3:*"],
            "Resource": "*"}}"#
            .to_owned()),
        _ => Err("not found".to_owned()),
    };
    Directory::build(IamConfig::from_toml(text)?, known, &Limits::default(), &mut read)
}

fn directory() -> Directory {
    build(CONFIG, Known::Configured).expect("a directory")
}

#[test]
fn keys_stand_for_their_identities() {
    let directory = directory();
    let name = |id: &str| {
        let credential = directory.credential(id).unwrap();
        (credential.identity.principal().to_string(), credential.secret.expose_secret().to_owned())
    };
    assert_eq!(name("ROOTKEY"), ("arn:aws:iam::000000000000:root".into(), "root-secret".into()));
    let alice = "arn:aws:iam::000000000000:user/alice";
    assert_eq!(name("AKIAALICE"), (alice.into(), "alice-secret".into()));
    assert_eq!(name("FARGATE").0, "fargate.amazonaws.com");
    let source = directory.credential("FARGATE").unwrap().source.clone().unwrap();
    assert_eq!(source.account, AccountId::parse("000000000000"));
    assert_eq!(source.arn.unwrap(), "arn:aws:ecs:us-east-1:000000000000:task/c/t");
    assert!(directory.credential("nobody").is_none());
    let text = format!("{:?} {directory:?}", IamConfig::from_toml(CONFIG));
    assert!(!text.contains("-secret"), "{text}");
}

#[test]
fn policies_and_boundaries_come_with_the_identity() {
    let directory = directory();
    let identity = &directory.credential("AKIAALICE").unwrap().identity;
    let may = |action| {
        let (resource, resource_policy) = ("*", None);
        let context = MapContext::default();
        let query = Query { identity, action, resource, resource_policy, context: &context };
        decide(&query).is_allowed()
    };
    assert!(may("kms:CreateKey"));
    assert!(!may("kms:ListKeys"), "the policy does not allow it");
    assert!(!may("s3:ListBuckets"), "the boundary does not allow it");
    assert_eq!(identity.tags().collect::<Vec<_>>(), [("team", "a")]);
    let caller = CallerIdentity::of(identity).unwrap();
    assert_eq!(caller.account.as_str(), "000000000000");
    assert!(caller.user_id.starts_with("AIDA") && caller.user_id.len() == 20);
    let root = CallerIdentity::of(&directory.credential("ROOTKEY").unwrap().identity).unwrap();
    assert_eq!(
        (root.arn.as_str(), root.user_id.as_str()),
        ("arn:aws:iam::000000000000:root", "000000000000")
    );
    assert!(CallerIdentity::of(&directory.credential("FARGATE").unwrap().identity).is_none());
}

#[test]
fn principals_exist_as_configured_or_all_of_them() {
    let there = [
        "000000000000",
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::000000000000:user/alice",
        "arn:aws:iam::000000000000:role/batch/worker",
        "arn:aws:sts::000000000000:assumed-role/worker/anybody",
        "ec2.amazonaws.com",
    ];
    let absent = [
        "999999999999",
        "arn:aws:iam::999999999999:root",
        "arn:aws:iam::000000000000:user/bob",
        "arn:aws:iam::111122223333:user/alice",
        "arn:aws:iam::000000000000:role/worker",
        "arn:aws:sts::000000000000:assumed-role/idler/anybody",
    ];
    let (strict, open) = (directory(), build(CONFIG, Known::Anybody).unwrap());
    for name in there {
        assert!(strict.exists(name) && open.exists(name), "{name}");
    }
    for name in absent {
        assert!(!strict.exists(name) && open.exists(name), "{name}");
    }
    for name in ["", "alice", "arn:aws:iam::1:root"] {
        assert!(!strict.exists(name) && !open.exists(name), "{name}");
    }
    assert!(strict.knows(&NamedPrincipal::Everyone));
    assert!(!strict.knows(&NamedPrincipal::UniqueId("AIDAEXAMPLEEXAMPLE12".into())));
    // A session's ARN has no path; its identity does.
    let session = strict.identity("arn:aws:sts::000000000000:assumed-role/worker/s1").unwrap();
    let arn = session.principal().arn().unwrap().into_owned();
    assert_eq!(arn, "arn:aws:iam::000000000000:role/batch/worker");
    assert!(session.user_id().unwrap().ends_with(":s1"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let alice = "account 000000000000, user alice: ";
    let worker = "account 000000000000, role worker: ";
    for (from, to, says) in [
        ("id = \"000000000000\"", "id = \"12\"", "account 12: id has to be"),
        ("id = \"111122223333\"", "id = \"000000000000\"", "the account is there twice"),
        ("name = \"alice\"", "name = \"al ice\"", "user al ice: name has to be"),
        ("alice.json", "bob.json", &format!("{alice}the file bob.json cannot be read: not found")),
        ("\"kms:*\"", "\"kms\"", &format!("{alice}policy bound: Statement.Action")),
        (", file = \"alice.json\"", "", &format!("{alice}policy needs either")),
        ("AKIAALICE", "ROOTKEY", &format!("{alice}an access key's id is there twice")),
        ("AKIAALICE", "ASIAALICE", &format!("{alice}an access key's id has to be")),
        ("\"alice-secret\"", "\"\"", &format!("{alice}an access key's secret has to be")),
        ("\"2h\"", "\"13h\"", &format!("{worker}max_session has to be")),
        ("\"2h\"", "\"2\"", &format!("{worker}max_session has to be")),
        ("\"/batch/\"", "\"batch\"", &format!("{worker}path has to be")),
        ("\"sts:AssumeRole\"", "[]", &format!("{worker}policy trust: Statement.Action")),
        ("fargate.amazonaws.com", "fargate", "service 0: names has to be"),
        ("names = [", "nams = [", "unknown field"),
        ("\"root-secret\"", "7", "line 4: invalid type"),
        ("tags = {", "tags = [", "line 8"),
    ] {
        assert!(CONFIG.contains(from), "{from}");
        let text = CONFIG.replacen(from, to, 1);
        let error = match build(&text, Known::Configured) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted: {to}"),
        };
        assert!(error.contains(says), "{says}: {error}");
        assert!(!error.contains("-secret"), "{error}");
    }
    let misplaced = CONFIG.replacen(
        "access_keys = [{ id = \"ROOTKEY\", secret = \"root-secret\" }]",
        "access_keys = [\"root-secret\"]",
        1,
    );
    let error = build(&misplaced, Known::Configured).unwrap_err().to_string();
    assert!(!error.contains("root-secret"), "{error}");
    assert!(build(&" ".repeat(2 << 20), Known::Configured).is_err());
    assert!(build("", Known::Configured).unwrap().accounts().next().is_none());
}
