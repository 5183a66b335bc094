//! Sleeping until a word in shared memory changes: futex(2).
//!
//! The word is found by its place in the file, so that processes that have it mapped at different addresses meet.

use super::Errno;
use std::ptr::NonNull;

/// Sleeps while the word at `address` equals `expected`, until it is woken or a moment of `monotonic_ns` has come.
/// EAGAIN: another number stands there. ETIMEDOUT: the moment has come. EINTR: a handler has run, with SA_RESTART too.
/// EFAULT: there is no page. The page need not be writable.
// Source: futex(2), FUTEX_WAIT_BITSET: the time is absolute, and of CLOCK_MONOTONIC.
pub(crate) fn wait(address: NonNull<u32>, expected: u32, until_ns: u64) -> Result<(), Errno> {
    let until = libc::timespec {
        tv_sec: (until_ns / 1_000_000_000).cast_signed(),
        tv_nsec: (until_ns % 1_000_000_000).cast_signed(),
    };
    let none = std::ptr::null::<u32>();
    let any = libc::FUTEX_BITSET_MATCH_ANY;
    // SAFETY: the kernel checks the address, at which it only reads; the time is ours and stays for the call.
    let rc = unsafe {
        libc::syscall(libc::SYS_futex, address.as_ptr(), libc::FUTEX_WAIT_BITSET, expected, &raw const until, none, any)
    };
    if rc == 0 { Ok(()) } else { Err(Errno::last()) }
}

/// Wakes at most `count` threads that sleep on the word at `address`, of all processes, and at least one when there is
/// one, also with a count of 0; how many. EFAULT: there is no page. The page need not be writable.
pub(crate) fn wake(address: NonNull<u32>, count: i32) -> Result<u32, Errno> {
    // SAFETY: the kernel takes the address as a name, which it checks; it touches no memory there.
    let woken = unsafe { libc::syscall(libc::SYS_futex, address.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).map_err(|_| Errno::last())
}
