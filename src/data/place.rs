//! The memory of a region, as the protocols use it.
//!
//! Decision: why an access failed is kept aside, and the protocols carry one bit about it: so that their results stay in
//! registers.

mod at_once;

use super::failure::Failure;
use super::memory::{Fault, Liveness, Locks, Memory, Woken};
use crate::error::{Error, Problem, Result};
use crate::mem::atomic::{Ordering, fence};
use crate::mem::buffer::{Copying, Destination, Source};
use crate::mem::hazard::Caller;
use crate::mem::moment;
use crate::mem::pinned::Pinned;
use crate::mem::presence::{Membership, Presence};
use crate::mem::word::{Atomic, Operation, Word, Words};
use crate::mem::{fence as asymmetric, held};
use crate::sync::liveness;
use crate::sync::mutex::{self, Locked, Mutex};
use crate::sync::wait;
pub(super) use at_once::AtOnce;
use std::cell::Cell;
use std::time::Duration;

/// What cells and queues stand at a multiple of.
pub(super) const ALIGNMENT: u64 = 64;
/// So often in a row the kernel may find no page where this process finds one, before it counts as a failure.
const PATIENCE: u32 = 32;

/// What has the words of an object.
pub(super) trait Holder {
    fn words(&self) -> Words<'_>;
}

impl Holder for Words<'_> {
    #[inline(always)]
    fn words(&self) -> Words<'_> {
        *self
    }
}

impl Holder for Pinned {
    #[inline(always)]
    fn words(&self) -> Words<'_> {
        Pinned::words(self)
    }
}

/// EINVAL: an object that begins at this offset would be misaligned.
pub(super) fn check_alignment(offset: u64, object: &'static str) -> Result<()> {
    if offset.is_multiple_of(ALIGNMENT) {
        return Ok(());
    }
    Err(Error::Misaligned { offset, alignment: ALIGNMENT, object })
}

/// The bytes of an object in a region, during a call.
pub(super) struct InRegion<W> {
    pub(super) holder: W,
    /// What messages call it.
    kind: &'static str,
    /// Whether accesses need not look for lost pages, since `told` does at the end.
    is_plain: Cell<bool>,
    /// Why the last access failed.
    why: Cell<Option<Box<Error>>>,
    faults: Cell<u32>,
}

impl<W: Holder> InRegion<W> {
    /// For a call that finds out what is in its way. EINVAL: misaligned, or copy-on-write.
    pub(super) fn new(holder: W, kind: &'static str, object: &'static str) -> Result<InRegion<W>> {
        let offset = holder.words().offset();
        check_alignment(offset, object)?;
        holder.words().word::<u32>(0).meeting_place()?;
        let (is_plain, why, faults) = (Cell::new(false), Cell::new(None), Cell::new(0));
        let place = InRegion { holder, kind, is_plain, why, faults };
        place.begin();
        Ok(place)
    }

    /// A call begins, on whatever thread.
    #[inline(always)]
    pub(super) fn begin(&self) {
        let words = self.holder.words();
        self.is_plain.set(words.is_bearable() && words.are_intact());
    }

    /// Whether everything that was done stands: no page was lost meanwhile, or each access has looked.
    #[inline(always)]
    pub(super) fn has_stayed_intact(&self) -> bool {
        !self.is_plain.get() || self.holder.words().are_intact()
    }

    /// Refuses a change of an object that may only be read.
    pub(super) fn check_writable(&self, change: &'static str) -> Result<()> {
        if self.holder.words().is_writable() { Ok(()) } else { Err(Error::read_only_object(change)) }
    }

    /// This process becomes a participant; from now on the others see it live.
    pub(super) fn join(&self) -> Result<Membership> {
        let mapping = self.holder.words().mapping();
        liveness::participant(mapping)?;
        mapping.presence_at_once().and_then(Presence::membership).ok_or(Error::Internal)
    }

    /// What an operation gave, with the whole error.
    #[inline(always)]
    pub(super) fn told<T>(&self, result: core::result::Result<T, Failure>) -> Result<T> {
        match result {
            Ok(value) if self.has_stayed_intact() => Ok(value),
            Ok(value) => self.holder.words().check(0, self.length()).map(|()| value),
            Err(failure) => Err(self.error(failure)),
        }
    }

    #[cold]
    fn error(&self, failure: Failure) -> Error {
        let words = self.holder.words();
        let offset = words.offset();
        match failure {
            Failure::Access => self.why.take().map_or(Error::Internal, |why| *why),
            Failure::Is(problem) => Error::Object { kind: self.kind, offset, problem },
            Failure::OutOfRange { needed } => {
                Error::OutOfRange { offset, length: needed, limit: words.mapping().length() }
            }
            Failure::TimedOut => Error::Object { kind: self.kind, offset, problem: Problem::OutOfTime },
            Failure::Interrupted => Error::Interrupted,
        }
    }

