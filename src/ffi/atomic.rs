//! Atomic access to words of a region.

use super::guard::guard;
use super::open::{enter, enter_at_once};
use super::options::mapshare_region;
use crate::error::{Error, Result};
use crate::region::{Operation, Word};
use std::ffi::c_int;

/// Reads a number of 8 bytes atomically.
///
/// @param region        The region.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 8.
/// @param ret_value     Receives the number.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 8, or ret_value is NULL.
///   -ERANGE: the word leaves the region. Growth by others is taken over as in mapshare_read.
///   -ENXIO:  the file was cut short, and the word's page lies wholly behind its end; or a view has lost that page.
///   -ENOSPC: its file system has no room for the page. -EIO: its device failed.
///   -EOPNOTSUPP: the region was opened MAPSHARE_NO_HANDLER, and its file may shrink.
///
/// Threads: any number at once, of any processes that have the bytes mapped. All atomic operations on a word happen one
/// after another, and all threads see all of them in one order (sequentially consistent).
/// Signals: not in a handler. Blocks: on the disk only, for pages that are not in memory. In a copy-on-write region the
/// word is this process's own once it has written to the page.
/// Source: C11 7.17.3, 7.17.7.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_load_u64(
    region: *mut mapshare_region,
    offset: u64,
    ret_value: *mut u64,
) -> c_int {
    if ret_value.is_null() {
        return guard("mapshare_atomic_load_u64", || enter(region).and(Err::<(), _>(Error::NullArgument("ret_value"))));
    }
    let result = perform("mapshare_atomic_load_u64", region, offset, Operation::Load);
    // SAFETY: the caller vouches for `ret_value`.
    unsafe { give(result, ret_value) }
}

/// Writes a number of 8 bytes atomically.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 8.
/// @param value         The number.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 8.
///   -EACCES: the region is read-only.
///   -ERANGE: the word leaves the region. Growth by others is taken over as in mapshare_read.
///   -ENXIO:  the file was cut short, and the word's page lies wholly behind its end; or a view has lost that page.
///   -ENOSPC: its file system has no room for the page. -EIO: its device failed.
///   -EOPNOTSUPP: the region was opened MAPSHARE_NO_HANDLER, and its file may shrink.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_atomic_store_u64(region: *mut mapshare_region, offset: u64, value: u64) -> c_int {
    let result = perform("mapshare_atomic_store_u64", region, offset, Operation::Store(value));
    result.err().unwrap_or(0)
}

