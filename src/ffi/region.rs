//! A region as a whole: its length, its rights, what is known of it.

use super::guard::guard;
use super::open::{enter, exclusive};
use super::options::{self, mapshare_region, mapshare_region_info};
use crate::error::Error;
use std::ffi::c_int;
use std::os::fd::IntoRawFd;

/// Makes a region and its file longer or shorter. What is added reads as zeros, and its storage is reserved unless the
/// region was opened MAPSHARE_SPARSE. Growing never cuts a file that others have made longer still; shrinking does.
///
/// @param region  The region, MAPSHARE_READ_WRITE.
/// @param length  The new length in bytes, counted from the region's start; at least 1.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: length is 0, or the region is copy-on-write.
///   -EACCES: the region is read-only.
///   -EBUSY:  views are out or queue handles open, and length cuts bytes from one of them or is more than the reserve; a
///            thread of this process holds a lock that it would cut away; or it would have to wait for a call that
///            sleeps in the region.
///   -ENOSPC: no room on the file system, or the file would pass its limit or RLIMIT_FSIZE.
///   -ENOMEM: no address space for a length beyond the reserve, or RLIMIT_MEMLOCK is met.
///   -EPERM:  a seal forbids it.
///
/// Pointers stay while length <= reserve; beyond it the region moves, which needs that no view is out.
/// Threads: any. Growing within the reserve goes on beside all other calls; shrinking and moving wait for those under
/// way, and calls that come wait for them.
/// Processes: others keep their length; an access of theirs past it takes the growth over, within their reserve.
/// Signals: not in a handler. Source: fallocate(2), ftruncate(2), mremap(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_resize(region: *mut mapshare_region, length: u64) -> c_int {
    guard("mapshare_resize", || {
        let entered = enter(region)?;
        if entered.resizes_in_place(length) {
            return entered.grow(length);
        }
        drop(entered);
        exclusive(region)?.resize(length)
    })
}

/// Takes over the file's length of now, which other processes may have changed. A region that reached the end of its
/// file goes on doing so, and moves for it when it must; one opened on a part of the file grows up to its reserve.
/// When the file ends at or before the region's offset, the length becomes 0. Where views have lost pages, it puts back
/// what the file has.
///
/// @param region  The region.
/// @return 1 when the length has changed, 0 when not, or
///   -EBADF: not an open region.
///   -EBUSY: views are out, and the file has grown beyond the reserve; or it would have to wait for a call that sleeps
///           in the region.
///   -EBADF also when the program has closed the region's own descriptor; so do all functions below that ask the file.
///   -ENOMEM, -EIO: as the kernel says them.
///
/// Threads: any, as mapshare_resize; one that has put pages back waits for the calls under way.
/// Signals: not in a handler. Source: fstat(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_refresh(region: *mut mapshare_region) -> c_int {
    guard("mapshare_refresh", || {
        let entered = enter(region)?;
        if !entered.refreshes_in_place()? {
            drop(entered);
            return exclusive(region)?.refresh();
        }
        let changed = entered.refresh_in_place()?;
        if entered.may_settle() {
            drop(entered);
            // It is done without as well, and calls stay a little slower.
            let _ = exclusive(region).map(|mut region| region.settle());
        }
        Ok(changed)
    })
}

/// Changes what may be done with a region, up to what its descriptor grants: of mapshare_open_fd, what fd was opened
/// for; of mapshare_receive, what was handed over; else the access that it was opened with.
///
/// @param region  The region.
/// @param access  MAPSHARE_READ_ONLY, or MAPSHARE_READ_WRITE for a shared region, MAPSHARE_COPY_ON_WRITE for a private
///                one.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: access is unknown, or MAPSHARE_COPY_ON_WRITE asked of a shared region: that is decided at open.
///   -EACCES: writing asked where the descriptor is for reading only, or shared writing of a private region.
///   -EBUSY:  MAPSHARE_READ_ONLY while views are out that may be written through, or locks are held that were taken
///            through the region; or a call sleeps in it.
///   -EPERM:  a seal forbids it.
///
/// Threads: any; waits for calls under way, and calls that come wait for it. Signals: not in a handler.
/// Source: mprotect(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_protect(region: *mut mapshare_region, access: u32) -> c_int {
    guard("mapshare_protect", || {
        let mut region = exclusive(region)?;
        region.protect(options::access(access)?)
    })
}

