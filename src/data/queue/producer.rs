//! The side that pushes.

use super::super::failure::{Failure, Result};
use super::super::memory::{Deadline, Place};
use super::super::sleep::{self, Waiting};
use super::super::trial::Trial;
use super::ring::{QUEUE, QueueInfo, is_ended};
use super::side::{Consuming, Other, Producing, Role, Side};
use crate::error::Problem;
use crate::mem::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::mem::buffer::{LONG, Source};
use crate::mem::hazard::seldom;
use crate::mem::layout::queue::*;
use std::time::Duration;

/// So far ahead of what it writes a producer has lines taken back from the consumers: about as many messages of a line as it
/// pushes while one line comes from another core, which takes 100 ns, or 300.
const AHEAD: u64 = 1024;

/// A producer that finds no room waits for a quarter of the ring, or for so much, as long as the consumers get on: more than
/// what their cores have in their own caches, where it would have to be taken back from.
const MANY: u64 = 4 << 20;
/// What consumers read in a moment, at most; and how many moments there are between two looks, at most.
const BYTES_A_MOMENT: u64 = 256;
const MOST_MOMENTS: u64 = 256;

/// A producer of a queue.
pub(in crate::data) struct Producer {
    side: Side<Producing>,
    /// The cursor up to which the ring is free, as far as is known: the consumers' and the ring's length.
    limit: u64,
    /// Up to this position the ring is known to have room in one piece, and for a word behind it, on a side that is single and
    /// has not been ended, which this member alone could do since; 0 where there is something else to be looked at first.
    end: u64,
    looking_on: Trial,
    /// The length of the reservation that is open.
    reserved: Option<u64>,
}

impl Producer {
    /// Becomes a producer of the queue that stands in the place.
    ///
    /// # Errors
    /// EBUSY: the role is single and taken. EBADMSG, EPROTONOSUPPORT, ERANGE.
    pub(in crate::data) fn open(place: &impl Place) -> Result<Producer> {
        let mut producer =
            Producer { side: Side::join(place)?, limit: 0, end: 0, looking_on: Trial::default(), reserved: None };
        match if producer.side.is_many() { Ok(()) } else { producer.find_tail(place) } {
            Ok(()) => Ok(producer),
            Err(failure) => {
                // The failure of before counts for more.
                let _ = producer.side.quit(place);
                Err(failure)
            }
        }
    }

    /// Appends a message, waiting for room.
    ///
    /// # Errors
    /// EMSGSIZE: longer than the capacity. EPIPE: the queue was ended. ETIMEDOUT, EINTR, EBADMSG. EINVAL: a reservation
    /// is open.
    #[inline]
    pub(in crate::data) fn push(
        &mut self,
        place: &impl Place,
        message: Source,
        timeout: Option<Duration>,
    ) -> Result<()> {
        if let Some(sent) = self.push_at_once(place, message) {
            return sent;
        }
        let length = message.length() as u64;
        self.find_room(place, length, timeout)?;
        let record = record_bytes(length);
        let copied = self.clear_behind(place, record).and_then(|()| Ok(place.copy_in(self.offset(), message)?));
        if let Err(failure) = copied.and_then(|()| self.write_word(place, COMMITTED | length, record)) {
            self.side.unlock(place)?;
            return Err(failure);
        }
        if !self.side.is_many() {
            let in_one_piece = (self.side.position + self.free()).min(self.side.ring);
            self.end = in_one_piece.saturating_sub(WORD);
        }
        self.sent(place)
    }

    /// `push` where there is nothing to be looked at first; None where there is.
    #[inline(always)]
    pub(in crate::data) fn push_at_once(&mut self, place: &impl Place, message: Source) -> Option<Result<()>> {
        let length = message.length() as u64;
        if length > self.side.capacity {
            seldom();
            return None;
        }
        let after = self.side.position + record_bytes(length);
        if after > self.end || !QUEUE.has_head(place) {
            seldom();
            return None;
        }
        place.put_record(RING + self.side.position, COMMITTED | length, message).ok()?;
        self.side.position = after;
        // The consumers have these lines since they read what stood there.
        if after + AHEAD < self.end {
            place.expect_write(RING + after + AHEAD, 1);
        }
        Some(self.sent(place))
    }

