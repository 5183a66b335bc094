//! The SIGBUS handler: when it is installed, whom it passes signals on to, and how it lives with others.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::c::{self, Token};
use common::process::{forked, in_own_process, watchdog};
use common::*;
use faults::*;
use libc::*;
use mapshare::ffi::library::mapshare_arm;
use std::ptr;

const RW: u32 = MAPSHARE_READ_WRITE;

/// A region whose file has been cut to nothing, so that every access to it faults.
fn cut_short(folder: &Folder, name: &str) -> Token {
    let path = folder.join(name);
    let token = c::open(&path, &create(4 * page())).unwrap();
    files::set_length(&path, 0);
    token
}

/// A guarded access that faults is a code.
#[track_caller]
fn gives_enxio(region: Token) {
    let mut bytes = [0xEE; 100];
    failed_at(region.read(5000, &mut bytes), ENXIO, 5000, 0, 100);
    assert_eq!(bytes, [0xEE; 100]);
}

/// The child dies of SIGBUS.
#[track_caller]
fn dies_of_sigbus(body: impl FnOnce()) {
    let ended = forked(|| {
        body();
        77
    });
    assert_eq!(ended, -SIGBUS, "77: it lived; else: another signal or exit code");
}

#[track_caller]
fn lives(body: impl FnOnce()) {
    let ended = forked(|| {
        body();
        77
    });
    assert_eq!(ended, 77, "101: an assertion in the child, see above; negative: the signal that killed it");
}

fn arm() {
    assert_eq!(mapshare_arm(), 0);
}

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

// ---- installing

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

// ---- passing on: what was there before

static CALLS: Counter = Counter::new();
static SEEN_ADDRESS: Counter = Counter::new();
static SEEN_CODE: Counter = Counter::new();
static SEEN_PC: Counter = Counter::new();
static SEEN_MASK: Counter = Counter::new();
static SEEN_STACK: Counter = Counter::new();

fn note_mask() {
    let bits = [SIGBUS, SIGUSR1, SIGUSR2, SIGHUP].map(is_blocked);
    SEEN_MASK.set(bits.iter().enumerate().map(|(bit, set)| usize::from(*set) << bit).sum());
}

extern "C" fn mending(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
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

fn touch(address: *const u8) {
    peek(address);
}

fn unsafe_raise() {
    // SAFETY: a signal that exists.
    unsafe { raise(SIGBUS) };
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

// ---- hosts that come later

static BELOW: Counter = Counter::new();
static CHAINED: Counter = Counter::new();

/// Passes every signal on to the handler that it was put over.
extern "C" fn chaining(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    assert!(CHAINED.add() < 1000, "endless recursion");
    call(BELOW.get(), signal, info, context);
}

#[test]
fn a_host_over_ours_that_chains_leaves_guarded_accesses_guarded() {
    in_own_process(a_host_over_ours_that_chains_leaves_guarded_accesses_guarded, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(SIG_DFL, 0, &[]);
        let region = cut_short(&folder, "region");
        BELOW.set(install_handler(chaining, 0).sa_sigaction);
        gives_enxio(region);
        assert_ne!(CHAINED.get(), 0, "by way of the host");
        dies_of_sigbus(|| touch(foreign.page(0)));
        dies_of_sigbus(unsafe_raise);
        for _ in 0..3 {
            arm();
            let again = cut_short(&folder, "again");
            CHAINED.set(0);
            gives_enxio(region);
            gives_enxio(again);
            assert_eq!(CHAINED.get(), 0, "ours is on top again");
            again.unmap().unwrap();
            dies_of_sigbus(|| touch(foreign.page(0)));
            dies_of_sigbus(unsafe_raise);
        }
    });
}

#[test]
fn between_two_host_handlers_each_gets_a_foreign_fault_once() {
    in_own_process(between_two_host_handlers_each_gets_a_foreign_fault_once, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install_handler(mending, 0);
        let region = cut_short(&folder, "region");
        let ours = install_handler(chaining, 0).sa_sigaction;
        BELOW.set(ours);
        for round in 0..4 {
            peek(foreign.page(round));
            assert_eq!((CHAINED.get(), CALLS.get()), (round + 1, round + 1), "round {round}");
            assert_eq!(peek(foreign.page(round)), 0);
            arm();
            assert_eq!(disposition().0, ours);
        }
        unsafe_raise();
        assert_eq!((CHAINED.get(), CALLS.get()), (5, 5));
        gives_enxio(region);
        assert_eq!((CHAINED.get(), CALLS.get()), (5, 5));
        // The upper one again over ours, without arming; then the lower one over all.
        foreign.break_again(&folder);
        install_handler(chaining, 0);
        gives_enxio(region);
        assert!(CHAINED.get() > 5 && CALLS.get() == 5);
        CHAINED.set(0);
        peek(foreign.page(0));
        assert_eq!((CHAINED.get(), CALLS.get()), (1, 6));
        install_handler(mending, 0);
        arm();
        peek(foreign.page(1));
        assert_eq!((CHAINED.get(), CALLS.get()), (1, 7));
        gives_enxio(region);
    });
}

