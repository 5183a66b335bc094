//! The SIGBUS handler: when it is installed, and whom of those that were there before it passes signals on to.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;
#[path = "common/hosts.rs"]
mod hosts;

use common::c::{self, Token};
use common::process::{in_own_process, watchdog};
use common::*;
use faults::*;
use hosts::*;
use libc::*;
use std::ptr;

fn memfd(seals: i32) -> i32 {
    // SAFETY: a C string.
    let fd = unsafe { memfd_create(c"test".as_ptr(), MFD_ALLOW_SEALING | MFD_CLOEXEC) };
    assert_ne!(fd, -1);
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { ftruncate(fd, 16384) }, 0);
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { fcntl(fd, F_ADD_SEALS, seals) }, 0);
    fd
}

#[test]
fn only_the_first_region_that_can_fault_installs_the_handler() {
    in_own_process(only_the_first_region_that_can_fault_installs_the_handler, || {
        let folder = Folder::new();
        let path = folder.file("file", 8192);
        install(SIG_DFL, 0, &[]);
        let untouched = (SIG_DFL, 0);
        refused(c::open(&folder.join("missing"), &with(RW)), ENOENT, &[]);
        refused(Token(77).read(0, &mut [0]), EBADF, &[]);
        let options = mapshare_options { flags: MAPSHARE_NO_HANDLER, ..with(RW) };
        let quiet = c::open(&path, &options).unwrap();
        quiet.write(0, b"bytes").unwrap();
        let sealed = c::open_fd(memfd(F_SEAL_SHRINK), &with(RW)).unwrap();
        sealed.write(0, b"bytes").unwrap();
        assert_eq!(disposition(), untouched);

        let region = c::open(&path, &with(RW)).unwrap();
        let (ours, flags) = disposition();
        assert!(ours != SIG_DFL && ours != SIG_IGN);
        assert_eq!(flags & (SA_SIGINFO | SA_ONSTACK | SA_NODEFER), SA_SIGINFO | SA_ONSTACK | SA_NODEFER);
        let again = c::open(&path, &with(MAPSHARE_READ_ONLY)).unwrap();
        for token in [quiet, sealed, region, again] {
            token.unmap().unwrap();
        }
        assert_eq!(disposition(), (ours, flags), "it stays");
    });
}

#[test]
fn a_host_without_handler_keeps_its_disposition_and_gets_codes() {
    in_own_process(a_host_without_handler_keeps_its_disposition_and_gets_codes, || {
        let folder = Folder::new();
        let page = page();
        for before in [SIG_DFL, SIG_IGN] {
            install(before, 0, &[]);
            let path = folder.join("file");
            let options = mapshare_options { flags: MAPSHARE_NO_HANDLER | MAPSHARE_CREATE, ..create(4 * page) };
            let region = c::open(&path, &options).unwrap();
            let bytes = pattern(4 * page as usize, 1);
            region.write(0, &bytes).unwrap();
            let options = mapshare_options { flags: MAPSHARE_NO_HANDLER | MAPSHARE_CREATE, ..create(4 * page) };
            let other = c::open(&folder.join("other"), &options).unwrap();
            files::set_length(&path, 2 * page);
            let mut read = vec![0xEE; 3 * page as usize];
            failed_at(region.read(100, &mut read), ENXIO, 2 * page, 2 * page - 100, 3 * page);
            let done = 2 * page as usize - 100;
            assert_eq!(read[..done], bytes[100..100 + done]);
            assert!(read[done..].iter().all(|byte| *byte == 0xEE));
            failed_at(region.write(page, &read), ENXIO, 2 * page, page, 3 * page);
            failed_at(region.fill(page - 1, 3 * page, 3), ENXIO, 2 * page, page + 1, 3 * page);
            failed_at(other.copy_from(5, region, 10, 3 * page), ENXIO, 2 * page, 2 * page - 10, 3 * page);
            failed_at(region.copy_from(10, other, 5, 3 * page), ENXIO, 2 * page, 2 * page - 10, 3 * page);
            refused(region.view(0, 1), EOPNOTSUPP, &["MAPSHARE_NO_HANDLER", "seal"]);
            assert_eq!(region.info().unwrap().faults, 5);
            let rust = mapshare::Options::new().no_handler(true).open(folder.join("other")).unwrap();
            assert_eq!(rust.view(0, 1).map(|_| ()).unwrap_err().errno(), EOPNOTSUPP);
            assert_eq!(disposition(), (before, 0));
            other.unmap().unwrap();
            region.unmap().unwrap();
            assert_eq!(disposition(), (before, 0));
        }
    });
}

static MEND_AT: Counter = Counter::new();

extern "C" fn plain(signal: c_int) {
    assert_eq!(signal, SIGBUS);
    note_mask();
    CALLS.add();
    if MEND_AT.get() != 0 {
        mend(MEND_AT.get());
    }
}

