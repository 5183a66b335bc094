//! Each thing that cannot stand in a cell or a queue, alone: it is told as damage, by its name.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::cells::{Handle, cell_bytes, queue_bytes};
use common::hostile::{QUEUE_HEAD, QUEUE_RING, QUEUE_TAIL, identity};
use common::victim::Kind;
use common::*;
use libc::*;

const AT: u64 = 64;
const CAPACITY: u64 = 200;
const RING: u64 = 256;
const COMMITTED: u64 = 1 << 63;
const PADDING: u64 = 1 << 62;

/// A region that ends with the object.
fn open(door: Door, folder: &Folder, bytes: u64) -> Opened {
    let region = door.open(folder.join("file"), &create(AT + bytes)).unwrap();
    region.fill(AT, bytes, 0).unwrap();
    region
}

fn queue(door: Door, folder: &Folder, flags: u32) -> Opened {
    let region = open(door, folder, queue_bytes(CAPACITY));
    region.init_queue(AT, CAPACITY, flags).unwrap();
    region
}

fn put(region: &Opened, at: u64, word: u64) {
    region.write(AT + at, &word.to_le_bytes()).unwrap();
}

fn identify(region: &Opened, kind: Kind, length: u64, options: u32) {
    let words = identity(kind, length, options);
    words.iter().enumerate().for_each(|(number, word)| put(region, 8 * number as u64, *word));
}

#[test]
fn a_length_or_number_of_slots_that_no_cell_has() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder, cell_bytes(100));
        region.init_cell(AT, 100).unwrap();
        let told = |length: u64, slots: u32, code: i32, words: &str| {
            identify(&region, Kind::Cell(100), length, slots);
            refused(region.read_cell(AT, 100), code, &[words]);
            refused(region.publish(AT, &[1; 100]), code, &[words]);
            refused(region.wait_cell(AT, 0, -1), code, &[words]);
        };
        for slots in [0, 1, 2, 3, 5, 6, 12, 17, 32, 1 << 31, u32::MAX] {
            told(100, slots, EBADMSG, "the number of slots");
        }
        for length in [0, (1 << 56) + 1, 1 << 60, u64::MAX, u64::MAX - 63] {
            told(length, 16, EBADMSG, "the value's length");
        }
        for (length, slots) in [(1 << 56, 4), (1 << 20, 16), (129, 16)] {
            told(length, slots, ERANGE, "long");
        }
        identify(&region, Kind::Cell(100), 99, 16);
        refused(region.read_cell(AT, 100), EINVAL, &["values of 99 bytes"]);
        refused(region.publish(AT, &[1; 100]), EINVAL, &["values of 99 bytes"]);
        identify(&region, Kind::Cell(100), 100, 16);
        assert_eq!(region.read_cell(AT, 100), Ok((0, vec![0; 100])));
    }
}

