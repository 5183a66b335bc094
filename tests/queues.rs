//! Queues: messages whole, in order and once, and every code.

mod common;

use common::cells::{Handle, pattern, queue_bytes};
use common::*;
use libc::*;
use mapshare::ffi::queue::*;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const LONG: i64 = 20_000_000_000;
const AT: u64 = 64;
const SINGLE: u32 = MAPSHARE_QUEUE_SINGLE_PRODUCER | MAPSHARE_QUEUE_SINGLE_CONSUMER;
const ALL: [u32; 4] = [SINGLE, MAPSHARE_QUEUE_SINGLE_PRODUCER, MAPSHARE_QUEUE_SINGLE_CONSUMER, 0];
/// Where who sleeps says so, from the queue's first byte.
const PRODUCERS_ASLEEP: u64 = 28;
const CONSUMERS_ASLEEP: u64 = 32;

fn open(door: Door, folder: &Folder, capacity: u64, flags: u32) -> Opened {
    let region = door.open(folder.join("file"), &create(AT + queue_bytes(capacity))).expect("good");
    region.fill(AT, queue_bytes(capacity), 0).expect("good");
    region.init_queue(AT, capacity, flags).expect("good");
    region
}

fn both(region: &Opened) -> (Handle, Handle) {
    (region.producer(AT).expect("good"), region.consumer(AT).expect("good"))
}

/// For each door and each kind of queue.
fn each(kinds: &[u32], capacity: u64, test: impl Fn(&Opened)) {
    for door in DOORS {
        for flags in kinds {
            test(&open(door, &Folder::new(), capacity, *flags));
        }
    }
}

fn until_asleep(region: &Opened, at: u64) {
    region.wait(AT + at, 0, LONG).unwrap_or_default();
    while region.bytes(AT + at, 4) == [0; 4] {
        thread::yield_now();
    }
}

#[test]
fn messages_come_out_whole_and_in_order() {
    each(&ALL, 256, |region| {
        let (mut producer, mut consumer) = both(region);
        for number in 0..1000 {
            let lengths = [number as usize % 100, 0, number as usize % 17];
            lengths.iter().for_each(|length| producer.push(&pattern(number, *length), 0).unwrap());
            lengths.iter().for_each(|length| assert_eq!(consumer.pop(0), Ok(pattern(number, *length))));
        }
        refused(consumer.pop(0), ETIMEDOUT, &["queue", "no message"]);
        let state = producer.info().unwrap();
        assert_eq!((state.messages, state.bytes, state.capacity), (0, 0, 256));
        assert_eq!((state.pushed, state.popped, state.producers, state.consumers), (3000, 3000, 1, 1));
        producer.close().unwrap();
        assert_eq!(consumer.info().unwrap().producers, 0);
        consumer.close().unwrap();
    });
}

#[test]
fn every_message_up_to_the_capacity_fits_wherever_the_cursor_stands() {
    for capacity in [1, 8, 40, 48, 49, 112, 1000] {
        each(&[SINGLE, 0], capacity, |region| {
            let (mut producer, mut consumer) = both(region);
            let too_long = pattern(0, capacity as usize + 1);
            refused(producer.push(&too_long, -1), EMSGSIZE, &[&format!("up to {capacity} bytes")]);
            for number in 0..50 {
                for length in [capacity, number % (capacity + 1)] {
                    let message = pattern(number, length as usize);
                    // Room may need a look of the consumer at the padding.
                    if producer.push(&message, 0).is_err() {
                        refused(consumer.pop(0), ETIMEDOUT, &[]);
                        producer.push(&message, 0).unwrap();
                    }
                    assert_eq!(consumer.pop(0), Ok(message));
                }
            }
            let _ = (producer.close(), consumer.close());
        });
    }
}

#[test]
fn a_buffer_that_is_too_small_leaves_the_message() {
    each(&ALL, 256, |region| {
        let (mut producer, mut consumer) = both(region);
        producer.push(&[5; 20], 0).unwrap();
        refused(consumer.pop_up_to(19, 0), EMSGSIZE, &["20 bytes", "19"]);
        assert_eq!(consumer.pop_up_to(20, 0), Ok(vec![5; 20]));
        let _ = (producer.close(), consumer.close());
    });
}

