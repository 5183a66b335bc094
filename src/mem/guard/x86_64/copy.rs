//! Copies in assembly; the agreement on registers stands in the module above.

use std::arch::naked_asm;

use super::super::table::extable;
use super::CACHED;

/// The loop by bytes, from `rax` on. Never called: the fix-ups of the copies jump here.
#[unsafe(naked)]
unsafe extern "sysv64" fn copy_bytes(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "cmp rax, rdx",
        "jae 4f",
        "2:",
        "movzx ecx, byte ptr [rsi + rax]",
        "mov [rdi + rax], cl",
        "3:",
        "inc rax",
        "cmp rax, rdx",
        "jb 2b",
        "4:",
        "ret",
        extable!("2b", "3b", "4b"),
    )
}

/// Copies up to 64 bytes. Each size class loads everything before it stores anything.
#[unsafe(naked)]
pub(in super::super) unsafe extern "sysv64" fn copy_small(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "xor eax, eax",
        "2:",
        "cmp rdx, 16",
        "jb 4f",
        "cmp rdx, 32",
        "ja 3f",
        // 16 to 32: the first and the last 16.
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "mov rax, rdx",
        "ret",
        // 33 to 64: the first and the last 32. (The alignment is the whole section's, so it places the first line too.)
        ".p2align 5",
        "3:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "mov rax, rdx",
        "ret",
        // 8 to 15: the first and the last 8.
        "4:",
        "cmp edx, 8",
        "jb 5f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "mov rax, rdx",
        "ret",
        // 4 to 7: the first and the last 4.
        "5:",
        "cmp edx, 4",
        "jb 6f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "mov rax, rdx",
        "ret",
        // 2 or 3: the first two and the last. Fewer: the loop by bytes.
        "6:",
        "cmp edx, 2",
        "jb {copy_bytes}",
        "movzx ecx, word ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov [rdi], cx",
        "mov [rdi + rdx - 1], r8b",
        "mov rax, rdx",
        "ret",
        "7:",
        "jmp {copy_bytes}",
        extable!("2b", "7b", "7b"),
        copy_bytes = sym copy_bytes,
    )
}