#[test]
fn a_host_over_ours_that_does_not_chain_is_put_below_by_arm_and_by_every_open() {
    in_own_process(a_host_over_ours_that_does_not_chain_is_put_below_by_arm_and_by_every_open, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install(SIG_DFL, 0, &[]);
        let region = cut_short(&folder, "region");
        let (ours, _) = disposition();
        for by_open in [false, true, false] {
            install_handler(mending, 0);
            if by_open {
                // What touches no signal, touches none.
                let quiet = mapshare_options { flags: MAPSHARE_NO_HANDLER, ..with(RW) };
                c::open(&folder.file("other", 100), &quiet).unwrap().unmap().unwrap();
                assert_eq!(disposition().0, mending as *const () as usize);
                c::open(&folder.file("other", 100), &with(RW)).unwrap().unmap().unwrap();
            } else {
                arm();
            }
            assert_eq!(disposition().0, ours);
            let before = CALLS.get();
            gives_enxio(region);
            assert_eq!(CALLS.get(), before);
            foreign.break_again(&folder);
            peek(foreign.page(0));
            assert_eq!(CALLS.get(), before + 1);
        }
    });
}

extern "C" fn numbered<const N: usize>(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    mending(signal, info, context);
    SEEN_CODE.set(N);
}

#[test]
fn a_host_that_goes_through_many_handlers_has_its_signals_passed_on() {
    in_own_process(a_host_that_goes_through_many_handlers_has_its_signals_passed_on, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        let region = cut_short(&folder, "region");
        macro_rules! handlers { ($($number:literal)*) => { [$(numbered::<$number> as Handler),*] } }
        let handlers = handlers!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27);
        for round in 0..3 {
            for (number, handler) in handlers.into_iter().enumerate() {
                install_handler(handler, 0);
                arm();
                foreign.break_again(&folder);
                peek(foreign.page(0));
                assert_eq!(SEEN_CODE.get(), number, "round {round}");
                gives_enxio(region);
            }
        }
    });
}

/// As Python's faulthandler: puts back what it found, and raises the signal again.
extern "C" fn stepping_aside(signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {
    assert!(CHAINED.add() < 1000, "endless");
    install(BELOW.get(), SA_SIGINFO | SA_ONSTACK | SA_NODEFER, &[]);
    // SAFETY: a signal that exists.
    unsafe { raise(signal) };
}

#[test]
fn a_host_that_steps_aside_and_raises_again_costs_no_fault_of_ours() {
    in_own_process(a_host_that_steps_aside_and_raises_again_costs_no_fault_of_ours, || {
        alternate_stack(64 << 10); // the one of Rust's threads has no room for two deliveries
        let folder = Folder::new();
        install(SIG_DFL, 0, &[]);
        let region = cut_short(&folder, "region");
        for round in 1..4 {
            BELOW.set(install_handler(stepping_aside, SA_NODEFER | SA_ONSTACK).sa_sigaction);
            gives_enxio(region);
            assert_eq!(CHAINED.get(), 2 * round - 1);
            BELOW.set(install_handler(stepping_aside, SA_NODEFER | SA_ONSTACK).sa_sigaction);
            let view = region.view(0, page()).unwrap();
            assert_eq!(peek(view), 0);
            assert_eq!(CHAINED.get(), 2 * round);
            refused(region.release(view), ENXIO, &[]);
            region.refresh().unwrap();
            assert_eq!(region.length().unwrap(), 0);
            files::set_length(&folder.join("region"), 4 * page());
            region.refresh().unwrap();
            files::set_length(&folder.join("region"), 0);
        }
    });
}

#[test]
fn a_foreign_fault_kills_also_by_way_of_a_host_that_steps_aside() {
    in_own_process(a_foreign_fault_kills_also_by_way_of_a_host_that_steps_aside, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        for with_view in [false, true] {
            for rearmed in [false, true] {
                for flags in [SA_NODEFER, 0] {
                    eprintln!("with a view out: {with_view}; re-armed: {rearmed}; flags {flags:#x}");
                    dies_of_sigbus(|| {
                        alternate_stack(64 << 10); // the one of Rust's threads has no room for two deliveries
                        install(SIG_DFL, 0, &[]);
                        let region = cut_short(&folder, "region");
                        BELOW.set(install_handler(stepping_aside, flags).sa_sigaction);
                        if rearmed {
                            arm();
                        }
                        if with_view {
                            region.view(0, 100).unwrap();
                        }
                        peek(foreign.page(0));
                    });
                }
            }
        }
    });
}