    /// Room for a message of `length` bytes, as the offset of its first byte, which is a multiple of 8. On a side with
    /// many members the others wait until this thread commits or cancels.
    ///
    /// # Errors
    /// As `push`.
    #[inline(always)]
    pub(in crate::data) fn reserve(
        &mut self,
        place: &impl Place,
        length: u64,
        timeout: Option<Duration>,
    ) -> Result<u64> {
        self.find_room(place, length, timeout)?;
        self.reserved = Some(length);
        Ok(self.offset())
    }

    /// Commits the first `length` bytes of the reservation as a message.
    ///
    /// # Errors
    /// EINVAL: no reservation is open, or it is shorter.
    #[inline(always)]
    pub(in crate::data) fn commit(&mut self, place: &impl Place, length: u64) -> Result<()> {
        match self.reserved {
            Some(reserved) if length <= reserved => self.side.check_turn(place)?,
            Some(_) => {
                return Err(Failure::misused("has a reservation that is shorter than this message; commit less"));
            }
            None => return Err(Failure::misused("has no reservation of this handle; reserve first")),
        }
        place.check(self.offset(), length)?;
        // While that fails, the reservation stays open.
        self.append(place, COMMITTED | length, record_bytes(length))?;
        self.reserved = None;
        self.sent(place)
    }

    /// Gives up the reservation, if one is open.
    ///
    /// # Errors
    /// Those of an access.
    pub(in crate::data) fn cancel(&mut self, place: &impl Place) -> Result<()> {
        if self.reserved.take().is_some() { self.side.unlock(place) } else { Ok(()) }
    }

    /// Says that there will be no more messages, from nobody; waits for the reservations of others. An open
    /// reservation is given up.
    ///
    /// # Errors
    /// ETIMEDOUT, EINTR: another producer's reservation is open.
    pub(in crate::data) fn end(&mut self, place: &impl Place, timeout: Option<Duration>) -> Result<()> {
        self.cancel(place)?;
        self.end = 0;
        let deadline = Deadline::after(timeout, place);
        self.side.lock(place, deadline).map_err(|failure| match failure {
            Failure::TimedOut | Failure::Is(Problem::StillHeld { .. }) => Failure::Is(Problem::Reserved),
            failure => failure,
        })?;
        let ended = self.mark_end(place);
        self.side.unlock(place)?;
        ended?;
        sleep::wake(place, Producing::OTHERS_ASLEEP)?;
        sleep::wake(place, Producing::ASLEEP)
    }

    fn mark_end(&self, place: &impl Place) -> Result<()> {
        QUEUE.check_head(place)?;
        if is_ended(place, Relaxed)? {
            return Ok(());
        }
        // ORDER: Release, partner Consumer::find_or_end: every message before it.
        Ok(place.store_u32(ENDED, 1, Release)?)
    }

    /// Leaves; an open reservation is given up.
    ///
    /// # Errors
    /// Those of an access; it has left all the same.
    pub(in crate::data) fn close(&mut self, place: &impl Place) -> Result<()> {
        let cancelled = self.cancel(place);
        self.side.quit(place).and(cancelled)
    }

    /// Wakes the consumers that sleep.
    ///
    /// # Errors
    /// Those of an access.
    pub(in crate::data) fn wake_others(&self, place: &impl Place) -> Result<()> {
        sleep::wake(place, Producing::OTHERS_ASLEEP)
    }

    /// How the queue does.
    ///
    /// # Errors
    /// EBADMSG.
    pub(in crate::data) fn info(&self, place: &impl Place) -> Result<QueueInfo> {
        self.side.info(place)
    }

