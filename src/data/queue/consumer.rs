//! The side that pops.

use super::super::failure::{Failure, Result};
use super::super::memory::{Deadline, Place};
use super::super::sleep::{self, Waiting};
use super::ring::{QueueInfo, record_bytes};
use super::side::{Consuming, Other, Role, Side};
use crate::error::Problem;
use crate::mem::atomic::Ordering::Acquire;
use crate::mem::buffer::Destination;
use crate::mem::layout::queue::*;
use std::time::Duration;

/// A consumer of a queue.
pub(in crate::data) struct Consumer<P> {
    side: Side<P, Consuming>,
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

impl<P: Place> Consumer<P> {
    /// Becomes a consumer of the queue that stands in the place.
    ///
    /// # Errors
    /// EBUSY: the role is single and taken. EBADMSG, EPROTONOSUPPORT, ERANGE.
    pub(in crate::data) fn open(place: P) -> core::result::Result<Consumer<P>, (P, Failure)> {
        let mut consumer = Consumer { side: Side::join(place)?, peeked: None };
        match if consumer.side.is_many() { Ok(()) } else { consumer.side.take_over() } {
            Ok(()) => Ok(consumer),
            Err(failure) => Err(consumer.side.give_up(failure)),
        }
    }

    /// Takes the first message out, waiting for one, and gives its length.
    ///
    /// # Errors
    /// EMSGSIZE: the buffer is too small, and the message stays. EPIPE: the queue was ended and is empty. ETIMEDOUT,
    /// EINTR, EBADMSG. EINVAL: a message is being looked at.
    #[inline]
    pub(in crate::data) fn pop(&mut self, buffer: Destination, timeout: Option<Duration>) -> Result<u64> {
        let length = self.first(timeout)?;
        let size = buffer.length() as u64;
        let copied = match buffer.first(length) {
            Some(bytes) => self.side.place.copy_out(self.offset(), bytes).map_err(Failure::from),
            None => Err(Failure::Is(Problem::BufferTooSmall { length, buffer: size })),
        };
        if let Err(error) = copied {
            self.side.unlock()?;
            return Err(error);
        }
        self.take(length)?;
        Ok(length)
    }

    /// Where the first message stands, waiting for one. On a side with many members the others wait until this thread
    /// consumes or cancels.
    ///
    /// # Errors
    /// As `pop`.
    #[inline(always)]
    pub(in crate::data) fn peek(&mut self, timeout: Option<Duration>) -> Result<Message> {
        let length = self.first(timeout)?;
        self.peeked = Some(length);
        Ok(Message { offset: self.offset(), length })
    }

    /// Takes the message that is being looked at out.
    ///
    /// # Errors
    /// EINVAL: none is.
    #[inline(always)]
    pub(in crate::data) fn consume(&mut self) -> Result<()> {
        let length = self.peeked.ok_or_else(|| Failure::misused("has no message peeked by this handle; peek first"))?;
        self.side.check_turn()?;
        self.side.place.check(self.offset(), length)?;
        self.peeked = None;
        self.take(length)
    }

    /// Puts the message that is being looked at back, if one is.
    ///
    /// # Errors
    /// Those of an access.
    pub(in crate::data) fn cancel(&mut self) -> Result<()> {
        if self.peeked.take().is_some() { self.side.unlock() } else { Ok(()) }
    }

    /// Leaves; a message that is being looked at is put back.
    ///
    /// # Errors
    /// Those of an access; it has left all the same.
    pub(in crate::data) fn close(&mut self) -> Result<()> {
        let cancelled = self.cancel();
        self.side.quit().and(cancelled)
    }

    /// How the queue does.
    ///
    /// # Errors
    /// EBADMSG.
    pub(in crate::data) fn info(&self) -> Result<QueueInfo> {
        self.side.info()
    }

    /// The place it was opened in.
    pub(in crate::data) fn place(&self) -> &P {
        &self.side.place
    }

    #[inline(always)]
    fn offset(&self) -> u64 {
        RING + self.side.position + WORD
    }

    /// The length of the first message, waiting for one; on a side with many members it is this member's turn then.
    #[inline(always)]
    fn first(&mut self, timeout: Option<Duration>) -> Result<u64> {
        if self.peeked.is_some() {
            return Err(Failure::misused("has a message peeked by this handle already; consume or cancel first"));
        }
        if !self.side.is_many()
            && let Ok(length) = self.side.message()?
        {
            return Ok(length);
        }
        self.first_slowly(timeout)
    }

    /// Takes the first message out, which has this length.
    #[inline(always)]
    fn take(&mut self, length: u64) -> Result<()> {
        self.side.step(record_bytes(length));
        let done = self.side.store_cursor(1);
        self.side.unlock()?;
        done?;
        sleep::wake(&self.side.place, Consuming::OTHERS_ASLEEP)
    }

    /// The length of the message at the cursor, which goes over padding.
    fn find(&mut self) -> Result<Option<u64>> {
        loop {
            // Not for ever: padding at the ring's beginning is damage.
            match self.side.message()? {
                Ok(length) => return Ok(Some(length)),
                Err(word) => match self.side.other(word)? {
                    Other::Nothing => return Ok(None),
                    Other::Padding => self.side.step_over_padding(),
                },
            }
            self.side.store_cursor(0)?;
            sleep::wake(&self.side.place, Consuming::OTHERS_ASLEEP)?;
        }
    }

    #[cold]
    #[inline(never)]
    fn first_slowly(&mut self, timeout: Option<Duration>) -> Result<u64> {
        let deadline = Deadline::after(timeout, &self.side.place);
        let mut waiting = Waiting::new(Consuming::ASLEEP, deadline);
        loop {
            if let Some(length) = self.look(deadline)? {
                return Ok(length);
            }
            waiting.turn(&self.side.place)?;
        }
    }

    /// Looks for a message in this side's turn, which lasts if there is one.
    fn look(&mut self, deadline: Deadline) -> Result<Option<u64>> {
        self.side.lock(deadline)?;
        let cursor = if self.side.is_many() { self.side.take_over() } else { Ok(()) };
        let found = cursor.and_then(|()| self.find_or_end());
        if !matches!(found, Ok(Some(_))) {
            self.side.unlock()?;
        }
        found
    }

    fn find_or_end(&mut self) -> Result<Option<u64>> {
        if let Some(length) = self.find()? {
            return Ok(Some(length));
        }
        // ORDER: Acquire, partner Producer::end: what was committed before the end is seen by the second look.
        if self.side.place.load_u32(ENDED, Acquire)? == 0 {
            return Ok(None);
        }
        self.find()?.map(Some).ok_or(Failure::Is(Problem::Ended))
    }
}
