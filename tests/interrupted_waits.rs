//! A signal handler that runs ends every wait for a lock, a cell or a queue, and nothing has happened; and those waits
//! that have an end of their own.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::cells::{Handle, cell_bytes, queue_bytes};
use common::process::{StopAtEnd, eventually};
use common::*;
use libc::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

/// Longer than anything here takes.
const LONG: i64 = 20_000_000_000;
const MUTEX: u64 = 0;
const CELL: u64 = 64;
/// Where docs/format.md has the writers' lock, from the cell's first byte, and in a queue the producers'.
const LOCK_INSIDE: u64 = 64;
const QUEUE: u64 = 8192;
const CAPACITY: u64 = 100;

extern "C" fn do_nothing(_: c_int) {}

/// What becomes of a wait in a thread that gets signals until it is over.
fn interrupted<T: Send>(wait: impl FnOnce() -> Outcome<T> + Send) {
    let (over, waiter) = (AtomicBool::new(false), AtomicU64::new(0));
    let outcome = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let _over = StopAtEnd(&over);
            // SAFETY: it only asks.
            waiter.store(unsafe { pthread_self() }, Relaxed);
            wait()
        });
        eventually("the wait is over", || {
            let thread = waiter.load(Relaxed);
            if thread != 0 && !over.load(Relaxed) {
                // SAFETY: the thread has not been joined.
                unsafe { pthread_kill(thread, SIGUSR1) };
            }
            over.load(Relaxed)
        });
        waits.join().unwrap()
    });
    refused(outcome, EINTR, &["signal handler", "call again"]);
}

/// Through both doors, with handlers that let calls of the kernel go on and with others.
fn each_way<F: Fn()>(test: F, body: impl Fn(&Opened)) {
    in_own_process(test, || {
        for flags in [0, SA_RESTART] {
            // SAFETY: all zeros is an action.
            let mut action: sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = do_nothing as *const () as usize;
            action.sa_flags = flags;
            // SAFETY: a handler that does nothing.
            assert_eq!(unsafe { sigaction(SIGUSR1, &action, std::ptr::null_mut()) }, 0);
            for door in DOORS {
                let folder = Folder::new();
                let length = QUEUE + queue_bytes(CAPACITY);
                let region = door.open(folder.join("file"), &common::create(length)).unwrap();
                region.init_mutex(MUTEX).unwrap();
                assert!(CELL + cell_bytes(8) <= QUEUE);
                region.init_cell(CELL, 8).unwrap();
                body(&region);
            }
        }
    });
}

fn new_queue(region: &Opened, flags: u32) -> (Handle, Handle) {
    region.fill(QUEUE, queue_bytes(CAPACITY), 0).unwrap();
    region.init_queue(QUEUE, CAPACITY, flags).unwrap();
    (region.producer(QUEUE).unwrap(), region.consumer(QUEUE).unwrap())
}

#[test]
fn a_signal_ends_the_wait_for_a_lock() {
    each_way(a_signal_ends_the_wait_for_a_lock, |region| {
        region.lock(MUTEX, 0).unwrap();
        interrupted(|| region.lock(MUTEX, LONG));
        region.unlock(MUTEX).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(region.lock(MUTEX, 0), Ok(false))).join().unwrap();
        });
    });
}

#[test]
fn a_signal_ends_the_wait_for_a_cell_and_its_writers_lock() {
    each_way(a_signal_ends_the_wait_for_a_cell_and_its_writers_lock, |region| {
        region.publish(CELL, &[1; 8]).unwrap();
        for timeout in [LONG, -1] {
            interrupted(|| region.wait_cell(CELL, 1, timeout));
        }
        // As if this thread were publishing, for long.
        region.lock(CELL + LOCK_INSIDE, 0).unwrap();
        interrupted(|| region.publish(CELL, &[2; 8]));
        let published = thread::scope(|scope| scope.spawn(|| region.publish(CELL, &[2; 8])).join().unwrap());
        refused(published, ETIMEDOUT, &[]);
        refused(region.publish(CELL, &[2; 8]), EDEADLK, &["in this thread's hands"]);
        region.unlock(CELL + LOCK_INSIDE).unwrap();
        assert_eq!(region.read_cell(CELL, 8), Ok((1, vec![1; 8])));
        region.publish(CELL, &[3; 8]).unwrap();
    });
}

#[test]
fn a_signal_ends_the_wait_for_a_queue_that_is_full_or_empty() {
    each_way(a_signal_ends_the_wait_for_a_queue_that_is_full_or_empty, |region| {
        for flags in 0..4 {
            let (mut producer, mut consumer) = new_queue(region, flags);
            for timeout in [LONG, -1] {
                interrupted(|| consumer.pop(timeout));
                interrupted(|| consumer.peeked(timeout));
            }
            producer.push(&[7; 90], 0).unwrap();
            for timeout in [LONG, -1] {
                interrupted(|| producer.push(&[8; 90], timeout));
                interrupted(|| producer.reserve(90, timeout).map(drop));
            }
            assert_eq!(consumer.pop(0), Ok(vec![7; 90]));
            refused(consumer.pop(0), ETIMEDOUT, &[]);
            producer.push(&[9; 5], 0).unwrap();
            assert_eq!(consumer.pop(0), Ok(vec![9; 5]));
            let _ = (producer.close(), consumer.close());
        }
    });
}

#[test]
fn a_signal_ends_the_wait_for_a_side_whose_turn_another_thread_has() {
    each_way(a_signal_ends_the_wait_for_a_side_whose_turn_another_thread_has, |region| {
        let (mut producer, mut consumer) = new_queue(region, 0);
        let (mut other_producer, mut other_consumer) =
            (region.producer(QUEUE).unwrap(), region.consumer(QUEUE).unwrap());
        producer.push(&[1; 4], 0).unwrap();
        producer.reserve(10, 0).unwrap();
        consumer.peek(0).unwrap();
        interrupted(|| other_producer.push(&[2], -1));
        interrupted(|| other_producer.end());
        interrupted(|| other_consumer.pop(-1));
        let ended = thread::scope(|scope| scope.spawn(|| other_producer.end()).join().unwrap());
        refused(ended, ETIMEDOUT, &["another producer has a reservation open"]);
        refused(other_producer.end(), EDEADLK, &[]);
        producer.commit(3).unwrap();
        consumer.consume().unwrap();
        assert_eq!(other_consumer.pop(0).map(|message| message.len()), Ok(3));
        other_producer.end().unwrap();
        refused(consumer.pop(-1), EPIPE, &[]);
        for handle in [producer, consumer, other_producer, other_consumer] {
            handle.close().unwrap();
        }
    });
}
