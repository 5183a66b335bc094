//! Which pages of a mapping have been lost, and stand as zeros until they are put back.
//!
//! Decision: a few ranges of pages in atomic words, since it is a signal handler that notes them: no lock, no
//! allocation. When the words do not suffice, ranges are joined, and pages between them count as lost too.
//!
//! Decision: every note changes its word, by a count in it, so that whoever puts pages back can tell whether one of them
//! was lost again meanwhile. While zeros are being put in place, after their note, nothing is put back.

use super::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use super::span::Span;

/// Ranges that can be told apart.
const RANGES: usize = 12;
/// Bits of a word for the first page and for the number of pages; the rest counts the notes.
const PAGE_BITS: u32 = 26;
const PAGE_MASK: u64 = (1 << PAGE_BITS) - 1;
const NOTE: u64 = 1 << (2 * PAGE_BITS);

/// The lost pages of one mapping.
pub(crate) struct Lost {
    /// log2 of the bytes that count as a page here: so many that the numbers of all of them fit.
    shift: u32,
    /// Whether any page was ever lost: the one thing that good calls look at.
    ever: AtomicBool,
    /// Why the last one was lost: a positive error number.
    errno: AtomicI32,
    /// The page that was asked about last, and how often in a row.
    tried: AtomicU64,
    /// Threads that have noted a page and are putting zeros in its place.
    standing_in: AtomicU32,
    /// Whether the first range has been made to hold pages that are not lost.
    is_joined: AtomicBool,
    ranges: [AtomicU64; RANGES],
}

/// A range as it stood when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range(u64);

impl Range {
    fn of(first: u64, count: u64) -> Range {
        Range(first | count << PAGE_BITS)
    }

    fn first(self) -> u64 {
        self.0 & PAGE_MASK
    }

    fn end(self) -> u64 {
        self.first() + (self.0 >> PAGE_BITS & PAGE_MASK)
    }

    fn is_empty(self) -> bool {
        self.first() == self.end()
    }

    /// Whether `page` lies in it or next to it.
    fn touches(self, page: u64) -> bool {
        !self.is_empty() && page + 1 >= self.first() && page <= self.end()
    }

    /// This range made to hold `page`, and one note more.
    fn with(self, page: u64) -> Range {
        let range = if self.is_empty() {
            Range::of(page, 1)
        } else {
            let first = self.first().min(page);
            Range::of(first, self.end().max(page + 1) - first)
        };
        Range(range.0 | (self.0 & !(NOTE - 1)).wrapping_add(NOTE))
    }
}

impl Lost {
    /// Nothing lost yet, of a mapping of so many bytes.
    pub(crate) fn new(capacity: usize, page_size: usize) -> Lost {
        let mut shift = page_size.trailing_zeros();
        while capacity as u64 >> shift >= PAGE_MASK {
            shift += 1;
        }
        Lost {
            shift,
            ever: AtomicBool::new(false),
            errno: AtomicI32::new(0),
            tried: AtomicU64::new(0),
            standing_in: AtomicU32::new(0),
            is_joined: AtomicBool::new(false),
            ranges: Default::default(),
        }
    }

    /// How often in a row the page with the byte at `offset` has been asked about before. Threads that ask about
    /// different pages at once may make it less. Async-signal-safe.
    pub(super) fn tries(&self, offset: usize) -> u64 {
        let page = offset as u64 >> self.shift;
        let tried = self.tried.load(Ordering::Relaxed); // ORDER: Relaxed, a number that may be wrong
        let times = if tried >> 8 == page { tried & 0xff } else { 0 };
        self.tried.store(page << 8 | (times + 1).min(0xff), Ordering::Relaxed); // ORDER: Relaxed, as above
        times
    }

    /// Notes that the page with the byte at `offset` is lost, and why, then has `put_zeros` do its work.
    /// Async-signal-safe.
    pub(super) fn stand_in<R>(&self, offset: usize, errno: i32, put_zeros: impl FnOnce() -> R) -> R {
        // ORDER: SeqCst, partner `restore`: it is counted before the note can be seen.
        self.standing_in.fetch_add(1, Ordering::SeqCst);
        self.note(offset, errno);
        let result = put_zeros();
        // ORDER: SeqCst, partner `restore`: the zeros are in place before it is not counted any more.
        self.standing_in.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn note(&self, offset: usize, errno: i32) {
        self.tried.store(0, Ordering::Relaxed); // ORDER: Relaxed, a number that may be wrong
        self.errno.store(errno, Ordering::Relaxed); // ORDER: Relaxed, published by the note
        let page = offset as u64 >> self.shift;
        // ORDER: Relaxed, a first guess; the update below decides.
        let find = |suits: fn(Range, u64) -> bool| {
            self.ranges.iter().find(|word| suits(Range(word.load(Ordering::Relaxed)), page))
        };
        let word = find(Range::touches).or_else(|| find(|range, _| range.is_empty())).unwrap_or_else(|| {
            self.is_joined.store(true, Ordering::Relaxed); // ORDER: Relaxed, published by the note
            &self.ranges[0]
        });
        // ORDER: SeqCst, partner `overlaps_now` and `restore`: the note stands before the zeros, which the kernel maps
        // after it, can be seen.
        let noted = word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |range| Some(Range(range).with(page).0));
        debug_assert!(noted.is_ok());
        self.ever.store(true, Ordering::SeqCst); // ORDER: SeqCst, partner `overlaps`: as above
    }

