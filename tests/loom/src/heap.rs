//! Memory of an object on the heap, in place of a mapping: no access to it fails.
//!
//! Each word is an atomic of its own, of the size in which it is used: loom and Miri want it so. Bytes that are not to be
//! copied while others write them are copied in a way that loom, Miri and ThreadSanitizer take for a race if they are.

use super::atomic::{AtomicU32, AtomicU64, Ordering};
use super::buffer::{Destination, Source};
use std::ops::Range;
use std::sync::atomic::{AtomicBool as StillBool, AtomicU64 as StillU64};

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

enum Word {
    Still(StillU64),
    Whole(AtomicU64),
    Halves([AtomicU32; 2]),
}

pub(crate) struct Heap {
    words: Vec<Word>,
    /// For each word, what loom watches for copies of it, if they are not to race.
    #[cfg(loom)]
    copies: Vec<loom::cell::UnsafeCell<()>>,
    #[cfg(not(loom))]
    copies_race: bool,
    is_shared: StillBool,
}

/// The first bytes of it.
pub(crate) fn first(from: Source<'_>, length: usize) -> Source<'_> {
    assert!(length <= from.length);
    // SAFETY: fewer bytes than those that can be read.
    unsafe { Source::from_raw(from.address, length) }
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
        Heap {
            words: (0..parts.length).step_by(8).map(word).collect(),
            #[cfg(loom)]
            copies: (0..if parts.copies_race { 0 } else { parts.length / 8 })
                .map(|_| loom::cell::UnsafeCell::new(()))
                .collect(),
            #[cfg(not(loom))]
            copies_race: parts.copies_race,
            is_shared: StillBool::new(false),
        }
    }

    /// From now on there are several threads, and what stands still does so.
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

    /// The newest number there, as the kernel finds it: nothing but a swap is sure to.
    pub(crate) fn newest_u32(&self, offset: u64) -> u32 {
        match self.word(offset) {
            Word::Still(_) => self.load_u32(offset, Ordering::Relaxed),
            Word::Whole(word) => (word.fetch_add(0, Ordering::SeqCst) >> (offset % 8 * 8)) as u32,
            Word::Halves(_) => self.half(offset).fetch_add(0, Ordering::SeqCst),
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

    /// Whole words only.
    pub(crate) fn copy_in(&self, offset: u64, from: Source) {
        assert!(from.length.is_multiple_of(8));
        for index in 0..from.length / 8 {
            // SAFETY: within the source's bytes.
            let address = unsafe { from.address.cast::<u64>().add(index) };
            // SAFETY: whoever made the source promises that its bytes can be read.
            let word = unsafe { address.read_unaligned() };
            self.copy_word_in(offset + 8 * index as u64, word);
        }
    }

    /// Whole words only.
    pub(crate) fn copy_out(&self, offset: u64, to: Destination) {
        assert!(to.length.is_multiple_of(8));
        for index in 0..to.length / 8 {
            let word = self.copy_word_out(offset + 8 * index as u64);
            // SAFETY: within the destination's bytes.
            let address = unsafe { to.address.cast::<u64>().add(index) };
            // SAFETY: whoever made the destination promises that its bytes can be written.
            unsafe { address.write_unaligned(word) };
        }
    }

    #[cfg(loom)]
    fn copy_word_in(&self, offset: u64, word: u64) {
        if let Some(copy) = self.copies.get(offset as usize / 8) {
            copy.with_mut(drop);
        }
        self.store_u64(offset, word, Ordering::Relaxed);
    }

    #[cfg(loom)]
    fn copy_word_out(&self, offset: u64) -> u64 {
        if let Some(copy) = self.copies.get(offset as usize / 8) {
            copy.with(drop);
        }
        self.load_u64(offset, Ordering::Relaxed)
    }

    #[cfg(not(loom))]
    fn copy_word_in(&self, offset: u64, word: u64) {
        match self.word(offset) {
            // SAFETY: the queue promises that nobody else uses these bytes now; Miri and ThreadSanitizer check it.
            Word::Whole(whole) if !self.copies_race => unsafe { whole.as_ptr().write(word) },
            _ => self.store_u64(offset, word, Ordering::Relaxed),
        }
    }

    #[cfg(not(loom))]
    fn copy_word_out(&self, offset: u64) -> u64 {
        match self.word(offset) {
            // SAFETY: the queue promises that nobody writes these bytes now; Miri and ThreadSanitizer check it.
            Word::Whole(whole) if !self.copies_race => unsafe { whole.as_ptr().read() },
            _ => self.load_u64(offset, Ordering::Relaxed),
        }
    }
}
