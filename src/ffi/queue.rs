//! Queues of messages.

mod handle;
mod otherwise;

use super::guard::{Returned, guard};
use super::open::{self, enter};
use super::options::{self, mapshare_region};
use super::table::TableFull;
use super::token::Token;
use crate::error::{Error, Result};
use crate::mem::one_user::OneUser;
use crate::region::{Destination, Region, Source};
use crate::{Consumer, Pinned, Producer, Queue, QueueInfo, Sides};
use handle::{Member, QUEUES, consumer_at_once, producer, producer_at_once, with};
use std::ffi::{c_int, c_void};

/// mapshare_queue_init flags: one producer at a time, which saves it a lock.
pub const MAPSHARE_QUEUE_SINGLE_PRODUCER: u32 = 1;
/// mapshare_queue_init flags: one consumer at a time, which saves it a lock.
pub const MAPSHARE_QUEUE_SINGLE_CONSUMER: u32 = 2;
/// mapshare_queue_open role: pushes messages.
pub const MAPSHARE_PRODUCER: u32 = 1;
/// mapshare_queue_open role: pops messages.
pub const MAPSHARE_CONSUMER: u32 = 2;

/// A producer or a consumer of a queue: a token, never to be dereferenced. It keeps the region from being unmapped, and
/// is not inherited by a child: there it is -EBADF.
///
/// One thread at a time uses it: a call that is made while another one is under way on the same handle, asleep or not,
/// is -EBUSY. Threads that push or pop at the same time open a handle each, of a queue that is not single on that side.
pub struct mapshare_queue(());

/// How a queue does.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mapshare_queue_state {
    /// Messages pushed and not yet popped.
    pub messages: u64,
    /// Bytes of the message space that they take, with 8 to 15 for each, and what is passed over at the end.
    pub bytes: u64,
    /// Bytes of message space, as the queue was made.
    pub capacity: u64,
    /// Messages pushed since the queue was made; less by one for each producer that was killed at a certain instant.
    pub pushed: u64,
    /// Messages popped since, likewise.
    pub popped: u64,
    /// Producer handles of living processes, 16 at the most.
    pub producers: u32,
    /// Consumer handles, likewise.
    pub consumers: u32,
}

impl From<QueueInfo> for mapshare_queue_state {
    fn from(info: QueueInfo) -> mapshare_queue_state {
        let QueueInfo { messages, bytes, capacity, pushed, popped, producers, consumers } = info;
        mapshare_queue_state { messages, bytes, capacity, pushed, popped, producers, consumers }
    }
}

/// How many bytes a queue takes.
///
/// @param capacity  The longest message, in bytes. A message takes its own bytes, rounded up to 8, and 8 more, of a ring
///                  of capacity + 16, rounded up to 64; so what is in it may be more bytes than capacity. It lies in
///                  one piece: where it would go over the ring's end, what is left there is passed over. So one of
///                  more than half of capacity may have to wait in an empty queue until a consumer comes by and passes
///                  that too, and then each one after it has to, a short one as well. Where nobody waits for anybody, as
///                  in a program of one thread, let capacity be twice the longest message and more.
/// @return The bytes, a multiple of 64, or
///   -EINVAL: capacity is 0.
///   -ERANGE: capacity is more than 2^56.
///
/// Threads: any. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_queue_footprint(capacity: u64) -> i64 {
    guard("mapshare_queue_footprint", || Queue::footprint(capacity))
}

/// Makes an empty queue: a bounded first-in, first-out queue of messages of any length, in the region's bytes. In a file
/// it keeps its messages when no process is there.
///
/// @param region    The region, MAPSHARE_READ_WRITE.
/// @param offset    The queue's first byte, counted from the region's start: a multiple of 64. It takes as many bytes as
///                  mapshare_queue_footprint says, of which the first 512 are zeros.
/// @param capacity  Bytes of message space.
/// @param flags     MAPSHARE_QUEUE_SINGLE_PRODUCER, MAPSHARE_QUEUE_SINGLE_CONSUMER, both, or 0.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: offset is not a multiple of 64, capacity is 0, a flag is unknown, or the region is copy-on-write.
///   -EACCES: the region is read-only; or as mapshare_mutex_init. -EMFILE, -ENFILE: likewise.
///   -EEXIST: a queue stands there already. Of several that make one at the same time, one gets 0 and the others this.
///            To make it anew, close its handles in all processes first: they go on as if it were the one they know.
///   -EBADMSG: other bytes than zeros stand there. -EPROTONOSUPPORT: a queue of another version.
///   -EBUSY:  another process is making the queue and does not get on with it; or as mapshare_mutex_init.
///   -ERANGE: the queue would leave the region, or capacity is more than 2^56.
///   -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT: as mapshare_mutex_init.
///
/// Threads: any. Signals: not in a handler. Processes: any number that have the file mapped for writing; one that is
/// killed in the middle is replaced by the next.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_queue_init(region: *mut mapshare_region, offset: u64, capacity: u64, flags: u32) -> c_int {
    guard("mapshare_queue_init", || {
        let region = enter(region)?;
        let sides = sides(flags)?;
        Queue::check_offset(offset)?;
        Queue::init(region.words(offset, Queue::footprint(capacity)?)?, capacity, sides)
    })
}

