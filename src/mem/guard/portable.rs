//! Copies and fills by system calls.
//!
//! The kernel copies this process's memory for it and answers a page that is not there with an error, not a signal:
//! no assembly, no handler. For targets without assembly of ours, for hosts that keep SIGBUS to themselves, and for
//! threads that have SIGBUS blocked, which the kernel kills whatever the handler. A call costs about a microsecond.
//!
//! The counts are exact to the byte: pages vanish whole, and the kernel copies up to the first that is gone.
//! A kernel that refuses the call altogether (seccomp) looks like a fault at the first byte.

use crate::sys::process::process_vm_read;

/// The smallest page there is. What does not cross a multiple of it is there as a whole or not at all.
const PAGE: usize = 4096;

/// See [`super::copy`].
///
/// # Safety
/// The ranges do not overlap, and Rust holds no reference to the bytes at `to`. The pages may be anything.
pub(in crate::mem) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> usize {
    let mut done = 0;
    while done < length {
        let (to, from) = (to.wrapping_add(done), from.wrapping_add(done));
        // SAFETY: the caller has given up the bytes at `to`.
        match unsafe { process_vm_read(to, from, length - done) } {
            Ok(copied @ 1..) => done += copied,
            Ok(0) | Err(_) => break,
        }
    }
    done
}

/// See [`super::copy_forward`].
///
/// # Safety
/// Rust holds no reference to the bytes at `to`. The pages may be anything.
pub(in crate::mem) unsafe fn copy_forward(to: *mut u8, from: *const u8, length: usize) -> usize {
    let mut done = 0;
    while done < length {
        let (to, from) = (to.wrapping_add(done), from.wrapping_add(done));
        let room = |at: usize| PAGE - at % PAGE;
        let piece = (length - done).min(room(to.addr())).min(room(from.addr()));
        // SAFETY: the caller's promise; the piece crosses no page on either side.
        if !unsafe { copy_piece(to, from, piece) } {
            break;
        }
        done += piece;
    }
    done
}

/// See [`super::copy_backward`].
///
/// # Safety
/// As [`copy_forward`].
pub(in crate::mem) unsafe fn copy_backward(to: *mut u8, from: *const u8, length: usize) -> usize {
    let mut left = length;
    while left > 0 {
        let room = |start: usize| (start + left - 1) % PAGE + 1;
        let piece = left.min(room(to.addr())).min(room(from.addr()));
        let (to, from) = (to.wrapping_add(left - piece), from.wrapping_add(left - piece));
        // SAFETY: the caller's promise; the piece crosses no page on either side.
        if !unsafe { copy_piece(to, from, piece) } {
            break;
        }
        left -= piece;
    }
    length - left
}

/// Copies a piece that crosses no page, by way of the stack: the kernel does not promise an order inside a page.
/// Returns whether it is done.
///
/// # Safety
/// As [`copy_forward`].
unsafe fn copy_piece(to: *mut u8, from: *const u8, length: usize) -> bool {
    let mut between = [0; PAGE];
    // SAFETY: the array is ours alone, and at least as long.
    let read = unsafe { copy(between.as_mut_ptr(), from, length) };
    // SAFETY: the array does not overlap what the caller has given up.
    read == length && unsafe { copy(to, between.as_ptr(), length) } == length
}

/// See [`super::fill`].
///
/// # Safety
/// Rust holds no reference to the bytes at `to`. The pages may be anything.
pub(in crate::mem) unsafe fn fill(to: *mut u8, byte: u8, length: usize) -> usize {
    let pattern = [byte; PAGE];
    let mut done = 0;
    while done < length {
        let piece = PAGE.min(length - done);
        // SAFETY: the caller has given up these bytes, and the pattern is ours and long enough.
        let filled = unsafe { copy(to.wrapping_add(done), pattern.as_ptr(), piece) };
        done += filled;
        if filled < piece {
            break;
        }
    }
    done
}

/// See [`super::expect_write`].
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn expect_write(_at: *const u8) {}

/// See [`super::expect_read`].
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn expect_read(_at: *const u8) {}

/// See [`super::fixup`]: no instruction of ours touches the pages.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn fixup(_pc: usize) -> Option<usize> {
    None
}
