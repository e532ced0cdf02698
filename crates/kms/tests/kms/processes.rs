//! Several openers of one directory. Two handles of one process stand for two processes: each has
//! its own files, its own lock and its own memory, as two processes have. The last test uses real
//! processes and kills them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sealvol_envelope::{GrantTokens, RetireGrantRequest};
use sealvol_kms::{KmsSettings, RootKeySource};
use tempfile::tempdir;

use crate::support::{
    FARGATE, caller, contents, decrypt, generate, grant, open, open_with, root, settings, volume,
};

#[tokio::test]
async fn each_sees_the_others_changes_at_once() {
    for journal_len_min in [u64::MAX, 0, 500] {
        let dir = tempdir().unwrap();
        let settings = KmsSettings { journal_len_min, ..settings() };
        let open = || open_with(dir.path(), &RootKeySource::KeyFile, settings.clone()).unwrap();
        let (a, b) = (open(), open());
        let me = a.root_caller();
        let key = a.create_key(&me, "made by a").unwrap();
        assert_eq!(b.list_keys(&me).unwrap(), std::slice::from_ref(&key));
        b.create_alias(&me, "alias/sealvol", &key.key_id).unwrap();
        let made = root(&a)
            .generate_data_key_without_plaintext(generate("alias/sealvol", volume("v")))
            .await
            .unwrap();
        let created = root(&b).create_grant(grant(&key.arn, FARGATE)).await.unwrap();
        a.handle(caller(FARGATE)).decrypt(decrypt(&made.ciphertext, volume("v"))).await.unwrap();
        let token = GrantTokens(vec![created.grant_token]);
        root(&a).retire_grant(RetireGrantRequest::Token(token)).await.unwrap();
        b.handle(caller(FARGATE))
            .decrypt(decrypt(&made.ciphertext, volume("v")))
            .await
            .unwrap_err();
        b.disable_key(&me, &key.key_id).unwrap();
        root(&a).decrypt(decrypt(&made.ciphertext, volume("v"))).await.unwrap_err();
        assert_eq!(contents(&a), contents(&b));
        drop((a, b));
        assert_eq!(open().list_keys(&me).unwrap().len(), 1);
    }
}

/// Case 35 across processes: the plan sees what the other did.
#[tokio::test]
async fn names_are_taken_once() {
    let dir = tempdir().unwrap();
    let (a, b) = (open(dir.path()).unwrap(), open(dir.path()).unwrap());
    let me = a.root_caller();
    let key = a.create_key(&me, "").unwrap();
    a.create_alias(&me, "alias/a", &key.key_id).unwrap();
    let again = b.create_alias(&me, "alias/a", &key.key_id).unwrap_err();
    assert_eq!(again.code(), "AlreadyExistsException");
    let mut named = grant(&key.arn, FARGATE);
    named.name = Some("n".into());
    let first = root(&a).create_grant(named.clone()).await.unwrap();
    let second = root(&b).create_grant(named).await.unwrap();
    assert_eq!(first.grant_id, second.grant_id);
}

/// The default key is made on first use, by whoever comes first.
#[test]
fn a_default_key_is_made_once() {
    let dir = tempdir().unwrap();
    let handles: Vec<_> = (0..4).map(|_| open(dir.path()).unwrap()).collect();
    let me = handles[0].root_caller();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = handles
            .iter()
            .map(|kms| scope.spawn(|| kms.ensure_key(&me, "alias/sealvol", "default").unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap().key_id).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let again = open(dir.path()).unwrap();
    assert_eq!(again.list_keys(&me).unwrap().len(), 1);
    assert_eq!(again.ensure_key(&me, "alias/sealvol", "x").unwrap().description, "default");
    let stranger = caller("arn:aws:iam::000000000000:user/u");
    for alias in ["alias/sealvol", "alias/other"] {
        let error = again.ensure_key(&stranger, alias, "").unwrap_err();
        assert_eq!(error.code(), "AccessDeniedException");
    }
}

/// Threads on three handles change and read; afterwards every handle, and a new one, has every
/// acknowledged change.
#[test]
fn concurrent_writers_and_readers_lose_nothing() {
    for journal_len_min in [u64::MAX, 2_000] {
        let dir = tempdir().unwrap();
        let settings = KmsSettings { journal_len_min, ..settings() };
        let handles: Vec<_> = (0..3)
            .map(|_| open_with(dir.path(), &RootKeySource::KeyFile, settings.clone()).unwrap())
            .collect();
        let me = handles[0].root_caller();
        let done = Arc::new(AtomicBool::new(false));
        let mut made: Vec<String> = std::thread::scope(|scope| {
            let readers: Vec<_> = handles
                .iter()
                .map(|kms| {
                    let (me, done) = (&me, Arc::clone(&done));
                    scope.spawn(move || {
                        let mut seen = 0;
                        while !done.load(Ordering::SeqCst) {
                            let now = kms.list_keys(me).unwrap().len();
                            assert!(now >= seen, "a key that was seen is gone");
                            seen = now;
                        }
                    })
                })
                .collect();
            let writers: Vec<_> = handles
                .iter()
                .flat_map(|kms| [kms, kms])
                .map(|kms| {
                    let me = &me;
                    scope.spawn(move || -> Vec<String> {
                        (0..10)
                            .map(|n| {
                                let key = kms.create_key(me, &n.to_string()).unwrap();
                                // Read your own writes, through any handle's view.
                                assert!(kms.list_keys(me).unwrap().contains(&key));
                                key.key_id
                            })
                            .collect()
                    })
                })
                .collect();
            let made = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
            done.store(true, Ordering::SeqCst);
            readers.into_iter().for_each(|r| r.join().unwrap());
            made
        });
        made.sort();
        let ids = |kms: &Arc<sealvol_kms::Kms>| -> Vec<String> {
            kms.list_keys(&me).unwrap().into_iter().map(|key| key.key_id).collect()
        };
        for kms in &handles {
            assert_eq!(ids(kms), made);
        }
        drop(handles);
        assert_eq!(ids(&open(dir.path()).unwrap()), made);
    }
}

#[test]
fn a_deleted_lock_file_excludes_all_the_same() {
    let dir = tempdir().unwrap();
    let (a, b) = (open(dir.path()).unwrap(), open(dir.path()).unwrap());
    let me = a.root_caller();
    std::fs::remove_file(dir.path().join("lock")).unwrap();
    std::thread::scope(|scope| {
        for kms in [&a, &b] {
            let me = &me;
            scope.spawn(move || (0..20).for_each(|_| drop(kms.create_key(me, "").unwrap())));
        }
    });
    assert_eq!(a.list_keys(&me).unwrap().len(), 40);
    assert_eq!(contents(&a), contents(&b));
}

/// An opener that died in the middle of an append leaves a torn tail; the others cut it off.
#[test]
fn a_torn_tail_of_a_dead_process_is_cut_off() {
    use std::io::Write;
    let dir = tempdir().unwrap();
    let kms = open(dir.path()).unwrap();
    let me = kms.root_caller();
    kms.create_key(&me, "before").unwrap();
    let path = dir.path().join("store");
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options().append(true).open(&path).unwrap().write_all(b"SVJR\0\0").unwrap();
    assert_eq!(kms.list_keys(&me).unwrap().len(), 1);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), len);
    kms.create_key(&me, "after").unwrap();
    assert_eq!(open(dir.path()).unwrap().list_keys(&me).unwrap().len(), 2);
}

