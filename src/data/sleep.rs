//! Sleeping until another process has done something, without a cost for him while nobody sleeps.
//!
//! Decision: the sleeper pays. He writes that he sleeps, makes everybody pass a full fence (membarrier), looks again and
//! only then sleeps; so the other side, which stores and then looks whether somebody sleeps, needs no fence of its own.
//! A wake-up that is lost all the same (the waker was killed before it, or has no membarrier) is made good by a
//! look after 5 ms, doubling to 100.
//!
//! Decision: the word that says it is another number each time, and a sleeper sleeps while it is his. Were it always 1,
//! then one who was woken just before he sleeps would sleep on the 1 of another, who perhaps found what he looked for.

use super::failure::{Failure, Result};
use super::memory::{Deadline, Memory, Woken};
use super::object::Kind;
use crate::mem::atomic::Ordering::Relaxed;

const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };
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
    /// What says that this side sleeps, since the last look.
    announced: Option<u32>,
    nap: u64,
}

impl Waiting {
    pub(super) fn new(kind: Kind, asleep: u64, deadline: Deadline) -> Waiting {
        Waiting { kind, deadline, asleep, spins: 0, announced: None, nap: FIRST_NAP_NS }
    }

    /// Lets some time pass: at first moments, then, announced and looked again, sleeps.
    ///
    /// # Errors
    /// ETIMEDOUT, EINTR. EBADMSG: the object is gone.
    pub(super) fn turn<M: Memory>(&mut self, memory: &M) -> Result<()> {
        if self.deadline == Deadline::Now {
            return Err(Failure::TimedOut);
        }
        if self.spins < SPINS {
            self.spins += 1;
            memory.pause();
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
