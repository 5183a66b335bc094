//! A pinned range of a mapping, whose address may be handed out.

use super::lost;
use super::mapping::Mapping;
use super::pins::{self, Pin};
use super::span::Span;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Bytes of a region that stay mapped, at the same address, as long as this lives. It may be used and dropped on any
/// thread.
pub struct View {
    mapping: Arc<Mapping>,
    span: Span,
    pin: &'static Pin,
}

impl View {
    /// `is_for_users`: whether it may be handed out and recalled, and is no open object's own.
    pub(crate) fn new(mapping: Arc<Mapping>, span: Span, is_for_users: bool) -> Result<View> {
        mapping.lost.prepare().map_err(|_| Error::NoMemory { length: 4096, place: "to note pages that views lose" })?;
        let address = mapping.address(span).addr().get();
        let pin = Pin::add(&mapping, address..address + span.length(), is_for_users);
        // Asked after the view can be found: pages that are being lost just now are told to it, or are found lost here.
        let lost = mapping.lost_errno(span);
        if lost != 0 {
            pins::note_lost_at(Arc::as_ptr(&mapping), address, lost);
        }
        Ok(View { mapping, span, pin })
    }

    /// Hands the address out; the bytes stay until `recall`.
    pub(crate) fn hand_out(self) -> *mut u8 {
        std::mem::ManuallyDrop::new(self).as_ptr()
    }

    /// The view of this mapping whose address was handed out; None when it is not out.
    pub(crate) fn recall(mapping: &Arc<Mapping>, address: *mut u8) -> Option<View> {
        let start = mapping.offset_of(address)?;
        let pin = Pin::take(mapping, address.addr())?;
        let span = Span::within(start, pin.length_from(address.addr()), mapping.capacity()).ok()?;
        // SAFETY: the view that was handed out kept its share of the mapping, and `take` gives it to one caller alone.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(mapping)) };
        Some(View { mapping: mapping.clone(), span, pin })
    }

    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// The first byte's address. Other threads and processes may change the bytes at any moment, so read and write
    /// them as one does shared memory: by atomics, by volatile accesses, or under a lock. Do not write through it
    /// while the region is read-only.
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.address(self.span).as_ptr()
    }

    /// Where this process counts the pages that its views lose; two for each.
    pub(crate) fn lost_count() -> *const u64 {
        std::ptr::from_ref(lost::notes()).cast()
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.span.length()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all its pages were there all the time.
    ///
    /// # Errors
    /// ENXIO, ENOSPC, EIO: the file was cut short under it, its file system was full, or its device failed. Zeros stood
    /// in the place of the pages since, and what was written there is gone.
    pub fn check(&self) -> Result<()> {
        match self.pin.lost() {
            0 => Ok(()),
            errno => Err(Error::ViewLostPages { errno, length: self.len() as u64 }),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.pin.leave();
    }
}