    /// Why the last page was lost.
    pub(super) fn errno(&self) -> i32 {
        self.errno.load(Ordering::Relaxed) // ORDER: Relaxed, read after a note was seen
    }

    /// Whether a page of the span is lost now. To be asked after an access and before it counts as done.
    #[inline]
    pub(crate) fn overlaps(&self, span: Span) -> bool {
        // ORDER: Acquire, partner note: the access before it is not moved behind it by the compiler, being assembly
        // that may touch any memory; the processor sees the note with the page that was mapped after it.
        self.ever.load(Ordering::Acquire) && self.overlaps_now(span)
    }

    #[cold]
    fn overlaps_now(&self, span: Span) -> bool {
        let first = span.start() as u64 >> self.shift;
        let end = (span.end() as u64).div_ceil(1 << self.shift);
        self.ranges.iter().any(|word| {
            // ORDER: Acquire, partner note.
            let range = Range(word.load(Ordering::Acquire));
            !range.is_empty() && range.first() < end && first < range.end()
        })
    }

    /// Calls `put_back` with each lost range, as bytes, and forgets it unless a page of it was lost again meanwhile. With
    /// `exact_only`, pages between lost ones that were joined for want of words are left alone, and stay lost.
    pub(crate) fn restore<E>(
        &self,
        exact_only: bool,
        mut put_back: impl FnMut(usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        for (index, word) in self.ranges.iter().enumerate() {
            // ORDER: SeqCst, partner `stand_in`: notes are seen before it is asked whether their zeros are in place.
            let range = Range(word.load(Ordering::SeqCst));
            let is_joined = index == 0 && self.is_joined.load(Ordering::Relaxed); // ORDER: Relaxed, seen with the note
            // ORDER: SeqCst, partner `stand_in`.
            if range.is_empty() || exact_only && is_joined || self.standing_in.load(Ordering::SeqCst) != 0 {
                continue;
            }
            put_back((range.first() << self.shift) as usize, (range.end() << self.shift) as usize)?;
            let forgotten = range.0 & !(NOTE - 1);
            // ORDER: SeqCst, partner `note`: pages are back before they are forgotten. Relaxed on failure: a page was
            // lost again, and the range stands.
            let _ = word.compare_exchange(range.0, forgotten, Ordering::SeqCst, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: usize = 4096;

    fn is_lost(lost: &Lost, page: usize) -> bool {
        lost.overlaps(Span::within((page * PAGE) as u64, 1, u64::MAX).unwrap())
    }

    fn restore_all(lost: &Lost) {
        lost.restore(false, |_, _| Ok::<_, ()>(())).unwrap();
    }

    proptest! {
        #[test]
        fn every_noted_page_is_lost_until_it_is_restored(pages in prop::collection::vec(0..5000usize, 1..40)) {
            let lost = Lost::new(5000 * PAGE, PAGE);
            for page in &pages {
                lost.note(page * PAGE + page % PAGE, 6);
            }
            prop_assert!(pages.iter().all(|page| is_lost(&lost, *page)));
            restore_all(&lost);
            prop_assert!(pages.iter().all(|page| !is_lost(&lost, *page)));
        }

        #[test]
        fn few_ranges_are_kept_apart_exactly(starts in prop::collection::btree_set(0..300usize, 1..RANGES)) {
            let lost = Lost::new(5000 * PAGE, PAGE);
            for start in &starts {
                lost.note(start * 16 * PAGE, 6);
                lost.note((start * 16 + 1) * PAGE, 6);
            }
            for page in 0..5000 {
                prop_assert_eq!(is_lost(&lost, page), starts.contains(&(page / 16)) && page % 16 < 2);
            }
        }
    }

    #[test]
    fn a_page_lost_again_while_it_is_put_back_stays_lost() {
        let lost = Lost::new(100 * PAGE, PAGE);
        lost.note(7 * PAGE, 6);
        lost.restore(false, |_, _| {
            lost.note(7 * PAGE, 6);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(is_lost(&lost, 7));
    }

    #[test]
    fn nothing_is_put_back_while_zeros_are_being_put_in_place() {
        let lost = Lost::new(100 * PAGE, PAGE);
        lost.stand_in(7 * PAGE, 6, || restore_all(&lost));
        assert!(is_lost(&lost, 7));
        restore_all(&lost);
        assert!(!is_lost(&lost, 7));
    }

    #[test]
    fn pages_between_joined_ranges_are_put_back_only_where_that_loses_nothing() {
        let lost = Lost::new(1000 * PAGE, PAGE);
        for range in 0..=RANGES {
            lost.note(range * 10 * PAGE, 6);
        }
        let mut pages = Vec::new();
        lost.restore(true, |start, end| {
            pages.push(start / PAGE..end / PAGE);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(pages.iter().all(|pages| pages.len() == 1), "{pages:?}");
        assert!(is_lost(&lost, 0) && is_lost(&lost, RANGES * 10) && !is_lost(&lost, 10 * (RANGES - 1) + 2_000));
    }

    #[test]
    fn mappings_of_any_size_fit() {
        let lost = Lost::new(1 << 46, PAGE);
        lost.note((1 << 46) - 1, 6);
        assert!(lost.overlaps(Span::within((1 << 46) - 1, 1, 1 << 46).unwrap()));
        assert!(!lost.overlaps(Span::within(0, 1 << 20, 1 << 46).unwrap()));
    }
}
