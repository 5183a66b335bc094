//! What the tests of the SIGBUS handler share: regions that fault, and a host's own handler that brings what is missing.

#![allow(dead_code, reason = "each test file uses a part of it")]

use super::common::c::{self, Token};
use super::common::process::forked;
use super::common::*;
use super::faults::*;
use libc::*;
use mapshare::ffi::library::mapshare_arm;
use std::ptr;

pub(crate) const RW: u32 = MAPSHARE_READ_WRITE;

/// A region whose file has been cut to nothing, so that every access to it faults.
pub(crate) fn cut_short(folder: &Folder, name: &str) -> Token {
    let path = folder.join(name);
    let token = c::open(&path, &create(4 * page())).unwrap();
    files::set_length(&path, 0);
    token
}

/// A guarded access that faults is a code.
#[track_caller]
pub(crate) fn gives_enxio(region: Token) {
    let mut bytes = [0xEE; 100];
    failed_at(region.read(5000, &mut bytes), ENXIO, 5000, 0, 100);
    assert_eq!(bytes, [0xEE; 100]);
}

/// The child dies of SIGBUS.
#[track_caller]
pub(crate) fn dies_of_sigbus(body: impl FnOnce()) {
    let ended = forked(|| {
        body();
        77
    });
    assert_eq!(ended, -SIGBUS, "77: it lived; else: another signal or exit code");
}

#[track_caller]
pub(crate) fn lives(body: impl FnOnce()) {
    let ended = forked(|| {
        body();
        77
    });
    assert_eq!(ended, 77, "101: an assertion in the child, see above; negative: the signal that killed it");
}

pub(crate) fn arm() {
    assert_eq!(mapshare_arm(), 0);
}

pub(crate) static CALLS: Counter = Counter::new();
pub(crate) static SEEN_ADDRESS: Counter = Counter::new();
pub(crate) static SEEN_CODE: Counter = Counter::new();
pub(crate) static SEEN_PC: Counter = Counter::new();
pub(crate) static SEEN_MASK: Counter = Counter::new();
pub(crate) static SEEN_STACK: Counter = Counter::new();

pub(crate) fn note_mask() {
    let bits = [SIGBUS, SIGUSR1, SIGUSR2, SIGHUP].map(is_blocked);
    SEEN_MASK.set(bits.iter().enumerate().map(|(bit, set)| usize::from(*set) << bit).sum());
}

pub(crate) extern "C" fn mending(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    assert_eq!(signal, SIGBUS);
    // SAFETY: the kernel's siginfo.
    let info = unsafe { &*info };
    // SAFETY: a fault has an address.
    let address = unsafe { info.si_addr() }.addr();
    SEEN_ADDRESS.set(address);
    SEEN_CODE.set(info.si_code as usize);
    // SAFETY: the kernel's context.
    #[cfg(target_arch = "x86_64")]
    SEEN_PC.set(unsafe { (*context.cast::<ucontext_t>()).uc_mcontext.gregs[REG_RIP as usize] } as usize);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = context;
    SEEN_STACK.set((&raw const address).addr());
    note_mask();
    CALLS.add();
    if info.si_code > 0 {
        mend(address);
    }
}

pub(crate) fn touch(address: *const u8) {
    peek(address);
}

/// An alternate stack for this thread; the bytes of it.
pub(crate) fn alternate_stack(length: usize) -> &'static [u8] {
    let stack = Box::leak(vec![0xA5_u8; length].into_boxed_slice());
    let description = stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: length };
    // SAFETY: the stack is never freed.
    assert_eq!(unsafe { sigaltstack(&description, ptr::null_mut()) }, 0);
    stack
}

pub(crate) fn unsafe_raise() {
    // SAFETY: a signal that exists.
    unsafe { raise(SIGBUS) };
}
