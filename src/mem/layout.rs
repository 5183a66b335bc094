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
    /// When it was last freed with `HAND_OFF`, in nanoseconds of CLOCK_MONOTONIC.
    pub(crate) handed_off_ns: u64,
    /// Since when somebody waits who has waited long; 0 when that is not known.
    pub(crate) waits_since_ns: u64,
    /// Zeros.
    pub(crate) reserved: [u64; 3],
}

const _: () = assert!(size_of::<Mutex>() == 64 && align_of::<Mutex>() == 8);
const _: () = assert!(std::mem::offset_of!(Mutex, word) == 8 && std::mem::offset_of!(Mutex, holder) == 16);
const _: () =
    assert!(std::mem::offset_of!(Mutex, handed_off_ns) == 24 && std::mem::offset_of!(Mutex, waits_since_ns) == 32);

/// The high half of every head: "mshO", and of one that is being made: "mshI".
const OBJECT: u64 = 0x4f68_736d << 32;
pub(crate) const INITIALISING: u64 = 0x4968_736d << 32;
pub(crate) const HIGH_HALF: u64 = 0xffff_ffff << 32;
/// Of a head: what it is.
pub(crate) const KIND: u64 = HIGH_HALF | 0xff << 24;
/// A lock, version 1, 64-bit words.
pub(crate) const MUTEX_HEAD: u64 = OBJECT | 1 << 24 | 1 << 8 | 64;

/// The word of a lock: the participant (high half) and thread that hold it, all 0 when nobody does, and flags.
pub(crate) mod word {
    /// The holder.
    pub(crate) const HOLDER: u64 = super::HIGH_HALF | THREAD;
    /// Of the holder: the thread's number in its process.
    pub(crate) const THREAD: u64 = (1 << 29) - 1;
    /// Somebody has waited long: who frees the lock leaves it to him.
    pub(crate) const HAND_OFF: u64 = 1 << 29;
    /// Somebody may sleep on the low half.
    pub(crate) const WAITERS: u64 = 1 << 30;
    /// A holder died, and nobody has said since that the data are in order again.
    pub(crate) const OWNER_DIED: u64 = 1 << 31;
}
