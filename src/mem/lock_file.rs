//! Open file descriptions that hold locks for one thread of this process, and for none of its children.
//!
//! Decision: a fork shares the description of each descriptor, so that the child would keep the parent's locks alive.
//! The descriptors are therefore listed where the fork handler finds them, which closes them in the child. It is the
//! only thread there and may have interrupted anything, so the list has no lock: slots are never freed and change by
//! one compare-and-swap of their word.
//!
//! | a slot's low half | it is | goes to |
//! | --- | --- | --- |
//! | `VACANT` | nobody's | `OPENING`, by `claim`, with the next serial number in the high half |
//! | `OPENING` | a thread's, which opens the file | open, or `VACANT`, by that thread |
//! | a descriptor + `FIRST` | open | `VACANT`, by whoever closes it; `LEFT`, in the child of a fork |
//! | `LEFT` | closed in this child | `VACANT`, by the copy of its owner |
//!
//! A fork between the opening and the entry in the list would go unseen. `FORKS` tells of it, and the file is opened
//! once more: the child then shares a description that never holds a lock. Nothing tells of a fork between the removal
//! from the list and the closing, so who closes frees all locks first.
//!
//! KERNEL: a child of clone(2) that runs no fork handlers keeps the locks until it execs or ends.

use super::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use super::backoff::Backoff;
use crate::sys::{Errno, lock, process};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

const VACANT: u32 = 0;
const OPENING: u32 = 1;
const LEFT: u32 = 2;
const FIRST: u32 = 3;

/// A place for a descriptor.
struct Slot {
    /// See the table at the module's head.
    word: AtomicU64,
    /// What its locks belong to.
    group: AtomicU64,
    /// How many locks it holds. Written by the owner only.
    locks: AtomicU32,
    next: Option<&'static Slot>,
}

/// The slot that was added last; the others hang on it.
static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());
/// Forks that are under way (low half), and how many have begun so far (high half).
static FORKS: AtomicU64 = AtomicU64::new(0);
const BEGUN: u64 = 1 << 32;
/// The process that has registered the fork handlers, or inherited them; 0 before.
static STARTED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The forks that this thread is in the middle of: their handlers may call in.
    static OWN_FORKS: Cell<u32> = const { Cell::new(0) };
}

/// An open file description of this process alone.
pub(crate) struct LockFile {
    slot: &'static Slot,
    /// The slot's word as long as it is this one's.
    word: u64,
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    // ORDER: Acquire, partner: the Release in `add_slot`: the slot is whole.
    let last = SLOTS.load(Ordering::Acquire);
    // SAFETY: null, or a slot that `add_slot` leaked; only shared references to it are ever made.
    let last: Option<&'static Slot> = unsafe { last.as_ref() };
    std::iter::successors(last, |slot| slot.next)
}

fn with_state(word: u64, state: u32) -> u64 {
    word & !u64::from(u32::MAX) | u64::from(state)
}

/// The descriptor that a word holds.
fn descriptor(word: u64) -> Option<i32> {
    let number = (word as u32).checked_sub(FIRST)?; // the low half
    i32::try_from(number).ok()
}

impl Slot {
    fn word(&self) -> u64 {
        // ORDER: Acquire, partner: the Release of `change`: what belongs to the word is seen.
        self.word.load(Ordering::Acquire)
    }

    fn change(&self, from: u64, to: u64) -> bool {
        // ORDER: AcqRel, partner: itself and `word`. Relaxed on failure: nothing is concluded.
        self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Vacates the slot and closes its descriptor, unless another did.
    fn close(&self, word: u64) {
        let Some(fd) = descriptor(word) else { return };
        if !self.change(word, with_state(word, VACANT)) {
            return;
        }
        // SAFETY: `open` put it there and gave up its ownership; the change above succeeds for one caller only.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        // Whoever was forked this moment shares it. A failure means that the program has closed it.
        let _ = lock::unlock(file.as_fd(), 0, 0);
    }
}

/// A slot of the calling thread's own, and its word.
fn claim() -> Result<(&'static Slot, u64), Errno> {
    for slot in slots() {
        let word = slot.word();
        let claimed = with_state(word.wrapping_add(1 << 32), OPENING);
        if word as u32 == VACANT && slot.change(word, claimed) {
            return Ok((slot, claimed));
        }
    }
    let word = u64::from(OPENING);
    Ok((add_slot(word)?, word))
}

fn add_slot(word: u64) -> Result<&'static Slot, Errno> {
    let mut place = Vec::new();
    place.try_reserve_exact(1).map_err(|_| Errno::ENOMEM)?;
    place.push(Slot { word: AtomicU64::new(word), group: AtomicU64::new(0), locks: AtomicU32::new(0), next: None });
    let slot = &mut place.leak()[0];
    loop {
        slot.next = slots().next();
        let last = slot.next.map_or(std::ptr::null_mut(), |last| std::ptr::from_ref(last).cast_mut());
        let added = std::ptr::from_mut(slot);
        // ORDER: Release, partner: the Acquire in `slots`. Relaxed on failure: `slots` looks again.
        if SLOTS.compare_exchange(last, added, Ordering::Release, Ordering::Relaxed).is_ok() {
            // SAFETY: leaked above; from now on there are only shared references to it.
            return Ok(unsafe { &*added });
        }
    }
}

