//! The memory of a region for a call that gives up when anything is in its way: another call then does it all, or says
//! why not.
//!
//! Decision: a type of its own beside `InRegion`. It has nothing to remember, so that a whole good call stays in registers:
//! a cell's read takes half the time. Nothing is looked at during the accesses; whether pages were lost is asked before the
//! first and after the last.

use super::super::failure::Failure;
use super::super::memory::{Fault, Liveness, Locks, Memory, Woken};
use super::{ALIGNMENT, participant, unlock_patiently};
use crate::mem::atomic::{Ordering, fence};
use crate::mem::buffer::{Copying, Destination, Source};
use crate::mem::direct::Direct;
use crate::mem::hazard::{self, Caller};
use crate::mem::mapping::Mapping;
use crate::mem::moment;
use crate::mem::pinned::Pinned;
use crate::mem::word::{Word, Words};
use crate::mem::{fence as asymmetric, held};
use crate::sync::mutex::{self, Mutex, Taken};
use crate::sync::wait;
use std::cell::Cell;
use std::time::Duration;

type Result<T> = core::result::Result<T, Fault>;

/// Where the words of an object come from: by value, so that they are not kept where nobody asks for them.
pub(in crate::data) trait Origin<'a>: Copy {
    fn words(self) -> Words<'a>;

    fn direct(self) -> Direct<'a>;

    /// Whether no page of the region stands as zeros for one that was lost.
    fn stand(self) -> bool;
}

impl<'a> Origin<'a> for Words<'a> {
    #[inline(always)]
    fn words(self) -> Words<'a> {
        self
    }

    #[inline(always)]
    fn direct(self) -> Direct<'a> {
        Words::direct(&self)
    }

    #[inline(always)]
    fn stand(self) -> bool {
        Words::stand(&self)
    }
}

impl<'a> Origin<'a> for &'a Pinned {
    #[inline(always)]
    fn words(self) -> Words<'a> {
        Pinned::words(self)
    }

    #[inline(always)]
    fn direct(self) -> Direct<'a> {
        Pinned::direct(self)
    }

    #[inline(always)]
    fn stand(self) -> bool {
        Pinned::stand(self)
    }
}

/// The bytes of an object in a region, during a call of a thread that has entered at once, so that it bears SIGBUS. What
/// takes no lock is compiled without any.
pub(in crate::data) struct AtOnce<'a, O, const LOCKS: bool> {
    origin: O,
    bytes: Direct<'a>,
    copying: Copying,
    caller: Caller,
    /// How often it still looks once more.
    looks: Cell<u32>,
    /// Without `LOCKS`: somebody sleeps who is to be woken, after the call, so that nothing is called in its midst.
    sleepers: Cell<bool>,
}

impl<'a, O: Origin<'a>, const LOCKS: bool> AtOnce<'a, O, LOCKS> {
    /// Of an object that is aligned, that others have too, and that the thread itself may access; it looks so often once
    /// more for what is not there yet. None where pages were lost.
    #[inline(always)]
    pub(in crate::data) fn new(origin: O, copying: Copying, caller: Caller, looks: u32) -> Option<Self> {
        let place = Self::of(origin, origin.direct(), copying, caller, looks);
        if place.has_stayed_intact() { Some(place) } else { None }
    }

    /// `new`, of bytes that were looked at, where it is asked later whether pages were lost.
    #[inline(always)]
    pub(in crate::data) fn of(origin: O, bytes: Direct<'a>, copying: Copying, caller: Caller, looks: u32) -> Self {
        AtOnce { origin, bytes, copying, caller, looks: Cell::new(looks), sleepers: Cell::new(false) }
    }

    /// `new`, where all that has to be looked at.
    #[inline(always)]
    pub(in crate::data) fn find(origin: O, copying: Copying, caller: Caller) -> Option<Self> {
        let words = origin.words();
        let is_fit = words.offset().is_multiple_of(ALIGNMENT) && words.are_simple();
        if is_fit { Self::new(origin, copying, caller, 0) } else { None }
    }

    /// Whether the caller has to wake somebody.
    #[inline(always)]
    pub(in crate::data) fn has_sleepers(&self) -> bool {
        self.sleepers.get()
    }

    /// Whether everything that was done stands: no page was lost meanwhile.
    #[inline(always)]
    pub(in crate::data) fn has_stayed_intact(&self) -> bool {
        self.origin.stand()
    }
}

#[inline(always)]
fn done(is_done: bool) -> Result<()> {
    if is_done { Ok(()) } else { Err(Fault) }
}