/// Tells the kernel what to expect of a range, for speed. No advice changes a byte.
///
/// @param region  The region.
/// @param offset  First byte, counted from the region's start.
/// @param length  How many bytes; 0 = to the end of the region. Whole pages are meant.
/// @param advice  MAPSHARE_ADVISE_NORMAL or another of that group.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: the advice is unknown, to this library or to this kernel.
///   -ERANGE: offset + length leaves the region.
///
/// Threads: any. Signals: not in a handler. Source: madvise(2), POSIX.1-2024 posix_madvise().
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_advise(region: *mut mapshare_region, offset: u64, length: u64, advice: u32) -> c_int {
    guard("mapshare_advise", || {
        let region = enter(region)?;
        region.advise(offset, length, options::advice(advice)?)
    })
}

/// How long a region is. This does not look at the file: mapshare_refresh takes over what other processes have changed.
///
/// @param region  The region.
/// @return Bytes that may be accessed now, or -EBADF: not an open region.
///
/// Threads: any. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_length(region: *mut mapshare_region) -> i64 {
    guard("mapshare_length", || Ok(enter(region)?.length()))
}

/// What there is to know about a region. The kernel counts the pages that are in memory, so it is for people and tools;
/// before Linux 6.5, of a copy-on-write region, and of a file that this user may neither write nor owns, it looks at
/// each page of the region, which takes minutes for a huge one.
///
/// @param region    The region.
/// @param ret_info  Receives the facts.
/// @param info_size sizeof *ret_info: a shorter struct gets the first fields, a longer one zeros at its end.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: ret_info is NULL or info_size is 0.
///   -EIO, -ENOMEM: the kernel cannot answer.
///
/// Threads: any. Signals: not in a handler. Source: fstat(2), cachestat(2), mincore(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_info(
    region: *mut mapshare_region,
    ret_info: *mut mapshare_region_info,
    info_size: usize,
) -> c_int {
    guard("mapshare_info", || {
        let region = enter(region)?;
        if ret_info.is_null() {
            return Err(Error::NullArgument("ret_info"));
        }
        if info_size == 0 {
            return Err(Error::Contradiction("info_size is 0; pass sizeof *ret_info"));
        }
        let info = region.info()?.into();
        // SAFETY: the caller vouches for `info_size` bytes; the struct has no padding.
        unsafe { options::give(info, ret_info, info_size) };
        Ok(())
    })
}

/// A new descriptor of a region's file, for whoever needs one: fstat, flock, sendmsg, /proc/PID/fd.
///
/// @param region  The region.
/// @return A descriptor, close-on-exec, that the caller closes; or -EBADF: not an open region, -EMFILE: too many
///   descriptors are open.
///
/// Threads: any. Signals: not in a handler. Source: fcntl(2) F_DUPFD_CLOEXEC.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_fd(region: *mut mapshare_region) -> c_int {
    guard("mapshare_fd", || {
        let region = enter(region)?;
        Ok(region.duplicate_fd()?.into_raw_fd())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::open::{enter_at_once, mapshare_open, mapshare_unmap};
    use crate::ffi::options::{MAPSHARE_CREATE, MAPSHARE_READ_WRITE, mapshare_options};
    use crate::ffi::view::{mapshare_release, mapshare_view};
    use crate::region::Copying;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn calls_take_the_short_way_again_once_lost_pages_are_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let (length, mut region) = (1 << 16, std::ptr::null_mut());
        let options = mapshare_options {
            flags: MAPSHARE_CREATE,
            access: MAPSHARE_READ_WRITE,
            length,
            ..mapshare_options::default()
        };
        // SAFETY: a path, options of that size, and room for the token.
        let opened = unsafe { mapshare_open(name.as_ptr(), &options, size_of_val(&options), &mut region) };
        assert_eq!(opened, 0);
        let is_short = || enter_at_once(region).unwrap().read_at_once(0, (&mut [0; 8][..]).into(), Copying::Any);
        assert_eq!(mapshare_refresh(region), 0);
        assert!(is_short());
        let mut view = std::ptr::null_mut();
        // SAFETY: room for the address.
        assert_eq!(unsafe { mapshare_view(region, 0, 1, &mut view) }, 0);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(0).unwrap();
        // SAFETY: a view that is out.
        assert_eq!(unsafe { view.cast::<u8>().read_volatile() }, 0);
        file.set_len(length).unwrap();
        assert!(!is_short(), "a page stands as zeros");
        assert_eq!(mapshare_refresh(region), 0);
        assert!(is_short());
        assert_eq!(mapshare_release(region, view), -6);
        assert_eq!(mapshare_unmap(region), 0);
    }
}
