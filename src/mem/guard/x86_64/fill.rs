//! Fills in assembly; the agreement on registers stands in the module above.

use std::arch::naked_asm;

use super::super::table::extable;
use super::CACHED;

/// The loop by bytes, from `rax` on. Never called: the fix-ups of the fills jump here.
#[unsafe(naked)]
unsafe extern "sysv64" fn fill_bytes(to: *mut u8, byte: u8, length: usize) -> usize {
    naked_asm!(
        "cmp rax, rdx",
        "jae 4f",
        "2:",
        "mov [rdi + rax], sil",
        "3:",
        "inc rax",
        "cmp rax, rdx",
        "jb 2b",
        "4:",
        "ret",
        extable!("2b", "3b", "4b"),
    )
}

/// Fills up to 64 bytes.
#[unsafe(naked)]
pub(in super::super) unsafe extern "sysv64" fn fill_small(to: *mut u8, byte: u8, length: usize) -> usize {
    naked_asm!(
        // The byte eight times over.
        "movzx eax, sil",
        "movabs rcx, 0x0101010101010101",
        "imul rcx, rax",
        "xor eax, eax",
        "2:",
        "cmp rdx, 16",
        "jb 4f",
        "movq xmm0, rcx",
        "punpcklqdq xmm0, xmm0",
        "cmp rdx, 32",
        "ja 3f",
        // 16 to 32: the first and the last 16.
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "mov rax, rdx",
        "ret",
        // 33 to 64: the first and the last 32. (The alignment is the whole section's, so it places the first line too.)
        ".p2align 5",
        "3:",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + rdx - 32], xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "mov rax, rdx",
        "ret",
        // 8 to 15: the first and the last 8.
        "4:",
        "cmp edx, 8",
        "jb 5f",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "mov rax, rdx",
        "ret",
        // 4 to 7: the first and the last 4.
        "5:",
        "cmp edx, 4",
        "jb 6f",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "mov rax, rdx",
        "ret",
        // 2 or 3: the first two and the last. Fewer: the loop by bytes.
        "6:",
        "cmp edx, 2",
        "jb {fill_bytes}",
        "mov [rdi], cx",
        "mov [rdi + rdx - 1], cl",
        "mov rax, rdx",
        "ret",
        "7:",
        "jmp {fill_bytes}",
        extable!("2b", "7b", "7b"),
        fill_bytes = sym fill_bytes,
    )
}

/// A fill of more than one vector: `$vector` bytes each, stored from `$r`, into which the lines in brackets bring rcx,
/// the byte eight times over; `$v` stands before the name of each store, `$leave` before each return.
macro_rules! fill_by_vectors {
    ($name:ident, $vector:literal, $v:literal, $r:literal, [$($spread:literal),+], $leave:literal) => {
        #[doc = concat!("Fills more than ", $vector, " bytes by vectors of ", $vector, ".")]
        #[unsafe(naked)]
        pub(in super::super) unsafe extern "sysv64" fn $name(to: *mut u8, byte: u8, length: usize) -> usize {
            naked_asm!(
                "movzx eax, sil",
                "movabs rcx, 0x0101010101010101",
                "imul rcx, rax",
                "xor eax, eax",
                $($spread,)+
                "2:",
                "cmp rdx, {vector} * 4",
                "ja 4f",
                "cmp rdx, {vector} * 2",
                "ja 3f",
                // 1 to 2 vectors: the first and the last.
                concat!($v, "movups [rdi], ", $r),
                concat!($v, "movups [rdi + rdx - {vector}], ", $r),
                "mov rax, rdx",
                $leave,
                "ret",
                // 2 to 4 vectors: the first two and the last two.
                "3:",
                concat!($v, "movups [rdi], ", $r),
                concat!($v, "movups [rdi + {vector}], ", $r),
                concat!($v, "movups [rdi + rdx - {vector} * 2], ", $r),
                concat!($v, "movups [rdi + rdx - {vector}], ", $r),
                "mov rax, rdx",
                $leave,
                "ret",
                // 4 to 8 vectors: the first four and the last four.
                "4:",
                "cmp rdx, {vector} * 8",
                "ja 5f",
                concat!($v, "movups [rdi], ", $r),
                concat!($v, "movups [rdi + {vector}], ", $r),
                concat!($v, "movups [rdi + {vector} * 2], ", $r),
                concat!($v, "movups [rdi + {vector} * 3], ", $r),
                concat!($v, "movups [rdi + rdx - {vector} * 4], ", $r),
                concat!($v, "movups [rdi + rdx - {vector} * 3], ", $r),
                concat!($v, "movups [rdi + rdx - {vector} * 2], ", $r),
                concat!($v, "movups [rdi + rdx - {vector}], ", $r),
                "mov rax, rdx",
                $leave,
                "ret",
                // More: the first vector as it lies. From the next boundary on, four at a time as long as more than
                // four are left; rcx = the place where the last four begin.
                "5:",
                concat!($v, "movups [rdi], ", $r),
                "mov eax, edi",
                "neg eax",
                "and eax, {vector} - 1",
                "lea rcx, [rdx - {vector} * 4]",
                "cmp rdx, {cached}",
                "ja 8f",
                ".p2align 5",
                "6:",
                concat!($v, "movaps [rdi + rax], ", $r),
                concat!($v, "movaps [rdi + rax + {vector}], ", $r),
                concat!($v, "movaps [rdi + rax + {vector} * 2], ", $r),
                concat!($v, "movaps [rdi + rax + {vector} * 3], ", $r),
                "add rax, {vector} * 4",
                "cmp rax, rcx",
                "jb 6b",
                // The last four, over the end of what is done.
                "7:",
                concat!($v, "movups [rdi + rcx], ", $r),
                concat!($v, "movups [rdi + rcx + {vector}], ", $r),
                concat!($v, "movups [rdi + rcx + {vector} * 2], ", $r),
                concat!($v, "movups [rdi + rcx + {vector} * 3], ", $r),
                "mov rax, rdx",
                $leave,
                "ret",
                // The same loop past the caches. Such stores are not ordered with later ones until the fence.
                ".p2align 5",
                "8:",
                concat!($v, "movntps [rdi + rax], ", $r),
                concat!($v, "movntps [rdi + rax + {vector}], ", $r),
                concat!($v, "movntps [rdi + rax + {vector} * 2], ", $r),
                concat!($v, "movntps [rdi + rax + {vector} * 3], ", $r),
                "add rax, {vector} * 4",
                "cmp rax, rcx",
                "jb 8b",
                "sfence",
                "jmp 7b",
                // A fault above.
                "9:",
                "sfence",
                $leave,
                "jmp {fill_bytes}",
                extable!("2b", "9b", "9b"),
                vector = const $vector,
                cached = const CACHED,
                fill_bytes = sym fill_bytes,
            )
        }
    };
}

fill_by_vectors!(fill_sse2, 16, "", "xmm0", ["movq xmm0, rcx", "punpcklqdq xmm0, xmm0"], "");
fill_by_vectors!(fill_avx2, 32, "v", "ymm0", ["vmovq xmm0, rcx", "vpbroadcastq ymm0, xmm0"], "vzeroupper");
fill_by_vectors!(fill_avx512, 32, "v", "ymm20", ["vpbroadcastq ymm20, rcx"], "");
fill_by_vectors!(fill_avx512_wide, 64, "v", "zmm20", ["vpbroadcastq zmm20, rcx"], "");
