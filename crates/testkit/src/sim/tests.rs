//! That the simulated disk keeps what it must, loses what it may, and does both reproducibly.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn write(disk: &SimStorage, offset: u64, data: &[u8]) {
    disk.write_at(offset, &[IoSlice::new(data)]).unwrap();
}

fn content(disk: &SimStorage) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(disk.len().unwrap()).unwrap()];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

/// The value that fills each 512-byte sector, which must be uniform.
fn sector_values(disk: &SimStorage) -> Vec<u8> {
    content(disk)
        .chunks(SECTOR_LEN)
        .map(|sector| {
            assert!(sector.iter().all(|b| *b == sector[0]), "a sector was torn");
            sector[0]
        })
        .collect()
}

#[test]
fn conforms() {
    sealvol_storage::conformance::run(|| Box::new(SimStorage::new()));
}

#[test]
fn synced_writes_survive_every_crash() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 50_000]);
    disk.sync().unwrap();
    for mode in [CrashMode::PowerLoss, CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Torn] {
        let after = disk.crash_image(&mut rng(1), mode);
        assert!(content(&after) == [1; 50_000], "{mode:?}");
    }
}

#[test]
fn unsynced_writes_are_kept_lost_and_torn() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 8192]);
    disk.sync().unwrap();
    write(&disk, 0, &[2; 8192]);
    assert_eq!(sector_values(&disk.crash_image(&mut rng(0), CrashMode::DropAll)), [1; 16]);
    assert_eq!(sector_values(&disk.crash_image(&mut rng(0), CrashMode::KeepAll)), [2; 16]);
    let mut outcomes = BTreeMap::new();
    for seed in 0..200 {
        let values = sector_values(&disk.crash_image(&mut rng(seed), CrashMode::PowerLoss));
        assert!(values.iter().all(|v| [1, 2].contains(v)));
        let kept = values.iter().filter(|v| **v == 2).count();
        let outcome = match kept {
            0 => "lost",
            16 => "kept",
            _ => "torn",
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
        let values = sector_values(&disk.crash_image(&mut rng(seed), CrashMode::Torn));
        assert!(values.contains(&1) && values.contains(&2), "torn means torn: {values:?}");
    }
    assert!(["lost", "kept", "torn"].iter().all(|o| outcomes[o] > 20), "{outcomes:?}");
}

#[test]
fn a_sector_may_hold_any_version_since_the_last_sync() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 512]);
    disk.sync().unwrap();
    for version in 2..5 {
        write(&disk, 0, &[version; 512]);
    }
    let seen: HashSet<u8> = (0..200)
        .map(|seed| sector_values(&disk.crash_image(&mut rng(seed), CrashMode::PowerLoss))[0])
        .collect();
    assert_eq!(seen, HashSet::from([1, 2, 3, 4]));
}

#[test]
fn a_seed_gives_one_crash_image() {
    let disk = SimStorage::new();
    for n in 0..50_u8 {
        write(&disk, u64::from(n) * 3000, &[n; 9000]);
    }
    let image = |seed| content(&disk.crash_image(&mut rng(seed), CrashMode::PowerLoss));
    assert!(image(7) == image(7));
    assert!((0..10).any(|seed| image(seed) != image(7)));
}

#[test]
fn the_length_is_pending_too() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 4096]);
    disk.sync().unwrap();
    write(&disk, 4096, &[2; 4096]);
    disk.allocate(0, 1 << 20, false).unwrap();
    let lens: HashSet<u64> = (0..100)
        .map(|seed| disk.crash_image(&mut rng(seed), CrashMode::PowerLoss).len().unwrap())
        .collect();
    assert_eq!(lens, HashSet::from([4096, 8192, 1 << 20]));
    // What lay past the end does not come back when the file grows again.
    for seed in 0..100 {
        let after = disk.crash_image(&mut rng(seed), CrashMode::PowerLoss);
        if after.len().unwrap() == 4096 {
            write(&after, 8192, &[3]);
            assert!(content(&after)[4096..8192].iter().all(|b| *b == 0));
        }
    }
}

