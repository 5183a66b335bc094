//! A value with one user under the model checker: nobody shares it, and who comes alone gets it.
//!
//! Bounds: two threads and four forced switches per run, or three and two; each tries to use the value once or twice.
//! LOOM_MAX_PREEMPTIONS overrides the switches. Not in the model: users that end in the middle.

use crate::mem::hazard::{self, Hazard};
use crate::mem::one_user::OneUser;
use loom::cell::UnsafeCell;
use loom::thread;

/// A number whose every use is watched by loom.
struct Counter(UnsafeCell<u64>);

// SAFETY: what `OneUser` promises and this model checks; loom itself reports every racing access.
unsafe impl Send for Counter {}

type Shared = OneUser<Counter>;

/// What all its users publish.
const TOKEN: u64 = 77;

fn publish() -> Hazard {
    Hazard::publish(TOKEN).expect("there are records enough")
}

/// One more, if nobody else uses it; whether nobody did.
fn counts(counter: &Shared) -> bool {
    let hazard = publish();
    // SAFETY: the only value, and its only token.
    let in_use = unsafe { counter.use_now(&hazard) };
    // SAFETY: the only user; loom checks it.
    in_use.is_some_and(|counter| counter.0.with_mut(|count| unsafe { *count += 1 }) == ())
}

fn value(counter: &Shared) -> u64 {
    let hazard = publish();
    // SAFETY: as above.
    let in_use = unsafe { counter.use_now(&hazard) }.expect("nobody else is there any more");
    // SAFETY: as above.
    in_use.0.with(|count| unsafe { *count })
}

fn model(preemptions: usize, check: impl Fn(&'static Shared) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    builder.check(move || {
        hazard::start().expect("nothing to start");
        check(Box::leak(Box::new(OneUser::new(Counter(UnsafeCell::new(0))))));
    });
}

#[test]
fn the_one_at_home_and_another_never_use_it_at_once() {
    model(4, |counter| {
        assert!(counts(counter), "nobody else is there yet");
        let other = thread::spawn(move || (0..2).filter(|_| counts(counter)).count());
        let mine = (0..2).filter(|_| counts(counter)).count();
        let all = 1 + mine + other.join().expect("no panic");
        assert_eq!(value(counter), all as u64);
    });
}

#[test]
fn of_three_that_come_first_one_is_at_home() {
    model(2, |counter| {
        let others = [(); 2].map(|()| thread::spawn(move || counts(counter)));
        let mine = usize::from(counts(counter));
        let all = others.into_iter().fold(mine, |all, other| all + usize::from(other.join().expect("no panic")));
        assert_eq!(value(counter), all as u64);
    });
}

#[test]
fn who_comes_while_it_is_in_use_is_told_so() {
    model(2, |counter| {
        let hazard = publish();
        // SAFETY: as above.
        let mine = unsafe { counter.use_now(&hazard) }.expect("nobody else is there yet");
        assert!(!counts(counter), "not twice by one thread");
        let other = thread::spawn(move || counts(counter));
        assert!(!other.join().expect("no panic"));
        assert!(!counts(counter), "nor when it is at home no more");
        drop(mine);
        drop(hazard);
        assert!(counts(counter));
    });
}
