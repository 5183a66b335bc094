//! Queues between processes that are killed, and what else befalls a handle: threads, forks, signals, lost pages.

mod common;

use common::cells::{Handle, QueueToken, pattern, queue_bytes};
use common::process::{forked, wait_for};
use common::words::Do;
use common::*;
use libc::*;
use mapshare::ffi::queue::*;
use std::thread;

/// Longer than anything here takes.
const LONG: i64 = 20_000_000_000;
const AT: u64 = 64;
const SINGLE: u32 = MAPSHARE_QUEUE_SINGLE_PRODUCER | MAPSHARE_QUEUE_SINGLE_CONSUMER;
const KILLS: u64 = 25;
const CAPACITY: u64 = 1500;
/// Words of a child's progress, beside the queue: the message that it has begun, and has done.
const BEGUN: u64 = 0;
const DONE: u64 = 8;

/// Random numbers that a seed tells.
struct Random(u64);

impl Random {
    fn new(test: &str) -> Random {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let seed = std::env::var("MAPSHARE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(time.subsec_nanos()));
        println!("{test}: MAPSHARE_SEED={seed}");
        Random(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % limit
    }
}

fn open(door: Door, folder: &Folder, flags: u32) -> Opened {
    let region = door.open(folder.join("file"), &create(AT + queue_bytes(CAPACITY))).expect("good");
    region.init_queue(AT, CAPACITY, flags).expect("good");
    region
}

fn length_of(number: u64) -> usize {
    8 + (number * 13 % 190) as usize
}

fn number_of(message: &[u8]) -> u64 {
    u64::from_le_bytes(message[..8].try_into().expect("8 bytes"))
}

/// A child that does `work` until it is killed.
fn child(work: impl FnOnce() -> Outcome) -> i32 {
    // SAFETY: as in `forked`: this process has no other threads of its own.
    let child = unsafe { fork() };
    if child == 0 {
        common::process::watchdog();
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: ends the child without the harness's own end.
        unsafe { _exit(i32::from(!matches!(worked, Ok(Ok(()))))) };
    }
    child
}

fn kill_now(child: i32) {
    // SAFETY: our own child.
    assert_eq!(unsafe { kill(child, SIGKILL) }, 0);
    assert_eq!(wait_for(child), -SIGKILL, "it worked until it was killed");
}

fn each_alone<F: Fn()>(test: F, flags: &[u32], body: impl Fn(&Opened)) {
    in_own_process(test, || {
        for door in DOORS {
            for flags in flags {
                body(&open(door, &Folder::new(), *flags));
            }
        }
    });
}

#[test]
fn producers_killed_at_any_time_lose_no_committed_message_and_repeat_none() {
    let test = producers_killed_at_any_time_lose_no_committed_message_and_repeat_none;
    each_alone(test, &[SINGLE, 0], |region| {
        let mut random = Random::new("producers");
        let mut consumer = region.consumer(AT).unwrap();
        let mut next = 0;
        for _ in 0..KILLS {
            region.atomic(BEGUN, Do::Store(next)).unwrap();
            region.atomic(DONE, Do::Store(next)).unwrap();
            let producer = child(|| {
                let mut producer = region.producer(AT)?;
                for number in next.. {
                    region.atomic(BEGUN, Do::Store(number + 1))?;
                    producer.push(&pattern(number, length_of(number)), -1)?;
                    region.atomic(DONE, Do::Store(number + 1))?;
                }
                Ok(())
            });
            for _ in 0..random.below(100) {
                assert_eq!(consumer.pop(LONG), Ok(pattern(next, length_of(next))));
                next += 1;
            }
            (0..random.below(200_000)).for_each(|_| std::hint::spin_loop());
            kill_now(producer);
            while let Ok(message) = consumer.pop(0) {
                assert_eq!(message, pattern(next, length_of(next)));
                next += 1;
            }
            let (begun, done) = (region.atomic(BEGUN, Do::<u64>::Load), region.atomic(DONE, Do::<u64>::Load));
            assert!(done == Ok(next) || begun == Ok(next), "{next}: {done:?} pushed, {begun:?} begun");
        }
        let state = consumer.info().unwrap();
        assert!(state.pushed <= next && state.pushed + KILLS >= next);
        assert_eq!((state.producers, state.popped, state.messages), (0, next, 0));
        consumer.close().unwrap();
    });
}

#[test]
fn consumers_killed_at_any_time_leave_every_message_that_they_did_not_take() {
    let test = consumers_killed_at_any_time_leave_every_message_that_they_did_not_take;
    each_alone(test, &[SINGLE, 0], |region| {
        let mut random = Random::new("consumers");
        let mut producer = region.producer(AT).unwrap();
        let mut pushed = 0;
        for _ in 0..KILLS {
            let consumer = child(|| {
                let mut consumer = region.consumer(AT)?;
                loop {
                    let message = consumer.peeked(-1)?;
                    let (number, done) = (number_of(&message), region.atomic(DONE, Do::<u64>::Load)?);
                    assert_eq!(message, pattern(number, length_of(number)));
                    assert!(number == done || number == done + 1, "the one before may have been consumed unnoted");
                    consumer.consume()?;
                    region.atomic(DONE, Do::Store(number + 1))?;
                }
            });
            for _ in 0..random.below(100) {
                producer.push(&pattern(pushed, length_of(pushed)), LONG).unwrap();
                pushed += 1;
            }
            (0..random.below(200_000)).for_each(|_| std::hint::spin_loop());
            kill_now(consumer);
        }
        let mut consumer = region.consumer(AT).unwrap();
        let mut next = region.atomic(DONE, Do::<u64>::Load).unwrap();
        while let Ok(message) = consumer.pop(0) {
            let number = number_of(&message);
            assert!(number == next || number == next + 1, "{number} after {next}");
            next = number + 1;
        }
        assert!(next == pushed || next + 1 == pushed, "{next} of {pushed}");
        let _ = (producer.close(), consumer.close());
    });
}

#[test]
fn a_child_has_no_handle_of_its_parents_and_opens_its_own() {
    let test = a_child_has_no_handle_of_its_parents_and_opens_its_own;
    each_alone(test, &[0], |region| {
        let (mut producer, mut consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
        producer.push(&[1], 0).unwrap();
        producer.reserve(10, 0).unwrap();
        let code = forked(|| {
            refused(producer.commit(10), EBADF, &[]);
            refused(consumer.pop(0), EBADF, &["forked"]);
            refused(consumer.info(), EBADF, &[]);
            let mut own = region.consumer(AT).unwrap();
            assert_eq!(own.pop(0), Ok(vec![1]));
            own.close().unwrap();
            refused(region.producer(AT).unwrap().push(&[1], 0), ETIMEDOUT, &[]);
            if let Handle::C(QueueToken(token)) = consumer {
                assert_eq!((mapshare_queue_close(token), mapshare_queue_close(token)), (-EBADF, -EBADF));
            }
            0
        });
        assert_eq!(code, 0);
        producer.commit(10).unwrap();
        assert_eq!(consumer.pop(0), Ok(vec![0; 10]), "the child has given up nothing of ours");
        let _ = (producer.close(), consumer.close());
    });
}

/// Nor by the shortest way, which asks for little.
#[test]
fn a_child_sends_and_takes_nothing_as_its_parent() {
    let test = a_child_sends_and_takes_nothing_as_its_parent;
    each_alone(test, &[SINGLE], |region| {
        let (mut producer, mut consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
        for number in 0..3 {
            producer.push(&[number], 0).unwrap();
            assert_eq!(consumer.pop(0), Ok(vec![number]));
        }
        producer.push(&[3], 0).unwrap();
        let code = forked(|| {
            refused(producer.push(&[4], 0), EBADF, &["forked"]);
            refused(consumer.pop(0), EBADF, &["forked"]);
            0
        });
        assert_eq!(code, 0);
        assert_eq!(consumer.pop(0), Ok(vec![3]));
        refused(consumer.pop(0), ETIMEDOUT, &[]);
        let _ = (producer.close(), consumer.close());
    });
}

#[test]
fn one_thread_at_a_time_uses_a_handle_and_others_are_told() {
    let folder = Folder::new();
    let region = open(Door::C, &folder, 0);
    let (mut producer, consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
    let token = consumer.token();
    thread::scope(|scope| {
        let sleeper = scope.spawn(move || token.pop(&mut [0; 10], LONG));
        region.wait(AT + 32, 0, LONG).unwrap_or_default();
        while region.bytes(AT + 32, 4) == [0; 4] {
            thread::yield_now();
        }
        refused(token.pop(&mut [0; 10], 0), EBUSY, &["in use"]);
        refused(token.info(), EBUSY, &["in use"]);
        refused(token.close(), EBUSY, &["in use"]);
        refused(region.token().unmap(), EBUSY, &["2 view(s) or queue handle(s)"]);
        producer.push(&[1; 3], 0).unwrap();
        assert_eq!(sleeper.join().unwrap(), Ok(3));
    });
    refused(token.push(&[1], 0), EINVAL, &["consumer's"]);
    refused(producer.token().pop(&mut [0; 4], 0), EINVAL, &["producer's"]);
    for token in
        [QueueToken(std::ptr::null_mut()), QueueToken(std::ptr::without_provenance_mut(region.token().0 as usize))]
    {
        refused(token.push(&[1], 0), EBADF, &["queue handle"]);
        refused(token.pop(&mut [0; 4], 0), EBADF, &["queue handle"]);
        refused(token.reserve(1, 0), EBADF, &["queue handle"]);
        refused(token.info(), EBADF, &["queue handle"]);
        refused(token.close(), EBADF, &["queue handle"]);
    }
    let token = producer.token();
    producer.close().unwrap();
    refused(token.push(&[1], 0), EBADF, &["closed already"]);
    refused(token.close(), EBADF, &["closed already"]);
    consumer.close().unwrap();
    region.token().unmap().unwrap();
}

extern "C" fn end_this_thread(_: c_int) {
    // SAFETY: ends the thread, whose memory stays.
    unsafe { syscall(SYS_exit, 0) };
}

/// The first is at home in the handle, the second a guest.
#[test]
fn a_handle_whose_user_has_ended_in_the_midst_of_a_call_goes_to_the_next() {
    let test = a_handle_whose_user_has_ended_in_the_midst_of_a_call_goes_to_the_next;
    in_own_process(test, || {
        // SAFETY: the handler makes one system call.
        unsafe { signal(SIGUSR2, end_this_thread as *const () as usize) };
        for flags in [SINGLE, 0] {
            let folder = Folder::new();
            let region = open(Door::C, &folder, flags);
            let (mut producer, consumer) = (region.producer(AT).unwrap(), region.consumer(AT).unwrap());
            let token = consumer.token();
            for number in 0..2 {
                region.write(AT + 32, &[0; 4]).unwrap();
                let (tell, ids) = std::sync::mpsc::channel();
                // Nobody joins it: it never comes to its end.
                thread::spawn(move || {
                    // SAFETY: it only asks.
                    let id = unsafe { gettid() };
                    // SAFETY: as above.
                    tell.send((id, unsafe { pthread_self() })).unwrap();
                    token.pop(&mut [0; 10], LONG)
                });
                let (id, user) = ids.recv().unwrap();
                while region.bytes(AT + 32, 4) == [0; 4] {
                    thread::yield_now();
                }
                refused(token.info(), EBUSY, &["in use"]);
                // SAFETY: it sleeps, and lives.
                assert_eq!(unsafe { pthread_kill(user, SIGUSR2) }, 0);
                let process = std::process::id();
                // SAFETY: signal 0 only asks.
                while unsafe { syscall(SYS_tgkill, process, id, 0) } == 0 {
                    thread::yield_now();
                }
                producer.push(&[number; 3], 0).unwrap();
                let mut buffer = [9; 10];
                assert_eq!(token.pop(&mut buffer, LONG), Ok(3));
                assert_eq!(buffer[..4], [number, number, number, 9]);
            }
            let _ = (producer.close(), consumer.close());
        }
    });
}

extern "C" fn note(_: c_int) {}

#[test]
fn a_signal_ends_a_wait() {
    in_own_process(a_signal_ends_a_wait, || {
        for door in DOORS {
            let region = open(door, &Folder::new(), 0);
            // SAFETY: the handler does nothing.
            unsafe { signal(SIGUSR1, note as *const () as usize) };
            // SAFETY: it only asks.
            let (waiter, mut consumer) = (unsafe { pthread_self() }, region.consumer(AT).unwrap());
            thread::scope(|scope| {
                scope.spawn(|| {
                    while region.bytes(AT + 32, 4) == [0; 4] {
                        thread::yield_now();
                    }
                    while region.bytes(0, 1) == [0] {
                        // SAFETY: the thread lives as long as the scope.
                        unsafe { pthread_kill(waiter, SIGUSR1) };
                        thread::yield_now();
                    }
                });
                let popped = consumer.pop(LONG);
                region.write(0, &[1]).unwrap();
                refused(popped, EINTR, &["signal"]);
            });
            consumer.close().unwrap();
        }
    });
}

#[test]
fn a_file_cut_short_is_a_code_from_every_function_and_no_end_of_the_program() {
    in_own_process(a_file_cut_short_is_a_code_from_every_function_and_no_end_of_the_program, || {
        for door in DOORS {
            let folder = Folder::new();
            let mut region = door.open(folder.join("file"), &create(65536)).unwrap();
            region.init_queue(8192, 40_000, SINGLE).unwrap();
            let (mut producer, mut consumer) = (region.producer(8192).unwrap(), region.consumer(8192).unwrap());
            producer.push(&[7; 20_000], 0).unwrap();
            let (peeked, _) = consumer.peek(0).unwrap();
            let reserved = producer.reserve(10_000, 0).unwrap();
            let file = std::fs::OpenOptions::new().write(true).open(folder.join("file")).unwrap();
            file.set_len(4096).unwrap();
            // SAFETY: bytes of the message, of which the queue has lost the page.
            assert_eq!(unsafe { peeked.wrapping_add(9000).read_volatile() }, 0);
            // SAFETY: 10000 bytes are ours; the writing goes nowhere.
            unsafe { reserved.wrapping_add(5000).write_volatile(1) };
            refused(producer.commit(10_000), ENXIO, &[]);
            refused(consumer.consume(), ENXIO, &[]);
            refused(consumer.info(), ENXIO, &[]);
            refused(producer.end(), ENXIO, &[]);
            producer.cancel().unwrap_or_default();
            consumer.cancel().unwrap_or_default();
            refused(producer.push(&[1], -1), ENXIO, &[]);
            refused(consumer.pop(-1), ENXIO, &[]);
            refused(producer.reserve(1, -1), ENXIO, &[]);
            refused(consumer.peek(-1), ENXIO, &[]);
            refused(region.producer(8192).map(drop), ENXIO, &[]);
            for handle in [producer, consumer] {
                handle.close().unwrap_or_default();
            }
            file.set_len(65536).unwrap();
            region.refresh().unwrap();
            region.init_queue(8192, 40_000, SINGLE).unwrap();
            let (mut producer, mut consumer) = (region.producer(8192).unwrap(), region.consumer(8192).unwrap());
            producer.push(&[8; 20_000], 0).unwrap();
            assert_eq!(consumer.pop(0), Ok(vec![8; 20_000]));
            let _ = (producer.close(), consumer.close());
        }
    });
}
