//! Which pages of a mapping have been lost, and stand as zeros until they are put back.
//!
//! Decision: one bit a page, in memory that the kernel gives when the first view is taken and fills only where pages are
//! lost: a signal handler sets the bits, which may not lock or allocate.
//!
//! Decision: that no call succeeds on zeros is kept by three things. A bit is set before the zeros are there, and again
//! after, in case it was cleared between. Who asks waits for zeros that are just being put in place. And of an access
//! during which pages were put back nobody can tell what it met: an epoch, odd meanwhile, has it repeated.

use super::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use super::span::Span;
use crate::sys::clock::monotonic_ns;
use crate::sys::{Errno, map};
use std::ops::Range;
use std::ptr::NonNull;

const BITS: usize = u64::BITS as usize;
/// How many notes of lost pages this process has made, of all mappings: two for each page.
static NOTES: AtomicU64 = AtomicU64::new(0);
/// How long a state that another thread is about to end is waited for. A fork can leave it behind without that thread.
const PATIENCE_NS: u64 = 1_000_000_000;

/// The lost pages of one mapping.
pub(crate) struct Lost {
    page_size: usize,
    /// As many as there are pages in the mapping.
    words: usize,
    /// Null until the first view is taken.
    bits: AtomicPtr<AtomicU64>,
    /// Whether a page has been lost since `settle`: the one thing that good calls look at.
    any: AtomicBool,
    epoch: AtomicU32,
    /// Threads that are putting zeros in place.
    standing_in: AtomicU32,
    /// Why the last page was lost: a positive error number.
    errno: AtomicI32,
    /// The page that was asked about last, and how often in a row.
    tried: AtomicU64,
    /// When it was asked about first.
    tried_since: AtomicU64,
    /// The words that have ever had bits lie from the first (inclusive) to the second (exclusive).
    used: [AtomicUsize; 2],
}

/// How often an access has been tried without getting any further, and since when.
#[derive(Clone, Copy)]
pub(super) struct Tries {
    pub(super) times: u64,
    since_ns: u64,
}

impl Tries {
    pub(super) fn none() -> Tries {
        Tries { times: 0, since_ns: monotonic_ns() }
    }

    /// Once more.
    pub(super) fn again(self) -> Tries {
        Tries { times: self.times + 1, ..self }
    }

    /// Whether that is enough: often, so that a file that is cut and extended in a tight loop is not taken for a failing
    /// device, and not long, since such a device takes its time.
    pub(super) fn are_enough(self) -> bool {
        const FEW: u64 = 8;
        const MANY: u64 = 32;
        const LONG_NS: u64 = 10_000_000;
        self.times >= MANY || self.times >= FEW && monotonic_ns() - self.since_ns > LONG_NS
    }
}

/// What an access has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The file's own pages.
    Pages,
    /// A page that is lost.
    Zeros,
    /// Nobody can tell: pages were put back meanwhile.
    Either,
}

/// When an access began, as far as lost pages are concerned.
#[derive(Clone, Copy)]
pub(super) struct Epoch(u32);

impl Lost {
    /// Nothing lost yet, of a mapping of so many bytes.
    pub(super) fn new(capacity: usize, page_size: usize) -> Lost {
        Lost {
            page_size,
            words: (capacity / page_size).div_ceil(BITS),
            bits: AtomicPtr::default(),
            any: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            standing_in: AtomicU32::new(0),
            errno: AtomicI32::new(0),
            tried: AtomicU64::new(0),
            tried_since: AtomicU64::new(0),
            used: [AtomicUsize::new(usize::MAX), AtomicUsize::new(0)],
        }
    }

    /// Gets the memory for the bits, which has to be there before a page can be lost.
    pub(super) fn prepare(&self) -> Result<(), Errno> {
        // ORDER: Acquire, partner: the exchange below, also when another thread made it.
        if !self.bits.load(Ordering::Acquire).is_null() {
            return Ok(());
        }
        let new = map::zero_pages(self.length())?;
        // ORDER: AcqRel, partner: itself and the loads: the kernel's zeros are there before they are found.
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        if self.bits.compare_exchange(std::ptr::null_mut(), new.as_ptr().cast(), success, failure).is_err() {
            // SAFETY: made just now, and nobody else has seen it.
            unsafe { map::unmap(new, self.length()) }?;
        }
        Ok(())
    }

    /// Bytes of the bits.
    fn length(&self) -> usize {
        self.words * size_of::<u64>()
    }

    fn bits(&self) -> &[AtomicU64] {
        // ORDER: Acquire, partner `prepare`.
        match NonNull::new(self.bits.load(Ordering::Acquire)) {
            // SAFETY: so many words of zeros that `prepare` got; they stay until `drop`, and all of them are atomics.
            Some(bits) => unsafe { std::slice::from_raw_parts(bits.as_ptr(), self.words) },
            None => &[],
        }
    }

