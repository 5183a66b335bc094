//! The latest value.

use super::guard::guard;
use super::open::{enter, enter_at_once};
use super::options::{self, mapshare_region};
use crate::Cell;
use crate::error::{Error, Result};
use crate::region::{Copying, Destination, Region, Source};
use std::ffi::{c_int, c_void};

/// How many bytes a cell takes: a head of 128, and the value 4 to 16 times over, each rounded up to 64.
///
/// @param value_length  Bytes of its values.
/// @return The bytes, a multiple of 64, or
///   -EINVAL: value_length is 0.
///   -ERANGE: value_length is more than 2^56.
///
/// Threads: any. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_cell_footprint(value_length: u64) -> i64 {
    guard("mapshare_cell_footprint", || Cell::footprint(value_length))
}

/// Makes a cell: a place for the latest value, which one or more processes publish and any number read. Until the first
/// one is published, it has version 0 and a value of zeros.
///
/// @param region        The region, MAPSHARE_READ_WRITE.
/// @param offset        The cell's first byte, counted from the region's start: a multiple of 64. It takes as many bytes
///                      as mapshare_cell_footprint says, of which the first 128 are zeros.
/// @param value_length  Bytes of its values.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 64, value_length is 0, or the region is copy-on-write.
///   -EACCES: the region is read-only; or as mapshare_mutex_init. -EMFILE, -ENFILE: likewise.
///   -EEXIST: a cell stands there already. Of several that make one at the same time, one gets 0 and the others this.
///            One that is made anew has version 0 again, and mapshare_cell_wait of an older version goes on waiting.
///   -EBADMSG: other bytes than zeros stand there. -EPROTONOSUPPORT: a cell of another version.
///   -EBUSY:  another process is making the cell and does not get on with it; or as mapshare_mutex_init.
///   -ERANGE: the cell would leave the region, or value_length is more than 2^56.
///   -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT: as mapshare_mutex_init.
///
/// Threads: any. Signals: not in a handler. Processes: any number that have the file mapped for writing; one that is
/// killed in the middle is replaced by the next.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_cell_init(region: *mut mapshare_region, offset: u64, value_length: u64) -> c_int {
    guard("mapshare_cell_init", || {
        let region = enter(region)?;
        Cell::check_offset(offset)?;
        Cell::init(region.words(offset, Cell::footprint(value_length)?)?, value_length)
    })
}

/// Makes a value the latest one of a cell.
///
/// @param region  The region, MAPSHARE_READ_WRITE.
/// @param offset  The cell's first byte: a multiple of 64.
/// @param value   The value.
/// @param length  Its bytes: as many as the cell was made for.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: value is NULL; length is not the cell's; offset is not a multiple of 64; the region is copy-on-write.
///   -EACCES: the region is read-only; or as mapshare_mutex_lock.
///   -EBADMSG: no cell stands there, or it is damaged. -EPROTONOSUPPORT: a cell of another version.
///   -ETIMEDOUT: another writer that lives has been publishing for a second. -EINTR: a signal handler ran meanwhile.
///   -EDEADLK: called by a signal handler that has interrupted this thread's publishing here.
///   -EBUSY:  another process is making the cell and does not get on with it; or as mapshare_mutex_lock.
///   -ENOMEM: the thread holds 16 locks: a publishing takes one for its time.
///   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT, -EMFILE, -ENFILE: as mapshare_mutex_lock.
///
/// Threads: any; writers take turns. Readers are never kept waiting, and a writer that is killed in the middle leaves
/// them the value before. Signals: not in a handler. Blocks: a second at most.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_cell_publish(
    region: *mut mapshare_region,
    offset: u64,
    value: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller vouches for `length` bytes; NULL is refused before they are used.
    let source = unsafe { Source::from_raw(value.cast(), length) };
    if source.length() <= Cell::LINE && publishes_at_once(region, offset, source, Copying::Short) {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { publish(region, offset, value, length) }
}

/// Whether a publishing was done, nothing being in its way.
#[inline(always)]
fn publishes_at_once(region: *mut mapshare_region, offset: u64, value: Source, copying: Copying) -> bool {
    if value.is_null() || !offset.is_multiple_of(Cell::ALIGNMENT) {
        return false;
    }
    let Some(open) = enter_at_once(region) else { return false };
    let Some(shape) = Cell::shape_for(value.length()) else { return false };
    let Some(words) = open.words_at_once(offset, shape.bytes) else { return false };
    Cell::publish_at_once(words, shape, value, copying, open.hazard().caller)
}