/// A copy of more than one vector: `$vector` bytes each, held in registers whose names begin with `$r`; `$v` stands
/// before the name of each vector instruction, `$leave` before each return.
macro_rules! copy_by_vectors {
    ($name:ident, $vector:literal, $v:literal, $r:literal, $leave:literal) => {
        #[doc = concat!("Copies more than ", $vector, " bytes by vectors of ", $vector, ".")]
        #[unsafe(naked)]
        pub(in super::super) unsafe extern "sysv64" fn $name(to: *mut u8, from: *const u8, length: usize) -> usize {
            naked_asm!(
                "xor eax, eax",
                "2:",
                "cmp rdx, {vector} * 4",
                "ja 4f",
                "cmp rdx, {vector} * 2",
                "ja 3f",
                // 1 to 2 vectors: the first and the last.
                concat!($v, "movups ", $r, "0, [rsi]"),
                concat!($v, "movups ", $r, "1, [rsi + rdx - {vector}]"),
                concat!($v, "movups [rdi], ", $r, "0"),
                concat!($v, "movups [rdi + rdx - {vector}], ", $r, "1"),
                "mov rax, rdx",
                $leave,
                "ret",
                // 2 to 4 vectors: the first two and the last two.
                "3:",
                concat!($v, "movups ", $r, "0, [rsi]"),
                concat!($v, "movups ", $r, "1, [rsi + {vector}]"),
                concat!($v, "movups ", $r, "2, [rsi + rdx - {vector} * 2]"),
                concat!($v, "movups ", $r, "3, [rsi + rdx - {vector}]"),
                concat!($v, "movups [rdi], ", $r, "0"),
                concat!($v, "movups [rdi + {vector}], ", $r, "1"),
                concat!($v, "movups [rdi + rdx - {vector} * 2], ", $r, "2"),
                concat!($v, "movups [rdi + rdx - {vector}], ", $r, "3"),
                "mov rax, rdx",
                $leave,
                "ret",
                // 4 to 8 vectors: the first four and the last four.
                "4:",
                "cmp rdx, {vector} * 8",
                "ja 5f",
                concat!($v, "movups ", $r, "0, [rsi]"),
                concat!($v, "movups ", $r, "1, [rsi + {vector}]"),
                concat!($v, "movups ", $r, "2, [rsi + {vector} * 2]"),
                concat!($v, "movups ", $r, "3, [rsi + {vector} * 3]"),
                concat!($v, "movups ", $r, "4, [rsi + rdx - {vector} * 4]"),
                concat!($v, "movups ", $r, "5, [rsi + rdx - {vector} * 3]"),
                concat!($v, "movups ", $r, "6, [rsi + rdx - {vector} * 2]"),
                concat!($v, "movups ", $r, "7, [rsi + rdx - {vector}]"),
                concat!($v, "movups [rdi], ", $r, "0"),
                concat!($v, "movups [rdi + {vector}], ", $r, "1"),
                concat!($v, "movups [rdi + {vector} * 2], ", $r, "2"),
                concat!($v, "movups [rdi + {vector} * 3], ", $r, "3"),
                concat!($v, "movups [rdi + rdx - {vector} * 4], ", $r, "4"),
                concat!($v, "movups [rdi + rdx - {vector} * 3], ", $r, "5"),
                concat!($v, "movups [rdi + rdx - {vector} * 2], ", $r, "6"),
                concat!($v, "movups [rdi + rdx - {vector}], ", $r, "7"),
                "mov rax, rdx",
                $leave,
                "ret",
                // More: the first vector as it lies. From the next boundary of the destination on, four at a time as
                // long as more than four are left; rcx = the place where the last four begin.
                "5:",
                concat!($v, "movups ", $r, "0, [rsi]"),
                concat!($v, "movups [rdi], ", $r, "0"),
                "mov eax, edi",
                "neg eax",
                "and eax, {vector} - 1",
                "lea rcx, [rdx - {vector} * 4]",
                "cmp rdx, {cached}",
                "ja 8f",
                ".p2align 5",
                "6:",
                concat!($v, "movups ", $r, "0, [rsi + rax]"),
                concat!($v, "movups ", $r, "1, [rsi + rax + {vector}]"),
                concat!($v, "movups ", $r, "2, [rsi + rax + {vector} * 2]"),
                concat!($v, "movups ", $r, "3, [rsi + rax + {vector} * 3]"),
                concat!($v, "movaps [rdi + rax], ", $r, "0"),
                concat!($v, "movaps [rdi + rax + {vector}], ", $r, "1"),
                concat!($v, "movaps [rdi + rax + {vector} * 2], ", $r, "2"),
                concat!($v, "movaps [rdi + rax + {vector} * 3], ", $r, "3"),
                "add rax, {vector} * 4",
                "cmp rax, rcx",
                "jb 6b",
                // The last four, over the end of what is done.
                "7:",
                concat!($v, "movups ", $r, "0, [rsi + rcx]"),
                concat!($v, "movups ", $r, "1, [rsi + rcx + {vector}]"),
                concat!($v, "movups ", $r, "2, [rsi + rcx + {vector} * 2]"),
                concat!($v, "movups ", $r, "3, [rsi + rcx + {vector} * 3]"),
                concat!($v, "movups [rdi + rcx], ", $r, "0"),
                concat!($v, "movups [rdi + rcx + {vector}], ", $r, "1"),
                concat!($v, "movups [rdi + rcx + {vector} * 2], ", $r, "2"),
                concat!($v, "movups [rdi + rcx + {vector} * 3], ", $r, "3"),
                "mov rax, rdx",
                $leave,
                "ret",
                // The same loop past the caches. Such stores are not ordered with later ones until the fence.
                ".p2align 5",
                "8:",
                concat!($v, "movups ", $r, "0, [rsi + rax]"),
                concat!($v, "movups ", $r, "1, [rsi + rax + {vector}]"),
                concat!($v, "movups ", $r, "2, [rsi + rax + {vector} * 2]"),
                concat!($v, "movups ", $r, "3, [rsi + rax + {vector} * 3]"),
                concat!($v, "movntps [rdi + rax], ", $r, "0"),
                concat!($v, "movntps [rdi + rax + {vector}], ", $r, "1"),
                concat!($v, "movntps [rdi + rax + {vector} * 2], ", $r, "2"),
                concat!($v, "movntps [rdi + rax + {vector} * 3], ", $r, "3"),
                "add rax, {vector} * 4",
                "cmp rax, rcx",
                "jb 8b",
                "sfence",
                "jmp 7b",
                // A fault above.
                "9:",
                "sfence",
                $leave,
                "jmp {copy_bytes}",
                extable!("2b", "9b", "9b"),
                vector = const $vector,
                cached = const CACHED / 2,
                copy_bytes = sym copy_bytes,
            )
        }
    };
}

