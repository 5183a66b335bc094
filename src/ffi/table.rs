//! The token table: turns tokens into objects, on any thread at any time, and finds every token that names none.
//!
//! Decision: each slot has one word, which tells all about it:
//! | word | the slot is | a call with the slot's token | goes to |
//! | --- | --- | --- | --- |
//! | `generation` | vacant; that was the last generation | is stale | open, by `insert` |
//! | the token itself | open | uses the object | held, by `exclusive` |
//! | `HELD`, thread number, `generation` | held exclusively by that thread | waits | open, or vacant, by that thread |
//!
//! A call publishes its token in a hazard cell, then compares the word with the token: one comparison for slot,
//! generation and openness (its kind was looked at before: without that a forged token could equal a word that is not
//! open). `exclusive` makes the word held, then waits until no hazard cell names the token. That no call slips through
//! is the asymmetric fence's work (fence.rs): a call that found the word open had published before the heavy fence, and
//! is seen; a call that had not, finds the word held. Generations are never reused: a slot that has had 2^32 - 1 of
//! them is never vacant again.

mod turn;

use crate::ffi::token::{Kind, SLOT_BITS, Token};
use crate::mem::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::mem::backoff::{Backoff, Waited};
use crate::mem::hazard::{self, Blocked, Caller, Count, Fate, Hazard, NoRecord, ThreadNumber};
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr;
use turn::Turn;

const SLOTS_PER_CHUNK: usize = if cfg!(loom) { 2 } else { 1024 };
const CHUNKS: usize = (1 << SLOT_BITS) / SLOTS_PER_CHUNK;
/// In a slot's word: held exclusively. No token has this bit.
const HELD: u64 = 1 << 63;

/// No slot is left, or no memory for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableFull;

/// Why a token gives no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It names no open object of this kind.
    Stale,
    /// Waiting would be for ever, or for very long: this is a signal handler that interrupted a call on the
    /// object or any exclusive access; or a call sleeps in the object.
    Busy,
    /// The kernel has no memory for this thread's hazard cells.
    NoMemory,
}

impl From<NoRecord> for Refused {
    fn from(NoRecord: NoRecord) -> Refused {
        Refused::NoMemory
    }
}

impl From<Blocked> for Refused {
    fn from(Blocked: Blocked) -> Refused {
        Refused::Busy
    }
}

/// One place for an object, in a line of its own: a neighbour that comes or goes does not disturb it.
#[repr(C, align(64))]
struct Slot<T> {
    /// See the table at the module's head.
    word: AtomicU64,
    /// The slot below this one in the stack of vacant slots, plus one; 0 at the bottom.
    below: AtomicU32,
    turn: Turn,
    /// Initialised while the slot is open or held.
    object: UnsafeCell<MaybeUninit<T>>,
}

/// What the word says about one token.
enum State {
    Open,
    Held(ThreadNumber),
    Stale,
}

impl<T> Slot<T> {
    fn vacant() -> Slot<T> {
        let object = UnsafeCell::new(MaybeUninit::uninit());
        Slot { word: AtomicU64::new(0), below: AtomicU32::new(0), turn: Turn::new(), object }
    }

    #[inline(always)]
    fn is_open(&self, token: Token) -> bool {
        // ORDER: Acquire, partner: as in `state`.
        self.word.load(Ordering::Acquire) == token.0
    }

    #[inline(always)]
    fn state(&self, token: Token) -> State {
        // ORDER: Acquire, partner: the Release stores in `insert`, `Exclusive::drop` and `Exclusive::remove`.
        let word = self.word.load(Ordering::Acquire);
        if word == token.0 {
            State::Open
        } else if word & HELD != 0 && word as u32 == token.generation() {
            State::Held(ThreadNumber((word >> 32) as u32 & (u32::MAX >> 1)))
        } else {
            State::Stale
        }
    }
}