    /// Whether a reservation is open.
    #[inline(always)]
    pub(in crate::data) fn has_reservation(&self) -> bool {
        self.reserved.is_some()
    }

    #[inline(always)]
    fn offset(&self) -> u64 {
        RING + self.side.position + WORD
    }

    /// Finds room for a message, waiting for it; on a side with many members it is this member's turn then.
    #[inline(always)]
    fn find_room<P: Place>(&mut self, place: &P, length: u64, timeout: Option<Duration>) -> Result<()> {
        self.end = 0;
        if self.reserved.is_some() {
            return Err(Failure::misused("has a reservation of this handle already; commit or cancel it first"));
        }
        if length > self.side.capacity {
            return Err(Failure::Is(Problem::TooLong { length, capacity: self.side.capacity }));
        }
        self.side.check_locks::<P>()?;
        if self.side.is_many() || !self.finds_room(place, length)? {
            if !P::HAS_LOCKS {
                return Err(Failure::Access);
            }
            self.find_room_slowly(place, length, timeout)?;
        }
        if length >= LONG {
            place.expect_write(self.offset(), length);
        }
        Ok(())
    }

    /// What follows a message that was committed, and stays so whatever becomes of this.
    #[inline(always)]
    fn sent<P: Place>(&mut self, place: &P) -> Result<()> {
        let stored = self.side.store_cursor(place, 1);
        let unlocked = self.side.unlock(place);
        let woken = sleep::wake(place, Producing::OTHERS_ASLEEP);
        if P::IS_PATIENT { stored.and(unlocked).and(woken) } else { Ok(()) }
    }

    /// Whether a message of `length` bytes fits at the cursor, which goes over the ring's end if need be.
    #[inline(always)]
    fn finds_room(&mut self, place: &impl Place, length: u64) -> Result<bool> {
        QUEUE.check_head(place)?;
        // ORDER: Relaxed: it is set by a producer, under the mutex if there are many.
        if is_ended(place, Relaxed)? {
            return Err(Failure::Is(Problem::Ended));
        }
        let record = record_bytes(length);
        if self.side.position + record > self.side.ring && !self.pads(place)? {
            return Ok(false);
        }
        self.is_free(place, record)
    }

    /// Commits padding up to the ring's end, whether or not the message behind it finds room now: so a consumer passes
    /// it and makes room. It is too seldom for the shortest way.
    #[inline(always)]
    fn pads<P: Place>(&mut self, place: &P) -> Result<bool> {
        if P::HAS_LOCKS { self.appends_padding(place) } else { Err(Failure::Access) }
    }

    #[cold]
    #[inline(never)]
    fn appends_padding(&mut self, place: &impl Place) -> Result<bool> {
        let gap = self.side.ring - self.side.position;
        if !self.is_free(place, gap)? {
            return Ok(false);
        }
        self.append(place, COMMITTED | PADDING | (gap - WORD), gap)?;
        self.side.store_cursor(place, 0)?;
        sleep::wake(place, Producing::OTHERS_ASLEEP)?;
        Ok(true)
    }

    /// Whether so many bytes from the cursor, and the word behind them, are free.
    #[inline(always)]
    fn is_free(&mut self, place: &impl Place, bytes: u64) -> Result<bool> {
        let needed = bytes + WORD;
        if self.free() >= needed {
            return Ok(true);
        }
        // Each look takes the cursor's line away from the consumer: while he gets on, one waits for room for many messages.
        let wanted = needed.max(MANY.min(self.side.ring / 4));
        let mut looks_in_vain = 0;
        loop {
            let before = self.limit;
            self.look_at_head(place)?;
            looks_in_vain = if self.limit == before { looks_in_vain + 1 } else { 0 };
            let (free, is_at_rest) = (self.free(), looks_in_vain > 3);
            let moments = 1 + (wanted.saturating_sub(free) / BYTES_A_MOMENT).min(MOST_MOMENTS);
            if free >= wanted || is_at_rest || !place.spins(moments) {
                return Ok(free >= needed);
            }
        }
    }

