//! How an object comes to be and how it is known again.
//!
//! Decision: the head says it all. It is 0, then INITIALISING with the participant who does it, then what stands there,
//! stored last; so nobody sees half an object, and one who died at it is replaced.

use super::failure::{Failure, Result};
use super::memory::{Fault, Liveness, Memory};
use crate::error::Problem;
use crate::mem::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::mem::layout::identity::{CHECK, HEAD, LENGTH, OPTIONS};
use crate::mem::layout::{HIGH_HALF, INITIALISING, KIND};

/// So long an initialiser that lives is waited for; the work takes less than a microsecond beside its zeros.
const PATIENCE_NS: u64 = 200_000_000;
const NAP_NS: u64 = 1_000_000;

/// What kind an object is of: its head.
#[derive(Clone, Copy)]
pub(super) struct Kind(pub(super) u64);

/// The fields that never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) length: u64,
    pub(super) options: u32,
}

impl Kind {
    /// Makes an object: `fill` writes all but the identity, on `header` bytes of zeros.
    pub(super) fn create<M: Memory + Liveness>(
        self,
        memory: &M,
        header: u64,
        identity: Identity,
        fill: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.begin(memory, header)?;
        let made = self.fill(memory, header, identity, fill);
        if made.is_err() {
            // Nobody is at it any more: it is as it was, so that it can be tried again.
            let _ = memory.zero(HEAD + 8, header - 8);
            // ORDER: Release, partner begin: the zeros before it.
            let _ = memory.store_u64(HEAD, 0, Release);
        }
        made
    }

    fn fill<M: Memory>(
        self,
        memory: &M,
        header: u64,
        identity: Identity,
        fill: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        // ORDER: Release between INITIALISING and the bytes, partner begin.
        memory.fence(Release);
        memory.zero(HEAD + 8, header - 8)?;
        fill()?;
        memory.store_u64(LENGTH, identity.length, Relaxed)?;
        memory.store_u32(OPTIONS, identity.options, Relaxed)?;
        memory.store_u32(CHECK, checksum(self.0, identity), Relaxed)?;
        // ORDER: Release, partner attach: who sees the head sees the whole object.
        Ok(memory.store_u64(HEAD, self.0, Release)?)
    }

    /// Becomes the one who initialises.
    fn begin<M: Memory + Liveness>(self, memory: &M, header: u64) -> Result<()> {
        let mine = INITIALISING | u64::from(memory.me());
        let patience = memory.now().saturating_add(PATIENCE_NS);
        loop {
            let found = memory.load_u64(HEAD, Acquire)?;
            if found == self.0 {
                return Err(Failure::Is(Problem::Exists));
            }
            if found == 0 {
                if !is_zero(memory, header)? {
                    // ORDER: Acquire, partner create: who has seen a byte of an object in the making sees that it is.
                    memory.fence(Acquire);
                    if memory.load_u64(HEAD, Relaxed)? == 0 {
                        return Err(Failure::Is(Problem::NotZeros));
                    }
                }
            } else if found & HIGH_HALF != INITIALISING {
                return Err(match self.refusal(found) {
                    Failure::Is(Problem::Missing) => Failure::Is(Problem::NotZeros),
                    refusal => refusal,
                });
            } else if memory.is_alive(found as u32)? {
                nap(memory, found, patience)?;
                continue;
            }
            if memory.compare_swap_u64(HEAD, found, mine)? == found {
                return Ok(());
            }
            // Others were faster, a hostile one for ever.
            check_patience(memory, patience)?;
        }
    }

    /// The fields of the object that stands there; they are checked, but not against the memory's length.
    #[inline(always)]
    pub(super) fn attach<M: Memory + Liveness>(self, memory: &M) -> Result<Identity> {
        // ORDER: Acquire, partner create.
        if !memory.is_u64(HEAD, self.0, Acquire) {
            if !M::IS_PATIENT {
                return Err(Failure::Access);
            }
            self.await_it(memory)?;
        }
        self.identity(memory)
    }

    /// Whether such an object stands there, with these `checked_options`; perhaps no when it is hard to tell.
    #[inline(always)]
    pub(super) fn stands<M: Memory>(self, memory: &M, length: u64, checked_options: u64) -> bool {
        // ORDER: Acquire, partner create.
        memory.is_u64(HEAD, self.0, Acquire)
            && memory.is_u64(LENGTH, length, Relaxed)
            && memory.is_u64(OPTIONS, checked_options, Relaxed)
    }

