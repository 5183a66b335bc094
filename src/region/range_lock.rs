//! Locks on ranges of the file's bytes, between threads of one process and of many.
//!
//! Decision: they are the kernel's (fcntl(2), open file description locks), so that it frees them at any death, and
//! programs without this library can take part. Each thread that locks has an open file description of its own for each
//! region, so that threads exclude each other as processes do. It keeps that for its next lock, until it ends or the
//! region does: to open one costs several times what a lock does.
//!
//! Decision: what is locked is noted per thread, as the kernel would rather change a lock of one's own than refuse it:
//! a second lock on the same bytes is EDEADLK, and a lock is freed as it was taken, whole.
//!
//! Decision: to wait is to look again and again. The kernel's own wait (F_OFD_SETLKW) goes on after a signal handler
//! that was installed with SA_RESTART, knows no time limit, and finds no deadlock either.

use super::Region;
use super::options::Access;
use crate::error::{Error, RangeLockError, Result};
use crate::mem::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::mem::lock_file::{self, LockFile};
use crate::mem::sleeping::{Ended, Sleeping};
use crate::sys::Errno;
use crate::sys::file::{self, OpenMode};
use crate::sys::lock::{self, Mode};
use std::cell::RefCell;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The first byte of a file that cannot be locked. What lies behind is kept for the library's own use.
const LIMIT: u64 = 1 << 62;

/// How a range is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Together with other shared locks, and with no exclusive one.
    Shared,
    /// Alone.
    Exclusive,
}

impl LockMode {
    fn kernel(self) -> Mode {
        match self {
            LockMode::Shared => Mode::Shared,
            LockMode::Exclusive => Mode::Exclusive,
        }
    }
}

/// What a region knows of its locks.
pub(super) struct RangeLocks {
    /// What its lock files have as their group: no other region ever has it.
    group: u64,
    used: AtomicBool,
}

impl RangeLocks {
    pub(super) fn new() -> RangeLocks {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // ORDER: Relaxed, both: only that each number is given once; a flag of its own.
        RangeLocks { group: LAST.fetch_add(1, Ordering::Relaxed) + 1, used: AtomicBool::new(false) }
    }

    fn are_used(&self) -> bool {
        self.used.load(Ordering::Relaxed) // ORDER: Relaxed, a flag of its own; who unmaps comes after all calls
    }
}

impl Drop for RangeLocks {
    fn drop(&mut self) {
        if self.are_used() {
            lock_file::close_all(self.group);
        }
    }
}

/// One lock, as it was asked for.
#[derive(Clone)]
struct Lock {
    offset: u64,
    length: u64,
    mode: LockMode,
    /// The bytes of the file.
    bytes: Range<u64>,
}

impl Lock {
    fn overlaps(&self, other: &Lock) -> bool {
        self.bytes.start < other.bytes.end && other.bytes.start < self.bytes.end
    }

    fn excludes(&self, other: &Lock) -> bool {
        self.overlaps(other) && (self.mode == LockMode::Exclusive || other.mode == LockMode::Exclusive)
    }

    fn conflict(&self, through: &'static str) -> Error {
        RangeLockError::HeldAlready { held_offset: self.offset, held_length: self.length, through }.into()
    }
}

/// What one thread has locked of one region.
struct Holder {
    group: u64,
    /// The device and inode of the file.
    identity: (u64, u64),
    file: LockFile,
    locks: Vec<Lock>,
}

impl Holder {
    fn file(&self) -> Result<BorrowedFd<'_>> {
        self.file.file().ok_or(Error::Internal) // those that were closed have been taken off the list
    }
}

