//! Waiting for another thread.
//!
//! Decision: no futex. Whoever is waited for (a call in progress, an exclusive access) would have to look for sleepers
//! at its end, and calls must not pay for that. Waits are rare and mostly shorter than a microsecond.

use crate::mem::hazard::{Count, asleep};

/// How a wait has gone so far.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    #[cfg_attr(loom, expect(dead_code, reason = "a model has no time"))]
    /// Some hundred nanoseconds, or a few turns of other threads.
    Short,
    /// It has begun to sleep: time to ask whether the other side still lives.
    Long,
}

/// Waits for another thread: spins, then yields, then sleeps for 50 µs, doubling to 1.6 ms. Async-signal-safe.
pub(crate) struct Backoff {
    #[cfg_attr(loom, expect(dead_code, reason = "a model has no time"))]
    step: u32,
    /// Whether to tell `drain` of a long wait.
    #[cfg_attr(loom, expect(dead_code, reason = "a model has no time"))]
    tells: bool,
    asleep: Option<Count>,
}

impl Backoff {
    /// For waits on somebody who may wait for this thread's calls in turn: once it has become long, `drain` does not wait
    /// for them.
    pub(crate) fn new() -> Backoff {
        Backoff { step: 0, tells: true, asleep: None }
    }

    /// For waits on somebody who waits for nobody.
    #[cfg_attr(loom, expect(dead_code, reason = "a model has no such waits"))]
    pub(crate) fn on_independent() -> Backoff {
        Backoff { tells: false, ..Backoff::new() }
    }

    /// Lets a little more time pass than the last time.
    #[cfg(not(loom))]
    pub(crate) fn wait(&mut self) -> Waited {
        const SPINS: u32 = 6;
        const YIELDS: u32 = 16;
        const SLEEPS: u32 = 6;
        let step = self.step;
        self.step = (step + 1).min(SPINS + YIELDS + SLEEPS - 1);
        if let Some(sleeps) = step.checked_sub(SPINS + YIELDS) {
            if self.tells {
                self.asleep.get_or_insert_with(asleep);
            }
            std::thread::sleep(std::time::Duration::from_micros(50 << sleeps));
            return Waited::Long;
        }
        if step < SPINS {
            (0..1 << step).for_each(|_| std::hint::spin_loop());
        } else {
            std::thread::yield_now();
        }
        Waited::Short
    }

    /// In a model there is no time: the others have a turn, and the second wait is as long as any.
    #[cfg(loom)]
    pub(crate) fn wait(&mut self) -> Waited {
        self.asleep.get_or_insert_with(asleep);
        loom::thread::yield_now();
        Waited::Long
    }
}
