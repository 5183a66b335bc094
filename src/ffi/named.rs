//! Names of POSIX shared memory.

use super::guard::guard;
use super::open::{c_path, open_with};
use super::options::{mapshare_options, mapshare_region};
use crate::error::Result;
use crate::region::named;
use std::ffi::{OsStr, c_char, c_int};

/// Opens shared memory by its name: what anybody has made under it with shm_open, or with MAPSHARE_CREATE a new object
/// of `length` bytes, which has its name only when it is complete. It lives in memory until it is unlinked and nobody
/// has it mapped any more, or until the system ends.
///
/// @param name          1 to 255 bytes without a slash, but for one in front, which may be left out; not "." or "..".
///                      Any other bytes are good. A name is the file /dev/shm/NAME: it is the same object for shm_open,
///                      for Python's multiprocessing.shared_memory and for Boost's shared_memory_object, which call it.
/// @param options       As for mapshare_open; a symbolic link is never followed.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param ret_region    Receives the region's token.
/// @return 0, or
///   -EINVAL: name or ret_region is NULL; name is empty, "." or "..", or has a slash inside; an option is unknown or
///            contradicts another.
///   -ENAMETOOLONG: name is longer than 255 bytes without its slash.
///   -ENOENT: nothing has the name, and MAPSHARE_CREATE is not set.
///   -EEXIST: MAPSHARE_EXCLUSIVE, and something has the name; or MAPSHARE_UNLINK_LAST, and what has it was made without.
///   -EACCES: its permissions do not allow this access; or MAPSHARE_CREATE, and another user than this process's
///            effective one and root has made it: whoever creates does not take what somebody has put there for it.
///            Without MAPSHARE_CREATE such an object is opened, where its permissions allow it.
///   -ELOOP:  a symbolic link has the name.
///   -ENODEV: a directory, FIFO, socket or device has it; it is not touched.
///   -ENOSPC: no room in /dev/shm for the bytes to be reserved.
///   -EOPNOTSUPP: MAPSHARE_UNLINK_LAST, and /proc is not mounted.
///   -EBUSY:  an object that goes with its last user was about to go for 10 seconds: a process was stopped meanwhile.
///   and all codes of mapshare_open that do not concern paths.
///
/// A failed call leaves nothing behind. New objects have mode 0600 unless options.mode says otherwise.
///
/// Threads: any. Signals: not in a handler. Blocks: never on a FIFO or device.
/// Processes: any number may open the same name, also with MAPSHARE_CREATE at the same time: one makes it.
/// Fork: as mapshare_open. Source: shm_open(3), shm_overview(7); POSIX.1-2024 shm_open().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_open_named(
    name: *const c_char,
    options: *const mapshare_options,
    options_size: usize,
    ret_region: *mut *mut mapshare_region,
) -> c_int {
    guard("mapshare_open_named", || {
        // SAFETY: the caller passes a C string or NULL.
        let name = unsafe { c_name("name", name) }?;
        // SAFETY: the caller passes options of that size, and somewhere to put the token.
        unsafe { open_with(options, options_size, ret_region, |options| options.open_named(name)) }
    })
}

/// Removes a name of shared memory. Whoever has the object open goes on using it; it goes with the last of them. The
/// name is free at once.
///
/// @param name  As for mapshare_open_named.
/// @return 0, or
///   -EINVAL, -ENAMETOOLONG: name is NULL or no such name.
///   -ENOENT: nothing has the name.
///   -EACCES: the object belongs to another user.
///   -ELOOP, -ENODEV: a symbolic link, or something else that is no shared memory, has the name; it stays.
///
/// Threads: any. Signals: not in a handler. Source: shm_unlink(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_unlink_named(name: *const c_char) -> c_int {
    guard("mapshare_unlink_named", || {
        // SAFETY: the caller passes a C string or NULL.
        named::unlink_named(unsafe { c_name("name", name) }?)
    })
}

/// Removes the names of shared memory whose users are all dead. Only those that were made with MAPSHARE_UNLINK_LAST are
/// looked at: a name that anybody uses stays, as do all others, and what this process may not open for writing or may
/// not remove.
///
/// @param prefix  How the names begin, with or without a slash in front; "" for all.
/// @return How many were removed, or
///   -EINVAL, -ENAMETOOLONG: prefix is NULL, or no name begins so.
///   -EMFILE, -ENFILE, -ENOENT: /dev/shm cannot be read, as the kernel says it.
///
/// Threads: any. Signals: not in a handler. Blocks: never.
/// Processes: any number may sweep at the same time, while others open, create and leave.
/// Source: fcntl(2), "Open file description locks".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_sweep_named(prefix: *const c_char) -> i64 {
    guard("mapshare_sweep_named", || {
        // SAFETY: the caller passes a C string or NULL.
        named::sweep_named(unsafe { c_name("prefix", prefix) }?)
    })
}

/// # Safety
/// `name` is NULL or a C string that stays for the call.
unsafe fn c_name<'a>(argument: &'static str, name: *const c_char) -> Result<&'a OsStr> {
    // SAFETY: the caller vouches for it.
    unsafe { c_path(argument, name) }.map(std::path::Path::as_os_str)
}