#[test]
fn a_capacity_or_flags_that_no_queue_has() {
    for door in DOORS {
        let folder = Folder::new();
        let region = queue(door, &folder, 0);
        let (mut producer, mut consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
        let told = |capacity: u64, flags: u32, code: i32, words: &str| {
            identify(&region, Kind::Queue(0, 0), capacity, flags);
            refused(region.producer(AT).map(drop), code, &[words]);
            refused(region.consumer(AT).map(drop), code, &[words]);
        };
        for flags in [4, 8, 1 << 31, u32::MAX] {
            told(CAPACITY, flags, EBADMSG, "the flags");
        }
        for capacity in [0, (1 << 56) + 1, u64::MAX - 15, u64::MAX] {
            told(capacity, 0, EBADMSG, "the capacity");
        }
        for capacity in [1 << 56, 1 << 20, RING - 15] {
            told(capacity, 0, ERANGE, "long");
            refused(producer.info(), EBADMSG, &["the capacity"]);
        }
        put(&region, 0, 0);
        refused(consumer.info(), EBADMSG, &["the head"]);
        identify(&region, Kind::Queue(0, 0), CAPACITY, 0);
        assert_eq!(consumer.info().unwrap().capacity, CAPACITY);
        let _ = (producer.close(), consumer.close());
    }
}

/// As when the object's identity changes between the look at its size and the look at the rest.
#[test]
fn fewer_bytes_than_the_object_takes() {
    let folder = Folder::new();
    let region = mapshare::Options::new().access(mapshare::Access::ReadWrite).create(true).length(1 << 16);
    let region = region.open(folder.join("file")).unwrap();
    mapshare::Queue::init(region.words(0, 2048).unwrap(), CAPACITY, mapshare::Sides::default()).unwrap();
    mapshare::Cell::init(region.words(4096, 8192).unwrap(), 100).unwrap();
    for length in [8, 128, 512, 512 + 64, queue_bytes(CAPACITY) - 8] {
        let opened = mapshare::Producer::open(region.pin(0, length).unwrap()).map(drop);
        refused(opened.map_err(Failure::from), ERANGE, &["long"]);
        let opened = mapshare::Consumer::open(region.pin(0, length).unwrap()).map(drop);
        refused(opened.map_err(Failure::from), ERANGE, &["long"]);
        let cell = mapshare::Cell::at(region.words(4096, length).unwrap()).map(drop);
        refused(cell.map_err(Failure::from), ERANGE, &["long"]);
    }
}

#[test]
fn counts_and_cursors_far_apart_tell_of_no_more_than_there_is_room_for() {
    for door in DOORS {
        let region = queue(door, &Folder::new(), 0);
        let mut consumer = region.consumer(AT).unwrap();
        for (tail, head, bytes) in [(1 << 40, 0, RING), (RING + 8, 0, RING), (64, 0, 64), (0, 64, 0), (1 << 63, 0, 0)] {
            put(&region, QUEUE_TAIL, tail);
            put(&region, QUEUE_HEAD, head);
            for (pushed, popped) in [(u64::MAX, 0), (1 << 40, 3), (0, u64::MAX), (9, 9)] {
                put(&region, QUEUE_TAIL + 8, pushed);
                put(&region, QUEUE_HEAD + 8, popped);
                let state = consumer.info().unwrap();
                assert_eq!((state.bytes, state.pushed, state.popped), (bytes, pushed, popped));
                assert_eq!(state.messages, if pushed > popped { bytes / 8 } else { 0 });
            }
        }
        consumer.close().unwrap();
    }
}

/// What a producer is told who comes to a queue with these cursors, whenever that is.
fn produce(region: &Opened) -> Outcome {
    let mut producer = region.producer(AT)?;
    let pushed = producer.push(&[1; 8], 0);
    producer.close().unwrap();
    pushed
}

#[test]
fn a_producer_finds_cursors_that_cannot_be() {
    for door in DOORS {
        for flags in 0..4 {
            let region = queue(door, &Folder::new(), flags);
            for tail in [1, 4, 7, 12, u64::MAX] {
                put(&region, QUEUE_TAIL, tail);
                refused(produce(&region), EBADMSG, &["a cursor, which is a multiple of 8"]);
            }
            put(&region, QUEUE_TAIL, 0);
            // Ahead of the producers', not at a word, and behind them by more than the ring has.
            for head in [8, 16, 1 << 63, 4u64.wrapping_neg(), RING.wrapping_neg(), RING.wrapping_neg() - 8, RING] {
                put(&region, QUEUE_HEAD, head);
                refused(produce(&region), EBADMSG, &["the consumers' cursor"]);
            }
            put(&region, QUEUE_HEAD, (RING - 8).wrapping_neg());
            refused(produce(&region), ETIMEDOUT, &[]);
            put(&region, QUEUE_HEAD, 0);
            (0..3).for_each(|_| produce(&region).unwrap());
            put(&region, QUEUE_TAIL, 0);
            refused(produce(&region), EBADMSG, &["too far back"]);
            put(&region, QUEUE_TAIL, 16);
            refused(produce(&region), EBADMSG, &["too far back"]);
            put(&region, QUEUE_TAIL, 32);
            produce(&region).unwrap();
        }
    }
}

/// What a consumer is told who comes to a queue like that.
fn consume(region: &Opened) -> Outcome<Vec<u8>> {
    let mut consumer = region.consumer(AT)?;
    let popped = consumer.pop(0);
    if let Err(failure) = &popped {
        assert_eq!(code(consumer.peek(0)), failure.code);
    }
    consumer.close().unwrap();
    popped
}

#[test]
fn a_consumer_finds_a_cursor_or_a_record_that_cannot_be() {
    for door in DOORS {
        for flags in 0..4 {
            let region = queue(door, &Folder::new(), flags);
            for head in [1, 4, 12, u64::MAX] {
                put(&region, QUEUE_HEAD, head);
                refused(consume(&region), EBADMSG, &["a cursor, which is a multiple of 8"]);
            }
            for position in [0, 8, 64, RING - 16, RING - 8] {
                let longest = RING - position - 8;
                let mut bad = vec![1, 8, 1 << 62, COMMITTED | 1 << 61, COMMITTED | 1 << 32, u64::MAX];
                bad.extend([longest + 1, longest + 8, RING, RING + 8, 1 << 40].map(|length| COMMITTED | length));
                bad.extend([longest + 8, longest.wrapping_sub(8), 1 << 40].map(|gap| COMMITTED | PADDING | gap));
                if position == 0 {
                    bad.push(COMMITTED | PADDING | longest);
                }
                put(&region, QUEUE_HEAD, 7 * RING + position);
                for word in bad {
                    put(&region, QUEUE_RING + position, word);
                    refused(consume(&region), EBADMSG, &["a record's word", &format!("{word:#x}")]);
                }
                put(&region, QUEUE_RING + position, COMMITTED | longest);
                assert_eq!(consume(&region).map(|message| message.len() as u64), Ok(longest));
                assert_eq!(region.bytes(AT + QUEUE_HEAD, 8), (8 * RING).to_le_bytes());
                put(&region, QUEUE_RING + position, 0);
                put(&region, QUEUE_RING, 0);
            }
        }
    }
}

#[test]
fn a_message_of_no_bytes_may_stand_in_the_rings_last_word() {
    for door in DOORS {
        for flags in 0..4 {
            let region = queue(door, &Folder::new(), flags);
            for cursor in [QUEUE_HEAD, QUEUE_TAIL] {
                put(&region, cursor, RING - 8);
            }
            let (mut producer, mut consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
            producer.reserve(0, 0).unwrap();
            producer.commit(0).unwrap();
            assert_eq!(consumer.peek(0).map(|(_, length)| length), Ok(0));
            consumer.consume().unwrap();
            assert_eq!(region.bytes(AT + QUEUE_HEAD, 8), RING.to_le_bytes());
            let handles: [Handle; 2] = [producer, consumer];
            handles.into_iter().for_each(|handle| handle.close().unwrap());
        }
    }
}
