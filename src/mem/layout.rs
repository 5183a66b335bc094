//! What objects in shared memory look like, byte by byte, for every process and language.
//!
//! LAYOUT: numbers are in the machine's order (little-endian on all that are supported), and each object begins with a
//! head: 0, or `INITIALISING` and the participant who is at it, or what it is, its version and its word size.

/// A lock: `MAPSHARE_MUTEX_SIZE` bytes, at a multiple of 8.
#[repr(C)]
pub(crate) struct Mutex {
    /// See `MUTEX_HEAD`.
    pub(crate) head: u64,
    /// Who holds it: see `word`.
    pub(crate) word: u64,
    /// The holder's process (high half) and thread, by their kernel's numbers: for people only.
    pub(crate) holder: u64,
    /// When it was last freed with `KEPT`, in nanoseconds of CLOCK_MONOTONIC.
    pub(crate) kept_ns: u64,
    /// Since when somebody waits who has waited long; 0 when that is not known.
    pub(crate) waits_since_ns: u64,
    /// 1 while somebody may sleep until the lock is free: what he sleeps on.
    pub(crate) asleep: u32,
    /// Zeros.
    pub(crate) reserved: [u32; 5],
}

const _: () = assert!(size_of::<Mutex>() == 64 && align_of::<Mutex>() == 8);
const _: () = assert!(std::mem::offset_of!(Mutex, word) == 8 && std::mem::offset_of!(Mutex, holder) == 16);
const _: () = assert!(std::mem::offset_of!(Mutex, kept_ns) == 24 && std::mem::offset_of!(Mutex, waits_since_ns) == 32);
const _: () = assert!(std::mem::offset_of!(Mutex, asleep) == 40);

/// The high half of every head: "mshO", and of one that is being made: "mshI".
const OBJECT: u64 = 0x4f68_736d << 32;
pub(crate) const INITIALISING: u64 = 0x4968_736d << 32;
pub(crate) const HIGH_HALF: u64 = 0xffff_ffff << 32;
/// Of a head: what it is.
pub(crate) const KIND: u64 = HIGH_HALF | 0xff << 24;
/// A lock, version 1, 64-bit words.
pub(crate) const MUTEX_HEAD: u64 = OBJECT | 1 << 24 | 1 << 8 | 64;
/// A cell, version 1, 64-bit words.
pub(crate) const CELL_HEAD: u64 = OBJECT | 2 << 24 | 1 << 8 | 64;
/// A queue, version 1, 64-bit words.
pub(crate) const QUEUE_HEAD: u64 = OBJECT | 3 << 24 | 1 << 8 | 64;

/// The word of a lock: the participant (high half) and thread that hold it, all 0 when nobody does, and flags.
pub(crate) mod word {
    /// The holder.
    pub(crate) const HOLDER: u64 = super::HIGH_HALF | THREAD;
    /// Of the holder: the thread's number in its process.
    pub(crate) const THREAD: u64 = (1 << 29) - 1;
    /// It is free, and kept for somebody who has waited long.
    pub(crate) const KEPT: u64 = 1 << 29;
    /// A holder died, and nobody has said since that the data are in order again.
    pub(crate) const OWNER_DIED: u64 = 1 << 31;
}

/// The first 24 bytes of every cell and queue, which never change once it stands: offsets from its first byte.
pub(crate) mod identity {
    /// u64: a head.
    pub(crate) const HEAD: u64 = 0;
    /// u64: the cell's value length, the queue's capacity.
    pub(crate) const LENGTH: u64 = 8;
    /// u32: the cell's slots, the queue's flags.
    pub(crate) const OPTIONS: u64 = 16;
    /// u32: a checksum of the three above.
    pub(crate) const CHECK: u64 = 20;
}

/// The latest-value cell: offsets from its first byte, a multiple of 64.
pub(crate) mod cell {
    /// u64: the last version published, from 1; 0 before.
    pub(crate) const VERSION: u64 = 24;
    /// u32: not 0 while somebody may sleep until the next version.
    pub(crate) const ASLEEP: u64 = 32;
    /// 64 bytes: the writers' lock, in a line that readers do not look at.
    pub(crate) const MUTEX: u64 = 64;
    /// The first slot.
    pub(crate) const SLOTS: u64 = 128;
}

/// The message queue: offsets from its first byte, a multiple of 64.
pub(crate) mod queue {
    /// u32: 1 once a producer said that there will be no more.
    pub(crate) const ENDED: u64 = 24;
    /// u32: not 0 while a producer may sleep until there is room.
    pub(crate) const PRODUCERS_ASLEEP: u64 = 28;
    /// u32: not 0 while a consumer may sleep until there is a message.
    pub(crate) const CONSUMERS_ASLEEP: u64 = 32;
    /// 64 bytes: the producers' lock.
    pub(crate) const PRODUCERS_MUTEX: u64 = 64;
    /// u64: bytes produced since the queue began, or one record less.
    pub(crate) const TAIL: u64 = 128;
    /// u64: messages pushed.
    pub(crate) const PUSHED: u64 = 136;
    /// 16 × u32: the producers' participants.
    pub(crate) const PRODUCERS: u64 = 192;
    /// u64: bytes consumed since the queue began.
    pub(crate) const HEAD: u64 = 256;
    /// u64: messages popped.
    pub(crate) const POPPED: u64 = 264;
    /// 16 × u32: the consumers' participants.
    pub(crate) const CONSUMERS: u64 = 320;
    /// 64 bytes: the consumers' lock.
    pub(crate) const CONSUMERS_MUTEX: u64 = 384;
    /// The ring.
    pub(crate) const RING: u64 = 512;

    /// How many members each side counts.
    pub(crate) const MEMBERS: u64 = 16;
    /// The bytes of a record's word, and what records are aligned to.
    pub(crate) const WORD: u64 = 8;
    /// The bytes of a message's record; the message is no longer than a queue may be.
    #[inline(always)]
    pub(crate) const fn record_bytes(length: u64) -> u64 {
        WORD + ((length + (WORD - 1)) & !(WORD - 1))
    }
    /// A record's word: it is committed.
    pub(crate) const COMMITTED: u64 = 1 << 63;
    /// A record's word: no message, only bytes up to the ring's end.
    pub(crate) const PADDING: u64 = 1 << 62;
}

// LAYOUT: what is waited on and swapped is aligned, and what different sides write shares no line.
const _: () = {
    assert!(cell::VERSION.is_multiple_of(8) && cell::ASLEEP.is_multiple_of(4) && cell::MUTEX.is_multiple_of(64));
    assert!(cell::SLOTS >= cell::MUTEX + size_of::<Mutex>() as u64 && cell::SLOTS.is_multiple_of(64));
    assert!(queue::TAIL.is_multiple_of(64) && queue::HEAD.is_multiple_of(64) && queue::RING.is_multiple_of(64));
    assert!(queue::HEAD - queue::TAIL >= 128 && queue::CONSUMERS_ASLEEP + 4 <= queue::PRODUCERS_MUTEX);
    assert!(queue::PRODUCERS + 4 * queue::MEMBERS <= queue::HEAD);
    assert!(queue::CONSUMERS + 4 * queue::MEMBERS <= queue::CONSUMERS_MUTEX);
};
