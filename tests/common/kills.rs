//! What the tests of kills at every instruction ask of survivors.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

use super::doors::Door;
use super::forks::Forked;
use super::process::{eventually, watchdog};
use super::steps::Place;
use std::cell::RefCell;
use std::time::Duration;

/// In which survivors have to have done what they do, from when the kernel has freed what the dead one had.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(10);
/// In which one who waits for a lock has to have it: he looks every 5 ms, and gets the processor then.
pub(crate) const A_LOOK: Duration = AT_ONCE.saturating_add(Duration::from_millis(5));
/// In which a sleeper has to be back whom nobody has woken: his longest nap.
pub(crate) const A_NAP: Duration = AT_ONCE.saturating_add(Duration::from_millis(100));
/// After so many naps the next one is the longest.
const NAPS: u64 = 6;

/// The doors, C's first: a thread whose first call came through Rust's has no fast way through C's.
pub(crate) const DOORS: [Door; 2] = [Door::C, Door::Rust];

/// What survivors were told at each place, in order.
#[derive(Default)]
pub(crate) struct Told(Vec<(usize, bool)>);

impl Told {
    pub(crate) fn add(&mut self, place: Place, died: bool) {
        self.0.push((place.number, died));
    }

    /// They were told the one at first, and the other in the end.
    #[track_caller]
    pub(crate) fn changed(&self, from: bool, to: bool) {
        let of = |found: Option<&(usize, bool)>| found.unwrap().1;
        assert_eq!((of(self.0.iter().min()), of(self.0.iter().max())), (from, to));
    }

    /// They were told the one at first, and from some place on the other: what happens does so in one instant.
    #[track_caller]
    pub(crate) fn changed_once(mut self, from: bool, to: bool) {
        self.0.sort_unstable();
        self.changed(from, to);
        let changes: Vec<_> = self.0.windows(2).filter(|pair| pair[0].1 != pair[1].1).collect();
        assert_eq!(changes.len(), usize::from(from != to), "{changes:?}");
    }
}

/// A process that does a work in which it sleeps, each time that it is asked to.
pub(crate) struct Sleeper(RefCell<Forked>);

impl Sleeper {
    /// What the work gives is told.
    pub(crate) fn start(work: impl Fn() -> u8) -> Sleeper {
        let child = Forked::start(|mut parent| {
            loop {
                parent.listen();
                watchdog();
                parent.tell(work());
            }
        });
        Sleeper(RefCell::new(child))
    }

    /// Has it do its work, until it sleeps; until it takes its longest naps, if it is to sleep long.
    pub(crate) fn sleep(&self, long: bool) {
        let mut child = self.0.borrow_mut();
        child.say(0);
        eventually("it sleeps", || child.is_asleep());
        let before = child.sleeps();
        eventually("it sleeps long", || {
            let is_so = !long || child.sleeps() - before >= NAPS && child.is_asleep();
            if !is_so {
                // Leaves the processor to others until the next look.
                std::thread::sleep(Duration::from_millis(2));
            }
            is_so
        });
    }

    /// Waits for what its work gives.
    pub(crate) fn wakes(&self) -> u8 {
        self.0.borrow_mut().hear()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.borrow().kill_now();
    }
}