/// Damage while it is open: reads say so as well, rather than answer from memory.
#[test]
fn damage_under_an_open_kms_is_told() {
    let dir = tempdir().unwrap();
    let (a, b) = (open(dir.path()).unwrap(), open(dir.path()).unwrap());
    let me = a.root_caller();
    let start = std::fs::metadata(dir.path().join("store")).unwrap().len();
    a.create_key(&me, "").unwrap();
    let mut bytes = std::fs::read(dir.path().join("store")).unwrap();
    bytes[usize::try_from(start).unwrap() + 70] ^= 1;
    std::fs::write(dir.path().join("store"), bytes).unwrap();
    for _ in 0..2 {
        let error = b.list_keys(&me).unwrap_err();
        assert_eq!(error.code(), "KMSInternalException");
    }
    assert!(b.create_key(&me, "").is_err());
}

const CHILD_DIR: &str = "SEALVOL_KMS_TEST_CHILD_DIR";

/// What the killed processes run: make keys and say so after each, until the end.
#[test]
#[ignore = "run by killed_processes_lose_nothing_that_they_told"]
fn child_that_makes_keys() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let settings = KmsSettings { journal_len_min: 3_000, ..settings() };
    let kms = open_with(dir.as_ref(), &RootKeySource::KeyFile, settings).unwrap();
    loop {
        println!("made {}", kms.create_key(&kms.root_caller(), "").unwrap().key_id);
    }
}

#[test]
fn killed_processes_lose_nothing_that_they_told() {
    let dir = tempdir().unwrap();
    let mut told: Vec<String> = Vec::new();
    for round in 0..8 {
        let spawn = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["processes::child_that_makes_keys", "--exact", "--ignored", "--nocapture"])
                .env(CHILD_DIR, dir.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut children = [spawn(), spawn()];
        let lines = children.each_mut().map(|child| BufReader::new(child.stdout.take().unwrap()));
        let [a, b] = lines.map(|lines| {
            std::thread::spawn(move || -> Vec<String> {
                let lines = lines.lines().map_while(Result::ok);
                // A line that the kill cut off was not told.
                lines
                    .filter_map(|line| Some(line.split_once("made ")?.1.to_owned()))
                    .filter(|id| id.len() == 36)
                    .collect()
            })
        });
        // Let them run until the store has grown a little, then kill one, then the other.
        let watcher = open(dir.path()).unwrap();
        let me = watcher.root_caller();
        let goal = told.len() + 5 + 3 * round;
        while watcher.list_keys(&me).unwrap().len() < goal {
            let running = children.iter_mut().all(|child| child.try_wait().unwrap().is_none());
            assert!(running, "a child ended before it was killed");
            std::thread::yield_now();
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        told.extend(a.join().unwrap());
        told.extend(b.join().unwrap());
        for kms in [watcher, open(dir.path()).unwrap()] {
            let there: Vec<_> = kms.list_keys(&me).unwrap().into_iter().map(|k| k.key_id).collect();
            for id in &told {
                assert!(there.contains(id), "{id} was acknowledged and is gone");
            }
        }
    }
}
