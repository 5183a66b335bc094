//! Copies and fills where nothing faults.

use super::{CANARY, copies, fills, pattern};

/// Longest copy of which every length is tried.
const LONGEST: usize = 4096;

/// Room on either side of a destination, for its alignment and for canaries.
const MARGIN: usize = 128;

/// Copies `length` bytes between these alignments and looks at the destination and around it.
fn check_copy(way: &super::Copy, to: &mut [u8], to_align: usize, from: &[u8], from_align: usize, length: usize) {
    let start = to.as_ptr().align_offset(64) + 64 + to_align;
    let from = &from[from.as_ptr().align_offset(64) + from_align..][..length];
    let window = &mut to[start - 64..start + length + 64];
    window.fill(CANARY);
    let done = (way.run)(window[64..].as_mut_ptr(), from.as_ptr(), length);
    let case = || format!("{} of {length}, alignments {to_align} and {from_align}", way.name);
    assert_eq!(done, length, "{}", case());
    assert!(&window[64..64 + length] == from, "{}", case());
    assert!(window[..64].iter().all(|&byte| byte == CANARY), "{}: before", case());
    assert!(window[64 + length..].iter().all(|&byte| byte == CANARY), "{}: behind", case());
}

/// Every length with every alignment of the destination; the source's goes round with the length, so that all pairs
/// of alignments occur.
#[test]
fn every_length_at_every_alignment_copies_its_bytes() {
    let from = pattern(LONGEST + 2 * MARGIN);
    let mut to = vec![0; LONGEST + 3 * MARGIN];
    for way in copies() {
        let step = if way.name == "system call" { 13 } else { 1 };
        for length in (0..=LONGEST).step_by(step).filter(|&length| length >= way.shortest) {
            for to_align in 0..64 {
                check_copy(&way, &mut to, to_align, &from, (to_align * 29 + length) % 64, length);
            }
        }
    }
}

#[test]
fn chosen_lengths_copy_between_all_pairs_of_alignments() {
    let from = pattern(LONGEST + 2 * MARGIN);
    let mut to = vec![0; LONGEST + 3 * MARGIN];
    for way in copies().iter().filter(|way| way.name != "system call") {
        for length in [1, 7, 16, 33, 64, 65, 128, 129, 255, 257, 385, 1000, 4096] {
            if length >= way.shortest {
                for pair in 0..64 * 64 {
                    check_copy(way, &mut to, pair / 64, &from, pair % 64, length);
                }
            }
        }
    }
}

/// 9 MiB take the loop past the caches.
#[test]
fn large_copies_and_fills_are_whole() {
    for length in [(1 << 20) + 1, 5 << 20, (9 << 20) + 77] {
        let from = pattern(length + MARGIN);
        let mut to = vec![0; length + 3 * MARGIN];
        for way in copies() {
            check_copy(&way, &mut to, 3, &from, 50, length);
        }
    }
    let length = (17 << 20) + 77;
    let mut to = vec![0; length + 3 * MARGIN];
    for way in fills() {
        check_fill(&way, &mut to, 5, length);
    }
}

/// Fills `length` bytes at this alignment and looks at them and around them.
fn check_fill(way: &super::Fill, to: &mut [u8], align: usize, length: usize) {
    let byte = 0x5A ^ length as u8;
    let start = to.as_ptr().align_offset(64) + 64 + align;
    let window = &mut to[start - 64..start + length + 64];
    window.fill(!byte);
    let done = (way.run)(window[64..].as_mut_ptr(), byte, length);
    let case = || format!("{} of {length}, alignment {align}", way.name);
    assert_eq!(done, length, "{}", case());
    // All equal: the first is right, and each is as the one before it.
    let filled = &window[64..64 + length];
    assert!(length == 0 || filled[0] == byte && filled[1..] == filled[..length - 1], "{}", case());
    assert!(window[..64].iter().all(|&found| found == !byte), "{}: before", case());
    assert!(window[64 + length..].iter().all(|&found| found == !byte), "{}: behind", case());
}

#[test]
fn every_length_at_every_alignment_is_filled() {
    let mut to = vec![0; LONGEST + 3 * MARGIN];
    for way in fills() {
        let step = if way.name == "system call" { 13 } else { 1 };
        for length in (0..=LONGEST).step_by(step).filter(|&length| length >= way.shortest) {
            for align in 0..64 {
                check_fill(&way, &mut to, align, length);
            }
        }
    }
}