#[test]
fn a_full_queue_times_out_and_goes_on_once_there_is_room() {
    each(&[SINGLE, 0], 100, |region| {
        let (mut producer, mut consumer) = both(region);
        producer.push(&[1; 50], 0).unwrap();
        producer.push(&[2; 30], 0).unwrap();
        refused(producer.push(&[3; 30], 0), ETIMEDOUT, &["24 bytes free", "needs 48 in one piece"]);
        refused(producer.push(&[3; 30], 1_000_000), ETIMEDOUT, &["24 bytes free"]);
        region.write(AT + PRODUCERS_ASLEEP, &[0; 4]).unwrap();
        thread::scope(|scope| {
            let pushed = scope.spawn(move || (producer.push(&[4; 60], LONG), producer.close()));
            until_asleep(region, PRODUCERS_ASLEEP);
            assert_eq!(consumer.pop(0), Ok(vec![1; 50]));
            assert_eq!(consumer.pop(0), Ok(vec![2; 30]));
            assert_eq!(consumer.pop(LONG), Ok(vec![4; 60]));
            assert_eq!(pushed.join().unwrap(), (Ok(()), Ok(())));
        });
        consumer.close().unwrap();
    });
}

/// Which the time that it waits for room does not grow with.
#[test]
fn a_full_queue_of_256_gib_times_out_in_time() {
    const CAPACITY: u64 = 1 << 38;
    for door in DOORS {
        let folder = Folder::new();
        let options =
            mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_SPARSE, ..create(AT + queue_bytes(CAPACITY)) };
        let region = door.open(folder.join("file"), &options).unwrap();
        for flags in ALL {
            region.fill(AT, 512, 0).unwrap();
            region.init_queue(AT, CAPACITY, flags).unwrap();
            let mut producer = region.producer(AT).unwrap();
            for _ in 0..4 {
                producer.reserve(CAPACITY as usize / 4, 0).unwrap();
                producer.commit(CAPACITY as usize / 4).unwrap();
            }
            while producer.push(&[1], 0).is_ok() {}
            let begun = Instant::now();
            refused(producer.push(&[1], 1_000_000), ETIMEDOUT, &[]);
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
            producer.close().unwrap();
        }
    }
}

#[test]
fn an_empty_queue_is_waited_for_asleep_and_one_message_wakes_somebody() {
    each(&[SINGLE, 0], 100, |region| {
        let count = if region.bytes(AT + 16, 1) == [0] { 3 } else { 1 };
        let mut producer = region.producer(AT).unwrap();
        thread::scope(|scope| {
            let pop = || {
                let mut consumer = region.consumer(AT).unwrap();
                (consumer.pop(LONG), consumer.close())
            };
            let consumers: Vec<_> = (0..count).map(|_| scope.spawn(pop)).collect();
            for _ in &consumers {
                until_asleep(region, CONSUMERS_ASLEEP);
                producer.push(b"up", 0).unwrap();
            }
            for consumer in consumers {
                assert_eq!(consumer.join().unwrap(), (Ok(b"up".to_vec()), Ok(())));
            }
        });
        producer.close().unwrap();
    });
}

/// By the shortest way too, which leaves that for the end: the word is not 0 before the sleepers are woken.
#[test]
fn who_sends_or_takes_a_message_wakes_the_other_side_before_the_call_returns() {
    each(&ALL, 1024, |region| {
        let (mut producer, mut consumer) = both(region);
        let message = [7; 56];
        let pass_some = |producer: &mut Handle, consumer: &mut Handle| {
            for _ in 0..3 {
                producer.push(&message, 0).unwrap();
                assert_eq!(consumer.pop(0), Ok(message.to_vec()));
            }
        };
        pass_some(&mut producer, &mut consumer);
        thread::scope(|scope| {
            let popped = scope.spawn(move || (consumer.pop(LONG), consumer.close()));
            until_asleep(region, CONSUMERS_ASLEEP);
            producer.push(&message, 0).unwrap();
            assert_eq!(region.bytes(AT + CONSUMERS_ASLEEP, 4), [0; 4]);
            assert_eq!(popped.join().unwrap(), (Ok(message.to_vec()), Ok(())));
        });
        let mut consumer = region.consumer(AT).unwrap();
        pass_some(&mut producer, &mut consumer);
        while producer.push(&message, 0).is_ok() {}
        thread::scope(|scope| {
            let pushed = scope.spawn(move || (producer.push(&message, LONG), producer.close()));
            until_asleep(region, PRODUCERS_ASLEEP);
            assert_eq!(consumer.pop(0), Ok(message.to_vec()));
            assert_eq!(region.bytes(AT + PRODUCERS_ASLEEP, 4), [0; 4]);
            assert_eq!(pushed.join().unwrap(), (Ok(()), Ok(())));
        });
        consumer.close().unwrap();
    });
}

