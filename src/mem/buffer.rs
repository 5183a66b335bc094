//! The private side of a copy: a slice, or what a C caller passed.
//!
//! Decision: no slice is made of a C caller's buffer, since it may be uninitialised, or lie in a mapped region that
//! others change meanwhile; both are wrong for a Rust reference and harmless for a copy by address.

use super::guard;
use std::marker::PhantomData;

/// Bytes to copy from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(super) address: *const u8,
    pub(super) length: usize,
    lifetime: PhantomData<&'a [u8]>,
}

/// Bytes to copy to.
pub(crate) struct Destination<'a> {
    pub(super) address: *mut u8,
    pub(super) length: usize,
    lifetime: PhantomData<&'a mut [u8]>,
}

/// From so many bytes on it pays to ask for all lines of a message that another core has, before the first is touched: they
/// come together then, and not in the order in which they are used.
pub(crate) const LONG: u64 = 512;

/// By which code bytes are copied. It is a constant where it matters, so that the compiler leaves the other out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copying {
    /// In the midst of the caller: what is longer than short is not copied.
    Short,
    /// Whatever is best.
    Any,
}

impl Copying {
    /// Whether all was copied.
    ///
    /// # Safety
    /// As `guard::copy`.
    #[inline(always)]
    pub(super) unsafe fn copies(self, to: *mut u8, from: *const u8, length: usize) -> bool {
        match self {
            // SAFETY: the caller's promise; the length is short.
            Copying::Short => guard::is_short(length) && unsafe { guard::copy_short(to, from, length) },
            // SAFETY: the caller's promise.
            Copying::Any => unsafe { guard::copy(to, from, length) == length },
        }
    }
}

impl Source<'_> {
    /// The caller's memory.
    ///
    /// # Safety
    /// `length` bytes from `address` can be read as long as the value lives.
    pub(crate) unsafe fn from_raw(address: *const u8, length: usize) -> Self {
        Source { address, length, lifetime: PhantomData }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Whether a C caller has passed NULL.
    #[inline(always)]
    pub(crate) fn is_null(&self) -> bool {
        self.address.is_null()
    }

    /// Whether they are few enough for the shortest way.
    #[inline(always)]
    pub(crate) fn is_short(&self) -> bool {
        guard::is_short(self.length)
    }
}

impl Destination<'_> {
    /// The caller's memory.
    ///
    /// # Safety
    /// `length` bytes from `address` can be written as long as the value lives.
    pub(crate) unsafe fn from_raw(address: *mut u8, length: usize) -> Self {
        Destination { address, length, lifetime: PhantomData }
    }

    /// The same bytes, for one copy of several.
    #[inline(always)]
    pub(crate) fn again(&mut self) -> Destination<'_> {
        Destination { ..*self }
    }

    /// The first `length` bytes of it, if it has as many.
    #[inline(always)]
    pub(crate) fn first(self, length: u64) -> Option<Self> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.length)?;
        Some(Destination { length, ..self })
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Whether a C caller has passed NULL.
    #[inline(always)]
    pub(crate) fn is_null(&self) -> bool {
        self.address.is_null()
    }

    /// Whether they are few enough for the shortest way.
    #[inline(always)]
    pub(crate) fn is_short(&self) -> bool {
        guard::is_short(self.length)
    }
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Source { address: bytes.as_ptr(), length: bytes.len(), lifetime: PhantomData }
    }
}

impl<'a> From<&'a mut [u8]> for Destination<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Destination { address: bytes.as_mut_ptr(), length: bytes.len(), lifetime: PhantomData }
    }
}