// ---- where and when faults come

/// An alternate stack for this thread; the bytes of it.
fn alternate_stack(length: usize) -> &'static [u8] {
    let stack = Box::leak(vec![0xA5_u8; length].into_boxed_slice());
    let description = stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: length };
    // SAFETY: the stack is never freed.
    assert_eq!(unsafe { sigaltstack(&description, ptr::null_mut()) }, 0);
    stack
}

fn used(stack: &[u8]) -> bool {
    stack.iter().any(|byte| peek(byte) != 0xA5)
}

#[test]
fn faults_are_handled_on_the_alternate_stack_where_there_is_one() {
    in_own_process(faults_are_handled_on_the_alternate_stack_where_there_is_one, || {
        let folder = Folder::new();
        let foreign = Foreign::new(&folder);
        install_handler(mending, SA_ONSTACK);
        let region = cut_short(&folder, "region");
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let stack = alternate_stack(256 << 10);
                    assert!(!used(stack));
                    gives_enxio(region);
                    assert!(used(stack), "the handler ran there");
                    let view = region.view(0, page()).unwrap();
                    assert_eq!(peek(view), 0);
                    refused(region.release(view), ENXIO, &[]);
                    peek(std::hint::black_box(&foreign).page(0));
                    assert!(stack.as_ptr_range().contains(&ptr::without_provenance(SEEN_STACK.get())));
                    let none = stack_t { ss_sp: ptr::null_mut(), ss_flags: SS_DISABLE, ss_size: 0 };
                    // SAFETY: leaves the stack, which is never freed.
                    assert_eq!(unsafe { sigaltstack(&none, ptr::null_mut()) }, 0);
                    gives_enxio(region);
                })
                .join()
                .unwrap()
        });
    });
}

