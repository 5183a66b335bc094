//! Hosts that install a handler of their own over the SIGBUS handler: that chain, that do not, that step aside.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;
#[path = "common/hosts.rs"]
mod hosts;

use common::c;
use common::process::in_own_process;
use common::*;
use faults::*;
use hosts::*;
use libc::*;

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