#[test]
fn a_reservation_is_filled_in_place_and_committed_in_part_or_given_up() {
    each(&ALL, 256, |region| {
        let (mut producer, mut consumer) = both(region);
        refused(producer.commit(0), EINVAL, &["reserve first"]);
        let address = producer.reserve(100, 0).unwrap();
        assert!(address.addr().is_multiple_of(8));
        refused(producer.reserve(1, 0), EINVAL, &["commit or cancel"]);
        refused(producer.push(&[1], 0), EINVAL, &["commit or cancel"]);
        refused(producer.commit(101), EINVAL, &["shorter"]);
        // SAFETY: 100 bytes are ours until the commit.
        unsafe { address.write_bytes(8, 100) };
        refused(consumer.pop(0), ETIMEDOUT, &[]);
        producer.commit(40).unwrap();
        producer.reserve(100, 0).unwrap();
        producer.cancel().unwrap();
        producer.cancel().unwrap();
        producer.push(&[9; 3], 0).unwrap();
        refused(consumer.consume(), EINVAL, &["peek first"]);
        let (peeked, length) = consumer.peek(0).unwrap();
        assert_eq!((peeked, length), (address.cast_const(), 40));
        refused(consumer.pop(0), EINVAL, &["consume or cancel"]);
        refused(consumer.peek(0), EINVAL, &["consume or cancel"]);
        consumer.cancel().unwrap();
        assert_eq!(consumer.peeked(0), Ok(vec![8; 40]));
        consumer.consume().unwrap();
        assert_eq!(consumer.pop(0), Ok(vec![9; 3]));
        producer.reserve(9, 0).unwrap();
        producer.close().unwrap();
        let mut producer = region.producer(AT).expect("what was reserved is given up");
        producer.push(&[1], 0).unwrap();
        assert_eq!(consumer.pop(0), Ok(vec![1]));
        let _ = (producer.close(), consumer.close());
    });
}

#[test]
fn after_the_end_consumers_get_what_is_left_and_producers_nothing_in() {
    each(&ALL, 256, |region| {
        let (mut producer, mut consumer) = both(region);
        producer.push(&[1], 0).unwrap();
        producer.end().unwrap();
        refused(producer.push(&[2], -1), EPIPE, &["ended"]);
        assert_eq!(consumer.pop(-1), Ok(vec![1]));
        refused(consumer.pop(-1), EPIPE, &["ended"]);
        producer.close().unwrap();
        let mut producer = region.producer(AT).unwrap();
        refused(producer.push(&[2], -1), EPIPE, &[]);
        let _ = (producer.close(), consumer.close());
    });
}

#[test]
fn the_end_wakes_those_who_sleep_on_both_sides() {
    each(&[0], 100, |region| {
        let mut producer = region.producer(AT).unwrap();
        producer.push(&[1; 90], 0).unwrap();
        thread::scope(|scope| {
            let push = scope.spawn(|| {
                let mut other = region.producer(AT).unwrap();
                (code(other.push(&[1; 90], -1)), other.close())
            });
            until_asleep(region, PRODUCERS_ASLEEP);
            producer.end().unwrap();
            assert_eq!(push.join().unwrap(), (EPIPE, Ok(())));
        });
        producer.close().unwrap();
    });
    each(&[0], 100, |region| {
        let mut producer = region.producer(AT).unwrap();
        thread::scope(|scope| {
            let pop = scope.spawn(|| {
                let mut consumer = region.consumer(AT).unwrap();
                (code(consumer.pop(-1)), consumer.close())
            });
            until_asleep(region, CONSUMERS_ASLEEP);
            producer.end().unwrap();
            assert_eq!(pop.join().unwrap(), (EPIPE, Ok(())));
        });
        producer.close().unwrap();
    });
}

