//! Cells and queues through both doors.

use super::c::{Token, outcome};
use super::doors::{Opened, Outcome};
use mapshare::ffi::cell::*;
use mapshare::ffi::options::mapshare_region;
use mapshare::ffi::queue::*;
use mapshare::{Cell, Consumer, Producer, Queue, Region, Sides};
use std::time::Duration;

pub(crate) fn timeout(timeout_ns: i64) -> Option<Duration> {
    u64::try_from(timeout_ns).ok().map(Duration::from_nanos)
}

/// The bytes that a cell takes.
pub(crate) fn cell_bytes(value_length: u64) -> u64 {
    mapshare_cell_footprint(value_length).unsigned_abs()
}

/// The bytes that a queue takes.
pub(crate) fn queue_bytes(capacity: u64) -> u64 {
    mapshare_queue_footprint(capacity).unsigned_abs()
}

fn cell(region: &Region, offset: u64) -> Outcome<Cell<'_>> {
    let length = Cell::length_at(region.words(offset, Cell::HEADER)?)?;
    Ok(Cell::at(region.words(offset, length)?)?)
}

impl Opened {
    fn side(&self) -> Result<&Region, Token> {
        match self {
            Opened::C { token, .. } => Err(*token),
            Opened::Rust { region, .. } => Ok(region.as_ref().expect("not used after unmap through Rust")),
        }
    }

    pub(crate) fn init_cell(&self, offset: u64, value_length: u64) -> Outcome {
        match self.side() {
            Ok(region) => Ok(Cell::init(region.words(offset, Cell::footprint(value_length)?)?, value_length)?),
            Err(token) => {
                outcome("mapshare_cell_init", mapshare_cell_init(token.pointer(), offset, value_length)).map(drop)
            }
        }
    }

    pub(crate) fn publish(&self, offset: u64, value: &[u8]) -> Outcome {
        match self.side() {
            Ok(region) => Ok(cell(region, offset)?.publish(value).map(drop)?),
            Err(token) => {
                // SAFETY: a slice.
                let result =
                    unsafe { mapshare_cell_publish(token.pointer(), offset, value.as_ptr().cast(), value.len()) };
                outcome("mapshare_cell_publish", result).map(drop)
            }
        }
    }

    /// The version and the value.
    pub(crate) fn read_cell(&self, offset: u64, length: usize) -> Outcome<(u64, Vec<u8>)> {
        let mut value = vec![0xEE; length];
        match self.side() {
            Ok(region) => Ok((cell(region, offset)?.read(&mut value)?, value)),
            Err(token) => {
                let mut version = u64::MAX;
                // SAFETY: room for all of it.
                let result = unsafe {
                    mapshare_cell_read(token.pointer(), offset, value.as_mut_ptr().cast(), length, &mut version)
                };
                outcome("mapshare_cell_read", result).map(|_| (version, value))
            }
        }
    }

    pub(crate) fn wait_cell(&self, offset: u64, seen: u64, timeout_ns: i64) -> Outcome {
        match self.side() {
            Ok(region) => Ok(cell(region, offset)?.wait(seen, timeout(timeout_ns)).map(drop)?),
            Err(token) => {
                outcome("mapshare_cell_wait", mapshare_cell_wait(token.pointer(), offset, seen, timeout_ns)).map(drop)
            }
        }
    }

    pub(crate) fn init_queue(&self, offset: u64, capacity: u64, flags: u32) -> Outcome {
        match self.side() {
            Ok(region) => {
                let sides = Sides { single_producer: flags & 1 != 0, single_consumer: flags & 2 != 0 };
                Ok(Queue::init(region.words(offset, Queue::footprint(capacity)?)?, capacity, sides)?)
            }
            Err(token) => {
                let result = mapshare_queue_init(token.pointer(), offset, capacity, flags);
                outcome("mapshare_queue_init", result).map(drop)
            }
        }
    }

