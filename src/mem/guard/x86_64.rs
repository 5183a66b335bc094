//! Guarded copies, fills and atomics for x86-64.
//!
//! | length | copy by |
//! | --- | --- |
//! | to 64 | moves from both ends that overlap in the middle, SSE2, in the midst of the caller: `copy_small` |
//! | to 1 KiB, in calls that have nothing in their way | the same by vectors of 64 bytes, AVX-512: `copy_middling` |
//! | more | loops of vectors of 32 bytes, AVX-512 VL or AVX2, or of 16, SSE2: the first that the processor has |
//! | to 2 KiB, by Intel with AVX-512 VL and fast strings | the same loops, of vectors of 64 |
//! | to 8 MiB, by the same | `rep movsb` |
//! | more than 8 MiB | the loops, past the caches (non-temporal stores) |
//!
//! Fills are done by small moves to 64 bytes, by loops above, and past the caches above 16 MiB.
//!
//! The loops and the other functions of assembly keep to one agreement, which keeps their fix-ups short:
//!
//! | register | copy | fill |
//! | --- | --- | --- |
//! | `rdi` | `to`, unchanged | `to`, unchanged |
//! | `rsi` | `from`, unchanged | `sil`: the byte, unchanged |
//! | `rdx` | `length`, unchanged | `length`, unchanged |
//! | `rax` | at each access to memory: so many bytes are done for certain | the same |
//! | `rcx` | scratch | scratch |
//!
//! So a fault anywhere in a fast loop jumps to the loop by bytes, `copy_bytes` or `fill_bytes`, which goes on from
//! `rax`, perhaps repeats what a vector had begun, meets the fault again and returns `rax`, now exact. What stands in the
//! midst of its caller says only that it faulted, and is done again by bytes.
//!
//! Decision: `rep movsb` by Intel only, where it takes lines that another core has without their bytes: 4 KiB to another core
//! take 490 instead of 650 ns, if nobody has asked for the lines before. On Zen 4 it equals AVX2 at best and falls to 3.5 GB/s, a fifteenth, where the destination
//! lies 1 to 63 bytes behind the source modulo 4096. Source: glibc bug 30994, and our own measurements.
//! Decision: vectors of 64 bytes up to 1 KiB. They halve the instructions, which is what short copies are made of; in
//! loops they equal 32 on Zen 4 where both sides are aligned and lose up to a fifth elsewhere, and are up to a third faster
//! by Intel. All have the registers above 15, which leave no upper half behind that a `vzeroupper` would have to clear.

mod atomics;
mod copy;
mod fill;

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

pub(super) use copy::{copy_avx2, copy_avx512, copy_avx512_wide, copy_sse2, copy_string};
pub(super) use copy::{copy_backward, copy_forward};
use copy::{copy_by_bytes, copy_middling, copy_small};
pub(super) use fill::{fill_avx2, fill_avx512, fill_avx512_wide, fill_small, fill_sse2};

use super::table::{Entry, lookup};
use crate::mem::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::mem::hazard::seldom;

/// Longest copy that `copy_small` takes, and fill that `fill_small` does.
const SMALL: usize = 64;

/// Longest copy that `copy_middling` takes.
const MIDDLING: usize = 1024;

/// A call that touches more than this goes past the caches. Half of a third-level cache of 32 MiB: below, what was
/// written is likely to be wanted soon; above, it would not stay.
const CACHED: usize = 16 << 20;

/// Lengths that `copy_string` takes where it is fast.
const STRING: std::ops::RangeInclusive<usize> = 2049..=CACHED / 2;

/// What the processor has: 0 SSE2, 1 AVX2, 2 AVX-512 VL, 3 the same by Intel, with fast strings. The answers of
/// `is_x86_feature_detected` are not asked in a copy: behind each stands a call that may unwind.
static VECTORS: AtomicU32 = AtomicU32::new(NOT_CHOSEN);
const NOT_CHOSEN: u32 = u32::MAX;

/// Longest copy that is short: `MIDDLING` with AVX-512 VL, and `SMALL` without.
static LONGEST_SHORT: AtomicUsize = AtomicUsize::new(SMALL);

/// To be called before the first copy; until then they use SSE2. It asks once: in a virtual machine the processor's answers
/// come from the host, each in 7 us.
pub(super) fn choose() {
    // ORDER: Relaxed: who comes at the same time finds the same.
    if VECTORS.load(Ordering::Relaxed) != NOT_CHOSEN {
        return;
    }
    let vectors = match () {
        () if is_x86_feature_detected!("avx512vl") && has_fast_strings() => 3,
        () if is_x86_feature_detected!("avx512vl") => 2,
        () if is_x86_feature_detected!("avx2") => 1,
        () => 0,
    };
    if vectors >= 2 {
        LONGEST_SHORT.store(MIDDLING, Ordering::Relaxed); // ORDER: Relaxed, every value serves
    }
    VECTORS.store(vectors, Ordering::Relaxed); // ORDER: Relaxed, as above
}

