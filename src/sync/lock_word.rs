//! How a lock's word changes hands.
//!
//! The word (`layout::word`) holds the owner, or nobody, and flags. Beside it stands another one, which is 1 while
//! somebody may sleep until the lock is free.
//! | owner | OWNER_DIED | KEPT | asleep | the lock is | who changes it, and to what | killed here |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | 0 | any | 0 | any | free | `take`: its owner, OWNER_DIED stays | nobody holds it |
//! | 0 | any | 1 | any | free, kept for who has waited longest | he: as above, KEPT goes | after 5 ms it is anybody's |
//! | O | 0 | 0 | 0 | held | `free`: 0; who is about to sleep: asleep | waiters and newcomers ask for O's life: OWNER_DIED, theirs |
//! | O | 0 | 0 | 1 | held, somebody may sleep | `free`: 0, or KEPT if somebody has waited long; then asleep: 0, and it wakes one, or all | the same; between the two, sleepers look every 5 ms |
//! | O | 1 | 0 | any | held by one who was told | `recover`: OWNER_DIED off; else as above, it stays | the same |
//!
//! Decision: a word that a living owner holds is changed by him alone, so that he frees it by a plain store: a locked
//! instruction less, of two. That he then looks whether somebody sleeps, in this order, is what the sleeper pays for: he says
//! that he sleeps, makes all processes pass a full fence (membarrier), looks again and only then sleeps.
//!
//! A sleeper that wakes says so again when he takes the lock or gives up, since others may sleep still and it was taken back
//! for him: at worst one wake too many. Nor does a sleep depend on any of this: it ends after 5 ms, and the sleeper looks
//! again.
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

use crate::mem::layout::word::{HOLDER, KEPT, OWNER_DIED};

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
    /// Fails as `sleep` does if there is no time left to sleep.
    fn check_time(&self) -> Result<(), Self::Error>;
    /// Says that somebody sleeps.
    fn announce(&self) -> Result<(), Self::Error>;
    /// The fence between an announcement and the look that follows, partner `is_anybody_asleep`.
    fn heavy_fence(&self);
    /// Whether somebody may be asleep: who has freed the lock asks behind the light half of that fence.
    fn is_anybody_asleep(&self) -> Result<bool, Self::Error>;
    /// Sleeps while it is said that somebody does, for a while.
    fn sleep(&mut self) -> Result<(), Self::Error>;
    /// Takes back the announcement, and wakes one sleeper, or all.
    fn wake(&self, all: bool);
    /// Whether it is too long since the first sleep.
    fn has_waited_long(&self) -> bool;
    /// Notes since when this one waits, if nobody is noted who does for longer.
    fn note_wait(&self) -> Result<(), Self::Error>;
    /// Whether somebody is noted.
    fn is_wait_noted(&self) -> Result<bool, Self::Error>;
    /// Forgets who waits for longest.
    fn forget_wait(&self) -> Result<(), Self::Error>;
    /// Notes that the lock is about to be kept.
    fn note_keeping(&self) -> Result<(), Self::Error>;
    /// Whether that was noted only a moment ago, and this one is not who waits for longest.
    fn is_kept_for_another(&self) -> Result<bool, Self::Error>;
}

/// Takes the lock, or fails as `sleep` does; whether an owner has died with it.
pub(crate) fn take<C: Contender>(contender: &mut C) -> Result<bool, C::Error> {
    let mut has = Done { slept: false, noted: false };
    let result = take_or_sleep(contender, &mut has);
    // Whatever cannot be had any more, the others find out by themselves.
    if has.noted {
        let _ = contender.forget_wait();
    }
    if has.slept {
        tell_of_others(contender, result.is_ok());
    }
    result
}

/// What one who comes to an end has done.
struct Done {
    slept: bool,
    /// He was noted as who waits for longest, or has passed over who is; or the lock was kept.
    noted: bool,
}

fn take_or_sleep<C: Contender>(contender: &mut C, has: &mut Done) -> Result<bool, C::Error> {
    let own = contender.own();
    let mut is_announced = false;
    loop {
        let seen = contender.load()?;
        let is_free = seen & HOLDER == 0;
        let is_kept = is_free && seen & KEPT != 0 && contender.is_kept_for_another()?;
        if (!is_free || is_kept) && contender.spins() {
            continue;
        }
        // This thread has noted the lock only now: what names it as the owner is no word of its own.
        let is_rubbish = seen & HOLDER == own;
        if is_free && !is_kept || is_rubbish || !is_free && !contender.is_owner_alive(seen)? {
            let died = if is_free { seen & OWNER_DIED } else { OWNER_DIED };
            if contender.compare_swap(seen, own | died)? == seen {
                has.noted |= seen & KEPT != 0;
                return Ok(died != 0);
            }
            contender.was_late()?;
            continue;
        }
        if contender.has_waited_long() {
            has.noted = true;
            contender.note_wait()?;
        }
        if is_announced {
            has.slept = true;
            contender.sleep()?;
        } else {
            contender.check_time()?;
            contender.announce()?;
            contender.heavy_fence();
        }
        is_announced = !is_announced;
    }
}

/// One who has slept goes. When he was woken, nobody else was.
#[cold]
fn tell_of_others<C: Contender>(contender: &C, has_taken: bool) {
    if contender.announce().is_ok() && !has_taken {
        contender.heavy_fence();
        if contender.load().is_ok_and(|seen| seen & HOLDER == 0) {
            contender.wake(false);
        }
    }
}

/// Frees the lock; whether it was this one's.
pub(crate) fn free<C: Contender>(contender: &C) -> Result<bool, C::Error> {
    loop {
        let seen = contender.load()?;
        if seen & HOLDER != contender.own() {
            return Ok(false);
        }
        let is_kept = keeps(contender).unwrap_or(false);
        if contender.compare_swap(seen, seen & OWNER_DIED | if is_kept { KEPT } else { 0 })? == seen {
            if contender.is_anybody_asleep().unwrap_or(false) {
                contender.wake(is_kept);
            }
            return Ok(true);
        }
    }
}

/// Whether the lock is to be kept for somebody, which is noted. The bytes that tell may be gone while the word is not.
fn keeps<C: Contender>(contender: &C) -> Result<bool, C::Error> {
    let is_kept = contender.is_anybody_asleep()? && contender.is_wait_noted()?;
    if is_kept {
        contender.note_keeping()?;
    }
    Ok(is_kept)
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