/// All objects of one type. It grows and never shrinks, and it is a static: slots stay for ever where they are.
pub(crate) struct Table<T: Kind> {
    chunks: [AtomicPtr<[Slot<T>; SLOTS_PER_CHUNK]>; CHUNKS],
    vacancies: Vacancies,
}

/// Where the next object goes, away from the lines that every call reads.
#[repr(align(128))]
struct Vacancies {
    /// A stack of slots that were used before: pushes so far (40 bits, against ABA), top slot plus one (24 bits).
    stack: AtomicU64,
    /// How many slots were ever used. Each chunk is used from its end: it begins near a page's beginning, and so do the
    /// bytes of regions. A processor that compares the low twelve bits of addresses first would have the next call wait
    /// for its slot until what the last one wrote has left the store buffer.
    fresh: AtomicU32,
}

impl Vacancies {
    const TOP_MASK: u64 = (1 << 24) - 1;

    /// The value of `stack` after a change of its top.
    fn with_top(stack: u64, top: u32) -> u64 {
        (stack & !Self::TOP_MASK).wrapping_add(Self::TOP_MASK + 1) | u64::from(top)
    }
}

// SAFETY: the table hands out `&T` on many threads (T: Sync) and moves T between threads (T: Send); who may touch
// `object` when is decided by the slot's word and the hazard cells, as the module's head says.
unsafe impl<T: Kind> Sync for Table<T> {}

