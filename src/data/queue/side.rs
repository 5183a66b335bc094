//! What producers and consumers have in common: membership, the mutex, and a cursor of their own.

use super::super::failure::{Failure, Result};
use super::super::memory::{Deadline, Place};
use super::ring::{self, QUEUE, QueueInfo, SINGLE_CONSUMER, SINGLE_PRODUCER, Shape};
use crate::error::Problem;
use crate::mem::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::mem::layout::queue::*;
use std::marker::PhantomData;

/// Where the words of a side stand.
pub(super) trait Role {
    const SINGLE: u32;
    const CURSOR: u64;
    const COUNT: u64;
    const MUTEX: u64;
    const MEMBERS_OF_SIDE: u64;
    const ASLEEP: u64;
    const OTHERS_ASLEEP: u64;
}

pub(super) struct Producing;
pub(super) struct Consuming;

impl Role for Producing {
    const SINGLE: u32 = SINGLE_PRODUCER;
    const CURSOR: u64 = TAIL;
    const COUNT: u64 = PUSHED;
    const MUTEX: u64 = PRODUCERS_MUTEX;
    const MEMBERS_OF_SIDE: u64 = PRODUCERS;
    const ASLEEP: u64 = PRODUCERS_ASLEEP;
    const OTHERS_ASLEEP: u64 = CONSUMERS_ASLEEP;
}

impl Role for Consuming {
    const SINGLE: u32 = SINGLE_CONSUMER;
    const CURSOR: u64 = HEAD;
    const COUNT: u64 = POPPED;
    const MUTEX: u64 = CONSUMERS_MUTEX;
    const MEMBERS_OF_SIDE: u64 = CONSUMERS;
    const ASLEEP: u64 = CONSUMERS_ASLEEP;
    const OTHERS_ASLEEP: u64 = PRODUCERS_ASLEEP;
}

/// A member of a side. On a side with many, the cursor is true only while the mutex is held.
pub(super) struct Side<R> {
    pub(super) capacity: u64,
    /// The ring's bytes.
    pub(super) ring: u64,
    /// The cursor's offset in the ring; at the ring's end until `turn` has gone over that.
    pub(super) position: u64,
    /// The cursor at the ring's beginning, the last time that it was there.
    lap: u64,
    many: bool,
    /// The thread that has the lock, while this member has it.
    locked_by: u32,
    /// Its word among the members; None when there was none left.
    member: Option<u64>,
    role: PhantomData<R>,
}

/// What stands at the cursor when it is no message.
pub(super) enum Other {
    Nothing,
    /// No message up to the ring's end.
    Padding,
}

impl<R: Role> Side<R> {
    /// A new member.
    pub(super) fn join<P: Place>(place: &P) -> Result<Side<R>> {
        let Shape { capacity, ring, flags, .. } = Shape::attach(place)?;
        let many = flags & R::SINGLE == 0;
        Ok(Side {
            capacity,
            ring,
            position: 0,
            lap: 0,
            many,
            locked_by: 0,
            member: enroll::<P, R>(place, many)?,
            role: PhantomData,
        })
    }

    /// How the queue does.
    pub(super) fn info(&self, place: &impl Place) -> Result<QueueInfo> {
        ring::info(place, self.capacity, self.ring)
    }

    pub(super) fn quit(&mut self, place: &impl Place) -> Result<()> {
        match self.member.take() {
            Some(member) => Ok(place.store_u32(member, 0, Release)?),
            None => Ok(()),
        }
    }

    #[inline(always)]
    pub(super) fn is_many(&self) -> bool {
        self.many
    }

    /// Waits for this side's turn, if it has many members.
    #[inline(always)]
    pub(super) fn lock(&mut self, place: &impl Place, deadline: Deadline) -> Result<()> {
        if self.many {
            place.lock(R::MUTEX, || deadline.rest(|| place.now()))?;
            self.locked_by = place.thread();
        }
        Ok(())
    }

    /// Ends this side's turn.
    #[inline(always)]
    pub(super) fn unlock<P: Place>(&mut self, place: &P) -> Result<()> {
        if P::HAS_LOCKS && self.many {
            self.locked_by = 0;
            place.unlock(R::MUTEX)?;
        }
        Ok(())
    }

    /// Refuses what only the thread may do that has this side's turn: the lock goes when that thread ends. And what would be
    /// done in a queue that was written over meanwhile.
    #[inline(always)]
    pub(super) fn check_turn<P: Place>(&self, place: &P) -> Result<()> {
        QUEUE.check_head(place)?;
        self.check_locks::<P>()?;
        if self.many && self.locked_by != place.thread() {
            return Err(Failure::Is(Problem::OfAnotherThread));
        }
        Ok(())
    }

    /// Gives up where a lock is needed and none can be had.
    #[inline(always)]
    pub(super) fn check_locks<P: Place>(&self) -> Result<()> {
        if self.many && !P::HAS_LOCKS { Err(Failure::Access) } else { Ok(()) }
    }