    pub(crate) fn queue(&self, offset: u64, role: u32) -> Outcome<Handle> {
        match self.side() {
            Ok(region) => {
                let length = Queue::length_at(region.words(offset, Queue::HEADER)?)?;
                let bytes = region.pin(offset, length)?;
                Ok(match role {
                    MAPSHARE_PRODUCER => Handle::Producer(Producer::open(bytes)?),
                    _ => Handle::Consumer(Consumer::open(bytes)?),
                })
            }
            Err(token) => open_queue(token.pointer(), offset, role).map(Handle::C),
        }
    }

    pub(crate) fn producer(&self, offset: u64) -> Outcome<Handle> {
        self.queue(offset, MAPSHARE_PRODUCER)
    }

    pub(crate) fn consumer(&self, offset: u64) -> Outcome<Handle> {
        self.queue(offset, MAPSHARE_CONSUMER)
    }
}

/// A C handle, which any thread may try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueToken(pub(crate) *mut mapshare_queue);

// SAFETY: a token is a number.
unsafe impl Send for QueueToken {}
// SAFETY: as above.
unsafe impl Sync for QueueToken {}

fn open_queue(region: *mut mapshare_region, offset: u64, role: u32) -> Outcome<QueueToken> {
    let mut queue = std::ptr::null_mut();
    // SAFETY: room for a token.
    let result = unsafe { mapshare_queue_open(region, offset, role, &mut queue) };
    outcome("mapshare_queue_open", result).map(|_| QueueToken(queue))
}

/// A producer or consumer.
pub(crate) enum Handle {
    Producer(Producer),
    Consumer(Consumer),
    C(QueueToken),
}

impl Handle {
    fn rust_producer(&mut self) -> &mut Producer {
        let Handle::Producer(producer) = self else { panic!("no producer of Rust") };
        producer
    }

    fn rust_consumer(&mut self) -> &mut Consumer {
        let Handle::Consumer(consumer) = self else { panic!("no consumer of Rust") };
        consumer
    }

    pub(crate) fn token(&self) -> QueueToken {
        let Handle::C(token) = self else { panic!("no token") };
        *token
    }

    pub(crate) fn push(&mut self, message: &[u8], timeout_ns: i64) -> Outcome {
        match self {
            Handle::C(token) => token.push(message, timeout_ns),
            _ => Ok(self.rust_producer().push(message, timeout(timeout_ns))?),
        }
    }

    /// The message's length.
    pub(crate) fn pop_into(&mut self, buffer: &mut [u8], timeout_ns: i64) -> Outcome<usize> {
        let length = match self {
            Handle::C(token) => token.pop(buffer, timeout_ns)?,
            _ => self.rust_consumer().pop(buffer, timeout(timeout_ns))?,
        };
        Ok(length as usize)
    }

