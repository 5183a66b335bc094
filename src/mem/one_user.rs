//! Something that one thread at a time may use, and those that come meanwhile are told so.
//!
//! Decision: nobody waits. A user may be asleep for long, and one that comes may be a signal handler that has interrupted
//! it. A user whose thread has ended in the middle is one no more.
//!
//! Decision: the first thread that uses it is at home there, and pays two plain stores for each use. The first other thread
//! ends that for good, by the heavy half of an asymmetric fence (fence.rs); from then on each use is a compare-and-swap.
//! | home | who may use it | by |
//! | --- | --- | --- |
//! | `NOBODY` | who becomes the one at home | |
//! | a thread | that thread | `resident`, then looks at home once more |
//! | `LEFT` | nobody new, before a heavy fence | |
//! | `OPEN` | any | `guest`, then looks whether there is a resident |

use super::atomic::{AtomicU32, Ordering};
use super::fence;
#[cfg(not(loom))]
use super::hazard::Caller;
use super::hazard::{self, Fate, NoRecord, ThreadNumber};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

const NOBODY: u32 = 0;
/// Of home: no thread is at home any more, which the one that was may not have heard yet.
const LEFT: u32 = u32::MAX - 1;
/// Of home: none will ever be again, and all know it.
const OPEN: u32 = u32::MAX;

/// A value with at most one user.
pub(crate) struct OneUser<T> {
    /// The number of the thread that is at home, or one of the above.
    home: AtomicU32,
    /// The number of the thread that is at home while it uses the value.
    resident: AtomicU32,
    /// The number of another thread that uses it.
    guest: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: a resident and a guest exclude one another, as the table above says, and it moves between threads (T: Send).
unsafe impl<T: Send> Sync for OneUser<T> {}

/// The one who uses it.
pub(crate) struct InUse<'a, T> {
    of: &'a OneUser<T>,
    /// The word that says so.
    user: &'a AtomicU32,
}

impl<T> OneUser<T> {
    pub(crate) fn new(value: T) -> OneUser<T> {
        let [home, resident, guest] = [(); 3].map(|()| AtomicU32::new(NOBODY));
        OneUser { home, resident, guest, value: UnsafeCell::new(value) }
    }

    /// Uses it until the result is dropped; None while somebody else does.
    pub(crate) fn use_now(&self) -> Result<Option<InUse<'_, T>>, NoRecord> {
        let ThreadNumber(mine) = hazard::this_thread()?;
        // ORDER: Relaxed: nobody has used the value yet.
        let came_first = || self.home.compare_exchange(NOBODY, mine, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if self.home() == mine || came_first() {
            match self.reside(mine, fence::light) {
                None if self.home() == mine => return Ok(None), // this thread uses it, further down its stack
                None => {}
                resident => return Ok(resident),
            }
        }
        Ok(self.open().and_then(|()| self.visit(mine)))
    }

    /// `use_now` of the one at home, if nothing is in its way.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn use_at_home(&self, caller: Caller) -> Option<InUse<'_, T>> {
        let ThreadNumber(mine) = caller.number();
        if self.home() == mine { self.reside(mine, fence::free_light) } else { None }
    }

    /// `use_now` of the others, if nothing is in its way.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn visit_at_once(&self, caller: Caller) -> Option<InUse<'_, T>> {
        let ThreadNumber(mine) = caller.number();
        if self.home() == OPEN { self.visit(mine) } else { None }
    }

    #[inline(always)]
    fn home(&self) -> u32 {
        self.home.load(Ordering::Acquire) // ORDER: Acquire, partner the Release in `open`
    }

    /// Uses it as the one at home, if this thread still is and does not already.
    #[inline(always)]
    fn reside(&self, mine: u32, light_fence: impl FnOnce()) -> Option<InUse<'_, T>> {
        // ORDER: Relaxed: only this thread writes it, but for what `visit` does once that has ended.
        if self.resident.load(Ordering::Relaxed) != NOBODY {
            return None;
        }
        // ORDER: Release, partner `visit`, for `hazard::fate`: who sees the number finds the thread's record. The light fence
        // is between this and the look, partner the heavy one in `open`.
        self.resident.store(mine, Ordering::Release);
        light_fence();
        let in_use = InUse { of: self, user: &self.resident };
        (self.home() == mine).then_some(in_use)
    }

    /// Makes it open to all.
    #[cold]
    fn open(&self) -> Option<()> {
        let home = self.home();
        if home == OPEN {
            return Some(());
        }
        // ORDER: Relaxed; the heavy fence is between this and `visit`'s look for a resident, partner `reside`.
        self.home.store(LEFT, Ordering::Relaxed);
        fence::heavy().ok()?;
        // ORDER: Release, partner `home`: who sees it comes after the fence.
        self.home.store(OPEN, Ordering::Release);
        Some(())
    }

    /// Uses it, which is open to all, if nobody else does.
    #[inline(always)]
    fn visit(&self, mine: u32) -> Option<InUse<'_, T>> {
        // ORDER: Acquire, partner `InUse::drop`, and itself: Release for `hazard::fate`, as in `reside`.
        let taken = self.guest.compare_exchange(NOBODY, mine, Ordering::AcqRel, Ordering::Acquire);
        if let Err(guest) = taken {
            self.take_from(&self.guest, guest, mine)?;
        }
        let in_use = InUse { of: self, user: &self.guest };
        // ORDER: Acquire, partner `InUse::drop` of the resident. That it is the newest is the heavy fence's work.
        match self.resident.load(Ordering::Acquire) {
            NOBODY => Some(in_use),
            resident => self.take_from(&self.resident, resident, NOBODY).map(|()| in_use),
        }
    }

    /// Puts `next` in the place of a user whose thread has ended.
    #[cold]
    fn take_from(&self, place: &AtomicU32, user: u32, next: u32) -> Option<()> {
        let is_gone = user != next && hazard::fate(ThreadNumber(user)) == Fate::Gone;
        // ORDER: as in `visit`. The thread has ended, which the kernel has told.
        let take = || place.compare_exchange(user, next, Ordering::AcqRel, Ordering::Relaxed);
        (is_gone && take().is_ok()).then_some(())
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T> Deref for InUse<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this thread is the only user while `self` lives.
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for InUse<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> Drop for InUse<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // ORDER: Release, partner `visit`.
        self.user.store(NOBODY, Ordering::Release);
    }
}
