//! A pinned range of a mapping, whose address may be handed out.

use super::mapping::Mapping;
use super::span::Span;
use std::sync::Arc;

/// Bytes of a region that stay mapped, at the same address, as long as this lives. It may be used and dropped on any
/// thread.
pub struct View {
    mapping: Arc<Mapping>,
    span: Span,
}

impl View {
    pub(crate) fn new(mapping: Arc<Mapping>, span: Span) -> View {
        mapping.pin(span);
        View { mapping, span }
    }

    /// The first byte's address. Other threads and processes may change the bytes at any moment, so read and write
    /// them as one does shared memory: by atomics, by volatile accesses, or under a lock. Do not write through it
    /// while the region is read-only.
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.address(self.span).as_ptr()
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.span.length()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.mapping.unpin(self.span);
    }
}
