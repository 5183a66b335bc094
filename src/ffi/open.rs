//! How regions are opened and unmapped.

use super::guard::{guard, quietly};
use super::options::{mapshare_options, mapshare_region};
use super::table::{Entered, Exclusive, Refused, Table, TableFull};
use super::token::{Kind, Token};
use crate::Options;
use crate::error::{Error, Result};
use crate::region::Region;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Kind for Region {
    const KIND: u8 = 0x6d;
}

/// All open regions.
static REGIONS: Table<Region> = Table::new();

/// The region that a caller means, for a call that bears others at the same time.
#[inline]
pub(super) fn enter(region: *mut mapshare_region) -> Result<Entered<Region>> {
    let token = Token::from_handle(region);
    REGIONS.enter(token).map_err(|refused| refusal(refused, token, "region"))
}

/// `enter`, if nothing is in its way; otherwise `enter` tells what is.
#[inline(always)]
pub(super) fn enter_at_once(region: *mut mapshare_region) -> Option<Entered<Region>> {
    REGIONS.enter_at_once(Region::PLACE, Token::from_handle(region))
}

/// The region that a caller means, for this call alone: waits for those under way, and those that come wait.
pub(super) fn exclusive(region: *mut mapshare_region) -> Result<Exclusive<Region>> {
    let token = Token::from_handle(region);
    REGIONS.exclusive(token).map_err(|refused| refusal(refused, token, "region"))
}

/// Why a token of a kind gives no access.
#[cold]
pub(super) fn refusal(refused: Refused, token: Token, kind: &'static str) -> Error {
    match refused {
        Refused::Stale => Error::StaleToken { token: token.0, kind },
        Refused::Busy => Error::InUse { kind },
        Refused::NoMemory => Error::NoMemory { length: 4096, place: "to keep track of this thread's calls" },
    }
}

/// Opens a file as a region: maps `length` bytes of it from `offset`, as the options say.
///
/// @param path          Path of a regular file; one that is relative counts from the working directory.
/// @param options       How to open it; NULL for all defaults: read-only, the whole file.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param ret_region    Receives the region's token.
/// @return 0, or
///   -EINVAL: path or ret_region is NULL; an option is unknown or contradicts another; offset is not a multiple of the
///            page size; there is no byte to map (length 0 and an empty file); something would have to be created or
///            extended and access is not MAPSHARE_READ_WRITE.
///   -ENXIO:  the file is shorter than offset + length, and MAPSHARE_CREATE is not set.
///   -EACCES: the file's or a directory's permissions do not allow this access. A file without write permission opens
///            MAPSHARE_READ_ONLY and MAPSHARE_COPY_ON_WRITE. Or MAPSHARE_BENEATH, and the path leads out of the
///            directory that it counts from.
///   -ENOSPC: no room for the bytes to be reserved; or the file would pass RLIMIT_FSIZE or the file system's limit.
///   -ENODEV: a directory, FIFO, socket or device stands there, or a file that cannot be mapped, as those of /proc.
///   -ENOMEM: no address space for reserve bytes (RLIMIT_AS, vm.max_map_count), or RLIMIT_MEMLOCK is met.
///   -EEXIST: MAPSHARE_EXCLUSIVE, and the file exists; or MAPSHARE_UNLINK_LAST, and it was made without.
///   -EBUSY:  a file that goes with its last user was about to go for 10 seconds: a process was stopped meanwhile.
///   -ELOOP:  MAPSHARE_NO_FOLLOW or MAPSHARE_UNLINK_LAST, and the last part of the path is a symbolic link;
///            MAPSHARE_BENEATH, and any part is; or links lead in a circle.
///   -E2BIG:  the options struct is larger than this library's, and its tail is not zero.
///   -EOPNOTSUPP: MAPSHARE_UNLINK_LAST or MAPSHARE_BENEATH, and /proc is not mounted; MAPSHARE_BENEATH, and this kernel
///            has no openat2(2).
///   -EPERM:  a seal or the immutable flag forbids this access.
///   -ENOENT, -ENOTDIR, -ENAMETOOLONG, -EMFILE, -ENFILE, -EROFS, -ETXTBSY, -EIO: as the kernel says them.
///
/// A failed call leaves nothing behind: no new file, no longer file, no descriptor.
///
/// Threads: any. Signals: not in a handler. Blocks: never on a FIFO or device; on the disk only.
/// Processes: any number may open the same file, also with MAPSHARE_CREATE at the same time: one makes it.
/// Fork: the child has the region too, under the same token, and unmaps its own.
/// Source: open(2), mmap(2), fallocate(2); POSIX.1-2024 mmap().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_open(
    path: *const c_char,
    options: *const mapshare_options,
    options_size: usize,
    ret_region: *mut *mut mapshare_region,
) -> c_int {
    guard("mapshare_open", || {
        // SAFETY: the caller passes a C string or NULL.
        let path = unsafe { c_path("path", path) }?;
        // SAFETY: the caller passes options of that size, and somewhere to put the token.
        unsafe { open_with(options, options_size, ret_region, |options| options.open(path)) }
    })
}

