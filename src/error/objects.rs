//! What can be the matter with an object in a region.

use crate::sys::Errno;

/// What is the matter with a lock, and later with a cell or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is none.
    #[error(
        "does not exist, or was damaged; its init function makes it of zeros: fill its bytes with zeros, then call that"
    )]
    Missing,
    /// There is one already.
    #[error("exists already; use it, or fill its bytes with zeros first to start anew")]
    Exists,
    /// It was made by a library that lays it out otherwise.
    #[error("has layout {0:#x} (version and word size), which this library does not speak; use the one that made it")]
    OtherVersion(u32),
    /// Another process is at it and does not come to an end.
    #[error("is being made by another process, which does not get on with it; try again later")]
    Making,
    /// The calling thread holds it.
    #[error("is held by this thread already, which would wait for itself; unlock it first")]
    HeldAlready,
    /// The calling thread does not hold it.
    #[error("is not held by this thread; the thread that locks one unlocks it")]
    NotHeld,
}

impl Problem {
    pub(super) fn errno(self) -> Errno {
        match self {
            Problem::Missing => Errno::EBADMSG,
            Problem::Exists => Errno::EEXIST,
            Problem::OtherVersion(_) => Errno::EPROTONOSUPPORT,
            Problem::Making => Errno::EBUSY,
            Problem::HeldAlready => Errno::EDEADLK,
            Problem::NotHeld => Errno::EPERM,
        }
    }
}
