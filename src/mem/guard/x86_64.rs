//! Guarded copies, fills and atomics for x86-64.
//!
//! Every function of assembly in `copy.rs` and `fill.rs` keeps to one agreement, which keeps its fix-up short:
//!
//! | register | copy | fill |
//! | --- | --- | --- |
//! | `rdi` | `to`, unchanged | `to`, unchanged |
//! | `rsi` | `from`, unchanged | `sil`: the byte, unchanged |
//! | `rdx` | `length`, unchanged | `length`, unchanged |
//! | `rax` | at each access to memory: so many bytes are done for certain | the same |
//! | `rcx`, `r8`.. | scratch | scratch |
//!
//! So a fault anywhere in a fast loop jumps to the loop by bytes, `copy_bytes` or `fill_bytes`, which goes on from
//! `rax`, perhaps repeats what a vector had begun, meets the fault again and returns `rax`, now exact.
//!
//! | length | copy and fill by |
//! | --- | --- |
//! | to 64 | moves from both ends that overlap in the middle, SSE2 |
//! | more | vectors of 32 bytes, AVX-512 VL or AVX2, or of 16, SSE2: the first that the processor has |
//! | a copy above 8 MiB, a fill above 16 MiB | the same vectors, past the caches (non-temporal stores) |
//!
//! Decision: no `rep movsb`. On Zen 4 it equals AVX2 at best and falls to 3.5 GB/s, a fifteenth, where the destination
//! lies 1 to 63 bytes behind the source modulo 4096. Source: glibc bug 30994, and our own measurements.
//! Decision: no vectors of 64 bytes. On Zen 4 they equal 32 where both sides are aligned and lose up to a fifth elsewhere.
//! What AVX-512 VL gives is registers above 15, which leave no upper half behind that a `vzeroupper` would have to clear.

mod atomics;
mod copy;
mod fill;

use std::arch::asm;

use copy::copy_small;
pub(super) use copy::{copy_avx2, copy_avx512, copy_backward, copy_forward, copy_sse2};
pub(super) use fill::{fill_avx2, fill_avx512, fill_small, fill_sse2};

use super::table::{Entry, lookup};
use crate::mem::atomic::{AtomicU32, Ordering};

/// Longest copy or fill that the functions for small lengths take.
const SMALL: usize = 64;

/// A call that touches more than this goes past the caches. Half of a third-level cache of 32 MiB: below, what was
/// written is likely to be wanted soon; above, it would not stay.
const CACHED: usize = 16 << 20;

/// Which vectors the processor has: 0 SSE2, 1 AVX2, 2 AVX-512 VL. The answers of `is_x86_feature_detected` are not asked
/// in a copy: behind each stands a call that may unwind.
static VECTORS: AtomicU32 = AtomicU32::new(0);

/// To be called before the first copy; until then they use SSE2.
pub(super) fn choose() {
    let vectors = match () {
        () if is_x86_feature_detected!("avx512vl") => 2,
        () if is_x86_feature_detected!("avx2") => 1,
        () => 0,
    };
    VECTORS.store(vectors, Ordering::Relaxed); // ORDER: Relaxed, every value serves
}

/// Calls a function that keeps to the agreement above, so that its caller keeps what it has in registers: a call by the
/// ABI spills six of them, a nanosecond of the two that a short copy takes.
///
/// The arguments stay where they were. Who goes on using them names a place as an output too, `(length => length)`: then
/// they need no second register.
macro_rules! call {
    ($function:ident, ($($to:tt)*), ($($second:tt)*), ($($length:tt)*)) => {{
        let done: usize;
        asm!(
            "call {function}",
            function = sym $function,
            inlateout("rdi") $($to)*,
            inlateout("rsi") $($second)*,
            inlateout("rdx") $($length)*,
            out("rax") done,
            out("rcx") _,
            out("r8") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            // By vzeroupper.
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            // By AVX-512 VL.
            out("xmm20") _, out("xmm21") _, out("xmm22") _, out("xmm23") _,
            out("xmm24") _, out("xmm25") _, out("xmm26") _, out("xmm27") _,
        );
        done
    }};
}

/// See [`super::copy`].
#[inline(always)]
pub(super) unsafe fn copy(mut to: *mut u8, mut from: *const u8, mut length: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { copy_in_place(&mut to, &mut from, &mut length) }
}

/// `copy`, whose arguments stay as they are, and where they are.
#[inline(always)]
pub(super) unsafe fn copy_in_place(to: &mut *mut u8, from: &mut *const u8, length: &mut usize) -> usize {
    if *length <= SMALL {
        // SAFETY: the caller's promise about the ranges; the length fits.
        return unsafe { call!(copy_small, (*to => *to), (*from => *from), (*length => *length)) };
    }
    // ORDER: Relaxed, partner `choose`.
    match VECTORS.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise about the ranges; longer than a vector; the processor has AVX-512 VL.
        2 => unsafe { call!(copy_avx512, (*to => *to), (*from => *from), (*length => *length)) },
        // SAFETY: the caller's promise about the ranges; longer than a vector; the processor has AVX2.
        1 => unsafe { call!(copy_avx2, (*to => *to), (*from => *from), (*length => *length)) },
        // SAFETY: the caller's promise about the ranges; longer than a vector.
        _ => unsafe { call!(copy_sse2, (*to => *to), (*from => *from), (*length => *length)) },
    }
}

/// See [`super::fill`].
#[inline(always)]
pub(super) unsafe fn fill(to: *mut u8, byte: u8, length: usize) -> usize {
    let byte = u64::from(byte);
    if length <= SMALL {
        // SAFETY: the caller's promise about the range; the length fits.
        return unsafe { call!(fill_small, (to => _), (byte => _), (length => _)) };
    }
    // ORDER: Relaxed, partner `choose`.
    match VECTORS.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise about the range; longer than a vector; the processor has AVX-512 VL.
        2 => unsafe { call!(fill_avx512, (to => _), (byte => _), (length => _)) },
        // SAFETY: the caller's promise about the range; longer than a vector; the processor has AVX2.
        1 => unsafe { call!(fill_avx2, (to => _), (byte => _), (length => _)) },
        // SAFETY: the caller's promise about the range; longer than a vector.
        _ => unsafe { call!(fill_sse2, (to => _), (byte => _), (length => _)) },
    }
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
            "lea {first}, [rip + __start_mapshare_extable]",
            "lea {end}, [rip + __stop_mapshare_extable]",
            first = lateout(reg) first,
            end = lateout(reg) end,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    // SAFETY: the ends of the section, which `extable!` alone writes into.
    unsafe { lookup(first..end, pc) }
}
