//! Which crate may know which: ARCHITECTURE.md's arrows, proved with `cargo tree`.
//!
//! A new crate needs a line in [`KNOWS`], which is where its author says what it must not see.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::{root, shell};

/// Each package with all packages of ours that it may see, directly or through others.
const KNOWS: &[(&str, &[&str])] = &[
    ("sealvol-core", &[]),
    ("sealvol-sys", &[]),
    ("sealvol-envelope", &["core", "sys"]),
    ("sealvol-policy", &["core"]),
    ("sealvol-iam", &["core", "policy"]),
    ("sealvol-format", &["core"]),
    ("sealvol-storage", &["core", "sys"]),
    // Of the wire it has the JSON forms of bytes and times, so that its model serialises.
    ("sealvol-kms", &["core", "sys", "envelope", "policy", "aws-wire"]),
    ("sealvol-kms-aws", &["core", "sys", "envelope"]),
    ("sealvol-engine", &["core", "sys", "envelope", "format", "storage"]),
    ("sealvol-snapshots", &["core", "sys", "envelope", "format", "storage", "engine"]),
    // Exports see a block device and nothing of what is behind it.
    ("sealvol-nbd", &["core", "sys"]),
    ("sealvol-vhost", &["core", "sys"]),
    ("sealvol-fuse", &["core", "sys"]),
    ("sealvol-aws-wire", &["core"]),
    ("sealvol-testkit", &["core", "sys", "envelope", "storage"]),
    ("sealvol-xtask", &[]),
];

/// Packages that put the others together and may see them all.
const MAY_KNOW_ALL: &[&str] = &[
    "sealvol",
    "sealvol-control",
    "sealvol-api",
    "sealvol-cli",
    "sealvol-benches",
    "sealvol-tests",
];

/// The only packages that say what went wrong without saying what to do: the ends of the chain.
const MAY_USE_ANYHOW: &[&str] = &["sealvol-cli", "sealvol-xtask"];

/// Packages that do no I/O, and what would give them the means.
const PURE: &[&str] = &["sealvol-format", "sealvol-policy", "sealvol-iam", "sealvol-aws-wire"];
const MEANS_OF_IO: &[&str] = &["tokio", "rustix", "memmap2", "mio", "hyper", "object_store"];

/// Packages of the tests, which nobody else builds in.
const TESTS_ONLY: &[&str] =
    &["sealvol-testkit", "sealvol-tests", "sealvol-benches", "sealvol-xtask"];

pub(crate) fn run() -> Result<()> {
    let mut problems = Vec::new();
    let packages = packages()?;
    for package in &packages {
        check(package, &mut problems)?;
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} arrows point the wrong way", problems.len());
    }
    println!("arrows: {} packages, all point one way", packages.len());
    Ok(())
}

fn check(package: &str, problems: &mut Vec<String>) -> Result<()> {
    let mut problem = |text: String| problems.push(format!("{package} {text}"));
    let all = tree(package, &["--all-features"])?;
    let ours = all.iter().filter(|name| is_ours(name) && *name != package);
    match KNOWS.iter().find(|(name, _)| *name == package) {
        Some((_, allowed)) => {
            for seen in ours.clone() {
                let short = seen.strip_prefix("sealvol-").unwrap_or(seen);
                if !allowed.contains(&short) {
                    problem(format!("must not depend on {seen}"));
                }
            }
        }
        None if MAY_KNOW_ALL.contains(&package) => {}
        None => problem("has no line in crates/xtask/src/arrows.rs: add one".to_owned()),
    }
    if !TESTS_ONLY.contains(&package) {
        for seen in ours.filter(|name| TESTS_ONLY.contains(&name.as_str())) {
            problem(format!("depends on {seen}, which is for tests only"));
        }
    }
    let direct = tree(package, &["--all-features", "--depth", "1"])?;
    if direct.contains("anyhow") && !MAY_USE_ANYHOW.contains(&package) {
        problem("uses anyhow: only the ends of the chain may".to_owned());
    }
    let sdk = all.iter().find(|name| name.starts_with("aws-sdk-"));
    if let Some(sdk) = sdk
        && package != "sealvol-kms-aws"
        && (direct.contains(sdk) || !all.contains("sealvol-kms-aws"))
    {
        problem(format!("pulls {sdk} by another way than sealvol-kms-aws"));
    }
    // Whoever does not ask for a cloud does not get one: no default feature pulls the SDK.
    if package != "sealvol-kms-aws"
        && tree(package, &[])?.iter().any(|name| name.starts_with("aws-sdk-"))
        && package != "sealvol-cli"
    {
        problem("pulls the AWS SDK with its default features".to_owned());
    }
    if PURE.contains(&package) {
        for means in MEANS_OF_IO.iter().filter(|means| all.contains(**means)) {
            problem(format!("does no I/O, but depends on {means}"));
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    name == "sealvol" || name.starts_with("sealvol-")
}

/// The names in a package's dependency tree, its own among them.
fn tree(package: &str, more: &[&str]) -> Result<BTreeSet<String>> {
    let mut args = vec!["tree", "--quiet", "-p", package, "--edges", "normal", "--prefix", "none"];
    args.extend_from_slice(more);
    let text = shell::output(&mut shell::cargo(&args))?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The packages of the workspace.
fn packages() -> Result<Vec<String>> {
    let root = root();
    let mut manifests = vec![root.join("benches/Cargo.toml"), root.join("tests/Cargo.toml")];
    for entry in fs::read_dir(root.join("crates"))? {
        manifests.push(entry?.path().join("Cargo.toml"));
    }
    manifests.sort();
    let mut names = Vec::new();
    for path in manifests.iter().filter(|path| path.is_file()) {
        let text = fs::read_to_string(path)?;
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let name = name.with_context(|| format!("{}: no package name", path.display()))?;
        names.push(name.to_owned());
    }
    Ok(names)
}