/// Opens a queue, to push or to pop.
///
/// @param region     The region, MAPSHARE_READ_WRITE. It cannot be unmapped before the handle is closed.
/// @param offset     The queue's first byte: a multiple of 64.
/// @param role       MAPSHARE_PRODUCER or MAPSHARE_CONSUMER.
/// @param ret_queue  Receives the handle.
/// @return 0, or
///   -EBADF:  not an open region.
///   -EINVAL: ret_queue is NULL, role is unknown, offset is not a multiple of 64, or the region is copy-on-write.
///   -EACCES: the region is read-only; or as mapshare_mutex_init. -EMFILE, -ENFILE: likewise.
///   -EBADMSG: no queue stands there, or it is damaged. -EPROTONOSUPPORT: a queue of another version.
///   -EBUSY:  the side is single, and another handle that lives has it; or as mapshare_mutex_init.
///   -ENOMEM: no memory for the handle.
///   -ERANGE: the queue leaves the region.
///   -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT: as mapshare_mutex_init.
///
/// Threads: any. Signals: not in a handler. Processes: any number; a dead one's place is taken over.
/// Fork: the child opens handles of its own. Its parent's are -EBADF there, in mapshare_queue_close as well, which lets
/// go of them all the same; until then the child cannot unmap the region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_queue_open(
    region: *mut mapshare_region,
    offset: u64,
    role: u32,
    ret_queue: *mut *mut mapshare_queue,
) -> c_int {
    guard("mapshare_queue_open", || {
        let region = enter(region)?;
        if ret_queue.is_null() {
            return Err(Error::NullArgument("ret_queue"));
        }
        let member = match role {
            MAPSHARE_PRODUCER => Member::Producer(Producer::open(pin(&region, offset)?)?),
            MAPSHARE_CONSUMER => Member::Consumer(Consumer::open(pin(&region, offset)?)?),
            _ => {
                let allowed = "MAPSHARE_PRODUCER (1) or MAPSHARE_CONSUMER (2)";
                return Err(Error::UnknownValue { field: "role", value: role.into(), allowed });
            }
        };
        let token = QUEUES.insert(OneUser::new(member));
        let token =
            token.map_err(|TableFull| Error::NoMemory { length: 64, place: "in the table of queue handles" })?;
        // SAFETY: the caller vouches for it, and it is not NULL.
        unsafe { ret_queue.write(token.to_handle()) };
        Ok(())
    })
}

/// Appends a message. Consumers see it whole or not at all, also when this process is killed in the middle.
///
/// @param queue       A producer's handle.
/// @param message     The message; may be NULL when length is 0.
/// @param length      Its bytes; 0 is a message too.
/// @param timeout_ns  How long to wait for room, in nanoseconds; 0 = only try, < 0 = for ever.
/// @return 0, or
///   -EBADF:  not an open handle of this process.
///   -EINVAL: message is NULL; the handle is a consumer's; it has a reservation open.
///   -EMSGSIZE: length is more than the queue's capacity.
///   -ETIMEDOUT: there was no room in that time, in one piece (see mapshare_queue_footprint: a message of more than half
///            of capacity may find none in an empty queue before a consumer comes by); with timeout_ns 0 also when
///            another producer is just at it, as one that has a reservation is all the time. What is left at the ring's
///            end may have been passed over then.
///   -EINTR: a signal handler ran; call again to go on waiting.
///   -EPIPE:  mapshare_queue_end was called.
///   -EBUSY:  another call is under way on this handle.
///   -EDEADLK: the thread has a reservation open by another handle, or this is a handler that interrupted it pushing.
///   -EBADMSG: the queue is damaged, or other bytes stand in its place now.
///   -ENOMEM, -ENXIO, -ENOSPC, -EIO: as mapshare_mutex_lock; -ENOMEM only where a side has many members.
///
/// Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns; what befalls the queue's bytes while it
/// sleeps is noticed within 100 ms. Source: futex(2), membarrier(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_queue_push(
    queue: *mut mapshare_queue,
    message: *const c_void,
    length: usize,
    timeout_ns: i64,
) -> c_int {
    // SAFETY: the caller vouches for `length` bytes; NULL is refused before they are used.
    let source = unsafe { Source::from_raw(message.cast(), length) };
    match producer_at_once::<false, _>(queue, |it, caller| it.push_at_once(source, caller)) {
        Some(others) if others.sleep => otherwise::wake_consumers(queue),
        Some(_) => 0,
        None => otherwise::push(queue, source, timeout_ns),
    }
}

