//! Locks on ranges of a region's file.

use super::guard::guard;
use super::open::enter;
use super::options::{self, mapshare_region};
use std::ffi::c_int;

/// Locks a range of a region's bytes in its file, against all other threads, of this and of other processes, that lock
/// some of the same bytes: shared locks stand together, an exclusive one stands alone. A lock is advice between those
/// who ask for it; it keeps nobody from reading and writing.
///
/// The lock is the calling thread's. It ends with mapshare_unlock_range, with the thread, or with the process, whose
/// locks the kernel frees however it dies; mapshare_unmap is -EBUSY until then.
///
/// @param region      The region; MAPSHARE_READ_WRITE for an exclusive lock.
/// @param offset      First byte, counted from the region's start.
/// @param length      How many bytes, inside the region; 0 = all that follow, also those that the file grows by later.
/// @param mode        MAPSHARE_LOCK_SHARED or MAPSHARE_LOCK_EXCLUSIVE.
/// @param timeout_ns  How long to wait, in nanoseconds; 0 = only try, < 0 = for ever.
/// @return 0, or
///   -EBADF:     not an open region; or the program has closed a descriptor of the library's.
///   -EINVAL:    mode is unknown.
///   -ERANGE:    offset + length leaves the region, or the range does not end below byte 2^62 of the file.
///   -EACCES:    an exclusive lock of a region that is not MAPSHARE_READ_WRITE; or the file's permissions do not let
///               this user open it anew, which a thread does at its first lock of a region.
///   -EDEADLK:   this thread has locked some of the bytes, in either mode, and would wait for itself: a lock is never
///               widened, and never changed from shared to exclusive. Through another region of the same file: only
///               where the two exclude each other.
///   -ETIMEDOUT: the time has passed.
///   -EINTR:     a signal handler ran while the call waited, also one with SA_RESTART; call again to wait on.
///   -EOPNOTSUPP: the file system or the kernel has no such locks, or /proc is not there.
///   -ENOLCK, -ENOMEM, -EMFILE, -ENFILE, -EIO: as the kernel says them.
///
/// Threads: any; threads of one process exclude each other. A thread that has locked holds one more descriptor for
/// each region, until it ends or the region is unmapped.
/// Signals: not in a handler. Blocks: up to timeout_ns. It looks again at intervals, of 50 us at first and 4 ms at
/// most, and those who wait have no order. Meanwhile functions that want the region for themselves alone are -EBUSY.
/// Processes: these are open file description locks (fcntl F_OFD_SETLK). Locks of programs without this library,
/// F_OFD_SETLK as well as F_SETLK (lockf), exclude them and are excluded by them, inside one process too; those of flock
/// do not. They do not end, as F_SETLK locks do, when the program closes a descriptor of the file.
/// Fork: the child holds none of the parent's locks, and does not prolong them.
/// Source: fcntl(2), "Open file description locks (non-POSIX)"; POSIX.1-2024 fcntl().
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_lock_range(
    region: *mut mapshare_region,
    offset: u64,
    length: u64,
    mode: u32,
    timeout_ns: i64,
) -> c_int {
    guard("mapshare_lock_range", || {
        let region = enter(region)?;
        region.lock_range(offset, length, options::lock_mode(mode)?, options::timeout(timeout_ns))
    })
}

/// Frees a lock that the calling thread took with mapshare_lock_range. Only whole locks are freed.
///
/// @param region  The region.
/// @param offset  As it was locked.
/// @param length  As it was locked: 0 where that was 0.
/// @return 0, or
///   -EBADF: not an open region; or the program has closed a descriptor of the library's.
///   -EPERM: this thread holds no lock of this offset and length through this region: it was freed, taken by another
///           thread, or by the parent before a fork.
///   -ENOLCK, -ENOMEM: as the kernel says them; the lock is still held.
///
/// Threads: the one that took the lock. Signals: not in a handler. Source: fcntl(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_unlock_range(region: *mut mapshare_region, offset: u64, length: u64) -> c_int {
    guard("mapshare_unlock_range", || enter(region)?.unlock_range(offset, length))
}
