//! Configurations of accounts, users and roles: any text is a directory or an error, and no secret is in
//! what either prints.

use sealvol_iam::{Directory, IamConfig, Known};
use sealvol_policy::Limits;

use crate::memory::bounded;

/// A configuration with everything in it. Every secret has the marker in it.
pub const SAMPLE: &str = r#"[[account]]
id = "000000000000"
access_keys = [{ id = "ROOT", secret = "s3cr3t-r" }]
[[account.user]]
name = "alice"
tags = { team = "a" }
access_keys = [{ id = "AKIAALICE", secret = "s3cr3t-a" }]
policies = [{ name = "kms", file = "a" }]
[account.user.boundary]
name = "bound"
document = '{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}'
[[account.role]]
name = "worker"
path = "/batch/"
trust = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}'
max_session = "2h"
[[service]]
names = ["fargate.amazonaws.com"]
account = "000000000000"
source_arn = "arn:aws:ecs:us-east-1:000000000000:task/c/t"
access_keys = [{ id = "FARGATE", secret = "s3cr3t-f" }]
"#;

const FILE: &str = r#"{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}"#;

/// The target's body.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let budget = (1 << 20) + 4096 * text.len();
    let built = bounded(budget, || {
        let config = IamConfig::from_toml(text)?;
        let mut read = |_: &str| Ok(FILE.to_owned());
        Directory::build(config, Known::Configured, &Limits::default(), &mut read)
    });
    let Ok(directory) = built else { return };
    let printed = format!("{directory:?}");
    // The marker may be a name in a mutation; what follows it in the sample is in no other place.
    let secrets = ["s3cr3t-r\"", "s3cr3t-a\"", "s3cr3t-f\""];
    let is_sample = text == SAMPLE;
    assert!(!is_sample || !secrets.iter().any(|secret| printed.contains(secret)));
    for account in directory.accounts() {
        assert!(directory.exists(account.as_str()));
    }
    assert!(!directory.exists("arn:aws:iam::no-account:root"));
}
