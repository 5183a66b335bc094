//! How a region's bytes are read and written.

use super::guard::guard;
use super::open::{enter, enter_at_once};
use super::options::{MAPSHARE_FLUSH_ASYNC, mapshare_region};
use crate::Flush;
use crate::error::{Error, Result};
use crate::region::{Copying, Destination, Source};
use std::ffi::{c_int, c_void};

/// Copies bytes out of a region.
///
/// @param region  The region.
/// @param offset  First byte, counted from the region's start.
/// @param buffer  Receives the bytes; may be NULL when length is 0.
/// @param length  How many bytes.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: buffer is NULL and length is not 0.
///   -ERANGE: offset + length leaves the region, for any numbers, sums that overflow included; nothing was copied.
///            A file that others have grown is taken over first, within the region's reserve.
///   -ENXIO:  the file was cut short, and a page of the range lies wholly behind its end. Up to the end of the file's
///            last page there is no error: those bytes read as zeros.
///   -ENOSPC: its file system has no room for a page. -EIO: its device failed.
///            mapshare_last_error says for the three how many bytes were copied before.
///
/// Threads: any number at once. Bytes that others write meanwhile are seen old or new, each byte for itself.
/// Signals: not in a handler. Blocks: on the disk only, for pages that are not in memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_read(
    region: *mut mapshare_region,
    offset: u64,
    buffer: *mut c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller vouches for `length` bytes at `buffer`; NULL is refused before they are used.
    let bytes = unsafe { Destination::from_raw(buffer.cast(), length) };
    if bytes.is_short()
        && !buffer.is_null()
        && enter_at_once(region).is_some_and(|open| open.read_at_once(offset, bytes, Copying::Short))
    {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { read(region, offset, buffer, length) }
}

