//! `sync_file_range(2)`, which no safe wrapper offers: starting writeback without waiting for it.

#![expect(unsafe_code, reason = "sync_file_range has no safe wrapper in std or rustix")]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Starts writing the range's dirty pages. A hint: failure is ignored, because the next `fdatasync`
/// reports any write error (and this call does not consume one).
pub(crate) fn start(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
        return;
    };
    // SAFETY: the call takes integers only, and `file` keeps its descriptor open throughout.
    let _outcome = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
}
