//! The word of a lock under the model checker: nobody shares it, and no sleeper is forgotten.
//!
//! Bounds: three threads and two forced switches per run, or two and four; each takes the lock once or twice.
//! LOOM_MAX_PREEMPTIONS overrides the switches. No sleep has an end here, unlike the library's, which all end after 5 ms:
//! a wake that is lost is a deadlock, which loom reports. One that has slept once has waited long. Deaths are in
//! the model as threads that take the lock and end.

use crate::mem::layout::word::{HOLDER, OWNER_DIED};
use crate::sync::lock_word::{self, Contender};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::convert::Infallible;

/// A lock, its futex, and what it protects.
struct Lock {
    word: AtomicU64,
    /// What the kernel has for itself while it compares the word and puts a thread to sleep, or wakes.
    kernel: Mutex<()>,
    sleepers: Condvar,
    /// Since when somebody waits, by the clock that `begun` are taken from; 0 when it is not known.
    since: AtomicU64,
    clock: AtomicU64,
    /// The thread of that number has died.
    is_dead: AtomicBool,
    data: UnsafeCell<u64>,
}

// SAFETY: what the lock promises and this model checks; loom itself reports every racing access.
unsafe impl Sync for Lock {}

const DEAD: u64 = 9;

struct Thread {
    lock: &'static Lock,
    number: u64,
    begun: Option<u64>,
}

impl Contender for Thread {
    type Error = Infallible;

    fn own(&self) -> u64 {
        self.number << 32 | self.number
    }

    fn load(&self) -> Result<u64, Infallible> {
        Ok(self.lock.word.load(Ordering::SeqCst))
    }

    fn compare_swap(&self, expected: u64, desired: u64) -> Result<u64, Infallible> {
        let result = self.lock.word.compare_exchange(expected, desired, Ordering::SeqCst, Ordering::SeqCst);
        Ok(result.unwrap_or_else(|found| found))
    }

    fn is_owner_alive(&self, seen: u64) -> Result<bool, Infallible> {
        Ok(seen >> 32 != DEAD || !self.lock.is_dead.load(Ordering::SeqCst))
    }

    fn was_late(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn spins(&mut self) -> bool {
        false
    }

    fn sleep(&mut self, expected: u32) -> Result<(), Infallible> {
        self.begun.get_or_insert_with(|| self.lock.clock.fetch_add(1, Ordering::Relaxed));
        let kernel = self.lock.kernel.lock().expect("no panic");
        if self.lock.word.load(Ordering::SeqCst) as u32 == expected {
            drop(self.lock.sleepers.wait(kernel).expect("no panic"));
        }
        Ok(())
    }

    fn has_waited_long(&self) -> bool {
        self.begun.is_some()
    }

    fn note_wait(&self) -> Result<(), Infallible> {
        let (since, begun) = (self.lock.since.load(Ordering::SeqCst), self.begun.unwrap_or(0));
        if since == 0 || begun < since {
            self.lock.since.store(begun, Ordering::SeqCst);
        }
        Ok(())
    }

    fn forget_wait(&self) -> Result<(), Infallible> {
        self.lock.since.store(0, Ordering::SeqCst);
        Ok(())
    }

    fn wake(&self, all: bool) {
        let _kernel = self.lock.kernel.lock().expect("no panic");
        if all { self.lock.sleepers.notify_all() } else { self.lock.sleepers.notify_one() }
    }

    fn note_hand_off(&self) -> Result<(), Infallible> {
        Ok(())
    }

    fn is_kept_for_another(&self) -> Result<bool, Infallible> {
        let since = self.lock.since.load(Ordering::SeqCst);
        Ok(!self.begun.is_some_and(|begun| since == 0 || begun <= since))
    }
}

impl Lock {
    fn new() -> &'static Lock {
        Box::leak(Box::new(Lock {
            word: AtomicU64::new(0),
            kernel: Mutex::new(()),
            sleepers: Condvar::new(),
            since: AtomicU64::new(0),
            clock: AtomicU64::new(1),
            is_dead: AtomicBool::new(false),
            data: UnsafeCell::new(0),
        }))
    }

    /// Takes the lock; whether an owner has died with it.
    fn take(&'static self, number: u64) -> (Thread, bool) {
        let mut thread = Thread { lock: self, number, begun: None };
        let Ok(died) = lock_word::take(&mut thread);
        (thread, died)
    }

    fn count(&self) -> u64 {
        // SAFETY: under the lock; loom checks it.
        self.data.with_mut(|data| unsafe {
            *data += 1;
            *data
        })
    }

    /// One more, under the lock; whether an owner has died with it.
    fn count_one(&'static self, number: u64) -> bool {
        let (thread, died) = self.take(number);
        self.count();
        if died {
            assert_eq!(lock_word::recover(&thread), Ok(true));
        }
        assert_eq!(lock_word::free(&thread), Ok(true));
        died
    }
}

fn model(preemptions: usize, check: impl Fn(&'static Lock) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    builder.check(move || check(Lock::new()));
}

#[test]
fn two_threads_have_it_by_turns() {
    model(4, |lock| {
        let other = thread::spawn(move || (0..2).any(|_| lock.count_one(1)));
        let died = (0..2).any(|_| lock.count_one(2));
        assert!(!other.join().expect("no panic") && !died);
        assert_eq!(lock.count(), 5);
        assert_eq!(lock.word.load(Ordering::SeqCst) & (HOLDER | OWNER_DIED), 0);
    });
}

#[test]
fn of_three_threads_none_is_forgotten() {
    model(2, |lock| {
        let others = [1, 2].map(|number| thread::spawn(move || lock.count_one(number)));
        lock.count_one(3);
        lock.count_one(3);
        for other in others {
            assert!(!other.join().expect("no panic"));
        }
        assert_eq!(lock.count(), 5);
    });
}

#[test]
fn one_that_dies_with_it_is_told_to_exactly_one() {
    model(2, |lock| {
        let (_, died) = lock.take(DEAD);
        assert!(!died);
        lock.is_dead.store(true, Ordering::SeqCst);
        let other = thread::spawn(move || lock.count_one(1));
        let died = lock.count_one(2);
        assert!(other.join().expect("no panic") != died, "it was recovered by the first");
    });
}