/// Reads a byte; the address of the instruction that does it, where the test knows how to say it.
fn peek_at_a_known_place(address: *const u8) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let pc;
        // SAFETY: reads a byte that the handler brings.
        unsafe {
            std::arch::asm!("lea {pc}, [rip + 2f]", "2:", "mov {byte}, byte ptr [{address}]",
                pc = out(reg) pc, byte = out(reg_byte) _, address = in(reg) address);
        }
        pc
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        peek(address);
        SEEN_PC.get()
    }
}

#[test]
fn a_foreign_fault_reaches_the_hosts_handler_with_all_that_the_kernel_said() {
    in_own_process(a_foreign_fault_reaches_the_hosts_handler_with_all_that_the_kernel_said, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(mending as *const () as usize, SA_SIGINFO, &[SIGUSR1, SIGHUP]);
        let region = cut_short(&folder, "region");
        gives_enxio(region);
        assert_eq!(CALLS.get(), 0, "ours is not passed on");
        block(SIGUSR2, SIG_BLOCK);

        let address = foreign.page(1).wrapping_add(123);
        let pc = peek_at_a_known_place(address);
        assert_eq!(CALLS.get(), 1);
        assert_eq!(SEEN_ADDRESS.get(), address.addr());
        assert_eq!(SEEN_CODE.get(), BUS_ADRERR as usize);
        assert_eq!(SEEN_PC.get(), pc, "the instruction that faulted");
        assert_eq!(SEEN_MASK.get(), 0b1111, "SIGBUS, its mask, and what was blocked before");
        assert!(!is_blocked(SIGBUS) && !is_blocked(SIGUSR1) && !is_blocked(SIGHUP) && is_blocked(SIGUSR2));
        gives_enxio(region);
        assert_eq!(CALLS.get(), 1);

        // SAFETY: a signal that exists.
        unsafe { raise(SIGBUS) };
        assert_eq!((CALLS.get(), SEEN_CODE.get() as i32), (2, SI_TKILL), "a sent one too");
    });
}

#[test]
fn the_hosts_mask_and_nodefer_are_honoured() {
    in_own_process(the_hosts_mask_and_nodefer_are_honoured, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(mending as *const () as usize, SA_SIGINFO | SA_NODEFER, &[SIGUSR2]);
        let region = cut_short(&folder, "region");
        peek(foreign.page(0));
        assert_eq!((CALLS.get(), SEEN_MASK.get()), (1, 0b0100), "SIGUSR2 and nothing else");
        gives_enxio(region);
    });
}

#[test]
fn a_plain_host_handler_gets_foreign_faults() {
    in_own_process(a_plain_host_handler_gets_foreign_faults, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(plain as *const () as usize, 0, &[SIGHUP]);
        let region = cut_short(&folder, "region");
        MEND_AT.set(foreign.page(2).addr());
        poke(foreign.page(2), 9);
        assert_eq!((CALLS.get(), SEEN_MASK.get(), peek(foreign.page(2))), (1, 0b1001, 9));
        gives_enxio(region);
        assert_eq!(CALLS.get(), 1);
        MEND_AT.set(0);
        // SAFETY: a signal that exists.
        unsafe { raise(SIGBUS) };
        assert_eq!(CALLS.get(), 2);
    });
}

#[test]
fn under_the_default_action_every_foreign_sigbus_kills_with_sigbus() {
    in_own_process(under_the_default_action_every_foreign_sigbus_kills_with_sigbus, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(SIG_DFL, 0, &[]);
        let region = cut_short(&folder, "region");
        let view = region.view(0, 4 * page()).unwrap();
        lives(|| gives_enxio(region));
        lives(|| assert_eq!(peek(view), 0));
        dies_of_sigbus(|| touch(foreign.page(0)));
        dies_of_sigbus(|| poke(foreign.page(3), 1));
        dies_of_sigbus(|| {
            // Also after ours were handled, in accesses and in views.
            gives_enxio(region);
            poke(view, 1);
            peek(foreign.page(0));
        });
        let address = foreign.page(0).expose_provenance();
        dies_of_sigbus(|| {
            // On a thread that never called.
            let _ = std::thread::spawn(move || peek(ptr::with_exposed_provenance(address))).join();
        });
        region.release(view).unwrap();
    });
}

/// Has another process send SIGBUS to this one.
fn sent_by_another_process() {
    // SAFETY: it only asks.
    let target = unsafe { getpid() };
    // SAFETY: the child only sends a signal and ends.
    let child = unsafe { fork() };
    if child == 0 {
        // SAFETY: a signal that exists.
        unsafe { kill(target, SIGBUS) };
        // SAFETY: ends the child.
        unsafe { _exit(0) };
    }
    let mut status = 0;
    // SAFETY: the kernel fills the number. Hosts whose handlers do not restart calls see it interrupted.
    while unsafe { waitpid(child, &mut status, 0) } != child {}
    assert_eq!(status, 0);
}

