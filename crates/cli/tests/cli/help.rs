//! `--help` everywhere, with examples, and completions.

use crate::support::Place;

const LEAVES: &[&str] = &[
    "up",
    "volume create",
    "volume info",
    "volume serve",
    "volume import",
    "volume export",
    "volume verify",
    "key create",
    "key list",
    "key disable",
    "key enable",
    "key describe",
    "key schedule-deletion",
    "key cancel-deletion",
    "key description",
    "key alias create",
    "key alias update",
    "key alias delete",
    "key alias list",
    "key policy get",
    "key policy put",
    "key policy list",
    "key policy show",
    "key tag",
    "key untag",
    "key tags",
    "key rotation enable",
    "key rotation disable",
    "key rotation status",
    "key rotation list",
    "key rotate",
    "key grant create",
    "key grant list",
    "key grant list-retirable",
    "key grant retire",
    "key grant revoke",
    "key encrypt",
    "key decrypt",
    "key re-encrypt",
    "key generate-data-key",
    "key random",
    "key rotate-root",
    "completions",
    "bench",
];

#[test]
fn every_verb_has_help_with_an_example() {
    let place = Place::new();
    for verb in LEAVES {
        let help = place.run(&format!("{verb} --help")).ok();
        assert!(help.contains(&format!("Usage: sealvol {verb}")), "{help}");
        assert!(help.contains("Example"), "{verb} shows no example: {help}");
        for option in ["--data <DIR>", "--kms <KMS>", "--key <KEY>", "--json", "--verbose"] {
            assert!(help.contains(option), "{verb} does not list {option}: {help}");
        }
    }
    for group in ["", "volume", "key", "key alias", "key policy", "key rotation", "key grant"] {
        assert!(place.run(&format!("{group} --help")).ok().contains("Usage: sealvol"));
    }
}

#[test]
fn the_main_help_documents_the_exit_codes() {
    let help = Place::new().run("--help").ok();
    for part in ["Exit codes:", "0  done", "3  damage found", "130  ended by a signal"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(Place::new().run("--version").ok().starts_with("sealvol "));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&format!("completions {shell}")).ok();
        assert!(script.contains("sealvol") && script.contains("verify"), "{shell}");
    }
    place.run("completions none").fails(2, &["possible values"]);
}

#[test]
fn wrong_usage_is_told_with_code_2() {
    let place = Place::new();
    place.run("").fails(2, &["Usage"]);
    place.run("volume").fails(2, &["Usage"]);
    place.run("volume fly x").fails(2, &["fly"]);
    place.run("volume create x").fails(2, &["--size"]);
    place.run("volume create x --size 5MB").fails(2, &["512MiB"]);
    place.run("volume create x --size 1GiB --context a").fails(2, &["NAME=VALUE"]);
    place.run("volume serve x").fails(2, &["--nbd"]);
    place.run("volume serve x --nbd /tmp/s").fails(2, &["unix:SOCK"]);
    place.run("--kms gcp key list").fails(2, &["file:DIR"]);
    assert!(place.names().is_empty());
}
