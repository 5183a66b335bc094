//! What a protocol asks of the bytes that it shares with other processes.

use super::failure::Failure;
use crate::mem::atomic::Ordering;
use crate::mem::buffer::{Destination, Source};
use crate::mem::layout::queue::{COMMITTED, WORD, record_bytes};
use std::time::Duration;

/// An access failed: what it would have read or written is unknown, and the memory knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault;

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Somebody woke it, the word differed, or time passed.
    Awake,
    /// A signal handler ran.
    BySignal,
}

/// The bytes of one object. Offsets count from its first byte, are aligned, and lie within `length`: who attaches to
/// an object checks that once.
pub(super) trait Memory {
    /// Whether it is worth while to wait for others; otherwise an operation that would have to fails.
    const IS_PATIENT: bool;

    /// How many bytes there are, from the object's first on.
    fn length(&self) -> u64;

    /// Whether the bytes may be changed.
    fn is_writable(&self) -> bool;

    /// Reads a word: Relaxed or Acquire.
    fn load_u32(&self, offset: u64, order: Ordering) -> Result<u32, Fault>;
    /// Reads a word: Relaxed or Acquire.
    fn load_u64(&self, offset: u64, order: Ordering) -> Result<u64, Fault>;
    /// Writes a word: Relaxed, Release or SeqCst.
    fn store_u32(&self, offset: u64, value: u32, order: Ordering) -> Result<(), Fault>;
    /// Writes a word: Relaxed, Release or SeqCst.
    fn store_u64(&self, offset: u64, value: u64, order: Ordering) -> Result<(), Fault>;
    /// Writes `desired` where `expected` stands, and gives what stood there. SeqCst.
    fn compare_swap_u32(&self, offset: u64, expected: u32, desired: u32) -> Result<u32, Fault>;
    /// Writes `desired` where `expected` stands, and gives what stood there. SeqCst.
    fn compare_swap_u64(&self, offset: u64, expected: u64, desired: u64) -> Result<u64, Fault>;

    /// Whether zero stands there; perhaps no when the word cannot be had.
    #[inline(always)]
    fn is_zero_u32(&self, offset: u64, order: Ordering) -> bool {
        self.load_u32(offset, order) == Ok(0)
    }
    /// Whether `expected` stands there; perhaps no when the word cannot be had.
    #[inline(always)]
    fn is_u64(&self, offset: u64, expected: u64, order: Ordering) -> bool {
        self.load_u64(offset, order) == Ok(expected)
    }
    /// Puts a value into a word, released, and adds `by` to the next one, which nobody else writes.
    #[inline(always)]
    fn store_and_bump(&self, offset: u64, value: u64, by: u64) -> Result<(), Fault> {
        self.store_u64(offset, value, Ordering::Release)?;
        let count = self.load_u64(offset + WORD, Ordering::Relaxed)?;
        self.store_u64(offset + WORD, count.wrapping_add(by), Ordering::Relaxed)
    }

    /// Copies bytes in, in no order.
    fn copy_in(&self, offset: u64, from: Source) -> Result<(), Fault>;
    /// Writes the record of a message in a queue, and a word of zeros behind it: from the end to the beginning, so that the
    /// line that a consumer polls is taken from him once.
    #[inline(always)]
    fn put_record(&self, offset: u64, word: u64, message: Source) -> Result<(), Fault> {
        // ORDER: Relaxed, then Release, partner `queue::side::Side::message`: the message and the 0 behind it.
        self.store_u64(offset + record_bytes(message.length() as u64), 0, Ordering::Relaxed)?;
        self.copy_in(offset + WORD, message)?;
        self.store_u64(offset, word, Ordering::Release)
    }
    /// Says that so many bytes at `offset` are about to be written, which may make that faster.
    #[inline(always)]
    fn expect_write(&self, _offset: u64, _length: u64) {}
    /// Says that so many bytes at `offset` will be read next, likewise.
    #[inline(always)]
    fn expect_read(&self, _offset: u64, _length: u64) {}
    /// Copies the message out whose record stands at `offset`, if it has at most `most` bytes and the buffer has room for it:
    /// its length, and whether it stood there at the first look, after which it is waited for as by `await_u64`; or else the
    /// word that stands there, which is read once.
    #[inline(always)]
    fn take_record(
        &self,
        offset: u64,
        most: u64,
        buffer: Destination,
        _moments: impl FnOnce() -> u64,
    ) -> Result<core::result::Result<(u64, bool), u64>, Fault> {
        // ORDER: Acquire, partner `put_record`.
        let word = self.load_u64(offset, Ordering::Acquire)?;
        let length = word ^ COMMITTED;
        match buffer.first(length) {
            Some(bytes) if length <= most => self.copy_out(offset + WORD, bytes).map(|()| Ok((length, true))),
            _ => Ok(Err(word)),
        }
    }
    /// Copies bytes out, in no order.
    fn copy_out(&self, offset: u64, to: Destination) -> Result<(), Fault>;
    /// Sets bytes to zero, in no order.
    fn zero(&self, offset: u64, length: u64) -> Result<(), Fault>;

