//! Sleeping on a word of a region, and waking.

use super::guard::guard;
use super::open::enter;
use super::options::{self, mapshare_region};
use std::ffi::c_int;

/// Sleeps while a number stands in a word of 4 bytes, until another thread or process calls mapshare_wake on it. Returns
/// at once when another number stands there, so that no change is missed which was made before its wake:
///
///   one side:   while (mapshare_atomic_load_u32(region, at, &seen), seen == 0) mapshare_wait(region, at, 0, -1);
///   the other:  mapshare_atomic_store_u32(region, at, 1); mapshare_wake(region, at, 1);
///
/// @param region      The region, not MAPSHARE_COPY_ON_WRITE; it may be read-only.
/// @param offset      The word's first byte, counted from the region's start: a multiple of 4.
/// @param expected    The number during which to sleep.
/// @param timeout_ns  How long, in nanoseconds; 0 = only look, < 0 = for ever.
/// @return 0: another number stands there, or somebody has called mapshare_wake. Look again: it is possible that nothing
///   has changed, or not for this caller. Or
///   -ETIMEDOUT: expected still stood there when the time had passed.
///   -EINTR:  a signal handler ran during the wait; call again to go on waiting.
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 4, or the region is copy-on-write, where nobody sees the others' changes.
///   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u32. A file that is cut short under a sleeper
///            is noticed within 100 ms; so is a change whose maker was killed before it could wake.
///
/// Threads: any number at once. While one sleeps, mapshare_unmap and all else that waits for the calls under way in this
/// region (shrinking, moving, mapshare_protect) is -EBUSY.
/// Processes: those meet that have the same bytes of the file mapped, at whatever addresses and offsets.
/// Signals: not in a handler. Blocks: up to timeout_ns. Source: futex(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_wait(region: *mut mapshare_region, offset: u64, expected: u32, timeout_ns: i64) -> c_int {
    guard("mapshare_wait", || {
        let region = enter(region)?;
        region.atomic::<u32>(offset)?.wait(expected, options::timeout(timeout_ns))
    })
}

/// Wakes threads that sleep in mapshare_wait on a word, in whatever process. Change the word first.
///
/// @param region  The region, not MAPSHARE_COPY_ON_WRITE; it may be read-only.
/// @param offset  The word's first byte, counted from the region's start: a multiple of 4.
/// @param count   How many to wake at the most; UINT32_MAX for all.
/// @return How many were woken, or
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 4, or the region is copy-on-write.
///   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u32.
///
/// Threads: any. Signals: not in a handler. Source: futex(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_wake(region: *mut mapshare_region, offset: u64, count: u32) -> c_int {
    guard("mapshare_wake", || {
        let region = enter(region)?;
        let woken = region.atomic::<u32>(offset)?.wake(count)?;
        Ok(c_int::try_from(woken).unwrap_or(c_int::MAX))
    })
}
