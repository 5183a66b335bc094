//! Every length, every alignment, a fault at every byte: what the assembly does against what it says it does.

mod atomics;
mod copies;
mod faults;
mod overlapping;

use std::ptr;
use std::sync::Once;

use super::{copy, copy_short, fill, fixup, is_short, machine, portable};

/// Bytes of a page here; the tests do not depend on larger ones.
const PAGE: usize = 4096;

/// What stands in destinations before a test writes there.
const CANARY: u8 = 0xA5;

/// One way to copy, with the shortest length that it is made for.
struct Copy {
    name: &'static str,
    shortest: usize,
    run: fn(*mut u8, *const u8, usize) -> usize,
}

/// One way to fill, with the shortest length that it is made for.
struct Fill {
    name: &'static str,
    shortest: usize,
    run: fn(*mut u8, u8, usize) -> usize,
}

/// A way to copy or fill by `$function`, as a safe function.
macro_rules! way {
    ($kind:ident, $name:literal, $shortest:literal, $function:expr) => {
        $kind {
            name: $name,
            shortest: $shortest,
            run: |to, from_or_byte, length| {
                let shortest: usize = $shortest;
                assert!(length >= shortest);
                // SAFETY: the tests pass ranges of their own mappings and vectors, the handler stands before a range
                // that can fault exists, and a processor that lacks the instructions has no such way.
                unsafe { $function(to, from_or_byte, length) }
            },
        }
    };
}

/// What is done at once for a short length, and what follows when it could not be.
unsafe fn short(to: *mut u8, from: *const u8, length: usize) -> usize {
    // SAFETY: the caller's promise; the length is short.
    if is_short(length) && unsafe { copy_short(to, from, length) } {
        return length;
    }
    // SAFETY: the caller's promise.
    unsafe { copy(to, from, length) }
}

/// Every way to copy ranges that do not overlap.
fn copies() -> Vec<Copy> {
    super::choose();
    let mut ways = vec![
        way!(Copy, "copy", 0, copy),
        way!(Copy, "short", 0, short),
        way!(Copy, "forward", 0, machine::copy_forward),
    ];
    if system_call_works() {
        ways.push(way!(Copy, "system call", 0, portable::copy));
    }
    #[cfg(target_arch = "x86_64")]
    {
        ways.push(way!(Copy, "SSE2", 17, machine::copy_sse2));
        if is_x86_feature_detected!("avx2") {
            ways.push(way!(Copy, "AVX2", 33, machine::copy_avx2));
        }
        if is_x86_feature_detected!("avx512vl") {
            ways.push(way!(Copy, "AVX-512 VL", 33, machine::copy_avx512));
            ways.push(way!(Copy, "AVX-512 VL, wide", 65, machine::copy_avx512_wide));
        }
        ways.push(way!(Copy, "string", 0, machine::copy_string));
    }
    ways
}

/// Every way to fill.
fn fills() -> Vec<Fill> {
    let mut ways = vec![way!(Fill, "fill", 0, fill)];
    if system_call_works() {
        ways.push(way!(Fill, "system call", 0, portable::fill));
    }
    #[cfg(target_arch = "x86_64")]
    {
        ways.push(way!(Fill, "SSE2", 17, machine::fill_sse2));
        if is_x86_feature_detected!("avx2") {
            ways.push(way!(Fill, "AVX2", 33, machine::fill_avx2));
        }
        if is_x86_feature_detected!("avx512vl") {
            ways.push(way!(Fill, "AVX-512 VL", 33, machine::fill_avx512));
            ways.push(way!(Fill, "AVX-512 VL, wide", 65, machine::fill_avx512_wide));
        }
    }
    ways
}

/// Whether the kernel copies this process's own memory. qemu-user does not.
fn system_call_works() -> bool {
    let (from, mut to) = ([1], [0]);
    // SAFETY: two arrays of one byte.
    let works = unsafe { portable::copy(to.as_mut_ptr(), from.as_ptr(), 1) } == 1 && to == from;
    if !works {
        eprintln!("skipped: portable.rs, because process_vm_readv does not work here");
    }
    works
}

/// A pattern in which neighbours, and bytes a power of two apart, differ.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]).collect()
}

/// A shared mapping of which one part is there and the rest lies past the end of its file: the edge between the two
/// can be put at any byte of an access.
struct Edge {
    start: *mut u8,
    good: usize,
    bad: usize,
    /// Whether the good part comes first.
    good_first: bool,
}

impl Edge {
    /// `good` bytes that are there, then `bad` bytes that are not (whole pages).
    fn good_then_bad(good: usize, bad: usize) -> Self {
        Self::new(good, bad, true)
    }

    /// `bad` bytes that are not there, then `good` bytes that are (whole pages).
    fn bad_then_good(bad: usize, good: usize) -> Self {
        Self::new(good, bad, false)
    }

    fn new(good: usize, bad: usize, good_first: bool) -> Self {
        install_handler();
        // SAFETY: a constant name.
        let file = unsafe { libc::memfd_create(c"edge".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(file >= 0);
        // SAFETY: our own descriptor.
        assert_eq!(unsafe { libc::ftruncate(file, good as libc::off_t) }, 0);
        let map = |at: *mut u8, length: usize, flags: i32, offset: usize| {
            // SAFETY: a new mapping, or one over the new mapping's own pages.
            let at = unsafe {
                libc::mmap(
                    at.cast(),
                    length,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | flags,
                    file,
                    offset as libc::off_t,
                )
            };
            assert_ne!(at, libc::MAP_FAILED);
            at.cast::<u8>()
        };
        // The file's pages and those past its end in this order; for the other order once more, over it.
        let start = map(ptr::null_mut(), good + bad, 0, 0);
        if !good_first {
            map(start, bad, libc::MAP_FIXED, good);
            map(start.wrapping_add(bad), good, libc::MAP_FIXED, 0);
        }
        // SAFETY: our own descriptor, which the mapping does not need.
        assert_eq!(unsafe { libc::close(file) }, 0);
        Self { start, good, bad, good_first }
    }

    /// The first byte behind the edge.
    fn at(&self) -> *mut u8 {
        self.start.wrapping_add(if self.good_first { self.good } else { self.bad })
    }

    /// The part that is there.
    fn bytes(&mut self) -> &mut [u8] {
        let first = if self.good_first { self.start } else { self.at() };
        // SAFETY: mapped as long as `self` lives, and borrowed from it.
        unsafe { std::slice::from_raw_parts_mut(first, self.good) }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of this length, to which no borrow is left.
        assert_eq!(unsafe { libc::munmap(self.start.cast(), self.good + self.bad) }, 0);
    }
}

/// Answers SIGBUS from [`fixup`]; a fault that has no entry ends the process.
fn install_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeros is a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        // SAFETY: the handler is async-signal-safe and lives for ever.
        assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) }, 0);
    });
}

extern "C" fn on_sigbus(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel passes this thread's saved registers, which nobody else looks at.
    let context = unsafe { &mut (*context).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    let pc = &mut context.gregs[libc::REG_RIP as usize];
    #[cfg(target_arch = "aarch64")]
    let pc = &mut context.pc;
    match fixup(*pc as usize) {
        Some(next) => *pc = next as _,
        None => {
            let message = b"SIGBUS at an instruction without an entry in the exception table\n";
            // SAFETY: write takes any bytes; abort may be called from a handler.
            unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
            std::process::abort();
        }
    }
}

#[test]
fn code_elsewhere_has_no_fixup() {
    assert_eq!(fixup(0), None);
    assert_eq!(fixup(usize::MAX), None);
    assert_eq!(fixup(on_sigbus as *const () as usize), None);
}
