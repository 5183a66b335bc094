//! Copies and fills of memory that other threads and processes may change at the same moment.
//!
//! Decision: in assembly, where such a race is only a matter of which bytes are seen. A Rust copy of it would be
//! undefined behaviour, and the compiler could read a byte twice.

use std::arch::asm;

/// Copies `length` bytes upwards.
///
/// # Safety
/// Both sides are valid for `length` bytes.
pub(super) unsafe fn forward(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: rep movsb touches exactly the bytes the caller vouches for; the ABI keeps the direction flag clear.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
             options(nostack, preserves_flags));
    }
}

/// Copies `length` bytes downwards, the last one first.
///
/// # Safety
/// Both sides are valid for `length` bytes.
pub(super) unsafe fn backward(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: as in `forward`; the direction flag is clear again at the end.
    unsafe {
        asm!("std", "rep movsb", "cld",
             inout("rcx") length => _,
             inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
             inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _,
             options(nostack));
    }
}

/// Sets `length` bytes.
///
/// # Safety
/// `to` is valid for `length` bytes.
pub(super) unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    // SAFETY: rep stosb touches exactly the bytes the caller vouches for.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte,
             options(nostack, preserves_flags));
    }
}
