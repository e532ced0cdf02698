//! Goal: the committed corpora are those that `seed_corpus` makes, small, and hold no finding, without
//! a fuzzer at hand. Method: every file of `corpus/` and of `regressions/` runs once through its target.

use std::fs;
use std::path::Path;

use sealvol_fuzz::{TARGETS, run, seeds};

/// All committed seeds together.
const SEED_BYTES_MAX: usize = 200 << 10;

fn replay(folder: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut count = 0;
    for (target, _) in TARGETS {
        let Ok(files) = fs::read_dir(root.join(target)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            println!("{}", path.display());
            assert!(run(target, &fs::read(&path).unwrap()));
            count += 1;
        }
    }
    count
}

// One test, because the memory budget is the process's.
#[test]
fn corpora_hold_no_finding() {
    assert!(replay("corpus") >= TARGETS.len());
    replay("regressions");
    for (_, body) in TARGETS {
        body(&[]);
    }
    let seeds = seeds::all();
    assert!(seeds.iter().map(|seed| seed.bytes.len()).sum::<usize>() < SEED_BYTES_MAX);
    for seed in seeds {
        let path = Path::new("corpus").join(seed.target).join(seed.file_name());
        let committed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path));
        assert!(
            committed.is_ok_and(|bytes| bytes == seed.bytes),
            "{} is not what `cargo run --example seed_corpus` writes: run it",
            path.display()
        );
    }
}

#[test]
fn an_unknown_target_is_no_target() {
    assert!(!run("nonsense", b""));
}
