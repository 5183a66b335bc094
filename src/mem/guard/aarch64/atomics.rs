//! Guarded atomics for AArch64.
//!
//! Loads that acquire and stores that release (`ldar`, `stlr`), and for the rest a load and a store that belong
//! together (`ldaxr`, `stlxr`), in a loop until no other access came between: ARMv8.0, so that every processor has
//! them. A flag is set to 1 before the access and to 0 after it, and the fix-up skips the second.
//!
//! Decision: a flag register, because `asm!` takes no `label` operand beside outputs (rust-lang/rust issue 119364).
//! Decision: no LSE instructions. The loop is right everywhere, and a choice at run time would cost each access more
//! than it could win without contention.

use std::arch::asm;

use super::super::table::extable;
use super::super::{Fault, Word};

/// Runs the lines of an access, all of which may fault, and yields whether they did not.
macro_rules! completes {
    ([$($line:expr),+], $($operand:tt)+) => {{
        let faulted: u32;
        asm!(
            "mov {faulted:w}, #1",
            "2:",
            $($line,)+
            "3:",
            "mov {faulted:w}, #0",
            "4:",
            extable!("2b", "3b", "4b"),
            faulted = out(reg) faulted,
            $($operand)+,
            options(nostack),
        );
        faulted == 0
    }};
}

/// `value` if the access that yielded it has completed.
#[inline(always)]
fn checked<T>(completed: bool, value: T) -> Result<T, Fault> {
    if completed { Ok(value) } else { Err(Fault) }
}

/// Replaces the word at `$at` by what `$line` leaves in `new`, computed from `previous` and `value`.
macro_rules! replace {
    ($size:literal, $line:expr, $at:expr, $value:expr) => {{
        let previous;
        // SAFETY: the caller of the method vouches for `at`; a fault goes to the line behind the access.
        let completed = unsafe {
            completes!(
                [
                    "5:",
                    concat!("ldaxr {previous:", $size, "}, [{at}]"),
                    $line,
                    concat!("stlxr {busy:w}, {new:", $size, "}, [{at}]"),
                    "cbnz {busy:w}, 5b"
                ],
                at = in(reg) $at,
                value = in(reg) $value,
                previous = out(reg) previous,
                new = out(reg) _,
                busy = out(reg) _
            )
        };
        checked(completed, previous)
    }};
}

/// [`Word`] for `$word`, whose general register carries the modifier `$size`.
macro_rules! word {
    ($word:ty, $size:literal) => {
        impl Word for $word {
            #[inline(always)]
            unsafe fn load(at: *const Self) -> Result<Self, Fault> {
                let value: Self;
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [concat!("ldar {value:", $size, "}, [{at}]")],
                        at = in(reg) at,
                        value = out(reg) value
                    )
                };
                checked(completed, value)
            }

            #[inline(always)]
            unsafe fn load_or_zero(at: *const Self) -> Self {
                // SAFETY: the caller's promise is the one that is asked for.
                unsafe { Self::load(at) }.unwrap_or(0)
            }

            #[inline(always)]
            unsafe fn store(at: *mut Self, value: Self) -> Result<(), Fault> {
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [concat!("stlr {value:", $size, "}, [{at}]")],
                        at = in(reg) at,
                        value = in(reg) value
                    )
                };
                checked(completed, ())
            }

            #[inline(always)]
            unsafe fn is_zero(at: *const Self) -> bool {
                // SAFETY: the caller's promise is the one that is asked for.
                unsafe { Self::is(at, 0) }
            }

            #[inline(always)]
            unsafe fn swap(at: *mut Self, value: Self) -> Result<Self, Fault> {
                replace!($size, concat!("mov {new:", $size, "}, {value:", $size, "}"), at, value)
            }

            #[inline(always)]
            unsafe fn add(at: *mut Self, value: Self) -> Result<Self, Fault> {
                replace!(
                    $size,
                    concat!("add {new:", $size, "}, {previous:", $size, "}, {value:", $size, "}"),
                    at,
                    value
                )
            }

            #[inline(always)]
            unsafe fn and(at: *mut Self, value: Self) -> Result<Self, Fault> {
                replace!(
                    $size,
                    concat!("and {new:", $size, "}, {previous:", $size, "}, {value:", $size, "}"),
                    at,
                    value
                )
            }

            #[inline(always)]
            unsafe fn or(at: *mut Self, value: Self) -> Result<Self, Fault> {
                replace!(
                    $size,
                    concat!("orr {new:", $size, "}, {previous:", $size, "}, {value:", $size, "}"),
                    at,
                    value
                )
            }

            #[inline(always)]
            unsafe fn compare_swap(at: *mut Self, expected: Self, new: Self) -> Result<Self, Fault> {
                let previous: Self;
                // SAFETY: the caller vouches for `at`; a fault goes to the line behind the access.
                let completed = unsafe {
                    completes!(
                        [
                            "5:",
                            concat!("ldaxr {previous:", $size, "}, [{at}]"),
                            concat!("cmp {previous:", $size, "}, {expected:", $size, "}"),
                            "b.ne 6f",
                            concat!("stlxr {busy:w}, {new:", $size, "}, [{at}]"),
                            "cbnz {busy:w}, 5b",
                            "6:"
                        ],
                        at = in(reg) at,
                        expected = in(reg) expected,
                        new = in(reg) new,
                        previous = out(reg) previous,
                        busy = out(reg) _
                    )
                };
                checked(completed, previous)
            }
        }
    };
}

word!(u32, "w");
word!(u64, "x");
