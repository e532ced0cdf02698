//! Counters of an open volume.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// What an open volume has done since it was opened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Segments in the file.
            pub segments: u64,
            /// Segments that could be opened now.
            pub free_segments: u64,
            /// Most segments the file may grow to.
            pub segment_limit: u64,
            /// Leaf-cache misses.
            pub map_cache_misses: u64,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    ..Stats::default()
                }
            }
        }
    };
}

counters! {
    /// Blocks read by users.
    blocks_read,
    /// Blocks written by users.
    blocks_written,
    /// Blocks zeroed or discarded by users.
    blocks_zeroed,
    /// Flushes asked for.
    flushes,
    /// `fdatasync` calls for the log.
    syncs,
    /// Groups written.
    groups,
    /// Log bytes written, commit slots and headers included.
    log_bytes,
    /// Blocks moved by garbage collection.
    blocks_moved,
    /// Map and table pages written.
    pages_written,
    /// Checkpoints completed.
    checkpoints,
    /// Superblock pairs written.
    superblocks,
    /// Segments collected.
    segments_collected,
    /// Blocks whose tag did not verify.
    integrity_errors,
    /// Writers that had to wait for space.
    space_waits,
}

impl Stats {
    /// Bytes written to the log for each byte that users wrote: 1.0 is the ideal.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn write_amplification(&self) -> f64 {
        if self.blocks_written == 0 {
            return 0.0;
        }
        self.log_bytes as f64 / (self.blocks_written as f64 * 4096.0)
    }
}
