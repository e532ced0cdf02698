//! What an operator may set, and the measured constants nobody needs to.

use std::time::Duration;

use crate::proto::Limits;

/// A server's limits and time-outs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain data, built with `..Default::default()`")]
pub struct Settings {
    /// Connections at a time, those in their handshake included. Further ones are closed.
    pub max_connections: usize,
    /// Requests of one connection that may be with the worker pool. At the bound the server stops
    /// reading from that connection.
    pub max_in_flight: usize,
    /// Bytes of replies that those requests may hold, per connection.
    pub max_in_flight_len: u64,
    /// Bytes of replies that all connections together may hold beside their fixed buffers. At the
    /// bound requests run on their connection's own thread, piece by piece.
    pub max_reply_memory_len: u64,
    /// How long a client may take from connecting to transmission.
    pub handshake_timeout: Duration,
    /// How long one send may wait for a client that does not read; then it is disconnected.
    pub send_timeout: Duration,
    /// Threads for requests that wait for the disk, started when first needed. With 0 those run on
    /// their connection's thread.
    pub pool_threads: usize,
    /// Requests that may wait for one of those threads, over all connections.
    pub pool_queue: usize,
    /// Send and receive buffer of each Unix socket; the kernel caps it at `net.core.wmem_max`.
    pub socket_buffer_len: usize,
    /// How often to look for the next request before sleeping, while that has been worth it.
    /// 0 turns it off.
    pub spin_limit: u32,
    /// A read from this many bytes to 256 KiB that has others behind it goes to a worker, one at a
    /// time, and is opened there while this connection's thread goes on. 0 turns it off.
    pub share_read_len: usize,
    /// What a client may send before transmission.
    pub handshake: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_in_flight: 128,
            max_in_flight_len: 16 << 20,
            max_reply_memory_len: 256 << 20,
            handshake_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(300),
            pool_threads: 8,
            pool_queue: 1024,
            socket_buffer_len: 256 << 10,
            spin_limit: 64,
            share_read_len: 64 << 10,
            handshake: Limits::default(),
        }
    }
}

/// Longest payload handled in one piece, in either direction: long enough that the cost per piece
/// vanishes, short enough that a piece stays in the core's cache between cipher and socket.
pub(super) const PIECE_LEN: usize = 256 << 10;
/// Room in the receive buffer beside one piece, for requests pipelined behind it.
pub(super) const RECEIVE_SLACK: usize = 256 << 10;
/// Replies are sent when this much has gathered. Waiting for more saves system calls but leaves
/// the client idle meanwhile.
pub(super) const SEND_AT: usize = 64 << 10;
/// Writes handed to the device in one call.
pub(super) const MAX_BATCH: usize = 125;
/// Bytes handed to the device in one call.
pub(super) const MAX_BATCH_LEN: usize = 125 * 4096;
/// Reads from this length on ask the device for holes; for shorter ones the question costs more
/// than the zeroes.
pub(super) const SPARSE_READ_LEN: u32 = 64 << 10;
/// Shorter holes are sent as data: a chunk of its own costs the client two more receives.
pub(super) const MIN_HOLE_LEN: u64 = 16 << 10;
/// Runs asked of the device for one read; what lies behind them is sent as data.
pub(super) const MAX_READ_RUNS: usize = 64;
/// Descriptors in one answer to a block status query.
pub(super) const MAX_DESCRIPTORS: usize = 1024;
/// Longer discards and zeroes go to the pool when other requests are waiting.
pub(super) const INLINE_ZERO_LEN: u64 = 1 << 20;
