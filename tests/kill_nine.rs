//! Goal: what the NBD server acknowledged survives `kill -9` at any moment, round after round on the
//! same volume, and what fio wrote it reads back after a restart.
//!
//! Method: `sealvol volume serve` as a child process. fio writes through its nbd engine, the server
//! is stopped and started again, fio verifies. Then clients of our own write stamped blocks of
//! random sizes, trims and zeroes over several connections, many in flight on each, and record each
//! acknowledgement; after a random number of them the server is killed; the next one, which has to
//! recover, is read block by block: each block must hold the last acknowledged version or one that
//! was under way, and never an error. What is found there is what later rounds go on from.
//!
//! Budget: `SEALVOL_KILL_ROUNDS` (default 50), `SEALVOL_KILL_SEED`; `SEALVOL_FIO_MIB` (default 256).
//! A long run: 2000 rounds, 4096 MiB.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step fails the test, and its figures are printed"
)]

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_core::BLOCK_LEN_U64;
use sealvol_testkit::{fill_block, identify_block};
use sealvol_tests::cli::{Sandbox, Served};
use sealvol_tests::history::{Begun, History};
use sealvol_tests::nbd_client::{NbdClient, Verb};
use sealvol_tests::tools::{Stopwatch, env_u64, program, run, text};

const CONNECTIONS: u64 = 3;
const IN_FLIGHT: usize = 16;
/// Blocks of the volume: 32 MiB.
const BLOCKS: u64 = 8192;
/// Blocks of the largest request: 256 KiB.
const LONGEST: u64 = 64;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_TARGET_TMPDIR"))
}

fn create(sandbox: &Sandbox, volume: &Path, size: &str) {
    sandbox.run(&["volume", "create", text(volume), "--size", size]);
}

/// What the connections of one round share.
struct Round<'a> {
    history: &'a History,
    acknowledged: AtomicU64,
    /// How many acknowledgements until the kill.
    target: u64,
}

impl Round<'_> {
    /// Sends one request. `None`: one that changes nothing.
    fn send(&self, client: &mut NbdClient, rng: &mut StdRng) -> io::Result<(u64, Option<Begun>)> {
        let lba = rng.random_range(0..BLOCKS);
        let longest = if rng.random_bool(0.3) { LONGEST } else { 4 };
        let count = rng.random_range(1..=longest).min(BLOCKS - lba);
        let (offset, bytes) = (lba * BLOCK_LEN_U64, count * BLOCK_LEN_U64);
        let len = u32::try_from(bytes).unwrap();
        let fua = rng.random_bool(0.02);
        let verb = match rng.random_range(0..100) {
            0..80 => Verb::Write,
            80..90 => Verb::Trim,
            90..95 => Verb::WriteZeroes,
            95..97 => Verb::Flush,
            _ => Verb::Read,
        };
        match verb {
            Verb::Flush => Ok((client.send(verb, false, 0, 0, &[])?, None)),
            Verb::Read => Ok((client.send(verb, false, offset, len, &[])?, None)),
            Verb::Write => {
                let begun = self.history.begin(lba, count, false);
                let blocks = (lba..lba + count).flat_map(|lba| fill_block(lba, begun.version));
                let data: Vec<u8> = blocks.collect();
                Ok((client.send(verb, fua, offset, len, &data)?, Some(begun)))
            }
            Verb::Trim | Verb::WriteZeroes => {
                let begun = self.history.begin(lba, count, true);
                Ok((client.send(verb, fua, offset, len, &[])?, Some(begun)))
            }
        }
    }

    /// One connection, until the server is gone.
    fn run(&self, client: &mut NbdClient, seed: u64, reached: &mpsc::Sender<()>) -> io::Error {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut waiting: HashMap<u64, Option<Begun>> = HashMap::new();
        loop {
            while waiting.len() < IN_FLIGHT {
                match self.send(client, &mut rng) {
                    Ok((cookie, begun)) => drop(waiting.insert(cookie, begun)),
                    Err(error) => return error,
                }
            }
            let reply = match client.reply() {
                Ok(reply) => reply,
                Err(error) => return error,
            };
            assert_eq!(reply.errno, 0, "the server answered with an error");
            if let Some(begun) = waiting.remove(&reply.cookie).expect("a reply to a request") {
                self.history.acknowledge(begun);
            }
            if self.acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == self.target {
                // The main thread waits for it.
                reached.send(()).unwrap();
            }
        }
    }
}

/// Reads the whole device, judges each block, and takes what it holds as settled.
fn check(served: &Served, history: &History, when: &str) {
    let mut client = NbdClient::connect(served.socket()).unwrap();
    assert_eq!(client.len, BLOCKS * BLOCK_LEN_U64);
    let step = 256;
    for first in (0..BLOCKS).step_by(step) {
        let started = history.tick();
        let len = u32::try_from(step as u64 * BLOCK_LEN_U64).unwrap();
        let data = client
            .read(first * BLOCK_LEN_U64, len)
            .unwrap_or_else(|error| panic!("{when}: {error}"));
        for (block, lba) in data.chunks_exact(4096).zip(first..) {
            let Some(version) = identify_block(lba, block) else {
                panic!("{when}: block {lba} holds bytes that nobody wrote there");
            };
            if let Err(wrong) = history.judge(lba, version, started) {
                panic!("{when}: {wrong}");
            }
            history.settle(lba, version);
        }
    }
}

fn verify(sandbox: &Sandbox, volume: &Path) {
    sandbox.run(&["volume", "verify", text(volume)]);
}