#[test]
fn punches_and_prewrites_are_pending() {
    for punch in [true, false] {
        let disk = SimStorage::new();
        write(&disk, 0, &[1; 64 * 1024]);
        disk.sync().unwrap();
        if punch {
            disk.punch(1024, 32_768).unwrap();
        } else {
            disk.allocate(1024, 32_768, true).unwrap();
        }
        let zeros = |disk: &SimStorage| sector_values(disk).iter().filter(|v| **v == 0).count();
        assert_eq!(zeros(&disk), 64);
        assert_eq!(zeros(&disk.crash_image(&mut rng(0), CrashMode::DropAll)), 0);
        let counts: HashSet<usize> = (0..200)
            .map(|seed| zeros(&disk.crash_image(&mut rng(seed), CrashMode::PowerLoss)))
            .collect();
        assert!(counts.contains(&0) && counts.contains(&64) && counts.len() > 10, "{counts:?}");
        disk.sync().unwrap();
        assert_eq!(zeros(&disk.crash_image(&mut rng(0), CrashMode::DropAll)), 64);
    }
}

/// Older over newer is possible as well, which tearing alone hardly ever gives.
#[test]
fn overlapping_writes_land_in_any_order() {
    let disk = SimStorage::from_bytes(&[1; 6144]);
    write(&disk, 0, &[2; 4096]);
    write(&disk, 2048, &[3; 4096]);
    let older_on_top = [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3];
    let count = (0..400)
        .filter(|seed| {
            let after = disk.crash_image(&mut rng(*seed), CrashMode::PowerLoss);
            sector_values(&after) == older_on_top
        })
        .count();
    assert!(count > 12, "{count} of 400");
}

/// A disk, and a write of 2s to its second sector by another thread that reached the page cache and
/// returns only when told to.
fn slow_write() -> (Arc<SimStorage>, impl FnOnce()) {
    let (release, released) = mpsc::channel::<()>();
    let (reach, reached) = mpsc::channel::<()>();
    let channels = Mutex::new((released, reach));
    let disk = Arc::new(SimStorage::new().with_hook(move |point| {
        if point == HookPoint::ChangeApplied && std::thread::current().name() == Some("slow") {
            let channels = channels.lock();
            channels.1.send(()).unwrap();
            // An error means that the test failed and dropped its end.
            let _released = channels.0.recv();
        }
    }));
    write(&disk, 0, &[1; 512]);
    let thread = std::thread::Builder::new().name("slow".into()).spawn({
        let disk = Arc::clone(&disk);
        move || write(&disk, 512, &[2; 512])
    });
    reached.recv().unwrap();
    let finish = move || {
        release.send(()).unwrap();
        thread.unwrap().join().unwrap();
    };
    (disk, finish)
}

/// The ticket rule: a write that had not returned when the sync was called need not be durable.
#[test]
fn a_sync_covers_only_what_returned_before_it() {
    let (disk, finish) = slow_write();
    let durable = || sector_values(&disk.crash_image(&mut rng(0), CrashMode::DropAll));
    disk.sync().unwrap();
    assert_eq!(durable(), [1]);
    finish();
    disk.sync().unwrap();
    assert_eq!(durable(), [1, 2]);
}

/// A page goes to the disk as it is: no older write comes back over a newer durable one.
#[test]
fn an_unfinished_write_does_not_revert_a_newer_one() {
    let (disk, finish) = slow_write();
    write(&disk, 512, &[3; 512]);
    disk.sync().unwrap();
    for seed in 0..50 {
        let after = disk.crash_image(&mut rng(seed), CrashMode::PowerLoss);
        assert_eq!(sector_values(&after), [1, 3]);
    }
    finish();
    disk.sync().unwrap();
    let after = disk.crash_image(&mut rng(0), CrashMode::DropAll);
    assert_eq!(sector_values(&after), [1, 3]);
}

