//! Words of a mapping that are accessed atomically.
//!
//! Decision: no reference to mapped memory exists, and no atomic of the standard library stands in it: an access may
//! fault. An [`Atomic`] is a mapping and a place in it that was checked once, for bounds and alignment; each access goes
//! through `guard`.
//!
//! Decision: what is to be done is a value, an [`Operation`], so that the short way and the patient one say it once. Where
//! it is a constant, as in every caller, the choice is made by the compiler.
//!
//! Decision: an operation that has been done cannot be done again, unlike a copy. So pages that a view has lost are
//! looked for before it, too: zeros that stand there when it begins are an error and it does not happen. When a page is
//! lost during the operation, what it changed went with the page: it is an error as well, and may be repeated. What
//! nobody can tell is whether a page was lost and put back again, both within one operation: then it counts as done.
//!
//! Decision: on a thread that has SIGBUS blocked, where copies are done by system calls, the signal is unblocked for the
//! operation: the kernel has no call that does one, and to ask first whether the page is there would leave a moment in
//! which it can go.

use super::access::{Order, Side, finish};
use super::buffer::{Copying, Destination, Source};
use super::guard::Fault;
pub use super::guard::Word;
use super::hazard;
use super::mapping::{Mapping, Protector};
use super::span::Span;
use crate::error::{Error, Result};
use crate::sys::map::Sharing;
use crate::sys::signal::SigbusUnblocked;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// What to do with a word. Its result is what stood there before; for `Store`, what was stored.
#[derive(Clone, Copy)]
pub(crate) enum Operation<W> {
    Load,
    Store(W),
    /// As `Store`, but only released: later operations may be seen before it.
    Put(W),
    Swap(W),
    Add(W),
    And(W),
    Or(W),
    /// Stores `desired` where `expected` stands.
    CompareSwap {
        expected: W,
        desired: W,
    },
}

impl<W: Word> Operation<W> {
    /// Whether it needs a mapping that can be written.
    #[inline(always)]
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Operation::Load)
    }

    /// # Safety
    /// As the functions of `Word`.
    #[inline(always)]
    unsafe fn perform(self, at: *mut W) -> Result<W, Fault> {
        match self {
            // SAFETY: the caller's promise, in each.
            Operation::Load => unsafe { W::load(at) },
            // SAFETY: as above.
            Operation::Store(value) => unsafe { W::store(at, value) }.map(|()| value),
            // SAFETY: as above.
            Operation::Put(value) => {
                // SAFETY: as above.
                if unsafe { W::put(at, value) } { Ok(value) } else { Err(Fault) }
            }
            // SAFETY: as above.
            Operation::Swap(value) => unsafe { W::swap(at, value) },
            // SAFETY: as above.
            Operation::Add(value) => unsafe { W::add(at, value) },
            // SAFETY: as above.
            Operation::And(value) => unsafe { W::and(at, value) },
            // SAFETY: as above.
            Operation::Or(value) => unsafe { W::or(at, value) },
            // SAFETY: as above.
            Operation::CompareSwap { expected, desired } => unsafe { W::compare_swap(at, expected, desired) },
        }
    }
}

/// The bytes of an object in a region, which has words.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    mapping: &'a Mapping,
    /// The mapping's first page: it stays as long as the mapping is borrowed, and is not looked up for each access.
    base: NonNull<u8>,
    span: Span,
    is_writable: bool,
}

impl<'a> Words<'a> {
    /// What an object's offset is a multiple of.
    const ALIGNMENT: u64 = 8;

    /// The object of `length` bytes at `offset`, if the length of now has it and it is aligned there.
    #[inline(always)]
    pub(crate) fn find(mapping: &'a Mapping, offset: u64, length: u64, is_writable: bool) -> Option<Words<'a>> {
        let span = mapping.find(offset, length).filter(|_| offset.is_multiple_of(Self::ALIGNMENT))?;
        Some(Words::of(mapping, span, is_writable))
    }

    /// The object at `offset`, where `span` says whether the mapping has it.
    pub(crate) fn new(
        mapping: &'a Mapping,
        offset: u64,
        is_writable: bool,
        span: impl FnOnce() -> Result<Span>,
    ) -> Result<Words<'a>> {
        if mapping.protector() == Protector::SystemCalls {
            return Err(Error::Unguarded);
        }
        if !offset.is_multiple_of(Self::ALIGNMENT) {
            return Err(Error::Misaligned { offset, alignment: Self::ALIGNMENT, object: "a lock" });
        }
        Ok(Words::of(mapping, span()?, is_writable))
    }