    #[inline(always)]
    fn free(&self) -> u64 {
        self.limit.wrapping_sub(self.side.cursor())
    }

    /// Asks the consumers' cursor.
    #[inline(always)]
    fn look_at_head(&mut self, place: &impl Place) -> Result<()> {
        // ORDER: Acquire, partner store_cursor: consumers have read what they have passed.
        let head = place.load_u64(Consuming::CURSOR, Acquire)?;
        let unread = self.side.cursor().wrapping_sub(head);
        if !head.is_multiple_of(WORD) || unread > self.side.ring - WORD {
            return Err(Failure::damaged("the consumers' cursor", head));
        }
        self.limit = head.wrapping_add(self.side.ring);
        Ok(())
    }

    /// Writes a record of `bytes` bytes, all but its message.
    #[inline(always)]
    fn append(&mut self, place: &impl Place, word: u64, bytes: u64) -> Result<()> {
        self.clear_behind(place, bytes)?;
        self.write_word(place, word, bytes)
    }

    /// Zeroes the word that follows a record of `bytes` bytes. It is written first, and the record's own word last, so that
    /// the line that a consumer polls is taken from him once.
    #[inline(always)]
    fn clear_behind(&self, place: &impl Place, bytes: u64) -> Result<()> {
        Ok(place.store_u64(RING + self.side.after(bytes), 0, Relaxed)?)
    }

    /// Commits a record of `bytes` bytes whose message is there.
    #[inline(always)]
    fn write_word(&mut self, place: &impl Place, word: u64, bytes: u64) -> Result<()> {
        // ORDER: Release, partner Side::message: the message and the 0 behind it.
        place.store_u64(RING + self.side.position, word, Release)?;
        self.side.step(bytes);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn find_room_slowly(&mut self, place: &impl Place, length: u64, timeout: Option<Duration>) -> Result<()> {
        let deadline = Deadline::after(timeout, place);
        let mut waiting = Waiting::new(QUEUE, Producing::ASLEEP, deadline);
        while !self.look(place, length, deadline)? {
            let full = Problem::Full { needed: record_bytes(length) + WORD, free: self.free() };
            waiting.turn(place, Some(&mut self.looking_on)).map_err(|failure| failure.late(full))?;
        }
        waiting.found(&mut self.looking_on);
        Ok(())
    }

    /// Looks for room in this side's turn, which lasts if there is some.
    fn look(&mut self, place: &impl Place, length: u64, deadline: Deadline) -> Result<bool> {
        self.side.lock(place, deadline)?;
        let tail = if self.side.is_many() { self.find_tail(place) } else { Ok(()) };
        let found = tail.and_then(|()| self.finds_room(place, length));
        if found != Ok(true) {
            self.side.unlock(place)?;
        }
        found
    }

    /// Goes to the tail: where the producers' cursor was stored last, or one record on if who committed it was killed
    /// before he stored the cursor.
    fn find_tail(&mut self, place: &impl Place) -> Result<()> {
        self.side.take_over(place)?;
        let stored = self.side.cursor();
        let mut messages = 0;
        for _ in 0..2 {
            match self.side.message(place)? {
                Ok(length) => {
                    self.side.step(record_bytes(length));
                    messages += 1;
                }
                Err(word) => match self.side.other(word)? {
                    Other::Padding => self.side.step_over_padding(),
                    Other::Nothing => {
                        if self.side.cursor() != stored {
                            self.side.store_cursor(place, messages)?;
                        }
                        return self.look_at_head(place);
                    }
                },
            }
        }
        Err(Failure::damaged("the producers' cursor, which is too far back", self.side.cursor()))
    }
}
