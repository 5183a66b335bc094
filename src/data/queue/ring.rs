//! The ring: what never changes about a queue, how it is made, and how it does.

use super::super::failure::{Failure, Result};
use super::super::memory::{Liveness, Memory, Place};
use super::super::object::{Identity, Kind, check_room};
use super::side::{self, Consuming, Producing, Role};
use crate::mem::atomic::Ordering::{self, Acquire, Relaxed};
use crate::mem::layout::QUEUE_HEAD;
use crate::mem::layout::queue::*;

/// What stands at its beginning.
pub(super) const QUEUE: Kind = Kind(QUEUE_HEAD);
const LARGEST: u64 = 1 << 56;

/// One handle at a time may be a producer.
pub(crate) const SINGLE_PRODUCER: u32 = 1;
/// One handle at a time may be a consumer.
pub(crate) const SINGLE_CONSUMER: u32 = 2;

/// What never changes about a queue, checked.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) capacity: u64,
    pub(super) ring: u64,
    pub(super) flags: u32,
    /// The bytes of the whole queue.
    pub(super) bytes: u64,
}

/// How a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueInfo {
    /// Messages not yet consumed.
    pub messages: u64,
    /// Bytes of the ring that they take, with their words and padding.
    pub bytes: u64,
    /// The capacity it was made with.
    pub capacity: u64,
    /// Messages pushed since the queue was made; lags by one for each producer killed at the wrong instant.
    pub pushed: u64,
    /// Messages popped, likewise.
    pub popped: u64,
    /// Producers attached and alive: handles, at most 16.
    pub producers: u32,
    /// Consumers likewise.
    pub consumers: u32,
}

const fn ring_for(capacity: u64) -> u64 {
    (capacity + 2 * WORD).next_multiple_of(64)
}

/// How many bytes a queue takes; None for a capacity that no queue has.
pub(crate) const fn footprint(capacity: u64) -> Option<u64> {
    if capacity == 0 || capacity > LARGEST { None } else { Some(RING + ring_for(capacity)) }
}

/// Makes an empty queue.
///
/// # Errors
/// EINVAL, ERANGE, EEXIST, EBADMSG; EBUSY: another who lives has been making it for a second.
pub(in crate::data) fn init<P: Place>(place: &P, capacity: u64, flags: u32) -> Result<()> {
    let needed =
        footprint(capacity).ok_or_else(|| Failure::misused("would have a capacity that none has: 1 to 2^56 bytes"))?;
    check_room(place, needed)?;
    QUEUE.create(place, RING, Identity { length: capacity, options: flags }, || {
        place.init_lock(PRODUCERS_MUTEX)?;
        place.init_lock(CONSUMERS_MUTEX)?;
        Ok(place.store_u64(RING, 0, Relaxed)?)
    })
}

impl Shape {
    /// That of the queue whose first bytes the memory has.
    pub(super) fn read<M: Memory + Liveness>(memory: &M) -> Result<Shape> {
        check_room(memory, RING)?;
        let Identity { length: capacity, options: flags } = QUEUE.attach(memory)?;
        let bytes = footprint(capacity).ok_or_else(|| Failure::damaged("the capacity", capacity))?;
        if flags & !(SINGLE_PRODUCER | SINGLE_CONSUMER) != 0 {
            return Err(Failure::damaged("the flags", flags.into()));
        }
        Ok(Shape { capacity, ring: ring_for(capacity), flags, bytes })
    }

    /// `read`, of a queue that the memory has all of.
    pub(super) fn attach<M: Memory + Liveness>(memory: &M) -> Result<Shape> {
        let shape = Shape::read(memory)?;
        check_room(memory, shape.bytes)?;
        Ok(shape)
    }
}

/// Whether a producer said that there will be no more.
#[inline(always)]
pub(super) fn is_ended(memory: &impl Memory, order: Ordering) -> Result<bool> {
    if memory.is_zero_u32(ENDED, order) {
        return Ok(false);
    }
    match memory.load_u32(ENDED, order)? {
        0 => Ok(false),
        1 => Ok(true),
        word => Err(Failure::damaged("the mark of the end, which is 0 or 1", word.into())),
    }
}

/// How the queue does that stood in the memory with this capacity and ring.
///
/// # Errors
/// EBADMSG.
pub(super) fn info<P: Place>(place: &P, capacity: u64, ring: u64) -> Result<QueueInfo> {
    let Identity { length, .. } = QUEUE.attach_again(place)?;
    if length != capacity {
        return Err(Failure::damaged("the capacity", length));
    }
    // The consumers' cursor first, so that the producers' is not behind it for the time that passes in between.
    let (head, popped) = (place.load_u64(Consuming::CURSOR, Acquire)?, place.load_u64(Consuming::COUNT, Acquire)?);
    let (pushed, tail) = (place.load_u64(Producing::COUNT, Acquire)?, place.load_u64(Producing::CURSOR, Acquire)?);
    let bytes = match tail.wrapping_sub(head) {
        behind if behind as i64 <= 0 => 0,
        bytes => bytes.min(ring),
    };
    let messages = pushed.saturating_sub(popped).min(bytes / WORD);
    let (producers, consumers) = (side::members::<P, Producing>(place)?, side::members::<P, Consuming>(place)?);
    Ok(QueueInfo { messages, bytes, capacity, pushed, popped, producers, consumers })
}