thread_local! {
    /// What the calling thread has locked. At its end the files are closed, and their locks freed.
    static HOLDERS: RefCell<Vec<Holder>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` with the calling thread's holders, without those that a fork or an unmap has closed.
fn with_holders<R>(body: impl FnOnce(&mut Vec<Holder>) -> Result<R>) -> Result<R> {
    let run = |holders: &RefCell<Vec<Holder>>| {
        let mut holders = holders.try_borrow_mut().map_err(|_| Error::InUse { kind: "thread's list of locks" })?;
        holders.retain(|holder| holder.file.file().is_some());
        body(&mut holders)
    };
    HOLDERS.try_with(run).unwrap_or(Err(Error::Contradiction(
        "this thread is at its end, and has given up its locks; lock and unlock before its destructors run",
    )))
}

impl Region {
    /// Locks a range of the region's bytes in the file, against all other threads and processes that lock them. A
    /// length of 0 stands for all bytes that follow, however long the file grows. The lock is the calling thread's,
    /// until it calls `unlock_range` or ends, or the region or the process does. It keeps nobody from reading and
    /// writing.
    ///
    /// None as the timeout stands for ever; with a timeout of zero it only tries.
    ///
    /// # Errors
    /// ERANGE: the range leaves the region, or ends behind byte 2^62 of the file. EACCES: an exclusive lock, and the
    /// region is not one for shared writing; or the file cannot be opened anew. EDEADLK: this thread has locked some of
    /// the bytes. ETIMEDOUT, EINTR: the time has passed; a signal handler ran. EOPNOTSUPP, ENOLCK, EMFILE: as the
    /// system says.
    pub fn lock_range(&self, offset: u64, length: u64, mode: LockMode, timeout: Option<Duration>) -> Result<()> {
        let lock = self.check_lock(offset, length, mode)?;
        if self.try_lock(&lock)? {
            return Ok(());
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(self.timed_out(&lock));
        }
        let mut sleeping = Sleeping::new(timeout);
        loop {
            sleeping.pause().map_err(|ended| match ended {
                Ended::Timeout => self.timed_out(&lock),
                Ended::Signal => Error::Interrupted,
            })?;
            if self.try_lock(&lock)? {
                return Ok(());
            }
        }
    }

    /// Frees a lock that this thread took with the same offset and length.
    ///
    /// # Errors
    /// EPERM: this thread has not taken that lock.
    pub fn unlock_range(&self, offset: u64, length: u64) -> Result<()> {
        with_holders(|holders| {
            let own = holders.iter_mut().find(|holder| holder.group == self.range_locks.group);
            let holder = own.ok_or(RangeLockError::NotHeld { offset, length })?;
            let found = holder.locks.iter().position(|lock| (lock.offset, lock.length) == (offset, length));
            let index = found.ok_or(RangeLockError::NotHeld { offset, length })?;
            let Range { start, end } = holder.locks[index].bytes;
            let file = holder.file()?;
            lock::unlock(file, start, end - start).map_err(|errno| refusal(errno, file))?;
            holder.locks.swap_remove(index);
            holder.file.set_locks(holder.locks.len());
            Ok(())
        })
    }

    /// How many locks of the region the threads of this process hold.
    pub fn range_locks(&self) -> usize {
        if self.range_locks.are_used() { lock_file::locks(self.range_locks.group) } else { 0 }
    }

    fn check_lock(&self, offset: u64, length: u64, mode: LockMode) -> Result<Lock> {
        if mode == LockMode::Exclusive && self.access != Access::ReadWrite {
            return Err(Error::AccessExceeded {
                access: "an exclusive lock",
                granted: "the region is not MAPSHARE_READ_WRITE",
                remedy: "open it MAPSHARE_READ_WRITE, or lock MAPSHARE_LOCK_SHARED",
            });
        }
        self.span(offset, length)?;
        let start = self.mapping.file_offset() + offset; // the span lies in the mapping, and that in the file
        let end = if length == 0 { LIMIT } else { start + length };
        if end > LIMIT || start >= end {
            return Err(RangeLockError::TooFar { start, length, limit: LIMIT }.into());
        }
        Ok(Lock { offset, length, mode, bytes: start..end })
    }

    /// Whether the lock was to be had.
    fn try_lock(&self, wanted: &Lock) -> Result<bool> {
        with_holders(|holders| {
            let (group, identity) = (self.range_locks.group, self.mapping.identity());
            let known = holders.iter().position(|holder| holder.group == group);
            let index = known.map_or_else(|| self.add_holder(holders), Ok)?;
            let holder = &mut holders[index];
            if let Some(own) = holder.locks.iter().find(|own| own.overlaps(wanted)) {
                return Err(own.conflict("the region"));
            }
            let no_memory = |_| Error::NoMemory { length: size_of::<Lock>() as u64, place: "to note the lock" };
            holder.locks.try_reserve(1).map_err(no_memory)?;
            let Range { start, end } = wanted.bytes;
            let file = holder.file()?;
            match lock::try_lock(file, wanted.mode.kernel(), start, end - start) {
                Ok(()) => {
                    holder.locks.push(wanted.clone());
                    holder.file.set_locks(holder.locks.len());
                    Ok(true)
                }
                Err(Errno::EAGAIN) => {
                    let mut same_file = holders.iter().filter(|holder| holder.identity == identity);
                    match same_file.find_map(|holder| holder.locks.iter().find(|own| own.excludes(wanted))) {
                        Some(own) => Err(own.conflict("another region of the same file")),
                        None => Ok(false),
                    }
                }
                Err(errno) => Err(refusal(errno, file)),
            }
        })
    }

    /// Gives the calling thread an open file description of this region; its place in the list.
    fn add_holder(&self, holders: &mut Vec<Holder>) -> Result<usize> {
        self.status()?;
        // Any thread's first lock; whoever asks later comes after it.
        self.range_locks.used.store(true, Ordering::Relaxed); // ORDER: Relaxed, partner are_used()
        let mode = if self.writable { OpenMode::ReadWrite } else { OpenMode::Read };
        let no_memory = |_| Error::NoMemory { length: size_of::<Holder>() as u64, place: "to note the lock" };
        holders.try_reserve(1).map_err(no_memory)?;
        let group = self.range_locks.group;
        let file = LockFile::open(group, || file::reopen(self.file(), mode)).map_err(|errno| match errno {
            Errno::ENOENT => RangeLockError::Unsupported {
                reason: "each thread opens it anew to do so, which needs /proc; mount it",
            }
            .into(),
            Errno::EACCES | Errno::EPERM => Error::AccessExceeded {
                access: "a lock",
                granted: "the file's permissions do not let this user open it anew, which each thread does to lock",
                remedy: "change them; that the descriptor was handed over does not help here",
            },
            errno => Error::system("open", "the region's file", errno),
        })?;
        holders.push(Holder { group, identity: self.mapping.identity(), file, locks: Vec::new() });
        Ok(holders.len() - 1)
    }

    fn timed_out(&self, wanted: &Lock) -> Error {
        let Range { start, end } = wanted.bytes;
        let held = lock::in_the_way(self.file(), wanted.mode.kernel(), start, end - start).ok().flatten();
        RangeLockError::TimedOut {
            offset: wanted.offset,
            length: wanted.length,
            mode: match held.map(|held| held.mode) {
                Some(Mode::Shared) => "shared",
                Some(Mode::Exclusive) | None => "exclusively",
            },
            process: held.and_then(|held| held.process),
        }
        .into()
    }
}

fn refusal(errno: Errno, file: BorrowedFd) -> Error {
    match errno {
        // KERNEL: EINVAL before 3.15, the others from file systems that refuse locks.
        Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS => RangeLockError::Unsupported {
            reason: "its file system, or this kernel, has no open file description locks",
        }
        .into(),
        Errno::EBADF => Error::LostDescriptor { fd: file.as_raw_fd(), found: "" },
        errno => Error::system("fcntl", "the region's file", errno),
    }
}
