//! Several slots, and a version that says which of them holds the last value.

use super::super::failure::{Failure, Result};
use super::super::memory::{Deadline, Liveness, Memory, Place};
use super::super::object::{Identity, Kind, check_room};
use super::super::sleep::{self, Waiting};
use crate::error::Problem;
use crate::mem::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::mem::buffer::{Destination, Source};
use crate::mem::layout::CELL_HEAD;
use crate::mem::layout::cell::{ASLEEP, MUTEX, SLOTS, VERSION};
use std::time::Duration;

const CELL: Kind = Kind(CELL_HEAD);
const LAPS: u32 = 64;
pub(super) const LINE: u64 = 64;
/// More slots spare readers beside a busy writer from being lapped; four are the fewest. In a model two are, so that
/// it takes few steps to lap a reader.
const MOST_SLOTS: u64 = if cfg!(loom) { 2 } else { 16 };
const FEWEST_SLOTS: u64 = if cfg!(loom) { 2 } else { 4 };
/// So many bytes small values may take together for having more slots than four.
const SLOT_BYTES: u64 = 4096;

/// The `checked_options` of a cell by its value's length, up to a line.
static OF_A_LINE: [u64; LINE as usize + 1] = {
    let mut all = [0; LINE as usize + 1];
    let mut length = 0;
    while length <= LINE {
        all[length as usize] = CELL.checked_options(Identity { length, options: MOST_SLOTS as u32 });
        length += 1;
    }
    all
};

/// What never changes about a cell, checked.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    value_length: u64,
    slots: u64,
    /// The bytes of the whole cell.
    pub(crate) bytes: u64,
}

/// A cell that stands in a memory.
#[derive(Clone, Copy)]
pub(in crate::data) struct Slots<'a, M> {
    memory: &'a M,
    shape: Shape,
}

/// How many bytes a cell takes; None for a length that no cell has.
pub(crate) fn footprint(value_length: u64) -> Option<u64> {
    Shape::of(value_length).map(|shape| shape.bytes)
}

#[inline(always)]
const fn bytes(value_length: u64, slots: u64) -> Option<u64> {
    if value_length.wrapping_sub(1) >= 1 << 56 {
        return None;
    }
    Some(SLOTS + slots * stride(value_length))
}

/// From one slot to the next; a constant where the value is known to have no more than a line.
#[inline(always)]
const fn stride(value_length: u64) -> u64 {
    if value_length <= LINE { LINE } else { value_length.wrapping_add(LINE - 1) & !(LINE - 1) }
}

#[inline(always)]
const fn slots_for(value_length: u64) -> u64 {
    // Not left to the loop, in which the compiler loses what it knows of the length.
    if value_length <= SLOT_BYTES / MOST_SLOTS {
        return MOST_SLOTS;
    }
    let mut slots = MOST_SLOTS;
    while slots > FEWEST_SLOTS && value_length > SLOT_BYTES / slots {
        slots /= 2;
    }
    slots
}

/// Makes a cell of zeros. Those of version 0 stand in the first slot, as any value does in its own.
pub(in crate::data) fn init<P: Place>(place: &P, value_length: u64) -> Result<()> {
    let needed = footprint(value_length)
        .ok_or_else(|| Failure::misused("would have values of a length that none has: 1 to 2^56 bytes"))?;
    check_room(place, needed)?;
    let identity = Identity { length: value_length, options: slots_for(value_length) as u32 };
    CELL.create(place, SLOTS, identity, || {
        place.zero(SLOTS, value_length)?;
        Ok(place.init_lock(MUTEX)?)
    })
}

impl Shape {
    /// That of the cells that `init` makes for values of such a length; None for a length that no cell has.
    #[inline(always)]
    pub(crate) fn of(value_length: u64) -> Option<Shape> {
        let slots = slots_for(value_length);
        Some(Shape { value_length, slots, bytes: bytes(value_length, slots)? })
    }

    /// That of the cell whose first bytes the memory has.
    #[inline(always)]
    pub(in crate::data) fn read<M: Memory + Liveness>(memory: &M) -> Result<Shape> {
        check_room(memory, SLOTS)?;
        let Identity { length: value_length, options } = CELL.attach(memory)?;
        let slots = u64::from(options);
        if !slots.is_power_of_two() || !(FEWEST_SLOTS..=MOST_SLOTS).contains(&slots) {
            return Err(Failure::damaged("the number of slots", slots));
        }
        match bytes(value_length, slots) {
            Some(bytes) => Ok(Shape { value_length, slots, bytes }),
            None => Err(Failure::damaged("the value's length", value_length)),
        }
    }
}

