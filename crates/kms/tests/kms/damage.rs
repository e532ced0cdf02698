//! Crashes and damage: a store cut at every length and flipped at every byte either opens with
//! what was acknowledged, or is refused with the place. An acknowledged change in the middle is
//! never dropped silently.
//!
//! Method: a store with several records is made once. With the note of acknowledgement beside it
//! (the state after `kill -9`, or after damage on disk) nothing may be missing. Without the note
//! (the state after a power loss, at its worst) the last record may be dropped if it is torn, and
//! nothing else.

use std::fs;
use std::path::Path;

use sealvol_core::ErrorKind;
use sealvol_kms::codec::{StoreImage, decode_root_key_file, decode_store};
use sealvol_kms::{Kms, OpenError};
use tempfile::{TempDir, tempdir};

use crate::support::{contents, open};

struct Made {
    dir: TempDir,
    store: Vec<u8>,
    note: Vec<u8>,
    /// What was listed after each change; the first entry is the empty KMS.
    after: Vec<String>,
    /// Length of the store after each change.
    ends: Vec<usize>,
}

impl Made {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let kms = open(dir.path()).unwrap();
        let me = kms.root_caller();
        let (mut after, mut ends) = (Vec::new(), Vec::new());
        let mut note = |kms: &std::sync::Arc<Kms>| {
            after.push(contents(kms));
            ends.push(len(dir.path()));
        };
        note(&kms);
        let key = kms.create_key(&me, "one").unwrap();
        note(&kms);
        kms.create_alias(&me, "alias/a", &key.key_id).unwrap();
        note(&kms);
        kms.disable_key(&me, &key.key_id).unwrap();
        note(&kms);
        kms.enable_key(&me, &key.key_id).unwrap();
        note(&kms);
        drop(kms);
        let store = fs::read(dir.path().join("store")).unwrap();
        let acknowledged = fs::read(dir.path().join("acknowledged")).unwrap();
        Self { dir, store, note: acknowledged, after, ends }
    }

    /// Opens the KMS with these bytes as its store.
    fn open(&self, store: &[u8], with_note: bool) -> Result<String, OpenError> {
        // Written over the same file, as a disk that changes would.
        fs::write(self.dir.path().join("store"), store).unwrap();
        let note = self.dir.path().join("acknowledged");
        if with_note {
            fs::write(note, &self.note).unwrap();
        } else {
            fs::remove_file(note).unwrap();
        }
        open(self.dir.path()).map(|kms| contents(&kms))
    }

    fn last_start(&self) -> usize {
        self.ends[self.ends.len() - 2]
    }
}

fn len(dir: &Path) -> usize {
    usize::try_from(fs::metadata(dir.join("store")).unwrap().len()).unwrap()
}

#[track_caller]
fn refused_as_damage(result: Result<String, OpenError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, OpenError::Store { .. }), "{error}");
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported));
    assert!(std::error::Error::source(&error).is_some(), "it does not say what is damaged");
}

#[test]
fn cut_at_every_length() {
    let made = Made::new();
    for cut in 0..made.store.len() {
        let store = &made.store[..cut];
        refused_as_damage(made.open(store, true));
        let without = made.open(store, false);
        match made.ends.iter().rposition(|end| *end <= cut) {
            Some(changes) => {
                assert_eq!(without.unwrap(), made.after[changes], "cut at {cut}");
                // The torn tail is gone for good: what follows is appended to good records.
                assert_eq!(len(made.dir.path()), made.ends[changes]);
            }
            None => refused_as_damage(without),
        }
    }
}

#[test]
fn flipped_at_every_byte() {
    let made = Made::new();
    for at in 0..made.store.len() {
        let mut store = made.store.clone();
        store[at] ^= 1 << (at % 8);
        refused_as_damage(made.open(&store, true));
        let without = made.open(&store, false);
        if at < made.last_start() {
            refused_as_damage(without);
        } else {
            // It cannot be told from a torn, unacknowledged write.
            assert_eq!(without.unwrap(), made.after[made.after.len() - 2], "byte {at}");
        }
    }
    assert_eq!(made.open(&made.store, true).unwrap(), *made.after.last().unwrap());
}