impl<T: Kind> Table<T> {
    /// An empty table.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Table<T> {
        Table {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            vacancies: Vacancies { stack: AtomicU64::new(0), fresh: AtomicU32::new(0) },
        }
    }

    /// An empty table.
    #[cfg(loom)]
    pub(crate) fn new() -> Table<T> {
        Table {
            chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            vacancies: Vacancies { stack: AtomicU64::new(0), fresh: AtomicU32::new(0) },
        }
    }

    /// Stores `value` under a token that never was before. Allocates; not for signal handlers.
    pub(crate) fn insert(&'static self, value: T) -> Result<Token, TableFull> {
        hazard::start().map_err(|NoRecord| TableFull)?;
        let (index, slot) = match self.pop() {
            Some(used) => used,
            None => self.fresh_slot()?,
        };
        // ORDER: Relaxed: `pop` has acquired the slot from the thread that vacated it.
        let generation = slot.word.load(Ordering::Relaxed) as u32 + 1;
        // SAFETY: the slot is vacant and off the stack: this thread alone has it, and no call's token equals its word.
        unsafe { slot.object.get().write(MaybeUninit::new(value)) };
        let token = Token::new::<T>(index, generation);
        // ORDER: Release, partner: the loads of the word in `state` and `exclusive`: the object is whole before it can
        // be found.
        slot.word.store(token.0, Ordering::Release);
        Ok(token)
    }

    /// Enters a call on the object: until the value is dropped, the object stays, and nobody changes it. Waits while
    /// another thread has it exclusively. Async-signal-safe.
    #[inline]
    pub(crate) fn enter(&'static self, token: Token) -> Result<Entered<T>, Refused> {
        match self.enter_at_once(T::PLACE, token) {
            Some(entered) => Ok(entered),
            None => Self::enter_with_patience(self.slot(token).ok_or(Refused::Stale)?, token),
        }
    }

    /// `enter`, if nothing is in its way; the slot is remembered at that place. Async-signal-safe.
    #[inline(always)]
    pub(crate) fn enter_at_once(&'static self, place: usize, token: Token) -> Option<Entered<T>> {
        let hazard = Hazard::publish_at_once(token.0)?;
        let slot = match Self::remembered(place, token, hazard.caller) {
            Some(slot) => slot,
            None => {
                let slot = self.slot(token).filter(|slot| slot.is_open(token))?;
                hazard.caller.remember(place, ptr::from_ref(slot).cast_mut().cast());
                slot
            }
        };
        Some(Entered { slot, hazard })
    }

    /// The token's slot, if it is open and the calling thread has used no other since.
    #[inline(always)]
    fn remembered(place: usize, token: Token, caller: Caller) -> Option<&'static Slot<T>> {
        let last = caller.remembered(place);
        // SAFETY: null, or a slot of some type, which stays for ever where it is; its word comes first.
        let word: Option<&AtomicU64> = unsafe { last.cast::<AtomicU64>().as_ref() };
        // ORDER: Acquire, partner: as in `state`.
        let is_its = word.is_some_and(|word| word.load(Ordering::Acquire) == token.0);
        // SAFETY: only a slot of this type has a word that is this token.
        is_its.then(|| unsafe { &*last.cast::<Slot<T>>() })
    }

    /// `enter` for a thread's first call, for calls inside calls, and for tokens that are held or stale.
    #[cold]
    fn enter_with_patience(slot: &'static Slot<T>, token: Token) -> Result<Entered<T>, Refused> {
        let waiter = slot.turn.of(hazard::this_thread()?);
        loop {
            let hazard = Hazard::publish(token.0)?;
            if let State::Open = slot.state(token) {
                return Ok(Entered { slot, hazard });
            }
            drop(hazard);
            Self::wait_while_held(slot, token, || waiter.ask())?;
        }
    }

    /// Takes the object for this thread alone: waits for the calls that are in it, and those that come wait.
    /// Async-signal-safe.
    pub(crate) fn exclusive(&'static self, token: Token) -> Result<Exclusive<T>, Refused> {
        let slot = self.slot(token).ok_or(Refused::Stale)?;
        let mine = hazard::this_thread()?;
        let held = HELD | u64::from(mine.0) << 32 | u64::from(token.generation());
        let holding = loop {
            slot.turn.let_in(mine, || slot.is_open(token));
            let holding = hazard::holding();
            // ORDER: Acquire, partner: the Release stores of the word: as for `state`. The order towards the hazard
            // cells is made by the heavy fence in `drain`, partner: the light fence in `publish`. Relaxed on failure:
            // `state` looks again.
            let taken = slot.word.compare_exchange(token.0, held, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_ok() {
                break holding;
            }
            drop(holding);
            Self::wait_while_held(slot, token, || {})?;
        };
        let exclusive = Exclusive { table: self, slot, token, word_after: token.0, holding, not_send: PhantomData };
        hazard::drain(token.0)?;
        Ok(exclusive)
    }

    /// `Ok` when the token is open (again). Does `ask` each time that it is not.
    #[cold]
    fn wait_while_held(slot: &Slot<T>, token: Token, ask: impl Fn()) -> Result<(), Refused> {
        let mut backoff = Backoff::new();
        loop {
            let holder = match slot.state(token) {
                State::Open => return Ok(()),
                State::Stale => return Err(Refused::Stale),
                State::Held(holder) => holder,
            };
            if hazard::is_holding() {
                return Err(Refused::Busy);
            }
            ask();
            if backoff.wait() == Waited::Long {
                let fate = hazard::fate(holder);
                match slot.state(token) {
                    // Forked away in the middle: what the holder was about to do is half done for ever.
                    State::Held(same) if same == holder && fate == Fate::Gone => return Err(Refused::Stale),
                    State::Held(same) if same == holder && fate == Fate::Unknown => return Err(Refused::Busy),
                    _ => {}
                }
            }
        }
    }

    /// The slot that a token names, if it is of this kind and that slot was ever used. Says nothing about the
    /// generation.
    #[inline(always)]
    fn slot(&'static self, token: Token) -> Option<&'static Slot<T>> {
        self.slot_at(token.slot::<T>()?)
    }

    #[inline(always)]
    fn slot_at(&'static self, index: usize) -> Option<&'static Slot<T>> {
        // ORDER: Acquire, partner: the compare-and-swap in `fresh_slot`: the slots are vacant before they are
        // reachable.
        let chunk = self.chunks[index / SLOTS_PER_CHUNK].load(Ordering::Acquire);
        // SAFETY: null, or a chunk that `fresh_slot` leaked; only shared references to it are ever made.
        let chunk = unsafe { chunk.as_ref() }?;
        Some(&chunk[index % SLOTS_PER_CHUNK])
    }

    /// A slot that was never used.
    fn fresh_slot(&'static self) -> Result<(u32, &'static Slot<T>), TableFull> {
        loop {
            // ORDER: Relaxed: a number; the compare-and-swap below decides.
            let used = self.vacancies.fresh.load(Ordering::Relaxed);
            let index = used ^ (SLOTS_PER_CHUNK as u32 - 1);
            let chunk = self.chunks.get(index as usize / SLOTS_PER_CHUNK).ok_or(TableFull)?;
            let Some(slot) = self.slot_at(index as usize) else {
                Self::add_chunk(chunk)?;
                continue;
            };
            // ORDER: Relaxed: the slot was reached through `slot_at`, which acquired it; this only gives it to one
            // thread.
            if self.vacancies.fresh.compare_exchange(used, used + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok((index, slot));
            }
        }
    }

    /// Fills an empty place in `chunks`, unless another thread was faster.
    fn add_chunk(place: &AtomicPtr<[Slot<T>; SLOTS_PER_CHUNK]>) -> Result<(), TableFull> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(SLOTS_PER_CHUNK).map_err(|_| TableFull)?;
        slots.resize_with(SLOTS_PER_CHUNK, Slot::vacant);
        let chunk: Box<[Slot<T>; SLOTS_PER_CHUNK]> = slots.into_boxed_slice().try_into().map_err(|_| TableFull)?;
        let chunk = Box::into_raw(chunk);
        // ORDER: Release on success, partner: the load in `slot_at`. Relaxed on failure: nothing is read.
        if place.compare_exchange(ptr::null_mut(), chunk, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: it came from Box::into_raw above, and nobody else has seen it.
            drop(unsafe { Box::from_raw(chunk) });
        }
        Ok(())
    }

    /// Takes a slot off the stack (Treiber 1986).
    fn pop(&'static self) -> Option<(u32, &'static Slot<T>)> {
        // ORDER: Acquire, partner: the Release in `push`: the slot's word and `below` are those of its last push.
        let mut stack = self.vacancies.stack.load(Ordering::Acquire);
        loop {
            let index = ((stack & Vacancies::TOP_MASK) as u32).checked_sub(1)?;
            let slot = self.slot_at(index as usize)?;
            // ORDER: Relaxed: acquired with `stack`; if the slot was popped meanwhile the compare-and-swap fails.
            let below = slot.below.load(Ordering::Relaxed);
            // ORDER: Acquire, partner: the Release in `push`. It continues the release sequences of the pushes below.
            match self.vacancies.stack.compare_exchange_weak(
                stack,
                Vacancies::with_top(stack, below),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some((index, slot)),
                Err(now) => stack = now,
            }
        }
    }

    /// Lays a vacant slot on the stack.
    fn push(&self, index: u32, slot: &Slot<T>) {
        // ORDER: Relaxed: a first guess.
        let mut stack = self.vacancies.stack.load(Ordering::Relaxed);
        loop {
            // ORDER: Relaxed: published by the compare-and-swap.
            slot.below.store((stack & Vacancies::TOP_MASK) as u32, Ordering::Relaxed);
            // ORDER: Release, partner: the Acquire in `pop`.
            match self.vacancies.stack.compare_exchange_weak(
                stack,
                Vacancies::with_top(stack, index + 1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => stack = now,
            }
        }
    }
}

/// A call in progress on an object. To forget it without dropping it would keep the object for the thread's life.
pub(crate) struct Entered<T: Kind> {
    slot: &'static Slot<T>,
    /// Dropped last of all: the object is used no more.
    hazard: Hazard,
}

impl<T: Kind> Entered<T> {
    /// What keeps the object.
    #[cfg(not(loom))]
    pub(crate) fn hazard(&self) -> &Hazard {
        &self.hazard
    }

    /// This call is going to sleep: until the value is dropped, `exclusive` answers `Busy` instead of waiting for it.
    #[cfg_attr(any(not(test), loom), expect(dead_code, reason = "the calls that sleep say so further down"))]
    pub(crate) fn sleeping(&self) -> Count {
        hazard::asleep()
    }
}

impl<T: Kind> Deref for Entered<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the hazard is published and the word was found open after it: whoever holds the slot afterwards waits
        // in `drain` before making a `&mut`.
        let object = unsafe { &*self.slot.object.get() };
        // SAFETY: the word was open, so the object is initialised.
        unsafe { object.assume_init_ref() }
    }
}

