//! The queue under the model checker: messages come whole and in order, none is lost, and no sleeper is forgotten.
//!
//! Bounds: a ring of 64 bytes, up to five messages of one, two or six words, one or two members of each side; at most so many
//! forced switches as each model says (none says: all orders). LOOM_MAX_PREEMPTIONS overrides them. Copies of messages
//! are watched: two at once of which one writes are an error, whatever the bytes.
//!
//! Those who pop are spawned, for the reason in cell_models.rs.

use super::explore::explore;
use super::failure::{Failure, Result};
use super::objects::{SINGLE, TRY, consumer, end, pop, producer, push, queue};
use super::user::Sleeps::{self, ForAWhile, UntilWoken};
use crate::error::Problem;
use crate::threads as thread;

/// So many messages of so many words, from one to another; the first of them, as many as fit, before the other comes.
fn pass(messages: u64, words: usize, sleeps: Sleeps) {
    let user = queue(SINGLE, sleeps);
    let (mut producer, mut consumer) = (producer(user.other(1)), consumer(user.other(2)));
    let mut next = 1;
    while push(&mut producer, words, next, TRY) == Ok(()) {
        next += 1;
    }
    let popping = thread::spawn(move || {
        (1..=messages).for_each(|number| assert_eq!(pop(&mut consumer, None), Ok(number)));
        assert_eq!(pop(&mut consumer, TRY), Err(Failure::Is(Problem::Empty)));
    });
    (next..=messages).for_each(|number| assert_eq!(push(&mut producer, words, number, None), Ok(())));
    popping.join().expect("no panic");
}

#[test]
fn messages_pass_in_order_around_a_ring_that_is_full() {
    explore(Some(2), || pass(5, 1, ForAWhile));
}

#[test]
fn messages_pass_in_order_over_padding() {
    explore(Some(2), || pass(3, 2, ForAWhile));
}

#[test]
fn sleepers_of_both_sides_are_woken() {
    explore(Some(2), || pass(5, 1, UntilWoken));
}

#[test]
fn sleepers_of_both_sides_are_woken_by_padding_too() {
    explore(Some(2), || pass(4, 2, UntilWoken));
}

/// A message that fills the ring has room only once the consumer has passed the padding before it.
#[test]
fn a_consumer_who_sleeps_is_woken_to_pass_padding() {
    explore(Some(3), || {
        let user = queue(SINGLE, UntilWoken);
        let (mut producer, mut consumer) = (producer(user.other(1)), consumer(user.other(2)));
        assert_eq!(push(&mut producer, 1, 1, TRY), Ok(()));
        assert_eq!(pop(&mut consumer, TRY), Ok(1));
        let popping = thread::spawn(move || pop(&mut consumer, None));
        assert_eq!(push(&mut producer, 6, 2, None), Ok(()));
        assert_eq!(popping.join().expect("no panic"), Ok(2));
    });
}

#[test]
fn a_look_finds_nothing_or_a_whole_message() {
    explore(Some(3), || {
        let user = queue(SINGLE, ForAWhile);
        let (mut producer, mut consumer) = (producer(user.other(1)), consumer(user.other(2)));
        let popping = thread::spawn(move || {
            let seen: Vec<_> = (0..2).filter_map(|_| pop(&mut consumer, TRY).ok()).collect();
            assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
        });
        (1..3).for_each(|number| assert_eq!(push(&mut producer, 2, number, TRY), Ok(())));
        popping.join().expect("no panic");
    });
}

