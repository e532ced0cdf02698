//! Looks for plaintext in a sealed file: whether any 64-byte block of the plaintext with at least 16
//! distinct byte values occurs in the file, at any byte offset. Every such block is looked for, none
//! is left out.
//!
//! Each 64-byte run is known by its *anchor*: of the 57 words of 8 bytes in it, the one that a
//! mixing function makes smallest. Equal runs have equal anchors, wherever they are, and neighbouring
//! windows mostly share theirs, so that few words of the file have to be looked up. What has a known
//! anchor is compared with the plaintext itself.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const RUN_LEN: usize = 64;
const WORD_LEN: usize = 8;
const WORDS: usize = RUN_LEN - WORD_LEN + 1;
const DISTINCT_MIN: u32 = 16;
/// 2^30 bits: 128 MiB.
const BITMAP_SHIFT: u32 = 30;
const CHUNK_LEN: usize = 1 << 20;

/// The order by which a run's anchor is chosen, one to one but for words of one repeated byte: those
/// are last, because padding is full of them.
fn rank(word: u64) -> u64 {
    if word == (word & 0xff).wrapping_mul(0x0101_0101_0101_0101) {
        return u64::MAX;
    }
    (word ^ (word >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The ranks of all words in `bytes`, by their offsets.
fn ranks(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.array_windows::<WORD_LEN>().map(|word| rank(u64::from_le_bytes(*word)))
}

fn place(rank: u64) -> (usize, u64) {
    let mixed = rank.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> (64 - BITMAP_SHIFT);
    (usize::try_from(mixed / 64).unwrap_or(0), 1 << (mixed % 64))
}

/// Whether a run has enough distinct byte values to be worth looking for.
fn is_telling(run: &[u8]) -> bool {
    let mut seen = [0_u64; 4];
    for byte in run {
        if let Some(word) = seen.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }
    seen.iter().map(|word| word.count_ones()).sum::<u32>() >= DISTINCT_MIN
}

/// The telling runs of a plaintext.
#[derive(Debug)]
pub struct Plaintext {
    file: File,
    bitmap: Vec<u64>,
    anchors: Vec<u64>,
    /// How many runs are looked for.
    pub runs: u64,
}

/// A run of the plaintext found in the other file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leak {
    /// Where it was found.
    pub offset: u64,
    /// Where the plaintext has it.
    pub plaintext_offset: u64,
}

/// Reads `[from, to)` in chunks, each overlapping the one before it by `overlap` bytes.
fn chunks(
    file: &File,
    from: u64,
    to: u64,
    overlap: usize,
    mut each: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_LEN];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
        let part = buffer.get_mut(..len).unwrap_or_default();
        file.read_exact_at(part, at)?;
        each(at, part);
        if at + len as u64 == to {
            break;
        }
        at += (len - overlap) as u64;
    }
    Ok(())
}

