//! Words of a region, and the bytes of the objects in it.

use super::Region;
use crate::error::Result;
use crate::mem::pinned::Pinned;
use crate::mem::word::{Atomic, Operation, Word, Words};

impl Region {
    /// The word at `offset`, a multiple of its size, for atomic access. In a copy-on-write region the threads of this
    /// process share it, and nobody else.
    ///
    /// # Errors
    /// EINVAL: `offset` is no multiple of the word's size. ERANGE: the word leaves the region. EOPNOTSUPP: the region has
    /// no handler and its file may shrink.
    pub fn atomic<W: Word>(&self, offset: u64) -> Result<Atomic<'_, W>> {
        Atomic::new(&self.mapping, offset, self.is_writable(), |offset, length| self.span(offset, length))
    }

    /// The `length` bytes of an object at `offset`, a multiple of 8, as [`Mutex`](crate::Mutex) takes them.
    ///
    /// # Errors
    /// As `atomic`.
    pub fn words(&self, offset: u64, length: u64) -> Result<Words<'_>> {
        Words::new(&self.mapping, offset, self.is_writable(), || self.span(offset, length))
    }

    /// `words`, if nothing at all is in the way.
    #[inline(always)]
    pub(crate) fn words_at_once(&self, offset: u64, length: u64) -> Option<Words<'_>> {
        Words::find(&self.mapping, offset, length, self.is_writable())
    }

    /// The bytes of an object, as [`Producer`](crate::Producer) and [`Consumer`](crate::Consumer) take them: they stay
    /// mapped where they are, like those of a view, and count as one.
    ///
    /// # Errors
    /// As `view`.
    pub fn pin(&self, offset: u64, length: u64) -> Result<Pinned> {
        Ok(Pinned::new(self.view_for(offset, length, false)?, self.is_writable()))
    }

    /// `atomic` and an operation on it, if nothing at all is in their way; otherwise it has not happened.
    #[inline(always)]
    pub(crate) fn perform_at_once<W: Word>(&self, offset: u64, operation: Operation<W>) -> Option<W> {
        Atomic::find(&self.mapping, offset, self.is_writable())?.perform_at_once(operation)
    }
}
