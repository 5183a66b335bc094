//! Memory of an object on the heap, in place of a mapping: no access to it fails.
//!
//! In a model each word is an atomic of its own, of the size in which it is used. Elsewhere bytes are bytes, and those of
//! messages are copied as such: what Miri and ThreadSanitizer call a race is one.

use super::atomic::Ordering;
use super::buffer::{Destination, Source};
use std::ops::Range;

#[cfg(loom)]
pub(crate) use model::Heap;
#[cfg(not(loom))]
pub(crate) use native::Heap;

/// The first so many bytes of an object, and what those bytes that change after it was made are used as. All the others
/// stand still, and are no step of a model.
pub(crate) struct Parts<'a> {
    pub(crate) length: u64,
    /// Words of 8 bytes.
    pub(crate) wholes: &'a [Range<u64>],
    /// Words of 4 bytes.
    pub(crate) halves: &'a [Range<u64>],
    /// Whether bytes are copied while others write them, as a cell's are.
    pub(crate) copies_race: bool,
}

/// The first bytes of it.
pub(crate) fn first(from: Source<'_>, length: usize) -> Source<'_> {
    assert!(length <= from.length);
    // SAFETY: fewer bytes than those that can be read.
    unsafe { Source::from_raw(from.address, length) }
}

/// The words of bytes that are whole words.
fn words(from: Source<'_>) -> impl Iterator<Item = u64> {
    assert!(from.length.is_multiple_of(8));
    // SAFETY: whoever made the source promises that its bytes can be read.
    (0..from.length / 8).map(move |index| unsafe { from.address.cast::<u64>().add(index).read_unaligned() })
}

/// Puts down whole words.
fn put(to: Destination, words: impl Iterator<Item = u64>) {
    assert!(to.length.is_multiple_of(8));
    for (index, word) in words.take(to.length / 8).enumerate() {
        // SAFETY: whoever made the destination promises that its bytes can be written.
        unsafe { to.address.cast::<u64>().add(index).write_unaligned(word) };
    }
}

#[cfg(loom)]
mod model {
    use super::{Destination, Ordering, Parts, Source, put, words};
    use crate::mem::atomic::{AtomicU32, AtomicU64};
    use loom::cell::UnsafeCell;
    use std::sync::atomic::{AtomicBool as StillBool, AtomicU64 as StillU64};

    enum Word {
        Still(StillU64),
        Whole(AtomicU64),
        Halves([AtomicU32; 2]),
    }

    pub(crate) struct Heap {
        words: Vec<Word>,
        /// For each word, what a copy of it uses, if copies are not to race: loom reports it when they do.
        copies: Vec<UnsafeCell<()>>,
        is_shared: StillBool,
    }

    impl Heap {
        /// Zeros.
        pub(crate) fn new(parts: &Parts) -> Heap {
            let word = |offset: u64| {
                if parts.halves.iter().any(|range| range.contains(&offset)) {
                    Word::Halves([AtomicU32::new(0), AtomicU32::new(0)])
                } else if parts.wholes.iter().any(|range| range.contains(&offset)) {
                    Word::Whole(AtomicU64::new(0))
                } else {
                    Word::Still(StillU64::new(0))
                }
            };
            let copies = if parts.copies_race { 0 } else { parts.length / 8 };
            Heap {
                words: (0..parts.length).step_by(8).map(word).collect(),
                copies: (0..copies).map(|_| UnsafeCell::new(())).collect(),
                is_shared: StillBool::new(false),
            }
        }

        /// From now on there are several threads.
        pub(crate) fn share(&self) {
            self.is_shared.store(true, Ordering::Relaxed);
        }

        pub(crate) fn length(&self) -> u64 {
            8 * self.words.len() as u64
        }

        fn word(&self, offset: u64) -> &Word {
            &self.words[offset as usize / 8]
        }

        fn half(&self, offset: u64) -> &AtomicU32 {
            match self.word(offset) {
                Word::Halves(halves) => &halves[offset as usize / 4 % 2],
                Word::Still(_) | Word::Whole(_) => panic!("half of the word at {offset}"),
            }
        }

        pub(crate) fn load_u32(&self, offset: u64, order: Ordering) -> u32 {
            match self.word(offset) {
                Word::Still(word) => (word.load(Ordering::Relaxed) >> (offset % 8 * 8)) as u32,
                Word::Whole(_) | Word::Halves(_) => self.half(offset).load(order),
            }
        }

        pub(crate) fn load_u64(&self, offset: u64, order: Ordering) -> u64 {
            match self.word(offset) {
                Word::Still(word) => word.load(Ordering::Relaxed),
                Word::Whole(word) => word.load(order),
                Word::Halves([low, high]) => u64::from(low.load(order)) | u64::from(high.load(order)) << 32,
            }
        }

        pub(crate) fn store_u32(&self, offset: u64, value: u32, order: Ordering) {
            match self.word(offset) {
                Word::Still(word) => {
                    let shift = offset % 8 * 8;
                    let rest = word.load(Ordering::Relaxed) & !(u64::from(u32::MAX) << shift);
                    self.set_still(word, rest | u64::from(value) << shift);
                }
                Word::Whole(_) | Word::Halves(_) => self.half(offset).store(value, order),
            }
        }

        pub(crate) fn store_u64(&self, offset: u64, value: u64, order: Ordering) {
            match self.word(offset) {
                Word::Still(word) => self.set_still(word, value),
                Word::Whole(word) => word.store(value, order),
                Word::Halves([low, high]) => {
                    low.store(value as u32, order);
                    high.store((value >> 32) as u32, order);
                }
            }
        }

        fn set_still(&self, word: &StillU64, value: u64) {
            let stands_still = !self.is_shared.load(Ordering::Relaxed) || word.load(Ordering::Relaxed) == value;
            assert!(stands_still, "a word became {value:#x}; name it, so that it is a step of the model");
            word.store(value, Ordering::Relaxed);
        }

        pub(crate) fn compare_swap_u32(&self, offset: u64, expected: u32, desired: u32) -> u32 {
            let swapped = self.half(offset).compare_exchange(expected, desired, Ordering::SeqCst, Ordering::SeqCst);
            swapped.unwrap_or_else(|found| found)
        }

        pub(crate) fn compare_swap_u64(&self, offset: u64, expected: u64, desired: u64) -> u64 {
            let swapped = match self.word(offset) {
                Word::Still(word) => {
                    assert!(!self.is_shared.load(Ordering::Relaxed), "the word at {offset} is named in no model");
                    word.compare_exchange(expected, desired, Ordering::Relaxed, Ordering::Relaxed)
                }
                Word::Whole(word) => word.compare_exchange(expected, desired, Ordering::SeqCst, Ordering::SeqCst),
                Word::Halves(_) => panic!("the whole of the word at {offset}"),
            };
            swapped.unwrap_or_else(|found| found)
        }

        pub(crate) fn copy_in(&self, offset: u64, from: Source) {
            for (word, offset) in words(from).zip((offset..).step_by(8)) {
                if let Some(copy) = self.copies.get(offset as usize / 8) {
                    copy.with_mut(drop);
                }
                self.store_u64(offset, word, Ordering::Relaxed);
            }
        }

        pub(crate) fn copy_out(&self, offset: u64, to: Destination) {
            let load = |offset| {
                if let Some(copy) = self.copies.get(offset as usize / 8) {
                    copy.with(drop);
                }
                self.load_u64(offset, Ordering::Relaxed)
            };
            put(to, (offset..).step_by(8).map(load));
        }
    }
}

#[cfg(not(loom))]
mod native {
    use super::{Destination, Ordering, Parts, Source, put, words};
    use crate::mem::atomic::{AtomicU32, AtomicU64};

    pub(crate) struct Heap {
        words: Box<[AtomicU64]>,
        copies_race: bool,
    }

    impl Heap {
        /// Zeros.
        pub(crate) fn new(parts: &Parts) -> Heap {
            let words = (0..parts.length).step_by(8).map(|_| AtomicU64::new(0)).collect();
            Heap { words, copies_race: parts.copies_race }
        }

        pub(crate) fn share(&self) {}

        pub(crate) fn length(&self) -> u64 {
            8 * self.words.len() as u64
        }

        fn whole(&self, offset: u64) -> &AtomicU64 {
            &self.words[offset as usize / 8]
        }

        fn half(&self, offset: u64) -> &AtomicU32 {
            let whole = self.whole(offset).as_ptr().cast::<u32>();
            // SAFETY: 0 or 1: within the word.
            let half = unsafe { whole.add(offset as usize / 4 % 2) };
            // SAFETY: aligned, and lives as long as the heap.
            unsafe { AtomicU32::from_ptr(half) }
        }

        /// So many bytes from there.
        fn bytes(&self, offset: u64, length: usize) -> *mut u8 {
            assert!(offset.is_multiple_of(8) && offset + length as u64 <= self.length());
            self.words[offset as usize / 8..].as_ptr().cast_mut().cast()
        }

        pub(crate) fn load_u32(&self, offset: u64, order: Ordering) -> u32 {
            self.half(offset).load(order)
        }

        pub(crate) fn load_u64(&self, offset: u64, order: Ordering) -> u64 {
            self.whole(offset).load(order)
        }

        pub(crate) fn store_u32(&self, offset: u64, value: u32, order: Ordering) {
            self.half(offset).store(value, order);
        }

        pub(crate) fn store_u64(&self, offset: u64, value: u64, order: Ordering) {
            self.whole(offset).store(value, order);
        }

        pub(crate) fn compare_swap_u32(&self, offset: u64, expected: u32, desired: u32) -> u32 {
            let swapped = self.half(offset).compare_exchange(expected, desired, Ordering::SeqCst, Ordering::SeqCst);
            swapped.unwrap_or_else(|found| found)
        }

        pub(crate) fn compare_swap_u64(&self, offset: u64, expected: u64, desired: u64) -> u64 {
            let swapped = self.whole(offset).compare_exchange(expected, desired, Ordering::SeqCst, Ordering::SeqCst);
            swapped.unwrap_or_else(|found| found)
        }

        pub(crate) fn copy_in(&self, offset: u64, from: Source) {
            if self.copies_race {
                for (word, offset) in words(from).zip((offset..).step_by(8)) {
                    self.store_u64(offset, word, Ordering::Relaxed);
                }
            } else {
                // SAFETY: whoever made the source promises that its bytes can be read; the queue, that nobody else uses
                // these bytes now.
                unsafe { from.address.copy_to_nonoverlapping(self.bytes(offset, from.length), from.length) };
            }
        }

        pub(crate) fn copy_out(&self, offset: u64, to: Destination) {
            if self.copies_race {
                put(to, (offset..).step_by(8).map(|offset| self.load_u64(offset, Ordering::Relaxed)));
            } else {
                // SAFETY: as in `copy_in`, the other way round.
                unsafe { to.address.copy_from_nonoverlapping(self.bytes(offset, to.length), to.length) };
            }
        }
    }
}