/// Whether this is an Intel processor whose string instructions have no long start ("fast short rep mov").
/// Source: Intel SDM volume 2, CPUID, leaves 0 and 7.
#[allow(unused_unsafe, reason = "it is safe from Rust 1.94 on")]
fn has_fast_strings() -> bool {
    const INTEL: [u32; 3] = [u32::from_le_bytes(*b"Genu"), u32::from_le_bytes(*b"ineI"), u32::from_le_bytes(*b"ntel")];
    const FAST_SHORT_REP_MOV: u32 = 1 << 4;
    // SAFETY: each x86-64 processor has the instruction, which touches no memory.
    let ask = |leaf| unsafe { __cpuid_count(leaf, 0) };
    let vendor = ask(0);
    let is_intel = [vendor.ebx, vendor.edx, vendor.ecx] == INTEL;
    is_intel && vendor.eax >= 7 && ask(7).edx & FAST_SHORT_REP_MOV != 0
}

/// Calls a function that keeps to the agreement above, so that its caller keeps what it has in registers: a call by the
/// ABI spills six of them.
macro_rules! call {
    ($function:ident, $to:expr, $second:expr, $length:expr) => {{
        let done: usize;
        asm!(
            "call {function}",
            function = sym $function,
            in("rdi") $to,
            in("rsi") $second,
            in("rdx") $length,
            out("rax") done,
            out("rcx") _,
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
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> usize {
    if length <= SMALL {
        // SAFETY: the caller's promise; the length fits.
        if unsafe { copy_small(to, from, length) } {
            return length;
        }
        // SAFETY: the caller's promise.
        return unsafe { call!(copy_by_bytes, to, from, length) };
    }
    // ORDER: Relaxed, partner `choose`.
    match VECTORS.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise about the ranges.
        3 if STRING.contains(&length) => unsafe { call!(copy_string, to, from, length) },
        // SAFETY: the caller's promise about the ranges; longer than a vector; the processor has AVX-512 VL.
        3 => unsafe { call!(copy_avx512_wide, to, from, length) },
        // SAFETY: as above.
        2 => unsafe { call!(copy_avx512, to, from, length) },
        // SAFETY: the caller's promise about the ranges; longer than a vector; the processor has AVX2.
        1 => unsafe { call!(copy_avx2, to, from, length) },
        // SAFETY: the caller's promise about the ranges; longer than a vector.
        _ => unsafe { call!(copy_sse2, to, from, length) },
    }
}

/// See [`super::is_short`].
#[inline(always)]
pub(super) fn is_short(length: usize) -> bool {
    length <= SMALL || length <= LONGEST_SHORT.load(Ordering::Relaxed) // ORDER: Relaxed, partner `choose`
}

/// See [`super::copy_short`].
#[inline(always)]
pub(super) unsafe fn copy_short(to: *mut u8, from: *const u8, length: usize) -> bool {
    if length <= SMALL {
        // SAFETY: the caller's promise; the length fits.
        unsafe { copy_small(to, from, length) }
    } else {
        seldom();
        // SAFETY: the caller's promise; a length that is short and not small is so where there is AVX-512 VL.
        unsafe { copy_middling(to, from, length) }
    }
}

/// See [`super::fill`].
#[inline(always)]
pub(super) unsafe fn fill(to: *mut u8, byte: u8, length: usize) -> usize {
    let byte = u64::from(byte);
    if length <= SMALL {
        // SAFETY: the caller's promise about the range; the length fits.
        return unsafe { call!(fill_small, to, byte, length) };
    }
    // ORDER: Relaxed, partner `choose`.
    match VECTORS.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise about the range; longer than a vector; the processor has AVX-512 VL.
        3 => unsafe { call!(fill_avx512_wide, to, byte, length) },
        // SAFETY: as above.
        2 => unsafe { call!(fill_avx512, to, byte, length) },
        // SAFETY: the caller's promise about the range; longer than a vector; the processor has AVX2.
        1 => unsafe { call!(fill_avx2, to, byte, length) },
        // SAFETY: the caller's promise about the range; longer than a vector.
        _ => unsafe { call!(fill_sse2, to, byte, length) },
    }
}

/// See [`super::expect_write`].
#[inline(always)]
pub(super) fn expect_write(at: *const u8) {
    // SAFETY: a hint, which faults nowhere; where the processor does not know it, it is a NOP.
    unsafe { asm!("prefetchw [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
}

/// See [`super::expect_read`].
#[inline(always)]
pub(super) fn expect_read(at: *const u8) {
    // SAFETY: a hint, which faults nowhere.
    unsafe { asm!("prefetcht0 [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
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
