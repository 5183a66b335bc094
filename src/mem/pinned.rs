//! Words of a region that stay where they are for as long as somebody uses them, without a call on the region each time.
//!
//! Decision: a queue is used by a handle of its own. It is a view, so that its bytes stay, and so that addresses inside may
//! be handed out; and it is counted, so that `settle` does not make anybody forget a page that this one has not met.

use super::atomic::Ordering;
use super::direct::Direct;
use super::view::View;
use super::word::Words;

/// The bytes of an object that is in use for longer than a call.
pub struct Pinned {
    view: View,
    is_writable: bool,
    /// The same bytes, found once: the view keeps them where they are.
    direct: Direct<'static>,
}

// SAFETY: as a view does; `direct` says the same by numbers.
unsafe impl Send for Pinned {}
// SAFETY: as above; accesses bear races.
unsafe impl Sync for Pinned {}

impl Pinned {
    pub(crate) fn new(view: View, is_writable: bool) -> Pinned {
        view.mapping().users_outside.fetch_add(1, Ordering::Relaxed); // ORDER: Relaxed: inside a call on the region
        let direct = Direct::new(view.as_ptr(), view.len() as u64, is_writable);
        Pinned { view, is_writable, direct }
    }

    #[inline(always)]
    pub(crate) fn words(&self) -> Words<'_> {
        Words::of(self.view.mapping(), self.view.span(), self.is_writable)
    }

    /// `words().direct()`.
    #[inline(always)]
    pub(crate) fn direct(&self) -> Direct<'_> {
        self.direct
    }

    /// `words().stand()`.
    #[inline(always)]
    pub(crate) fn stand(&self) -> bool {
        self.view.mapping().lost.is_nothing()
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
