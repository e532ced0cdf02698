//! The conformance cases of the KMS's specification, by number, and its tables: key states, grants,
//! rotation, policies, pages, audit records. One module for each subject.
//!
//! Each case says on which evidence it rests, so that a disagreement with AWS can be traced:
//! - `[R]` recorded against AWS;
//! - `[W]` reported first-hand in a public issue;
//! - `[D]` AWS's documentation;
//! - `[I]` inferred: AWS may turn out to differ.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod aliases;
mod audit;
mod crypto;
mod dry_run;
mod fargate;
mod grant_rules;
mod grants;
mod pages;
mod policies;
mod rates;
mod re_encrypt;
mod retire;
mod rotation;
mod state_table;
mod states;
mod support;
mod tags;

/// No case is left out. Case 59 needs a volume: it is with the workspace's tests.
#[test]
fn every_case_has_its_test() {
    let sources = [
        include_str!("aliases.rs"),
        include_str!("crypto.rs"),
        include_str!("dry_run.rs"),
        include_str!("fargate.rs"),
        include_str!("grants.rs"),
        include_str!("policies.rs"),
        include_str!("re_encrypt.rs"),
        include_str!("rotation.rs"),
        include_str!("states.rs"),
        include_str!("tags.rs"),
        include_str!("../../../../tests/kms_attached_volume.rs"),
    ];
    let mut found: Vec<u32> = sources
        .iter()
        .flat_map(|source| source.split("fn case_").skip(1))
        .map(|rest| rest.split('_').next().unwrap().parse().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, (1..=59).collect::<Vec<_>>());
}