/// Writes a number of 8 bytes, and gives the one that stood there, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 8.
/// @param value         The number.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_swap_u64(
    region: *mut mapshare_region,
    offset: u64,
    value: u64,
    ret_previous: *mut u64,
) -> c_int {
    let result = perform("mapshare_atomic_swap_u64", region, offset, Operation::Swap(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Adds to a number of 8 bytes in one step. The sum wraps around: to take k away, add -k.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 8.
/// @param value         What to add.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_add_u64(
    region: *mut mapshare_region,
    offset: u64,
    value: u64,
    ret_previous: *mut u64,
) -> c_int {
    let result = perform("mapshare_atomic_add_u64", region, offset, Operation::Add(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Keeps only some bits of a number of 8 bytes, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 8.
/// @param value         The bits to keep.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_and_u64(
    region: *mut mapshare_region,
    offset: u64,
    value: u64,
    ret_previous: *mut u64,
) -> c_int {
    let result = perform("mapshare_atomic_and_u64", region, offset, Operation::And(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Sets bits of a number of 8 bytes, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 8.
/// @param value         The bits to set.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_or_u64(
    region: *mut mapshare_region,
    offset: u64,
    value: u64,
    ret_previous: *mut u64,
) -> c_int {
    let result = perform("mapshare_atomic_or_u64", region, offset, Operation::Or(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Writes a number of 8 bytes if another one stands there, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 8.
/// @param expected      The number that has to stand there.
/// @param desired       What to write in its place.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 1 when it was written, 0 when another number than expected stood there;
///   or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_compare_swap_u64(
    region: *mut mapshare_region,
    offset: u64,
    expected: u64,
    desired: u64,
    ret_previous: *mut u64,
) -> c_int {
    let result =
        perform("mapshare_atomic_compare_swap_u64", region, offset, Operation::CompareSwap { expected, desired });
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    let code = unsafe { give(result, ret_previous) };
    if result == Ok(expected) { 1 } else { code }
}

/// Reads a number of 4 bytes atomically.
///
/// @param region        The region.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 4.
/// @param ret_value     Receives the number.
/// @return 0; or -EBADF, -EINVAL, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_load_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_load_u32(
    region: *mut mapshare_region,
    offset: u64,
    ret_value: *mut u32,
) -> c_int {
    if ret_value.is_null() {
        return guard("mapshare_atomic_load_u32", || enter(region).and(Err::<(), _>(Error::NullArgument("ret_value"))));
    }
    let result = perform("mapshare_atomic_load_u32", region, offset, Operation::Load);
    // SAFETY: the caller vouches for `ret_value`.
    unsafe { give(result, ret_value) }
}

/// Writes a number of 4 bytes atomically.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 4.
/// @param value         The number.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_atomic_store_u32(region: *mut mapshare_region, offset: u64, value: u32) -> c_int {
    let result = perform("mapshare_atomic_store_u32", region, offset, Operation::Store(value));
    result.err().unwrap_or(0)
}

/// Writes a number of 4 bytes, and gives the one that stood there, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 4.
/// @param value         The number.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_swap_u32(
    region: *mut mapshare_region,
    offset: u64,
    value: u32,
    ret_previous: *mut u32,
) -> c_int {
    let result = perform("mapshare_atomic_swap_u32", region, offset, Operation::Swap(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Adds to a number of 4 bytes in one step. The sum wraps around: to take k away, add -k.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 4.
/// @param value         What to add.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_add_u32(
    region: *mut mapshare_region,
    offset: u64,
    value: u32,
    ret_previous: *mut u32,
) -> c_int {
    let result = perform("mapshare_atomic_add_u32", region, offset, Operation::Add(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Keeps only some bits of a number of 4 bytes, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 4.
/// @param value         The bits to keep.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_and_u32(
    region: *mut mapshare_region,
    offset: u64,
    value: u32,
    ret_previous: *mut u32,
) -> c_int {
    let result = perform("mapshare_atomic_and_u32", region, offset, Operation::And(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Sets bits of a number of 4 bytes, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 4.
/// @param value         The bits to set.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_or_u32(
    region: *mut mapshare_region,
    offset: u64,
    value: u32,
    ret_previous: *mut u32,
) -> c_int {
    let result = perform("mapshare_atomic_or_u32", region, offset, Operation::Or(value));
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    unsafe { give(result, ret_previous) }
}

/// Writes a number of 4 bytes if another one stands there, in one step.
///
/// @param region        The region, not MAPSHARE_READ_ONLY.
/// @param offset        The word's first byte, counted from the region's start: a multiple of 4.
/// @param expected      The number that has to stand there.
/// @param desired       What to write in its place.
/// @param ret_previous  Receives the number that stood there before; may be NULL.
/// @return 1 when it was written, 0 when another number than expected stood there;
///   or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
///
/// Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_atomic_compare_swap_u32(
    region: *mut mapshare_region,
    offset: u64,
    expected: u32,
    desired: u32,
    ret_previous: *mut u32,
) -> c_int {
    let result =
        perform("mapshare_atomic_compare_swap_u32", region, offset, Operation::CompareSwap { expected, desired });
    // SAFETY: the caller vouches for `ret_previous`, where it is not NULL.
    let code = unsafe { give(result, ret_previous) };
    if result == Ok(expected) { 1 } else { code }
}

/// Does it; the code when it cannot be done.
#[inline(always)]
fn perform<W: Word>(
    function: &'static str,
    region: *mut mapshare_region,
    offset: u64,
    operation: Operation<W>,
) -> Result<W, c_int> {
    match enter_at_once(region).and_then(|open| open.perform_at_once(offset, operation)) {
        Some(value) => Ok(value),
        None => perform_patiently(function, region, offset, operation),
    }
}

/// An operation that something is in the way of.
#[cold]
#[inline(never)]
fn perform_patiently<W: Word>(
    function: &'static str,
    region: *mut mapshare_region,
    offset: u64,
    operation: Operation<W>,
) -> Result<W, c_int> {
    let mut result = None;
    let code = guard(function, || {
        let region = enter(region)?;
        result = Some(region.atomic(offset)?.perform(operation)?);
        Ok(())
    });
    result.ok_or(code)
}

/// Puts the value where the caller wants it, unless that is nowhere; the code to return.
///
/// # Safety
/// `to` is NULL or can be written.
#[inline(always)]
unsafe fn give<W: Word>(result: Result<W, c_int>, to: *mut W) -> c_int {
    match result {
        Ok(value) => {
            if !to.is_null() {
                // SAFETY: the caller's promise.
                unsafe { to.write_unaligned(value) };
            }
            0
        }
        Err(code) => code,
    }
}
