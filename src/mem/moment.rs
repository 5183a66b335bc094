//! How long one pauses before one looks again for what another core is about to do.
//!
//! Decision: by time, not by instructions. A `pause` takes 10 ns on one processor and 45 on another, and what is waited for,
//! a line from another core, does not go with that.

use crate::mem::atomic::{AtomicU64, Ordering};
use crate::sys::clock::monotonic_ns;

/// A moment, in nanoseconds: a fraction of what a line takes from core to core.
const MOMENT_NS: u64 = 40;

/// Pauses in a moment; 0 until that was measured.
static PAUSES: AtomicU64 = AtomicU64::new(0);

/// Lets so many moments pass.
#[inline(always)]
pub(crate) fn pass(moments: u64) {
    let pauses = match PAUSES.load(Ordering::Relaxed) {
        0 => measure(),
        pauses => pauses,
    };
    pause(moments * pauses);
}

/// How many pauses there are in a moment. It takes some microseconds, once in the life of a process.
#[cold]
#[inline(never)]
fn measure() -> u64 {
    const MANY: u64 = 64;
    let took_ns = |_| {
        let begun_ns = monotonic_ns();
        pause(MANY);
        monotonic_ns() - begun_ns
    };
    // The quickest: who was interrupted in the others took longer.
    let quickest_ns = (0..3).map(took_ns).min().unwrap_or(1);
    let pauses = (MOMENT_NS * MANY / quickest_ns.max(1)).clamp(1, MOMENT_NS);
    PAUSES.store(pauses, Ordering::Relaxed); // ORDER: Relaxed, every value serves
    pauses
}

#[inline(always)]
fn pause(times: u64) {
    (0..times).for_each(|_| std::hint::spin_loop());
}
