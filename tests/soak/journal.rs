//! What each process of the soak notes about what it does, in memory that outlives it: the parent reads it when they are
//! dead. Each note has one writer, unless its line says more.

use super::common::cells::queue_bytes;
use super::common::words::Do;
use super::common::{Door, Opened, Outcome, create};
use mapshare::ffi::queue::{MAPSHARE_QUEUE_SINGLE_CONSUMER, MAPSHARE_QUEUE_SINGLE_PRODUCER};
use std::cell::UnsafeCell;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Nobody waits longer for anything, in nanoseconds, on a machine that runs whoever is ready.
const LIMIT_NS: u64 = 1_000_000_000;
/// The timeouts of those who wait for more than a moment.
pub(crate) const LONG_NS: [i64; 2] = [-1, 100 * LIMIT_NS as i64];
/// The most processes of one round, with the parent itself.
pub(crate) const MOST: usize = 2048;
/// The most messages that one process pushes into one queue; then it ends.
pub(crate) const LIFE: u64 = 8192;
/// The longest message.
pub(crate) const LONGEST: usize = 4096;

/// A queue: where it stands, its capacity, the longest message that goes into it and how it was made.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) at: u64,
    pub(crate) capacity: u64,
    pub(crate) longest: usize,
    pub(crate) flags: u32,
    /// Of so many messages one goes in or out with a copy; 1 for all of them.
    pub(crate) copies: u64,
}

/// The lock, the pair that it protects, and the number of increments of each process; the cell; the queues.
pub(crate) const MUTEX: u64 = 0;
pub(crate) const PAIR: [u64; 2] = [64, 72];
pub(crate) const COUNTS: u64 = 128;
pub(crate) const CELL: u64 = 32 << 10;
/// Its values are so long that copying them takes a while.
pub(crate) const VALUE: usize = 1500;
pub(crate) const QUEUES: [Place; 3] = [
    Place { name: "many to many", at: 64 << 10, capacity: 3000, longest: 300, flags: 0, copies: 4 },
    Place {
        name: "one to one",
        at: 128 << 10,
        capacity: 1024,
        longest: 200,
        flags: MAPSHARE_QUEUE_SINGLE_PRODUCER | MAPSHARE_QUEUE_SINGLE_CONSUMER,
        copies: 2,
    },
    Place {
        name: "many to one",
        at: 192 << 10,
        capacity: 8192,
        longest: 2000,
        flags: MAPSHARE_QUEUE_SINGLE_CONSUMER,
        copies: u64::MAX,
    },
];
const LENGTH: u64 = 256 << 10;

/// Where a process has its count of increments.
pub(crate) fn count_of(process: usize) -> u64 {
    COUNTS + 8 * process as u64
}

pub(crate) fn open(door: Door, path: &Path) -> Opened {
    door.open(path, &create(LENGTH)).unwrap()
}

pub(crate) fn make_objects(region: &Opened) {
    assert!(count_of(MOST) <= CELL && QUEUES.iter().all(|queue| queue_bytes(queue.capacity) <= 64 << 10));
    region.init_mutex(MUTEX).unwrap();
    region.init_cell(CELL, VALUE as u64).unwrap();
    for queue in &QUEUES {
        region.init_queue(queue.at, queue.capacity, queue.flags).unwrap();
    }
}

pub(crate) fn word(region: &Opened, offset: u64) -> u64 {
    region.atomic(offset, Do::Load).unwrap()
}