#[test]
fn a_single_role_is_taken_once_until_it_is_closed() {
    each(&[SINGLE], 256, |region| {
        let (producer, consumer) = both(region);
        refused(region.producer(AT).map(drop), EBUSY, &["another handle of this process"]);
        refused(region.consumer(AT).map(drop), EBUSY, &["another handle of this process"]);
        producer.close().unwrap();
        let producer = region.producer(AT).unwrap();
        consumer.close().unwrap();
        let consumer = region.consumer(AT).unwrap();
        let _ = (producer.close(), consumer.close());
    });
}

#[test]
fn while_one_reserves_other_producers_wait_and_its_thread_alone_commits() {
    each(&[0], 256, |region| {
        let mut first = region.producer(AT).unwrap();
        first.reserve(10, 0).unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut other = region.producer(AT).unwrap();
                let holder = format!("by process {}", std::process::id());
                refused(other.push(&[1], 0), ETIMEDOUT, &[&holder]);
                refused(other.push(&[1], 2_000_000), ETIMEDOUT, &[&holder]);
                refused(other.end(), ETIMEDOUT, &["a reservation open"]);
                other.close()
            });
            assert_eq!(other.join().unwrap(), Ok(()));
            let first = scope.spawn(|| {
                refused(first.commit(10), EPERM, &["another thread"]);
                first.cancel().unwrap();
                first.push(&[7], 0).unwrap();
                first.close()
            });
            assert_eq!(first.join().unwrap(), Ok(()));
        });
        let mut consumer = region.consumer(AT).unwrap();
        assert_eq!(consumer.pop(0), Ok(vec![7]));
        consumer.close().unwrap();
    });
}

#[test]
fn a_thread_that_ends_with_a_reservation_or_a_peek_leaves_both_sides_usable() {
    each(&ALL, 256, |region| {
        let (mut producer, mut consumer) = both(region);
        producer.push(&[1], 0).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| producer.reserve(10, 0).map(drop)).join().unwrap().unwrap();
            scope.spawn(|| consumer.peek(0).map(drop)).join().unwrap().unwrap();
        });
        producer.cancel().unwrap();
        consumer.cancel().unwrap();
        producer.push(&[2], LONG).unwrap();
        assert_eq!(consumer.pop(LONG), Ok(vec![1]));
        assert_eq!(consumer.pop(LONG), Ok(vec![2]));
        let _ = (producer.close(), consumer.close());
    });
}