#[test]
fn a_failed_sync_loses_what_it_should_have_written() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 4096]);
    disk.sync().unwrap();
    write(&disk, 0, &[2; 4096]);
    disk.fail_next_sync_and_lose_pending(SyncLoss::All);
    assert_eq!(disk.sync().unwrap_err().kind(), ErrorKind::Io);
    // The page cache still shows it, and the next sync claims success.
    assert_eq!(sector_values(&disk), [2; 8]);
    disk.sync().unwrap();
    let after = disk.crash_image(&mut rng(0), CrashMode::PowerLoss);
    assert_eq!(sector_values(&after), [1; 8]);
    // A later write of the same place is durable again.
    write(&disk, 0, &[3; 512]);
    disk.sync().unwrap();
    let after = disk.crash_image(&mut rng(0), CrashMode::PowerLoss);
    assert_eq!(sector_values(&after), [vec![3], vec![1; 7]].concat());

    let partly: HashSet<Vec<u8>> = (0..40)
        .map(|seed| {
            let disk = disk.fork();
            write(&disk, 0, &[4; 4096]);
            disk.lose_pending(SyncLoss::Part(seed));
            disk.sync().unwrap();
            sector_values(&disk.crash_image(&mut rng(0), CrashMode::PowerLoss))
        })
        .collect();
    assert!(partly.len() > 5, "{partly:?}");
}

#[test]
fn the_journal_replays_every_moment() {
    let disk = SimStorage::new();
    let mut live = vec![content(&disk)];
    let mut durable = vec![Vec::new()];
    for n in 1..40_u8 {
        match n % 8 {
            0 => {
                disk.sync().unwrap();
                // A sync is two operations, and its start changes nothing.
                live.extend_from_within(live.len() - 1..);
                durable.extend_from_within(durable.len() - 1..);
            }
            5 => disk.punch(u64::from(n) * 100, 9000).unwrap(),
            6 => disk.allocate(0, u64::from(n) * 1000, true).unwrap(),
            7 => disk.mark(u64::from(n)),
            _ => write(&disk, u64::from(n) * 777, &[n; 3000]),
        }
        live.push(content(&disk));
        durable.push(content(&disk.crash_image(&mut rng(0), CrashMode::DropAll)));
    }
    let journal = disk.journal();
    assert_eq!(journal.len() + 1, live.len());
    assert_eq!(journal.len() as u64, disk.op_count());
    let mut cursor = journal.cursor();
    loop {
        let at = cursor.index();
        let kept = cursor.crash(&mut rng(3), CrashMode::KeepAll);
        assert!(content(&kept) == live[at], "live content before op {at}");
        let dropped = cursor.crash(&mut rng(3), CrashMode::DropAll);
        assert!(content(&dropped) == durable[at], "durable content before op {at}");
        let again = journal.replay_to(at).crash(&mut rng(5), CrashMode::PowerLoss);
        assert!(content(&again) == content(&cursor.crash(&mut rng(5), CrashMode::PowerLoss)));
        if cursor.advance().is_none() {
            break;
        }
    }
    assert_eq!(cursor.last_mark(), Some(39));
    assert_eq!(cursor.index(), journal.len());
}

#[test]
fn a_crash_can_hit_the_middle_of_a_write() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 40_960]);
    disk.sync().unwrap();
    write(&disk, 0, &[2; 40_960]);
    let journal = disk.journal();
    let mut cursor = journal.replay_to(3);
    assert!(cursor.advance_to_crash_point());
    assert_eq!(cursor.next_op(), Some(Op::Write { offset: 0, len: 40_960 }));
    let before = cursor.crash(&mut rng(0), CrashMode::KeepAll);
    assert_eq!(sector_values(&before), [1; 80]);
    // A killed process leaves a prefix of pages; power loss leaves any sectors.
    let mut prefixes = HashSet::new();
    let mut scattered = false;
    for seed in 0..100 {
        let killed = sector_values(&cursor.crash_during_next(&mut rng(seed), CrashMode::KeepAll));
        let count = killed.iter().take_while(|v| **v == 2).count();
        assert!(count % 8 == 0 && killed[count..].iter().all(|v| *v == 1));
        prefixes.insert(count);
        let lost = sector_values(&cursor.crash_during_next(&mut rng(seed), CrashMode::PowerLoss));
        scattered |= lost.windows(3).any(|w| w == [1, 2, 1]);
    }
    assert_eq!(prefixes.len(), 11);
    assert!(scattered);
    cursor.advance();
    assert!(!cursor.advance_to_crash_point());
}

