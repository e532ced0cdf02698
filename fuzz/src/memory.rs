//! A budget for what a decoder may allocate: past it the allocation fails, and the process aborts
//! with "memory allocation of N bytes failed", which every fuzzer reports as a crash. Memory that
//! is mapped rather than allocated (locked key pages) does not count; libFuzzer's
//! `-rss_limit_mb` is the limit of that.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Takes the limit away again, also when a panic passes by.
struct Unlimited;

impl Drop for Unlimited {
    fn drop(&mut self) {
        // Raising the limit never fails.
        let _ = ALLOCATOR.set_limit(usize::MAX);
    }
}

/// Runs `body`, during which the process may hold at most `budget` more bytes than now. Not to be
/// nested, nor used from several threads at once.
pub fn bounded<T>(budget: usize, body: impl FnOnce() -> T) -> T {
    let _unlimited = Unlimited;
    let limit = ALLOCATOR.allocated().saturating_add(budget);
    let _ = ALLOCATOR.set_limit(limit);
    body()
}
