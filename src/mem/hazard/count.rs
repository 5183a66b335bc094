//! Counters of a thread's own, which others look at.

use crate::mem::atomic::{AtomicU64, Ordering};

/// One more in a counter of this thread's record, until it is dropped. Async-signal-safe.
///
/// The low 16 bits are the count; the others change each time it goes down: who reads the same value twice knows that
/// it did not go down in between.
pub(crate) struct Count(Option<&'static AtomicU64>);

impl Count {
    pub(super) const MASK: u64 = (1 << 16) - 1;

    pub(super) fn up(counter: Option<&'static AtomicU64>) -> Count {
        Count::add(counter, 1);
        Count(counter)
    }

    fn add(counter: Option<&AtomicU64>, step: u64) {
        if let Some(counter) = counter {
            // ORDER: Release, partner: the load in `is_asleep`: what was published and withdrawn before stays before.
            counter.fetch_add(step, Ordering::Release);
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        Count::add(self.0, Count::MASK);
    }
}
