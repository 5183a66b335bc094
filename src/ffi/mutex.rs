//! Locks in a region.

use super::guard::guard;
use super::open::{enter, enter_at_once};
use super::options::{self, mapshare_region};
use crate::error::{Error, Result};
use crate::region::Region;
use crate::sync::mutex::{self, AtOnce};
use crate::{Locked, Mutex, Owner};
use std::ffi::c_int;

/// Bytes of a lock in a region; it stands at a multiple of 8.
pub const MAPSHARE_MUTEX_SIZE: u32 = 64;
/// What mapshare_mutex_lock returns when an owner has died with the lock: the caller has it now, and the data that it
/// protects may be half written.
pub const MAPSHARE_OWNER_DIED: c_int = 1;

const _: () = assert!(MAPSHARE_MUTEX_SIZE as u64 == Mutex::SIZE);

/// Who has a lock: for people and tools.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mapshare_owner {
    /// The process, by the number that it has for itself; 0 when nobody has the lock.
    pub pid: u32,
    /// The thread, by the kernel's number.
    pub tid: u32,
    /// 1 when the process lives, 0 when not.
    pub alive: u32,
    /// 1 when somebody may be waiting, 0 when nobody is; not how many: those that are killed cannot be counted out.
    pub waiters: u32,
}

impl From<Owner> for mapshare_owner {
    fn from(owner: Owner) -> mapshare_owner {
        let Owner { pid, tid, is_alive, has_waiters } = owner;
        mapshare_owner { pid, tid, alive: is_alive.into(), waiters: has_waiters.into() }
    }
}

/// Makes a lock of MAPSHARE_MUTEX_SIZE bytes that are all zero. One that was killed in the middle of it is made good.
///
/// @param region  The region, MAPSHARE_READ_WRITE.
/// @param offset  The lock's first byte, counted from the region's start: a multiple of 8.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 8, or the region is copy-on-write.
///   -EACCES: the region is read-only; or it is the first call in this process on an object of the file, which opens it
///            anew through /proc/self/fd, and the process may not. -EMFILE, -ENFILE: no descriptor is left for that.
///   -EEXIST: a lock stands there already. Of several that make one at the same time, one gets 0 and the others this.
///   -EBADMSG: other bytes than zeros stand there. -EPROTONOSUPPORT: a lock of another version.
///   -EBUSY:  somebody has locked the bytes of the file by which processes show that they live (from 2^62 on); or
///            another process is making the lock and does not get on with it.
///   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_store_u64.
///   -ENOLCK, -ENOENT: the file system has no locks, or there is no /proc to open the file anew by.
///
/// Threads: any. Signals: not in a handler.
/// Processes: any number that have the file mapped for writing and may open it.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_mutex_init(region: *mut mapshare_region, offset: u64) -> c_int {
    guard("mapshare_mutex_init", || Mutex::init(enter(region)?.words(offset, Mutex::SIZE)?))
}

/// Takes a lock for the calling thread. When the thread or the process that has it ends without freeing it, however that
/// comes about, the next caller gets it and is told.
///
/// @param region      The region, MAPSHARE_READ_WRITE.
/// @param offset      The lock's first byte, counted from the region's start: a multiple of 8.
/// @param timeout_ns  How long to wait, in nanoseconds; 0 = only try, < 0 = for ever.
/// @return 0: the caller has the lock. 1, MAPSHARE_OWNER_DIED: it has the lock, but an owner before it has died with it,
///   and the data may be half written: repair them, then call mapshare_mutex_recover; until then every next owner is
///   told. Or
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 8, or the region is copy-on-write.
///   -EBADMSG: no lock stands there. -EPROTONOSUPPORT: a lock of another version.
///   -EDEADLK: the calling thread has it already.
///   -ETIMEDOUT: the time has passed; mapshare_last_error tells who has the lock.
///   -EINTR:  a signal handler ran; call again to go on waiting.
///   -EACCES, -EBUSY, -ENOLCK, -ENOENT, -EMFILE, -ENFILE: as mapshare_mutex_init.
///   -ENOMEM: the thread holds 16 locks, those of its reservations and peeked messages in queues of many included.
///   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_store_u64.
///
/// Who comes first gets a free lock, but one that waits is not passed over for long: after 20 milliseconds the lock is
/// kept for it when it is freed, for 5 milliseconds at most, in which others that wait go on waiting. Who only tries
/// gets it.
///
/// Threads: any. What an owner wrote before it freed the lock, the next one sees. While a call waits, mapshare_unmap and
/// all else that needs the region alone is -EBUSY; while a lock is held, mapshare_unmap is, and making the region
/// read-only.
/// Processes: all that have the file mapped for writing, of any user and pid namespace that may open it.
/// Fork: a child has no locks; those of its parent stay its parent's. Its own first call opens the file anew.
/// Signals: not in a handler. Blocks: up to timeout_ns. Source: fcntl(2) "Open file description locks", futex(2).
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_mutex_lock(region: *mut mapshare_region, offset: u64, timeout_ns: i64) -> c_int {
    let locked = enter_at_once(region).and_then(|open| {
        let words = open.words_at_once(offset, Mutex::SIZE)?;
        Some(Mutex::lock_at_once(words, open.hazard().caller))
    });
    match locked.unwrap_or(AtOnce::Hindered) {
        AtOnce::Done => 0,
        AtOnce::Doubtful => taken(region, offset),
        AtOnce::Hindered => lock(region, offset, timeout_ns),
    }
}

