//! A bounded first-in, first-out ring of messages of any length.
//!
//! A record is a word and the message's bytes, and begins at a multiple of 8. The word is 0 until the record is
//! committed, which is one release store of it; consumers look at nothing else. Before that store the producer zeroes
//! the word that follows the record, so that behind the last record always stands a 0 and never an old message's
//! byte. A record that would not fit before the ring's end is preceded by padding up to there.
//!
//! Cursors count the bytes since the queue began. The consumers' says what may be overwritten; the producers' is a hint:
//! who begins to produce starts there and goes on over all records that are committed.
//!
//! Decision: the ring has room for `capacity` bytes and two words, so that every message of at most `capacity` bytes
//! fits. One of more than half may have to wait until a consumer has passed the padding before it, even if no message
//! is in the queue.
//!
//! Decision: on a side with many members, who waits does not keep the mutex: it is held from reserve to commit, from
//! peek to consume, and for a look. So `end` waits for reservations only, and trying is never refused because of a sleeper.
//!
//! | killed here | what it leaves behind |
//! | --- | --- |
//! | reserve, up to the commit | 0 at the tail: the next producer writes over it |
//! | after the commit, before the tail is stored | the next producer goes on over the record |
//! | after the tail, before the count | a count of messages pushed that lags by one |
//! | peek, up to the head's store | the message: it is delivered again |
//! | after the head's store, before the count | a count of messages popped that lags by one |
//! | before a wake-up | a sleeper who looks within 100 ms |
//! | with a mutex or a role | what the next one takes over |

mod consumer;
mod pace;
mod producer;
mod ring;
mod side;

use super::failure::{self, Failure};
use super::place::{AtOnce, InRegion, check_alignment};
use crate::error::{Error, Problem, Result};
use crate::mem::buffer::{Copying, Destination, Source};
use crate::mem::fence;
use crate::mem::hazard::{self, Caller};
use crate::mem::layout;
use crate::mem::pinned::Pinned;
use crate::mem::presence::Membership;
use crate::mem::word::Words;
pub use ring::QueueInfo;
use std::time::Duration;

const KIND: &str = "queue";
const OBJECT: &str = "a queue";
/// See `Queue::looks`; there is a pause between.
const LOOKS: u32 = 50;
/// So long the end of a queue waits for reservations of others.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which sides of a queue have one member at a time, and take no lock therefore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// One producer.
    pub single_producer: bool,
    /// One consumer.
    pub single_consumer: bool,
}

/// A bounded first-in, first-out queue of messages of any length, in a region: at a multiple of 64.
pub enum Queue {}

impl Queue {
    /// Its first bytes, which tell how many there are in all.
    pub const HEADER: u64 = layout::queue::RING;

    /// How often an operation that may wait looks for what is not there yet, before it takes the way of those who sleep.
    #[inline(always)]
    pub(crate) fn looks(timeout_ns: i64) -> u32 {
        u32::from(timeout_ns != 0) * LOOKS
    }

    /// EINVAL: no queue can begin at this offset.
    pub(crate) fn check_offset(offset: u64) -> Result<()> {
        check_alignment(offset, OBJECT)
    }

    /// How many bytes a queue takes that has room for `capacity` bytes of messages.
    ///
    /// # Errors
    /// EINVAL: 0. ERANGE: more than 2^56.
    pub fn footprint(capacity: u64) -> Result<u64> {
        ring::footprint(capacity).ok_or(Error::NoSuchSize { kind: KIND, length: capacity })
    }