    /// How often in a row, and since when, the page with the byte at `offset` has been asked about before. Threads that
    /// ask about different pages at once may make it less. Async-signal-safe.
    pub(super) fn tries(&self, offset: usize) -> Tries {
        let page = (offset / self.page_size) as u64;
        // ORDER: Relaxed for all of it: numbers that may be wrong.
        let tried = self.tried.load(Ordering::Relaxed);
        let tries = match tried >> 16 == page && tried & 0xffff != 0 {
            true => Tries { times: tried & 0xffff, since_ns: self.tried_since.load(Ordering::Relaxed) },
            false => Tries::none(),
        };
        self.tried_since.store(tries.since_ns, Ordering::Relaxed);
        self.tried.store(page << 16 | (tries.times + 1).min(0xffff), Ordering::Relaxed);
        tries
    }

    /// Notes that the page with the byte at `offset` is lost, and why, while `put_zeros` does its work.
    /// Async-signal-safe.
    pub(super) fn stand_in<R>(&self, offset: usize, errno: i32, put_zeros: impl FnOnce() -> R) -> R {
        // ORDER: SeqCst for all of it, partner `met_now` and `restore`: they agree on one order of the notes, of the
        // count, and of what they do themselves; the kernel orders the zeros between.
        self.standing_in.fetch_add(1, Ordering::SeqCst);
        self.note(offset, errno);
        let result = put_zeros();
        self.note(offset, errno);
        self.standing_in.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn note(&self, offset: usize, errno: i32) {
        let page = offset / self.page_size;
        self.tried.store(0, Ordering::Relaxed); // ORDER: Relaxed, a number that may be wrong
        // ORDER: SeqCst for the rest, see `stand_in`.
        self.errno.store(errno, Ordering::SeqCst);
        self.used[0].fetch_min(page / BITS, Ordering::SeqCst);
        self.used[1].fetch_max(page / BITS + 1, Ordering::SeqCst);
        self.any.store(true, Ordering::SeqCst);
        if let Some(word) = self.bits().get(page / BITS) {
            word.fetch_or(1 << (page % BITS), Ordering::SeqCst);
        }
        NOTES.fetch_add(1, Ordering::SeqCst);
    }

    /// Why the last page was lost.
    pub(super) fn errno(&self) -> i32 {
        self.errno.load(Ordering::Relaxed) // ORDER: Relaxed, read after a note was seen
    }

    /// Whether no page was lost since `settle`. To be asked after an access and before it counts as done, by those whose
    /// accesses `settle` waits for; others ask `met`.
    #[inline(always)]
    pub(super) fn is_nothing(&self) -> bool {
        // ORDER: Acquire, partner `note`: as in `met`.
        !self.any.load(Ordering::Acquire)
    }

    /// To be asked before an access, for `met`.
    #[inline]
    pub(super) fn epoch(&self) -> Epoch {
        // ORDER: Acquire, partner `restore`: an access that begins after its end meets the pages that it put back.
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// What an access to the span that `began` then has met. To be asked after it and before it counts as done.
    #[inline]
    pub(super) fn met(&self, span: Span, began: Epoch) -> Met {
        // ORDER: Acquire, partner `note`: the access before it is not moved behind it by the compiler, being assembly
        // that may touch any memory; the processor sees the note with the zeros, which were mapped after it.
        let all_are_there = !self.any.load(Ordering::Acquire);
        // ORDER: Acquire, partner `restore`: who sees that no page is lost any more sees that some were put back.
        if all_are_there && self.epoch.load(Ordering::Acquire) == began.0 {
            Met::Pages
        } else {
            self.met_now(span, began)
        }
    }

    #[cold]
    fn met_now(&self, span: Span, began: Epoch) -> Met {
        // ORDER: SeqCst, partner `stand_in`.
        wait_until(|| self.standing_in.load(Ordering::SeqCst) == 0);
        if self.has_lost(span) {
            return Met::Zeros;
        }
        // ORDER: SeqCst for the rest, partner `restore`.
        if self.epoch.load(Ordering::SeqCst) == began.0 && began.0.is_multiple_of(2) {
            return Met::Pages;
        }
        let over = wait_until(|| self.epoch.load(Ordering::SeqCst).is_multiple_of(2));
        if over { Met::Either } else { Met::Zeros }
    }

    /// Whether all pages of the span are the file's own at some moment of the call. Says no also where it would have to
    /// wait for long.
    #[cold]
    pub(super) fn is_whole(&self, span: Span) -> bool {
        loop {
            // ORDER: SeqCst for all of it, partner `stand_in` and `restore`: without notes, and with none taken back while
            // they were looked at, no zeros stand there.
            let settled = || self.standing_in.load(Ordering::SeqCst) == 0 && self.epoch().0.is_multiple_of(2);
            if !wait_until(settled) {
                return false;
            }
            let began = self.epoch.load(Ordering::SeqCst);
            if self.has_lost(span) {
                return false;
            }
            if began.is_multiple_of(2) && self.epoch.load(Ordering::SeqCst) == began {
                return true;
            }
        }
    }

    fn has_lost(&self, span: Span) -> bool {
        let pages = span.start() / self.page_size..span.end().div_ceil(self.page_size);
        let used = self.used_words();
        let first = (pages.start / BITS).max(used.start);
        let end = pages.end.div_ceil(BITS).min(used.end);
        (first..end).any(|index| {
            // ORDER: SeqCst, partner `note` and `restore`.
            let word = self.bits().get(index).map_or(0, |word| word.load(Ordering::SeqCst));
            runs(word).any(|run| {
                let (start, end) = (index * BITS + run.start, index * BITS + run.end);
                start < pages.end && pages.start < end
            })
        })
    }

    fn used_words(&self) -> Range<usize> {
        // ORDER: SeqCst, partner `note`.
        self.used[0].load(Ordering::SeqCst)..self.used[1].load(Ordering::SeqCst)
    }

    /// Calls `put_back` with the bytes of lost pages, from and to; they are lost no more. One caller at a time.
    pub(super) fn restore<E>(&self, mut put_back: impl FnMut(Range<usize>) -> Result<(), E>) -> Result<(), E> {
        // ORDER: SeqCst, partner `met_now` and `stand_in`, see there; this holds for all of it.
        self.epoch.store(self.epoch.load(Ordering::SeqCst) | 1, Ordering::SeqCst);
        let result = self.used_words().try_for_each(|index| {
            let Some(word) = self.bits().get(index) else { return Ok(()) };
            let lost = word.swap(0, Ordering::SeqCst);
            let at = |bit: usize| (index * BITS + bit) * self.page_size;
            runs(lost).try_for_each(|run| put_back(at(run.start)..at(run.end))).inspect_err(|_| {
                word.fetch_or(lost, Ordering::SeqCst);
            })
        });
        self.epoch.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// Whether `settle` is worth a try: pages were lost, and perhaps all put back.
    pub(super) fn may_settle(&self) -> bool {
        !self.is_nothing() && !self.has_any()
    }

    /// Good calls need to look no closer from now on, unless a page is lost still. No access that will ask `is_nothing` is
    /// under way: it could not be told afterwards what it met.
    pub(super) fn settle(&self) {
        // ORDER: SeqCst, partner `stand_in`: a page that is noted before is found below, one that is noted after sets it.
        self.any.store(false, Ordering::SeqCst);
        if self.has_any() {
            self.any.store(true, Ordering::SeqCst); // ORDER: SeqCst, as above
        }
    }

    /// Whether a page is lost, or about to be.
    fn has_any(&self) -> bool {
        // ORDER: SeqCst for both, partner `stand_in`: who has left that has set the bits.
        let is_set = |word: &AtomicU64| word.load(Ordering::SeqCst) != 0;
        let is_standing_in = self.standing_in.load(Ordering::SeqCst) != 0;
        is_standing_in || self.used_words().any(|index| self.bits().get(index).is_some_and(is_set))
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        // ORDER: Relaxed, `&mut self` is alone.
        if let Some(bits) = NonNull::new(self.bits.load(Ordering::Relaxed)) {
            // SAFETY: `prepare` got it, and nobody else has it any more.
            let unmapped = unsafe { map::unmap(bits.cast(), self.length()) };
            debug_assert_eq!(unmapped, Ok(()));
        }
    }
}

/// Where the count of all notes stands. It goes up before zeros are there, and again after.
pub(super) fn notes() -> &'static AtomicU64 {
    &NOTES
}

/// Waits for a state that another thread is about to bring about; whether it did.
fn wait_until(is_so: impl Fn() -> bool) -> bool {
    let since_ns = monotonic_ns();
    loop {
        if is_so() {
            return true;
        }
        if monotonic_ns() - since_ns > PATIENCE_NS {
            return false;
        }
        std::thread::yield_now();
    }
}

/// The ranges of bits that are set, from low to high.
fn runs(mut word: u64) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let zeros = word.trailing_zeros() as usize;
        word >>= zeros;
        let ones = word.trailing_ones() as usize;
        word = word.checked_shr(ones as u32).unwrap_or(0);
        let start = at + zeros;
        at = start + ones;
        Some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PAGE: usize = 4096;

    fn lost(pages: usize) -> Lost {
        let lost = Lost::new(pages * PAGE, PAGE);
        lost.prepare().unwrap();
        lost
    }

    fn is_lost(lost: &Lost, page: usize) -> bool {
        lost.met(Span::within((page * PAGE) as u64, 1, u64::MAX).unwrap(), lost.epoch()) == Met::Zeros
    }

    fn lose(lost: &Lost, page: usize) {
        lost.stand_in(page * PAGE + page % PAGE, 6, || ());
    }

    fn restore_all(lost: &Lost) -> BTreeSet<usize> {
        let mut pages = BTreeSet::new();
        lost.restore(|bytes| {
            pages.extend(bytes.start / PAGE..bytes.end / PAGE);
            Ok::<_, ()>(())
        })
        .unwrap();
        pages
    }

    proptest! {
        #[test]
        fn exactly_the_pages_that_were_noted_are_lost_until_they_are_put_back(
            pages in prop::collection::btree_set(0..1000usize, 0..200)
        ) {
            let lost = lost(1000);
            pages.iter().for_each(|page| lose(&lost, *page));
            for page in 0..1000 {
                prop_assert_eq!(is_lost(&lost, page), pages.contains(&page));
            }
            prop_assert_eq!(restore_all(&lost), pages);
            prop_assert!((0..1000).all(|page| !is_lost(&lost, page)));
        }

        #[test]
        fn runs_are_the_bits_that_are_set(word: u64) {
            let bits: Vec<usize> = runs(word).flatten().collect();
            let expected: Vec<usize> = (0..BITS).filter(|bit| word >> bit & 1 == 1).collect();
            prop_assert_eq!(bits, expected);
        }
    }

    #[test]
    fn a_page_lost_again_while_it_is_put_back_stays_lost() {
        let lost = lost(100);
        lose(&lost, 7);
        lost.restore(|_| {
            lose(&lost, 7);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(is_lost(&lost, 7));
    }

    #[test]
    fn a_page_put_back_before_its_zeros_were_in_place_stays_lost() {
        let lost = lost(100);
        lost.stand_in(7 * PAGE, 6, || drop(restore_all(&lost)));
        assert!(is_lost(&lost, 7));
    }

    #[test]
    fn an_access_during_which_pages_were_put_back_does_not_count() {
        let (lost, span) = (lost(100), Span::within(0, 1, 1).unwrap());
        lose(&lost, 0);
        let began = lost.epoch();
        restore_all(&lost);
        assert_eq!((lost.met(span, began), lost.met(span, lost.epoch())), (Met::Either, Met::Pages));
        lost.settle();
        assert_eq!((lost.met(span, began), lost.met(span, lost.epoch())), (Met::Either, Met::Pages));
    }

    #[test]
    fn a_page_that_is_being_put_back_does_not_count_as_whole() {
        let (lost, span) = (lost(100), Span::within(0, 1, 1).unwrap());
        assert!(lost.is_whole(span));
        lose(&lost, 0);
        assert!(!lost.is_whole(span));
        let mut meanwhile = true;
        lost.restore(|_| {
            meanwhile = lost.is_whole(span); // which waits for the end of it as long as that may take
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(!meanwhile && lost.is_whole(span));
    }

    #[test]
    fn an_access_that_is_tried_again_is_given_up_after_many_times_or_long() {
        let lost = lost(100);
        assert!((0..32).all(|times| lost.tries(7 * PAGE).times == times));
        assert!(lost.tries(7 * PAGE).are_enough());
        assert_eq!(lost.tries(8 * PAGE).times, 0);
        let long_ago = monotonic_ns() - 200_000_000;
        let tried = |times| Tries { times, since_ns: long_ago }.are_enough();
        assert!(tried(8) && !tried(7));
    }

    #[test]
    fn good_calls_look_no_closer_once_all_pages_are_back() {
        let lost = lost(100);
        assert!(lost.is_nothing() && !lost.may_settle());
        lose(&lost, 7);
        lose(&lost, 99);
        lost.settle();
        assert!(!lost.is_nothing() && !lost.may_settle(), "they are lost still");
        restore_all(&lost);
        assert!(!lost.is_nothing() && lost.may_settle(), "an access may have met them");
        lost.stand_in(8 * PAGE, 6, || {
            restore_all(&lost);
            lost.settle();
            assert!(!lost.is_nothing(), "zeros are being put in place");
        });
        assert!(is_lost(&lost, 8));
        restore_all(&lost);
        lost.settle();
        assert!(lost.is_nothing());
        lose(&lost, 7);
        assert!(is_lost(&lost, 7) && !lost.is_nothing());
    }

    #[test]
    fn pages_that_could_not_be_put_back_stay_lost() {
        let lost = lost(100);
        lose(&lost, 7);
        assert_eq!(lost.restore(|_| Err("no")), Err("no"));
        assert!(is_lost(&lost, 7) && !is_lost(&lost, 8));
    }
}
