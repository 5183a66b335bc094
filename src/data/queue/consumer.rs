//! The side that pops.

use super::super::failure::{Failure, Result};
use super::super::memory::{Deadline, Place};
use super::super::sleep::{self, Waiting};
use super::super::trial::Trial;
use super::pace::Pace;
use super::ring::{QUEUE, QueueInfo, is_ended};
use super::side::{Consuming, Other, Producing, Role, Side};
use crate::error::Problem;
use crate::mem::atomic::Ordering::Acquire;
use crate::mem::buffer::{Destination, LONG};
use crate::mem::hazard::seldom;
use crate::mem::layout::queue::*;
use std::time::Duration;

/// So far ahead of what it has read a consumer asks for what it will read next: farther is no faster, and takes lines from the
/// producer that are not written yet.
const AHEAD: u64 = 128;

/// A consumer of a queue.
pub(in crate::data) struct Consumer {
    side: Side<Consuming>,
    pace: Pace,
    looking_on: Trial,
    /// The length of the message that is being looked at.
    peeked: Option<u64>,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) struct Message {
    /// The offset of its first byte, a multiple of 8.
    pub(in crate::data) offset: u64,
    /// Its bytes.
    pub(in crate::data) length: u64,
}

impl Consumer {
    /// Becomes a consumer of the queue that stands in the place.
    ///
    /// # Errors
    /// EBUSY: the role is single and taken. EBADMSG, EPROTONOSUPPORT, ERANGE.
    pub(in crate::data) fn open(place: &impl Place) -> Result<Consumer> {
        let mut consumer =
            Consumer { side: Side::join(place)?, pace: Pace::default(), looking_on: Trial::default(), peeked: None };
        match if consumer.side.is_many() { Ok(()) } else { consumer.side.take_over(place) } {
            Ok(()) => Ok(consumer),
            Err(failure) => {
                // The failure of before counts for more.
                let _ = consumer.side.quit(place);
                Err(failure)
            }
        }
    }

    /// Takes the first message out, waiting for one, and gives its length.
    ///
    /// # Errors
    /// EMSGSIZE: the buffer is too small, and the message stays. EPIPE: the queue was ended and is empty. ETIMEDOUT,
    /// EINTR, EBADMSG. EINVAL: a message is being looked at.
    #[inline]
    pub(in crate::data) fn pop(
        &mut self,
        place: &impl Place,
        mut buffer: Destination,
        timeout: Option<Duration>,
    ) -> Result<u64> {
        if let Some(popped) = self.pop_at_once(place, buffer.again()) {
            return popped;
        }
        let length = self.first_after_a_look(place, timeout)?;
        self.expect(place, length);
        let size = buffer.length() as u64;
        let copied = match buffer.first(length) {
            // While a byte of it may be missing, the message stays.
            Some(bytes) => place
                .copy_out(self.offset(), bytes)
                .and_then(|()| place.check(self.offset(), length))
                .map_err(Failure::from),
            None => Err(Failure::Is(Problem::BufferTooSmall { length, buffer: size })),
        };
        if let Err(failure) = copied.and_then(|()| self.take(place, length)) {
            self.side.unlock(place)?;
            return Err(failure);
        }
        self.taken(place)?;
        Ok(length)
    }

    /// `pop` where the message is there, or comes while the place has time, and nothing is to be looked at but that; None
    /// where it is not.
    #[inline(always)]
    pub(in crate::data) fn pop_at_once<P: Place>(&mut self, place: &P, buffer: Destination) -> Option<Result<u64>> {
        if self.side.is_many() || self.peeked.is_some() {
            seldom();
            return None;
        }
        // None at the ring's end.
        let longest = (self.side.ring - self.side.position).checked_sub(WORD)?;
        let pace = &mut self.pace;
        let found = place.take_record(RING + self.side.position, longest, buffer, move || pace.rest());
        let Ok(Ok((length, was_there))) = found else {
            seldom();
            return None;
        };
        // While a byte of it may be missing, the message stays.
        place.check(self.offset(), length).ok()?;
        self.take(place, length).ok()?;
        if was_there {
            self.expect_more(place);
        }
        Some(self.taken(place).map(|()| length))
    }

    /// Where the first message stands, waiting for one. On a side with many members the others wait until this thread
    /// consumes or cancels.
    ///
    /// # Errors
    /// As `pop`.
    #[inline(always)]
    pub(in crate::data) fn peek(&mut self, place: &impl Place, timeout: Option<Duration>) -> Result<Message> {
        let length = self.first(place, timeout)?;
        self.expect(place, length);
        self.peeked = Some(length);
        Ok(Message { offset: self.offset(), length })
    }

    /// Takes the message that is being looked at out.
    ///
    /// # Errors
    /// EINVAL: none is.
    #[inline(always)]
    pub(in crate::data) fn consume(&mut self, place: &impl Place) -> Result<()> {
        let length = self.peeked.ok_or_else(|| Failure::misused("has no message peeked by this handle; peek first"))?;
        self.side.check_turn(place)?;
        place.check(self.offset(), length)?;
        // While that fails, the message stays.
        self.take(place, length)?;
        self.peeked = None;
        self.taken(place)
    }

    /// Puts the message that is being looked at back, if one is.
    ///
    /// # Errors
    /// Those of an access.
    pub(in crate::data) fn cancel(&mut self, place: &impl Place) -> Result<()> {
        if self.peeked.take().is_some() { self.side.unlock(place) } else { Ok(()) }
    }

    /// Leaves; a message that is being looked at is put back.
    ///
    /// # Errors
    /// Those of an access; it has left all the same.
    pub(in crate::data) fn close(&mut self, place: &impl Place) -> Result<()> {
        let cancelled = self.cancel(place);
        self.side.quit(place).and(cancelled)
    }

