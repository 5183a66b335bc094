//! The queue under the model checker, when somebody is killed after each of his accesses in turn: the others go on at
//! once, a message is seen whole or not at all, and none comes twice but one whose consumer was killed.
//!
//! Bounds: a ring of 64 bytes, messages of two words, one who is killed while he opens the queue and does one operation,
//! one who comes after him, and one on the other side; one forced switch. LOOM_MAX_PREEMPTIONS overrides it. Sleeps end
//! by time: who was to wake the sleeper may be dead.

use super::explore::at_each_access;
use super::failure::Failure;
use super::objects::{Member, SINGLE, TRY, consumer, pop, producer, push, queue};
use super::queue::consumer::Consumer;
use super::queue::producer::Producer;
use super::user::Sleeps::ForAWhile;
use super::user::User;
use crate::error::Problem;
use crate::threads as thread;

/// Is killed after so many accesses of opening the queue and pushing; whether he has pushed, and whether he was killed.
fn push_and_die(user: User, accesses: u32) -> (bool, bool) {
    user.doom(accesses);
    match Producer::open(&user) {
        Ok(member) => {
            let mut producer = Member { user, member };
            let pushed = push(&mut producer, 2, 1, None);
            assert!(matches!(pushed, Ok(()) | Err(Failure::Access)), "{pushed:?}");
            (pushed.is_ok(), producer.user.die())
        }
        Err(failure) => {
            assert_eq!(failure, Failure::Access);
            (false, user.die())
        }
    }
}

/// As `push_and_die`: what he has popped.
fn pop_and_die(user: User, accesses: u32) -> (Option<u64>, bool) {
    user.doom(accesses);
    match Consumer::open(&user) {
        Ok(member) => {
            let mut consumer = Member { user, member };
            let popped = pop(&mut consumer, None);
            assert!(matches!(popped, Ok(_) | Err(Failure::Access)), "{popped:?}");
            (popped.ok(), consumer.user.die())
        }
        Err(failure) => {
            assert_eq!(failure, Failure::Access);
            (None, user.die())
        }
    }
}

fn producer_is_killed(flags: u32) {
    at_each_access(Some(1), move |accesses| {
        let user = queue(flags, ForAWhile);
        let mut consumer = consumer(user.other(1));
        let (doomed, heir) = (user.other(2), user.other(3));
        let popping = thread::spawn(move || match pop(&mut consumer, None) {
            Ok(1) => (true, pop(&mut consumer, None), consumer),
            other => (false, other, consumer),
        });
        let (pushed, was_killed) = push_and_die(doomed, accesses);
        assert_eq!(push(&mut producer(heir), 2, 2, None), Ok(()));
        let (got_first, last, mut consumer) = popping.join().expect("no panic");
        assert!(got_first || !pushed, "what was pushed is popped");
        assert_eq!((last, pop(&mut consumer, TRY)), (Ok(2), Err(Failure::Is(Problem::Empty))));
        was_killed
    });
}

fn consumer_is_killed(flags: u32) {
    at_each_access(Some(1), move |accesses| {
        let user = queue(flags, ForAWhile);
        let mut producer = producer(user.other(1));
        let (doomed, heir) = (user.other(2), user.other(3));
        let popping = thread::spawn(move || {
            let (popped, was_killed) = pop_and_die(doomed, accesses);
            assert!(matches!(popped, None | Some(1)));
            let mut consumer = consumer(heir);
            let next = pop(&mut consumer, None);
            assert!(next == Ok(2) || popped.is_none() && next == Ok(1), "{popped:?}, {next:?}");
            if next == Ok(1) {
                assert_eq!(pop(&mut consumer, None), Ok(2));
            }
            assert_eq!(pop(&mut consumer, TRY), Err(Failure::Is(Problem::Empty)));
            was_killed
        });
        // The third finds room only when the heir has popped.
        (1..3).for_each(|number| assert_eq!(push(&mut producer, 2, number, None), Ok(())));
        popping.join().expect("no panic")
    });
}

#[test]
fn the_next_single_producer_goes_on_where_one_was_killed() {
    producer_is_killed(SINGLE);
}

#[test]
fn of_many_producers_the_others_go_on_where_one_was_killed() {
    producer_is_killed(0);
}

#[test]
fn the_next_single_consumer_goes_on_where_one_was_killed() {
    consumer_is_killed(SINGLE);
}

#[test]
fn of_many_consumers_the_others_go_on_where_one_was_killed() {
    consumer_is_killed(0);
}
