//! A lock that a fork cannot leave behind locked.
//!
//! Decision: not `std::sync::Mutex`: a thread that holds one while another thread forks does not exist in the child,
//! where nobody would ever unlock it. The word here names the process of the holder, and in another process it counts
//! as free. So it orders things that bear being cut off in the middle, and guards no data of its own.

use super::atomic::{AtomicU32, Ordering};
use super::backoff::Backoff;
use crate::sys::process::process_id;

/// 0, or the process whose thread holds it.
#[derive(Default)]
pub(crate) struct ForkLock(AtomicU32);

/// The lock is held as long as this lives.
pub(crate) struct Held<'a>(&'a ForkLock);

impl ForkLock {
    pub(crate) const fn new() -> ForkLock {
        ForkLock(AtomicU32::new(0))
    }

    /// Waits until no other thread of this process holds it. Not for signal handlers, nor twice on one thread; and who
    /// holds it waits for no other thread's calls.
    pub(crate) fn lock(&self) -> Held<'_> {
        let own = process_id();
        let mut backoff = Backoff::on_independent();
        loop {
            let holder = self.0.load(Ordering::Relaxed); // ORDER: Relaxed, a guess that the exchange below checks
            // ORDER: Acquire, partner: the Release in `drop`. Relaxed on failure: nothing is concluded.
            let take = || self.0.compare_exchange(holder, own, Ordering::Acquire, Ordering::Relaxed);
            if holder != own && take().is_ok() {
                return Held(self);
            }
            backoff.wait();
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // ORDER: Release, partner: the Acquire in `lock`.
        self.0.0.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_held_by_a_thread_of_the_parent_is_free_in_the_child() {
        let lock = ForkLock::new();
        lock.0.store(process_id() + 1, Ordering::Relaxed);
        drop(lock.lock());
        assert_eq!(lock.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_thread_at_a_time_holds_it() {
        let (lock, count) = (ForkLock::new(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _held = lock.lock();
                        let before = count.load(Ordering::Relaxed);
                        std::thread::yield_now();
                        count.store(before + 1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 4000);
    }
}