/// Takes the first message out and copies it. When this process is killed in the middle, the message is either still
/// there or gone.
///
/// @param queue       A consumer's handle.
/// @param buffer      Where to copy the message to; may be NULL when capacity is 0.
/// @param capacity    The bytes there.
/// @param timeout_ns  How long to wait for a message, in nanoseconds; 0 = only try, < 0 = for ever.
/// @return The message's bytes, 0 or more, or
///   -EBADF:  not an open handle of this process.
///   -EINVAL: buffer is NULL; the handle is a producer's; it has a message peeked.
///   -EMSGSIZE: the message is longer than capacity. It stays the first one; mapshare_queue_peek tells its length.
///   -ETIMEDOUT: there was no message in that time; with timeout_ns 0 also when another consumer is just at it.
///   -EINTR: a signal handler ran; call again to go on waiting.
///   -EPIPE:  mapshare_queue_end was called, and all messages have been popped.
///   -EBUSY:  another call is under way on this handle.
///   -EDEADLK: the thread has a message peeked by another handle, or this is a handler that interrupted it popping.
///   -EBADMSG: the queue is damaged, or other bytes stand in its place now. A message of which a part was lost to zeros,
///            in a file that was cut short and made longer again, is told of only where its beginning was lost too.
///   -ENOMEM, -ENXIO, -ENOSPC, -EIO: as mapshare_mutex_lock; -ENOMEM only where a side has many members.
///
/// Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns, as mapshare_queue_push. A consumer that
/// is faster than a stream of messages may rest for about a microsecond when none is there, and takes several then:
/// looking at each one while it is written would slow both sides down. Before it sleeps, a call looks for some
/// microseconds, and for 0.1 ms where what it waits for has come within that lately; so does mapshare_queue_push.
/// Source: futex(2), membarrier(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_queue_pop(
    queue: *mut mapshare_queue,
    buffer: *mut c_void,
    capacity: usize,
    timeout_ns: i64,
) -> i64 {
    // SAFETY: the caller vouches for `capacity` bytes; NULL is refused before they are used.
    let mut buffer = unsafe { Destination::from_raw(buffer.cast(), capacity) };
    match consumer_at_once::<false, _>(queue, |it, caller| {
        it.pop_at_once(buffer.again(), caller, Queue::looks(timeout_ns))
    }) {
        Some((length, others)) if others.sleep => otherwise::wake_producers(queue, length.cast_signed()),
        Some((length, _)) => length.cast_signed(),
        None => otherwise::pop(queue, buffer, timeout_ns),
    }
}

/// Finds room for a message inside the queue, to be filled in place and sent by mapshare_queue_commit. Nobody sees it
/// before. In a queue of many producers the others wait until then.
///
/// @param queue        A producer's handle.
/// @param length       The message's bytes at the most.
/// @param timeout_ns   How long to wait for room, in nanoseconds; 0 = only try, < 0 = for ever.
/// @param ret_pointer  Receives the address of the first byte, a multiple of 8. It is good until the commit or cancel;
///                     in a queue of many producers no longer than the thread lives, whose end gives it up.
///                     A page that the file loses meanwhile takes writes that go nowhere, as with mapshare_view.
/// @return 0, -EINVAL also when ret_pointer is NULL, and all codes of mapshare_queue_push.
///
/// Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_queue_reserve(
    queue: *mut mapshare_queue,
    length: usize,
    timeout_ns: i64,
    ret_pointer: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller vouches for it, and it is not NULL when there is an address.
    let give = move |address: *mut u8| unsafe { ret_pointer.write(address.cast()) };
    let there = if ret_pointer.is_null() { std::ptr::null_mut() } else { queue };
    let given = producer_at_once::<false, _>(there, |it, caller| it.reserve_at_once::<false>(length as u64, caller, 0));
    if let Some(address) = given {
        give(address);
        return 0;
    }
    otherwise::reserve(queue, length as u64, timeout_ns, ret_pointer)
}