/// A read that is long, or that something is in the way of. By the ABI of C, so that nothing unwinds out of it, and the
/// jump to it needs no frame.
///
/// # Safety
/// As `mapshare_read`.
#[inline(never)]
unsafe extern "C" fn read(region: *mut mapshare_region, offset: u64, buffer: *mut c_void, length: usize) -> c_int {
    // SAFETY: the caller vouches for `length` bytes at `buffer`; NULL is refused before they are used.
    let bytes = unsafe { Destination::from_raw(buffer.cast(), length) };
    if !buffer.is_null() && enter_at_once(region).is_some_and(|open| open.read_at_once(offset, bytes, Copying::Any)) {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { read_patiently(region, offset, buffer, length) }
}

/// A read that something is in the way of.
///
/// # Safety
/// As `mapshare_read`.
#[cold]
#[inline(never)]
unsafe extern "C" fn read_patiently(
    region: *mut mapshare_region,
    offset: u64,
    buffer: *mut c_void,
    length: usize,
) -> c_int {
    guard("mapshare_read", || {
        let region = enter(region)?;
        check_buffer(buffer, length)?;
        // SAFETY: the caller vouches for `length` bytes at `buffer`.
        let buffer = unsafe { Destination::from_raw(buffer.cast(), length) };
        region.read_into(offset, buffer)
    })
}

/// Copies bytes into a region. Everyone who has the file mapped sees them at once, without a call.
///
/// @param region  The region.
/// @param offset  First byte, counted from the region's start.
/// @param buffer  The bytes; may be NULL when length is 0.
/// @param length  How many.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: buffer is NULL and length is not 0.
///   -EACCES: the region is read-only.
///   -ERANGE: offset + length leaves the region; nothing was copied. Growth by others is taken over as in
///            mapshare_read.
///   -ENXIO, -ENOSPC, -EIO: as in mapshare_read; bytes written behind the end of the file in its last page are lost.
///
/// Threads: any number at once; writes of several threads or processes to the same bytes mix byte by byte.
/// Signals: not in a handler. Blocks: on the disk only, for pages that are not in memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_write(
    region: *mut mapshare_region,
    offset: u64,
    buffer: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller vouches for `length` bytes at `buffer`; NULL is refused before they are used.
    let bytes = unsafe { Source::from_raw(buffer.cast(), length) };
    if bytes.is_short()
        && !buffer.is_null()
        && enter_at_once(region).is_some_and(|open| open.write_at_once(offset, bytes, Copying::Short))
    {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { write(region, offset, buffer, length) }
}

/// As `read`.
///
/// # Safety
/// As `mapshare_write`.
#[inline(never)]
unsafe extern "C" fn write(region: *mut mapshare_region, offset: u64, buffer: *const c_void, length: usize) -> c_int {
    // SAFETY: the caller vouches for `length` bytes at `buffer`; NULL is refused before they are used.
    let bytes = unsafe { Source::from_raw(buffer.cast(), length) };
    if !buffer.is_null() && enter_at_once(region).is_some_and(|open| open.write_at_once(offset, bytes, Copying::Any)) {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { write_patiently(region, offset, buffer, length) }
}

/// As `read_patiently`.
///
/// # Safety
/// As `mapshare_write`.
#[cold]
#[inline(never)]
unsafe extern "C" fn write_patiently(
    region: *mut mapshare_region,
    offset: u64,
    buffer: *const c_void,
    length: usize,
) -> c_int {
    guard("mapshare_write", || {
        let region = enter(region)?;
        check_buffer(buffer, length)?;
        // SAFETY: the caller vouches for `length` bytes at `buffer`.
        let buffer = unsafe { Source::from_raw(buffer.cast(), length) };
        region.write_from(offset, buffer)
    })
}

/// Sets all bytes of a range to one value.
///
/// @param region  The region.
/// @param offset  First byte, counted from the region's start.
/// @param length  How many bytes.
/// @param byte    The value, 0 to 255.
/// @return 0, or -EBADF, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO as mapshare_write; -EINVAL when byte is more than 255.
///
/// Threads: any number at once. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_fill(region: *mut mapshare_region, offset: u64, length: u64, byte: u32) -> c_int {
    if let Ok(byte) = u8::try_from(byte)
        && enter_at_once(region).is_some_and(|open| open.fill_at_once(offset, length, byte))
    {
        return 0;
    }
    fill(region, offset, length, byte)
}

/// A fill that something is in the way of.
#[cold]
#[inline(never)]
fn fill(region: *mut mapshare_region, offset: u64, length: u64, byte: u32) -> c_int {
    guard("mapshare_fill", || {
        let region = enter(region)?;
        let byte = u8::try_from(byte).map_err(|_| Error::UnknownValue {
            field: "byte",
            value: byte.into(),
            allowed: "0 to 255",
        })?;
        region.fill(offset, length, byte)
    })
}

/// Copies bytes from one region to another, or inside one. Ranges that overlap are copied as memmove(3) does, also
/// when they are the same bytes of one file in two regions.
///
/// @param to           The region to write.
/// @param to_offset    First byte there.
/// @param from         The region to read; may be the same.
/// @param from_offset  First byte there.
/// @param length       How many bytes.
/// @return 0, or the codes of mapshare_read for `from` and of mapshare_write for `to`; with -ERANGE nothing was
///   copied.
///
/// Threads: any number at once. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_copy(
    to: *mut mapshare_region,
    to_offset: u64,
    from: *mut mapshare_region,
    from_offset: u64,
    length: u64,
) -> c_int {
    guard("mapshare_copy", || {
        let (to, from) = (enter(to)?, enter(from)?);
        from.copy_to(from_offset, &to, to_offset, length)
    })
}

/// Brings written bytes to the file's storage, so that they survive a power cut. Other processes see them without it.
///
/// @param region  The region.
/// @param offset  First byte, counted from the region's start.
/// @param length  How many bytes; 0 = to the end of the region. Whole pages are written.
/// @param flags   0 to wait until the device has them; MAPSHARE_FLUSH_ASYNC to start the writing and return.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: a flag is unknown; or the region is copy-on-write, whose changes never reach the file.
///   -ERANGE: offset + length leaves the region.
///   -EIO, -ENOSPC: the device or file system failed to take them.
///
/// Threads: any number at once. Signals: not in a handler. Blocks: until the device answers, without the flag.
/// Source: msync(2) MS_SYNC, sync_file_range(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_flush(region: *mut mapshare_region, offset: u64, length: u64, flags: u32) -> c_int {
    guard("mapshare_flush", || {
        let region = enter(region)?;
        let unknown = flags & !MAPSHARE_FLUSH_ASYNC;
        if unknown != 0 {
            let (unknown, known) = (unknown.into(), MAPSHARE_FLUSH_ASYNC.into());
            return Err(Error::UnknownFlags { field: "flags", unknown, known });
        }
        let when = if flags & MAPSHARE_FLUSH_ASYNC == 0 { Flush::Wait } else { Flush::Start };
        region.flush(offset, length, when)
    })
}

fn check_buffer(buffer: *const c_void, length: usize) -> Result<()> {
    if buffer.is_null() && length > 0 {
        return Err(Error::NullWithSize("buffer"));
    }
    Ok(())
}
