//! Whatever becomes of a file or of those who waited, who has a reservation, a peeked message or a lock can let go of it.

mod common;

use common::*;
use libc::*;
use std::thread;

const LONG: i64 = 20_000_000_000;
const PAGE: u64 = 4096;

fn open(door: Door, folder: &Folder) -> Opened {
    door.open(folder.join("file"), &create(4 * PAGE)).expect("good")
}

/// A queue whose first bytes are in the file's first page, and whose ring goes on in the second one.
fn queue(region: &Opened, flags: u32) -> u64 {
    let offset = PAGE - 640;
    region.init_queue(offset, 3000, flags).expect("good");
    offset
}

/// Rust drops it; C is told when something holds it.
fn is_free(region: Opened) {
    if let Opened::C { token, .. } = &region {
        token.unmap().expect("nothing holds it");
    }
}

#[test]
fn a_reservation_in_a_file_that_was_cut_short_stays_open_until_it_is_given_up() {
    for door in DOORS {
        for flags in [0, 3] {
            let folder = Folder::new();
            let region = open(door, &folder);
            let at = queue(&region, flags);
            let (mut producer, mut consumer) = (region.producer(at).unwrap(), region.consumer(at).unwrap());
            producer.push(&[1; 8], 0).unwrap();
            producer.reserve(2500, 0).unwrap();
            assert_eq!(consumer.peeked(0), Ok(vec![1; 8]));
            files::set_length(&folder.join("file"), PAGE);
            refused(producer.commit(2500), ENXIO, &[]);
            refused(producer.commit(2500), ENXIO, &[]);
            let _ = producer.cancel();
            producer.close().unwrap();
            let _ = consumer.consume();
            consumer.close().unwrap();
            is_free(region);
        }
    }
}

#[test]
fn a_region_whose_queue_was_cut_away_can_be_unmapped() {
    for door in DOORS {
        for flags in [0, 3] {
            let folder = Folder::new();
            let region = open(door, &folder);
            region.init_queue(2 * PAGE, 1000, flags).unwrap();
            let (mut producer, mut consumer) = (region.producer(2 * PAGE).unwrap(), region.consumer(2 * PAGE).unwrap());
            producer.push(&[1; 8], 0).unwrap();
            producer.reserve(8, 0).unwrap();
            consumer.peek(0).unwrap();
            files::set_length(&folder.join("file"), PAGE);
            refused(producer.commit(8), ENXIO, &[]);
            refused(consumer.consume(), ENXIO, &[]);
            // They tell what is the matter, and are closed all the same.
            refused(producer.close(), ENXIO, &[]);
            refused(consumer.close(), ENXIO, &[]);
            is_free(region);
        }
    }
}

#[test]
fn another_thread_closes_what_was_cut_away() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        region.init_queue(2 * PAGE, 1000, 0).unwrap();
        let (mut producer, mut consumer) = (region.producer(2 * PAGE).unwrap(), region.consumer(2 * PAGE).unwrap());
        producer.push(&[1; 8], 0).unwrap();
        producer.reserve(8, 0).unwrap();
        consumer.peek(0).unwrap();
        files::set_length(&folder.join("file"), PAGE);
        // This thread, whose turns they are, goes on.
        thread::scope(|scope| {
            let closed = scope.spawn(|| (producer.close(), consumer.close())).join().unwrap();
            refused(closed.0, ENXIO, &[]);
            refused(closed.1, ENXIO, &[]);
        });
        is_free(region);
    }
}

#[test]
fn who_only_tries_gets_what_one_that_gave_up_had_waited_for() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        region.init_mutex(0).unwrap();
        for _ in 0..5 {
            region.lock(0, 0).unwrap();
            thread::scope(|scope| {
                // Long enough that the lock would be kept for it.
                let waiter = scope.spawn(|| region.lock(0, 60_000_000));
                refused(waiter.join().unwrap(), ETIMEDOUT, &[]);
            });
            region.unlock(0).unwrap();
            assert_eq!(region.lock(0, 0), Ok(false));
            region.unlock(0).unwrap();
        }
    }
}

#[test]
fn a_message_is_popped_though_one_who_waited_for_its_turn_gave_up() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        region.init_queue(0, 1000, 0).unwrap();
        let (mut producer, mut consumer) = (region.producer(0).unwrap(), region.consumer(0).unwrap());
        for _ in 0..5 {
            producer.push(b"one", 0).unwrap();
            producer.push(b"two", 0).unwrap();
            consumer.peek(0).unwrap();
            thread::scope(|scope| {
                let waiter = scope.spawn(|| region.consumer(0).unwrap().pop(60_000_000));
                refused(waiter.join().unwrap(), ETIMEDOUT, &[]);
            });
            consumer.consume().unwrap();
            assert_eq!(consumer.pop(0), Ok(b"two".to_vec()));
        }
    }
}

#[test]
fn a_lock_that_is_held_is_not_cut_away() {
    for door in DOORS {
        let folder = Folder::new();
        let mut region = open(door, &folder);
        region.init_mutex(2 * PAGE).unwrap();
        region.lock(2 * PAGE, 0).unwrap();
        let mut other = door.open(folder.join("file"), &create(4 * PAGE)).unwrap();
        for region in [&mut region, &mut other] {
            refused(region.resize(PAGE), EBUSY, &["1 lock(s)"]);
            region.resize(3 * PAGE).unwrap();
        }
        region.unlock(2 * PAGE).unwrap();
        region.resize(PAGE).unwrap();
    }
}

#[test]
fn a_thread_that_is_at_a_queue_by_another_handle_is_told_what_to_give_up() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        region.init_queue(64, 1000, 0).unwrap();
        let (mut one, mut other) = (region.producer(64).unwrap(), region.producer(64).unwrap());
        one.reserve(8, 0).unwrap();
        for timeout in [0, LONG] {
            refused(other.push(b"pushed", timeout), EDEADLK, &["queue at offset 64", "reservation", "cancel"]);
        }
        one.cancel().unwrap();
        other.push(b"pushed", 0).unwrap();
        assert_eq!(other.info().unwrap().messages, 1);
    }
}

/// What is gone is told as gone; but nobody has it any more.
#[test]
fn a_lock_whose_bytes_the_region_has_given_up_is_let_go_by_unlock() {
    let folder = Folder::new();
    for _ in 0..20 {
        let region = open(Door::C, &folder);
        let Opened::C { token, .. } = &region else { unreachable!() };
        region.init_mutex(3 * PAGE).unwrap();
        region.lock(3 * PAGE, 0).unwrap();
        files::set_length(&folder.join("file"), PAGE);
        assert_eq!(token.refresh(), Ok(true));
        refused(token.unmap(), EBUSY, &["1 lock(s)", "unlock them first"]);
        refused(region.unlock(3 * PAGE), ERANGE, &[]);
        token.unmap().expect("nothing holds it");
    }
}