    /// The options, and the check behind them.
    #[inline(always)]
    pub(super) const fn checked_options(self, identity: Identity) -> u64 {
        // LAYOUT: little-endian, as `identity` reads it.
        identity.options as u64 | (checksum(self.0, identity) as u64) << 32
    }

    /// Whether the head says that such an object stands there; perhaps no when it cannot be had.
    #[inline(always)]
    pub(super) fn has_head<M: Memory>(self, memory: &M) -> bool {
        memory.is_u64(HEAD, self.0, Relaxed)
    }

    /// Refuses an object that was attached to before and whose head is gone since.
    #[inline(always)]
    pub(super) fn check_head<M: Memory>(self, memory: &M) -> Result<()> {
        match memory.load_u64(HEAD, Relaxed)? {
            head if head == self.0 => Ok(()),
            head => Err(Failure::damaged("the head", head)),
        }
    }

    /// `attach`, of one that was attached to before: it does not come and go.
    pub(super) fn attach_again<M: Memory>(self, memory: &M) -> Result<Identity> {
        self.check_head(memory)?;
        self.identity(memory)
    }

    #[inline(always)]
    fn identity<M: Memory>(self, memory: &M) -> Result<Identity> {
        let length = memory.load_u64(LENGTH, Relaxed)?;
        // LAYOUT: the options and the check behind them.
        let [options, check] = halves(memory.load_u64(OPTIONS, Relaxed)?);
        let identity = Identity { length, options };
        if check != checksum(self.0, identity) {
            return Err(Failure::damaged("the checksum of what never changes", check.into()));
        }
        Ok(identity)
    }

    /// Waits for one who is just making it.
    #[cold]
    fn await_it<M: Memory + Liveness>(self, memory: &M) -> Result<()> {
        let patience = memory.now().saturating_add(PATIENCE_NS);
        loop {
            let found = memory.load_u64(HEAD, Acquire)?;
            if found == self.0 {
                return Ok(());
            }
            if found & HIGH_HALF != INITIALISING || !memory.is_alive(found as u32)? {
                return Err(self.refusal(found));
            }
            nap(memory, found, patience)?;
        }
    }

    #[cold]
    fn refusal(self, found: u64) -> Failure {
        Failure::Is(match found {
            0 => Problem::NotMade,
            _ if found & HIGH_HALF == INITIALISING => Problem::NotMade,
            _ if found & KIND == self.0 & KIND => Problem::OtherVersion(found as u32 & 0xff_ffff),
            _ => Problem::Missing,
        })
    }
}

/// Sleeps a little on a head that says that another one makes an object.
fn nap<M: Memory>(memory: &M, found: u64, patience: u64) -> Result<()> {
    let now = check_patience(memory, patience)?;
    memory.wait(HEAD, found as u32, now + NAP_NS)?;
    Ok(())
}

/// The time of now, before which patience has not come to its end.
fn check_patience<M: Memory>(memory: &M, patience: u64) -> Result<u64> {
    let now = memory.now();
    if now < patience { Ok(now) } else { Err(Failure::Is(Problem::Making)) }
}

fn is_zero<M: Memory>(memory: &M, header: u64) -> core::result::Result<bool, Fault> {
    for offset in (HEAD..header).step_by(8) {
        if memory.load_u64(offset, Relaxed)? != 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The words that stand at the first four bytes and at the last.
#[inline(always)]
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Tells damage, not intent: whoever may write the bytes can write a checksum too.
#[inline(always)]
const fn checksum(head: u64, identity: Identity) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (head ^ identity.length.rotate_left(32)).wrapping_mul(ODD) ^ identity.options as u64;
    (mixed.wrapping_mul(ODD) >> 32) as u32
}

/// Whether an object of so many bytes fits in the memory.
#[inline(always)]
pub(super) fn check_room<M: Memory>(memory: &M, needed: u64) -> Result<()> {
    if needed > memory.length() { Err(Failure::OutOfRange { needed }) } else { Ok(()) }
}

#[cfg(all(test, not(loom)))]
mod tests;
