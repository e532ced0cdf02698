//! [`LockedBytes`]: secret bytes in pages of their own.

use std::fmt;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags};
use zeroize::Zeroize;

/// Secret bytes in their own anonymous pages: locked in RAM where the memory-lock limit allows,
/// excluded from core dumps, replaced by zeros in a forked child, zeroised before they are unmapped.
pub struct LockedBytes {
    /// `None` for the empty secret, which needs no memory.
    pages: Option<Pages>,
    len: usize,
}

struct Pages {
    start: NonNull<u8>,
    map_len: usize,
    locked: bool,
}

// SAFETY: the pages are owned by this value alone and are plain bytes; moving the owner to another
// thread moves the only access to them.
unsafe impl Send for Pages {}
// SAFETY: shared access is read-only (`expose_secret`); mutation needs `&mut`.
unsafe impl Sync for Pages {}

impl LockedBytes {
    /// `len` zero bytes.
    ///
    /// # Panics
    /// When the kernel has no memory left for one mapping, as an allocation would.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self { pages: None, len };
        }
        let page = rustix::param::page_size();
        let map_len = len.next_multiple_of(page);
        // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice aliases
        // nothing that exists.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                map_len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let start = match mapped {
            Ok(address) => NonNull::new(address.cast::<u8>()),
            Err(_) => None,
        };
        let Some(start) = start else {
            // The same outcome as a failed heap allocation.
            std::alloc::handle_alloc_error(
                std::alloc::Layout::from_size_align(map_len, page)
                    .unwrap_or(std::alloc::Layout::new::<u8>()),
            );
        };
        let address = start.as_ptr().cast();
        // SAFETY: the range is the mapping made above; locking changes no contents.
        let locked = unsafe { rustix::mm::mlock(address, map_len) }.is_ok();
        for advice in [Advice::LinuxDontDump, Advice::LinuxWipeOnFork] {
            // SAFETY: the range is the mapping made above; both kinds of advice leave this
            // process's contents alone. They are hardening: a kernel that lacks one refuses it, and
            // the secret is then no worse off than in ordinary memory.
            let advised = unsafe { rustix::mm::madvise(address, map_len, advice) };
            debug_assert!(advised.is_ok() || cfg!(not(target_os = "linux")), "madvise refused");
        }
        Self { pages: Some(Pages { start, map_len, locked }), len }
    }

    /// A copy of `source`. The caller zeroises the source.
    #[must_use]
    pub fn copy_from(source: &[u8]) -> Self {
        let mut bytes = Self::zeroed(source.len());
        bytes.expose_secret_mut().copy_from_slice(source);
        bytes
    }

    /// The secret.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        match &self.pages {
            // SAFETY: the mapping is `map_len >= len` readable, initialised bytes, lives as long as
            // `self`, and is only written through `&mut self`.
            Some(pages) => unsafe { std::slice::from_raw_parts(pages.start.as_ptr(), self.len) },
            None => &[],
        }
    }

    /// The secret, to be filled in.
    #[must_use]
    pub fn expose_secret_mut(&mut self) -> &mut [u8] {
        match &mut self.pages {
            // SAFETY: as in `expose_secret`, and `&mut self` makes the access exclusive.
            Some(pages) => unsafe {
                std::slice::from_raw_parts_mut(pages.start.as_ptr(), self.len)
            },
            None => &mut [],
        }
    }

    /// Whether the pages are locked in RAM. `false` when `RLIMIT_MEMLOCK` is used up: the secret
    /// could then be swapped out.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.pages.as_ref().is_none_or(|pages| pages.locked)
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        self.expose_secret_mut().zeroize();
        if let Some(pages) = &self.pages {
            // SAFETY: this value owns the mapping, no borrow of it outlives the value, and it is
            // unmapped once. Unmapping also unlocks.
            let unmapped =
                unsafe { rustix::mm::munmap(pages.start.as_ptr().cast(), pages.map_len) };
            debug_assert!(unmapped.is_ok(), "munmap of an owned mapping failed");
        }
    }
}

impl fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedBytes(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_was_given_and_prints_nothing() {
        let secret = LockedBytes::copy_from(b"top secret");
        assert_eq!(secret.expose_secret(), b"top secret");
        assert_eq!(format!("{secret:?}"), "LockedBytes(..)");
        assert!(LockedBytes::zeroed(0).expose_secret().is_empty());
    }

    #[test]
    fn is_locked_and_kept_out_of_core_dumps() {
        let secret = LockedBytes::copy_from(&[7; 32]);
        let address = secret.expose_secret().as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut in_range = false;
        let mut flags = None;
        for line in maps.lines() {
            if let Some((range, _)) = line.split_once(' ')
                && let Some((from, to)) = range.split_once('-')
                && let (Ok(from), Ok(to)) =
                    (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                in_range = (from..to).contains(&address);
            }
            if in_range && line.starts_with("VmFlags:") {
                flags = Some(line.to_owned());
            }
        }
        let flags = flags.unwrap();
        assert!(flags.contains(" dd"), "not excluded from core dumps: {flags}");
        assert!(flags.contains(" wf"), "not wiped on fork: {flags}");
        assert_eq!(flags.contains(" lo"), secret.is_locked(), "{flags}");
    }
}