    /// The word at `at`, counted from the object's first byte; the object has it, and it is aligned there.
    #[inline(always)]
    pub(crate) fn word<W: Word>(&self, at: usize) -> Atomic<'a, W> {
        assert!(at.is_multiple_of(size_of::<W>()));
        let span = self.span.part(at, size_of::<W>());
        Atomic { mapping: self.mapping, base: self.base, span, is_writable: self.is_writable, word: PhantomData }
    }

    /// Those of a span that was checked before; the region has no other protector than a seal or the handler.
    #[inline(always)]
    pub(super) fn of(mapping: &'a Mapping, span: Span, is_writable: bool) -> Words<'a> {
        Words { mapping, base: mapping.base(), span, is_writable }
    }

    /// The `length` bytes from `at` on; the object has them.
    #[inline(always)]
    pub(crate) fn part(&self, at: u64, length: u64) -> Words<'a> {
        Words { span: self.span.part(at as usize, length as usize), ..*self }
    }

    /// `part`, if the object has it.
    #[inline(always)]
    pub(crate) fn find_part(&self, at: u64, length: u64) -> Option<Words<'a>> {
        Some(Words { span: self.span.find_part(at as usize, length as usize)?, ..*self })
    }

    /// The first byte's address.
    #[inline(always)]
    pub(super) fn address(&self) -> *mut u8 {
        self.base.as_ptr().wrapping_add(self.span.start())
    }

    /// How many bytes there are.
    #[inline(always)]
    pub(crate) fn length(&self) -> u64 {
        self.span.length() as u64
    }

    /// Copies the bytes from `at` on out.
    pub(crate) fn copy_out(&self, at: u64, to: Destination) -> Result<()> {
        self.mapping.read(self.span.part(at as usize, to.length()), to)
    }

    /// The same, as `perform_plainly`; whether it was done.
    #[inline(always)]
    pub(crate) fn copy_out_plainly(&self, at: u64, to: Destination, how: Copying) -> bool {
        let span = self.span.find_part(at as usize, to.length());
        span.is_some_and(|span| self.mapping.read_plainly(span, to, how))
    }

    /// Copies bytes in from `at` on. The region is writable.
    pub(crate) fn copy_in(&self, at: u64, from: Source) -> Result<()> {
        self.mapping.write(self.span.part(at as usize, from.length()), from)
    }

    /// The same, as `perform_plainly`; whether it was done.
    #[inline(always)]
    pub(crate) fn copy_in_plainly(&self, at: u64, from: Source, how: Copying) -> bool {
        let span = self.span.find_part(at as usize, from.length());
        span.is_some_and(|span| self.mapping.write_plainly(span, from, how))
    }

    /// Sets the bytes from `at` on to zero. The region is writable.
    pub(crate) fn zero(&self, at: u64, length: u64) -> Result<()> {
        self.mapping.fill(self.span.part(at as usize, length as usize), 0)
    }

    /// Whether no page of these bytes stands as zeros for one that was lost.
    #[inline(always)]
    pub(crate) fn check(&self, at: u64, length: u64) -> Result<()> {
        let span = self.span.part(at as usize, length as usize);
        if self.mapping.lost.is_nothing() { Ok(()) } else { self.mapping.check(span) }
    }

    /// Whether accesses by a thread that bears their faults need not look at anything: no page of the mapping stands as
    /// zeros for one that was lost. To be asked before the first such access, and again after the last one.
    #[inline(always)]
    pub(crate) fn are_intact(&self) -> bool {
        self.are_direct() && self.stand()
    }

    /// Whether it is the thread itself that accesses them, not the kernel.
    #[inline(always)]
    pub(crate) fn are_direct(&self) -> bool {
        self.mapping.protector() != Protector::SystemCalls
    }

    /// Whether no page of the mapping stands as zeros for one that was lost.
    #[inline(always)]
    pub(crate) fn stand(&self) -> bool {
        self.mapping.lost.is_nothing()
    }

    /// Whether others see what is written, and the thread itself accesses the bytes; perhaps no where that is so by now.
    #[inline(always)]
    pub(crate) fn are_simple(&self) -> bool {
        self.mapping.is_simple
    }

    /// Whether the calling thread bears the faults of accesses at once.
    #[inline(always)]
    pub(crate) fn is_bearable(&self) -> bool {
        self.mapping.protector() == Protector::Seal || !hazard::blocks_sigbus()
    }

    #[inline(always)]
    pub(crate) fn mapping(&self) -> &'a Mapping {
        self.mapping
    }

    /// The first byte's offset in the region.
    #[inline(always)]
    pub(crate) fn offset(&self) -> u64 {
        self.span.start() as u64
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable
    }
}