#[test]
fn zeroed_sectors_of_the_last_record() {
    let made = Made::new();
    let start = made.last_start();
    for from in start..made.store.len() {
        let mut store = made.store.clone();
        store[from..].fill(0);
        refused_as_damage(made.open(&store, true));
        let opened = made.open(&store, false).unwrap();
        let expected =
            if store == made.store { made.after.len() - 1 } else { made.after.len() - 2 };
        assert_eq!(opened, made.after[expected]);
    }
}

#[test]
fn garbage_behind_the_journal() {
    let made = Made::new();
    for garbage in [&[0; 1][..], &[0xff; 700]] {
        let store = [&made.store, garbage].concat();
        // An unacknowledged append that failed half-way.
        assert_eq!(made.open(&store, true).unwrap(), *made.after.last().unwrap());
        assert_eq!(made.open(&store, false).unwrap(), *made.after.last().unwrap());
    }
    // More than one record can be: no append left this.
    let store = [&made.store[..], &vec![0; sealvol_kms::codec::RECORD_LEN_MAX + 1]].concat();
    refused_as_damage(made.open(&store, false));
}

#[test]
fn records_cannot_be_left_out_repeated_or_swapped() {
    let made = Made::new();
    let piece = |n: usize| &made.store[made.ends[n]..made.ends[n + 1]];
    let head = &made.store[..made.ends[0]];
    for order in [&[1, 2, 3][..], &[0, 2, 3], &[0, 1, 1, 2, 3], &[0, 2, 1, 3], &[0, 0]] {
        let mut store = head.to_vec();
        for n in order {
            store.extend_from_slice(piece(*n));
        }
        refused_as_damage(made.open(&store, true));
        // Without the note too: each of these records is whole, so none is a torn write.
        refused_as_damage(made.open(&store, false));
    }
}

/// Two histories of one store: a record fits only behind the record it was written behind.
#[test]
fn records_of_another_history_are_refused() {
    let made = Made::new();
    made.open(&made.store[..made.ends[2]], false).unwrap();
    let kms = open(made.dir.path()).unwrap();
    let me = kms.root_caller();
    let key = kms.list_keys(&me).unwrap().remove(0);
    kms.disable_key(&me, &key.key_id).unwrap();
    drop(kms);
    let mut spliced = fs::read(made.dir.path().join("store")).unwrap();
    spliced.extend_from_slice(&made.store[made.ends[3]..]);
    // As the last record it counts as torn and is dropped; what matters is that it is not taken.
    assert_eq!(made.open(&spliced, false).unwrap(), made.after[3]);
}

#[test]
fn an_older_copy_is_noticed() {
    let made = Made::new();
    let older = made.store[..made.ends[2]].to_vec();
    let error = made.open(&older, true).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("were acknowledged") && cause.contains("'acknowledged'"), "{cause}");
    // Taken on purpose, as the message says.
    assert_eq!(made.open(&older, false).unwrap(), made.after[2]);
}

#[test]
fn the_message_says_where() {
    let made = Made::new();
    let mut store = made.store.clone();
    store[made.ends[1] + 60] ^= 1;
    let error = made.open(&store, false).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    let place = format!("the journal record at byte {} (number 2) is damaged", made.ends[1]);
    assert_eq!(cause, place);
}

#[test]
fn another_stores_snapshot_is_noticed() {
    let (one, other) = (Made::new(), Made::new());
    fs::copy(one.dir.path().join("root.key"), other.dir.path().join("root.key")).unwrap();
    // Same root key, same generation, another snapshot.
    let result = other.open(&one.store, true);
    refused_as_damage(result);
}

#[test]
fn the_layout_is_what_the_codec_says() {
    let made = Made::new();
    let root = decode_root_key_file(&fs::read(made.dir.path().join("root.key")).unwrap()).unwrap();
    let StoreImage { record_ends, end, torn, header, .. } =
        decode_store(&made.store, &root, None).unwrap();
    let ends: Vec<_> = made.ends[1..].iter().map(|end| *end as u64).collect();
    assert_eq!((record_ends, end, torn), (ends, made.store.len() as u64, 0));
    assert_eq!(header.generation, 1);
}
