//! Copies in assembly; the agreement on registers stands in the module above.

use std::arch::{asm, naked_asm};

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

/// The same from the first byte on.
#[unsafe(naked)]
pub(in super::super) unsafe extern "sysv64" fn copy_by_bytes(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!("xor eax, eax", "jmp {copy_bytes}", copy_bytes = sym copy_bytes)
}

/// Copies up to 64 bytes, in the middle of its caller, and says whether it did. When it did not, any of the bytes may be
/// written. Each size class loads everything before it stores anything.
///
/// # Safety
/// As `copy`; the length is at most 64.
#[inline(always)]
pub(in super::super) unsafe fn copy_small(to: *mut u8, from: *const u8, length: usize) -> bool {
    // SAFETY: the caller's promise about the ranges; a fault goes to `faulted`.
    unsafe {
        asm!(
            "2:",
            "cmp {length}, 32",
            "ja 7f",
            "cmp {length:e}, 16",
            "jb 3f",
            // 16 to 32: the first and the last 16.
            "movups {v0}, [{from}]",
            "movups {v1}, [{from} + {length} - 16]",
            "movups [{to} + {length} - 16], {v1}",
            "movups [{to}], {v0}",
            "jmp 8f",
            // 8 to 15: the first and the last 8.
            "3:",
            "cmp {length:e}, 8",
            "jb 4f",
            "mov {first}, [{from}]",
            "mov {last}, [{from} + {length} - 8]",
            "mov [{to}], {first}",
            "mov [{to} + {length} - 8], {last}",
            "jmp 8f",
            // 4 to 7: the first and the last 4.
            "4:",
            "cmp {length:e}, 4",
            "jb 5f",
            "mov {first:e}, [{from}]",
            "mov {last:e}, [{from} + {length} - 4]",
            "mov [{to}], {first:e}",
            "mov [{to} + {length} - 4], {last:e}",
            "jmp 8f",
            // 2 or 3: the first two and the last.
            "5:",
            "cmp {length:e}, 2",
            "jb 6f",
            "movzx {first:e}, word ptr [{from}]",
            "movzx {last:e}, byte ptr [{from} + {length} - 1]",
            "mov [{to}], {first:x}",
            "mov [{to} + {length} - 1], {last:l}",
            "jmp 8f",
            // 1 or none.
            "6:",
            "test {length:e}, {length:e}",
            "jz 8f",
            "movzx {first:e}, byte ptr [{from}]",
            "mov [{to}], {first:l}",
            "jmp 8f",
            // 33 to 64: the first and the last 32.
            "7:",
            "movups {v0}, [{from}]",
            "movups {v1}, [{from} + 16]",
            "movups {v2}, [{from} + {length} - 32]",
            "movups {v3}, [{from} + {length} - 16]",
            "movups [{to} + {length} - 16], {v3}",
            "movups [{to} + {length} - 32], {v2}",
            "movups [{to} + 16], {v1}",
            "movups [{to}], {v0}",
            "8:",
            extable!("2b", "8b", "{faulted}"),
            to = in(reg) to,
            from = in(reg) from,
            length = in(reg) length,
            first = out(reg) _,
            last = out(reg) _,
            v0 = out(xmm_reg) _,
            v1 = out(xmm_reg) _,
            v2 = out(xmm_reg) _,
            v3 = out(xmm_reg) _,
            faulted = label { return false },
            options(nostack),
        );
    }
    true
}

