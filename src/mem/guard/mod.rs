//! Copies, fills and atomics on mapped memory that may fault.
//!
//! A page of a shared mapping can vanish at any time: the file is truncated, its file system is full, its disk fails.
//! The next access raises SIGBUS. The accesses here are our own assembly, and each instruction of it that touches
//! mapped memory stands in an exception table. The SIGBUS handler asks [`fixup`] about the program counter it found,
//! stores the answer there and returns; the access then ends with the exact number of bytes done, or with [`Fault`].
//!
//! Decision: no `sigsetjmp` and no flag "an access is under way". The good path does nothing for its guard but, in an
//! atomic, one move and one test that wait for nothing.
//!
//! Source: Linux, arch/x86/lib/copy_user_64.S and arch/arm64/lib/copy_template.S: a fast loop, on a fault there a loop
//! by bytes from what is known to be done, on a fault in that loop the return.
//!
//! | file | what |
//! | --- | --- |
//! | `table.rs` | the exception table and its search |
//! | `x86_64.rs`, `aarch64.rs` | copies and fills in assembly; below each, `atomics.rs` |
//! | `portable.rs` | copies and fills by system calls: for other targets, and for threads that have SIGBUS blocked |

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod table;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
use aarch64 as machine;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

pub(super) mod portable;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use portable as machine;

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests;

/// To be called before the first access; chooses the fastest ones that the processor has.
pub(super) fn choose() {
    #[cfg(target_arch = "x86_64")]
    machine::choose();
}

/// Where the thread that faulted at `pc` has to go on, when `pc` is a guarded access of this module; `None` for every
/// other place.
///
/// Async-signal-safe: reads constants, takes no lock, allocates nothing. The caller changes nothing of the thread's
/// registers but the program counter.
#[inline]
pub(super) fn fixup(pc: usize) -> Option<usize> {
    machine::fixup(pc)
}

/// Tells the processor that the line of this address is about to be written, so that it has taken it from the other cores by
/// then. It may be any address: nothing happens that a program could see.
#[inline(always)]
pub(super) fn expect_write(at: *const u8) {
    machine::expect_write(at);
}

/// Tells the processor that the line of this address will be read next, likewise.
#[inline(always)]
pub(super) fn expect_read(at: *const u8) {
    machine::expect_read(at);
}

/// Copies `length` bytes from `from` to `to`, first to last, and returns how many were done: `length`, or less when
/// either side faulted at that byte.
///
/// Nothing behind the byte that faulted is written, except where a single page is lost in the middle of the
/// destination (a memory error): then bytes behind that page may already be there. A copy that faulted may have read
/// and written bytes twice. The bytes are read and written in pieces of any size: another process that writes at the
/// same time may be seen in part.
///
/// # Safety
/// The two ranges do not overlap. Every page of them is either good to read (`from`), good to write (`to`), or
/// answers with a SIGBUS whose handler consults [`fixup`]. Rust holds no reference to the bytes at `to`, and no
/// exclusive one to the bytes at `from`.
#[inline(always)]
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { machine::copy(to, from, length) }
}

/// Whether [`copy_short`] is for so many bytes, on this processor.
#[inline(always)]
pub(crate) fn is_short(length: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return machine::is_short(length);
    #[cfg(not(target_arch = "x86_64"))]
    return length <= isize::MAX as usize;
}

/// [`copy`] of a length that [`is_short`], in the middle of its caller, without a call; and whether all of it was done. If
/// not, any of the bytes may be written.
///
/// # Safety
/// As [`copy`]; the length is short.
#[inline(always)]
pub(super) unsafe fn copy_short(to: *mut u8, from: *const u8, length: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise is the one that is asked for.
    return unsafe { machine::copy_short(to, from, length) };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: as above.
    return unsafe { machine::copy(to, from, length) } == length;
}

/// Copies first to last like [`copy`], where the bytes at `to` may overlap those at `from` from in front.
///
/// # Safety
/// As [`copy`], except that the ranges may overlap, and then `to` does not lie behind `from`.
pub(super) unsafe fn copy_forward(to: *mut u8, from: *const u8, length: usize) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { machine::copy_forward(to, from, length) }
}

