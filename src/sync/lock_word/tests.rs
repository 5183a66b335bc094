//! A word that is another one at each look.

use super::{Contender, take};
use std::cell::Cell;

const OWN: u64 = 7 << 32 | 1;

/// One whose time is over after so many lost races.
struct Late {
    word: Cell<u64>,
    /// What is added to the word behind each look.
    step: u64,
    lives: bool,
    races: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct TimedOut;

impl Contender for Late {
    type Error = TimedOut;

    fn own(&self) -> u64 {
        OWN
    }

    fn load(&self) -> Result<u64, TimedOut> {
        let seen = self.word.get();
        self.word.set(seen.wrapping_add(self.step));
        Ok(seen)
    }

    fn compare_swap(&self, expected: u64, desired: u64) -> Result<u64, TimedOut> {
        let found = self.word.get();
        if found == expected {
            self.word.set(desired);
        }
        Ok(found)
    }

    fn is_owner_alive(&self, _: u64) -> Result<bool, TimedOut> {
        Ok(self.lives)
    }

    fn was_late(&mut self) -> Result<(), TimedOut> {
        self.races -= 1;
        if self.races == 0 { Err(TimedOut) } else { Ok(()) }
    }

    fn spins(&mut self) -> bool {
        false
    }

    fn check_time(&self) -> Result<(), TimedOut> {
        Ok(())
    }

    fn announce(&self) -> Result<(), TimedOut> {
        Ok(())
    }

    fn heavy_fence(&self) {}

    fn is_anybody_asleep(&self) -> Result<bool, TimedOut> {
        Ok(false)
    }

    fn sleep(&mut self) -> Result<(), TimedOut> {
        self.was_late()
    }

    fn has_waited_long(&self) -> bool {
        false
    }

    fn note_wait(&self) -> Result<(), TimedOut> {
        Ok(())
    }

    fn is_wait_noted(&self) -> Result<bool, TimedOut> {
        Ok(false)
    }

    fn forget_wait(&self) -> Result<(), TimedOut> {
        Ok(())
    }

    fn wake(&self, _: bool) {}

    fn note_keeping(&self) -> Result<(), TimedOut> {
        Ok(())
    }

    fn is_kept_for_another(&self) -> Result<bool, TimedOut> {
        Ok(false)
    }
}

#[test]
fn one_who_always_comes_too_late_gives_up_when_his_time_is_over() {
    for lives in [false, true] {
        let mut late = Late { word: Cell::new(1 << 32), step: 1 << 32, lives, races: 1000 };
        assert_eq!(take(&mut late), Err(TimedOut));
        let mut in_time = Late { word: Cell::new(0), step: 0, lives, races: 1 };
        assert_eq!(take(&mut in_time), Ok(false));
    }
}