#[inline(always)]
fn put<W: Word>(bytes: Direct, offset: u64, value: W, order: Ordering) -> Result<()> {
    // A released store is enough for all but SeqCst.
    done(if matches!(order, Ordering::SeqCst) { bytes.store(offset, value) } else { bytes.put(offset, value) })
}

/// What there is still to do about a lock. It is told of its words piece by piece, so that they stay in registers where this
/// is not called.
#[inline(always)]
fn patiently(words: Words, act: fn(Words) -> crate::error::Result<()>) -> Result<()> {
    #[cold]
    #[inline(never)]
    fn run(
        mapping: &Mapping,
        offset: u64,
        is_writable: bool,
        act: fn(Words) -> crate::error::Result<()>,
    ) -> Result<()> {
        let words = Words::find(mapping, offset, Mutex::SIZE, is_writable).ok_or(Fault)?;
        act(words).map_err(|_| Fault)
    }
    run(words.mapping(), words.offset(), words.is_writable(), act)
}

/// What has become of a lock that was freed.
#[inline(always)]
fn unlocked(words: Words, freed: mutex::AtOnce) -> Result<()> {
    match freed {
        mutex::AtOnce::Done => Ok(()),
        mutex::AtOnce::Hindered => patiently(words, unlock_patiently),
        mutex::AtOnce::Doubtful => patiently(words, mutex::check_freed),
    }
}

/// By value, so that the object stays in registers where it is not called.
#[cold]
#[inline(never)]
fn rouse<'a>(origin: impl Origin<'a>, offset: u64) {
    let word = origin.words().word::<u32>(offset as usize);
    // What they wait for is done; a sleeper that is not woken looks by itself.
    if word.store(0).is_ok() {
        let _ = word.wake(u32::MAX);
    }
}

impl<'a, O: Origin<'a>, const LOCKS: bool> Memory for AtOnce<'a, O, LOCKS> {
    const IS_PATIENT: bool = false;

    #[inline(always)]
    fn length(&self) -> u64 {
        self.bytes.length()
    }

    #[inline(always)]
    fn is_writable(&self) -> bool {
        self.bytes.is_writable()
    }

    #[inline(always)]
    fn load_u32(&self, offset: u64, _: Ordering) -> Result<u32> {
        self.bytes.load(offset).ok_or(Fault)
    }

    #[inline(always)]
    fn load_u64(&self, offset: u64, _: Ordering) -> Result<u64> {
        self.bytes.load(offset).ok_or(Fault)
    }

    #[inline(always)]
    fn store_u32(&self, offset: u64, value: u32, order: Ordering) -> Result<()> {
        put(self.bytes, offset, value, order)
    }

    #[inline(always)]
    fn store_u64(&self, offset: u64, value: u64, order: Ordering) -> Result<()> {
        put(self.bytes, offset, value, order)
    }

    #[inline(always)]
    fn compare_swap_u32(&self, offset: u64, expected: u32, desired: u32) -> Result<u32> {
        self.bytes.compare_swap(offset, expected, desired).ok_or(Fault)
    }

    #[inline(always)]
    fn compare_swap_u64(&self, offset: u64, expected: u64, desired: u64) -> Result<u64> {
        self.bytes.compare_swap(offset, expected, desired).ok_or(Fault)
    }

    #[inline(always)]
    fn is_zero_u32(&self, offset: u64, _: Ordering) -> bool {
        self.bytes.is_zero::<u32>(offset)
    }

    #[inline(always)]
    fn is_u64(&self, offset: u64, expected: u64, _: Ordering) -> bool {
        self.bytes.is(offset, expected)
    }

    #[inline(always)]
    fn store_and_bump(&self, offset: u64, value: u64, by: u64) -> Result<()> {
        done(self.bytes.put_and_bump(offset, value, by))
    }

    #[inline(always)]
    fn copy_in(&self, offset: u64, from: Source) -> Result<()> {
        done(self.bytes.copy_in(offset, from, self.copying))
    }

    #[inline(always)]
    fn put_record(&self, offset: u64, word: u64, message: Source) -> Result<()> {
        done(self.bytes.put_record(offset, word, message, self.copying))
    }

    #[inline(always)]
    fn take_record(
        &self,
        offset: u64,
        most: u64,
        buffer: Destination,
        moments: impl FnOnce() -> u64,
    ) -> Result<core::result::Result<(u64, bool), u64>> {
        self.bytes.take_record(offset, most, buffer, self.copying, self.looks.get(), moments).ok_or(Fault)
    }

    #[inline(always)]
    fn expect_write(&self, offset: u64, length: u64) {
        self.bytes.expect_write(offset, length);
    }

    #[inline(always)]
    fn expect_read(&self, offset: u64, length: u64) {
        self.bytes.expect_read(offset, length);
    }

    #[inline(always)]
    fn copy_out(&self, offset: u64, to: Destination) -> Result<()> {
        done(self.bytes.copy_out(offset, to, self.copying))
    }

    fn zero(&self, _: u64, _: u64) -> Result<()> {
        Err(Fault)
    }

    #[inline(always)]
    fn check(&self, _: u64, _: u64) -> Result<()> {
        done(self.has_stayed_intact())
    }

    #[inline(always)]
    fn fence(&self, order: Ordering) {
        fence(order);
    }

    #[inline(always)]
    fn light_fence(&self) {
        // Who writes at once has asked whether it is: a lock's note is there only then, and so with a queue's handle.
        asymmetric::free_light();
    }

    fn heavy_fence(&self) {
        asymmetric::heavy_for_all();
    }

    #[inline(always)]
    fn spins(&self, moments: u64) -> bool {
        let Some(left) = self.looks.get().checked_sub(1) else { return false };
        self.looks.set(left);
        moment::pass(moments);
        true
    }

    #[inline(always)]
    fn await_u64(&self, offset: u64, moments: impl FnOnce() -> u64) -> u64 {
        self.bytes.await_u64(offset, self.looks.get(), moments)
    }

    fn pause(&self) {
        moment::pass(1);
    }

    fn now(&self) -> u64 {
        wait::now_ns()
    }

    fn wait(&self, _: u64, _: u32, _: u64) -> Result<Woken> {
        Err(Fault)
    }

    fn wake(&self, offset: u64) -> Result<()> {
        rouse(self.origin, offset);
        Ok(())
    }

    #[inline(always)]
    fn rouse(&self, offset: u64) -> Result<()> {
        if LOCKS {
            rouse(self.origin, offset);
        } else {
            hazard::seldom();
            self.sleepers.set(true);
        }
        Ok(())
    }
}

