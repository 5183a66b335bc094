//! What a handle of the C interface is.
//!
//! Decision: a handle is 64 bits that name an object instead of pointing to it:
//! ```text
//!   63      56 55 54              32 31                               0
//!  +----------+--+------------------+----------------------------------+
//!  |   kind   | 1|   slot (23 bits) |       generation (32 bits)       |
//!  +----------+--+------------------+----------------------------------+
//! ```
//! Typed as a pointer it is never dereferenced here, and it faults for whoever does: bits 63 and 56 differ, which no
//! x86-64 address has (five-level paging and LAM included), and bit 55 is set, which on aarch64 (where the top byte is
//! ignored) means the kernel's half. NULL has no kind.

/// 2^23 objects of one kind can be open at once; in a model, two.
pub(crate) const SLOT_BITS: u32 = if cfg!(loom) { 1 } else { 23 };

/// A type of object that has tokens.
pub(crate) trait Kind: Send + Sync + 'static {
    /// The top byte of its tokens, which no other type has: odd, and below 128.
    const KIND: u8;
    /// Where each thread remembers the slot of the one it has used last.
    const PLACE: usize = 0;
}

/// A handle that came from a caller, or goes to one. It may be any 64 bits.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    /// From bit 32 on.
    const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

    pub(crate) fn new<T: Kind>(slot: u32, generation: u32) -> Token {
        Token(Self::tag::<T>() << 55 | u64::from(slot) << 32 | u64::from(generation))
    }

    /// The top nine bits of every token of this kind.
    const fn tag<T: Kind>() -> u64 {
        assert!(T::KIND & 0x81 == 0x01, "bits 63 and 56 of a token must differ");
        (T::KIND as u64) << 1 | 1
    }

    /// The slot that a token of this kind names.
    #[inline(always)]
    pub(crate) fn slot<T: Kind>(self) -> Option<usize> {
        // The slot's number if the tag above it is this kind's; otherwise larger than any.
        let slot = ((self.0 >> 32) as u32).wrapping_sub(const { (Self::tag::<T>() << 23) as u32 });
        (slot <= Self::SLOT_MASK as u32).then_some(slot as usize)
    }

    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }

    /// As C sees it.
    #[cfg_attr(loom, expect(dead_code, reason = "a model has no C"))]
    pub(crate) fn to_handle<H>(self) -> *mut H {
        std::ptr::without_provenance_mut(self.0 as usize)
    }

    /// From C.
    #[cfg_attr(loom, expect(dead_code, reason = "a model has no C"))]
    pub(crate) fn from_handle<H>(handle: *mut H) -> Token {
        Token(handle.addr() as u64)
    }
}