/// A `u32` or `u64` of a region. Threads and processes that have the bytes mapped, at whatever addresses, access it
/// atomically, each operation sequentially consistent.
///
/// Each operation returns what stood there before.
///
/// # Errors
/// Each operation can fail, and then nothing has changed. EACCES: it writes, and the region is read-only. ENXIO, ENOSPC,
/// EIO: the word is not in the file any more, its page finds no room, or cannot be had from the device.
#[derive(Clone, Copy)]
pub struct Atomic<'a, W> {
    mapping: &'a Mapping,
    /// As in `Words`.
    base: NonNull<u8>,
    span: Span,
    is_writable: bool,
    word: PhantomData<W>,
}

impl<'a, W: Word> Atomic<'a, W> {
    /// Bytes of it, and what its offset is a multiple of.
    const SIZE: u64 = size_of::<W>() as u64;

    /// The word at `offset`, if the length of now has it and it is aligned there.
    #[inline(always)]
    pub(crate) fn find(mapping: &'a Mapping, offset: u64, is_writable: bool) -> Option<Atomic<'a, W>> {
        // The mapping starts on a page.
        let span = mapping.find(offset, Self::SIZE).filter(|_| offset.is_multiple_of(Self::SIZE))?;
        Some(Atomic { mapping, base: mapping.base(), span, is_writable, word: PhantomData })
    }

    /// The word at `offset`, where `span` says whether the mapping has it.
    pub(crate) fn new(
        mapping: &'a Mapping,
        offset: u64,
        is_writable: bool,
        span: impl FnOnce(u64, u64) -> Result<Span>,
    ) -> Result<Atomic<'a, W>> {
        if mapping.protector() == Protector::SystemCalls {
            return Err(Error::Unguarded);
        }
        if !offset.is_multiple_of(Self::SIZE) {
            let object = if Self::SIZE == 4 { "a u32" } else { "a u64" };
            return Err(Error::Misaligned { offset, alignment: Self::SIZE, object });
        }
        Ok(Atomic { mapping, base: mapping.base(), span: span(offset, Self::SIZE)?, is_writable, word: PhantomData })
    }

    /// The value.
    #[inline]
    pub fn load(&self) -> Result<W> {
        self.perform(Operation::Load)
    }

    /// Stores `value`.
    #[inline]
    pub fn store(&self, value: W) -> Result<()> {
        self.perform(Operation::Store(value)).map(drop)
    }

    /// Stores `value`.
    #[inline]
    pub fn swap(&self, value: W) -> Result<W> {
        self.perform(Operation::Swap(value))
    }

    /// Adds `value`, wrapping around.
    #[inline]
    pub fn add(&self, value: W) -> Result<W> {
        self.perform(Operation::Add(value))
    }

    /// Keeps only the bits of `value`.
    #[inline]
    pub fn and(&self, value: W) -> Result<W> {
        self.perform(Operation::And(value))
    }

    /// Sets the bits of `value`.
    #[inline]
    pub fn or(&self, value: W) -> Result<W> {
        self.perform(Operation::Or(value))
    }

    /// Stores `desired` where `expected` stands; it has done so if what it returns equals `expected`.
    #[inline]
    pub fn compare_swap(&self, expected: W, desired: W) -> Result<W> {
        self.perform(Operation::CompareSwap { expected, desired })
    }

