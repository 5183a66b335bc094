//! The thread whose call it is, and what is kept for it where it is found in two loads, unlike a `thread_local!`.

use super::{Record, ThreadNumber};
use crate::mem::atomic::Ordering;
use crate::mem::current;
use std::marker::PhantomData;

/// How much the token table can remember for a thread.
pub(super) const PLACES: usize = 3;

/// The calling thread, which has a record: known once, it need not be looked up again.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    record: &'static Record,
    /// It is nobody else.
    not_send: PhantomData<*const ()>,
}

impl Caller {
    pub(super) fn of(record: &'static Record) -> Caller {
        Caller { record, not_send: PhantomData }
    }

    /// The calling thread, if it has a record.
    #[inline(always)]
    pub(crate) fn known() -> Option<Caller> {
        current::get().map(Caller::of)
    }

    /// Its number.
    #[inline(always)]
    pub(crate) fn number(self) -> ThreadNumber {
        self.record.owner().number()
    }

    /// What `set_notes` has put down for it; null for nothing.
    #[inline(always)]
    pub(crate) fn notes(self) -> *mut () {
        self.record.notes.load(Ordering::Relaxed) // ORDER: Relaxed: written by this thread only
    }

    /// What it was made to remember last at that place; null for nothing.
    #[inline(always)]
    pub(crate) fn remembered(self, place: usize) -> *mut () {
        self.record.remembered[place].load(Ordering::Relaxed) // ORDER: Relaxed, as above
    }

    /// From now on `remembered` gives that.
    #[inline(always)]
    pub(crate) fn remember(self, place: usize, what: *mut ()) {
        self.record.remembered[place].store(what, Ordering::Relaxed); // ORDER: Relaxed, as above
    }
}

/// Puts something down for this thread, which has a record.
#[cfg(not(loom))]
pub(crate) fn set_notes(notes: *mut ()) {
    if let Some(record) = current::get() {
        record.notes.store(notes, Ordering::Relaxed); // ORDER: Relaxed, as in `notes`
    }
}
