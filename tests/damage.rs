//! Each thing that cannot stand in a cell or a queue, alone: it is told as damage, by its name.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::cells::{Handle, cell_bytes, queue_bytes};
use common::hostile::{QUEUE_HEAD, QUEUE_RING, QUEUE_TAIL, identity};
use common::process::eventually;
use common::victim::Kind;
use common::words::Do;
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

/// In Rust a handle may have been given more bytes than the queue has: what is behind the ring is no message all the same.
#[test]
fn a_record_does_not_run_past_the_ring_into_other_bytes_of_the_handle() {
    let folder = Folder::new();
    let region = mapshare::Options::new().access(mapshare::Access::ReadWrite).create(true).length(1 << 12);
    let region = region.open(folder.join("file")).unwrap();
    let single = mapshare::Sides { single_producer: true, single_consumer: true };
    mapshare::Queue::init(region.words(0, 2048).unwrap(), CAPACITY, single).unwrap();
    let mut consumer = mapshare::Consumer::open(region.pin(0, 2048).unwrap()).unwrap();
    region.write(QUEUE_RING, &(COMMITTED | (RING - 8 + 1)).to_le_bytes()).unwrap();
    let failure = consumer.pop(&mut [0; 1024], Some(std::time::Duration::ZERO)).unwrap_err();
    assert_eq!(failure.errno(), EBADMSG, "{failure}");
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

/// Zeros come back where a file was cut and made longer again: what was there is not taken for messages that never were.
#[test]
fn messages_that_a_cut_file_has_lost_are_told_of() {
    for door in DOORS {
        for flags in [0, 3] {
            for ends in [false, true] {
                let folder = Folder::new();
                let region = door.open(folder.join("file"), &create(8 * 4096)).unwrap();
                region.init_queue(0, 20_000, flags).unwrap();
                let (mut producer, mut consumer) = (region.producer(0).unwrap(), region.consumer(0).unwrap());
                (0..4).for_each(|number| producer.push(&[number; 4000], 0).unwrap());
                files::set_length(&folder.join("file"), 4096 + 2048);
                files::set_length(&folder.join("file"), 8 * 4096);
                assert_eq!(consumer.pop(0).unwrap()[..8], [0; 8]);
                assert_eq!(consumer.pop(0).unwrap().len(), 4000, "its end is lost, which nobody can tell");
                if ends {
                    producer.end().unwrap();
                }
                refused(consumer.pop(0), libc::EBADMSG, &["a message that was pushed"]);
                refused(consumer.pop(-1), libc::EBADMSG, &["a message that was pushed"]);
                let _ = (producer.close(), consumer.close());
            }
        }
    }
}

/// It should not be done, and is not overlooked.
#[test]
fn those_who_sleep_on_what_is_wiped_meanwhile_are_told_so() {
    const ASLEEP: [u64; 3] = [40, 32, 32];
    const QUEUE: u64 = 8192;
    for door in DOORS {
        let folder = Folder::new();
        let region = &door.open(folder.join("file"), &create(1 << 16)).unwrap();
        region.init_mutex(0).unwrap();
        region.init_cell(4096, 8).unwrap();
        region.init_queue(QUEUE, 100, 3).unwrap();
        let mut consumer = region.consumer(QUEUE).unwrap();
        region.lock(0, 0).unwrap();
        std::thread::scope(|scope| {
            let sleepers = [
                scope.spawn(|| region.lock(0, -1).map(drop)),
                scope.spawn(|| region.wait_cell(4096, 0, -1)),
                scope.spawn(move || consumer.pop(-1).map(drop)),
            ];
            for ((at, asleep), sleeper) in [0, 4096, QUEUE].into_iter().zip(ASLEEP).zip(sleepers) {
                let is_asleep = || region.atomic(at + asleep, Do::<u32>::Load).unwrap() != 0;
                eventually("it sleeps", is_asleep);
                region.write(at, &[0; 512]).unwrap();
                refused(sleeper.join().unwrap(), libc::EBADMSG, &[]);
            }
        });
        refused(region.unlock(0), libc::EBADMSG, &[]);
    }
}

#[test]
fn a_queue_that_was_written_over_is_told_of_by_every_call_and_lets_go() {
    for (door, flags, byte) in DOORS
        .into_iter()
        .flat_map(|door| (0..4).flat_map(move |flags| [0, 1, 0xff].into_iter().map(move |byte| (door, flags, byte))))
    {
        let folder = Folder::new();
        let region = queue(door, &folder, flags);
        let (mut producer, mut consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
        (0..3).for_each(|_| producer.push(b"before", 0).unwrap());
        consumer.pop(0).unwrap();
        region.fill(AT, queue_bytes(CAPACITY), byte).unwrap();
        let told = |outcome: Outcome| refused(outcome, EBADMSG, &["queue"]);
        told(producer.push(b"after", 0));
        told(consumer.pop(0).map(drop));
        assert_eq!((producer.close(), consumer.close()), (Ok(()), Ok(())));

        region.fill(AT, queue_bytes(CAPACITY), 0).unwrap();
        region.init_queue(AT, CAPACITY, flags).unwrap();
        let (mut producer, mut consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
        producer.push(b"before", 0).unwrap();
        producer.reserve(8, 0).unwrap();
        consumer.peek(0).unwrap();
        region.fill(AT, queue_bytes(CAPACITY), byte).unwrap();
        told(producer.commit(8));
        told(consumer.consume());
        assert_eq!((producer.cancel(), consumer.cancel()), (Ok(()), Ok(())));
        for timeout in [0, -1] {
            told(producer.push(b"after", timeout));
            told(producer.reserve(8, timeout).map(drop));
            told(consumer.pop(timeout).map(drop));
            told(consumer.peek(timeout).map(drop));
        }
        told(producer.end());
        told(producer.info().map(drop));
        told(consumer.info().map(drop));
        assert_eq!((producer.close(), consumer.close()), (Ok(()), Ok(())));
    }
}

#[test]
fn a_mark_of_the_end_that_cannot_be() {
    const ENDED: u64 = 24;
    for (door, flags) in DOORS.into_iter().flat_map(|door| (0..4).map(move |flags| (door, flags))) {
        let folder = Folder::new();
        let region = queue(door, &folder, flags);
        let (mut producer, mut consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
        for mark in [2, u32::MAX] {
            region.write(AT + ENDED, &mark.to_le_bytes()).unwrap();
            let told = |outcome: Outcome| refused(outcome, EBADMSG, &["the mark of the end", &format!("{mark:#x}")]);
            told(producer.push(b"1", 0));
            told(producer.end());
            told(consumer.pop(0).map(drop));
        }
        producer.close().unwrap();
        consumer.close().unwrap();
    }
}