/// An object that this thread has for itself. Dropping it lets the waiting calls in.
pub(crate) struct Exclusive<T: Kind> {
    table: &'static Table<T>,
    slot: &'static Slot<T>,
    token: Token,
    /// What the slot's word will be.
    word_after: u64,
    /// Dropped last of all: the object is with us no more.
    #[expect(dead_code, reason = "held for its drop")]
    holding: Count,
    /// The word names this thread.
    not_send: PhantomData<*const ()>,
}

impl<T: Kind> Exclusive<T> {
    /// Takes the object out. Its token is stale from now on, for those who wait too.
    pub(crate) fn remove(mut self) -> T {
        let Exclusive { table, slot, token, .. } = self;
        // SAFETY: the slot is held by this thread and drained: no reference to the object exists but ours.
        let object = unsafe { slot.object.get().read() };
        self.word_after = u64::from(token.generation());
        drop(self);
        if let Some(index) = token.slot::<T>()
            && token.generation() != u32::MAX
        {
            table.push(index as u32, slot);
        }
        // SAFETY: the slot was held, so the object was initialised; the vacant slot counts as uninitialised from now
        // on.
        unsafe { object.assume_init() }
    }
}

impl<T: Kind> Drop for Exclusive<T> {
    fn drop(&mut self) {
        // ORDER: Release, partner: the Acquire loads of the word: calls that find it open see what was changed, and who
        // reuses a vacant slot comes after the object was read out of it.
        self.slot.word.store(self.word_after, Ordering::Release);
    }
}