    /// Wakes the producers that sleep.
    ///
    /// # Errors
    /// Those of an access.
    pub(in crate::data) fn wake_others(&self, place: &impl Place) -> Result<()> {
        sleep::wake(place, Consuming::OTHERS_ASLEEP)
    }

    /// How the queue does.
    ///
    /// # Errors
    /// EBADMSG.
    pub(in crate::data) fn info(&self, place: &impl Place) -> Result<QueueInfo> {
        self.side.info(place)
    }

    /// Whether a message is being looked at.
    #[inline(always)]
    pub(in crate::data) fn is_looking(&self) -> bool {
        self.peeked.is_some()
    }

    #[inline(always)]
    fn offset(&self) -> u64 {
        RING + self.side.position + WORD
    }

    /// The length of the first message, waiting for one; on a side with many members it is this member's turn then.
    #[inline(always)]
    fn first<P: Place>(&mut self, place: &P, timeout: Option<Duration>) -> Result<u64> {
        self.side.turn();
        if !self.side.is_many() && self.peeked.is_none() {
            let pace = &mut self.pace;
            let length = place.await_u64(RING + self.side.position, move || pace.rest()) ^ COMMITTED;
            if length <= self.side.longest() {
                return Ok(length);
            }
        }
        self.first_after_a_look(place, timeout)
    }

    /// The same, where nothing was found at once.
    #[inline(always)]
    fn first_after_a_look<P: Place>(&mut self, place: &P, timeout: Option<Duration>) -> Result<u64> {
        if self.peeked.is_some() {
            return Err(Failure::misused("has a message peeked by this handle already; consume or cancel first"));
        }
        if P::HAS_LOCKS { self.first_slowly(place, timeout) } else { Err(Failure::Access) }
    }

    /// Takes the first message out, which has this length.
    #[inline(always)]
    fn take(&mut self, place: &impl Place, length: u64) -> Result<()> {
        self.side.pass(place, record_bytes(length))?;
        self.pace.took();
        Ok(())
    }

    /// Asks for the message that is there.
    #[inline(always)]
    fn expect(&self, place: &impl Place, length: u64) {
        if length >= LONG {
            place.expect_read(self.offset(), length);
        }
    }

    /// Asks for what comes next, where messages are there before they are looked for. Who waits for each one would take the
    /// line from the producer that is about to write it.
    #[inline(always)]
    fn expect_more(&self, place: &impl Place) {
        let next = self.side.position + AHEAD;
        if next < self.side.ring {
            place.expect_read(RING + next, 1);
        }
    }

    /// What follows a message that was taken out, and is so whatever becomes of this.
    #[inline(always)]
    fn taken<P: Place>(&mut self, place: &P) -> Result<()> {
        let unlocked = self.side.unlock(place);
        let woken = sleep::wake(place, Consuming::OTHERS_ASLEEP);
        if P::IS_PATIENT { unlocked.and(woken) } else { Ok(()) }
    }

    /// The length of the message at the cursor, which goes over padding.
    fn find(&mut self, place: &impl Place) -> Result<Option<u64>> {
        self.side.turn();
        loop {
            // Not for ever: padding at the ring's beginning is damage.
            match self.side.message(place)? {
                Ok(length) => return Ok(Some(length)),
                Err(word) => match self.side.other(word)? {
                    Other::Nothing => return Ok(None),
                    Other::Padding => self.side.step_over_padding(),
                },
            }
            self.side.store_cursor(place, 0)?;
            sleep::wake(place, Consuming::OTHERS_ASLEEP)?;
        }
    }

    #[cold]
    #[inline(never)]
    fn first_slowly(&mut self, place: &impl Place, timeout: Option<Duration>) -> Result<u64> {
        let deadline = Deadline::after(timeout, place);
        let mut waiting = Waiting::new(QUEUE, Consuming::ASLEEP, deadline);
        loop {
            if let Some(length) = self.look(place, deadline)? {
                waiting.found(&mut self.looking_on);
                return Ok(length);
            }
            waiting.turn(place, Some(&mut self.looking_on)).map_err(|failure| failure.late(Problem::Empty))?;
        }
    }

    /// Looks for a message in this side's turn, which lasts if there is one.
    fn look(&mut self, place: &impl Place, deadline: Deadline) -> Result<Option<u64>> {
        self.side.lock(place, deadline)?;
        let cursor = if self.side.is_many() { self.side.take_over(place) } else { Ok(()) };
        let found = cursor.and_then(|()| self.find_or_end(place));
        if !matches!(found, Ok(Some(_))) {
            self.side.unlock(place)?;
        }
        found
    }

    fn find_or_end(&mut self, place: &impl Place) -> Result<Option<u64>> {
        if let Some(length) = self.find(place)? {
            return Ok(Some(length));
        }
        QUEUE.check_head(place)?;
        // ORDER: Acquire, partner Producer::mark_end: what was committed before the end is seen by the second look.
        let is_ended = is_ended(place, Acquire)?;
        // ORDER: Acquire, partner store_cursor: who sees it sees every message before it.
        let tail = place.load_u64(Producing::CURSOR, Acquire)?;
        if !is_ended && !self.is_behind(tail) {
            return Ok(None);
        }
        match self.find(place)? {
            Some(length) => Ok(Some(length)),
            // Messages were here: the file was cut short, and made longer again.
            None if self.is_behind(tail) => Err(Failure::damaged("the word of a message that was pushed", 0)),
            None if is_ended => Err(Failure::Is(Problem::Ended)),
            None => Ok(None),
        }
    }

    /// Whether the producers' cursor, as they have stored it, is past this side's.
    fn is_behind(&self, tail: u64) -> bool {
        tail.wrapping_sub(self.side.cursor()).cast_signed() > 0
    }
}
