//! Something that one thread at a time may use, and those that come meanwhile are told so.
//!
//! Decision: nobody waits. A user may be asleep for long, and one that comes may be a signal handler that has interrupted
//! it. A user whose thread has ended in the middle is one no more.

use super::atomic::{AtomicU32, Ordering};
use super::hazard::{self, Caller, Fate, NoRecord, ThreadNumber};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

const NOBODY: u32 = 0;

/// A value with at most one user.
pub(crate) struct OneUser<T> {
    /// The number of the thread that uses it.
    user: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: `use_now` gives it to one thread at a time, and moves it between threads thereby (T: Send).
unsafe impl<T: Send> Sync for OneUser<T> {}

/// The one who uses it.
pub(crate) struct InUse<'a, T>(&'a OneUser<T>);

impl<T> OneUser<T> {
    pub(crate) fn new(value: T) -> OneUser<T> {
        OneUser { user: AtomicU32::new(NOBODY), value: UnsafeCell::new(value) }
    }

    /// Uses it until the result is dropped; None while somebody else does.
    pub(crate) fn use_now(&self) -> Result<Option<InUse<'_, T>>, NoRecord> {
        let ThreadNumber(mine) = hazard::this_thread()?;
        // ORDER: Acquire, partner InUse::drop. Relaxed on failure: nothing is concluded.
        match self.user.compare_exchange(NOBODY, mine, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(Some(InUse(self))),
            Err(user) => Ok(self.take_from(user, mine)),
        }
    }

    /// `use_now`, if nothing is in its way.
    #[inline(always)]
    pub(crate) fn use_at_once(&self, caller: Caller) -> Option<InUse<'_, T>> {
        let ThreadNumber(mine) = caller.number();
        // ORDER: as in `use_now`.
        self.user.compare_exchange(NOBODY, mine, Ordering::Acquire, Ordering::Relaxed).ok().map(|_| InUse(self))
    }

    #[cold]
    fn take_from(&self, user: u32, mine: u32) -> Option<InUse<'_, T>> {
        let is_gone = user != mine && hazard::fate(ThreadNumber(user)) == Fate::Gone;
        // ORDER: Acquire, as in `use_now`: the thread has ended, which the kernel has told.
        let take = || self.user.compare_exchange(user, mine, Ordering::Acquire, Ordering::Relaxed);
        (is_gone && take().is_ok()).then(|| InUse(self))
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T> Deref for InUse<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread is the only user while `self` lives.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for InUse<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for InUse<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // ORDER: Release, partner `use_now`.
        self.0.user.store(NOBODY, Ordering::Release);
    }
}
