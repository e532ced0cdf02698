//! Goal: the daemon tells no lies under load and across `kill -9`: what it acknowledged is there, what
//! it answers is right, and what it did is in the audit.
//!
//! Method: 64 clients on connections that they keep, for a minute. Owners change their own two keys
//! (state, rotation, tags, policy, description, aliases), granters make, use and end grants of a user
//! each, users encrypt, decrypt and re-encrypt with everybody's keys. The daemon is killed in between,
//! and started again on its directory. Whoever changes something knows its last acknowledged state; a
//! change whose answer was lost must have happened as a whole or not at all, which its maker looks up
//! at the next daemon. An answer to a user is judged by the key's state where no change of it was
//! under way. After the storm the daemon is killed once more, and all of it is compared.
//!
//! Budget: `SEALVOL_STORM_SECONDS` (default 60), `SEALVOL_STORM_KILLS` (default 3),
//! `SEALVOL_STORM_SEED` (default random, printed). A seed repeats what is asked, not how the clients
//! interleave.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed step fails the test, and says what it was"
)]

mod audit;
mod caller;
mod granter;
mod owner;
mod user;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_tests::cli::Sandbox;
use sealvol_tests::daemon::{AccessKey, Daemon};
use sealvol_tests::tools::{Stopwatch, env_u64};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::audit::audit;
use crate::caller::{Acknowledged, Caller};
use crate::granter::{Granter, grant};
use crate::owner::{Owner, own};
use crate::user::{check_decrypted, user};
use crate::world::{Link, State, Storm};

const OWNERS: usize = 16;
const GRANTERS: usize = 16;
const USERS: usize = 32;
/// A record is in its file within this after the answer.
const AUDIT_DELAY: Duration = Duration::from_secs(1);

fn config() -> String {
    let mut text = "[kms]\nrotation_delay = { secs = 0, nanos = 20000000 }\n\
                    on_demand_rotations_max = 100000\njournal_len_min = 262144\n\
                    [[account]]\nid = \"000000000000\"\n"
        .to_owned();
    for index in 0..GRANTERS {
        let AccessKey { id, secret } = grantee_key(index);
        text.push_str(&format!(
            "[[account.user]]\nname = \"grantee-{index}\"\n\
             access_keys = [{{ id = \"{id}\", secret = \"{secret}\" }}]\n"
        ));
    }
    text
}

fn grantee_key(index: usize) -> AccessKey {
    AccessKey::new(format!("AKIASTORM{index:02}"), format!("secret-of-grantee-{index}"))
}

/// What a client ends with.
enum Done {
    Owner(Box<Owner>),
    Granter(Box<Granter>),
    User(Vec<Acknowledged>),
}