#[test]
fn acknowledged_writes_survive_fifty_kills() {
    let rounds = env_u64("SEALVOL_KILL_ROUNDS", 50);
    let seed = env_u64("SEALVOL_KILL_SEED", 1);
    let watch = Stopwatch::new();
    let sandbox = sandbox();
    let volume = sandbox.path("volume");
    create(&sandbox, &volume, "32MiB");
    let history = History::new(BLOCKS);
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut acknowledged, mut recovered) = (0, 0);
    for number in 0..rounds {
        let served = Served::start(&sandbox, &volume);
        recovered += u64::from(served.greeting.contains("recovered"));
        check(&served, &history, &format!("seed {seed} round {number}"));
        let target = match rng.random_range(0..4) {
            0 => rng.random_range(1..20),
            _ => rng.random_range(20..1500),
        };
        let round = Round { history: &history, acknowledged: AtomicU64::new(0), target };
        let (sender, reached) = mpsc::channel();
        let socket = served.socket().to_owned();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..CONNECTIONS)
                .map(|connection| {
                    let (round, sender, seed) = (&round, sender.clone(), rng.random());
                    let mut client = NbdClient::connect(&socket).unwrap();
                    let name = format!("connection {connection}");
                    std::thread::Builder::new()
                        .name(name)
                        .spawn_scoped(scope, move || round.run(&mut client, seed, &sender))
                        .unwrap()
                })
                .collect();
            drop(sender);
            // An error: every connection ended before, and says why below.
            let outcome = reached.recv();
            served.kill();
            for worker in workers {
                match worker.join() {
                    Ok(error) => assert!(outcome.is_ok(), "a connection ended early: {error}"),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        acknowledged += round.acknowledged.load(Ordering::SeqCst);
        if number % 10 == 9 {
            // Of a volume that nobody has recovered yet.
            verify(&sandbox, &volume);
        }
    }
    let served = Served::start(&sandbox, &volume);
    check(&served, &history, "at the end");
    let memory = served.peak_memory() >> 20;
    served.stop();
    verify(&sandbox, &volume);
    let served = Served::start(&sandbox, &volume);
    assert!(!served.greeting.contains("recovered"), "{}", served.greeting);
    check(&served, &history, "after a stop");
    served.stop();
    println!(
        "{rounds} kills, {acknowledged} requests acknowledged, {recovered} recoveries, server \
         memory {memory} MiB, {:.1} s",
        watch.elapsed().as_secs_f64()
    );
    assert!(rounds < 10 || recovered > rounds / 2, "{recovered} recoveries");
}

/// What fio does.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Write,
    Verify,
}

/// A fio command in the sandbox, where it may leave its files. Half of the volume takes random
/// writes of mixed sizes and a quarter takes ranges that are trimmed and then written, which are
/// both verified; beside them the last quarter is written and trimmed at random.
/// (fio 3.33 cannot verify random trims.)
fn fio(sandbox: &Sandbox, served: &Served, mib: u64, pass: Pass) -> Command {
    let mut command = program("fio");
    command.current_dir(sandbox.path(""));
    command.args(["--ioengine=nbd", &format!("--uri={}", served.uri())]);
    command.args(["--iodepth=32", "--randseed=7", "--allrandrepeat=1"]);
    let mut job = |name: &str, from: u64, to: u64, options: &[&str]| {
        command.arg(format!("--name={name}"));
        command.arg(format!("--offset={}m", mib * from / 4));
        command.arg(format!("--size={}m", mib * (to - from) / 4));
        command.arg(format!("--filesize={}m", mib * to / 4));
        command.args(options);
        if options.contains(&"--verify=crc32c") {
            command.args(["--verify_fatal=1", "--verify_state_save=0"]);
            command.arg(match pass {
                Pass::Write => "--do_verify=0",
                Pass::Verify => "--verify_only=1",
            });
        }
    };
    const SIZES: &str = "--bsrange=4k-256k";
    job("writes", 0, 2, &["--rw=randwrite", SIZES, "--verify=crc32c"]);
    job("trimwrites", 2, 3, &["--rw=trimwrite", "--bs=64k", "--verify=crc32c"]);
    if pass == Pass::Write {
        job("churn", 3, 4, &["--rw=randwrite", SIZES, "--loops=3"]);
        job("trims", 3, 4, &["--rw=randtrim", SIZES, "--loops=3"]);
    }
    command
}

#[test]
fn fio_verifies_after_a_restart() {
    let watch = Stopwatch::new();
    let mib = env_u64("SEALVOL_FIO_MIB", 256);
    let sandbox = sandbox();
    let volume = sandbox.path("volume");
    create(&sandbox, &volume, &format!("{mib}MiB"));
    let served = Served::start(&sandbox, &volume);
    // It can say no: nothing is there yet.
    let outcome = fio(&sandbox, &served, mib, Pass::Verify).output().unwrap();
    assert!(!outcome.status.success(), "fio verified an empty volume: {outcome:?}");
    run(&mut fio(&sandbox, &served, mib, Pass::Write));
    served.stop();
    verify(&sandbox, &volume);
    let served = Served::start(&sandbox, &volume);
    run(&mut fio(&sandbox, &served, mib, Pass::Verify));
    // The same once more after a kill in the middle of other writes.
    let mut writing = fio(&sandbox, &served, mib, Pass::Write);
    let mut writing = writing.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut client = NbdClient::connect(served.socket()).unwrap();
    for _ in 0..200 {
        client.read(0, 1 << 20).unwrap();
    }
    served.kill();
    writing.wait().unwrap();
    let served = Served::start(&sandbox, &volume);
    run(&mut fio(&sandbox, &served, mib, Pass::Write));
    run(&mut fio(&sandbox, &served, mib, Pass::Verify));
    served.stop();
    verify(&sandbox, &volume);
    println!("fio wrote and verified {mib} MiB, {:.1} s", watch.elapsed().as_secs_f64());
}
