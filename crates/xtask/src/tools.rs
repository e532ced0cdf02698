//! The programs that interop tests and benches talk to, and their Debian packages.

use std::path::Path;

use anyhow::{Result, bail};

use crate::shell;

/// A package and the programs that are wanted of it.
const PACKAGES: &[(&str, &[&str])] = &[
    ("qemu-utils", &["qemu-img", "qemu-io", "qemu-nbd"]),
    ("libnbd-bin", &["nbdcopy", "nbdinfo"]),
    ("nbdkit", &["nbdkit"]),
    ("fio", &["fio"]),
    ("e2fsprogs", &["mke2fs", "e2fsck"]),
    ("python3-venv", &["python3"]),
];

/// Where programs of administrators are, which a user's PATH may lack.
const MORE_PATHS: &[&str] = &["/usr/sbin", "/sbin"];

/// Installs the packages that are missing, where that is possible. Without them the tests that
/// need them cannot run: that is an error under CI, and a loud notice elsewhere.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing packages: {}", missing.join(" "));
    if let Err(error) = install(&missing) {
        eprintln!("could not install them: {error:#}");
    }
    let missing = self::missing();
    if missing.is_empty() {
        return Ok(());
    }
    let advice = format!("install them with: apt-get install --no-remove {}", missing.join(" "));
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        bail!("the tests need packages that are missing; {advice}");
    }
    let line = "!".repeat(80);
    eprintln!("{line}\nTests that talk to other programs are INCOMPLETE without these packages.");
    eprintln!("{advice}\n{line}");
    Ok(())
}

/// Packages of which a program is not found.
fn missing() -> Vec<&'static str> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs: Vec<&str> = path.split(':').chain(MORE_PATHS.iter().copied()).collect();
    let found = |program: &str| dirs.iter().any(|dir| Path::new(dir).join(program).is_file());
    let lacks = |programs: &[&str]| programs.iter().any(|program| !found(program));
    PACKAGES.iter().filter(|(_, programs)| lacks(programs)).map(|(package, _)| *package).collect()
}

fn install(packages: &[&str]) -> Result<()> {
    if !shell::works(&mut shell::command("apt-get", &["--version"])) {
        bail!("there is no apt-get here");
    }
    let is_root = shell::output(&mut shell::command("id", &["-u"]))?.trim() == "0";
    if !is_root && !shell::works(&mut shell::command("sudo", &["-n", "true"])) {
        bail!("that takes root, and sudo asks for a password");
    }
    let apt = |args: &[&str]| {
        let mut words = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"];
        words.extend_from_slice(args);
        match is_root {
            true => shell::run(&mut shell::command("env", words.get(1..).unwrap_or_default())),
            false => shell::run(&mut shell::command("sudo", &words)),
        }
    };
    apt(&["update"])?;
    // Some combinations of qemu's packages remove each other: rather fail.
    let mut args = vec!["install", "--no-install-recommends", "--no-remove"];
    args.extend_from_slice(packages);
    apt(&args)
}
