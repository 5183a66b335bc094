//! Waits of a call that may be long.
//!
//! Decision: signals are blocked but for the moments when the thread sleeps (ppoll(2) changes the mask and sleeps in
//! one step), so that a handler that runs during the wait ends it, wherever it strikes, with SA_RESTART too.

use super::hazard::{self, Count};
use crate::sys::Errno;
use crate::sys::clock::monotonic_ns;
use crate::sys::signal::SignalsBlocked;
use crate::sys::socket::{self, Direction};
use std::os::fd::BorrowedFd;
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
        Sleeping {
            _asleep: hazard::asleep(),
            signals: SignalsBlocked::new(),
            deadline: timeout.map(end_of),
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

/// When a time that begins now has passed, in the time of `monotonic_ns`.
fn end_of(timeout: Duration) -> u64 {
    monotonic_ns().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
}

/// Makes an `attempt` on a socket, which does not wait, and again as long as it says EAGAIN and the socket is one to wait
/// on. EAGAIN when the socket's own time has passed, EINTR when a handler ran.
pub(crate) fn when_ready<T>(
    socket: BorrowedFd,
    direction: Direction,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match attempt() {
        Err(Errno::EAGAIN) if !socket::is_nonblocking(socket)? => {}
        result => return result,
    }
    let signals = SignalsBlocked::new();
    let deadline = socket::timeout(socket, direction)?.map(end_of);
    loop {
        let rest = deadline.map(|deadline| deadline.saturating_sub(monotonic_ns()));
        let is_ready = signals.sleep_until_ready(socket, direction, rest)?;
        match attempt() {
            // KERNEL: a datagram socket that was shut down is always ready, and never has anything.
            Err(Errno::EAGAIN) if is_ready && direction == Direction::In && socket::has_hung_up(socket)? => {
                return Err(Errno::EPIPE);
            }
            Err(Errno::EAGAIN) if is_ready => {} // another thread was faster
            result => return result,
        }
    }
}
