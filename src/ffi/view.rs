//! Zero-copy access.

use super::guard::guard;
use super::open::enter;
use super::options::mapshare_region;
use crate::View;
use crate::error::Error;
use std::ffi::{c_int, c_void};

/// Gives the address of a range, for access without copying. The bytes stay mapped at that address until
/// mapshare_release: as long as a view is out, unmap, and all else that would take its bytes or its address away, is
/// -EBUSY.
///
/// @param region       The region.
/// @param offset       First byte, counted from the region's start; any alignment.
/// @param length       How many bytes, at least 1.
/// @param ret_pointer  Receives the address. Writing through it needs a region that is not read-only.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: ret_pointer is NULL, or length is 0.
///   -ERANGE: offset + length leaves the region.
///   -EOPNOTSUPP: the region was opened MAPSHARE_NO_HANDLER, and its file may shrink.
///
/// A page that the file loses while the view is out reads as zeros and takes writes that go nowhere; functions called
/// on it, and mapshare_release, say so by their code. mapshare_refresh puts back what the file has.
///
/// Threads: any; the address may be used on all threads and released on any. Others change the bytes at any moment:
/// use atomics, volatile accesses or a lock.
/// Signals: not in a handler. Fork: the child has its own mapping at the same address, of the same bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_view(
    region: *mut mapshare_region,
    offset: u64,
    length: u64,
    ret_pointer: *mut *mut c_void,
) -> c_int {
    guard("mapshare_view", || {
        let region = enter(region)?;
        if ret_pointer.is_null() {
            return Err(Error::NullArgument("ret_pointer"));
        }
        let view = region.view(offset, length)?;
        // SAFETY: the caller vouches for it, and it is not NULL.
        unsafe { ret_pointer.write(view.hand_out().cast()) };
        Ok(())
    })
}

/// Gives a view back. Its address must not be used any more.
///
/// @param region   The region.
/// @param pointer  An address that mapshare_view returned; one that was returned twice is released twice, the
///                 shortest view first.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: pointer is no address that is out, or was released already.
///   -ENXIO, -ENOSPC, -EIO: pages of it were lost while it was out: the file was cut short, its file system was full,
///            its device failed. Zeros stood in their place since, and what was written there is gone. The view is
///            released all the same. It is pages that were used through the view, or stood as zeros when it was taken,
///            that this tells of. Of several views at one address, where one has lost pages all of them say so.
///
/// Threads: any. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_release(region: *mut mapshare_region, pointer: *mut c_void) -> c_int {
    guard("mapshare_release", || enter(region)?.recall(pointer.cast())?.check())
}

/// Where this process counts, in all its views together, the pages that were lost. Bindings that read a view at the
/// speed of memory look at it after each access: as long as it stands where it stood when mapshare_release last
/// returned 0 for a view of the region, the access met the file's own bytes. When it has changed, mapshare_read of the
/// same range tells whether they were lost.
///
/// @return The address of a number that goes up before zeros take a page's place, and again after; it stays valid, and
///   is only read.
///
/// Threads: any; an aligned load sees the number whole. Signals: safe in a handler. Fork: the child counts on its own.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_lost_count() -> *const u64 {
    View::lost_count()
}
