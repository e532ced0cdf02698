//! Counters: one set per connection, so that connections do not share cache lines, summed on demand.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::proto::Request;

/// The commands that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Command {
    /// `NBD_CMD_READ`
    Read,
    /// `NBD_CMD_WRITE`
    Write,
    /// `NBD_CMD_FLUSH`
    Flush,
    /// `NBD_CMD_TRIM`
    Trim,
    /// `NBD_CMD_WRITE_ZEROES`
    WriteZeroes,
    /// `NBD_CMD_CACHE`
    Cache,
    /// `NBD_CMD_BLOCK_STATUS`
    BlockStatus,
    /// Requests that were refused before a command was run.
    Rejected,
}

impl Command {
    /// All of them, in the order of [`ServerStats::commands`].
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::Trim,
        Self::WriteZeroes,
        Self::Cache,
        Self::BlockStatus,
        Self::Rejected,
    ];

    /// The name to use in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Trim => "trim",
            Self::WriteZeroes => "write_zeroes",
            Self::Cache => "cache",
            Self::BlockStatus => "block_status",
            Self::Rejected => "rejected",
        }
    }

    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Read { .. } => Self::Read,
            Request::Write { .. } => Self::Write,
            Request::Flush | Request::Disconnect => Self::Flush,
            Request::Trim { .. } => Self::Trim,
            Request::WriteZeroes { .. } => Self::WriteZeroes,
            Request::Cache { .. } => Self::Cache,
            Request::BlockStatus { .. } => Self::BlockStatus,
        }
    }
}

/// Counts of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CommandStats {
    /// Requests answered.
    pub requests: u64,
    /// Bytes that they named.
    pub bytes: u64,
    /// How many of them were answered with an error.
    pub errors: u64,
}

/// A server's counters since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections open now.
    pub connections_open: usize,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections closed at once, because there were too many.
    pub connections_refused: u64,
    /// Handshakes that did not reach transmission.
    pub handshakes_failed: u64,
    /// One entry per command, in the order of [`Command::ALL`].
    pub commands: [CommandStats; Command::ALL.len()],
}

impl ServerStats {
    /// The counts of one command.
    #[must_use]
    pub fn command(&self, command: Command) -> CommandStats {
        self.commands.get(command as usize).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Cell {
    requests: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

/// The counters of one connection, or the sum of the closed ones.
#[derive(Debug, Default)]
pub(super) struct Counters {
    cells: [Cell; Command::ALL.len()],
}

impl Counters {
    pub(super) fn record(&self, command: Command, bytes: u64, failed: bool) {
        if let Some(cell) = self.cells.get(command as usize) {
            cell.requests.fetch_add(1, Ordering::Relaxed);
            cell.bytes.fetch_add(bytes, Ordering::Relaxed);
            if failed {
                cell.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn add_to(&self, stats: &mut [CommandStats]) {
        for (cell, sum) in self.cells.iter().zip(stats) {
            sum.requests += cell.requests.load(Ordering::Relaxed);
            sum.bytes += cell.bytes.load(Ordering::Relaxed);
            sum.errors += cell.errors.load(Ordering::Relaxed);
        }
    }

    pub(super) fn absorb(&self, other: &Self) {
        for (cell, more) in self.cells.iter().zip(&other.cells) {
            cell.requests.fetch_add(more.requests.load(Ordering::Relaxed), Ordering::Relaxed);
            cell.bytes.fetch_add(more.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
            cell.errors.fetch_add(more.errors.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