/// Sends what was written into a reservation.
///
/// @param queue   A producer's handle.
/// @param length  The message's bytes: as many as were reserved, or less.
/// @return 0, or
///   -EBADF:  not an open handle of this process.
///   -EINVAL: no reservation is open, it is shorter, or the handle is a consumer's.
///   -EPERM:  the queue is one of many producers, and another thread has reserved.
///   -EBUSY:  another call is under way on this handle.
///   -EBADMSG: other bytes stand in the queue's place now. The reservation stays open; cancel, then close.
///   -ENXIO, -ENOSPC, -EIO: pages of the reservation were lost meanwhile, and what was written there with them. It stays
///            open: once mapshare_refresh has put back what the file has, write the message anew, or cancel.
///
/// Threads: the one that reserved; any, one at a time, when the producer is single. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_queue_commit(queue: *mut mapshare_queue, length: usize) -> c_int {
    let size = length as u64;
    match producer_at_once::<false, _>(queue, |it, caller| it.commit_at_once::<false>(size, caller)) {
        Some(others) if others.sleep => otherwise::wake_consumers(queue),
        Some(_) => 0,
        None => otherwise::commit(queue, size),
    }
}

/// Looks at the first message inside the queue, which mapshare_queue_consume takes out. In a queue of many consumers the
/// others wait until then. When this process is killed before, the message is delivered to another consumer.
///
/// @param queue        A consumer's handle.
/// @param timeout_ns   How long to wait for a message, in nanoseconds; 0 = only try, < 0 = for ever.
/// @param ret_pointer  Receives the address of the first byte, a multiple of 8. It is good until the consume or cancel;
///                     in a queue of many consumers no longer than the thread lives, whose end puts it back.
///                     A page that the file loses meanwhile reads as zeros, as with mapshare_view.
/// @return The message's bytes, 0 or more, -EINVAL also when ret_pointer is NULL, and all codes of mapshare_queue_pop
///   but -EMSGSIZE.
///
/// Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_queue_peek(
    queue: *mut mapshare_queue,
    timeout_ns: i64,
    ret_pointer: *mut *const c_void,
) -> i64 {
    let give = move |(address, length): (*const u8, u64)| {
        // SAFETY: the caller vouches for it, and it is not NULL when there is an address.
        unsafe { ret_pointer.write(address.cast()) };
        length
    };
    let there = if ret_pointer.is_null() { std::ptr::null_mut() } else { queue };
    let given =
        consumer_at_once::<false, _>(there, |it, caller| it.peek_at_once::<false>(caller, Queue::looks(timeout_ns)));
    if let Some(message) = given {
        return give(message).good();
    }
    otherwise::peek(queue, timeout_ns, ret_pointer)
}

/// Takes the message out that mapshare_queue_peek has found.
///
/// @param queue  A consumer's handle.
/// @return 0, or
///   -EBADF:  not an open handle of this process.
///   -EINVAL: no message is peeked, or the handle is a producer's.
///   -EPERM:  the queue is one of many consumers, and another thread has peeked.
///   -EBUSY:  another call is under way on this handle.
///   -EBADMSG: other bytes stand in the queue's place now. The message stays peeked; cancel, then close.
///   -ENXIO, -ENOSPC, -EIO: pages of the message were lost meanwhile, and zeros stand in their place; it stays.
///
/// Threads: the one that peeked; any, one at a time, when the consumer is single. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_queue_consume(queue: *mut mapshare_queue) -> c_int {
    match consumer_at_once::<false, _>(queue, |it, caller| it.consume_at_once::<false>(caller)) {
        Some(others) if others.sleep => otherwise::wake_producers(queue, 0) as c_int,
        Some(_) => 0,
        None => otherwise::consume(queue),
    }
}

/// Gives up a reservation, or puts a peeked message back. Nothing happens when there is none.
///
/// @param queue  The handle.
/// @return 0, -EBADF when it is not an open handle of this process, -EBUSY when another call is under way on it, or
///   -ENXIO, -ENOSPC, -EIO when the queue's bytes are not there any more, but nothing is reserved or peeked then either.
///
/// Threads: any, one at a time. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_queue_cancel(queue: *mut mapshare_queue) -> c_int {
    guard("mapshare_queue_cancel", || {
        with(queue, |member| match member {
            Member::Producer(producer) => producer.cancel(),
            Member::Consumer(consumer) => consumer.cancel(),
        })
    })
}