#[test]
fn many_threads_fault_at_once_and_each_gets_its_own_code() {
    in_own_process(many_threads_fault_at_once_and_each_gets_its_own_code, || {
        let folder = Folder::new();
        let page = page();
        let path = folder.join("file");
        let region = c::open(&path, &create(16 * page)).unwrap();
        let bytes = pattern(16 * page as usize, 3);
        region.write(0, &bytes).unwrap();
        files::set_length(&path, 8 * page);
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let bytes = &bytes;
                scope.spawn(move || {
                    for round in 0..300 {
                        let start = thread * 37 + round % 5 * page;
                        let done = 8 * page - start;
                        let mut read = vec![0; 10 * page as usize];
                        failed_at(region.read(start, &mut read), ENXIO, 8 * page, done, 10 * page);
                        assert!(read[..done as usize] == bytes[start as usize..][..done as usize]);
                        let at = (8 + round % 8) * page + thread;
                        failed_at(region.fill(at, 9, 1), ENXIO, at, 0, 9);
                        if round % 10 == 0 {
                            let view = region.view(0, 16 * page).unwrap();
                            assert_eq!(peek(view), bytes[0]);
                            region.release(view).unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(region.info().unwrap().faults, 8 * 300 * 2);
    });
}

static IN_CALL: [Counter; 3] = [const { Counter::new() }; 3];
static INTERRUPTIONS: Counter = Counter::new();
/// What went wrong in the handler, where a panic would be swallowed as one of the library's own.
static WRONG: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

/// Interrupts a call in its middle: the caller's buffer is not there yet. Calls in itself, then brings the buffer.
extern "C" fn calling_in(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel's, as long as the handler runs.
    let info = unsafe { &*info };
    // SAFETY: a fault has an address.
    let address = unsafe { info.si_addr() }.addr();
    let [outer, cut, whole] = [0, 1, 2].map(|index: usize| Token(IN_CALL[index].get() as u64));
    INTERRUPTIONS.add();
    let mut byte = [0];
    for (what, outcome, expected) in [
        ("read of a file cut short", cut.read(3, &mut byte), ENXIO),
        ("fill of a file cut short", cut.fill(0, 1, 1), ENXIO),
        ("read of another region", whole.read(3, &mut byte), 0),
        ("read of the region in use", outer.read(3, &mut byte), 0),
        ("unmap of the region in use", outer.unmap(), EBUSY),
        ("shrinking the region in use", outer.resize(100), EBUSY),
        ("protecting the region in use", outer.protect(MAPSHARE_READ_ONLY), EBUSY),
    ] {
        if code(outcome.clone()) != expected {
            WRONG.lock().unwrap().push(format!("{what}: {outcome:?} instead of {expected}"));
        }
    }
    mend(address);
}

#[test]
fn a_handler_that_interrupted_a_call_may_call_fault_and_not_unmap() {
    in_own_process(a_handler_that_interrupted_a_call_may_call_fault_and_not_unmap, || {
        let folder = Folder::new();
        let (page, length) = (page(), 64 * page());
        let outer = c::open(&folder.join("outer"), &create(length)).unwrap();
        let cut = cut_short(&folder, "cut");
        let whole = c::open(&folder.join("whole"), &create(length)).unwrap();
        for (index, token) in [outer, cut, whole].into_iter().enumerate() {
            IN_CALL[index].set(token.0 as usize);
        }
        // SAFETY: all zeros is a sigaction.
        let mut action: sigaction = unsafe { std::mem::zeroed() };
        (action.sa_sigaction, action.sa_flags) = (calling_in as *const () as usize, SA_SIGINFO);
        // SAFETY: a handler of that kind.
        assert_eq!(unsafe { sigaction(SIGSEGV, &action, ptr::null_mut()) }, 0);
        let flags = MAP_PRIVATE | MAP_ANONYMOUS;
        for round in 1..=20 {
            // SAFETY: a new mapping.
            let buffer = unsafe { mmap(ptr::null_mut(), page as usize, PROT_NONE, flags, -1, 0) }.cast::<u8>();
            outer.fill(0, length, round).unwrap();
            let at = u64::from(round);
            if round % 2 == 0 {
                outer.read_raw(at, buffer, page as usize).unwrap();
                // SAFETY: the handler has brought the page.
                let read = unsafe { std::slice::from_raw_parts(buffer, page as usize) };
                assert!(read.iter().all(|byte| *byte == round as u8));
            } else {
                outer.write_raw(at, buffer, page as usize).unwrap();
                let mut read = vec![1; page as usize];
                outer.read(at, &mut read).unwrap();
                assert!(read.iter().all(|byte| *byte == 0), "what the handler brought are zeros");
            }
            assert_eq!(INTERRUPTIONS.get(), round as usize);
            assert_eq!(*WRONG.lock().unwrap(), [""; 0]);
        }
        for token in [outer, cut, whole] {
            token.unmap().unwrap();
        }
    });
}

#[test]
fn a_child_handles_its_faults_and_the_parent_its_own() {
    in_own_process(a_child_handles_its_faults_and_the_parent_its_own, || {
        let folder = Folder::new();
        let page = page();
        let foreign = Foreign::new(&folder);
        install(SIG_DFL, 0, &[]);
        let path = folder.join("file");
        let region = c::open(&path, &create(4 * page)).unwrap();
        let view = region.view(0, 4 * page).unwrap();
        region.fill(0, 4 * page, 7).unwrap();
        lives(|| {
            files::set_length(&path, page);
            failed_at(region.read(0, &mut vec![0; 2 * page as usize]), ENXIO, page, page, 2 * page);
            assert_eq!((peek(view), peek(view.wrapping_add(2 * page as usize))), (7, 0));
            refused(region.release(view), ENXIO, &[]);
            lives(|| refused(region.fill(2 * page, 1, 0), ENXIO, &[]));
            region.unmap().unwrap();
        });
        dies_of_sigbus(|| touch(foreign.page(1)));
        // The parent's view has lost nothing, until it touches it.
        assert_eq!(region.info().unwrap().faults, 0);
        assert_eq!(peek(view.wrapping_add(3 * page as usize)), 0);
        refused(region.release(view), ENXIO, &[]);
        assert_eq!(region.info().unwrap().faults, 1);
        region.unmap().unwrap();
    });
}

#[test]
fn a_thread_that_has_sigbus_blocked_gets_codes() {
    in_own_process(a_thread_that_has_sigbus_blocked_gets_codes, || {
        let folder = Folder::new();
        let page = page();
        let path = folder.join("file");
        let region = c::open(&path, &create(8 * page)).unwrap();
        let other = c::open(&folder.join("other"), &create(8 * page)).unwrap();
        let bytes = pattern(8 * page as usize, 5);
        region.write(0, &bytes).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                block(SIGBUS, SIG_BLOCK);
                let mut read = vec![0; 8 * page as usize];
                region.read(0, &mut read).unwrap();
                assert!(read == bytes);
                files::set_length(&path, 4 * page);
                failed_at(region.read(77, &mut read), ERANGE, 77, 8 * page, 8 * page);
                failed_at(region.read(77, &mut read[..5 * page as usize]), ENXIO, 4 * page, 4 * page - 77, 5 * page);
                assert!(read[..4 * page as usize - 77] == bytes[77..4 * page as usize]);
                failed_at(region.write(page, &bytes[..4 * page as usize]), ENXIO, 4 * page, 3 * page, 4 * page);
                failed_at(region.fill(4 * page, 1, 1), ENXIO, 4 * page, 0, 1);
                failed_at(other.copy_from(0, region, page, 5 * page), ENXIO, 4 * page, 3 * page, 5 * page);
                // Downwards, upwards: inside one file.
                failed_at(region.copy_from(0, region, 2 * page, 4 * page), ENXIO, 4 * page, 2 * page, 4 * page);
                failed_at(region.copy_from(2 * page, region, 0, 4 * page), ENXIO, 6 * page - 1, 0, 4 * page);
                assert!(is_blocked(SIGBUS));
            });
        });
        gives_enxio_at(region, 4 * page);
    });
}

