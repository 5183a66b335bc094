//! Where a thread keeps the address of its hazard record: one thread-local pointer, null at the start.
//!
//! Decision: on x86-64 with glibc the pointer has the initial-exec TLS model, which stable Rust has no attribute for,
//! so a few lines of assembly define and read it. In a shared library `thread_local!` becomes a call of
//! `__tls_get_addr`, which costs more than the rest of `enter`, and which may allocate on a thread's first access: not
//! allowed in a signal handler. Initial-exec is two loads, and its bytes are part of every thread from its start. The
//! price: all thread-local bytes of the library, about 230, come out of the reserve of less than 2 KiB that glibc keeps
//! for dlopen (`glibc.rtld.optional_static_tls`), so they are to be few. musl keeps no such reserve, and aarch64 has TLS
//! descriptors, which are fast: there, and under the checkers, `thread_local!` does it.

pub(crate) use imp::{get, set};

#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu", not(any(miri, loom))))]
mod imp {
    use crate::mem::hazard::Record;
    use std::arch::{asm, global_asm};

    // Hidden: each library that contains this crate has its own.
    global_asm!(
        ".pushsection .tbss.mapshare_hazard_record, \"awT\", @nobits",
        ".globl mapshare_hazard_record",
        ".hidden mapshare_hazard_record",
        ".type mapshare_hazard_record, @object",
        ".size mapshare_hazard_record, 8",
        ".balign 8",
        "mapshare_hazard_record:",
        ".zero 8",
        ".popsection",
    );

    /// This thread's record, if it has one.
    #[inline(always)]
    pub(crate) fn get() -> Option<&'static Record> {
        let record: *const Record;
        // SAFETY: reads the eight bytes of this thread that the section above defines. Not `pure`: a signal handler
        // may have set them since they were read last.
        unsafe {
            asm!(
                "mov {record}, qword ptr [rip + mapshare_hazard_record@GOTTPOFF]",
                "mov {record}, qword ptr fs:[{record}]",
                record = out(reg) record,
                options(nostack, preserves_flags, readonly),
            );
        }
        // SAFETY: null, or what `set` put there: a reference that lives for ever.
        unsafe { record.as_ref() }
    }

    /// From now on `get` gives `record` on this thread.
    pub(crate) fn set(record: &'static Record) {
        // SAFETY: writes the eight bytes of this thread that the section above defines.
        unsafe {
            asm!(
                "mov {offset}, qword ptr [rip + mapshare_hazard_record@GOTTPOFF]",
                "mov qword ptr fs:[{offset}], {record}",
                offset = out(reg) _,
                record = in(reg) std::ptr::from_ref(record),
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu", not(any(miri, loom)))))]
mod imp {
    use crate::mem::hazard::Record;
    use std::cell::Cell;

    #[cfg(loom)]
    loom::thread_local! { static CURRENT: Cell<Option<&'static Record>> = Cell::new(None) }
    #[cfg(not(loom))]
    thread_local! { static CURRENT: Cell<Option<&'static Record>> = const { Cell::new(None) } }

    /// This thread's record, if it has one.
    #[inline(always)]
    pub(crate) fn get() -> Option<&'static Record> {
        CURRENT.with(Cell::get)
    }

    /// From now on `get` gives `record` on this thread.
    pub(crate) fn set(record: &'static Record) {
        CURRENT.with(|current| current.set(Some(record)));
    }
}