/// Tells how a queue does, at about this moment.
///
/// @param queue       The handle.
/// @param ret_state   Receives the facts.
/// @param state_size  sizeof *ret_state: a shorter struct gets the first fields, a longer one zeros at its end.
/// @return 0, -EINVAL when ret_state is NULL or state_size is 0, -EBADF when it is not an open handle of this process,
///   -EBUSY when another call is under way on it, -EBADMSG when the queue is damaged, or -ENXIO, -ENOSPC, -EIO.
///
/// Threads: any, one at a time. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mapshare_queue_info(
    queue: *mut mapshare_queue,
    ret_state: *mut mapshare_queue_state,
    state_size: usize,
) -> c_int {
    guard("mapshare_queue_info", move || {
        let info = with(queue, |member| {
            check("ret_state", ret_state.is_null())?;
            if state_size == 0 {
                return Err(Error::Contradiction("state_size is 0; pass sizeof *ret_state"));
            }
            match member {
                Member::Producer(producer) => producer.info(),
                Member::Consumer(consumer) => consumer.info(),
            }
        })?;
        // SAFETY: the caller vouches for `state_size` bytes; the struct has no padding.
        unsafe { options::give(mapshare_queue_state::from(info), ret_state, state_size) };
        Ok(())
    })
}

/// Says that there will be no more messages, from no producer and for good: consumers pop those that are left, and then
/// get -EPIPE. An open reservation of this handle is given up; those of others are waited for, a second at most.
///
/// @param queue  A producer's handle.
/// @return 0, or
///   -EBADF:  not an open handle of this process.
///   -EINVAL: the handle is a consumer's.
///   -ETIMEDOUT: another producer's reservation stays open. -EINTR: a signal handler ran meanwhile. Call again.
///   -EBUSY:  another call is under way on this handle.
///   -EDEADLK, -EBADMSG, -ENOMEM, -ENXIO, -ENOSPC, -EIO: as mapshare_queue_push.
///
/// Threads: one at a time. Signals: not in a handler. Blocks: a second at most.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_queue_end(queue: *mut mapshare_queue) -> c_int {
    guard("mapshare_queue_end", || producer(queue, Producer::end))
}

/// Closes a handle. A reservation is given up, a peeked message put back; the queue stays as it is.
///
/// @param queue  The handle.
/// @return 0, or
///   -EBADF:  not an open handle: NULL, forged, or closed already. Or the handle of a parent, which this process has
///            let go of then.
///   -EBUSY:  a call sleeps in it. Nothing has changed.
///   -ENXIO, -ENOSPC, -EIO: the queue's bytes are not there any more; the handle is closed all the same.
///
/// Threads: any. Signals: not in a handler.
#[unsafe(no_mangle)]
pub extern "C" fn mapshare_queue_close(queue: *mut mapshare_queue) -> c_int {
    guard("mapshare_queue_close", || {
        let token = Token::from_handle(queue);
        let member = QUEUES.exclusive(token).map_err(|refused| open::refusal(refused, token, "queue handle"))?;
        match member.remove().into_inner() {
            Member::Producer(producer) => producer.close(),
            Member::Consumer(consumer) => consumer.close(),
        }
    })
}

fn sides(flags: u32) -> Result<Sides> {
    const KNOWN: u32 = MAPSHARE_QUEUE_SINGLE_PRODUCER | MAPSHARE_QUEUE_SINGLE_CONSUMER;
    if flags & !KNOWN != 0 {
        return Err(Error::UnknownFlags { field: "flags", unknown: (flags & !KNOWN).into(), known: KNOWN.into() });
    }
    Ok(Sides {
        single_producer: flags & MAPSHARE_QUEUE_SINGLE_PRODUCER != 0,
        single_consumer: flags & MAPSHARE_QUEUE_SINGLE_CONSUMER != 0,
    })
}

/// The bytes of the queue at `offset`, whose first ones tell how many there are.
fn pin(region: &Region, offset: u64) -> Result<Pinned> {
    Queue::check_offset(offset)?;
    let length = Queue::length_at(region.words(offset, Queue::HEADER)?)?;
    region.pin(offset, length)
}

/// EINVAL: the caller has passed NULL.
fn check(argument: &'static str, is_null: bool) -> Result<()> {
    if is_null { Err(Error::NullArgument(argument)) } else { Ok(()) }
}
