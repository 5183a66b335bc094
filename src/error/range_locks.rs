//! What can be the matter with locks of ranges.

use super::reasons::holder;
use crate::sys::Errno;

/// Why a range was not locked or unlocked, or why its lock is in the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangeLockError {
    /// Locks of ranges of the region are still out.
    #[error("{locks} lock(s) of ranges of the region are still held by threads of this process; unlock them first")]
    Out {
        /// How many.
        locks: usize,
    },
    /// The lock was not to be had in the time given.
    #[error(
        "{length} bytes (0: to the end) at offset {offset} were still locked {mode} by {} when the time had passed; wait \
         longer, or see who holds it in /proc/locks",
        holder(*process)
    )]
    TimedOut {
        /// The first byte asked for.
        offset: u64,
        /// The bytes asked for.
        length: u64,
        /// How the other lock is held.
        mode: &'static str,
        /// The process of a lock that fcntl(2) F_SETLK made; no other tells its holder.
        process: Option<i32>,
    },
    /// This thread holds a lock on some of the bytes already.
    #[error(
        "this thread holds a lock on {held_length} bytes (0: to the end) at offset {held_offset} of {through}, and would \
         wait for itself; unlock those first"
    )]
    HeldAlready {
        /// The first byte of the lock that it holds.
        held_offset: u64,
        /// The bytes of that lock.
        held_length: u64,
        /// By which region.
        through: &'static str,
    },
    /// No such lock is this thread's to free.
    #[error(
        "this thread has locked no range of {length} bytes at offset {offset} here; a lock is freed by the thread that took \
         it, with the same offset and length"
    )]
    NotHeld {
        /// The first byte of the range.
        offset: u64,
        /// The bytes of the range.
        length: u64,
    },
    /// Locks end where the library's own begin.
    #[error(
        "{length} bytes (0: to the end) at byte {start} of the file cannot be locked: locks end below byte {limit} of a file"
    )]
    TooFar {
        /// The first byte in the file.
        start: u64,
        /// The bytes asked for.
        length: u64,
        /// The first byte that cannot be locked.
        limit: u64,
    },
    /// This file system, or this system, has no locks of the kind.
    #[error("the file cannot be locked: {reason}")]
    Unsupported {
        /// What is missing.
        reason: &'static str,
    },
}

impl RangeLockError {
    pub(super) fn errno(&self) -> Errno {
        match self {
            RangeLockError::Out { .. } => Errno::EBUSY,
            RangeLockError::TimedOut { .. } => Errno::ETIMEDOUT,
            RangeLockError::HeldAlready { .. } => Errno::EDEADLK,
            RangeLockError::NotHeld { .. } => Errno::EPERM,
            RangeLockError::TooFar { .. } => Errno::ERANGE,
            RangeLockError::Unsupported { .. } => Errno::EOPNOTSUPP,
        }
    }
}