    /// Makes an empty queue of bytes whose first 512 are zeros.
    ///
    /// # Errors
    /// EEXIST: it is one already. EBADMSG: other bytes than zeros stand there. EPROTONOSUPPORT: a queue of another
    /// version. EINVAL: not at a multiple of 64; the region is copy-on-write. EACCES: the region is read-only. ERANGE:
    /// the words are fewer than its footprint. EBUSY: another process is making it and does not get on.
    pub fn init(words: Words, capacity: u64, sides: Sides) -> Result<()> {
        Queue::footprint(capacity)?;
        let place = InRegion::new(words, KIND, OBJECT)?;
        place.check_writable("making a queue")?;
        place.join()?;
        let producer = if sides.single_producer { ring::SINGLE_PRODUCER } else { 0 };
        let consumer = if sides.single_consumer { ring::SINGLE_CONSUMER } else { 0 };
        place.told(ring::init(&place, capacity, producer | consumer))
    }

    /// How many bytes the queue takes whose first bytes these are.
    ///
    /// # Errors
    /// EBADMSG: none stands there, or it is damaged. EPROTONOSUPPORT: one of another version. EINVAL: not at a multiple of
    /// 64; the region is copy-on-write.
    pub fn length_at(words: Words) -> Result<u64> {
        let place = InRegion::new(words, KIND, OBJECT)?;
        Ok(place.told(ring::Shape::read(&place))?.bytes)
    }
}

type Place = InRegion<Pinned>;

/// Where a member is, and as whom.
struct Seat {
    place: Place,
    membership: Membership,
    /// The same, as long as calls may be done at once: a light fence costs nothing.
    at_once: Membership,
}

impl Seat {
    /// For a member of the queue whose bytes these are: this process is a participant.
    fn new(bytes: Pinned) -> Result<Seat> {
        let place = InRegion::new(bytes, KIND, OBJECT)?;
        place.check_writable("opening a queue")?;
        let membership = place.join()?;
        let at_once = if fence::light_is_free_for_all() { membership } else { membership.ended() };
        Ok(Seat { place, membership, at_once })
    }

    /// Runs an operation of the member. EBADF: this process was forked off since it was opened.
    #[inline(always)]
    fn run<T>(&self, operation: impl FnOnce(&Place) -> failure::Result<T>) -> Result<T> {
        self.place.begin();
        let lasts = self.membership.lasts();
        let result = if lasts { operation(&self.place) } else { Err(Failure::Is(Problem::OfTheParent)) };
        self.place.told(result)
    }

    /// The place for an operation that is only tried: what is in its way it meets before it has done anything. What it has
    /// written may be lost with its page before it returns, as if it were a moment later. Where it has no `LOCKS`, it is for
    /// sides that are single.
    #[inline(always)]
    fn at_once<const LOCKS: bool>(&self, caller: Caller, looks: u32) -> Option<AtOnce<'_, &Pinned, LOCKS>> {
        let place = self.unchecked(caller, looks)?;
        if place.has_stayed_intact() { Some(place) } else { None }
    }

    /// The same for who asks afterwards whether pages were lost.
    #[inline(always)]
    fn unchecked<const LOCKS: bool>(&self, caller: Caller, looks: u32) -> Option<AtOnce<'_, &Pinned, LOCKS>> {
        // That there are the first of them was found when it was opened; known here, it is not asked for each access.
        let bytes = self.place.holder.direct().writable();
        if bytes.length() < Queue::HEADER {
            hazard::seldom();
            return None;
        }
        if !self.at_once.lasts() {
            hazard::seldom();
            return None;
        }
        // Those who are single take the shortest way, with short messages only.
        let copying = if LOCKS { Copying::Any } else { Copying::Short };
        Some(AtOnce::of(&self.place.holder, bytes, copying, caller, looks))
    }
}

/// The members of the other side, once something was done for them.
#[derive(Clone, Copy)]
pub(crate) struct Others {
    /// Some sleep, and are still to be woken: by `wake_others`.
    pub(crate) sleep: bool,
}

impl Others {
    #[inline(always)]
    fn of<const LOCKS: bool>(place: &AtOnce<'_, &Pinned, LOCKS>) -> Others {
        Others { sleep: place.has_sleepers() }
    }
}

/// A producer of a queue. Dropping it leaves the queue: an open reservation is given up.
pub struct Producer {
    seat: Seat,
    member: producer::Producer,
}