impl Plaintext {
    /// Reads a plaintext file and takes its telling runs, at offsets that are multiples of 64.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut bitmap = vec![0_u64; 1 << (BITMAP_SHIFT - 6)];
        let (mut anchors, mut runs) = (Vec::new(), 0);
        chunks(&file, 0, len, 0, |_, part| {
            for run in part.chunks_exact(RUN_LEN).filter(|run| is_telling(run)) {
                let anchor = ranks(run).min().unwrap_or(u64::MAX);
                runs += 1;
                let (word, bit) = place(anchor);
                if let Some(word) = bitmap.get_mut(word) {
                    *word |= bit;
                }
                anchors.push(anchor);
            }
        })?;
        anchors.sort_unstable();
        anchors.dedup();
        anchors.shrink_to_fit();
        Ok(Self { file, bitmap, anchors, runs })
    }

    fn is_anchor(&self, rank: u64) -> bool {
        let (word, bit) = place(rank);
        self.bitmap.get(word).is_some_and(|word| word & bit != 0)
            && self.anchors.binary_search(&rank).is_ok()
    }

    /// Looks through a file. `None`: no run of the plaintext is in it.
    ///
    /// # Errors
    /// When either file cannot be read.
    ///
    /// # Panics
    /// When a thread does.
    pub fn find_in(&self, path: &Path) -> io::Result<Option<Leak>> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let share = len.div_ceil(threads);
        let found: Vec<io::Result<Option<Leak>>> = std::thread::scope(|scope| {
            let file = &file;
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    let from = thread * share;
                    let to = (from + share + RUN_LEN as u64 - 1).min(len);
                    scope.spawn(move || self.find_between(file, from, to))
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
        });
        found.into_iter().find(|found| !matches!(found, Ok(None))).unwrap_or(Ok(None))
    }

    fn find_between(&self, file: &File, from: u64, to: u64) -> io::Result<Option<Leak>> {
        let mut found = Ok(None);
        let mut values = Vec::new();
        let mut suspects = Suspects::new();
        chunks(file, from, to, RUN_LEN - 1, |at, part| {
            if !matches!(found, Ok(None)) {
                return;
            }
            values.clear();
            values.extend(ranks(part));
            let (mut least, mut least_at) = (u64::MAX, 0);
            for (index, value) in values.iter().enumerate() {
                let is_new = if *value <= least {
                    (least, least_at) = (*value, index);
                    true
                } else if index >= least_at + WORDS {
                    // It has left the window: the least of those that are in it.
                    let first = index + 1 - WORDS;
                    let window = values.get(first..=index).unwrap_or_default();
                    for (value, at) in window.iter().zip(first..) {
                        if at == first || *value <= least {
                            (least, least_at) = (*value, at);
                        }
                    }
                    true
                } else {
                    index + 1 == WORDS
                };
                if is_new && index + 1 >= WORDS && self.is_anchor(least) {
                    suspect(&mut suspects, at, part, least_at);
                }
            }
            if suspects.len() >= MOST_SUSPECTS {
                found = self.look_up(&suspects);
                suspects.clear();
            }
        })?;
        if matches!(found, Ok(None)) { self.look_up(&suspects) } else { found }
    }

    /// Different runs can have the same anchor (eight zero bytes between ciphertext and padding are
    /// one): whether the plaintext really has one of these, by one pass over it.
    fn look_up(&self, suspects: &Suspects) -> io::Result<Option<Leak>> {
        let mut found: Option<Leak> = None;
        if suspects.is_empty() {
            return Ok(found);
        }
        let len = self.file.metadata()?.len();
        chunks(&self.file, 0, len, 0, |at, part| {
            for (run, index) in part.chunks_exact(RUN_LEN).zip(0_u64..) {
                let run = run.first_chunk::<RUN_LEN>();
                if let Some(offset) = run.and_then(|run| suspects.get(run))
                    && found.is_none_or(|leak| *offset < leak.offset)
                {
                    let plaintext_offset = at + index * RUN_LEN as u64;
                    found = Some(Leak { offset: *offset, plaintext_offset });
                }
            }
        })?;
        Ok(found)
    }
}

/// Telling runs whose anchor the plaintext has too, with where they were seen first.
type Suspects = HashMap<[u8; RUN_LEN], u64>;

/// Suspects that are collected before the plaintext is gone through: about 150 MiB.
const MOST_SUSPECTS: usize = 1 << 20;

/// Notes each telling window of `part` that contains the word at `anchor_at`.
fn suspect(suspects: &mut Suspects, at: u64, part: &[u8], anchor_at: usize) {
    for first in (anchor_at + 1).saturating_sub(WORDS)..=anchor_at {
        let run = part.get(first..).and_then(<[u8]>::first_chunk::<RUN_LEN>);
        if let Some(run) = run.filter(|run| is_telling(&run[..])) {
            suspects.entry(*run).or_insert(at + first as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn random(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
        bytes
    }

    #[test]
    fn a_run_is_found_at_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, sealed) = (dir.path().join("plain"), dir.path().join("sealed"));
        let text = random(1, 1 << 20);
        std::fs::write(&plain, &text).unwrap();
        let plaintext = Plaintext::read(&plain).unwrap();
        let mut bytes = random(2, 20 << 20);
        std::fs::write(&sealed, &bytes).unwrap();
        assert_eq!(plaintext.find_in(&sealed).unwrap(), None);
        let end = bytes.len();
        // Also across the borders of chunks and of threads' shares, and at the very end.
        for at in [0, 1, 4097, CHUNK_LEN - 31, CHUNK_LEN * 2 - 70, end / 2 - 32, end - 64] {
            let before = bytes.clone();
            bytes[at..at + 64].copy_from_slice(&text[128 * 64..129 * 64]);
            std::fs::write(&sealed, &bytes).unwrap();
            let leak = Leak { offset: at as u64, plaintext_offset: 128 * 64 };
            assert_eq!(plaintext.find_in(&sealed).unwrap(), Some(leak), "at {at}");
            bytes = before;
        }
    }

    #[test]
    fn dull_runs_are_not_looked_for() {
        assert!(!is_telling(&[7; 64]));
        let mut run = [0; 64];
        for (byte, at) in run.iter_mut().zip(0..15) {
            *byte = at;
        }
        assert!(!is_telling(&run));
        run[20] = 200;
        assert!(is_telling(&run));
    }
}
