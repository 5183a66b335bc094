//! Guarded atomics: values, faults, and that they are atomic.

use std::thread;

use super::super::{Fault, Word};
use super::{Edge, PAGE};

/// Runs every operation on `$word` at `$at`, whose value is 0; yields what each returned.
macro_rules! every_operation {
    ($word:ty, $at:expr) => {{
        let at: *mut $word = $at;
        // SAFETY: the caller passes an aligned word of a mapping; this holds for all below.
        let load = || unsafe { <$word>::load(at) };
        // SAFETY: as above.
        let stored = unsafe { <$word>::store(at, <$word>::MAX - 1) }.map(|()| 0);
        let after_store = load();
        // SAFETY: as above.
        let swapped = unsafe { <$word>::swap(at, 0x8000_0001) };
        // SAFETY: as above.
        let added = unsafe { <$word>::add(at, <$word>::MAX) };
        // SAFETY: as above.
        let or = unsafe { <$word>::or(at, 0b0110) };
        // SAFETY: as above.
        let and = unsafe { <$word>::and(at, 0b1100) };
        // SAFETY: as above.
        let refused = unsafe { <$word>::compare_swap(at, 5, 6) };
        // SAFETY: as above.
        let accepted = unsafe { <$word>::compare_swap(at, 0b0100, 77) };
        [stored, after_store, swapped, added, or, and, refused, accepted, load()]
    }};
}

/// What [`every_operation`] yields where nothing faults.
macro_rules! expected {
    ($word:ty) => {
        [0, <$word>::MAX - 1, <$word>::MAX - 1, 0x8000_0001, 0x8000_0000, 0x8000_0006, 4, 4, 77].map(Ok::<$word, Fault>)
    };
}

/// Runs what only answers yes or no on `$word` at `$at`; yields the answers.
macro_rules! every_answer {
    ($word:ty, $at:expr) => {{
        let at: *mut $word = $at;
        // SAFETY: the caller passes an aligned word of a mapping; this holds for all below.
        let put = unsafe { <$word>::put(at, 5) };
        // SAFETY: as above.
        let is = |expected| unsafe { <$word>::is(at, expected) };
        let after_put = [is(5), is(6)];
        // SAFETY: as above.
        let replaced = [6, 5].map(|expected| unsafe { <$word>::replace(at, expected, 7) });
        // SAFETY: as above.
        let bumped = [<$word>::MAX, 1].map(|by| unsafe { <$word>::put_and_bump(at, 6, by) });
        // SAFETY: as above, and the word behind is one too.
        let is_zero = [at, at.wrapping_add(1)].map(|at| unsafe { <$word>::is_zero(at) });
        // SAFETY: as above.
        let stands = unsafe { <$word>::load_or_zero(at) };
        (put, after_put, replaced, bumped, is_zero, is(6), u64::from(stands))
    }};
}

#[test]
fn answers_are_yes_only_where_it_is_done() {
    let mut edge = Edge::good_then_bad(PAGE, PAGE);
    let at = edge.bytes().as_mut_ptr();
    let expected = (true, [true, false], [false, true], [true; 2], [false, true], true, 6);
    assert_eq!(every_answer!(u32, at.cast()), expected);
    assert_eq!(every_answer!(u64, at.wrapping_add(8).cast()), expected);
    assert!(edge.bytes()[16..].iter().all(|&byte| byte == 0));
    assert_eq!(edge.bytes()[4..8], [0; 4]);
    let nothing = (false, [false; 2], [false; 2], [false; 2], [false; 2], false, 0);
    assert_eq!(every_answer!(u32, edge.at().cast()), nothing);
    assert_eq!(every_answer!(u64, edge.at().cast()), nothing);
}

#[test]
fn atomics_return_what_stood_there() {
    let mut edge = Edge::good_then_bad(PAGE, PAGE);
    let at = edge.bytes().as_mut_ptr();
    assert_eq!(every_operation!(u32, at.cast()), expected!(u32));
    assert_eq!(every_operation!(u64, at.wrapping_add(8).cast()), expected!(u64));
    assert!(edge.bytes()[16..].iter().all(|&byte| byte == 0));
    assert!(edge.bytes()[4..8].iter().all(|&byte| byte == 0));
}

#[test]
fn atomics_report_a_fault() {
    let edge = Edge::good_then_bad(PAGE, PAGE);
    assert_eq!(every_operation!(u32, edge.at().cast()), [Err(Fault); 9]);
    assert_eq!(every_operation!(u64, edge.at().cast()), [Err(Fault); 9]);
}

/// Each thread sets and clears a bit of its own, adds, and raises a count by comparing and swapping.
#[test]
fn atomics_lose_nothing_between_threads() {
    const ROUNDS: u64 = 100_000;
    let mut edge = Edge::good_then_bad(PAGE, PAGE);
    let start = edge.bytes().as_mut_ptr().expose_provenance();
    let word = move |index: usize| std::ptr::with_exposed_provenance_mut::<u64>(start).wrapping_add(index);
    thread::scope(|scope| {
        for bit in 0..3 {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    // SAFETY: words of a mapping that outlives the threads, accessed by these operations only.
                    assert_eq!(unsafe { u64::or(word(0), 1 << bit) }.map(|value| value >> bit & 1), Ok(0));
                    // SAFETY: as above.
                    assert_eq!(unsafe { u64::and(word(0), !(1 << bit)) }.map(|value| value >> bit & 1), Ok(1));
                    // SAFETY: as above.
                    assert!(unsafe { u64::add(word(1), 1) }.is_ok());
                    // SAFETY: as above.
                    let mut seen = unsafe { u64::load(word(2)) };
                    while let Ok(value) = seen {
                        // SAFETY: as above.
                        seen = unsafe { u64::compare_swap(word(2), value, value + 1) };
                        if seen == Ok(value) {
                            break;
                        }
                    }
                }
            });
        }
    });
    // SAFETY: as above; the threads have ended.
    let values = [0, 1, 2].map(|index| unsafe { u64::load(word(index)) });
    assert_eq!(values, [Ok(0), Ok(3 * ROUNDS), Ok(3 * ROUNDS)]);
}