#[test]
fn forgetting_keeps_the_state_and_the_last_mark() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 512]);
    disk.mark(11);
    disk.forget();
    assert_eq!(disk.op_count(), 2);
    assert!(disk.journal().is_empty());
    assert_eq!(disk.journal().cursor().last_mark(), Some(11));
    write(&disk, 512, &[2; 512]);
    disk.sync().unwrap();
    let end = disk.journal().replay_to(usize::MAX);
    assert_eq!(sector_values(&end.crash(&mut rng(0), CrashMode::DropAll)), [1, 2]);
    let start = disk.journal().cursor();
    assert_eq!(start.pending(), 1);
    assert_eq!(sector_values(&start.crash(&mut rng(0), CrashMode::KeepAll)), [1]);
}

#[test]
fn damage_hits_the_disk_and_the_cache() {
    let disk = SimStorage::new();
    write(&disk, 0, &[1; 2048]);
    disk.sync().unwrap();
    disk.flip_bit(5, 3);
    assert_eq!(content(&disk)[5], 1 ^ 8);
    let before = content(&disk);
    disk.damage_sector(2, &mut rng(1));
    let after = content(&disk.crash_image(&mut rng(0), CrashMode::DropAll));
    assert!(after[..1024] == before[..1024] && after[1536..] == before[1536..]);
    assert!(after[1024..1536] != before[1024..1536]);
    disk.swap_ranges(0, 1024, 512);
    let swapped = content(&disk);
    assert!(swapped[..512] == after[1024..1536] && swapped[1024..1536] == after[..512]);
    let replayed = disk.journal().replay_to(usize::MAX).crash(&mut rng(0), CrashMode::DropAll);
    assert!(content(&replayed) == swapped);
    assert_eq!(disk.written_sectors(), [0, 1, 2, 3]);
}

#[test]
fn a_full_host_refuses_growth_only() {
    let disk = SimStorage::from_bytes(&[1; 4096]);
    disk.set_len_limit(Some(8192));
    write(&disk, 4096, &[2; 4096]);
    let error = disk.write_at(8000, &[IoSlice::new(&[3; 200])]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(disk.allocate(0, 8193, true).unwrap_err().kind(), ErrorKind::NoSpace);
    write(&disk, 0, &[4; 4096]);
    disk.set_len_limit(None);
    disk.allocate(0, 8193, true).unwrap();
}

/// The budget that crash loops rely on, with room for a slow machine and an unoptimised build.
#[test]
fn crash_images_are_cheap() {
    let disk = SimStorage::new();
    for n in 0..480_u64 {
        write(&disk, n * 4096, &[1; 4096]);
    }
    disk.allocate(1 << 22, 1 << 30, true).unwrap();
    disk.sync().unwrap();
    for n in 0..5_u64 {
        write(&disk, (1 << 22) + n * 65_536, &[2; 65_536]);
    }
    let cursor = disk.journal().replay_to(usize::MAX);
    let mut rng = rng(1);
    #[expect(clippy::disallowed_methods, reason = "the time is the subject")]
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        let _image = cursor.crash(&mut rng, CrashMode::PowerLoss);
    }
    let each = start.elapsed() / 1000;
    println!("{each:?} for each crash image");
    assert!(each < std::time::Duration::from_millis(2), "{each:?} for each crash image");
}