pub(crate) fn set_word(region: &Opened, offset: u64, value: u64) {
    let stored: Outcome<u64> = region.atomic(offset, Do::Store(value));
    assert_eq!(stored, Ok(value));
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Op {
    Starting,
    Idle,
    Locking,
    Repairing,
    Holding,
    Unlocking,
    Publishing,
    Reading,
    AwaitingValue,
    OpeningQueue,
    ClosingQueue,
    Pushing,
    Reserving,
    Filling,
    Cancelling,
    Committing,
    Popping,
    Peeking,
    Looking,
    Consuming,
    Ending,
}

impl Op {
    /// Whether one can sleep in it.
    pub(crate) fn waits(self) -> bool {
        use Op::*;
        matches!(self, Locking | Publishing | AwaitingValue | Pushing | Reserving | Popping | Peeking)
    }
}

pub(crate) const OPS: [Op; 21] = {
    use Op::*;
    [
        Starting,
        Idle,
        Locking,
        Repairing,
        Holding,
        Unlocking,
        Publishing,
        Reading,
        AwaitingValue,
        OpeningQueue,
        ClosingQueue,
        Pushing,
        Reserving,
        Filling,
        Cancelling,
        Committing,
        Popping,
        Peeking,
        Looking,
        Consuming,
        Ending,
    ]
};

/// What has to happen again and again, whoever is killed: locks, publishes, reads, then messages taken out of each queue.
pub(crate) const KINDS: usize = 6;
pub(crate) const LOCKS: usize = 0;
pub(crate) const PUBLISHES: usize = 1;
pub(crate) const READS: usize = 2;
pub(crate) const TAKES: usize = 3;

/// The notes of one process. They stay when it is killed.
#[repr(C)]
pub(crate) struct Life {
    /// An `Op`, and the queue above it.
    state: AtomicU64,
    /// When it began.
    pub(crate) begun_ns: AtomicU64,
    /// 1: it may kill itself.
    pub(crate) is_doomed: AtomicU32,
    /// Pushes that returned, into each queue.
    pub(crate) pushed: [AtomicU64; QUEUES.len()],
    /// The message that is being looked at: its producer above its number.
    pub(crate) hand: AtomicU64,
    /// Increments of the pair that were begun, and that are done.
    pub(crate) incremented: [AtomicU64; 2],
    /// Publishes that returned.
    pub(crate) published: AtomicU64,
    /// How often it was told that an owner has died.
    pub(crate) told: AtomicU64,
    /// Messages that had been looked at before.
    pub(crate) again: AtomicU64,
    pub(crate) lapped: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// The longest of each operation.
    pub(crate) longest_ns: [AtomicU64; OPS.len()],
    /// Where it pops to.
    pub(crate) buffer: UnsafeCell<[u8; LONGEST]>,
}

impl Life {
    pub(crate) fn enter(&self, op: Op, queue: usize) {
        self.state.store(op as u64 | (queue as u64) << 8, SeqCst);
    }

    /// What it does, and in which queue.
    pub(crate) fn state(&self) -> (Op, usize) {
        let state = self.state.load(SeqCst);
        (OPS[state as usize & 0xff], (state >> 8) as usize)
    }
}

/// What became of one message.
#[repr(C)]
pub(crate) struct Take {
    /// When the call began that took it out; 0 while none has. Written by whoever takes it.
    pub(crate) begun_ns: AtomicU64,
    /// When that was done.
    pub(crate) ended_ns: AtomicU64,
    /// How often it was looked at. Written by whoever looks.
    pub(crate) looks: AtomicU64,
}

/// What all processes of a round see.
#[repr(C)]
pub(crate) struct Board {
    /// Raised by the parent: come to an end.
    pub(crate) stop: AtomicU32,
    /// Raised by a child that has found something wrong.
    pub(crate) failed: AtomicU32,
    /// The longest time that a process took between two calls, where it does next to nothing, or for a call in slow motion
    /// that never waits: so long the machine ran others although it was ready. Written by all.
    pub(crate) pause_ns: AtomicU64,
    /// Processes that have been started in this round.
    pub(crate) started: AtomicU64,
    /// The cell's version when the round began.
    pub(crate) first_version: AtomicU64,
    /// Publishes that returned, and the newest version that was read. Written by all.
    pub(crate) published: AtomicU64,
    pub(crate) newest: AtomicU64,
    /// How often each kind of thing was done. Written by all.
    pub(crate) done: [AtomicU64; KINDS],
    pub(crate) lives: [Life; MOST],
    takes: [[[Take; LIFE as usize + 2]; QUEUES.len()]; MOST],
}

impl Board {
    /// How long somebody may wait: each of those who have to act meanwhile may not run for a while.
    pub(crate) fn limit_ns(&self) -> u64 {
        LIMIT_NS + 4 * self.pause_ns.load(SeqCst)
    }

    /// A message of a process: they are numbered from 1.
    pub(crate) fn take(&self, process: usize, queue: usize, number: u64) -> &Take {
        &self.takes[process][queue][number as usize]
    }
}

/// A new board of zeros that all children forked from now on share.
pub(crate) struct Shared(*mut Board);

impl Shared {
    pub(crate) fn new() -> Shared {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: a new mapping.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Board>(), protection, flags, -1, 0) };
        assert_ne!(address, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Shared(address.cast())
    }
}

