//! What can be tuned: plain data, with defaults that suit one volume among many on a host.

use sealvol_core::ByteLen;

/// Tunables of an open volume. None of them changes the on-disk format.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Budget of the map cache (leaves and inner pages together).
    pub map_cache: ByteLen,
    /// Changes since the last checkpoint may take this much memory before a checkpoint starts; as
    /// much again may be in the one being written.
    pub delta_memory: ByteLen,
    /// User log bytes after which a checkpoint starts. Bounds replay after a crash.
    pub checkpoint_log: ByteLen,
    /// Written but unsynced bytes after which a background sync starts. Bounds the tail that a
    /// crash may cost when nobody flushes.
    pub unsynced: ByteLen,
    /// Longest time that written data stays unsynced.
    pub sync_interval_ms: u64,
    /// Idle time after a flush until a STAMP group proves it.
    pub stamp_delay_ms: u64,
    /// Fresh segments that are kept written with zeros ahead of use, because appending into written
    /// extents syncs several times faster. 0 turns it off.
    pub prewrite_segments: u32,
    /// Free segments that are kept for reuse; the space of further ones goes back to the host.
    pub keep_free_segments: u32,
    /// Pages of discarded subtrees that one checkpoint settles.
    pub reap_pages: u32,
    /// Requests of 256 KiB and more are sealed and opened on several cores where the host has at
    /// least this many. On fewer, the helpers take from the clients what they give.
    pub share_from_cores: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            map_cache: ByteLen::mib(72),
            delta_memory: ByteLen::mib(16),
            checkpoint_log: ByteLen::mib(256),
            unsynced: ByteLen::mib(64),
            sync_interval_ms: 1000,
            stamp_delay_ms: 1000,
            prewrite_segments: 8,
            keep_free_segments: 64,
            reap_pages: 4096,
            share_from_cores: 4,
        }
    }
}
