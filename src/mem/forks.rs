//! How often this process has forked, and whether somebody else may have what it had before.

use super::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sys::process;

static FORKS: AtomicU64 = AtomicU64::new(0);

/// Forks so far; None when they cannot be counted. Those of vfork(2) and posix_spawn(3) do not count: such a child has
/// our descriptors only until it becomes another program, and runs nothing of ours meanwhile. Nor do those that go past
/// the C library.
pub(crate) fn count() -> Option<u64> {
    static COUNTS: AtomicBool = AtomicBool::new(false);
    // ORDER: Relaxed, here and below: numbers of their own. Two threads at the first call count each fork twice, which
    // serves as well.
    if !COUNTS.load(Ordering::Relaxed) {
        process::before_fork(count_one).ok()?;
        COUNTS.store(true, Ordering::Relaxed);
    }
    Some(FORKS.load(Ordering::Relaxed))
}

extern "C" fn count_one() {
    FORKS.fetch_add(1, Ordering::Relaxed); // ORDER: Relaxed, as above
}