/// Copies last to first, where the bytes at `to` may overlap those at `from` from behind. What is done after a fault are
/// the *last* bytes of the range: the byte that faulted is number `length - done - 1`, and nothing in front of it is
/// written.
///
/// # Safety
/// As [`copy`], except that the ranges may overlap, and then `to` does not lie in front of `from`.
pub(super) unsafe fn copy_backward(to: *mut u8, from: *const u8, length: usize) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { machine::copy_backward(to, from, length) }
}

/// Stores `byte` into `length` bytes at `to`, first to last, and returns how many were done: `length`, or less when
/// that byte faulted. What [`copy`] says of its destination holds here.
///
/// # Safety
/// Every page of the range is either good to write or answers with a SIGBUS whose handler consults [`fixup`]. Rust
/// holds no reference to it.
#[inline(always)]
pub(super) unsafe fn fill(to: *mut u8, byte: u8, length: usize) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { machine::fill(to, byte, length) }
}

/// The memory of an atomic access is not there: it did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// A number that is accessed atomically: `u32` or `u64`, and no other type.
///
/// Its functions are the library's own, which no other crate can call: the accesses under guard. All are sequentially
/// consistent, and a [`Fault`], or a no, means that memory was not changed. The safety of each is the same: `at` is
/// aligned to the word's size, its page is either good to read (and to write, except for `load` and `is`) or answers with
/// a SIGBUS whose handler consults `fixup`, and Rust accesses it only by atomics of this size while others may write.
pub trait Word: Copy + Eq + std::fmt::Debug + Send + Sync + 'static {
    /// The value at `at`.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn load(at: *const Self) -> Result<Self, Fault>;

    /// What stands there, or zero if nothing does.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn load_or_zero(at: *const Self) -> Self;

    /// Puts `value` there.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn store(at: *mut Self, value: Self) -> Result<(), Fault>;

    /// Puts `value` there, and whether that is done; released only, not sequentially consistent.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn put(at: *mut Self, value: Self) -> bool {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { Self::store(at, value) }.is_ok()
    }

    /// Puts `value` there, and then adds `by` to the next word, wrapping around, and whether both are done: not atomic, for
    /// who alone writes the words; and released only.
    ///
    /// # Safety
    /// See [`Word`], of both.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn put_and_bump(at: *mut Self, value: Self, by: Self) -> bool {
        // SAFETY: the caller's promise is the one that is asked for.
        let is_put = unsafe { Self::put(at, value) };
        // SAFETY: as above.
        is_put && unsafe { Self::add(at.wrapping_add(1), by) }.is_ok()
    }

    /// Whether zero stands there; no also if nothing does.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn is_zero(at: *const Self) -> bool;

    /// Whether `expected` stands there; no also if nothing does.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn is(at: *const Self, expected: Self) -> bool {
        // SAFETY: the caller's promise is the one that is asked for.
        let found = unsafe { Self::load(at) };
        found == Ok(expected)
    }

    /// `compare_swap` that only tells whether `desired` has been put there.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn replace(at: *mut Self, expected: Self, desired: Self) -> bool {
        // SAFETY: the caller's promise is the one that is asked for.
        let found = unsafe { Self::compare_swap(at, expected, desired) };
        found == Ok(expected)
    }

    /// Puts `value` there and returns what stood there.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn swap(at: *mut Self, value: Self) -> Result<Self, Fault>;

    /// Adds `value`, wrapping around, and returns what stood there.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn add(at: *mut Self, value: Self) -> Result<Self, Fault>;

    /// Keeps only the bits of `value` and returns what stood there.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn and(at: *mut Self, value: Self) -> Result<Self, Fault>;

    /// Sets the bits of `value` and returns what stood there.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn or(at: *mut Self, value: Self) -> Result<Self, Fault>;

    /// Puts `desired` there if `expected` stands there; returns what stood there, so that equality with `expected` tells
    /// success. Never fails spuriously.
    ///
    /// # Safety
    /// See [`Word`].
    #[doc(hidden)]
    unsafe fn compare_swap(at: *mut Self, expected: Self, desired: Self) -> Result<Self, Fault>;
}