/// Opens what stands behind a descriptor as a region. The descriptor stays the caller's, who may close it at once.
///
/// @param fd            An open descriptor of a regular file or memfd, open for reading, and for writing too where
///                      access is MAPSHARE_READ_WRITE.
/// @param options       As for mapshare_open; MAPSHARE_NO_FOLLOW, MAPSHARE_BENEATH and mode mean
///                      nothing here.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param ret_region    Receives the region's token.
/// @return 0, or
///   -EBADF:  fd is not open, or was opened with O_PATH.
///   -EACCES: fd is open for writing only, which cannot be mapped, or for reading only and access is
///            MAPSHARE_READ_WRITE.
///   -EEXIST: MAPSHARE_EXCLUSIVE: what a descriptor stands for exists always.
///   -EINVAL: also MAPSHARE_UNLINK_LAST, since a descriptor does not tell the name to remove.
///   and all codes of mapshare_open that do not concern paths.
///
/// Threads: any. Signals: not in a handler. Fork: as mapshare_open.
/// Source: mmap(2), fcntl(2) F_DUPFD_CLOEXEC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_open_fd(
    fd: c_int,
    options: *const mapshare_options,
    options_size: usize,
    ret_region: *mut *mut mapshare_region,
) -> c_int {
    guard("mapshare_open_fd", || {
        // SAFETY: the caller passes options of that size, and somewhere to put the token.
        unsafe { open_with(options, options_size, ret_region, |options| options.open_raw_fd(fd)) }
    })
}

/// Opens a file as a region, by a path that counts from a directory.
///
/// @param directory_fd  An open descriptor of the directory that a relative path counts from; AT_FDCWD for the
///                      working directory. With an absolute path it means nothing, and may be any number.
/// @param path          As for mapshare_open.
/// @param options       As for mapshare_open.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param ret_region    Receives the region's token.
/// @return 0, and for a relative path -EBADF when directory_fd is not open, -ENOTDIR when it is no directory; and all
///   codes of mapshare_open.
///
/// Threads: any. Signals: not in a handler. Fork: as mapshare_open.
/// Source: openat(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_open_at(
    directory_fd: c_int,
    path: *const c_char,
    options: *const mapshare_options,
    options_size: usize,
    ret_region: *mut *mut mapshare_region,
) -> c_int {
    guard("mapshare_open_at", || {
        // SAFETY: the caller passes a C string or NULL.
        let path = unsafe { c_path("path", path) }?;
        // SAFETY: the descriptor stays the caller's for the call.
        let directory = || unsafe { borrowed(directory_fd, "is no directory that is open") };
        let directory = (!path.is_absolute()).then(directory).transpose()?;
        let open = |options: Options| match directory {
            Some(directory) => options.open_at(directory, path),
            None => options.open(path),
        };
        // SAFETY: the caller passes options of that size, and somewhere to put the token.
        unsafe { open_with(options, options_size, ret_region, open) }
    })
}