/// A taking that something is in the way of: by the ABI of C, as `read` of access.rs.
#[cold]
#[inline(never)]
extern "C" fn lock(region: *mut mapshare_region, offset: u64, timeout_ns: i64) -> c_int {
    guard("mapshare_mutex_lock", || {
        let region = enter(region)?;
        let locked = mutex(&region, offset)?.lock(options::timeout(timeout_ns))?;
        Ok(if locked == Locked::OwnerDied { MAPSHARE_OWNER_DIED } else { 0 })
    })
}

/// As `lock`, for a taking that is in doubt.
#[cold]
#[inline(never)]
extern "C" fn taken(region: *mut mapshare_region, offset: u64) -> c_int {
    guard("mapshare_mutex_lock", || mutex::check_taken(enter(region)?.words(offset, Mutex::SIZE)?))
}

/// Says that the data which a lock protects are in order again, after MAPSHARE_OWNER_DIED.
///
/// @param region  The region.
/// @param offset  The lock's first byte.
/// @return 0, -EPERM when the calling thread does not have the lock, or -EBADF, -EINVAL, -EACCES, -EBADMSG and the
///   others of mapshare_mutex_lock that do not concern waiting.
///
/// Threads: the one that has the lock. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_mutex_recover(region: *mut mapshare_region, offset: u64) -> c_int {
    guard("mapshare_mutex_recover", || mutex(&*enter(region)?, offset)?.recover())
}

/// Frees a lock, and wakes one that waits for it.
///
/// @param region  The region, or another one of the same file that has the lock's bytes.
/// @param offset  The lock's first byte.
/// @return 0, -EPERM when the calling thread does not have the lock, or -EBADF, -EINVAL, -EACCES, -EBADMSG and the
///   others of mapshare_mutex_lock that do not concern waiting. After -EBADMSG, and after -ENXIO and -ERANGE, which a
///   file that was cut short gives, the thread has the lock no more, either.
///
/// Threads: the one that has the lock. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_mutex_unlock(region: *mut mapshare_region, offset: u64) -> c_int {
    let unlocked = enter_at_once(region)
        .map(|open| Mutex::unlock_at_once(open.mapping(), offset, open.is_writable(), open.hazard().caller));
    match unlocked.unwrap_or(AtOnce::Hindered) {
        AtOnce::Done => 0,
        AtOnce::Doubtful => freed(region, offset),
        AtOnce::Hindered => unlock(region, offset),
    }
}

/// As `lock`, for a freeing.
#[cold]
#[inline(never)]
extern "C" fn unlock(region: *mut mapshare_region, offset: u64) -> c_int {
    guard("mapshare_mutex_unlock", || {
        let region = enter(region)?;
        match region.words(offset, Mutex::SIZE) {
            Ok(words) => Mutex::unlock_at(words),
            Err(error) => {
                mutex::let_go(region.mapping(), offset);
                Err(error)
            }
        }
    })
}

/// As `lock`, for a freeing that is in doubt.
#[cold]
#[inline(never)]
extern "C" fn freed(region: *mut mapshare_region, offset: u64) -> c_int {
    guard("mapshare_mutex_unlock", || mutex::check_freed(enter(region)?.words(offset, Mutex::SIZE)?))
}

/// Who has a lock, for people and tools: it may be another one by the time of the return.
///
/// @param region      The region; it may be read-only.
/// @param offset      The lock's first byte.
/// @param ret_owner   Receives the facts.
/// @param owner_size  sizeof *ret_owner: a shorter struct gets the first fields, a longer one zeros at its end.
/// @return 0, -EINVAL also when ret_owner is NULL or owner_size is 0, or -EBADF, -EBADMSG and the others of
///   mapshare_mutex_lock that do not concern waiting.
///
/// Threads: any. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_mutex_owner(
    region: *mut mapshare_region,
    offset: u64,
    ret_owner: *mut mapshare_owner,
    owner_size: usize,
) -> c_int {
    guard("mapshare_mutex_owner", || {
        let region = enter(region)?;
        if ret_owner.is_null() {
            return Err(Error::NullArgument("ret_owner"));
        }
        if owner_size == 0 {
            return Err(Error::Contradiction("owner_size is 0; pass sizeof *ret_owner"));
        }
        let owner = mutex(&region, offset)?.owner()?.into();
        // SAFETY: the caller vouches for `owner_size` bytes; the struct has no padding.
        unsafe { options::give(owner, ret_owner, owner_size) };
        Ok(())
    })
}

fn mutex(region: &Region, offset: u64) -> Result<Mutex<'_>> {
    Mutex::at(region.words(offset, Mutex::SIZE)?)
}
