//! Guarded atomics for x86-64.
//!
//! Each is the instruction that a plain atomic compiles to, between two moves: a flag is set to 1 before the access
//! and to 0 after it, and the fix-up skips the second. The test of that flag is well predicted and waits for nothing.
//!
//! Decision: a flag register, because `asm!` takes no `label` operand beside outputs (rust-lang/rust issue 119364). What has
//! no output but a yes or no goes to a label instead, which costs nothing.

use std::arch::asm;

use super::super::table::extable;
use super::super::{Fault, Word};

/// Runs the lines of an access, all of which may fault, and yields whether they did not.
macro_rules! completes {
    ([$($line:expr),+], $($operand:tt)+) => {{
        let faulted: u32;
        asm!(
            "mov {faulted:e}, 1",
            "2:",
            $($line,)+
            "3:",
            "mov {faulted:e}, 0",
            "4:",
            extable!("2b", "3b", "4b"),
            faulted = out(reg) faulted,
            $($operand)+,
            options(nostack),
        );
        faulted == 0
    }};
}

/// Runs the lines of an access, all of which may fault; its function gives false where one does, or goes to `failed`.
macro_rules! succeeds {
    ([$($line:expr),+], $($operand:tt)+) => {
        asm!(
            "2:",
            $($line,)+
            "3:",
            extable!("2b", "3b", "{failed}"),
            failed = label { return false },
            $($operand)+,
            options(nostack),
        )
    };
}

/// `value` if the access that yielded it has completed.
#[inline(always)]
fn checked<T>(completed: bool, value: T) -> Result<T, Fault> {
    if completed { Ok(value) } else { Err(Fault) }
}