#[track_caller]
fn gives_enxio_at(region: Token, offset: u64) {
    failed_at(region.read(offset, &mut [0; 8]), ENXIO, offset, 0, 8);
}

/// How many rounds of forking.
const FORKS: usize = 300;

#[test]
fn a_child_is_not_held_up_by_what_other_threads_were_doing() {
    in_own_process(a_child_is_not_held_up_by_what_other_threads_were_doing, || {
        let folder = Folder::new();
        let page = page();
        let path = folder.join("file");
        let region = c::open(&path, &mapshare_options { reserve: 64 * page, ..create(4 * page) }).unwrap();
        let stop = Counter::new();
        std::thread::scope(|scope| {
            for thread in 0..3_u64 {
                let (stop, path) = (&stop, &path);
                scope.spawn(move || {
                    while stop.get() == 0 {
                        if thread == 0 {
                            region.resize(4 * page + 1).unwrap();
                            region.refresh().unwrap();
                        } else if thread == 1 {
                            let view = region.view(0, 10).unwrap();
                            region.release(view).unwrap();
                        } else {
                            c::open(path, &with(RW)).unwrap().unmap().unwrap();
                        }
                    }
                });
            }
            for round in 0..FORKS {
                // SAFETY: what the child does is what this test is about; it is killed by its alarm if it hangs.
                let child = unsafe { fork() };
                if child == 0 {
                    // SAFETY: no memory is passed.
                    unsafe { alarm(5) };
                    let good = (|| {
                        let view = region.view(1, 10)?;
                        region.release(view)?;
                        region.refresh()?;
                        region.resize(4 * page + 1)?;
                        region.write(0, b"child")?;
                        match region.unmap() {
                            // A view that another thread had out is out here too.
                            Err(busy) if busy.code == EBUSY => {}
                            result => result?,
                        }
                        c::open(&path, &with(RW))?.unmap()
                    })();
                    if let Err(failure) = &good {
                        eprintln!("in the child: {failure:?}");
                    }
                    // SAFETY: ends the child.
                    unsafe { _exit(i32::from(good.is_err())) };
                }
                let ended = process::wait_for(child);
                if ended != 0 {
                    stop.set(1);
                }
                assert_eq!(ended, 0, "fork {round}; -14: the child hung");
            }
            stop.set(1);
        });
        watchdog();
    });
}
