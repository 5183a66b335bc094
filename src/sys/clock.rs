//! Time.

use std::mem::MaybeUninit;

/// Nanoseconds since some moment in the past (clock_gettime(2), CLOCK_MONOTONIC). Async-signal-safe.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel fills the struct; it cannot fail for a clock that exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    // SAFETY: a timespec is integers: zeroed above, and filled since.
    let time = unsafe { time.assume_init() };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
