//! How the other processes know that this one lives: a lock in the file, which the kernel frees on any death.
//!
//! Decision: not the process's number, which is another one in another pid namespace and may be given out again. A
//! participant is 32 random bits, one for each file that this process waits or is waited for in; for as long as it has
//! such a file mapped it holds a write lock on one byte of it, at 2^62 + participant, by a description of its own.
//! A plain region pays nothing: the lock is taken by the first call that needs it.
//!
//! Decision: entries are never freed and never moved, so that the fork handler can go through them: the child closes the
//! parent's descriptors, which share its descriptions, and gets a number of its own when it first needs one.
//!
//! Source: fcntl(2), "Open file description locks".

use super::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use super::fence;
use super::fork_lock::ForkLock;
use crate::sys::lock::{self, Held, Mode};
use crate::sys::{Errno, file, process};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::sync::OnceLock;

/// The byte whose distance to the locked one is the participant. No file is that long.
const FIRST_BYTE: u64 = 1 << 62;
const ENTRIES_PER_CHUNK: usize = 32;
const NO_FD: i32 = -1;

/// This process as a participant of one file.
pub(crate) struct Presence {
    /// The file's device and inode; changed under the lock, while there are no users.
    identity: [AtomicU64; 2],
    /// Mappings that name this entry; changed under the lock.
    users: AtomicU32,
    /// The participant; 0 while there is none.
    participant: AtomicU32,
    /// The descriptor that holds the lock, or NO_FD.
    fd: AtomicI32,
}

/// This process as the participant of a file that it is now: the child of a fork is another one.
#[derive(Clone, Copy)]
pub(crate) struct Membership {
    presence: &'static Presence,
    /// A number that no participant has when it has ended.
    participant: u64,
}

struct Chunk {
    entries: [Presence; ENTRIES_PER_CHUNK],
    next: OnceLock<Box<Chunk>>,
}

static FIRST: Chunk = Chunk::new();
static LOCK: ForkLock = ForkLock::new();

/// Why a process cannot become a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotJoin {
    /// Somebody else's lock covers the bytes that are ours.
    ForeignLock(Held),
    /// The file cannot be opened anew, or its file system has no locks.
    System(&'static str, Errno),
}

impl Chunk {
    const fn new() -> Chunk {
        Chunk {
            entries: [const {
                Presence {
                    identity: [const { AtomicU64::new(0) }; 2],
                    users: AtomicU32::new(0),
                    participant: AtomicU32::new(0),
                    fd: AtomicI32::new(NO_FD),
                }
            }; ENTRIES_PER_CHUNK],
            next: OnceLock::new(),
        }
    }
}

fn entries() -> impl Iterator<Item = &'static Presence> {
    let chunks = std::iter::successors(Some(&FIRST), |chunk| chunk.next.get().map(|next| &**next));
    chunks.flat_map(|chunk| &chunk.entries)
}

