//! What the calls do whose shortest way is not free: they try the one that takes turns and looks more than once, and then
//! wait.
//!
//! Decision: functions that take what their callers were given, so that those end with a jump and keep nothing for it.

use super::super::guard::{Returned, guard};
use super::super::options;
use super::handle::{consumer, consumer_at_once, producer, producer_at_once};
use super::{check, mapshare_queue};
use crate::error::Result;
use crate::region::{Destination, Source};
use crate::{Consumer, Queue};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// What was `done` in turn, or else `patiently`.
fn finish<R: Returned>(done: Option<R>, function: &'static str, patiently: impl FnOnce() -> Result<R>) -> R::Number {
    match done {
        Some(given) => given.good(),
        None => guard(function, patiently),
    }
}

#[inline(never)]
pub(super) fn push(queue: *mut mapshare_queue, message: Source, timeout_ns: i64) -> c_int {
    let looks = Queue::looks(timeout_ns);
    let done = producer_at_once::<true, _>(queue, |it, caller| it.push_in_turn(message, caller, looks));
    finish(done, "mapshare_queue_push", || {
        producer(queue, |producer| {
            check("message", message.is_null() && message.length() > 0)?;
            producer.push_from(message, options::timeout(timeout_ns))
        })
    })
}

#[inline(never)]
pub(super) fn pop(queue: *mut mapshare_queue, mut buffer: Destination, timeout_ns: i64) -> i64 {
    let looks = Queue::looks(timeout_ns);
    let done = consumer_at_once::<true, _>(queue, |it, caller| it.pop_in_turn(buffer.again(), caller, looks));
    finish(done, "mapshare_queue_pop", || {
        consumer(queue, |consumer| {
            check("buffer", buffer.is_null() && buffer.length() > 0)?;
            consumer.pop_into(buffer, options::timeout(timeout_ns))
        })
    })
}

#[inline(never)]
pub(super) fn reserve(
    queue: *mut mapshare_queue,
    length: u64,
    timeout_ns: i64,
    ret_pointer: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller vouches for it, and it is not NULL when there is an address.
    let give = |address: *mut u8| unsafe { ret_pointer.write(address.cast()) };
    let looks = Queue::looks(timeout_ns);
    let there = if ret_pointer.is_null() { null_mut() } else { queue };
    let done =
        producer_at_once::<true, _>(there, |it, caller| it.reserve_at_once::<true>(length, caller, looks)).map(give);
    finish(done, "mapshare_queue_reserve", || {
        producer(queue, |producer| {
            check("ret_pointer", ret_pointer.is_null())?;
            producer.reserve(length, options::timeout(timeout_ns))
        })
        .map(give)
    })
}

#[inline(never)]
pub(super) fn commit(queue: *mut mapshare_queue, length: u64) -> c_int {
    let done = producer_at_once::<true, _>(queue, |it, caller| it.commit_at_once::<true>(length, caller)).map(|_| ());
    finish(done, "mapshare_queue_commit", || producer(queue, |producer| producer.commit(length)))
}

#[inline(never)]
pub(super) fn peek(queue: *mut mapshare_queue, timeout_ns: i64, ret_pointer: *mut *const c_void) -> i64 {
    let give = |(address, length): (*const u8, u64)| {
        // SAFETY: the caller vouches for it, and it is not NULL when there is an address.
        unsafe { ret_pointer.write(address.cast()) };
        length
    };
    let looks = Queue::looks(timeout_ns);
    let there = if ret_pointer.is_null() { null_mut() } else { queue };
    let done = consumer_at_once::<true, _>(there, |it, caller| it.peek_at_once::<true>(caller, looks)).map(give);
    finish(done, "mapshare_queue_peek", || {
        consumer(queue, |consumer| {
            check("ret_pointer", ret_pointer.is_null())?;
            consumer.peek(options::timeout(timeout_ns))
        })
        .map(give)
    })
}

#[inline(never)]
pub(super) fn consume(queue: *mut mapshare_queue) -> c_int {
    let done = consumer_at_once::<true, _>(queue, |it, caller| it.consume_at_once::<true>(caller)).map(|_| ());
    finish(done, "mapshare_queue_consume", || consumer(queue, Consumer::consume))
}

/// A message was sent by the shortest way, and consumers sleep.
#[cold]
#[inline(never)]
pub(super) fn wake_consumers(queue: *mut mapshare_queue) -> c_int {
    let _ = producer_at_once::<true, _>(queue, |it, caller| it.wake_others(caller));
    0
}

/// A message was taken by the shortest way, and producers sleep; gives what its call returns.
#[cold]
#[inline(never)]
pub(super) fn wake_producers(queue: *mut mapshare_queue, returned: i64) -> i64 {
    let _ = consumer_at_once::<true, _>(queue, |it, caller| it.wake_others(caller));
    returned
}
