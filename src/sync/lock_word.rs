//! How a lock's word changes hands.
//!
//! The word (`layout::word`) holds the owner, or nobody, and flags:
//! | owner | OWNER_DIED | WAITERS | HAND_OFF | the lock is | who changes it, and to what | killed here |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | 0 | any | 0 | 0 | free | `take`: its owner, OWNER_DIED stays | nobody holds it |
//! | 0 | any | 1 | 0 | free, somebody may sleep | the same, WAITERS stays | the waker is gone: sleepers look every 5 ms |
//! | 0 | any | any | 1 | free, kept for who has waited longest | he: as above, HAND_OFF goes; the others: WAITERS | after 5 ms it is anybody's |
//! | O | 0 | 0 | any | held | `free`: 0; a waiter: WAITERS | waiters and newcomers ask for O's life: OWNER_DIED, theirs |
//! | O | 0 | 1 | 0 | held, somebody may sleep | `free`: 0, then it wakes one; who has waited long: HAND_OFF | the same |
//! | O | 0 | 1 | 1 | held, somebody has waited long | `free`: HAND_OFF, then it wakes all | the same |
//! | O | 1 | any | any | held by one who was told | `recover`: OWNER_DIED off; else as above, it stays | the same |
//!
//! A sleeper that wakes takes the lock with WAITERS, since others may sleep still: at worst one wake too many. No wake is
//! lost: WAITERS is set by a compare-and-swap of a held word, and the futex sleeps only while the low half is that. Nor
//! does a sleep depend on it: it ends after 5 ms, and the sleeper looks again.
//!
//! Decision: whoever comes first takes a free lock, also past those who sleep: that is several times faster than a queue.
//! Only when one has waited long is the lock kept for those who began to wait when he did or before. Nor is it kept for
//! longer than a woken thread takes to come: he may be dead by then, or have given up.
//!
//! Decision: who loses a race looks at the time now and then. A hostile process may change the word faster than anyone looks
//! twice, and the timeout holds all the same.
//!
//! Decision: generic over where the word is, so that the model checker runs the very same lines (tests/loom).

#![forbid(unsafe_code)]

use crate::mem::layout::word::{HAND_OFF, HOLDER, OWNER_DIED, WAITERS};

/// Where a lock's word is, and one who wants or has the lock.
pub(crate) trait Contender {
    type Error;
    /// The holder's part of the word, when this one has the lock.
    fn own(&self) -> u64;
    /// The word.
    fn load(&self) -> Result<u64, Self::Error>;
    /// Stores `desired` where `expected` stands; what stood there.
    fn compare_swap(&self, expected: u64, desired: u64) -> Result<u64, Self::Error>;
    /// Whether the owner that `seen` names lives and has the lock, as far as this one can know.
    fn is_owner_alive(&self, seen: u64) -> Result<bool, Self::Error>;
    /// The word was another one at the swap than at the look: fails as `sleep` does once that goes on for too long.
    fn was_late(&mut self) -> Result<(), Self::Error>;
    /// Whether to look once more before a sleep.
    fn spins(&mut self) -> bool;
    /// Sleeps while `expected` is the word's low half, for a while.
    fn sleep(&mut self, expected: u32) -> Result<(), Self::Error>;
    /// Whether it is too long since the first sleep.
    fn has_waited_long(&self) -> bool;
    /// Notes since when this one waits, if nobody is noted who does for longer.
    fn note_wait(&self) -> Result<(), Self::Error>;
    /// Forgets who waits for longest.
    fn forget_wait(&self) -> Result<(), Self::Error>;
    /// Wakes one sleeper, or all.
    fn wake(&self, all: bool);
    /// Notes that the lock is about to be handed off.
    fn note_hand_off(&self) -> Result<(), Self::Error>;
    /// Whether that was noted only a moment ago, and this one is not who waits for longest.
    fn is_kept_for_another(&self) -> Result<bool, Self::Error>;
}

/// Takes the lock, or fails as `sleep` does; whether an owner has died with it.
pub(crate) fn take<C: Contender>(contender: &mut C) -> Result<bool, C::Error> {
    let own = contender.own();
    let mut waiters = 0;
    loop {
        let seen = contender.load()?;
        let is_free = seen & HOLDER == 0;
        let is_kept = is_free && seen & HAND_OFF != 0 && contender.is_kept_for_another()?;
        if (!is_free || is_kept) && contender.spins() {
            continue;
        }
        // This thread has noted the lock only now: what names it as the owner is no word of its own.
        let is_rubbish = seen & HOLDER == own;
        if is_free && !is_kept || is_rubbish || !is_free && !contender.is_owner_alive(seen)? {
            let died = if is_free { seen & OWNER_DIED } else { OWNER_DIED };
            if contender.compare_swap(seen, own | seen & WAITERS | waiters | died)? == seen {
                if seen & HAND_OFF != 0 {
                    // It is taken, whatever becomes of that.
                    let _ = contender.forget_wait();
                }
                return Ok(died != 0);
            }
            contender.was_late()?;
            continue;
        }
        let mut announced = seen | WAITERS;
        if contender.has_waited_long() {
            contender.note_wait()?;
            announced |= HAND_OFF;
        }
        if seen != announced && contender.compare_swap(seen, announced)? != seen {
            contender.was_late()?;
            continue;
        }
        waiters = WAITERS;
        contender.sleep(announced as u32)?;
    }
}

/// Frees the lock; whether it was this one's.
pub(crate) fn free<C: Contender>(contender: &C) -> Result<bool, C::Error> {
    loop {
        let seen = contender.load()?;
        if seen & HOLDER != contender.own() {
            return Ok(false);
        }
        let is_handed_off = seen & HAND_OFF != 0;
        if is_handed_off {
            contender.note_hand_off()?;
        }
        if contender.compare_swap(seen, seen & (OWNER_DIED | HAND_OFF))? == seen {
            if seen & WAITERS != 0 {
                contender.wake(is_handed_off);
            }
            return Ok(true);
        }
    }
}

/// Takes the mark of death off the lock; whether it was this one's.
pub(crate) fn recover<C: Contender>(contender: &C) -> Result<bool, C::Error> {
    loop {
        let seen = contender.load()?;
        if seen & HOLDER != contender.own() {
            return Ok(false);
        }
        if contender.compare_swap(seen, seen & !OWNER_DIED)? == seen {
            return Ok(true);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