impl<'a, M: Memory + Liveness> Slots<'a, M> {
    /// The cell that stands in the memory.
    #[inline(always)]
    pub(in crate::data) fn attach(memory: &'a M) -> Result<Slots<'a, M>> {
        let shape = Shape::read(memory)?;
        check_room(memory, shape.bytes)?;
        Ok(Slots { memory, shape })
    }

    /// The same if it has that shape, for which the memory is long enough.
    #[inline(always)]
    pub(in crate::data) fn of_shape(shape: Shape, memory: &'a M) -> Option<Slots<'a, M>> {
        let Shape { value_length, slots, .. } = shape;
        let options = match value_length {
            ..=LINE => OF_A_LINE[value_length as usize],
            length => CELL.checked_options(Identity { length, options: slots as u32 }),
        };
        CELL.stands(memory, value_length, options).then_some(Slots { memory, shape })
    }

    /// Copies the last value out and gives its version.
    #[inline(always)]
    pub(in crate::data) fn read(&self, mut value: Destination) -> Result<u64> {
        self.check_length(value.length())?;
        for _ in 0..if M::IS_PATIENT { LAPS } else { 1 } {
            // ORDER: Acquire, partner publish: the slot holds what was published as this version, or newer.
            let version = self.memory.load_u64(VERSION, Acquire)?;
            self.memory.copy_out(self.slot(version), value.again())?;
            // ORDER: Acquire between the bytes and the second look, partner publish's Release fence: if a byte came from
            // a later value of this slot, then the second look sees that the version before that one was out.
            // Source: Boehm, Can seqlocks get along with programming language memory models, MSPC 2012.
            self.memory.fence(Acquire);
            if self.memory.is_u64(VERSION, version, Relaxed) || self.is_newer_by_few(version)? {
                return Ok(version);
            }
        }
        Err(Failure::Is(Problem::Lapped(LAPS)))
    }

    /// Whether no writer has begun on the slot of that version since it was out.
    #[inline(always)]
    fn is_newer_by_few(&self, version: u64) -> Result<bool> {
        let now = self.memory.load_u64(VERSION, Relaxed)?; // ORDER: Relaxed, as in `read`
        Ok(now.wrapping_sub(version) < self.shape.slots - 1)
    }

    /// The last version.
    fn version(&self) -> Result<u64> {
        Ok(self.memory.load_u64(VERSION, Acquire)?) // ORDER: Acquire, as in `read`
    }

    /// Sleeps until a version after `seen` is out, and gives it.
    pub(in crate::data) fn wait(&self, seen: u64, timeout: Option<Duration>) -> Result<u64> {
        let mut version = self.version()?;
        if version > seen {
            return Ok(version);
        }
        let mut waiting = Waiting::new(CELL, ASLEEP, Deadline::after(timeout, self.memory));
        while version <= seen {
            waiting.turn(self.memory, None).map_err(|failure| failure.late(Problem::NotNewer(version)))?;
            version = self.version()?;
        }
        Ok(version)
    }

    #[inline(always)]
    fn slot(&self, version: u64) -> u64 {
        SLOTS + (version & (self.shape.slots - 1)) * stride(self.shape.value_length)
    }

    #[inline(always)]
    fn check_length(&self, length: usize) -> Result<()> {
        let (asked, length) = (length as u64, self.shape.value_length);
        if asked == length { Ok(()) } else { Err(Failure::Is(Problem::ValueLength { asked, length })) }
    }
}

impl<P: Place> Slots<'_, P> {
    /// Makes this the last value, and gives its version. Waits for other writers, so long at most.
    #[inline(always)]
    pub(in crate::data) fn publish(&self, value: Source, timeout: Option<Duration>) -> Result<u64> {
        self.check_length(value.length())?;
        let version = self.memory.locked(
            MUTEX,
            || timeout,
            #[inline(always)]
            || self.publish_locked(value),
        )?;
        sleep::wake(self.memory, ASLEEP)?;
        Ok(version)
    }

    #[inline(always)]
    fn publish_locked(&self, value: Source) -> Result<u64> {
        // ORDER: Relaxed, since the lock orders writers.
        let version = self.memory.load_u64(VERSION, Relaxed)?.wrapping_add(1).max(1);
        // ORDER: Release between the version before and the slot's bytes, partner read's Acquire fence.
        self.memory.fence(Release);
        self.memory.copy_in(self.slot(version), value)?;
        // ORDER: Release, partner read: the bytes before the version.
        self.memory.store_u64(VERSION, version, Release)?;
        Ok(version)
    }
}
