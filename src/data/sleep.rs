//! Sleeping until another process has done something, without a cost for him while nobody sleeps.
//!
//! Decision: the sleeper pays. He writes that he sleeps, makes everybody pass a full fence (membarrier), looks again and
//! only then sleeps; so the other side, which stores and then looks whether somebody sleeps, needs no fence of its own.
//! A wake-up that is lost all the same (the waker was killed before it, or has no membarrier) is made good by a
//! look after 5 ms, doubling to 100.
//!
//! Decision: before it sleeps, a side that has a handle goes on looking for as long as a sleep and a wake-up cost
//! (Karlin, Manasse, McGeoch, Owicki, Competitive randomized algorithms for non-uniform problems, SODA 1990), where that has
//! paid lately. Otherwise two who answer one another could not get out of sleeping: each one's wake-up takes longer than the
//! other looks.
//!
//! Decision: the word that says it is another number each time, and a sleeper sleeps while it is his. Were it always 1,
//! then one who was woken just before he sleeps would sleep on the 1 of another, who perhaps found what he looked for.

use super::failure::{Failure, Result};
use super::memory::{Deadline, Memory, Woken};
use super::object::Kind;
use super::trial::Trial;
use crate::mem::atomic::Ordering::Relaxed;

const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };
/// What a sleep costs both sides: two wake-ups, which take 20 to 50 us each in a virtual machine.
const SLEEP_COSTS_NS: u64 = if cfg!(loom) { 0 } else { 100_000 };
/// Between two looks of one who looks on.
const MOMENTS: u32 = 32;
const FIRST_NAP_NS: u64 = 5_000_000;
const LONGEST_NAP_NS: u64 = 100_000_000;

/// A wait of one side: whoever waits looks, and takes a turn as long as there is nothing to see.
pub(super) struct Waiting {
    /// The object, which may be gone after a sleep.
    kind: Kind,
    deadline: Deadline,
    /// The word where this side says that it sleeps.
    asleep: u64,
    spins: u32,
    /// Until when it looks on, once it has looked often; 0 when that has not paid lately.
    looks_until: Option<u64>,
    /// What says that this side sleeps, since the last look.
    announced: Option<u32>,
    nap: u64,
}

impl Waiting {
    pub(super) fn new(kind: Kind, asleep: u64, deadline: Deadline) -> Waiting {
        Waiting { kind, deadline, asleep, spins: 0, looks_until: None, announced: None, nap: FIRST_NAP_NS }
    }

    /// Lets some time pass: at first moments, some more if the trial says so, then, announced and looked again, sleeps.
    ///
    /// # Errors
    /// ETIMEDOUT, EINTR. EBADMSG: the object is gone.
    pub(super) fn turn<M: Memory>(&mut self, memory: &M, looking_on: Option<&mut Trial>) -> Result<()> {
        if self.deadline == Deadline::Now {
            return Err(Failure::TimedOut);
        }
        if self.spins < SPINS {
            self.spins += 1;
            memory.pause();
        } else if self.looks_on(memory.now(), looking_on)? {
            (0..MOMENTS).for_each(|_| memory.pause());
        } else if let Some(announced) = self.announced.take() {
            let until = self.deadline.nap(memory.now(), self.nap).ok_or(Failure::TimedOut)?;
            if memory.wait(self.asleep, announced, until)? == Woken::BySignal {
                return Err(Failure::Interrupted);
            }
            self.kind.attach_again(memory)?;
            if memory.is_writable() {
                self.nap = (2 * self.nap).min(LONGEST_NAP_NS);
            }
        } else {
            self.announced = Some(announce(memory, self.asleep)?);
        }
        Ok(())
    }

    /// Whether it looks on instead of sleeping. Once begun, that was in vain until something is `found`.
    fn looks_on(&mut self, now: u64, trial: Option<&mut Trial>) -> Result<bool> {
        if self.looks_until.is_none() && trial.is_some_and(Trial::begins) {
            self.looks_until = Some(self.deadline.nap(now, SLEEP_COSTS_NS).ok_or(Failure::TimedOut)?);
        }
        let until = self.looks_until.filter(|until| now < *until);
        self.looks_until = until.or(Some(0));
        Ok(until.is_some())
    }

    /// What was waited for is there.
    pub(super) fn found(&self, looking_on: &mut Trial) {
        if self.looks_until.is_some_and(|until| until != 0) {
            looking_on.has_paid();
        }
    }
}

/// Says that somebody sleeps; gives the number that stands in the word until he is woken. Those who may not write cannot
/// say it: they look every 5 ms.
fn announce<M: Memory>(memory: &M, asleep: u64) -> Result<u32> {
    if !memory.is_writable() {
        return Ok(memory.load_u32(asleep, Relaxed)?);
    }
    // By the time that this number comes again, whoever sleeps has looked many times.
    let own = memory.now() as u32 | 1;
    let found = memory.compare_swap_u32(asleep, 0, own)?;
    // ORDER: the announcement before the look, partner wake's light fence between what was done and its look.
    memory.heavy_fence();
    Ok(if found == 0 { own } else { found })
}

/// Wakes the other side if it sleeps, after what it waits for was done.
#[inline(always)]
pub(super) fn wake<M: Memory>(memory: &M, asleep: u64) -> Result<()> {
    memory.light_fence();
    // ORDER: Relaxed behind the light fence, partner announce.
    if memory.is_zero_u32(asleep, Relaxed) { Ok(()) } else { Ok(memory.rouse(asleep)?) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Whether a wait that has looked often looks on at the beginning, until it has cost as much as a sleep, and later.
    fn looks_on(deadline: Deadline, trial: &mut Trial) -> ([bool; 3], Waiting) {
        let mut waiting = Waiting::new(Kind(0), 0, deadline);
        let times = [1000, 1000 + SLEEP_COSTS_NS - 1, 1000 + SLEEP_COSTS_NS];
        (times.map(|now| waiting.looks_on(now, Some(trial)).expect("there is time")), waiting)
    }

    #[test]
    fn it_looks_on_for_as_long_as_a_sleep_costs_where_that_has_paid() {
        let mut trial = Trial::default();
        let (looks, waiting) = looks_on(Deadline::Never, &mut trial);
        assert_eq!(looks, [true, true, false]);
        waiting.found(&mut trial);
        assert_eq!(looks_on(Deadline::Never, &mut trial).0, [false; 3], "it was found only by sleeping");
        let mut waiting = Waiting::new(Kind(0), 0, Deadline::Never);
        assert_eq!(waiting.looks_on(0, Some(&mut trial)), Ok(true));
        waiting.found(&mut trial);
        assert_eq!(looks_on(Deadline::Never, &mut trial).0, [true, true, false]);
    }

    #[test]
    fn it_looks_on_no_longer_than_there_is_time_and_not_at_all_without_a_handle() {
        assert_eq!(looks_on(Deadline::At(2000), &mut Trial::default()).0, [true, false, false]);
        let mut late = Waiting::new(Kind(0), 0, Deadline::At(1000));
        assert_eq!(late.looks_on(1000, Some(&mut Trial::default())), Err(Failure::TimedOut));
        assert_eq!(Waiting::new(Kind(0), 0, Deadline::Never).looks_on(0, None), Ok(false));
    }
}
