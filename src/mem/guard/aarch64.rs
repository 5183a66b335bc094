//! Guarded copies, fills and atomics for AArch64.
//!
//! Every function of assembly in `copy.rs` and `fill.rs` keeps to one agreement, which keeps its fix-up short:
//!
//! | register | copy | fill |
//! | --- | --- | --- |
//! | `x0` | `to`, unchanged | `to`, unchanged |
//! | `x1` | `from`, unchanged | `w1`: the byte, unchanged |
//! | `x2` | `length`, unchanged | `length`, unchanged |
//! | `x3` | at each access to memory: so many bytes are done for certain | the same |
//! | `x4` to `x8`, `q0` to `q7` | scratch | scratch |
//!
//! So a fault anywhere in a fast part jumps to the loop by bytes, `copy_bytes` or `fill_bytes`, which goes on from
//! `x3`, perhaps repeats what a vector had begun, meets the fault again and returns `x3`, now exact.
//!
//! Decision: one form for all lengths: NEON belongs to every AArch64 target with a standard library.

mod atomics;
mod copy;
mod fill;

use std::arch::asm;

pub(super) use copy::{copy, copy_backward, copy_forward};
pub(super) use fill::fill;

use super::table::{Entry, lookup};

/// See [`super::expect_write`].
#[inline(always)]
pub(super) fn expect_write(at: *const u8) {
    // SAFETY: a hint, which faults nowhere.
    unsafe { asm!("prfm pstl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
}

/// See [`super::expect_read`].
#[inline(always)]
pub(super) fn expect_read(at: *const u8) {
    // SAFETY: a hint, which faults nowhere.
    unsafe { asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
}

/// See [`super::fixup`].
pub(super) fn fixup(pc: usize) -> Option<usize> {
    let first: *const Entry;
    let end: *const Entry;
    // SAFETY: takes two addresses that the linker defines, the ends of the section; touches no memory.
    unsafe {
        asm!(
            ".hidden __start_mapshare_extable",
            ".hidden __stop_mapshare_extable",
            "adrp {first}, __start_mapshare_extable",
            "add {first}, {first}, :lo12:__start_mapshare_extable",
            "adrp {end}, __stop_mapshare_extable",
            "add {end}, {end}, :lo12:__stop_mapshare_extable",
            first = out(reg) first,
            end = out(reg) end,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    // SAFETY: the ends of the section, which `extable!` alone writes into.
    unsafe { lookup(first..end, pc) }
}
