//! Copies and fills that fault: at every byte, on either side, exact counts.

use super::{CANARY, Edge, PAGE, copies, fills, pattern};

/// Bytes around the destination that must not change.
const MARGIN: usize = 64;

/// The lengths of which every byte is made to fault.
fn lengths() -> impl Iterator<Item = usize> {
    (1..=260).chain([511, 512, 513, 700, 1024, 2048, 4096])
}

/// Enough for each length: that much before the edge, and as much behind it.
fn edge() -> Edge {
    Edge::good_then_bad(2 * PAGE, PAGE)
}

/// The fault lies `fault` bytes into the source; the destination is whole and aligned as `align` says.
#[test]
fn copies_count_exactly_when_the_source_faults_at_any_byte() {
    let mut source = edge();
    let mut to = vec![0; 2 * PAGE];
    source.bytes().copy_from_slice(&pattern(2 * PAGE));
    for way in copies() {
        for length in lengths().filter(|&length| length >= way.shortest) {
            for fault in 0..length {
                let align = (fault * 7 + length) % 64;
                let window = &mut to[align..align + MARGIN + length + MARGIN];
                window.fill(CANARY);
                let from = source.at().wrapping_sub(fault);
                let done = (way.run)(window[MARGIN..].as_mut_ptr(), from, length);
                let case = || format!("{} of {length}, source faults at {fault}", way.name);
                assert_eq!(done, fault, "{}", case());
                assert!(window[MARGIN..MARGIN + fault] == source.bytes()[2 * PAGE - fault..], "{}", case());
                assert!(window[..MARGIN].iter().all(|&byte| byte == CANARY), "{}: before", case());
                assert!(window[MARGIN + fault..].iter().all(|&byte| byte == CANARY), "{}: behind", case());
            }
        }
    }
}

#[test]
fn copies_count_exactly_when_the_destination_faults_at_any_byte() {
    let mut destination = edge();
    let from = pattern(2 * PAGE);
    for way in copies() {
        for length in lengths().filter(|&length| length >= way.shortest) {
            for fault in 0..length {
                let from = &from[(fault * 7 + length) % 64..][..length];
                let start = 2 * PAGE - fault;
                destination.bytes()[start - MARGIN..].fill(CANARY);
                let to = destination.at().wrapping_sub(fault);
                let done = (way.run)(to, from.as_ptr(), length);
                let case = || format!("{} of {length}, destination faults at {fault}", way.name);
                assert_eq!(done, fault, "{}", case());
                let bytes = destination.bytes();
                assert!(bytes[start..] == from[..fault], "{}", case());
                assert!(bytes[start - MARGIN..start].iter().all(|&byte| byte == CANARY), "{}: before", case());
            }
        }
    }
}

#[test]
fn copies_stop_at_the_nearer_of_two_faults() {
    let (mut source, mut destination) = (edge(), edge());
    source.bytes().copy_from_slice(&pattern(2 * PAGE));
    for way in copies() {
        for length in [1, 8, 40, 64, 100, 200, 600, 4096].into_iter().filter(|&length| length >= way.shortest) {
            for (source_fault, fault) in
                [(0, 0), (0, length / 2), (length / 2, 0), (length / 3, length / 2), (length - 1, length / 2)]
            {
                destination.bytes().fill(CANARY);
                let from = source.at().wrapping_sub(source_fault);
                let done = (way.run)(destination.at().wrapping_sub(fault), from, length);
                let case = || format!("{} of {length}, faults at {source_fault} and {fault}", way.name);
                let expected = source_fault.min(fault);
                assert_eq!(done, expected, "{}", case());
                let (source, destination) = (source.bytes(), destination.bytes());
                let copied = &destination[2 * PAGE - fault..][..expected];
                assert!(copied == &source[2 * PAGE - source_fault..][..expected], "{}", case());
                assert!(destination[2 * PAGE - fault + expected..].iter().all(|&byte| byte == CANARY), "{}", case());
            }
        }
    }
}

#[test]
fn fills_count_exactly_when_any_byte_faults() {
    let mut destination = edge();
    for way in fills() {
        for length in lengths().filter(|&length| length >= way.shortest) {
            for fault in 0..length {
                let byte = 0x5A ^ length as u8;
                let start = 2 * PAGE - fault;
                destination.bytes()[start - MARGIN..].fill(!byte);
                let done = (way.run)(destination.at().wrapping_sub(fault), byte, length);
                let case = || format!("{} of {length}, faults at {fault}", way.name);
                assert_eq!(done, fault, "{}", case());
                let bytes = destination.bytes();
                assert!(bytes[start..].iter().all(|&found| found == byte), "{}", case());
                assert!(bytes[start - MARGIN..start].iter().all(|&found| found == !byte), "{}: before", case());
            }
        }
    }
}

/// The fault lies in the middle of a large copy or fill; the longest take the loop past the caches.
#[test]
fn large_copies_and_fills_count_exactly_when_the_middle_faults() {
    const HALF: usize = 9 << 20;
    let mut edge = Edge::good_then_bad(HALF, HALF);
    let bytes = pattern(2 * HALF);
    let mut to = vec![0; 2 * HALF];
    for length in [(1 << 20) + 1, 5 << 20, (17 << 20) + 33] {
        for fault in [length / 2 - 1, length / 2, length / 2 + 13] {
            for way in copies() {
                edge.bytes().fill(CANARY);
                let done = (way.run)(edge.at().wrapping_sub(fault), bytes.as_ptr(), length);
                assert_eq!(done, fault, "{} of {length}, destination", way.name);
                assert!(edge.bytes()[HALF - fault..] == bytes[..fault], "{} of {length}, destination", way.name);

                to.fill(CANARY);
                let done = (way.run)(to.as_mut_ptr(), edge.at().wrapping_sub(fault), length);
                assert_eq!(done, fault, "{} of {length}, source", way.name);
                assert!(to[..fault] == bytes[..fault], "{} of {length}, source", way.name);
                assert!(to[fault..] == [CANARY].repeat(to.len() - fault), "{} of {length}, behind", way.name);
            }
            for way in fills() {
                edge.bytes().fill(CANARY);
                let done = (way.run)(edge.at().wrapping_sub(fault), 7, length);
                assert_eq!(done, fault, "{} of {length}", way.name);
                assert!(edge.bytes()[HALF - fault..] == [7].repeat(fault), "{} of {length}", way.name);
            }
        }
    }
}