    /// Does the operation, or says why not.
    #[inline]
    pub(crate) fn perform(&self, operation: Operation<W>) -> Result<W> {
        let bears_sigbus = self.mapping.protector() == Protector::Seal || !hazard::blocks_sigbus();
        match bears_sigbus.then(|| self.perform_at_once(operation)).flatten() {
            Some(value) => Ok(value),
            None => self.perform_patiently(operation),
        }
    }

    /// Does the operation, if nothing at all is in its way; otherwise it has not happened. The calling thread bears
    /// SIGBUS.
    #[inline(always)]
    pub(crate) fn perform_at_once(&self, operation: Operation<W>) -> Option<W> {
        let mapping = self.mapping;
        let is_hindered = mapping.protector() == Protector::SystemCalls || !mapping.lost.is_nothing();
        if is_hindered || operation.writes() && !self.is_writable {
            hazard::seldom();
            return None;
        }
        // SAFETY: see `address`.
        let value = unsafe { operation.perform(self.address()) };
        match value {
            Ok(value) if mapping.lost.is_nothing() || mapping.lost.is_whole(self.span) => Some(value),
            _ => None,
        }
    }

    /// Does the operation, unless it faults or may not write. The calling thread bears SIGBUS, and asks `are_intact` before
    /// and afterwards.
    #[inline(always)]
    pub(crate) fn perform_plainly(&self, operation: Operation<W>) -> Option<W> {
        if operation.writes() && !self.is_writable {
            hazard::seldom();
            return None;
        }
        // SAFETY: see `address`.
        unsafe { operation.perform(self.address()) }.ok()
    }

    /// Whether `expected` stands there, as `perform_plainly`.
    #[inline(always)]
    pub(crate) fn is_plainly(&self, expected: W) -> bool {
        // SAFETY: see `address`.
        unsafe { W::is(self.address(), expected) }
    }

    /// `CompareSwap`, as `perform_plainly`; whether `expected` stood there.
    #[inline(always)]
    pub(crate) fn replaces_plainly(&self, expected: W, desired: W) -> bool {
        // SAFETY: see `address`.
        self.is_writable && unsafe { W::replace(self.address(), expected, desired) }
    }

    /// `Put`, as `perform_plainly`; whether it is done.
    #[inline(always)]
    pub(crate) fn puts_plainly(&self, value: W) -> bool {
        // SAFETY: see `address`.
        self.is_writable && unsafe { W::put(self.address(), value) }
    }

    #[cold]
    fn perform_patiently(&self, operation: Operation<W>) -> Result<W> {
        let (mapping, span) = (self.mapping, self.span);
        if operation.writes() && !self.is_writable {
            return Err(Error::read_only("changing a word"));
        }
        let _unblocked = (!mapping.accesses_directly()).then(SigbusUnblocked::new);
        if !mapping.lost.is_nothing() && !mapping.lost.is_whole(span) {
            return Err(mapping.lost_error(span));
        }
        // SAFETY: see `address`.
        let attempt = || unsafe { operation.perform(self.address()) };
        let mut result = attempt();
        if result.is_err() {
            let sides = [if operation.writes() { Side::written(mapping, span) } else { Side::read(mapping, span) }];
            finish(&sides, Order::Any, 0, &mut |_| {
                result = attempt();
                if result.is_ok() { span.length() } else { 0 }
            })?;
        }
        match result {
            Ok(value) if mapping.lost.is_nothing() || mapping.lost.is_whole(span) => Ok(value),
            _ => Err(mapping.lost_error(span)),
        }
    }

    /// The address by which the kernel knows it among all who have it mapped.
    ///
    /// # Errors
    /// EINVAL: the region is copy-on-write, so that nobody else has it.
    pub(crate) fn meeting_place(&self) -> Result<NonNull<W>> {
        match self.mapping.sharing() {
            Sharing::Shared => Ok(self.mapping.address(self.span).cast()),
            Sharing::Private => Err(Error::NotShared),
        }
    }

    /// Aligned, inside our pages, and accessed there by guarded atomics and copies only; what faults there goes to the
    /// handler, or cannot fault: `new`, `perform_at_once` and `are_intact` have looked at the protector.
    #[inline(always)]
    fn address(&self) -> *mut W {
        self.base.as_ptr().wrapping_add(self.span.start()).cast()
    }
}