/// Registers the fork handlers; twice does no harm.
fn start() -> Result<(), Errno> {
    // ORDER: Acquire, partner: the Release below.
    if STARTED.load(Ordering::Acquire) == 0 {
        process::around_fork(fork_begins, fork_ends, leave)?;
        // ORDER: Release, partner: the load above.
        STARTED.store(1, Ordering::Release);
    }
    Ok(())
}

extern "C" fn fork_begins() {
    OWN_FORKS.set(OWN_FORKS.get() + 1);
    // ORDER: SeqCst, partner: `open`, which enters a descriptor and then looks here, as this counts and then forks:
    // one of them sees the other.
    FORKS.fetch_add(BEGUN + 1, Ordering::SeqCst);
}

extern "C" fn fork_ends() {
    OWN_FORKS.set(OWN_FORKS.get().saturating_sub(1));
    // ORDER: SeqCst, partner: as above.
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

/// In the child, which has one thread: closes what is the parent's. Async-signal-safe.
extern "C" fn leave() {
    OWN_FORKS.set(OWN_FORKS.get().saturating_sub(1));
    // ORDER: Relaxed here and below: there is no other thread.
    let forks = FORKS.load(Ordering::Relaxed);
    FORKS.store(with_state(forks, OWN_FORKS.get()), Ordering::Relaxed); // ORDER: Relaxed, as above
    for slot in slots() {
        let word = slot.word();
        if let Some(fd) = descriptor(word) {
            // SAFETY: as in `close`; the slot's word changes before anybody could look at it again.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            slot.change(word, with_state(word, LEFT));
        }
    }
}

impl LockFile {
    /// Opens a file for locks that belong to `group`.
    pub(crate) fn open(group: u64, open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<LockFile, Errno> {
        start()?;
        let (slot, word) = claim()?;
        let mut own = LockFile { slot, word };
        // ORDER: Relaxed, both: published by the word.
        slot.group.store(group, Ordering::Relaxed);
        slot.locks.store(0, Ordering::Relaxed);
        let mut backoff = Backoff::on_independent();
        let before = loop {
            // ORDER: SeqCst, partner: `fork_begins`.
            let forks = FORKS.load(Ordering::SeqCst);
            if forks as u32 <= OWN_FORKS.get() {
                break forks;
            }
            backoff.wait(); // another thread's, which may share what is opened now and not entered yet
        };
        let fd = open()?.into_raw_fd();
        own.word = with_state(word, fd.cast_unsigned() + FIRST);
        // ORDER: SeqCst, partner: `fork_begins`, as said there.
        slot.word.store(own.word, Ordering::SeqCst);
        // ORDER: SeqCst, as above.
        if FORKS.load(Ordering::SeqCst) == before {
            return Ok(own);
        }
        drop(own);
        LockFile::open(group, open)
    }

    /// The descriptor; None in the child of a fork, and when the group was closed.
    ///
    /// It is valid as long as the caller keeps others from `close_all` for its group.
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        let fd = descriptor(self.word).filter(|_| self.slot.word() == self.word)?;
        // SAFETY: it is open: its word is still there, and only the owner, `close_all` and a fork's child change it.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Notes how many locks it holds.
    pub(crate) fn set_locks(&self, locks: usize) {
        let locks = u32::try_from(locks).unwrap_or(u32::MAX);
        self.slot.locks.store(locks, Ordering::Relaxed); // ORDER: Relaxed: a number
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.slot.close(self.word);
        let vacant = with_state(self.word, VACANT);
        for left in [LEFT, OPENING] {
            self.slot.change(with_state(self.word, left), vacant);
        }
    }
}

fn open_slots(group: u64) -> impl Iterator<Item = (&'static Slot, u64)> {
    let words = slots().map(|slot| (slot, slot.word()));
    // ORDER: Relaxed: acquired with the word; if the slot has changed hands since, the word has changed too.
    words.filter(move |(slot, word)| descriptor(*word).is_some() && slot.group.load(Ordering::Relaxed) == group)
}

/// How many locks of the group this process holds.
pub(crate) fn locks(group: u64) -> usize {
    // ORDER: Relaxed: a number.
    open_slots(group).map(|(slot, _)| slot.locks.load(Ordering::Relaxed) as usize).sum()
}

/// Frees all locks of a group that nobody will use again.
pub(crate) fn close_all(group: u64) {
    open_slots(group).for_each(|(slot, word)| slot.close(word));
}

#[cfg(test)]
mod tests;