#[test]
fn a_consumer_who_sleeps_is_woken_by_the_one_message_there_is() {
    explore(None, || {
        let user = queue(SINGLE, UntilWoken);
        let (mut producer, mut consumer) = (producer(user.other(1)), consumer(user.other(2)));
        let pushing = thread::spawn(move || push(&mut producer, 1, 5, None));
        assert_eq!(pop(&mut consumer, None), Ok(5));
        assert_eq!(pushing.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn a_producer_who_sleeps_is_woken_by_the_one_room_there_is() {
    explore(Some(3), || {
        let user = queue(SINGLE, UntilWoken);
        let (mut producer, mut consumer) = (producer(user.other(1)), consumer(user.other(2)));
        (1..4).for_each(|number| assert_eq!(push(&mut producer, 1, number, TRY), Ok(())));
        let pushing = thread::spawn(move || push(&mut producer, 1, 4, None));
        assert_eq!(pop(&mut consumer, None), Ok(1));
        assert_eq!(pushing.join().expect("no panic"), Ok(()));
        (2..5).for_each(|number| assert_eq!(pop(&mut consumer, TRY), Ok(number)));
    });
}

fn ended() -> Result<u64> {
    Err(Failure::Is(Problem::Ended))
}

#[test]
fn the_end_comes_after_the_last_message_and_wakes_the_consumer() {
    explore(Some(3), || {
        let user = queue(SINGLE, UntilWoken);
        let (mut producer, mut consumer) = (producer(user.other(1)), consumer(user.other(2)));
        let popping = thread::spawn(move || {
            assert_eq!(pop(&mut consumer, None), Ok(3));
            assert_eq!(pop(&mut consumer, None), ended());
        });
        assert_eq!(push(&mut producer, 1, 3, None), Ok(()));
        assert_eq!(end(&mut producer), Ok(()));
        popping.join().expect("no panic");
    });
}

#[test]
fn no_look_finds_the_end_before_the_last_message() {
    explore(Some(3), || {
        let user = queue(SINGLE, ForAWhile);
        let (mut producer, mut consumer) = (producer(user.other(1)), consumer(user.other(2)));
        let popping = thread::spawn(move || {
            let looks = [pop(&mut consumer, TRY), pop(&mut consumer, TRY)];
            assert!(looks[0] != ended(), "{looks:?}");
            assert!(looks[1] != ended() || looks[0] == Ok(3), "{looks:?}");
        });
        assert_eq!(push(&mut producer, 1, 3, None), Ok(()));
        assert_eq!(end(&mut producer), Ok(()));
        popping.join().expect("no panic");
    });
}

#[test]
fn many_producers_take_turns_and_lose_nothing() {
    explore(Some(2), || {
        let user = queue(0, UntilWoken);
        let mut consumer = consumer(user.other(3));
        let pushing = [1, 2].map(|number| {
            let mut producer = producer(user.other(number));
            thread::spawn(move || push(&mut producer, 1, number.into(), None))
        });
        let popped = [pop(&mut consumer, None), pop(&mut consumer, None)];
        assert!(popped == [Ok(1), Ok(2)] || popped == [Ok(2), Ok(1)], "{popped:?}");
        pushing.into_iter().for_each(|pushing| assert_eq!(pushing.join().expect("no panic"), Ok(())));
    });
}

#[test]
fn many_consumers_get_each_message_once() {
    explore(Some(2), || {
        let user = queue(0, UntilWoken);
        let mut producer = producer(user.other(1));
        let mut consumers = [2, 3].map(|number| Some(consumer(user.other(number))));
        let popping = consumers.each_mut().map(|consumer| {
            let mut consumer = consumer.take().expect("not yet taken");
            thread::spawn(move || pop(&mut consumer, None).expect("a message for each"))
        });
        (1..3).for_each(|number| assert_eq!(push(&mut producer, 1, number, None), Ok(())));
        let popped = popping.map(|popping| popping.join().expect("no panic"));
        assert!(popped == [1, 2] || popped == [2, 1], "{popped:?}");
    });
}

/// Fences and sleeps make good for nothing here: the locks and the words alone keep order.
#[test]
fn many_producers_and_consumers_pass_whole_messages() {
    explore(Some(1), || {
        let user = queue(0, ForAWhile);
        let popping = [3, 4].map(|number| {
            let mut consumer = consumer(user.other(number));
            thread::spawn(move || pop(&mut consumer, None).expect("a message for each"))
        });
        let mut other = producer(user.other(2));
        let pushing = thread::spawn(move || push(&mut other, 2, 2, None));
        assert_eq!(push(&mut producer(user.other(1)), 2, 1, None), Ok(()));
        assert_eq!(pushing.join().expect("no panic"), Ok(()));
        let popped = popping.map(|popping| popping.join().expect("no panic"));
        assert!(popped == [1, 2] || popped == [2, 1], "{popped:?}");
    });
}
