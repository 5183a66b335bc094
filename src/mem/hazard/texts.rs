//! Room for a text of each thread: what its last failure says.
//!
//! Decision: pages of their own, beside the records. Thread-local bytes would all come out of the small reserve that glibc
//! keeps for libraries that are loaded while a program runs (see current.rs): 1 KiB of it could be what the next one lacks.
//! Nor malloc: a call in a signal handler may fail, too.

use super::{Chunk, RECORDS, claim};
use crate::mem::atomic::Ordering;
use crate::mem::current;
use crate::sys::map;
use std::ptr::{self, NonNull};

/// How many bytes each has.
pub(crate) const TEXT: usize = 1024;
const ROOM: usize = RECORDS * TEXT;

/// That of the calling thread, to which nobody else's is given as long as it lives. What a thread before it has written may
/// stand there. None: the kernel has no page. Async-signal-safe.
pub(crate) fn text() -> Option<NonNull<[u8; TEXT]>> {
    let record = current::get().map_or_else(claim, Ok).ok()?;
    let index_in = |chunk: &Chunk| chunk.records.iter().position(|one| ptr::eq(one, record));
    let (chunk, index) = Chunk::all().find_map(|chunk| Some((chunk, index_in(chunk)?)))?;
    NonNull::new(chunk.texts()?.as_ptr().wrapping_add(index * TEXT).cast())
}

impl Chunk {
    /// The texts of its records.
    fn texts(&self) -> Option<NonNull<u8>> {
        // ORDER: Acquire, partner: the compare-and-swap below: the kernel's zeros are there before.
        if let Some(texts) = NonNull::new(self.texts.load(Ordering::Acquire)) {
            return Some(texts);
        }
        let pages = map::zero_pages(ROOM).ok()?;
        let swapped = self.texts.compare_exchange(ptr::null_mut(), pages.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        match swapped {
            Ok(_) => Some(pages),
            Err(others) => {
                // SAFETY: nobody else knows of these pages.
                let _ = unsafe { map::unmap(pages, ROOM) };
                NonNull::new(others)
            }
        }
    }
}
