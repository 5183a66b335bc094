//! Starting over when others were faster.

use super::name::Name;
use crate::error::{NameError, Result};
use crate::mem::backoff::Backoff;
use crate::sys::clock;

/// How long an open starts over, in nanoseconds. Every start follows something that another process has done, and the
/// longest that one takes is between the lock and the removal of a name that is not used any more: microseconds, as
/// long as it is not stopped in between.
const LONGEST: u64 = 10_000_000_000;

/// How often and how long a call has started over.
pub(super) struct Patience {
    backoff: Backoff,
    end: Option<u64>,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience { backoff: Backoff::on_independent(), end: None }
    }

    /// Lets the others get on, before the call starts over; EBUSY when they do not.
    pub(super) fn start_over(&mut self, name: Name) -> Result<()> {
        let now = clock::monotonic_ns();
        if now > *self.end.get_or_insert(now + LONGEST) {
            return Err(NameError::Restless { file: name.into(), seconds: LONGEST / 1_000_000_000 }.into());
        }
        self.backoff.wait();
        Ok(())
    }
}
