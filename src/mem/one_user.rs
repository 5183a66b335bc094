//! Something that one thread at a time may use, and those that come meanwhile are told so.
//!
//! Decision: nobody waits. A user may be asleep for long, and one that comes may be a signal handler that has interrupted
//! it. A user whose thread has ended in the middle is one no more.
//!
//! Decision: the first thread that uses it is at home there, and pays nothing for that: that it uses the value is said by its
//! hazard cell, which names the value's token during the call anyway. The first other thread ends that for good, by the
//! heavy half of an asymmetric fence (fence.rs), whose light half is between the token's publication and the look at home;
//! from then on each use is a compare-and-swap.
//! | home | who may use it | by |
//! | --- | --- | --- |
//! | `NOBODY` | who becomes the one at home | |
//! | a thread | that thread, unless it does already | its hazard cell, and then a look at home |
//! | `LEFT` and that thread | nobody new | a heavy fence, and then a look at that thread's cells |
//! | `OPEN` | any | `guest` |

use super::atomic::{AtomicU32, Ordering};
use super::fence;
use super::hazard::{self, Fate, Hazard, ThreadNumber};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

const NOBODY: u32 = 0;
/// Of home: that thread, whose number has no such bit, is not at home any more, which it may not have heard yet.
const LEFT: u32 = 1 << 31;
/// Of home: none will ever be again, and all know it.
const OPEN: u32 = LEFT | NOBODY;

/// A value with at most one user.
pub(crate) struct OneUser<T> {
    /// The number of the thread that is at home, or one of the above.
    home: AtomicU32,
    /// The number of another thread that uses it.
    guest: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the one at home and a guest exclude one another, as the table above says, and it moves between threads (T: Send).
unsafe impl<T: Send> Sync for OneUser<T> {}

/// The one who uses it.
pub(crate) struct InUse<'a, T> {
    of: &'a OneUser<T>,
    /// The word that says so, where it is not the hazard cell.
    guest: Option<&'a AtomicU32>,
}

impl<T> OneUser<T> {
    pub(crate) fn new(value: T) -> OneUser<T> {
        let [home, guest] = [(); 2].map(|()| AtomicU32::new(NOBODY));
        OneUser { home, guest, value: UnsafeCell::new(value) }
    }

    /// Uses it until the result is dropped; None while somebody else does.
    ///
    /// # Safety
    /// All users of this value have published one and the same token, by `hazard`, and no other value's users have.
    pub(crate) unsafe fn use_now<'a>(&'a self, hazard: &'a Hazard) -> Option<InUse<'a, T>> {
        let ThreadNumber(mine) = hazard.caller.number();
        // ORDER: Relaxed: nobody has used the value yet, and a fence is between the token's publication and this.
        let came_first = || self.home.compare_exchange(NOBODY, mine, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if self.home() == mine || came_first() {
            // Otherwise this thread uses it, further down its stack.
            let is_alone = hazard.calls_of(ThreadNumber(mine)) == 1;
            return is_alone.then_some(InUse { of: self, guest: None });
        }
        self.open(hazard)?;
        self.visit(mine)
    }

    /// `use_now` of the one at home, if nothing is in its way.
    ///
    /// # Safety
    /// As `use_now`; and the token was published in the first cell that the thread has, so that it uses nothing yet.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) unsafe fn use_at_home<'a>(&'a self, hazard: &'a Hazard) -> Option<InUse<'a, T>> {
        let ThreadNumber(mine) = hazard.caller.number();
        if self.home() == mine { Some(InUse { of: self, guest: None }) } else { None }
    }

    /// `use_now` of the others, if nothing is in its way.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn visit_at_once<'a>(&'a self, hazard: &'a Hazard) -> Option<InUse<'a, T>> {
        let ThreadNumber(mine) = hazard.caller.number();
        if self.home() == OPEN { self.visit(mine) } else { None }
    }

    #[inline(always)]
    fn home(&self) -> u32 {
        self.home.load(Ordering::Acquire) // ORDER: Acquire, partner the Release in `open`
    }

    /// Makes it open to all, unless the one at home uses it.
    #[cold]
    fn open(&self, hazard: &Hazard) -> Option<()> {
        let home = self.home();
        if home == OPEN {
            return Some(());
        }
        let (resident, left) = (ThreadNumber(home & !LEFT), home | LEFT);
        // ORDER: Relaxed: the heavy fence is between this and the look at the cells, partner the light one in `Hazard`. Where
        // another thread was faster, that is as good.
        let _ = self.home.compare_exchange(home, left, Ordering::Relaxed, Ordering::Relaxed);
        fence::heavy().ok()?;
        let own_calls = usize::from(resident == hazard.caller.number());
        if hazard.calls_of(resident) > own_calls && hazard::fate(resident) != Fate::Gone {
            return None;
        }
        // ORDER: Release, partner `home`: who sees it comes after the last use at home.
        self.home.store(OPEN, Ordering::Release);
        Some(())
    }

    /// Uses it, which is open to all, if nobody else does.
    #[inline(always)]
    fn visit(&self, mine: u32) -> Option<InUse<'_, T>> {
        // ORDER: AcqRel: Acquire, partner `InUse::drop`; Release for `hazard::fate`: who sees the number finds the thread's
        // record. Acquire on failure for the same.
        let taken = self.guest.compare_exchange(NOBODY, mine, Ordering::AcqRel, Ordering::Acquire);
        if let Err(guest) = taken {
            self.take_from(guest, mine)?;
        }
        Some(InUse { of: self, guest: Some(&self.guest) })
    }

    /// Takes the place of a guest whose thread has ended.
    #[cold]
    fn take_from(&self, guest: u32, mine: u32) -> Option<()> {
        let is_gone = guest != mine && hazard::fate(ThreadNumber(guest)) == Fate::Gone;
        // ORDER: as in `visit`. The thread has ended, which the kernel has told.
        let take = || self.guest.compare_exchange(guest, mine, Ordering::AcqRel, Ordering::Relaxed);
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
        if let Some(guest) = self.guest {
            // ORDER: Release, partner `visit`.
            guest.store(NOBODY, Ordering::Release);
        }
    }
}