copy_by_vectors!(copy_sse2, 16, "", "xmm", "");
copy_by_vectors!(copy_avx2, 32, "v", "ymm", "vzeroupper");
// The registers ymm20 to ymm27.
copy_by_vectors!(copy_avx512, 32, "v", "ymm2", "");

/// Copies first to last, ranges that may overlap with `to` in front.
#[unsafe(naked)]
pub(in super::super) unsafe extern "sysv64" fn copy_forward(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "xor eax, eax",
        // From 1 to 15 bytes apart: by bytes. A vector that faults may have stored its first part, over bytes that
        // the loop by bytes has yet to read. Source: Intel SDM volume 3, "Guaranteed Atomic Operations".
        "lea rcx, [rsi - 1]",
        "sub rcx, rdi",
        "cmp rcx, 15",
        "jb {copy_bytes}",
        // rcx = the last place where a vector fits.
        "mov rcx, rdx",
        "sub rcx, 16",
        "jb {copy_bytes}",
        // Each step stores what it has loaded before the next one loads.
        "2:",
        "movups xmm0, [rsi + rax]",
        "movups [rdi + rax], xmm0",
        "add rax, 16",
        "cmp rax, rcx",
        "jbe 2b",
        // Fewer than 16 are left, or a fault above.
        "3:",
        "jmp {copy_bytes}",
        extable!("2b", "3b", "3b"),
        copy_bytes = sym copy_bytes,
    )
}

/// Copies last to first, ranges that may overlap with `to` behind. rcx = how many bytes are left.
#[unsafe(naked)]
pub(in super::super) unsafe extern "sysv64" fn copy_backward(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "mov rcx, rdx",
        // Less than 16 bytes apart: by bytes, as in `copy_forward`.
        "mov rax, rdi",
        "sub rax, rsi",
        "cmp rax, 16",
        "jb 3f",
        "cmp rcx, 16",
        "jb 3f",
        "2:",
        "movups xmm0, [rsi + rcx - 16]",
        "movups [rdi + rcx - 16], xmm0",
        "sub rcx, 16",
        "cmp rcx, 16",
        "jae 2b",
        // Too near, fewer than 16 left, or a fault above: by bytes.
        "3:",
        "test rcx, rcx",
        "jz 6f",
        "4:",
        "movzx r8d, byte ptr [rsi + rcx - 1]",
        "mov [rdi + rcx - 1], r8b",
        "5:",
        "dec rcx",
        "jnz 4b",
        // The end, or a fault in the loop by bytes.
        "6:",
        "mov rax, rdx",
        "sub rax, rcx",
        "ret",
        extable!("2b", "3b", "3b"),
        extable!("4b", "5b", "6b"),
    )
}
