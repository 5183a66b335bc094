//! The word of a lock under the model checker: nobody shares it, and no sleeper is forgotten.
//!
//! Bounds: three threads and two forced switches per run, or two and four; each takes the lock once or twice.
//! LOOM_MAX_PREEMPTIONS overrides the switches. Unless a model says so, no sleep has an end here, unlike the library's,
//! which all end after 5 ms: a wake that is lost is a deadlock, which loom reports. One that has slept once has waited
//! long. Deaths are in the model as threads that take the lock, or free it and wake nobody, and end. Not in the model: how
//! an owner of the same process is looked up (held.rs).

use crate::mem::layout::word::{HOLDER, OWNER_DIED};
use crate::sync::lock_word::{self, Contender};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use loom::sync::{Condvar, Mutex};
use loom::thread;

/// A lock, its futex, and what it protects.
struct Lock {
    word: AtomicU64,
    asleep: AtomicU32,
    /// What the kernel has for itself while it compares the word and puts a thread to sleep, or wakes.
    kernel: Mutex<()>,
    sleepers: Condvar,
    /// Since when somebody waits, by the clock that `begun` are taken from; 0 when it is not known.
    since: AtomicU64,
    clock: AtomicU64,
    /// It was freed for another a moment ago.
    is_fresh: AtomicBool,
    sleeps: Sleeps,
    /// The thread of that number has died.
    is_dead: AtomicBool,
    data: UnsafeCell<u64>,
}

/// What ends a sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleeps {
    /// Only who wakes the sleeper.
    UntilWoken,
    /// The same; but a sleep on a lock that is kept for another ends by time, and then the lock is kept no longer.
    UntilWokenOrKeptTooLong,
    /// Only time.
    ForAWhile,
}

// SAFETY: what the lock promises and this model checks; loom itself reports every racing access.
unsafe impl Sync for Lock {}

const DEAD: u64 = 9;

struct Thread {
    lock: &'static Lock,
    number: u64,
    begun: Option<u64>,
    /// How often it still sleeps before it gives up; None for ever.
    patience: Option<u32>,
}

/// Time has passed, or a signal handler has run.
#[derive(Debug, PartialEq, Eq)]
struct GivenUp;

impl Contender for Thread {
    type Error = GivenUp;

    fn own(&self) -> u64 {
        self.number << 32 | self.number
    }

    fn load(&self) -> Result<u64, GivenUp> {
        Ok(self.lock.word.load(Ordering::SeqCst))
    }

    fn compare_swap(&self, expected: u64, desired: u64) -> Result<u64, GivenUp> {
        let result = self.lock.word.compare_exchange(expected, desired, Ordering::SeqCst, Ordering::SeqCst);
        Ok(result.unwrap_or_else(|found| found))
    }

    fn is_owner_alive(&self, seen: u64) -> Result<bool, GivenUp> {
        Ok(seen >> 32 != DEAD || !self.lock.is_dead.load(Ordering::SeqCst))
    }

    fn was_late(&mut self) -> Result<(), GivenUp> {
        Ok(())
    }

    fn spins(&mut self) -> bool {
        false
    }

    fn check_time(&self) -> Result<(), GivenUp> {
        if self.patience == Some(0) { Err(GivenUp) } else { Ok(()) }
    }

    fn announce(&self) -> Result<(), GivenUp> {
        self.lock.asleep.store(1, Ordering::SeqCst);
        Ok(())
    }

    fn heavy_fence(&self) {
        self.lock.fence();
    }

    fn is_anybody_asleep(&self) -> Result<bool, GivenUp> {
        self.lock.fence();
        Ok(self.lock.asleep.load(Ordering::Relaxed) != 0)
    }

    fn sleep(&mut self) -> Result<(), GivenUp> {
        if let Some(left) = &mut self.patience {
            *left -= 1;
        }
        self.begun.get_or_insert_with(|| self.lock.clock.fetch_add(1, Ordering::Relaxed));
        let is_kept = self.lock.word.load(Ordering::Relaxed) & HOLDER == 0;
        if self.lock.sleeps == Sleeps::ForAWhile || is_kept && self.lock.sleeps == Sleeps::UntilWokenOrKeptTooLong {
            thread::yield_now();
            self.lock.is_fresh.store(false, Ordering::SeqCst);
            return Ok(());
        }
        let kernel = self.lock.kernel.lock().expect("no panic");
        // The newest number, as the kernel finds it: nothing but a swap is sure to.
        if self.lock.asleep.fetch_add(0, Ordering::SeqCst) == 1 {
            drop(self.lock.sleepers.wait(kernel).expect("no panic"));
        }
        Ok(())
    }

    fn wake(&self, all: bool) {
        if self.number == DEAD {
            return;
        }
        self.lock.asleep.store(0, Ordering::SeqCst);
        let _kernel = self.lock.kernel.lock().expect("no panic");
        if all { self.lock.sleepers.notify_all() } else { self.lock.sleepers.notify_one() }
    }

    fn has_waited_long(&self) -> bool {
        self.begun.is_some()
    }

    fn note_wait(&self) -> Result<(), GivenUp> {
        let (since, begun) = (self.lock.since.load(Ordering::SeqCst), self.begun.unwrap_or(0));
        if since == 0 || begun < since {
            self.lock.since.store(begun, Ordering::SeqCst);
        }
        Ok(())
    }

    fn forget_wait(&self) -> Result<(), GivenUp> {
        self.lock.since.store(0, Ordering::SeqCst);
        Ok(())
    }

