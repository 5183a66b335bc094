//! Waits of a call that may be long.
//!
//! Decision: signals are blocked but for the moments when the thread sleeps (ppoll(2) changes the mask and sleeps in
//! one step), so that a handler that runs during the wait ends it, wherever it strikes, with SA_RESTART too.

use super::hazard::{self, Count};
use crate::sys::Errno;
use crate::sys::clock::monotonic_ns;
use crate::sys::signal::SignalsBlocked;
use std::time::Duration;

/// The first pause, in nanoseconds; each is twice as long as the one before.
const SHORTEST: u64 = 50_000;
/// The longest pause, in nanoseconds.
const LONGEST: u64 = 4_000_000;

/// What has ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The time given has passed.
    Timeout,
    /// A signal handler ran.
    Signal,
}

/// A wait for what others do, in pauses with a look between them. As long as it lives, whoever wants the object for
/// himself alone (unmap) is told that it is in use, instead of waiting too.
pub(crate) struct Sleeping {
    signals: SignalsBlocked,
    /// In the time of `monotonic_ns`; None for a wait without end.
    deadline: Option<u64>,
    pause: u64,
    _asleep: Count,
}

impl Sleeping {
    /// The wait begins; None for one without end.
    pub(crate) fn new(timeout: Option<Duration>) -> Sleeping {
        let end =
            |timeout: Duration| monotonic_ns().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        Sleeping {
            _asleep: hazard::asleep(),
            signals: SignalsBlocked::new(),
            deadline: timeout.map(end),
            pause: SHORTEST,
        }
    }

    /// A pause; after the last one, which ends when the time does, there is time for one more look.
    pub(crate) fn pause(&mut self) -> Result<(), Ended> {
        let mut pause = self.pause;
        if let Some(deadline) = self.deadline {
            let rest = deadline.saturating_sub(monotonic_ns());
            if rest == 0 {
                return Err(Ended::Timeout);
            }
            pause = pause.min(rest);
        }
        self.pause = (self.pause * 2).min(LONGEST);
        // It can fail in no other way: no descriptors, a time that is valid.
        self.signals.sleep(pause).map_err(|Errno(_)| Ended::Signal)
    }
}