/// Makes a region of new memory, all zeros, that has no name: children have it after fork, and mapshare_send hands it
/// to any other process. It is gone when the last process that has it unmaps it or ends, in whatever way.
///
/// It is a memory file, memfd_create(2), and not what mmap(2) calls MAP_ANONYMOUS: that can be shared with children of
/// the process that made it only, cannot be handed to a process that runs already, and neither grows for all nor can be
/// sealed.
///
/// @param options       access MAPSHARE_READ_WRITE and a length; offset 0. reserve, MAPSHARE_SPARSE, _POPULATE, _LOCKED
///                      and _NO_HANDLER as for mapshare_open. MAPSHARE_HUGE_PAGES asks for transparent ones
///                      (/sys/kernel/mm/transparent_hugepage/shmem_enabled). mode says who may open it through
///                      /proc/PID/fd, without execute bits; 0 = 0600. MAPSHARE_CREATE and _EXCLUSIVE hold by
///                      themselves; what is about paths means nothing here.
/// @param options_size  sizeof *options.
/// @param ret_region    Receives the region's token.
/// @return 0, or
///   -EINVAL: ret_region is NULL; access is not MAPSHARE_READ_WRITE, so that nothing could ever be in it; length is 0;
///            offset is not 0; an option is unknown or contradicts another.
///   -ENOMEM: more than the machine's memory and swap; no address space for reserve bytes; RLIMIT_MEMLOCK is met.
///   -ENOSPC: no room for the bytes, or they would pass RLIMIT_FSIZE.
///   -E2BIG:  the options struct is larger than this library's, and its tail is not zero.
///   -EMFILE, -ENFILE: as the kernel says them.
///
/// The memory counts against the limits of the process that first touches a page (memory.max of its control group);
/// without MAPSHARE_SPARSE that is this one, at once.
/// Threads: any. Signals: not in a handler. Fork: the child has the region too, under the same token, and unmaps its
/// own.
/// Processes: whoever may look into this one (ptrace(2)) can also open /proc/PID/fd/N.
/// Source: memfd_create(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_open_anonymous(
    options: *const mapshare_options,
    options_size: usize,
    ret_region: *mut *mut mapshare_region,
) -> c_int {
    guard("mapshare_open_anonymous", || {
        // SAFETY: the caller passes options of that size, and somewhere to put the token.
        unsafe { open_with(options, options_size, ret_region, |options| options.open_anonymous()) }
    })
}

/// Unmaps a region and forgets its token. Writes that were not flushed are not lost: the system brings them to the
/// file. Waits for calls of other threads that are under way in the region. If it was the last one of something that
/// was made with MAPSHARE_UNLINK_LAST, the name is removed.
///
/// @param region  The region.
/// @return 0, or
///   -EBADF: it is not an open region: NULL, forged, or unmapped already.
///   -EBUSY: views of it are still out, queue handles open, or locks that were taken through it held; a call sleeps in
///           it (mapshare_lock_range, mapshare_wait, mapshare_mutex_lock, mapshare_cell_wait); or this is a signal
///           handler that interrupted a call on it. Nothing has changed.
///
/// Threads: any; of several that unmap the same region one succeeds, and calls that come later get -EBADF.
/// Signals: not in a handler. Source: munmap(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_unmap(region: *mut mapshare_region) -> c_int {
    guard("mapshare_unmap", || {
        let region = exclusive(region)?;
        region.check_unused()?;
        drop(region.remove());
        Ok(())
    })
}

/// A descriptor that the caller passed; refused as one that `found` describes when it cannot be any.
///
/// # Safety
/// Nobody closes it while it is used.
pub(super) unsafe fn borrowed<'a>(fd: c_int, found: &'static str) -> Result<BorrowedFd<'a>> {
    if fd == -1 {
        return Err(Error::BadDescriptor { fd, found });
    }
    // SAFETY: not -1; the kernel refuses a number that is not open, and the caller sees to it that it stays.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// What all opening functions do around the one call that differs.
///
/// # Safety
/// `options` is NULL or has `options_size` readable bytes; `ret_region` is NULL or can be written.
pub(super) unsafe fn open_with(
    options: *const mapshare_options,
    options_size: usize,
    ret_region: *mut *mut mapshare_region,
    open: impl FnOnce(Options) -> Result<Region>,
) -> Result<()> {
    if ret_region.is_null() {
        return Err(Error::NullArgument("ret_region"));
    }
    // SAFETY: the caller vouches for the options.
    let options = unsafe { mapshare_options::read(options, options_size) }?;
    let region = quietly(|| open(options))?;
    let token = REGIONS.insert(region);
    let token =
        token.map_err(|TableFull| Error::NoMemory { length: 64, place: "in the table of regions; unmap some" })?;
    // SAFETY: the caller vouches for it, and it is not NULL.
    unsafe { ret_region.write(token.to_handle()) };
    Ok(())
}

/// # Safety
/// `path` is NULL or a C string that stays for the call.
pub(super) unsafe fn c_path<'a>(argument: &'static str, path: *const c_char) -> Result<&'a Path> {
    if path.is_null() {
        return Err(Error::NullArgument(argument));
    }
    // SAFETY: the caller vouches for it, and it is not NULL.
    let path = unsafe { CStr::from_ptr(path) };
    Ok(Path::new(OsStr::from_bytes(path.to_bytes())))
}
