//! Copies in assembly; the agreement on registers stands in the module above.

use std::arch::naked_asm;

use super::super::table::extable;

/// The loop by bytes, from `x3` on. Never called: the fix-ups of the copies jump here.
#[unsafe(naked)]
unsafe extern "C" fn copy_bytes(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "cmp x3, x2",
        "b.hs 4f",
        "2:",
        "ldrb w4, [x1, x3]",
        "strb w4, [x0, x3]",
        "3:",
        "add x3, x3, #1",
        "cmp x3, x2",
        "b.lo 2b",
        "4:",
        "mov x0, x3",
        "ret",
        extable!("2b", "3b", "4b"),
    )
}

/// Copies ranges that do not overlap. x4 = the end of the source, x5 = the end of the destination.
#[unsafe(naked)]
pub(in super::super) unsafe extern "C" fn copy(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "mov x3, #0",
        "add x4, x1, x2",
        "add x5, x0, x2",
        "2:",
        "cmp x2, #16",
        "b.lo 7f",
        "cmp x2, #64",
        "b.hi 4f",
        "cmp x2, #32",
        "b.hi 3f",
        // 16 to 32: the first and the last 16.
        "ldr q0, [x1]",
        "ldr q1, [x4, #-16]",
        "str q0, [x0]",
        "str q1, [x5, #-16]",
        "mov x0, x2",
        "ret",
        // 33 to 64: the first and the last 32.
        "3:",
        "ldp q0, q1, [x1]",
        "ldp q2, q3, [x4, #-32]",
        "stp q0, q1, [x0]",
        "stp q2, q3, [x5, #-32]",
        "mov x0, x2",
        "ret",
        "4:",
        "cmp x2, #128",
        "b.hi 5f",
        // 65 to 128: the first and the last 64.
        "ldp q0, q1, [x1]",
        "ldp q2, q3, [x1, #32]",
        "ldp q4, q5, [x4, #-64]",
        "ldp q6, q7, [x4, #-32]",
        "stp q0, q1, [x0]",
        "stp q2, q3, [x0, #32]",
        "stp q4, q5, [x5, #-64]",
        "stp q6, q7, [x5, #-32]",
        "mov x0, x2",
        "ret",
        // More: the first 16 as they lie. From the next boundary of the destination on, 64 at a time as long as more
        // than 64 are left; x6 = the place where the last 64 begin.
        "5:",
        "ldr q0, [x1]",
        "str q0, [x0]",
        "neg x3, x0",
        "and x3, x3, #15",
        "sub x6, x2, #64",
        ".p2align 4",
        "6:",
        "add x7, x1, x3",
        "add x8, x0, x3",
        "ldp q0, q1, [x7]",
        "ldp q2, q3, [x7, #32]",
        "stp q0, q1, [x8]",
        "stp q2, q3, [x8, #32]",
        "add x3, x3, #64",
        "cmp x3, x6",
        "b.lo 6b",
        // The last 64, over the end of what is done.
        "ldp q0, q1, [x4, #-64]",
        "ldp q2, q3, [x4, #-32]",
        "stp q0, q1, [x5, #-64]",
        "stp q2, q3, [x5, #-32]",
        "mov x0, x2",
        "ret",
        "7:",
        "cmp x2, #8",
        "b.lo 8f",
        // 8 to 15: the first and the last 8.
        "ldr x6, [x1]",
        "ldr x7, [x4, #-8]",
        "str x6, [x0]",
        "str x7, [x5, #-8]",
        "mov x0, x2",
        "ret",
        "8:",
        "cmp x2, #4",
        "b.lo 9f",
        // 4 to 7: the first and the last 4.
        "ldr w6, [x1]",
        "ldr w7, [x4, #-4]",
        "str w6, [x0]",
        "str w7, [x5, #-4]",
        "mov x0, x2",
        "ret",
        // Fewer, or a fault above.
        "9:",
        "b {copy_bytes}",
        extable!("2b", "9b", "9b"),
        copy_bytes = sym copy_bytes,
    )
}

/// Copies first to last, ranges that may overlap with `to` in front.
#[unsafe(naked)]
pub(in super::super) unsafe extern "C" fn copy_forward(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "mov x3, #0",
        // From 1 to 15 bytes apart: by bytes. A vector that faults may have stored its first part, over bytes that
        // the loop by bytes has yet to read.
        "sub x4, x1, x0",
        "sub x4, x4, #1",
        "cmp x4, #15",
        "b.lo 3f",
        // x4 = the last place where a vector fits.
        "subs x4, x2, #16",
        "b.lo 3f",
        // Each step stores what it has loaded before the next one loads.
        "2:",
        "ldr q0, [x1, x3]",
        "str q0, [x0, x3]",
        "add x3, x3, #16",
        "cmp x3, x4",
        "b.ls 2b",
        // Too near, fewer than 16 left, or a fault above.
        "3:",
        "b {copy_bytes}",
        extable!("2b", "3b", "3b"),
        copy_bytes = sym copy_bytes,
    )
}

/// Copies last to first, ranges that may overlap with `to` behind. x3 = how many bytes are left.
#[unsafe(naked)]
pub(in super::super) unsafe extern "C" fn copy_backward(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "mov x3, x2",
        // Less than 16 bytes apart: by bytes, as in `copy_forward`.
        "sub x4, x0, x1",
        "cmp x4, #16",
        "b.lo 3f",
        "2:",
        // x4 = the place of the next vector from the end.
        "subs x4, x3, #16",
        "b.lo 3f",
        "ldr q0, [x1, x4]",
        "str q0, [x0, x4]",
        "mov x3, x4",
        "b 2b",
        // Too near, fewer than 16 left, or a fault above: by bytes.
        "3:",
        "cbz x3, 6f",
        "4:",
        "sub x4, x3, #1",
        "ldrb w5, [x1, x4]",
        "strb w5, [x0, x4]",
        "5:",
        "mov x3, x4",
        "cbnz x3, 4b",
        // The end, or a fault in the loop by bytes.
        "6:",
        "sub x0, x2, x3",
        "ret",
        extable!("2b", "3b", "3b"),
        extable!("4b", "5b", "6b"),
    )
}