impl Producer {
    /// Becomes a producer of the queue whose bytes these are.
    ///
    /// # Errors
    /// EBUSY: the side has one member at a time, and there is one that lives. EBADMSG: no queue stands there, or it is
    /// damaged. EPROTONOSUPPORT: one of another version. EINVAL: not at a multiple of 64; the region is copy-on-write.
    /// EACCES: the region is read-only. ERANGE: the bytes are fewer than its footprint.
    pub fn open(bytes: Pinned) -> Result<Producer> {
        let seat = Seat::new(bytes)?;
        let member = seat.place.told(producer::Producer::open(&seat.place))?;
        Ok(Producer { seat, member })
    }

    #[inline(always)]
    fn run<T>(&mut self, operation: impl FnOnce(&mut producer::Producer, &Place) -> failure::Result<T>) -> Result<T> {
        self.seat.run(|place| operation(&mut self.member, place))
    }

    /// How the queue does.
    ///
    /// # Errors
    /// EBADMSG: it is damaged. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn info(&mut self) -> Result<QueueInfo> {
        self.run(|member, place| member.info(place))
    }

    /// Appends a message, waiting for room. None as the timeout stands for ever; with zero it only tries.
    ///
    /// # Errors
    /// EMSGSIZE: longer than the capacity. EPIPE: the queue was ended. ETIMEDOUT: no room in that time. EINTR: a signal
    /// handler ran. EINVAL: a reservation is open. EDEADLK: this is a signal handler that has interrupted a push of this
    /// thread, or the thread has a reservation of another handle. EBADMSG: damaged. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn push(&mut self, message: &[u8], timeout: Option<Duration>) -> Result<()> {
        self.push_from(message.into(), timeout)
    }

    pub(crate) fn push_from(&mut self, message: Source, timeout: Option<Duration>) -> Result<()> {
        self.run(|member, place| member.push(place, message, timeout))
    }

    /// `push_from` of a short message, if there is room that is known, and nothing at all is in its way; otherwise it is to be
    /// done by `push_in_turn`. Others that sleep are still to be woken then.
    #[inline(always)]
    pub(crate) fn push_at_once(&mut self, message: Source, caller: Caller) -> Option<Others> {
        let place = self.seat.at_once::<false>(caller, 0).filter(|_| !message.is_null())?;
        self.member.push_at_once(&place, message)?.ok()?;
        Some(Others::of(&place))
    }

    /// `push_from`, if there is room after so many looks more, and nothing at all is in its way; otherwise it is to be done by
    /// that.
    #[inline(always)]
    pub(crate) fn push_in_turn(&mut self, message: Source, caller: Caller, looks: u32) -> Option<()> {
        let place = self.seat.at_once::<true>(caller, looks).filter(|_| !message.is_null())?;
        self.member.push(&place, message, Some(Duration::ZERO)).ok()
    }

    /// `reserve`, likewise.
    #[inline(always)]
    pub(crate) fn reserve_at_once<const LOCKS: bool>(
        &mut self,
        length: u64,
        caller: Caller,
        looks: u32,
    ) -> Option<*mut u8> {
        let place = self.seat.at_once::<LOCKS>(caller, looks)?;
        let at = self.member.reserve(&place, length, Some(Duration::ZERO)).ok()?;
        Some(self.seat.place.holder.address(at))
    }

    /// `commit`, likewise.
    #[inline(always)]
    pub(crate) fn commit_at_once<const LOCKS: bool>(&mut self, length: u64, caller: Caller) -> Option<Others> {
        let place = self.seat.at_once::<LOCKS>(caller, 0).filter(|_| self.member.has_reservation())?;
        let committed = self.member.commit(&place, length).is_ok();
        (committed || !self.member.has_reservation()).then_some(Others::of(&place))
    }

    /// Wakes the consumers that sleep. One that is not woken looks by itself.
    pub(crate) fn wake_others(&mut self, caller: Caller) -> Option<()> {
        self.member.wake_others(&self.seat.at_once::<true>(caller, 0)?).ok()
    }

    /// Room for a message of `length` bytes, as the address of its first byte, a multiple of 8; others see it once it is
    /// committed. If the side has many members, they wait until this thread commits or cancels.
    ///
    /// # Errors
    /// As `push`.
    pub fn reserve(&mut self, length: u64, timeout: Option<Duration>) -> Result<*mut u8> {
        self.run(|member, place| member.reserve(place, length, timeout)).map(|at| self.seat.place.holder.address(at))
    }

    /// Sends the first `length` bytes of the reservation as a message.
    ///
    /// # Errors
    /// EINVAL: no reservation is open, or it is shorter. EPERM: it is another thread's, in a queue of many producers.
    /// EBADMSG: other bytes stand in the queue's place; the reservation stays open, to be cancelled. ENXIO, ENOSPC, EIO:
    /// its bytes were lost meanwhile; it stays open.
    pub fn commit(&mut self, length: u64) -> Result<()> {
        self.run(|member, place| member.commit(place, length))
    }

    /// Gives up the reservation, if one is open.
    ///
    /// # Errors
    /// ENXIO, ENOSPC, EIO: as an atomic.
    pub fn cancel(&mut self) -> Result<()> {
        self.run(|member, place| member.cancel(place))
    }

    /// Says that there will be no more messages, from nobody. An open reservation is given up; those of others are waited
    /// for, a second at most.
    ///
    /// # Errors
    /// ETIMEDOUT: another reservation stays open. EINTR: a signal handler ran.
    pub fn end(&mut self) -> Result<()> {
        self.run(|member, place| member.end(place, Some(PATIENCE)))
    }

    /// Leaves the queue, as dropping it does, and tells what went wrong.
    ///
    /// # Errors
    /// EBADF: this process was forked off since it was opened. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn close(mut self) -> Result<()> {
        self.run(|member, place| member.close(place))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // What went wrong concerns the others, who find out by themselves.
        let _ = self.run(|member, place| member.close(place));
    }
}