    fn is_wait_noted(&self) -> Result<bool, GivenUp> {
        Ok(self.lock.since.load(Ordering::SeqCst) != 0)
    }

    fn note_keeping(&self) -> Result<(), GivenUp> {
        self.lock.is_fresh.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn is_kept_for_another(&self) -> Result<bool, GivenUp> {
        let since = self.lock.since.load(Ordering::SeqCst);
        let is_first = self.begun.is_some_and(|begun| since == 0 || begun <= since);
        Ok(self.lock.is_fresh.load(Ordering::SeqCst) && !is_first)
    }
}

impl Lock {
    fn new(sleeps: Sleeps) -> &'static Lock {
        Box::leak(Box::new(Lock {
            word: AtomicU64::new(0),
            asleep: AtomicU32::new(0),
            kernel: Mutex::new(()),
            sleepers: Condvar::new(),
            since: AtomicU64::new(0),
            clock: AtomicU64::new(1),
            is_fresh: AtomicBool::new(false),
            sleeps,
            is_dead: AtomicBool::new(false),
            data: UnsafeCell::new(0),
        }))
    }

    /// Either half of the asymmetric fence; none where sleeps end by time, so that it makes good for no other ordering.
    fn fence(&self) {
        if self.sleeps != Sleeps::ForAWhile {
            fence(Ordering::SeqCst);
        }
    }

    fn thread(&'static self, number: u64, patience: Option<u32>) -> Thread {
        Thread { lock: self, number, begun: None, patience }
    }

    /// Takes the lock; whether an owner has died with it.
    fn take(&'static self, number: u64) -> (Thread, bool) {
        let mut thread = self.thread(number, None);
        let died = lock_word::take(&mut thread).expect("patience without end");
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

    /// `count_one` by the ways that are taken while nobody is in the way, as `Mutex::lock_at_once` and `unlock_at_once`.
    fn count_one_at_once(&'static self, number: u64) {
        let thread = self.thread(number, None);
        if thread.compare_swap(0, thread.own()) != Ok(0) {
            self.count_one(number);
            return;
        }
        self.count();
        if self.asleep.load(Ordering::Relaxed) != 0 {
            assert_eq!(lock_word::free(&thread), Ok(true));
            return;
        }
        self.word.store(0, Ordering::Release);
        if thread.is_anybody_asleep() == Ok(true) {
            thread.wake(false);
        }
    }

    /// `count_one`, or gives up before a second sleep.
    fn count_one_impatiently(&'static self, number: u64) {
        let mut thread = self.thread(number, Some(1));
        if lock_word::take(&mut thread) == Ok(false) {
            self.count();
            assert_eq!(lock_word::free(&thread), Ok(true));
        }
    }
}

fn model(preemptions: usize, check: impl Fn(&'static Lock) + Sync + Send + 'static) {
    model_with(Sleeps::UntilWoken, preemptions, check);
}

fn model_with(sleeps: Sleeps, preemptions: usize, check: impl Fn(&'static Lock) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    builder.check(move || check(Lock::new(sleeps)));
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

#[test]
fn who_takes_it_at_once_forgets_nobody() {
    model(2, |lock| {
        let others = [1, 2].map(|number| thread::spawn(move || lock.count_one_at_once(number)));
        lock.count_one_at_once(3);
        lock.count_one_at_once(3);
        others.into_iter().for_each(|other| other.join().expect("no panic"));
        assert_eq!(lock.count(), 5);
    });
}

/// He may have been woken, or have it kept for him.
#[test]
fn one_that_gives_up_leaves_no_other_asleep() {
    model_with(Sleeps::UntilWokenOrKeptTooLong, 2, |lock| {
        let impatient = thread::spawn(move || lock.count_one_impatiently(1));
        let other = thread::spawn(move || lock.count_one(2));
        lock.count_one(3);
        lock.count_one(3);
        impatient.join().expect("no panic");
        assert!(!other.join().expect("no panic"));
        assert!(lock.count() >= 4);
    });
}

/// Who takes it over also wakes those who sleep since before.
#[test]
fn one_that_dies_with_it_while_another_waits_is_told_to_exactly_one() {
    model(4, |lock| {
        let other = thread::spawn(move || lock.count_one(1));
        let (_, told) = lock.take(DEAD);
        assert!(!told);
        lock.is_dead.store(true, Ordering::SeqCst);
        let told = lock.count_one(2);
        assert!(other.join().expect("no panic") != told, "it was recovered by the first");
        assert_eq!(lock.count(), 3);
    });
}

#[test]
fn one_that_dies_before_it_wakes_leaves_a_lock_that_others_find() {
    model_with(Sleeps::ForAWhile, 2, |lock| {
        let other = thread::spawn(move || lock.count_one(1));
        assert!(!lock.count_one(DEAD));
        assert!(!other.join().expect("no panic"));
        assert_eq!(lock.count(), 3);
    });
}

#[test]
fn until_somebody_recovers_it_every_owner_is_told() {
    model(2, |lock| {
        lock.take(DEAD);
        lock.is_dead.store(true, Ordering::SeqCst);
        let is_told = move |number| {
            let (thread, told) = lock.take(number);
            assert_eq!(lock_word::free(&thread), Ok(true));
            told
        };
        let other = thread::spawn(move || is_told(1));
        assert!(is_told(2) && other.join().expect("no panic"));
    });
}
