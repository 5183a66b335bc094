//! The exception table: which instructions may fault, and where to go on when they do.
//!
//! Decision: a section of the object file, as the Linux kernel's `__ex_table` is, not a list built at start: the good
//! path pays nothing, there is nothing to register, and the signal handler reads constant memory without a lock.
//! - Every entry is three 32-bit distances, each from its own address, so that a shared library needs no relocation
//!   for it at load time.
//! - The section's name is a C identifier, so that the linker itself defines `__start_` and `__stop_` symbols at its
//!   two ends. They are hidden: two libraries in one process, each with its copy of this code, see their own tables.
//! - The flag `R` (SHF_GNU_RETAIN) keeps `--gc-sections` away from the entries: LLD drops sections that only these
//!   symbols name (`-z start-stop-gc`).
//!
//! Source: Linux, Documentation/arch/x86/exception-tables.rst; the ld manual, "Orphan Sections" (`__start_SECNAME`).

use std::ops::Range;
use std::slice;

/// Text of one entry, for use inside assembly: a fault at an address from label `$start` up to, not including, label
/// `$end` goes on at label `$fixup`.
macro_rules! extable {
    ($start:literal, $end:literal, $fixup:literal) => {
        concat!(
            ".pushsection mapshare_extable, \"aR\", @progbits\n",
            ".balign 4\n",
            ".long ",
            $start,
            " - .\n",
            ".long ",
            $end,
            " - .\n",
            ".long ",
            $fixup,
            " - .\n",
            ".popsection",
        )
    };
}
pub(super) use extable;

/// An entry as [`extable`] lays it down.
#[repr(C)]
pub(super) struct Entry {
    /// Distance from this field to the first guarded instruction.
    start: i32,
    /// Distance from this field to the end of the last guarded instruction.
    end: i32,
    /// Distance from this field to the instruction to go on at.
    fixup: i32,
}

impl Entry {
    /// The addresses of the guarded instructions.
    fn guarded(&self) -> Range<usize> {
        target(&self.start)..target(&self.end)
    }
}

/// The address that a self-relative `distance` stands for.
fn target(distance: &i32) -> usize {
    (&raw const *distance).addr().wrapping_add_signed(*distance as isize)
}

/// Where the instruction at `pc` goes on after a fault, if it is one of those that stand in the table.
///
/// # Safety
/// `table` is the section from end to end: whole entries, in constant memory of this library.
pub(super) unsafe fn lookup(table: Range<*const Entry>, pc: usize) -> Option<usize> {
    // SAFETY: both ends belong to one section, which holds whole entries.
    let count = unsafe { table.end.offset_from_unsigned(table.start) };
    // SAFETY: as above, and nobody writes there.
    let entries = unsafe { slice::from_raw_parts(table.start, count) };
    // A plain search: a few hundred entries take less than the delivery of the signal did.
    entries.iter().find(|entry| entry.guarded().contains(&pc)).map(|entry| target(&entry.fixup))
}