impl<T: Kind> Deref for Exclusive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: as in `deref_mut`.
        let object = unsafe { &*self.slot.object.get() };
        // SAFETY: the slot is held, so the object is initialised.
        unsafe { object.assume_init_ref() }
    }
}

impl<T: Kind> DerefMut for Exclusive<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the word is held by this thread since before `drain`, and `drain` saw every call that had found it
        // open leave.
        let object = unsafe { &mut *self.slot.object.get() };
        // SAFETY: the slot is held, so the object is initialised.
        unsafe { object.assume_init_mut() }
    }
}

/// What the tests look at and cannot see from outside.
#[cfg(all(test, not(loom)))]
impl<T: Kind> Table<T> {
    /// Makes the token's slot, which is vacant, as old as that.
    pub(crate) fn age_slot(&'static self, token: Token, generation: u32) {
        if let Some(slot) = self.slot(token) {
            // ORDER: Relaxed: the test has one thread.
            slot.word.store(u64::from(generation), Ordering::Relaxed);
        }
    }

    pub(crate) fn is_held(&'static self, token: Token) -> bool {
        self.slot(token).is_some_and(|slot| matches!(slot.state(token), State::Held(_)))
    }

    pub(crate) fn is_awaited(&'static self, token: Token) -> bool {
        self.slot(token).is_some_and(|slot| slot.turn.is_awaited())
    }

    /// Leaves the number of a thread that never comes in.
    pub(crate) fn await_as(&'static self, token: Token, thread: u32) {
        if let Some(slot) = self.slot(token) {
            slot.turn.of(hazard::ThreadNumber(thread)).leave_behind();
        }
    }

    pub(crate) fn open_count(&'static self) -> usize {
        let slots = (0..1 << SLOT_BITS).map_while(|index| self.slot_at(index));
        // ORDER: Relaxed: the other threads have been joined.
        slots.filter(|slot| slot.word.load(Ordering::Relaxed) >> 32 != 0).count()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
