//! Whose a record is, and what has become of that thread.

use super::{IDLE, REGISTRY, Record};
use crate::mem::atomic::Ordering;
use crate::sys::process;

/// The number of a thread that has claimed a record: 1 ..= 2^31 - 1, not reused before all have been given out, and
/// inherited by the thread that forks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ThreadNumber(pub(crate) u32);

/// Whose a record is: a thread number (high half) and the kernel's number of that thread (low half).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(pub(super) u64);

impl Owner {
    pub(super) const NOBODY: Owner = Owner(0);

    pub(super) fn new(number: ThreadNumber, thread_id: u32) -> Owner {
        Owner(u64::from(number.0) << 32 | u64::from(thread_id))
    }

    pub(super) fn number(self) -> ThreadNumber {
        ThreadNumber((self.0 >> 32) as u32)
    }

    pub(super) fn thread_id(self) -> u32 {
        self.0 as u32
    }

    /// What has become of this thread.
    pub(super) fn fate(self) -> Fate {
        // ORDER: Relaxed: written by this thread before it had children, or by `start` before any record was claimed.
        if REGISTRY.process.load(Ordering::Relaxed) != process::process_id() {
            Fate::Unknown
        } else if process::thread_exists(self.thread_id()) {
            Fate::Alive
        } else {
            Fate::Gone
        }
    }
}

/// What has become of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It exists, or its number has been given to another thread of this process.
    Alive,
    /// It ended, or stayed behind when this process was forked.
    Gone,
    /// This process is a child that ran no fork handlers.
    Unknown,
}

impl Record {
    pub(super) fn owner(&self) -> Owner {
        // ORDER: Acquire, partner: the compare-and-swap in `change_owner`: what the former owner did is seen.
        Owner(self.owner.load(Ordering::Acquire))
    }

    pub(super) fn change_owner(&self, from: Owner, to: Owner) -> bool {
        // ORDER: AcqRel, partner: itself and the load in `owner`: a record passes from owner to owner with its cells.
        let ordering = Ordering::AcqRel;
        // ORDER: Relaxed on failure: nothing is concluded from the value.
        self.owner.compare_exchange(from.0, to.0, ordering, Ordering::Relaxed).is_ok()
    }

    /// Makes it nobody's; its owner has ended.
    pub(super) fn take_from_the_gone(&self, owner: Owner) -> bool {
        // What that one's calls did is handed on: that they are over is known from the kernel, which orders nothing here.
        self.names(IDLE);
        self.change_owner(owner, Owner::NOBODY)
    }
}