/// Lets time pass; a client that ends meanwhile has failed.
async fn rage(clients: &mut JoinSet<Done>, time: Duration) {
    if let Ok(ended) = timeout(time, clients.join_next()).await {
        match ended.expect("there are clients") {
            Ok(_) => panic!("a client ended by itself"),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

/// Kills the daemon and starts the next one. When it was killed.
fn kill_and_restart(storm: &Storm, daemon: Daemon, sandbox: &Sandbox) -> (Daemon, Duration) {
    let at = storm.watch.elapsed();
    daemon.kill();
    let epoch = storm.link.borrow().epoch + 1;
    storm.link.send_replace(Link { epoch, address: None });
    let daemon = Daemon::start(sandbox);
    assert_eq!(daemon.root_key.id, storm.root.id);
    storm.link.send_replace(Link { epoch, address: Some(daemon.address.clone()) });
    (daemon, at)
}

fn clients(storm: &Arc<Storm>, seed: u64) -> JoinSet<Done> {
    let mut clients = JoinSet::new();
    let mut seeds = StdRng::seed_from_u64(seed);
    for index in 0..OWNERS {
        let owner = Owner {
            name: format!("owner-{index}"),
            caller: Caller::new(storm, storm.root.clone()),
            rng: StdRng::seed_from_u64(seeds.random()),
            places: Vec::new(),
            keys: Vec::new(),
            materials: Vec::new(),
            maybe: Vec::new(),
            changes: 0,
            in_doubt: 0,
        };
        clients.spawn(async { Done::Owner(Box::new(own(owner).await)) });
    }
    for index in 0..GRANTERS + USERS {
        let caller = Caller::new(storm, storm.root.clone());
        let (rng, storm) = (StdRng::seed_from_u64(seeds.random()), Arc::clone(storm));
        clients.spawn(async move {
            while storm.keys.lock().is_empty() {
                tokio::task::yield_now().await;
            }
            if index >= GRANTERS {
                return Done::User(user(caller, rng).await);
            }
            let granter = Granter {
                index,
                grantee: Caller::new(&storm, grantee_key(index)),
                root: caller,
                rng,
                live: Vec::new(),
                made: 0,
                ended: 0,
                in_doubt: 0,
                denied: 0,
                named: 0,
            };
            Done::Granter(Box::new(grant(granter).await))
        });
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_no_answer_is_wrong() {
    let seconds = env_u64("SEALVOL_STORM_SECONDS", 60);
    let kills = env_u64("SEALVOL_STORM_KILLS", 3);
    let seed = env_u64("SEALVOL_STORM_SEED", rand::random_range(0..1 << 32));
    println!(
        "SEALVOL_STORM_SEED={seed} SEALVOL_STORM_SECONDS={seconds} SEALVOL_STORM_KILLS={kills}"
    );
    let mut rng = StdRng::seed_from_u64(seed);
    let sandbox = Sandbox::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(sandbox.path("config.toml"), config()).unwrap();
    let mut daemon = Daemon::start(&sandbox);
    let link = Link { epoch: 0, address: Some(daemon.address.clone()) };
    let storm = Arc::new(Storm {
        link: watch::Sender::new(link),
        root: daemon.root_key.clone(),
        keys: Mutex::default(),
        ending: AtomicBool::new(false),
        watch: Stopwatch::new(),
        lost: AtomicU64::new(0),
        judged: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let mut running = clients(&storm, rng.random());
    let mut killed_at = Vec::new();
    for _ in 0..kills {
        let share = Duration::from_secs(seconds) / u32::try_from(kills + 1).unwrap();
        rage(&mut running, share.mul_f64(rng.random_range(0.8..1.2))).await;
        let killed = tokio::task::block_in_place(|| kill_and_restart(&storm, daemon, &sandbox));
        daemon = killed.0;
        killed_at.push(killed.1);
    }
    rage(&mut running, Duration::from_secs(seconds).saturating_sub(storm.watch.elapsed())).await;
    storm.ending.store(true, Ordering::SeqCst);
    let raged = storm.watch.elapsed();
    let (mut owners, mut granters, mut acknowledged) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        match done {
            Ok(Done::Owner(owner)) => owners.push(*owner),
            Ok(Done::Granter(granter)) => granters.push(*granter),
            Ok(Done::User(calls)) => acknowledged.extend(calls),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    // Everything that is known now was acknowledged or looked up. Another kill must not change it.
    let killed = tokio::task::block_in_place(|| kill_and_restart(&storm, daemon, &sandbox));
    daemon = killed.0;
    killed_at.push(killed.1);
    for owner in &mut owners {
        owner.check("after the storm").await;
    }
    for granter in &mut granters {
        granter.check().await;
    }
    let mut root = Caller::new(&storm, storm.root.clone());
    let maybe: BTreeSet<_> = owners.iter().flat_map(|owner| owner.maybe.iter().cloned()).collect();
    let known: BTreeSet<_> = storm.keys.lock().iter().map(|key| key.arn.clone()).collect();
    let listed = root.list("ListKeys", json!({}), "Keys").await;
    let listed: BTreeSet<_> =
        listed.iter().map(|key| key["KeyArn"].as_str().unwrap().to_owned()).collect();
    assert!(listed.is_superset(&known), "keys are gone: {known:?} {listed:?}");
    for extra in listed.difference(&known) {
        let told = root.read("DescribeKey", &json!({ "KeyId": extra })).await;
        let description = told.body["KeyMetadata"]["Description"].as_str().unwrap();
        assert!(maybe.contains(description), "a key that nobody made: {told:?}");
    }

    // Every key is made usable; then each ciphertext that was kept opens.
    let mut opened = 0_u64;
    for owner in &mut owners {
        for index in 0..owner.keys.len() {
            let shared = owner.shared(index);
            let key = json!({ "KeyId": shared.arn });
            if owner.keys[index].state == State::PendingDeletion {
                root.read("CancelKeyDeletion", &key).await;
            }
            root.read("EnableKey", &key).await;
            shared.set(Some(State::Enabled));
            let samples = std::mem::take(&mut *shared.samples.lock());
            for sample in samples {
                let request =
                    json!({ "CiphertextBlob": sample.blob, "EncryptionContext": sample.context });
                let answer = root.read("Decrypt", &request).await;
                check_decrypted(&sample, &shared.arn, &answer);
                if let Some(material) = &sample.material {
                    assert!(owner.materials[index].contains(material), "{sample:?}");
                }
                opened += 1;
            }
        }
    }
    let mut grants_used = 0_u64;
    for granter in &mut granters {
        for grant in granter.live.clone() {
            let Some(sample) = &grant.sample else { continue };
            let request =
                json!({ "CiphertextBlob": sample.blob, "EncryptionContext": sample.context });
            let answer = granter.grantee.read("Decrypt", &request).await;
            check_decrypted(sample, &storm.key(grant.key).arn, &answer);
            grants_used += 1;
        }
        let denied = granter.denied;
        granter.use_one().await;
        assert!(granter.live.is_empty() || granter.denied > denied);
    }
    daemon.stop();

    // The audit has every acknowledged call once, but for those just before a kill.
    let sum = |of: &dyn Fn(&Owner) -> u64| owners.iter().map(of).sum::<u64>();
    let (changes, changes_in_doubt) = (sum(&|o| o.changes), sum(&|o| o.in_doubt));
    let sum = |of: &dyn Fn(&Granter) -> u64| granters.iter().map(of).sum::<u64>();
    let (made, ended) = (sum(&|g| g.made), sum(&|g| g.ended));
    let (grants_in_doubt, denied) = (sum(&|g| g.in_doubt), sum(&|g| g.denied));
    let rotations: usize = owners.iter().flat_map(|o| &o.keys).map(|key| key.rotations).sum();
    acknowledged.extend(owners.into_iter().flat_map(|owner| owner.caller.acknowledged));
    for granter in granters {
        acknowledged.extend(granter.root.acknowledged);
        acknowledged.extend(granter.grantee.acknowledged);
    }
    acknowledged.extend(root.acknowledged);
    let (records, torn) = audit(&sandbox.path("data").join("audit"));
    assert!(torn <= killed_at.len(), "{torn} lines are no JSON");
    let mut unrecorded = 0_u64;
    for call in &acknowledged {
        match records.get(&call.request_id) {
            Some((name, times)) => {
                assert_eq!((name.as_str(), *times), (call.operation, 1), "{call:?}");
            }
            None => {
                let killed = killed_at.get(call.epoch).copied();
                let excused = killed.is_some_and(|killed| call.at + AUDIT_DELAY > killed);
                assert!(excused, "{call:?} is not in the audit; killed at {killed_at:?}");
                unrecorded += 1;
            }
        }
    }
    println!(
        "{} acknowledged calls in {:.1} s ({:.0}/s), {} kills; {} answers lost\n\
         {} keys, {changes} changes and {rotations} rotations, {changes_in_doubt} in doubt\n\
         {made} grants made, {ended} ended, {grants_in_doubt} in doubt, {grants_used} used at the \
         end, {denied} denials\n\
         {} uses judged by a state that was known, {} refused for it\n\
         {opened} ciphertexts opened at the end\n\
         {} audit records, {unrecorded} calls just before a kill without one, {torn} torn lines\n\
         {:.1} s in all",
        acknowledged.len(),
        raged.as_secs_f64(),
        acknowledged.len() as f64 / raged.as_secs_f64(),
        killed_at.len(),
        storm.lost.load(Ordering::Relaxed),
        known.len(),
        storm.judged.load(Ordering::Relaxed),
        storm.refused.load(Ordering::Relaxed),
        records.len(),
        storm.watch.elapsed().as_secs_f64(),
    );
    assert!(opened > 100 && changes > 100 && made > 20, "nothing happened");
}
