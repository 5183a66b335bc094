//! The memory of a region for a call that gives up when anything is in its way: another call then does it all, or says
//! why not.
//!
//! Decision: a type of its own beside `InRegion`. It has nothing to remember, so that a whole good call stays in registers:
//! a cell's read takes half the time. Nothing is looked at during the accesses; whether pages were lost is asked before the
//! first and after the last.

use super::super::failure::Failure;
use super::super::memory::{Fault, Liveness, Locks, Memory, Woken};
use super::{ALIGNMENT, participant, store, unlock_patiently};
use crate::mem::atomic::{Ordering, fence};
use crate::mem::buffer::{Copying, Destination, Source};
use crate::mem::hazard::Caller;
use crate::mem::word::{Operation, Word, Words};
use crate::mem::{fence as asymmetric, held};
use crate::sync::mutex::{self, Mutex};
use crate::sync::wait;
use std::time::Duration;

type Result<T> = core::result::Result<T, Fault>;

/// The bytes of an object in a region, during a call of a thread that has entered at once, so that it bears SIGBUS.
#[derive(Clone, Copy)]
pub(in crate::data) struct AtOnce<'a> {
    words: Words<'a>,
    copying: Copying,
    caller: Caller,
}

impl<'a> AtOnce<'a> {
    /// None if anything at all is in the way.
    #[inline(always)]
    pub(in crate::data) fn new(words: Words<'a>, copying: Copying, caller: Caller) -> Option<AtOnce<'a>> {
        let is_aligned = words.offset().is_multiple_of(ALIGNMENT);
        (is_aligned && words.is_shared() && words.are_intact()).then_some(AtOnce { words, copying, caller })
    }

    /// Whether everything that was done stands: no page was lost meanwhile.
    #[inline(always)]
    pub(in crate::data) fn has_stayed_intact(&self) -> bool {
        self.words.are_intact()
    }

    #[inline(always)]
    fn perform<T: Word>(&self, offset: u64, operation: Operation<T>) -> Result<T> {
        self.words.word::<T>(offset as usize).perform_plainly(operation).ok_or(Fault)
    }
}

impl Memory for AtOnce<'_> {
    const IS_PATIENT: bool = false;

    #[inline(always)]
    fn length(&self) -> u64 {
        self.words.length()
    }

    #[inline(always)]
    fn is_writable(&self) -> bool {
        self.words.is_writable()
    }

    #[inline(always)]
    fn load_u32(&self, offset: u64, _: Ordering) -> Result<u32> {
        self.perform(offset, Operation::Load)
    }

    #[inline(always)]
    fn load_u64(&self, offset: u64, _: Ordering) -> Result<u64> {
        self.perform(offset, Operation::Load)
    }

    #[inline(always)]
    fn store_u32(&self, offset: u64, value: u32, order: Ordering) -> Result<()> {
        self.perform(offset, store(value, order)).map(drop)
    }

    #[inline(always)]
    fn store_u64(&self, offset: u64, value: u64, order: Ordering) -> Result<()> {
        self.perform(offset, store(value, order)).map(drop)
    }

    #[inline(always)]
    fn compare_swap_u32(&self, offset: u64, expected: u32, desired: u32) -> Result<u32> {
        self.perform(offset, Operation::CompareSwap { expected, desired })
    }

    #[inline(always)]
    fn compare_swap_u64(&self, offset: u64, expected: u64, desired: u64) -> Result<u64> {
        self.perform(offset, Operation::CompareSwap { expected, desired })
    }

    #[inline(always)]
    fn copy_in(&self, offset: u64, from: Source) -> Result<()> {
        if self.words.copy_in_plainly(offset, from, self.copying) { Ok(()) } else { Err(Fault) }
    }

    #[inline(always)]
    fn copy_out(&self, offset: u64, to: Destination) -> Result<()> {
        if self.words.copy_out_plainly(offset, to, self.copying) { Ok(()) } else { Err(Fault) }
    }

    fn zero(&self, _: u64, _: u64) -> Result<()> {
        Err(Fault)
    }

    #[inline(always)]
    fn check(&self, _: u64, _: u64) -> Result<()> {
        if self.has_stayed_intact() { Ok(()) } else { Err(Fault) }
    }

    #[inline(always)]
    fn fence(&self, order: Ordering) {
        fence(order);
    }

    #[inline(always)]
    fn light_fence(&self) {
        asymmetric::light_for_all();
    }

    fn heavy_fence(&self) {
        asymmetric::heavy_for_all();
    }

    fn pause(&self) {
        std::hint::spin_loop();
    }

    fn now(&self) -> u64 {
        wait::now_ns()
    }

    fn wait(&self, _: u64, _: u32, _: u64) -> Result<Woken> {
        Err(Fault)
    }

    fn wake(&self, offset: u64) -> Result<()> {
        // What they wait for is done; a sleeper that is not woken looks by itself.
        let _ = self.words.word::<u32>(offset as usize).wake(u32::MAX);
        Ok(())
    }
}

impl Liveness for AtOnce<'_> {
    #[inline(always)]
    fn me(&self) -> u32 {
        participant(self.words)
    }

    fn is_alive(&self, _: u32) -> Result<bool> {
        Err(Fault)
    }
}

impl Locks for AtOnce<'_> {
    fn init_lock(&self, _: u64) -> Result<()> {
        Err(Fault)
    }

    #[inline(always)]
    fn lock(&self, offset: u64, _: impl FnOnce() -> Option<Duration>) -> core::result::Result<(), Failure> {
        let words = self.words.part(offset, Mutex::SIZE);
        match Mutex::lock_at_once(words, self.caller) {
            mutex::AtOnce::Done => Ok(()),
            mutex::AtOnce::Hindered => Err(Failure::TimedOut),
            mutex::AtOnce::Doubtful => Mutex::check_taken(words).map_err(|_| Failure::Access),
        }
    }

    #[inline(always)]
    fn unlock(&self, offset: u64) -> Result<()> {
        let words = self.words.part(offset, Mutex::SIZE);
        match Mutex::unlock_at_once(words.mapping(), words.offset(), words.is_writable(), self.caller) {
            mutex::AtOnce::Done => Ok(()),
            mutex::AtOnce::Hindered => unlock_patiently(words).map_err(|_| Fault),
            mutex::AtOnce::Doubtful => Mutex::check_freed(words).map_err(|_| Fault),
        }
    }

    #[inline(always)]
    fn thread(&self) -> u32 {
        held::at_once(self.caller).map_or(0, |held| held.thread() as u32)
    }
}