impl Presence {
    /// The entry of that file, with one more user; `leave` belongs to it.
    pub(super) fn of((device, inode): (u64, u64)) -> Result<&'static Presence, Errno> {
        static REGISTERED: AtomicBool = AtomicBool::new(false);
        let _one_at_a_time = LOCK.lock();
        // ORDER: Relaxed for all of it: under the lock.
        if !REGISTERED.load(Ordering::Relaxed) {
            process::on_fork(become_another)?;
            REGISTERED.store(true, Ordering::Relaxed);
        }
        let is_used = |entry: &Presence| entry.users.load(Ordering::Relaxed) > 0;
        let is_of = |entry: &Presence| {
            let [of_device, of_inode] = entry.identity.each_ref().map(|number| number.load(Ordering::Relaxed));
            is_used(entry) && (of_device, of_inode) == (device, inode)
        };
        loop {
            if let Some(entry) =
                entries().find(|entry| is_of(entry)).or_else(|| entries().find(|entry| !is_used(entry)))
            {
                entry.identity[0].store(device, Ordering::Relaxed);
                entry.identity[1].store(inode, Ordering::Relaxed);
                entry.users.fetch_add(1, Ordering::Relaxed);
                return Ok(entry);
            }
            let last = std::iter::successors(Some(&FIRST), |chunk| chunk.next.get().map(|next| &**next)).last();
            last.map(|last| last.next.get_or_init(|| Box::new(Chunk::new())));
        }
    }

    /// One user less; with the last one the lock goes.
    pub(super) fn leave(&self) {
        let _one_at_a_time = LOCK.lock();
        if self.users.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.end();
        }
    }

    /// Is a participant no more. Async-signal-safe.
    fn end(&self) {
        // ORDER: Relaxed: under the lock, or in a child that has one thread.
        self.participant.store(0, Ordering::Relaxed);
        let fd = self.fd.swap(NO_FD, Ordering::Relaxed);
        if fd != NO_FD {
            file::close_raw(fd);
        }
    }

    /// This process, where it is a participant already.
    #[inline(always)]
    pub(crate) fn participant(&self) -> Option<NonZeroU32> {
        // ORDER: Relaxed: a number; the lock behind it was taken before by the kernel.
        NonZeroU32::new(self.participant.load(Ordering::Relaxed))
    }

    /// The same, to be asked later whether it lasts; none where it is none.
    pub(crate) fn membership(&'static self) -> Option<Membership> {
        let participant = self.participant()?.get().into();
        Some(Membership { presence: self, participant })
    }

    /// Makes this process a participant of the file, which has to be open for writing.
    #[cold]
    pub(crate) fn join(&self, fd: BorrowedFd) -> Result<NonZeroU32, CannotJoin> {
        let _one_at_a_time = LOCK.lock();
        if let Some(participant) = self.participant() {
            return Ok(participant);
        }
        let system = |call| move |errno| CannotJoin::System(call, errno);
        fence::join_all();
        let own = file::reopen(fd, file::OpenMode::ReadWrite).map_err(system("open"))?;
        loop {
            let Some(participant) = NonZeroU32::new(process::random_u32().map_err(system("getrandom"))?) else {
                continue;
            };
            match lock::try_lock(own.as_fd(), Mode::Exclusive, byte_of(participant), 1) {
                Ok(()) => {
                    // ORDER: Relaxed, as above.
                    self.fd.store(own.into_raw_fd(), Ordering::Relaxed);
                    self.participant.store(participant.get(), Ordering::Relaxed);
                    return Ok(participant);
                }
                Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(CannotJoin::System("fcntl", errno)),
            }
            match holder_of(fd, participant).map_err(system("fcntl"))? {
                // Another participant has drawn the same number.
                Some(held) if !is_participants(&held, participant) => return Err(CannotJoin::ForeignLock(held)),
                _ => {}
            }
        }
    }
}

impl Membership {
    /// Whether the calling process is that participant, as long as it has a mapping of the file.
    #[inline(always)]
    pub(crate) fn lasts(self) -> bool {
        u64::from(self.presence.participant.load(Ordering::Relaxed)) == self.participant // ORDER: Relaxed, as there
    }

    /// The same, but it does not last.
    pub(crate) fn ended(self) -> Membership {
        Membership { participant: u64::MAX, ..self }
    }
}

/// Whether that participant of the file lives; this process's own as well.
pub(crate) fn is_alive(fd: BorrowedFd, participant: u32) -> Result<bool, Errno> {
    let Some(participant) = NonZeroU32::new(participant) else { return Ok(false) };
    Ok(holder_of(fd, participant)?.is_some_and(|held| is_participants(&held, participant)))
}

/// Exactly the lock that a participant takes: no range of somebody else's that happens to cover the byte.
fn is_participants(held: &Held, participant: NonZeroU32) -> bool {
    *held == Held { mode: Mode::Exclusive, start: byte_of(participant), length: 1, process: None }
}

fn holder_of(fd: BorrowedFd, participant: NonZeroU32) -> Result<Option<Held>, Errno> {
    lock::in_the_way(fd, Mode::Exclusive, byte_of(participant), 1)
}

fn byte_of(participant: NonZeroU32) -> u64 {
    FIRST_BYTE + u64::from(participant.get())
}

/// The fork handler, in the child. Async-signal-safe.
extern "C" fn become_another() {
    entries().for_each(Presence::end);
}

#[cfg(test)]
mod tests;
