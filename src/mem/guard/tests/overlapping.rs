//! Copies between ranges that overlap.

use super::super::{copy_backward, copy_forward, portable};
use super::{Edge, PAGE, pattern, system_call_works};

type Run = fn(*mut u8, *const u8, usize) -> usize;

/// The ways to copy ranges that overlap: by instructions and by system call, in the direction that is right.
fn ways() -> Vec<(&'static str, Run)> {
    let mut ways: Vec<(_, Run)> = vec![("instructions", |to, from, length| match to.addr() > from.addr() {
        // SAFETY: the tests pass ranges of their own memory.
        true => unsafe { copy_backward(to, from, length) },
        // SAFETY: as above.
        false => unsafe { copy_forward(to, from, length) },
    })];
    if system_call_works() {
        ways.push(("system call", |to, from, length| match to.addr() > from.addr() {
            // SAFETY: as above.
            true => unsafe { portable::copy_backward(to, from, length) },
            // SAFETY: as above.
            false => unsafe { portable::copy_forward(to, from, length) },
        }));
    }
    ways
}

/// Distances from source to destination.
const SHIFTS: [isize; 16] = [-1000, -64, -33, -17, -16, -15, -8, -1, 0, 1, 3, 8, 16, 17, 64, 1000];

#[test]
fn overlapping_copies_are_as_memmoves() {
    let original = pattern(3 * PAGE);
    for (name, run) in ways() {
        for length in (0..300).chain([1000, 4096, 5000]) {
            for shift in SHIFTS {
                let (from, to) = (2000, 2000usize.wrapping_add_signed(shift));
                let mut expected = original.clone();
                expected.copy_within(from..from + length, to);
                let mut bytes = original.clone();
                let start = bytes.as_mut_ptr();
                let done = run(start.wrapping_add(to), start.wrapping_add(from), length);
                assert_eq!(done, length, "{name}: {length} by {shift}");
                assert!(bytes == expected, "{name}: {length} by {shift}");
            }
        }
    }
}

/// The edge cuts the lower of the two ranges: at its start lie `fault` bytes that are gone.
#[test]
fn a_backward_copy_has_done_the_last_bytes_when_it_faults() {
    let mut edge = Edge::bad_then_good(PAGE, 2 * PAGE);
    let original = pattern(2 * PAGE);
    for (name, run) in ways() {
        for length in (1..200).chain([1000]) {
            for shift in [1usize, 5, 16, 40].into_iter().filter(|&shift| shift < length) {
                for fault in 1..=length {
                    edge.bytes().copy_from_slice(&original);
                    let from = edge.at().wrapping_sub(fault);
                    let to = from.wrapping_add(shift);
                    let done = run(to, from, length);
                    assert_eq!(done, length - fault, "{name}: {length} by {shift}, fault at {fault}");
                    let mut expected = original.clone();
                    // What lay from the edge on now lies `shift` further.
                    expected.copy_within(..done, shift);
                    assert!(edge.bytes() == expected, "{name}: {length} by {shift}, fault at {fault}");
                }
            }
        }
    }
}

#[test]
fn a_forward_copy_between_overlapping_ranges_has_done_the_first_bytes_when_it_faults() {
    let mut edge = Edge::good_then_bad(2 * PAGE, PAGE);
    let original = pattern(2 * PAGE);
    for (name, run) in ways() {
        for length in (1..200).chain([1000]) {
            for shift in [1usize, 5, 16, 40].into_iter().filter(|&shift| shift < length) {
                for fault in 0..length {
                    edge.bytes().copy_from_slice(&original);
                    let from = edge.at().wrapping_sub(fault);
                    let done = run(from.wrapping_sub(shift), from, length);
                    assert_eq!(done, fault, "{name}: {length} by {shift}, fault at {fault}");
                    let mut expected = original.clone();
                    let start = 2 * PAGE - fault;
                    expected.copy_within(start.., start - shift);
                    assert!(edge.bytes() == expected, "{name}: {length} by {shift}, fault at {fault}");
                }
            }
        }
    }
}
