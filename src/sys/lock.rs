//! Open file description locks on ranges of a file's bytes: fcntl(2), "Open file description locks (non-POSIX)".
//!
//! Such a lock belongs to the open file description, so that two descriptors of one process that were opened apart
//! exclude each other, and the kernel frees it when the last descriptor of that description is closed, by whatever end.
//! KERNEL: since 3.15.

use super::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a range is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Together with other shared locks. The descriptor must allow reading.
    Shared,
    /// Alone. The descriptor must allow writing.
    Exclusive,
}

/// A lock that stands in the way of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) mode: Mode,
    /// Its first byte in the file.
    pub(crate) start: u64,
    /// Its length in bytes; 0 means to the largest possible offset.
    pub(crate) length: u64,
    /// The process of a lock that belongs to a process (F_SETLK); None for one of an open file description.
    pub(crate) process: Option<i32>,
}

/// Locks the range, in place of what this description has locked of it; EAGAIN when others' locks are in the way.
pub(crate) fn try_lock(fd: BorrowedFd, mode: Mode, start: u64, length: u64) -> Result<(), Errno> {
    let mut lock = describe(kind(mode), start, length)?;
    control(fd, libc::F_OFD_SETLK, &mut lock)
}

/// Frees what this description has locked of the range.
#[expect(dead_code, reason = "the locks of ranges use it")]
pub(crate) fn unlock(fd: BorrowedFd, start: u64, length: u64) -> Result<(), Errno> {
    let mut lock = describe(libc::F_UNLCK, start, length)?;
    control(fd, libc::F_OFD_SETLK, &mut lock)
}

/// A lock of somebody else that would keep this description from locking the range.
pub(crate) fn in_the_way(fd: BorrowedFd, mode: Mode, start: u64, length: u64) -> Result<Option<Held>, Errno> {
    let mut lock = describe(kind(mode), start, length)?;
    control(fd, libc::F_OFD_GETLK, &mut lock)?;
    let mode = match i32::from(lock.l_type) {
        libc::F_UNLCK => return Ok(None),
        libc::F_WRLCK => Mode::Exclusive,
        _ => Mode::Shared,
    };
    let process = (lock.l_pid > 0).then_some(lock.l_pid);
    Ok(Some(Held { mode, start: lock.l_start.unsigned_abs(), length: lock.l_len.unsigned_abs(), process }))
}

fn kind(mode: Mode) -> i32 {
    match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    }
}

fn describe(kind: i32, start: u64, length: u64) -> Result<libc::flock, Errno> {
    Ok(libc::flock {
        l_type: kind as i16, // one of three small numbers
        l_whence: libc::SEEK_SET as i16,
        l_start: i64::try_from(start).map_err(|_| Errno::EOVERFLOW)?,
        l_len: i64::try_from(length).map_err(|_| Errno::EOVERFLOW)?,
        l_pid: 0, // as these calls demand
    })
}

fn control(fd: BorrowedFd, command: i32, lock: &mut libc::flock) -> Result<(), Errno> {
    // SAFETY: the struct is ours and stays for the call.
    Errno::check(unsafe { libc::fcntl(fd.as_raw_fd(), command, std::ptr::from_mut(lock)) }).map(drop)
}
