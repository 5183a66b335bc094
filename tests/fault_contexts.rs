//! Where and when faults come: on alternate stacks, many threads, in the middle of calls, in children, with SIGBUS blocked.

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