    /// Whether bytes that were used by their address were there all the time.
    fn check(&self, offset: u64, length: u64) -> Result<(), Fault>;

    /// A fence of this thread: Acquire or Release.
    fn fence(&self, order: Ordering);
    /// Half of a full fence between two threads, which costs nothing: it holds against the other's `heavy_fence`.
    fn light_fence(&self);
    /// The other half, which makes every process that shares the memory pass a full fence.
    fn heavy_fence(&self);

    /// Lets a moment pass, if there is time for a look more in the midst of an operation.
    #[inline(always)]
    fn spins(&self, _moments: u64) -> bool {
        false
    }
    /// The word there, acquired, or 0 where it cannot be had. Where it is 0, and there is time for that in the midst of an
    /// operation, it is looked at again, after so many moments and then after each pause.
    #[inline(always)]
    fn await_u64(&self, offset: u64, _moments: impl FnOnce() -> u64) -> u64 {
        self.load_u64(offset, Ordering::Acquire).unwrap_or(0)
    }
    /// Lets a moment pass.
    fn pause(&self);
    /// The clock of `wait`, in nanoseconds.
    fn now(&self) -> u64;
    /// Sleeps while `expected` stands there, at most until the clock shows `until`.
    fn wait(&self, offset: u64, expected: u32, until: u64) -> Result<Woken, Fault>;
    /// Wakes all that sleep on the word.
    fn wake(&self, offset: u64) -> Result<(), Fault>;
    /// The same, once the word says that nobody sleeps any more.
    #[cold]
    #[inline(never)]
    fn rouse(&self, offset: u64) -> Result<(), Fault> {
        // Zero first: whoever announces himself after it looks again and finds what was done.
        self.store_u32(offset, 0, Ordering::SeqCst)?;
        self.wake(offset)
    }
}

/// Who uses the memory, and whether he lives.
pub(super) trait Liveness {
    /// This process: not 0, and no other's for all time.
    fn me(&self) -> u32;
    /// Whether a participant lives; no dead one ever does again.
    fn is_alive(&self, participant: u32) -> Result<bool, Fault>;
}

/// The lock of 64 bytes that outlives its owner, at an offset.
pub(super) trait Locks {
    /// Whether it can be had here at all; otherwise an operation that needs it fails.
    const HAS_LOCKS: bool;

    /// Makes one of zeros.
    fn init_lock(&self, offset: u64) -> Result<(), Fault>;
    /// Waits for it. That an owner died with it is of no interest: who has it looks how things stand.
    fn lock(&self, offset: u64, timeout: impl FnOnce() -> Option<Duration>) -> Result<(), Failure>;
    /// Gives it up. When it is another thread's, that one is treated as one that has died.
    fn unlock(&self, offset: u64) -> Result<(), Fault>;
    /// Does something that needs the lock: takes it, and gives it up again.
    #[inline(always)]
    fn locked<T>(
        &self,
        offset: u64,
        timeout: impl FnOnce() -> Option<Duration>,
        act: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.lock(offset, timeout)?;
        let done = act();
        let unlocked = self.unlock(offset);
        let done = done?;
        unlocked?;
        Ok(done)
    }
    /// The calling thread, among those of the process.
    fn thread(&self) -> u32;
}

/// Where an object lives: its bytes, its users and its locks.
pub(super) trait Place: Memory + Liveness + Locks {}
impl<T: Memory + Liveness + Locks> Place for T {}

/// Until when to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// Not at all: only try.
    Now,
    /// Until `Memory::now` shows this.
    At(u64),
    /// For ever.
    Never,
}

impl Deadline {
    /// None stands for ever, zero for only trying.
    pub(super) fn after(timeout: Option<Duration>, memory: &impl Memory) -> Deadline {
        match timeout {
            None => Deadline::Never,
            Some(Duration::ZERO) => Deadline::Now,
            Some(timeout) => {
                let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                Deadline::At(memory.now().saturating_add(timeout))
            }
        }
    }

    /// The end of a sleep of at most `nap`; None when time is over.
    pub(super) fn nap(self, now: u64, nap: u64) -> Option<u64> {
        match self {
            Deadline::Now => None,
            Deadline::At(end) if end <= now => None,
            Deadline::At(end) => Some(end.min(now.saturating_add(nap))),
            Deadline::Never => Some(now.saturating_add(nap)),
        }
    }

    /// How much time is left of it; None for ever.
    pub(super) fn rest(self, now: impl FnOnce() -> u64) -> Option<Duration> {
        match self {
            Deadline::Now => Some(Duration::ZERO),
            Deadline::At(end) => Some(Duration::from_nanos(end.saturating_sub(now()))),
            Deadline::Never => None,
        }
    }
}
