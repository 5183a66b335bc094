//! Copies and fills of mapped memory that may fault.
//!
//! A page of a shared mapping can vanish at any time: the file is truncated, its file system is full, its disk fails.
//! The next access raises SIGBUS. The accesses here are our own assembly, and each instruction of it that touches
//! mapped memory stands in an exception table. The SIGBUS handler asks [`fixup`] about the program counter it found,
//! stores the answer there and returns; the access then ends with the exact number of bytes done.
//!
//! Decision: no `sigsetjmp` and no flag "an access is under way". The good path does nothing for its guard.
//!
//! Source: Linux, arch/x86/lib/copy_user_64.S and arch/arm64/lib/copy_template.S: a fast loop, on a fault there a loop
//! by bytes from what is known to be done, on a fault in that loop the return.
//!
//! | file | what |
//! | --- | --- |
//! | `table.rs` | the exception table and its search |
//! | `x86_64.rs`, `aarch64.rs` | copies and fills in assembly |
//! | `portable.rs` | the same by system calls: for other targets, and for threads that have SIGBUS blocked |

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
