//! Sleeping until another thread or process changes a word.
//!
//! Decision: no sleep is for ever. Who would wake may have been killed between its store and its wake, and a file that is
//! cut short takes the word away without waking anyone: so a sleeper looks again, after 5 ms at first and every 100 ms in
//! the end. As every sleep has an end, a signal handler that runs during one ends the wait, with SA_RESTART too.

use crate::error::{Error, Result};
use crate::mem::hazard;
use crate::mem::word::Atomic;
use crate::sys::clock::monotonic_ns;
use crate::sys::{Errno, futex};
use std::ptr::NonNull;
use std::time::Duration;

/// How long a sleep lasts that nobody ends, in nanoseconds: the first, and the longest. Each is twice the one before.
const FIRST_NS: u64 = 5_000_000;
const LONGEST_NS: u64 = 100_000_000;
/// So often the kernel may find no page where this process finds one, before it counts as a failure.
const PATIENCE: u32 = 32;

/// A wait for what others do, which ends when the time given has passed.
pub(crate) struct Waiting {
    /// In the time of `monotonic_ns`; None for a wait without end.
    deadline_ns: Option<u64>,
    /// When the first sleep began.
    begun_ns: Option<u64>,
    sleep_ns: u64,
    longest_ns: u64,
    faults: u32,
}

/// What has ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody has woken the sleepers on this word, or another number than expected stood there.
    Changed,
    /// Nobody: it is time to look again.
    Nobody,
    /// The kernel found no page: the next look tells why it is gone, or finds it there again.
    NoPage,
}

/// The time that `sleep_until` goes by, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    monotonic_ns()
}

/// Sleeps while the word at `address` equals `expected`, at most until that time.
pub(crate) fn sleep_until(address: NonNull<u32>, expected: u32, until_ns: u64) -> Result<Woken> {
    // Whoever wants the region for himself alone is told that it is in use, instead of waiting too.
    let _asleep = hazard::asleep();
    match futex::wait(address, expected, until_ns) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(Woken::Changed),
        Err(Errno::ETIMEDOUT) => Ok(Woken::Nobody),
        Err(Errno::EINTR) => Err(Error::Interrupted),
        Err(Errno::EFAULT) => Ok(Woken::NoPage),
        Err(errno) => Err(Error::system("futex", "a word of the region", errno)),
    }
}

/// The kernel finds no page again and again.
pub(crate) fn no_page() -> Error {
    Error::system("futex", "a word of the region", Errno::EFAULT)
}

impl Waiting {
    /// The wait begins; None for one without end.
    pub(crate) fn new(timeout: Option<Duration>) -> Waiting {
        let end =
            |timeout: Duration| monotonic_ns().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        Waiting { deadline_ns: timeout.map(end), begun_ns: None, sleep_ns: FIRST_NS, longest_ns: LONGEST_NS, faults: 0 }
    }

    /// As `new`, with sleeps that are all as short as the first: for those who wait for one who may die.
    pub(crate) fn with_looks_every_5_ms(timeout: Option<Duration>) -> Waiting {
        Waiting { longest_ns: FIRST_NS, ..Waiting::new(timeout) }
    }

    /// When the first sleep began, in the time of `monotonic_ns`.
    pub(crate) fn begun_ns(&self) -> Option<u64> {
        self.begun_ns
    }

    /// Whether the time has not passed yet.
    pub(crate) fn check_time(&self) -> Result<()> {
        if self.deadline_ns.is_some_and(|end| monotonic_ns() >= end) { Err(Error::TimedOut) } else { Ok(()) }
    }

    /// Sleeps while the word at `address` equals `expected`, for a while. After the last sleep, which ends when the time
    /// does, there is one more look.
    pub(crate) fn sleep(&mut self, address: NonNull<u32>, expected: u32) -> Result<Woken> {
        let now = monotonic_ns();
        let until = now.saturating_add(self.sleep_ns).min(self.deadline_ns.unwrap_or(u64::MAX));
        if until <= now {
            return Err(Error::TimedOut);
        }
        self.begun_ns.get_or_insert(now);
        self.sleep_ns = (self.sleep_ns * 2).min(self.longest_ns);
        match sleep_until(address, expected, until)? {
            Woken::NoPage if self.faults < PATIENCE => {
                self.faults += 1;
                Ok(Woken::Nobody)
            }
            Woken::NoPage => Err(no_page()),
            woken => Ok(woken),
        }
    }
}

impl Atomic<'_, u32> {
    /// Sleeps while `expected` stands in the word, until somebody wakes those who sleep on it; returns at once when
    /// another number stands there. So after a good return it is worth to look again, and it is possible that nothing has
    /// changed. None as the timeout stands for ever; with a timeout of zero it only looks.
    ///
    /// # Errors
    /// ETIMEDOUT: the time has passed. EINTR: a signal handler has run. EINVAL: the region is copy-on-write. ENXIO,
    /// ENOSPC, EIO: as any operation; a file that is cut short under a sleeper is noticed within 100 ms.
    pub fn wait(&self, expected: u32, timeout: Option<Duration>) -> Result<()> {
        let address = self.meeting_place()?;
        let mut waiting = Waiting::new(timeout);
        while self.load()? == expected {
            if waiting.sleep(address, expected)? == Woken::Changed {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Wakes at most `count` of those who sleep on the word, in whatever process; how many.
    ///
    /// # Errors
    /// EINVAL: the region is copy-on-write. ENXIO, ENOSPC, EIO: as any operation.
    pub fn wake(&self, count: u32) -> Result<u32> {
        let address = self.meeting_place()?;
        for _ in 0..PATIENCE {
            self.load()?;
            if count == 0 {
                return Ok(0);
            }
            match futex::wake(address, i32::try_from(count).unwrap_or(i32::MAX)) {
                Err(Errno::EFAULT) => {} // as in `sleep`
                result => return result.map_err(|errno| Error::system("futex", "a word of the region", errno)),
            }
        }
        Err(no_page())
    }
}
