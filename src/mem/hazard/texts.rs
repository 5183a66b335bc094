//! Room for a text of each thread: what its last failure says.
//!
//! Decision: beside the records, so that who has a record has room, also when there is no memory any more. Thread-local
//! bytes would all come out of the small reserve that glibc keeps for libraries that are loaded while a program runs (see
//! current.rs): 1 KiB of it could be what the next one lacks. Nor malloc: a call in a signal handler may fail, too.

use super::{Chunk, claim};
use crate::mem::current;
use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};

/// How many bytes each has.
pub(crate) const TEXT: usize = 1024;

/// The text of one record's owner.
pub(super) struct Text(UnsafeCell<[u8; TEXT]>);

// SAFETY: the record's owner alone uses it.
unsafe impl Sync for Text {}

impl Text {
    pub(super) const fn new() -> Text {
        Text(UnsafeCell::new([0; TEXT]))
    }
}

/// That of the calling thread; it stays the thread's as long as that lives, but may be another one at the next call. What a
/// thread before has written may stand there. None: the kernel has no page for another record. Async-signal-safe.
pub(crate) fn text() -> Option<NonNull<[u8; TEXT]>> {
    let record = current::get().map_or_else(claim, Ok).ok()?;
    let of_chunk = |chunk: &'static Chunk| {
        let index = chunk.records.iter().position(|one| ptr::eq(one, record))?;
        NonNull::new(chunk.texts[index].0.get())
    };
    Chunk::all().find_map(of_chunk)
}