    pub(crate) fn pop_up_to(&mut self, room: usize, timeout_ns: i64) -> Outcome<Vec<u8>> {
        let mut buffer = vec![0; room];
        let length = self.pop_into(&mut buffer, timeout_ns)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    pub(crate) fn pop(&mut self, timeout_ns: i64) -> Outcome<Vec<u8>> {
        self.pop_up_to(1 << 16, timeout_ns)
    }

    pub(crate) fn reserve(&mut self, length: usize, timeout_ns: i64) -> Outcome<*mut u8> {
        match self {
            Handle::C(token) => token.reserve(length, timeout_ns),
            _ => Ok(self.rust_producer().reserve(length as u64, timeout(timeout_ns))?),
        }
    }

    pub(crate) fn commit(&mut self, length: usize) -> Outcome {
        match self {
            Handle::C(token) => outcome("mapshare_queue_commit", mapshare_queue_commit(token.0, length)).map(drop),
            _ => Ok(self.rust_producer().commit(length as u64)?),
        }
    }

    pub(crate) fn peek(&mut self, timeout_ns: i64) -> Outcome<(*const u8, u64)> {
        match self {
            Handle::C(token) => {
                let mut address = std::ptr::null();
                // SAFETY: room for an address.
                let result = unsafe { mapshare_queue_peek(token.0, timeout_ns, &mut address) };
                outcome("mapshare_queue_peek", result).map(|length| (address.cast(), length.unsigned_abs()))
            }
            _ => Ok(self.rust_consumer().peek(timeout(timeout_ns))?),
        }
    }

    /// A copy of the first message, which is being looked at from now on.
    pub(crate) fn peeked(&mut self, timeout_ns: i64) -> Outcome<Vec<u8>> {
        let (address, length) = self.peek(timeout_ns)?;
        // SAFETY: the message stays there until it is consumed, and nobody writes it.
        Ok(unsafe { std::slice::from_raw_parts(address, length as usize) }.to_vec())
    }

    pub(crate) fn consume(&mut self) -> Outcome {
        match self {
            Handle::C(token) => outcome("mapshare_queue_consume", mapshare_queue_consume(token.0)).map(drop),
            _ => Ok(self.rust_consumer().consume()?),
        }
    }

    pub(crate) fn cancel(&mut self) -> Outcome {
        match self {
            Handle::C(token) => outcome("mapshare_queue_cancel", mapshare_queue_cancel(token.0)).map(drop),
            Handle::Producer(producer) => Ok(producer.cancel()?),
            Handle::Consumer(consumer) => Ok(consumer.cancel()?),
        }
    }

    pub(crate) fn info(&mut self) -> Outcome<mapshare_queue_state> {
        match self {
            Handle::C(token) => token.info(),
            Handle::Producer(producer) => Ok(producer.info()?.into()),
            Handle::Consumer(consumer) => Ok(consumer.info()?.into()),
        }
    }

    pub(crate) fn end(&mut self) -> Outcome {
        match self {
            Handle::C(token) => outcome("mapshare_queue_end", mapshare_queue_end(token.0)).map(drop),
            _ => Ok(self.rust_producer().end()?),
        }
    }

    pub(crate) fn close(self) -> Outcome {
        match self {
            Handle::C(token) => token.close(),
            Handle::Producer(producer) => Ok(producer.close()?),
            Handle::Consumer(consumer) => Ok(consumer.close()?),
        }
    }
}

impl QueueToken {
    pub(crate) fn push(self, message: &[u8], timeout_ns: i64) -> Outcome {
        // SAFETY: a slice.
        let result = unsafe { mapshare_queue_push(self.0, message.as_ptr().cast(), message.len(), timeout_ns) };
        outcome("mapshare_queue_push", result).map(drop)
    }

    pub(crate) fn pop(self, buffer: &mut [u8], timeout_ns: i64) -> Outcome<u64> {
        // SAFETY: a slice.
        let result = unsafe { mapshare_queue_pop(self.0, buffer.as_mut_ptr().cast(), buffer.len(), timeout_ns) };
        outcome("mapshare_queue_pop", result).map(i64::unsigned_abs)
    }

    pub(crate) fn reserve(self, length: usize, timeout_ns: i64) -> Outcome<*mut u8> {
        let mut address = std::ptr::null_mut();
        // SAFETY: room for an address.
        let result = unsafe { mapshare_queue_reserve(self.0, length, timeout_ns, &mut address) };
        outcome("mapshare_queue_reserve", result).map(|_| address.cast())
    }

    pub(crate) fn info(self) -> Outcome<mapshare_queue_state> {
        let mut state = mapshare_queue_state::default();
        // SAFETY: room for the struct.
        let result = unsafe { mapshare_queue_info(self.0, &mut state, size_of::<mapshare_queue_state>()) };
        outcome("mapshare_queue_info", result).map(|_| state)
    }

    pub(crate) fn close(self) -> Outcome {
        outcome("mapshare_queue_close", mapshare_queue_close(self.0)).map(drop)
    }
}

/// A message or value that tells its number, and whether it is whole.
pub(crate) fn pattern(number: u64, length: usize) -> Vec<u8> {
    let byte =
        |at: usize| if at < 8 { (number >> (8 * at)) as u8 } else { (number ^ (at as u64).wrapping_mul(7)) as u8 };
    (0..length).map(byte).collect()
}