    /// Takes over the cursor that the side has stored.
    pub(super) fn take_over(&mut self, place: &impl Place) -> Result<()> {
        // ORDER: Acquire, partner store_cursor.
        let cursor = place.load_u64(R::CURSOR, Acquire)?;
        if cursor != self.cursor() {
            if !cursor.is_multiple_of(WORD) {
                return Err(Failure::damaged("a cursor, which is a multiple of 8", cursor));
            }
            self.position = cursor % self.ring;
            self.lap = cursor - self.position;
        }
        Ok(())
    }

    /// The length of the message at the cursor, or the word that stands there instead. It is read once.
    #[inline(always)]
    pub(super) fn message(&self, place: &impl Place) -> Result<core::result::Result<u64, u64>> {
        // ORDER: Acquire, partner Producer::append: the bytes behind the word, and the 0 behind those.
        let word = place.load_u64(RING + self.position, Acquire)?;
        // A message's word has no other bit, so that all that is none is larger than the ring.
        let length = word ^ COMMITTED;
        Ok(if length <= self.longest() { Ok(length) } else { Err(word) })
    }

    /// How many bytes the message at the cursor can have.
    #[inline(always)]
    pub(super) fn longest(&self) -> u64 {
        (self.ring - self.position).saturating_sub(WORD)
    }

    /// What a word at the cursor is that is no message's.
    #[cold]
    pub(super) fn other(&self, word: u64) -> Result<Other> {
        let padding = COMMITTED | PADDING | self.longest();
        if word == 0 {
            Ok(Other::Nothing)
        } else if word == padding && self.position != 0 {
            Ok(Other::Padding)
        } else {
            Err(Failure::damaged("a record's word", word))
        }
    }

    /// The offset in the ring that follows `bytes` from the position: the ring's end is its beginning.
    #[inline(always)]
    pub(super) fn after(&self, bytes: u64) -> u64 {
        let next = self.position + bytes;
        if next == self.ring { 0 } else { next }
    }

    /// How many bytes were passed since the queue began.
    #[inline(always)]
    pub(super) fn cursor(&self) -> u64 {
        self.lap.wrapping_add(self.position)
    }

    /// Steps over so many bytes.
    #[inline(always)]
    pub(super) fn step(&mut self, bytes: u64) {
        self.position += bytes;
        self.turn();
    }

    /// The ring's end is its beginning.
    #[inline(always)]
    pub(super) fn turn(&mut self) {
        if self.position == self.ring {
            self.position = 0;
            self.lap = self.lap.wrapping_add(self.ring);
        }
    }

    /// Steps over a message whose record has so many bytes, and tells the others. Where that fails, it has not. Whether the
    /// ring's end is reached is left to the next call, whose time it may be to wait.
    #[inline(always)]
    pub(super) fn pass(&mut self, place: &impl Place, bytes: u64) -> Result<()> {
        self.position += bytes;
        self.store_cursor(place, 1).inspect_err(|_| self.position -= bytes)
    }

    /// Steps to the ring's end.
    pub(super) fn step_over_padding(&mut self) {
        self.step(self.ring - self.position);
    }

    /// Tells the others where this side stands, so many messages later.
    #[inline(always)]
    pub(super) fn store_cursor(&self, place: &impl Place, messages: u64) -> Result<()> {
        const { assert!(R::COUNT == R::CURSOR + WORD) };
        // ORDER: Release, partners take_over and Producer::look_at_head: what was read or written before it. The count is this
        // side's alone, under the mutex if it has many members.
        Ok(place.store_and_bump(R::CURSOR, self.cursor(), messages)?)
    }
}

/// Enters this process among the members of a side, in the place of nobody or of a dead one. A side that is single has
/// one place; on another who finds none is not counted.
fn enroll<P: Place, R: Role>(place: &P, many: bool) -> Result<Option<u64>> {
    let mut holder = 0;
    for entry in 0..if many { MEMBERS } else { 1 } {
        let offset = R::MEMBERS_OF_SIDE + 4 * entry;
        holder = place.load_u32(offset, Acquire)?;
        if holder == 0 || !place.is_alive(holder)? {
            let found = place.compare_swap_u32(offset, holder, place.me())?;
            if found == holder {
                return Ok(Some(offset));
            }
            holder = found;
        }
    }
    match holder {
        _ if many => Ok(None),
        holder if holder == place.me() => Err(Failure::Is(Problem::RoleTaken("another handle of this process"))),
        _ => Err(Failure::Is(Problem::RoleTaken("another process, which lives"))),
    }
}

/// How many members of a side live.
pub(super) fn members<P: Place, R: Role>(place: &P) -> Result<u32> {
    let mut alive = 0;
    for entry in 0..MEMBERS {
        let member = place.load_u32(R::MEMBERS_OF_SIDE + 4 * entry, Relaxed)?;
        alive += u32::from(member != 0 && place.is_alive(member)?);
    }
    Ok(alive)
}