/// As `copy_small`, for 65 to 1024 bytes, by vectors of 64: so few instructions that the call around them is not felt.
///
/// # Safety
/// As `copy`; the length is 65 to 1024, and the processor has AVX-512 VL.
#[inline(always)]
pub(in super::super) unsafe fn copy_middling(to: *mut u8, from: *const u8, length: usize) -> bool {
    // SAFETY: the caller's promise about the ranges and the processor; a fault goes to `faulted`.
    unsafe {
        asm!(
            "2:",
            "cmp {length}, 256",
            "ja 4f",
            "cmp {length}, 128",
            "ja 3f",
            // To 128: the first 64 and the last.
            "vmovups zmm16, [{from}]",
            "vmovups zmm17, [{from} + {length} - 64]",
            "vmovups [{to}], zmm16",
            "vmovups [{to} + {length} - 64], zmm17",
            "jmp 8f",
            // To 256: the first 128 and the last.
            "3:",
            "vmovups zmm16, [{from}]",
            "vmovups zmm17, [{from} + 64]",
            "vmovups zmm18, [{from} + {length} - 128]",
            "vmovups zmm19, [{from} + {length} - 64]",
            "vmovups [{to}], zmm16",
            "vmovups [{to} + 64], zmm17",
            "vmovups [{to} + {length} - 128], zmm18",
            "vmovups [{to} + {length} - 64], zmm19",
            "jmp 8f",
            // To 512: the first 256 and the last.
            "4:",
            "cmp {length}, 512",
            "ja 5f",
            "vmovups zmm16, [{from}]",
            "vmovups zmm17, [{from} + 64]",
            "vmovups zmm18, [{from} + 128]",
            "vmovups zmm19, [{from} + 192]",
            "vmovups zmm20, [{from} + {length} - 256]",
            "vmovups zmm21, [{from} + {length} - 192]",
            "vmovups zmm22, [{from} + {length} - 128]",
            "vmovups zmm23, [{from} + {length} - 64]",
            "vmovups [{to}], zmm16",
            "vmovups [{to} + 64], zmm17",
            "vmovups [{to} + 128], zmm18",
            "vmovups [{to} + 192], zmm19",
            "vmovups [{to} + {length} - 256], zmm20",
            "vmovups [{to} + {length} - 192], zmm21",
            "vmovups [{to} + {length} - 128], zmm22",
            "vmovups [{to} + {length} - 64], zmm23",
            "jmp 8f",
            // To 1024: the first 512 and the last.
            "5:",
            "vmovups zmm16, [{from}]",
            "vmovups zmm17, [{from} + 64]",
            "vmovups zmm18, [{from} + 128]",
            "vmovups zmm19, [{from} + 192]",
            "vmovups zmm20, [{from} + 256]",
            "vmovups zmm21, [{from} + 320]",
            "vmovups zmm22, [{from} + 384]",
            "vmovups zmm23, [{from} + 448]",
            "vmovups zmm24, [{from} + {length} - 512]",
            "vmovups zmm25, [{from} + {length} - 448]",
            "vmovups zmm26, [{from} + {length} - 384]",
            "vmovups zmm27, [{from} + {length} - 320]",
            "vmovups zmm28, [{from} + {length} - 256]",
            "vmovups zmm29, [{from} + {length} - 192]",
            "vmovups zmm30, [{from} + {length} - 128]",
            "vmovups zmm31, [{from} + {length} - 64]",
            "vmovups [{to}], zmm16",
            "vmovups [{to} + 64], zmm17",
            "vmovups [{to} + 128], zmm18",
            "vmovups [{to} + 192], zmm19",
            "vmovups [{to} + 256], zmm20",
            "vmovups [{to} + 320], zmm21",
            "vmovups [{to} + 384], zmm22",
            "vmovups [{to} + 448], zmm23",
            "vmovups [{to} + {length} - 512], zmm24",
            "vmovups [{to} + {length} - 448], zmm25",
            "vmovups [{to} + {length} - 384], zmm26",
            "vmovups [{to} + {length} - 320], zmm27",
            "vmovups [{to} + {length} - 256], zmm28",
            "vmovups [{to} + {length} - 192], zmm29",
            "vmovups [{to} + {length} - 128], zmm30",
            "vmovups [{to} + {length} - 64], zmm31",
            "8:",
            extable!("2b", "8b", "{faulted}"),
            to = in(reg) to,
            from = in(reg) from,
            length = in(reg) length,
            out("xmm16") _, out("xmm17") _, out("xmm18") _, out("xmm19") _,
            out("xmm20") _, out("xmm21") _, out("xmm22") _, out("xmm23") _,
            out("xmm24") _, out("xmm25") _, out("xmm26") _, out("xmm27") _,
            out("xmm28") _, out("xmm29") _, out("xmm30") _, out("xmm31") _,
            faulted = label { return false },
            options(nostack),
        );
    }
    true
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
copy_by_vectors!(copy_avx512_wide, 64, "v", "zmm2", "");

/// Copies by one string instruction, which says in `rcx` how many bytes are left, also where it faults. A later store is
/// ordered behind all of its own. Source: Intel SDM volume 3, "Out-of-Order Stores For String Operations".
#[unsafe(naked)]
pub(in super::super) unsafe extern "sysv64" fn copy_string(to: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "mov rcx, rdx",
        "2:",
        "rep movsb",
        // The end, or a fault: as agreed.
        "3:",
        "mov rax, rdx",
        "sub rax, rcx",
        "sub rdi, rax",
        "sub rsi, rax",
        "jmp {copy_bytes}",
        extable!("2b", "3b", "3b"),
        copy_bytes = sym copy_bytes,
    )
}

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
        "movzx eax, byte ptr [rsi + rcx - 1]",
        "mov [rdi + rcx - 1], al",
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