impl<'a, O: Origin<'a>, const LOCKS: bool> Liveness for AtOnce<'a, O, LOCKS> {
    #[inline(always)]
    fn me(&self) -> u32 {
        participant(self.origin.words())
    }

    fn is_alive(&self, _: u32) -> Result<bool> {
        Err(Fault)
    }
}

impl<'a, O: Origin<'a>, const LOCKS: bool> Locks for AtOnce<'a, O, LOCKS> {
    const HAS_LOCKS: bool = LOCKS;

    fn init_lock(&self, _: u64) -> Result<()> {
        Err(Fault)
    }

    #[inline(always)]
    fn lock(&self, offset: u64, _: impl FnOnce() -> Option<Duration>) -> core::result::Result<(), Failure> {
        let Some(words) = self.origin.words().find_part(offset, Mutex::SIZE) else { return Err(Failure::Access) };
        match Mutex::lock_at_once(words, self.caller) {
            mutex::AtOnce::Done => Ok(()),
            mutex::AtOnce::Hindered => Err(Failure::TimedOut),
            mutex::AtOnce::Doubtful => Ok(patiently(words, mutex::check_taken)?),
        }
    }

    #[inline(always)]
    fn unlock(&self, offset: u64) -> Result<()> {
        let words = self.origin.words().find_part(offset, Mutex::SIZE).ok_or(Fault)?;
        unlocked(words, Mutex::unlock_at_once(words.mapping(), words.offset(), words.is_writable(), self.caller))
    }

    /// Whether the lock's page was lost meanwhile is asked together with all else: `has_stayed_intact`.
    #[inline(always)]
    fn locked<T>(
        &self,
        offset: u64,
        _: impl FnOnce() -> Option<Duration>,
        act: impl FnOnce() -> core::result::Result<T, Failure>,
    ) -> core::result::Result<T, Failure> {
        let words = self.origin.words().find_part(offset, Mutex::SIZE).ok_or(Failure::Access)?;
        let taken = Taken::take(words, self.caller).ok_or(Failure::TimedOut)?;
        let done = act();
        unlocked(words, taken.free())?;
        done
    }

    #[inline(always)]
    fn thread(&self) -> u32 {
        held::at_once(self.caller).map_or(0, |held| held.thread() as u32)
    }
}