#[test]
fn what_is_no_queue_or_cannot_be_one_is_a_code() {
    let footprints = [0, 1 << 57, u64::MAX].map(|capacity| mapshare_queue_footprint(capacity));
    assert_eq!(footprints, [-EINVAL, -ERANGE, -ERANGE].map(i64::from));
    assert_eq!(mapshare_queue_footprint(240), 512 + 256);
    for door in DOORS {
        let folder = Folder::new();
        let region = door.open(folder.join("file"), &create(8192)).unwrap();
        region.init_queue(AT, 240, 0).unwrap();
        refused(region.init_queue(AT, 240, 0), EEXIST, &["offset 64", "exists already"]);
        refused(region.init_queue(2048, 0, 0), EINVAL, &["1 to 2^56"]);
        refused(region.init_queue(2048, u64::MAX, 0), ERANGE, &["1 to 2^56"]);
        for offset in [1, 8, 32, 65] {
            refused(region.init_queue(offset, 8, 0), EINVAL, &["multiple of"]);
            refused(region.producer(offset).map(drop), EINVAL, &["multiple of"]);
        }
        for offset in [8192 - 64, 8192, u64::MAX - 63] {
            refused(region.init_queue(offset, 8, 0), ERANGE, &["8192"]);
            refused(region.consumer(offset).map(drop), ERANGE, &["8192"]);
        }
        for at in [0, 8, 64, 504] {
            region.fill(2048, 2048, 0).unwrap();
            region.write(2048 + at, &[7]).unwrap();
            refused(region.init_queue(2048, 64, 0), EBADMSG, &["offset 2048"]);
        }
        refused(region.producer(2048).map(drop), EBADMSG, &["does not exist yet"]);
        for at in [8, 16, 20] {
            let byte = region.bytes(AT + at, 1);
            region.write(AT + at, &[byte[0] ^ 1]).unwrap();
            refused(region.consumer(AT).map(drop), EBADMSG, &["damaged"]);
            region.write(AT + at, &byte).unwrap();
        }
        region.write(AT, &[32]).unwrap();
        refused(region.producer(AT).map(drop), EPROTONOSUPPORT, &["0x120"]);
        region.write(AT, &[64]).unwrap();
        let reader = door.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
        refused(reader.consumer(AT).map(drop), EACCES, &["MAPSHARE_READ_ONLY"]);
        refused(reader.init_queue(2048, 8, 0), EACCES, &["MAPSHARE_READ_ONLY"]);
        let private = door.open(folder.join("file"), &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
        refused(private.consumer(AT).map(drop), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        refused(private.init_queue(2048, 8, 0), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
    }
}

#[test]
fn members_of_both_sides_pass_every_message_once() {
    const MESSAGES: u64 = 3000;
    each(&[0], 500, |region| {
        let sums: u64 = thread::scope(|scope| {
            let producers: Vec<_> = (0..2u64)
                .map(|member| {
                    scope.spawn(move || {
                        let mut producer = region.producer(AT).unwrap();
                        for number in 0..MESSAGES {
                            let number = number << 1 | member;
                            producer.push(&pattern(number, 8 + number as usize % 60), LONG).unwrap();
                        }
                        producer.close().unwrap();
                    })
                })
                .collect();
            let consumers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut consumer, mut last, mut sum) = (region.consumer(AT).unwrap(), [None, None], 0);
                        loop {
                            let message = match consumer.pop(LONG) {
                                Err(failure) if failure.code == EPIPE => break,
                                message => message.unwrap(),
                            };
                            let number = u64::from_le_bytes(message[..8].try_into().unwrap());
                            assert_eq!(message, pattern(number, 8 + number as usize % 60));
                            assert!(last[number as usize & 1].replace(number).is_none_or(|last| last < number));
                            sum += number + 1;
                        }
                        consumer.close().unwrap();
                        sum
                    })
                })
                .collect();
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            let mut producer = region.producer(AT).unwrap();
            producer.end().unwrap();
            producer.close().unwrap();
            consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum()
        });
        assert_eq!(sums, (1..=2 * MESSAGES).sum());
    });
}

/// A handle's own view starts where one of the user's may, and stays when that is given back.
#[test]
fn a_view_of_a_queues_bytes_comes_and_goes_while_the_queue_is_open() {
    let folder = Folder::new();
    for door in DOORS {
        let mut region = open(door, &folder, 1024, SINGLE);
        let (mut producer, mut consumer) = both(&region);
        for _ in 0..2 {
            let view = region.view(AT, queue_bytes(1024)).expect("good");
            assert_eq!(region.info().views, 3);
            region.release(view);
            assert_eq!(region.info().views, 2, "the two handles");
        }
        if let Opened::C { token, .. } = &region {
            let address = token.view(AT, queue_bytes(1024)).expect("good");
            token.release(address).expect("it is out");
            assert_eq!(code(token.release(address)), EINVAL, "what is left was not handed out");
        }
        producer.push(b"message", LONG).expect("good");
        assert_eq!(consumer.pop(LONG).expect("good"), b"message");
        producer.close().expect("good");
        consumer.close().expect("good");
        assert_eq!(region.info().views, 0);
    }
}

#[test]
fn a_handle_that_is_none_is_told_before_a_pointer_that_is_null() {
    for token in [0_usize, 0xdead] {
        let queue = std::ptr::without_provenance_mut(token);
        let (nothing, no_room) = (std::ptr::null(), std::ptr::null_mut());
        // SAFETY: refused before a byte is touched, here and below.
        assert_eq!(unsafe { mapshare_queue_push(queue, nothing, 5, 0) }, -EBADF);
        // SAFETY: as above.
        assert_eq!(unsafe { mapshare_queue_pop(queue, no_room, 5, 0) }, -i64::from(EBADF));
        // SAFETY: as above.
        assert_eq!(unsafe { mapshare_queue_reserve(queue, 5, 0, std::ptr::null_mut()) }, -EBADF);
        // SAFETY: as above.
        assert_eq!(unsafe { mapshare_queue_peek(queue, 0, std::ptr::null_mut()) }, -i64::from(EBADF));
        // SAFETY: as above.
        assert_eq!(unsafe { mapshare_queue_info(queue, std::ptr::null_mut(), 0) }, -EBADF);
    }
}
