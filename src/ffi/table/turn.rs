//! Which call is to come in before an object is taken exclusively again.
//!
//! Decision: a call that finds the object held leaves its thread's number in the slot, and whoever wants the object
//! exclusively next lets it in first. Otherwise a thread that takes the object in a loop would starve the calls, which
//! would have to look just in the nanoseconds between two of its rounds. It is a hint: that several wait, that one has
//! come in just now, or stayed behind in a fork, costs some time and nothing else.

use crate::mem::atomic::{AtomicU32, Ordering};
use crate::mem::backoff::{Backoff, Waited};
use crate::mem::hazard::ThreadNumber;

/// The thread whose call was the last to find the object held and has not come in yet; 0 for none.
pub(super) struct Turn(AtomicU32);

/// A call that may have to wait for its turn. Dropped when it is in, or gives up.
pub(super) struct Waiter<'a> {
    turn: &'a Turn,
    thread: ThreadNumber,
}

impl Turn {
    pub(super) fn new() -> Turn {
        Turn(AtomicU32::new(0))
    }

    pub(super) fn of(&self, thread: ThreadNumber) -> Waiter<'_> {
        Waiter { turn: self, thread }
    }

    /// Waits until the call that found the object held has come in, which it can as long as the object `is_open`; some
    /// milliseconds at the most, since its thread may be gone, or wait for this one.
    #[inline]
    pub(super) fn let_in(&self, mine: ThreadNumber, is_open: impl Fn() -> bool) {
        const SLEEPS: u32 = if cfg!(loom) { 1 } else { 6 };
        let (mut backoff, mut sleeps) = (Backoff::new(), 0);
        while let first = self.thread()
            && ![0, mine.0].contains(&first)
            && is_open()
        {
            if sleeps == SLEEPS {
                return self.pass_by(first);
            }
            sleeps += u32::from(backoff.wait() == Waited::Long);
        }
    }

    /// That thread waits no more.
    fn pass_by(&self, thread: u32) {
        let relaxed = Ordering::Relaxed; // ORDER: Relaxed, a hint
        let _ = self.0.compare_exchange(thread, 0, relaxed, relaxed);
    }

    fn thread(&self) -> u32 {
        self.0.load(Ordering::Relaxed) // ORDER: Relaxed, a hint
    }

    /// Whether a call waits.
    #[cfg(all(test, not(loom)))]
    pub(super) fn is_awaited(&self) -> bool {
        self.thread() != 0
    }
}

impl Waiter<'_> {
    /// The object is held; this call wants to be let in.
    pub(super) fn ask(&self) {
        self.turn.0.store(self.thread.0, Ordering::Relaxed); // ORDER: Relaxed, a hint
    }

    /// Asks and never comes, as a thread that a fork has left behind.
    #[cfg(all(test, not(loom)))]
    pub(super) fn leave_behind(self) {
        self.ask();
        std::mem::forget(self);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.turn.thread() == self.thread.0 {
            self.turn.pass_by(self.thread.0);
        }
    }
}