/// A consumer of a queue. Dropping it leaves the queue: a message that is being looked at is put back.
pub struct Consumer {
    seat: Seat,
    member: consumer::Consumer,
}

impl Consumer {
    /// Becomes a consumer of the queue whose bytes these are.
    ///
    /// # Errors
    /// EBUSY: the side has one member at a time, and there is one that lives. EBADMSG: no queue stands there, or it is
    /// damaged. EPROTONOSUPPORT: one of another version. EINVAL: not at a multiple of 64; the region is copy-on-write.
    /// EACCES: the region is read-only. ERANGE: the bytes are fewer than its footprint.
    pub fn open(bytes: Pinned) -> Result<Consumer> {
        let seat = Seat::new(bytes)?;
        let member = seat.place.told(consumer::Consumer::open(&seat.place))?;
        Ok(Consumer { seat, member })
    }

    #[inline(always)]
    fn run<T>(&mut self, operation: impl FnOnce(&mut consumer::Consumer, &Place) -> failure::Result<T>) -> Result<T> {
        self.seat.run(|place| operation(&mut self.member, place))
    }

    /// How the queue does.
    ///
    /// # Errors
    /// EBADMSG: it is damaged. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn info(&mut self) -> Result<QueueInfo> {
        self.run(|member, place| member.info(place))
    }

    /// Takes the first message out, waiting for one, and gives its length. None as the timeout stands for ever; with zero
    /// it only tries.
    ///
    /// # Errors
    /// EMSGSIZE: the buffer is too small; the message stays. EPIPE: the queue was ended and is empty. ETIMEDOUT: no
    /// message in that time. EINTR: a signal handler ran. EINVAL: a message is being looked at. EDEADLK: this is a signal
    /// handler that has interrupted a pop of this thread, or the thread looks at a message by another handle. EBADMSG:
    /// damaged. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn pop(&mut self, buffer: &mut [u8], timeout: Option<Duration>) -> Result<u64> {
        self.pop_into(buffer.into(), timeout)
    }

    pub(crate) fn pop_into(&mut self, buffer: Destination, timeout: Option<Duration>) -> Result<u64> {
        self.run(|member, place| member.pop(place, buffer, timeout))
    }

    /// `pop_into` of a short message that is there, as `push_at_once`.
    #[inline(always)]
    pub(crate) fn pop_at_once(&mut self, buffer: Destination, caller: Caller, looks: u32) -> Option<(u64, Others)> {
        let place = self.seat.unchecked::<false>(caller, looks).filter(|_| !buffer.is_null())?;
        let length = self.member.pop_at_once(&place, buffer)?.ok()?;
        Some((length, Others::of(&place)))
    }

    /// `pop_into`, if there is a message after so many looks more, as `push_in_turn`.
    #[inline(always)]
    pub(crate) fn pop_in_turn(&mut self, buffer: Destination, caller: Caller, looks: u32) -> Option<u64> {
        let place = self.seat.at_once::<true>(caller, looks).filter(|_| !buffer.is_null())?;
        self.member.pop(&place, buffer, Some(Duration::ZERO)).ok()
    }

    /// `peek`, likewise.
    #[inline(always)]
    pub(crate) fn peek_at_once<const LOCKS: bool>(&mut self, caller: Caller, looks: u32) -> Option<(*const u8, u64)> {
        let place = self.seat.at_once::<LOCKS>(caller, looks)?;
        let message = self.member.peek(&place, Some(Duration::ZERO)).ok()?;
        Some((self.seat.place.holder.address(message.offset).cast_const(), message.length))
    }

    /// `consume`, likewise.
    #[inline(always)]
    pub(crate) fn consume_at_once<const LOCKS: bool>(&mut self, caller: Caller) -> Option<Others> {
        let place = self.seat.at_once::<LOCKS>(caller, 0).filter(|_| self.member.is_looking())?;
        let consumed = self.member.consume(&place).is_ok();
        (consumed || !self.member.is_looking()).then_some(Others::of(&place))
    }

    /// Wakes the producers that sleep, likewise.
    pub(crate) fn wake_others(&mut self, caller: Caller) -> Option<()> {
        self.member.wake_others(&self.seat.at_once::<true>(caller, 0)?).ok()
    }

    /// The first message, waiting for one: the address of its first byte, a multiple of 8, and its length. If the side has
    /// many members, they wait until this thread consumes or cancels.
    ///
    /// # Errors
    /// As `pop`.
    pub fn peek(&mut self, timeout: Option<Duration>) -> Result<(*const u8, u64)> {
        let message = self.run(|member, place| member.peek(place, timeout))?;
        Ok((self.seat.place.holder.address(message.offset).cast_const(), message.length))
    }

    /// Takes the message that is being looked at out.
    ///
    /// # Errors
    /// EINVAL: none is. EPERM: another thread looks at it, in a queue of many consumers. EBADMSG: other bytes stand in the
    /// queue's place; it stays, to be cancelled. ENXIO, ENOSPC, EIO: its bytes were lost, and zeros stood in their place;
    /// it stays.
    pub fn consume(&mut self) -> Result<()> {
        self.run(|member, place| member.consume(place))
    }

    /// Puts the message that is being looked at back, if one is.
    ///
    /// # Errors
    /// ENXIO, ENOSPC, EIO: as an atomic.
    pub fn cancel(&mut self) -> Result<()> {
        self.run(|member, place| member.cancel(place))
    }

    /// Leaves the queue, as dropping it does, and tells what went wrong.
    ///
    /// # Errors
    /// EBADF: this process was forked off since it was opened. ENXIO, ENOSPC, EIO: as an atomic.
    pub fn close(mut self) -> Result<()> {
        self.run(|member, place| member.close(place))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // What went wrong concerns the others, who find out by themselves.
        let _ = self.run(|member, place| member.close(place));
    }
}
