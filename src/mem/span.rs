//! THE bounds check: every access to mapped memory goes through [`Span::within`].

use super::hazard;
use crate::error::{Error, Result};

/// A range that has been found to lie inside a mapping: start and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    length: usize,
}

impl Span {
    /// The range of `length` bytes from `offset`, if it lies within the first `limit` bytes; ERANGE otherwise,
    /// for every offset and length, sums that overflow included. A range of no bytes may stand at the limit.
    pub(crate) fn within(offset: u64, length: u64, limit: u64) -> Result<Span> {
        Span::find(offset, length, limit).ok_or(Error::OutOfRange { offset, length, limit })
    }

    /// The same for those who need no error.
    #[inline(always)]
    pub(crate) fn find(offset: u64, length: u64, limit: u64) -> Option<Span> {
        if limit.checked_sub(offset).is_none_or(|room| room < length) {
            hazard::seldom();
            return None;
        }
        Some(Span { start: usize::try_from(offset).ok()?, length: usize::try_from(length).ok()? })
    }

    /// A range that was found to lie inside its mapping before, and still does.
    #[inline(always)]
    pub(super) fn checked_before(start: usize, length: usize) -> Span {
        Span { start, length }
    }

    /// The `length` bytes from `at` on of this range, if it has them.
    #[inline(always)]
    pub(crate) fn find_part(self, at: usize, length: usize) -> Option<Span> {
        let part = Span::find(at as u64, length as u64, self.length as u64)?;
        Some(Span { start: self.start + part.start, length })
    }

    /// The `length` bytes from `at` on of this range, which has them.
    #[inline(always)]
    pub(crate) fn part(self, at: usize, length: usize) -> Span {
        assert!(at <= self.length && length <= self.length - at);
        Span { start: self.start + at, length }
    }

    /// The first byte's offset.
    pub(crate) fn start(self) -> usize {
        self.start
    }

    /// How many bytes.
    pub(crate) fn length(self) -> usize {
        self.length
    }

    /// The offset behind the last byte.
    pub(crate) fn end(self) -> usize {
        self.start + self.length
    }

    /// The whole pages that the range touches; the last may reach past the limit it was checked against.
    pub(crate) fn pages(self, page_size: usize) -> Span {
        let start = self.start - self.start % page_size;
        Span { start, length: self.end().next_multiple_of(page_size) - start }
    }
}

#[cfg(test)]
mod tests {
    use super::Span;
    use proptest::prelude::*;

    /// Numbers near the edges, where sums overflow, as often as any others.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..70_000u64, any::<u64>(), (0..70_000u64).prop_map(|below| u64::MAX - below)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_span_is_given_exactly_when_the_exact_sum_fits(offset in number(), length in number(), limit in number()) {
            let fits = u128::from(offset) + u128::from(length) <= u128::from(limit);
            let span = Span::within(offset, length, limit);
            prop_assert_eq!(span.is_ok(), fits);
            if let Ok(span) = span {
                prop_assert_eq!((span.start() as u64, span.length() as u64), (offset, length));
            }
        }

        #[test]
        fn pages_cover_the_span_and_no_page_more(offset in 0..1u64 << 40, length in 0..1u64 << 40) {
            let span = Span::within(offset, length, 1 << 63).unwrap();
            let pages = span.pages(4096);
            prop_assert!(pages.start() <= span.start() && span.start() - pages.start() < 4096);
            prop_assert!(pages.end() >= span.end() && pages.end() - span.end() < 4096);
            prop_assert!(pages.start().is_multiple_of(4096) && pages.length().is_multiple_of(4096));
        }
    }
}