/// [`Word`] for `$word`, which is a `$memory` in memory, whose general register carries the modifier `$size`, and whose
/// accumulator is `$accumulator`.
macro_rules! word {
    ($word:ty, $size:literal, $memory:literal, $accumulator:tt) => {
        impl Word for $word {
            #[inline(always)]
            unsafe fn load(at: *const Self) -> Result<Self, Fault> {
                let value: Self;
                // ORDER: x86 loads are ordered after every earlier locked instruction, which all our stores are.
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [concat!("mov {value:", $size, "}, [{at}]")],
                        at = in(reg) at,
                        value = out(reg) value
                    )
                };
                checked(completed, value)
            }

            #[inline(always)]
            unsafe fn load_or_zero(at: *const Self) -> Self {
                let value: Self;
                // ORDER: as `load`.
                // SAFETY: the caller vouches for `at`; a fault goes to lines out of the way, and from there behind the access.
                unsafe {
                    asm!(
                        "2:",
                        concat!("mov {value:", $size, "}, [{at}]"),
                        "3:",
                        ".pushsection .text.unlikely.mapshare, \"ax\", @progbits",
                        "4:",
                        "xor {value:e}, {value:e}",
                        "jmp 3b",
                        ".popsection",
                        extable!("2b", "3b", "4b"),
                        at = in(reg) at,
                        value = lateout(reg) value,
                        options(nostack),
                    )
                };
                value
            }

            #[inline(always)]
            unsafe fn store(at: *mut Self, value: Self) -> Result<(), Fault> {
                // A store that is sequentially consistent is an exchange here.
                // SAFETY: the caller's promise is the one that is asked for.
                unsafe { Self::swap(at, value) }.map(|_| ())
            }

            #[inline(always)]
            unsafe fn put(at: *mut Self, value: Self) -> bool {
                // ORDER: each store of x86 is a release.
                // SAFETY: the caller vouches for `at`; a fault goes to `failed`.
                unsafe {
                    succeeds!(
                        [concat!("mov [{at}], {value:", $size, "}")],
                        at = in(reg) at,
                        value = in(reg) value
                    )
                };
                true
            }

            #[inline(always)]
            unsafe fn put_and_bump(at: *mut Self, value: Self, by: Self) -> bool {
                // ORDER: as `put`.
                // SAFETY: the caller vouches for `at` and the word behind; a fault goes to `failed`.
                unsafe {
                    succeeds!(
                        [
                            concat!("mov [{at}], {value:", $size, "}"),
                            concat!("add [{at} + {next}], {by:", $size, "}")
                        ],
                        at = in(reg) at,
                        next = const size_of::<Self>(),
                        value = in(reg) value,
                        by = in(reg) by
                    )
                };
                true
            }

            #[inline(always)]
            unsafe fn is_zero(at: *const Self) -> bool {
                // ORDER: as `load`.
                // SAFETY: the caller vouches for `at`; a fault goes to `failed`.
                unsafe {
                    succeeds!([concat!("cmp ", $memory, " ptr [{at}], 0"), "jne {failed}"], at = in(reg) at)
                };
                true
            }

            #[inline(always)]
            unsafe fn is(at: *const Self, expected: Self) -> bool {
                // ORDER: as `load`.
                // SAFETY: the caller vouches for `at`; a fault goes to `failed`.
                unsafe {
                    succeeds!(
                        [concat!("cmp [{at}], {expected:", $size, "}"), "jne {failed}"],
                        at = in(reg) at,
                        expected = in(reg) expected
                    )
                };
                true
            }

            #[inline(always)]
            unsafe fn replace(at: *mut Self, expected: Self, desired: Self) -> bool {
                // SAFETY: the caller vouches for `at`; a fault goes to `failed`.
                unsafe {
                    succeeds!(
                        [concat!("lock cmpxchg [{at}], {desired:", $size, "}"), "jne {failed}"],
                        at = in(reg) at,
                        desired = in(reg) desired,
                        inout($accumulator) expected => _
                    )
                };
                true
            }

            #[inline(always)]
            unsafe fn swap(at: *mut Self, value: Self) -> Result<Self, Fault> {
                let previous: Self;
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [concat!("xchg [{at}], {value:", $size, "}")],
                        at = in(reg) at,
                        value = inout(reg) value => previous
                    )
                };
                checked(completed, previous)
            }

            #[inline(always)]
            unsafe fn add(at: *mut Self, value: Self) -> Result<Self, Fault> {
                let previous: Self;
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [concat!("lock xadd [{at}], {value:", $size, "}")],
                        at = in(reg) at,
                        value = inout(reg) value => previous
                    )
                };
                checked(completed, previous)
            }

            #[inline(always)]
            unsafe fn and(at: *mut Self, value: Self) -> Result<Self, Fault> {
                let previous: Self;
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [
                            concat!("mov ", $accumulator, ", [{at}]"),
                            "5:",
                            concat!("mov {new:", $size, "}, ", $accumulator),
                            concat!("and {new:", $size, "}, {value:", $size, "}"),
                            concat!("lock cmpxchg [{at}], {new:", $size, "}"),
                            "jne 5b"
                        ],
                        at = in(reg) at,
                        value = in(reg) value,
                        new = out(reg) _,
                        out($accumulator) previous
                    )
                };
                checked(completed, previous)
            }

            #[inline(always)]
            unsafe fn or(at: *mut Self, value: Self) -> Result<Self, Fault> {
                let previous: Self;
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [
                            concat!("mov ", $accumulator, ", [{at}]"),
                            "5:",
                            concat!("mov {new:", $size, "}, ", $accumulator),
                            concat!("or {new:", $size, "}, {value:", $size, "}"),
                            concat!("lock cmpxchg [{at}], {new:", $size, "}"),
                            "jne 5b"
                        ],
                        at = in(reg) at,
                        value = in(reg) value,
                        new = out(reg) _,
                        out($accumulator) previous
                    )
                };
                checked(completed, previous)
            }

            #[inline(always)]
            unsafe fn compare_swap(at: *mut Self, expected: Self, new: Self) -> Result<Self, Fault> {
                let previous: Self;
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [concat!("lock cmpxchg [{at}], {new:", $size, "}")],
                        at = in(reg) at,
                        new = in(reg) new,
                        inout($accumulator) expected => previous
                    )
                };
                checked(completed, previous)
            }
        }
    };
}

word!(u32, "e", "dword", "eax");
word!(u64, "r", "qword", "rax");