#[test]
fn under_the_default_action_a_sent_sigbus_kills() {
    in_own_process(under_the_default_action_a_sent_sigbus_kills, || {
        let folder = Folder::new();
        install(SIG_DFL, 0, &[]);
        let region = cut_short(&folder, "region");
        dies_of_sigbus(unsafe_raise);
        dies_of_sigbus(sent_by_another_process);
        dies_of_sigbus(|| {
            gives_enxio(region);
            unsafe_raise();
        });
        let view = region.view(0, page()).unwrap();
        dies_of_sigbus(sent_by_another_process);
        dies_of_sigbus(|| {
            peek(view);
            sent_by_another_process();
        });
        dies_of_sigbus(|| {
            // A handler put over ours may have raised the first; nobody raises two for one fault.
            unsafe_raise();
            unsafe_raise();
        });
    });
}

#[test]
fn under_sig_ign_sent_signals_are_ignored_and_a_foreign_fault_kills() {
    in_own_process(under_sig_ign_sent_signals_are_ignored_and_a_foreign_fault_kills, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(SIG_IGN, 0, &[]);
        let region = cut_short(&folder, "region");
        lives(|| {
            for _ in 0..3 {
                unsafe_raise();
                sent_by_another_process();
            }
            gives_enxio(region);
        });
        dies_of_sigbus(|| touch(foreign.page(0)));
        dies_of_sigbus(|| {
            unsafe_raise();
            peek(foreign.page(0));
        });
    });
}

#[test]
fn an_ignored_signal_does_not_interrupt_a_system_call() {
    in_own_process(an_ignored_signal_does_not_interrupt_a_system_call, || {
        let folder = Folder::new();
        install(SIG_IGN, 0, &[]);
        let _region = cut_short(&folder, "region");
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        assert_eq!(unsafe { pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: it only asks.
        let target = unsafe { getpid() };
        // SAFETY: it only asks.
        let thread = unsafe { gettid() };
        // SAFETY: the child makes system calls only.
        let child = unsafe { fork() };
        if child == 0 {
            let stat = std::fs::File::open(format!("/proc/{target}/task/{thread}/stat"));
            let is_asleep = || {
                use std::os::unix::fs::FileExt;
                let mut text = [0; 200];
                let length = stat.as_ref().map_or(0, |stat| stat.read_at(&mut text, 0).unwrap_or(0));
                let after = text[..length].iter().rposition(|byte| *byte == b')').unwrap_or(0);
                text[after..length].starts_with(b") S")
            };
            let is_pending = || {
                let text = std::fs::read_to_string(format!("/proc/{target}/task/{thread}/status")).unwrap_or_default();
                !text.contains("SigPnd:\t0000000000000000")
            };
            // Not longer than the parent.
            // SAFETY: no memory is passed.
            unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
            watchdog();
            for _ in 0..3 {
                while !is_asleep() {
                    std::hint::spin_loop();
                }
                // SAFETY: a signal that exists.
                unsafe { syscall(SYS_tgkill, target, thread, SIGBUS) };
                while is_pending() {
                    std::hint::spin_loop();
                }
            }
            // SAFETY: one byte, then the end.
            unsafe { write(ends[1], b"x".as_ptr().cast(), 1) };
            // SAFETY: as above.
            unsafe { _exit(0) };
        }
        let mut byte = 0_u8;
        // SAFETY: room for one byte.
        let result = unsafe { read(ends[0], (&raw mut byte).cast(), 1) };
        let error = std::io::Error::last_os_error();
        assert_eq!((result, byte), (1, b'x'), "{error}");
        assert_eq!(process::wait_for(child), 0);
    });
}

#[test]
fn a_host_handler_for_one_signal_only_gets_one() {
    in_own_process(a_host_handler_for_one_signal_only_gets_one, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(mending as *const () as usize, SA_SIGINFO | SA_RESETHAND, &[]);
        let region = cut_short(&folder, "region");
        dies_of_sigbus(|| {
            peek(foreign.page(0));
            assert_eq!(CALLS.get(), 1);
            gives_enxio(region);
            peek(foreign.page(1));
        });
    });
}

extern "C" fn mending_once_more(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    mending(signal, info, context);
    install(mending_once_more as *const () as usize, SA_SIGINFO | SA_RESETHAND, &[]);
}

#[test]
fn a_host_handler_for_one_signal_that_installs_itself_again_gets_the_next() {
    in_own_process(a_host_handler_for_one_signal_that_installs_itself_again_gets_the_next, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(mending_once_more as *const () as usize, SA_SIGINFO | SA_RESETHAND, &[]);
        let region = cut_short(&folder, "region");
        lives(|| {
            for number in 0..4 {
                peek(foreign.page(number));
                assert_eq!(CALLS.get(), number + 1);
                arm();
                gives_enxio(region);
            }
        });
    });
}

#[test]
fn a_host_handler_installed_again_with_another_mask_is_called_with_that() {
    in_own_process(a_host_handler_installed_again_with_another_mask_is_called_with_that, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(mending as *const () as usize, SA_SIGINFO, &[]);
        let region = cut_short(&folder, "region");
        install(mending as *const () as usize, SA_SIGINFO, &[SIGHUP]);
        arm();
        gives_enxio(region);
        peek(foreign.page(0));
        assert_eq!(SEEN_MASK.get(), 0b1001);
    });
}