    #[cold]
    fn keep(&self, error: Error) -> Fault {
        self.why.set(Some(Box::new(error)));
        Fault
    }

    #[inline(always)]
    fn perform<T: Word>(&self, offset: u64, operation: Operation<T>) -> core::result::Result<T, Fault> {
        let words = self.holder.words();
        let word = words.word::<T>(offset as usize);
        if self.is_plain.get()
            && let Some(value) = word.perform_plainly(operation)
        {
            return Ok(value);
        }
        self.perform_patiently(word, operation)
    }

    #[cold]
    #[inline(never)]
    fn perform_patiently<T: Word>(
        &self,
        word: Atomic<'_, T>,
        operation: Operation<T>,
    ) -> core::result::Result<T, Fault> {
        word.perform(operation).map_err(|error| self.keep(error))
    }

    /// An attempt on a lock, if accesses need not look for lost pages.
    #[inline(always)]
    fn at_once(&self, attempt: impl FnOnce(Caller) -> mutex::AtOnce) -> mutex::AtOnce {
        match Caller::known() {
            Some(caller) if self.is_plain.get() => attempt(caller),
            _ => mutex::AtOnce::Hindered,
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_patiently(&self, words: Words<'_>, timeout: Option<Duration>) -> core::result::Result<(), Failure> {
        let locked = Mutex::at(words).and_then(|mutex| match mutex.lock(timeout)? {
            Locked::Clean => Ok(()),
            // Who has the lock looks how things stand, so that nothing is to be repaired.
            Locked::OwnerDied => mutex.recover().inspect_err(|_| drop(mutex.unlock())),
        });
        locked.map_err(|error| match error {
            Error::TimedOut => Failure::TimedOut,
            Error::Interrupted => Failure::Interrupted,
            Error::Object { problem: Problem::HeldAlready, .. } => Failure::Is(Problem::InUseByThread),
            Error::Object { problem: problem @ (Problem::Making | Problem::StillHeld { .. }), .. } => {
                Failure::Is(problem)
            }
            // The lock is a part of the object, and has its version; and it was changed since it was taken.
            Error::Object { .. } => Failure::Is(Problem::Missing),
            error => self.keep(error).into(),
        })
    }
}

#[cold]
#[inline(never)]
fn unlock_patiently(words: Words) -> Result<()> {
    Mutex::unlock_at(words).or_else(|error| {
        // Not this thread's, or its bytes are gone: nobody of this process has it any more.
        held::abandon_in(words.mapping(), words.offset()..words.offset() + words.length());
        if matches!(error, Error::Object { .. }) { Ok(()) } else { Err(error) }
    })
}

/// This process among the participants; 0 as long as it is none.
#[inline(always)]
fn participant(words: Words) -> u32 {
    let presence = words.mapping().presence_at_once();
    presence.and_then(|presence| presence.participant()).map_or(0, |participant| participant.get())
}

impl<W: Holder> Memory for InRegion<W> {
    const IS_PATIENT: bool = true;

    #[inline(always)]
    fn length(&self) -> u64 {
        self.holder.words().length()
    }

    #[inline(always)]
    fn is_writable(&self) -> bool {
        self.holder.words().is_writable()
    }

    #[inline(always)]
    fn load_u32(&self, offset: u64, _: Ordering) -> core::result::Result<u32, Fault> {
        self.perform(offset, Operation::Load)
    }

    #[inline(always)]
    fn load_u64(&self, offset: u64, _: Ordering) -> core::result::Result<u64, Fault> {
        self.perform(offset, Operation::Load)
    }

    #[inline(always)]
    fn store_u32(&self, offset: u64, value: u32, order: Ordering) -> core::result::Result<(), Fault> {
        self.perform(offset, store(value, order)).map(drop)
    }

    #[inline(always)]
    fn store_u64(&self, offset: u64, value: u64, order: Ordering) -> core::result::Result<(), Fault> {
        self.perform(offset, store(value, order)).map(drop)
    }

    #[inline(always)]
    fn compare_swap_u32(&self, offset: u64, expected: u32, desired: u32) -> core::result::Result<u32, Fault> {
        self.perform(offset, Operation::CompareSwap { expected, desired })
    }

    #[inline(always)]
    fn compare_swap_u64(&self, offset: u64, expected: u64, desired: u64) -> core::result::Result<u64, Fault> {
        self.perform(offset, Operation::CompareSwap { expected, desired })
    }

    #[inline(always)]
    fn copy_in(&self, offset: u64, from: Source) -> core::result::Result<(), Fault> {
        let words = self.holder.words();
        if self.is_plain.get() && words.copy_in_plainly(offset, from, Copying::Any) {
            return Ok(());
        }
        words.copy_in(offset, from).map_err(|error| self.keep(error))
    }

    #[inline(always)]
    fn copy_out(&self, offset: u64, mut to: Destination) -> core::result::Result<(), Fault> {
        let words = self.holder.words();
        if self.is_plain.get() && words.copy_out_plainly(offset, to.again(), Copying::Any) {
            return Ok(());
        }
        words.copy_out(offset, to).map_err(|error| self.keep(error))
    }

    fn zero(&self, offset: u64, length: u64) -> core::result::Result<(), Fault> {
        self.holder.words().zero(offset, length).map_err(|error| self.keep(error))
    }

    #[inline(always)]
    fn check(&self, offset: u64, length: u64) -> core::result::Result<(), Fault> {
        self.holder.words().check(offset, length).map_err(|error| self.keep(error))
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
        self.begin();
        moment::pass(1);
    }

    fn now(&self) -> u64 {
        wait::now_ns()
    }

    fn wait(&self, offset: u64, expected: u32, until: u64) -> core::result::Result<Woken, Fault> {
        let address = self.holder.words().word::<u32>(offset as usize).meeting_place();
        let slept = address.and_then(|address| wait::sleep_until(address, expected, until));
        self.begin();
        match slept {
            Ok(wait::Woken::NoPage) if self.faults.get() < PATIENCE => {
                self.faults.set(self.faults.get() + 1);
                Ok(Woken::Awake)
            }
            Ok(wait::Woken::NoPage) => Err(self.keep(wait::no_page())),
            Ok(_) => {
                self.faults.set(0);
                Ok(Woken::Awake)
            }
            Err(Error::Interrupted) => Ok(Woken::BySignal),
            Err(error) => Err(self.keep(error)),
        }
    }

    fn wake(&self, offset: u64) -> core::result::Result<(), Fault> {
        // What they wait for is done; a sleeper that is not woken looks by itself.
        let _ = self.holder.words().word::<u32>(offset as usize).wake(u32::MAX);
        Ok(())
    }
}

/// Released stores are enough for all but SeqCst.
#[inline(always)]
fn store<T: Word>(value: T, order: Ordering) -> Operation<T> {
    if matches!(order, Ordering::SeqCst) { Operation::Store(value) } else { Operation::Put(value) }
}

impl<W: Holder> Liveness for InRegion<W> {
    #[inline(always)]
    fn me(&self) -> u32 {
        participant(self.holder.words())
    }

    fn is_alive(&self, participant: u32) -> core::result::Result<bool, Fault> {
        liveness::is_alive(self.holder.words().mapping(), participant).map_err(|error| self.keep(error))
    }
}

impl<W: Holder> Locks for InRegion<W> {
    const HAS_LOCKS: bool = true;

    fn init_lock(&self, offset: u64) -> core::result::Result<(), Fault> {
        Mutex::init(self.holder.words().part(offset, Mutex::SIZE)).map_err(|error| self.keep(error))
    }

    #[inline(always)]
    fn lock(&self, offset: u64, timeout: impl FnOnce() -> Option<Duration>) -> core::result::Result<(), Failure> {
        let words = self.holder.words();
        let words = words.part(offset, Mutex::SIZE);
        match self.at_once(|caller| Mutex::lock_at_once(words, caller)) {
            mutex::AtOnce::Done => Ok(()),
            mutex::AtOnce::Hindered => self.lock_patiently(words, timeout()),
            mutex::AtOnce::Doubtful => Ok(mutex::check_taken(words).map_err(|error| self.keep(error))?),
        }
    }

    #[inline(always)]
    fn unlock(&self, offset: u64) -> core::result::Result<(), Fault> {
        let words = self.holder.words();
        let words = words.part(offset, Mutex::SIZE);
        let unlocked = match self
            .at_once(|caller| Mutex::unlock_at_once(words.mapping(), words.offset(), words.is_writable(), caller))
        {
            mutex::AtOnce::Done => Ok(()),
            mutex::AtOnce::Hindered => unlock_patiently(words),
            mutex::AtOnce::Doubtful => mutex::check_freed(words),
        };
        unlocked.map_err(|error| self.keep(error))
    }

    #[inline(always)]
    fn thread(&self) -> u32 {
        held::mine().map_or(0, |held| held.thread() as u32)
    }
}
