//! Words of a region that stay where they are for as long as somebody uses them, without a call on the region each time.
//!
//! Decision: a queue is used by a handle of its own. It is a view, so that its bytes stay, and so that addresses inside may
//! be handed out; and it is counted, so that `settle` does not make anybody forget a page that this one has not met.

use super::atomic::Ordering;
use super::view::View;
use super::word::Words;

/// The bytes of an object that is in use for longer than a call.
pub struct Pinned {
    view: View,
    is_writable: bool,
}

impl Pinned {
    pub(crate) fn new(view: View, is_writable: bool) -> Pinned {
        view.mapping().users_outside.fetch_add(1, Ordering::Relaxed); // ORDER: Relaxed: inside a call on the region
        Pinned { view, is_writable }
    }

    #[inline(always)]
    pub(crate) fn words(&self) -> Words<'_> {
        Words::of(self.view.mapping(), self.view.span(), self.is_writable)
    }

    /// The address of the byte at `at`, which is one of these, or of their end.
    pub(crate) fn address(&self, at: u64) -> *mut u8 {
        debug_assert!(at <= self.view.len() as u64);
        self.view.as_ptr().wrapping_add(at as usize)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // ORDER: Release, partner Mapping::may_settle.
        self.view.mapping().users_outside.fetch_sub(1, Ordering::Release);
    }
}