/// A publishing of more than a line, or that something is in the way of: as `read` of access.rs.
///
/// # Safety
/// As `mapshare_cell_publish`.
#[inline(never)]
unsafe extern "C" fn publish(region: *mut mapshare_region, offset: u64, value: *const c_void, length: usize) -> c_int {
    // SAFETY: the caller vouches for `length` bytes; NULL is refused before they are used.
    let source = unsafe { Source::from_raw(value.cast(), length) };
    if publishes_at_once(region, offset, source, Copying::Any) {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { publish_patiently(region, offset, value, length) }
}

/// A publishing that something is in the way of.
///
/// # Safety
/// As `mapshare_cell_publish`.
#[cold]
#[inline(never)]
unsafe extern "C" fn publish_patiently(
    region: *mut mapshare_region,
    offset: u64,
    value: *const c_void,
    length: usize,
) -> c_int {
    guard("mapshare_cell_publish", || {
        let region = enter(region)?;
        check("value", value)?;
        // SAFETY: the caller vouches for `length` bytes, and it is not NULL.
        let source = unsafe { Source::from_raw(value.cast(), length) };
        cell(&region, offset)?.publish_from(source).map(drop)
    })
}

/// Copies the latest value of a cell out: always a whole one, whatever writers do meanwhile.
///
/// @param region       The region; it may be read-only.
/// @param offset       The cell's first byte: a multiple of 64.
/// @param value        Where to copy it to; after a failure it may have been written to.
/// @param length       The bytes there: as many as the cell was made for.
/// @param ret_version  Receives the value's version: 1 for the first that was published, 0 for the zeros before; NULL
///                     when it is of no interest.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: value is NULL; length is not the cell's; offset is not a multiple of 64; the region is copy-on-write.
///   -EBADMSG: no cell stands there, or it is damaged. -EPROTONOSUPPORT: a cell of another version.
///   -EAGAIN: writers overwrote it 64 times while it was read.
///   -EBUSY:  another process is making the cell and does not get on with it.
///   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u64.
///
/// Threads: any. Signals: not in a handler. Blocks: never.
/// Source: Boehm, Can seqlocks get along with programming language memory models, MSPC 2012.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_cell_read(
    region: *mut mapshare_region,
    offset: u64,
    value: *mut c_void,
    length: usize,
    ret_version: *mut u64,
) -> c_int {
    // SAFETY: the caller vouches for `length` bytes; NULL is refused before they are used.
    let destination = unsafe { Destination::from_raw(value.cast(), length) };
    if destination.length() <= Cell::LINE
        && let Some(version) = reads_at_once(region, offset, destination, Copying::Short)
    {
        // SAFETY: the caller vouches for it, or passes NULL.
        unsafe { give_version(ret_version, version) };
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { read(region, offset, value, length, ret_version) }
}

/// The version of a value that was read, nothing being in the way.
#[inline(always)]
fn reads_at_once(region: *mut mapshare_region, offset: u64, value: Destination, copying: Copying) -> Option<u64> {
    if value.is_null() || !offset.is_multiple_of(Cell::ALIGNMENT) {
        return None;
    }
    let open = enter_at_once(region)?;
    let shape = Cell::shape_for(value.length())?;
    Cell::read_at_once(open.words_at_once(offset, shape.bytes)?, shape, value, copying, open.hazard().caller)
}

/// As `publish`, for a reading.
///
/// # Safety
/// As `mapshare_cell_read`.
#[inline(never)]
unsafe extern "C" fn read(
    region: *mut mapshare_region,
    offset: u64,
    value: *mut c_void,
    length: usize,
    ret_version: *mut u64,
) -> c_int {
    // SAFETY: the caller vouches for `length` bytes; NULL is refused before they are used.
    let destination = unsafe { Destination::from_raw(value.cast(), length) };
    if let Some(version) = reads_at_once(region, offset, destination, Copying::Any) {
        // SAFETY: the caller vouches for it, or passes NULL.
        unsafe { give_version(ret_version, version) };
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { read_patiently(region, offset, value, length, ret_version) }
}

/// As `publish_patiently`.
///
/// # Safety
/// As `mapshare_cell_read`.
#[cold]
#[inline(never)]
unsafe extern "C" fn read_patiently(
    region: *mut mapshare_region,
    offset: u64,
    value: *mut c_void,
    length: usize,
    ret_version: *mut u64,
) -> c_int {
    guard("mapshare_cell_read", || {
        let region = enter(region)?;
        check("value", value)?;
        // SAFETY: the caller vouches for `length` bytes, and it is not NULL.
        let destination = unsafe { Destination::from_raw(value.cast(), length) };
        let version = cell(&region, offset)?.read_into(destination)?;
        // SAFETY: the caller vouches for it, or passes NULL.
        unsafe { give_version(ret_version, version) };
        Ok(())
    })
}

/// Sleeps until a cell has a newer value than the caller has seen. Returns at once when it has one.
///
/// @param region        The region; it may be read-only, and is looked at every 5 ms then.
/// @param offset        The cell's first byte: a multiple of 64.
/// @param seen_version  The version that mapshare_cell_read told last; 0 waits for the first value.
/// @param timeout_ns    How long, in nanoseconds; 0 = only look, < 0 = for ever.
/// @return 0: there is a newer one. Or
///   -ETIMEDOUT: there was none when the time had passed. -EINTR: a signal handler ran; call again to go on waiting.
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 64, or the region is copy-on-write.
///   -EBADMSG: no cell stands there, or it is damaged. -EPROTONOSUPPORT: a cell of another version.
///   -EBUSY:  another process is making the cell and does not get on with it.
///   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u64.
///
/// Threads: any number at once. While one sleeps, mapshare_unmap and all else that needs the region alone is -EBUSY. A
/// value whose writer was killed before it could wake is noticed within 100 ms.
/// Signals: not in a handler. Blocks: up to timeout_ns. Source: futex(2), membarrier(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_cell_wait(
    region: *mut mapshare_region,
    offset: u64,
    seen_version: u64,
    timeout_ns: i64,
) -> c_int {
    guard("mapshare_cell_wait", || {
        let region = enter(region)?;
        cell(&region, offset)?.wait(seen_version, options::timeout(timeout_ns)).map(drop)
    })
}

/// The cell at `offset`, whose first bytes tell how many there are.
fn cell(region: &Region, offset: u64) -> Result<Cell<'_>> {
    Cell::check_offset(offset)?;
    let length = Cell::length_at(region.words(offset, Cell::HEADER)?)?;
    Cell::at(region.words(offset, length)?)
}

fn check(argument: &'static str, pointer: *const c_void) -> Result<()> {
    if pointer.is_null() { Err(Error::NullArgument(argument)) } else { Ok(()) }
}

/// # Safety
/// `to` is NULL or can be written.
#[inline(always)]
unsafe fn give_version(to: *mut u64, version: u64) {
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(version) };
    }
}
