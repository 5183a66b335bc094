//! Fills in assembly; the agreement on registers stands in the module above.

use std::arch::naked_asm;

use super::super::table::extable;

/// The loop by bytes, from `x3` on. Never called: the fix-ups of the fills jump here.
#[unsafe(naked)]
unsafe extern "C" fn fill_bytes(to: *mut u8, byte: u8, length: usize) -> usize {
    naked_asm!(
        "cmp x3, x2",
        "b.hs 4f",
        "2:",
        "strb w1, [x0, x3]",
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

/// Fills a range. q0 = the byte sixteen times over, x5 = the end of the range.
#[unsafe(naked)]
pub(in super::super) unsafe extern "C" fn fill(to: *mut u8, byte: u8, length: usize) -> usize {
    naked_asm!(
        "mov x3, #0",
        "add x5, x0, x2",
        "dup v0.16b, w1",
        "2:",
        "cmp x2, #16",
        "b.lo 7f",
        "cmp x2, #64",
        "b.hi 4f",
        "cmp x2, #32",
        "b.hi 3f",
        // 16 to 32: the first and the last 16.
        "str q0, [x0]",
        "str q0, [x5, #-16]",
        "mov x0, x2",
        "ret",
        // 33 to 64: the first and the last 32.
        "3:",
        "stp q0, q0, [x0]",
        "stp q0, q0, [x5, #-32]",
        "mov x0, x2",
        "ret",
        "4:",
        "cmp x2, #128",
        "b.hi 5f",
        // 65 to 128: the first and the last 64.
        "stp q0, q0, [x0]",
        "stp q0, q0, [x0, #32]",
        "stp q0, q0, [x5, #-64]",
        "stp q0, q0, [x5, #-32]",
        "mov x0, x2",
        "ret",
        // More: the first 16 as they lie. From the next boundary on, 64 at a time as long as more than 64 are left;
        // x6 = the place where the last 64 begin.
        "5:",
        "str q0, [x0]",
        "neg x3, x0",
        "and x3, x3, #15",
        "sub x6, x2, #64",
        ".p2align 4",
        "6:",
        "add x8, x0, x3",
        "stp q0, q0, [x8]",
        "stp q0, q0, [x8, #32]",
        "add x3, x3, #64",
        "cmp x3, x6",
        "b.lo 6b",
        // The last 64, over the end of what is done.
        "stp q0, q0, [x5, #-64]",
        "stp q0, q0, [x5, #-32]",
        "mov x0, x2",
        "ret",
        "7:",
        "cmp x2, #8",
        "b.lo 8f",
        // 8 to 15: the first and the last 8.
        "str d0, [x0]",
        "str d0, [x5, #-8]",
        "mov x0, x2",
        "ret",
        "8:",
        "cmp x2, #4",
        "b.lo 9f",
        // 4 to 7: the first and the last 4.
        "str s0, [x0]",
        "str s0, [x5, #-4]",
        "mov x0, x2",
        "ret",
        // Fewer, or a fault above.
        "9:",
        "b {fill_bytes}",
        extable!("2b", "9b", "9b"),
        fill_bytes = sym fill_bytes,
    )
}