impl std::ops::Deref for Shared {
    type Target = Board;

    fn deref(&self) -> &Board {
        // SAFETY: mapped until it is dropped; zeros and all other patterns are boards.
        unsafe { &*self.0 }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        unsafe { libc::munmap(self.0.cast(), size_of::<Board>()) };
    }
}

/// Nanoseconds of the clock that all processes share; never 0.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 + 1
}

/// A message, or a value of the cell: whose it is, which one of his, and bytes that all follow from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) round: u32,
    pub(crate) process: u32,
    /// The queue, or `QUEUES.len()` for the cell.
    pub(crate) object: u32,
    pub(crate) number: u32,
    pub(crate) length: u64,
}

impl Message {
    /// The shortest.
    pub(crate) const HEADER: usize = 32;

    fn checksum(&self) -> u64 {
        let halves = [u64::from(self.round) << 32 | u64::from(self.process), u64::from(self.object) << 32];
        [halves[0], halves[1] | u64::from(self.number), self.length]
            .into_iter()
            .fold(0x9e37_79b9_7f4a_7c15, |sum, part| (sum ^ part).wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(29))
    }

    /// The word that stands at each place of the body.
    fn body(checksum: u64, at: usize) -> [u8; 8] {
        checksum.wrapping_mul(2 * at as u64 + 1).rotate_left(at as u32 % 64).to_le_bytes()
    }

    pub(crate) fn write(&self, to: &mut [u8]) {
        assert_eq!(to.len() as u64, self.length);
        let (header, body) = to.split_at_mut(Self::HEADER);
        let checksum = self.checksum();
        header[0..4].copy_from_slice(&self.round.to_le_bytes());
        header[4..8].copy_from_slice(&self.process.to_le_bytes());
        header[8..12].copy_from_slice(&self.object.to_le_bytes());
        header[12..16].copy_from_slice(&self.number.to_le_bytes());
        header[16..24].copy_from_slice(&self.length.to_le_bytes());
        header[24..32].copy_from_slice(&checksum.to_le_bytes());
        for (at, piece) in body.chunks_mut(8).enumerate() {
            piece.copy_from_slice(&Self::body(checksum, at)[..piece.len()]);
        }
    }

    /// None: it is torn, or none at all. More bytes may follow only if `is_whole` is not asked for.
    pub(crate) fn read(bytes: &[u8], is_whole: bool) -> Option<Message> {
        let (header, body) = bytes.split_at_checked(Self::HEADER)?;
        let half = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let whole = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        let message =
            Message { round: half(0), process: half(4), object: half(8), number: half(12), length: whole(16) };
        let checksum = whole(24);
        let right = checksum == message.checksum()
            && if is_whole { message.length == bytes.len() as u64 } else { message.length <= bytes.len() as u64 };
        let body = body.get(..(message.length as usize).checked_sub(Self::HEADER).filter(|_| right)?)?;
        let is_good = |(at, piece): (usize, &[u8])| piece == &Self::body(checksum, at)[..piece.len()];
        body.chunks(8).enumerate().all(is_good).then_some(message)
    }
}
