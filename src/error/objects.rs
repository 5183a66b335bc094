//! What can be the matter with an object in a region.

use crate::sys::Errno;

/// What is the matter with a lock, a cell or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is none yet: zeros stand there, or what one who died in the midst has left.
    #[error("does not exist yet; call its init function first, which gives 0, or -EEXIST where another was faster")]
    NotMade,
    /// There is none.
    #[error(
        "does not exist, or was damaged, or is of another kind; its init function makes it of zeros: if nothing that is wanted stands there, fill its bytes with zeros, then call that"
    )]
    Missing,
    /// Something else stands where one was to be made.
    #[error(
        "cannot be made: other bytes than zeros stand there; if nothing that is wanted does, fill its bytes with zeros, then make it"
    )]
    NotZeros,
    /// There is one already.
    #[error("exists already; use it, or, once nobody does any more, fill its bytes with zeros first to start anew")]
    Exists,
    /// It was made by a library that lays it out otherwise.
    #[error(
        "has layout {0:#x} (version and word size), which this library does not speak; use the one that made it, or, if it was damaged, fill its bytes with zeros and make it anew"
    )]
    OtherVersion(u32),
    /// Another process is at it and does not come to an end.
    #[error("is being made by another process, which does not get on with it; try again later")]
    Making,
    /// The calling thread holds it.
    #[error("is held by this thread already, which would wait for itself; unlock it first")]
    HeldAlready,
    /// The calling thread is at it by another handle, or has been interrupted at it by the signal handler that this is.
    #[error(
        "is in this thread's hands already, by a reservation or a peeked message of another handle, or by a call that a signal handler has interrupted; commit, consume or cancel that first"
    )]
    InUseByThread,
    /// Another thread or process held it all the time.
    #[error(
        "was held all the time that was given, now by process {process}, thread {thread}; wait longer, or look what that one does"
    )]
    StillHeld {
        /// The owner's process, by the number that it has for itself.
        process: u32,
        /// The owner's thread, likewise.
        thread: u32,
    },
    /// Others had it, one after the other.
    #[error("was in other hands all the time that was given; wait longer")]
    OutOfTime,
    /// A queue's consumer has waited in vain.
    #[error(
        "has no message, and none came in the time given; wait longer, or see with mapshare_queue_info whether a producer lives"
    )]
    Empty,
    /// A queue's producer has waited in vain.
    #[error(
        "has {free} bytes free, and the message needs {needed} in one piece, which did not come free in the time given; wait longer, or see with mapshare_queue_info whether a consumer lives"
    )]
    Full {
        /// The bytes of its record, and of the word behind it.
        needed: u64,
        /// The bytes of the ring that are free.
        free: u64,
    },
    /// Who waits for a cell's next value has waited in vain.
    #[error("still has version {0}, and no newer value came in the time given; wait longer, or look who publishes")]
    NotNewer(u64),
    /// Another producer did not commit in the time that the end of a queue waits.
    #[error(
        "cannot be ended while another producer has a reservation open; have it committed or cancelled, then call again"
    )]
    Reserved,
    /// The calling thread does not hold it.
    #[error("is not held by this thread; the thread that locks one unlocks it")]
    NotHeld,
    /// What was read from it cannot be.
    #[error(
        "is damaged: {part} is {found:#x}; make it anew: once nobody uses it any more, and a queue's handles are closed everywhere, fill its bytes with zeros, then call its init function"
    )]
    Damaged {
        /// Which part.
        part: &'static str,
        /// What stands there.
        found: u64,
    },
    /// A cell has values of another length.
    #[error("has values of {length} bytes, and {asked} were passed; pass exactly as many")]
    ValueLength {
        /// The bytes passed.
        asked: u64,
        /// The bytes of a value.
        length: u64,
    },
    /// Writers overtook a reader each time.
    #[error("was overwritten {0} times while it was read; read again, or publish less often")]
    Lapped(u32),
    /// A role that one process has at a time is taken.
    #[error("has its role, which one has at a time, taken by {0}; close that first")]
    RoleTaken(&'static str),
    /// A message is longer than a queue's capacity.
    #[error("holds messages of up to {capacity} bytes, and this one has {length}; split it, or make a larger queue")]
    TooLong {
        /// The message's bytes.
        length: u64,
        /// The most that fit.
        capacity: u64,
    },
    /// The first message does not fit into the buffer.
    #[error("has a first message of {length} bytes, and the buffer has {buffer}; it stays: pass a larger buffer")]
    BufferTooSmall {
        /// The message's bytes.
        length: u64,
        /// The buffer's.
        buffer: u64,
    },
    /// A producer ended it.
    #[error(
        "was ended by a producer, for good: there will be no more messages; to start anew, close its handles everywhere, fill its bytes with zeros, then call mapshare_queue_init"
    )]
    Ended,
    /// Another thread has the reservation, or the message that is being looked at.
    #[error(
        "has a reservation or a peeked message of another thread; that thread commits or consumes, any cancels, which is what is left when it has ended"
    )]
    OfAnotherThread,
    /// A handle that the parent of this process has opened.
    #[error(
        "was opened before this process was forked off, and here its handle can only be closed, which mapshare_queue_close does although it says this; open one in this process"
    )]
    OfTheParent,
    /// Operations in an order that has no meaning.
    #[error("{0}")]
    Misused(&'static str),
}

impl Problem {
    pub(super) fn errno(self) -> Errno {
        match self {
            Problem::NotMade | Problem::Missing | Problem::NotZeros => Errno::EBADMSG,
            Problem::Exists => Errno::EEXIST,
            Problem::OtherVersion(_) => Errno::EPROTONOSUPPORT,
            Problem::Making => Errno::EBUSY,
            Problem::HeldAlready | Problem::InUseByThread => Errno::EDEADLK,
            Problem::NotHeld | Problem::OfAnotherThread => Errno::EPERM,
            Problem::Damaged { .. } => Errno::EBADMSG,
            Problem::ValueLength { .. } | Problem::Misused(_) => Errno::EINVAL,
            Problem::Lapped(_) => Errno::EAGAIN,
            Problem::RoleTaken(_) => Errno::EBUSY,
            Problem::TooLong { .. } | Problem::BufferTooSmall { .. } => Errno::EMSGSIZE,
            Problem::OfTheParent => Errno::EBADF,
            Problem::StillHeld { .. } | Problem::OutOfTime | Problem::Reserved => Errno::ETIMEDOUT,
            Problem::Empty | Problem::Full { .. } | Problem::NotNewer(_) => Errno::ETIMEDOUT,
            Problem::Ended => Errno::EPIPE,
        }
    }
}
