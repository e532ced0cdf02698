//! A reading thread and a writing one, with a few buffers that go round between them.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use sealvol_core::BLOCK_LEN;

use crate::error::{Error, Result};
use crate::job::CHUNK;

/// Chunks that are read ahead.
const AHEAD: usize = 4;

/// A part of the source, in ascending order of offset and without gaps.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes, some of which may be zeros.
    Data(Chunk),
    /// Zeros that hold no space.
    Zeros { offset: u64, len: u64 },
}

/// Up to 1 MiB.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// The bytes as runs of blocks that are all zeros, or are not.
    pub(super) runs: Vec<Run>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) range: Range<usize>,
    pub(super) zero: bool,
}

impl Chunk {
    pub(super) fn new(offset: u64, bytes: Vec<u8>) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let mut at = 0;
        for block in bytes.chunks(BLOCK_LEN) {
            let (zero, end) = (is_zero(block), at + block.len());
            match runs.last_mut() {
                Some(last) if last.zero == zero => last.range.end = end,
                _ => runs.push(Run { range: at..end, zero }),
            }
            at = end;
        }
        Self { offset, bytes, runs }
    }

    /// Offset and bytes of each run that is not zeros.
    pub(super) fn data(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.runs.iter().filter(|run| !run.zero).map(|run| {
            let bytes = self.bytes.get(run.range.clone()).unwrap_or_default();
            (self.offset + run.range.start as u64, bytes)
        })
    }

    /// Offset and length of each run of zeros.
    pub(super) fn zeros(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs
            .iter()
            .filter(|run| run.zero)
            .map(|run| (self.offset + run.range.start as u64, run.range.len() as u64))
    }
}

/// Whether all bytes are zeros. Written so that the compiler uses vector instructions.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Feeder {
    pieces: SyncSender<Piece>,
    empties: Receiver<Vec<u8>>,
}

/// The writing end went away: its error is the one that counts.
#[derive(Debug)]
pub(super) struct Gone;

impl Feeder {
    /// An empty buffer of `len` bytes, at most [`CHUNK`].
    pub(super) fn buffer(&self, len: usize) -> Vec<u8> {
        let mut bytes = self.empties.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        bytes.resize(len, 0);
        bytes
    }

    /// Hands over a piece, and waits while enough of them wait already.
    pub(super) fn send(&self, piece: Piece) -> Result<(), Gone> {
        self.pieces.send(piece).map_err(|_| Gone)
    }
}

/// The writing end.
#[derive(Debug)]
pub(super) struct Drain {
    pieces: Receiver<Piece>,
    empties: Sender<Vec<u8>>,
}

impl Drain {
    pub(super) fn next(&self) -> Option<Piece> {
        self.pieces.recv().ok()
    }

    /// Gives a buffer back.
    pub(super) fn recycle(&self, bytes: Vec<u8>) {
        // The reader may be done already.
        let _done = self.empties.send(bytes);
    }
}

/// Runs `read` on a thread of its own beside `write`. `read` ends quietly when the writer is gone.
pub(super) fn run(
    read: impl FnOnce(&Feeder) -> Result<Result<(), Gone>> + Send,
    write: impl FnOnce(&Drain) -> Result<()>,
) -> Result<()> {
    let (piece_out, piece_in) = sync_channel(AHEAD);
    let (empty_out, empty_in) = channel();
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("sealvol-read".into())
            .spawn_scoped(scope, move || {
                read(&Feeder { pieces: piece_out, empties: empty_in }).map(drop)
            })
            .map_err(|e| Error::io("start a reading thread", e))?;
        let drain = Drain { pieces: piece_in, empties: empty_out };
        let written = write(&drain);
        drop(drain);
        let read = match reader.join() {
            Ok(read) => read,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        written.and(read)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_of_whole_blocks() {
        let mut bytes = vec![0; 5 * 4096];
        bytes[4096] = 1;
        bytes[3 * 4096 - 1] = 1;
        let chunk = Chunk::new(1 << 20, bytes);
        let data: Vec<(u64, usize)> = chunk.data().map(|(at, d)| (at, d.len())).collect();
        assert_eq!(data, [((1 << 20) + 4096, 8192)]);
        let zeros: Vec<(u64, u64)> = chunk.zeros().collect();
        assert_eq!(zeros, [(1 << 20, 4096), ((1 << 20) + 3 * 4096, 8192)]);
    }

    #[test]
    fn a_writer_that_fails_ends_the_reader() {
        let outcome = run(
            |feeder| {
                loop {
                    if let Err(gone) = feeder.send(Piece::Zeros { offset: 0, len: 1 }) {
                        return Ok(Err(gone));
                    }
                }
            },
            |drain| {
                drain.next();
                Err(Error::new(sealvol_core::ErrorKind::Io, "the writer's"))
            },
        );
        assert_eq!(outcome.unwrap_err().to_string(), "the writer's");
    }

    #[test]
    fn a_reader_that_fails_is_reported_after_the_writer_ends() {
        let outcome = run(
            |_| Err(Error::new(sealvol_core::ErrorKind::Io, "the reader's")),
            |drain| {
                while drain.next().is_some() {}
                Ok(())
            },
        );
        assert_eq!(outcome.unwrap_err().to_string(), "the reader's");
    }
}
