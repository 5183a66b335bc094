//! Sleeping on words and waking: nobody is missed, nobody sleeps for ever, and a sleeper holds nobody up.

mod common;

use common::process::{Partner, StopAtEnd, eventually, listen, role, tell, watchdog};
use common::words::Do;
use common::*;
use libc::*;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const FOR_EVER: i64 = -1;
/// Longer than anything here takes; a sleeper that nobody wakes fails its test instead of holding it up.
const LONG: i64 = 20_000_000_000;
const AT: u64 = 4096 + 8;

fn open(door: Door, folder: &Folder) -> Opened {
    door.open(folder.join("file"), &common::create(8192)).expect("good")
}

#[test]
fn a_number_that_differs_ends_the_wait_at_once_and_time_passes_otherwise() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        for timeout in [0, 1, FOR_EVER, i64::MAX, i64::MIN] {
            assert_eq!(region.wait(AT, 7, timeout), Ok(()));
        }
        refused(region.wait(AT, 0, 0), ETIMEDOUT, &["the time given had passed"]);
        let began = Instant::now();
        refused(region.wait(AT, 0, 30_000_000), ETIMEDOUT, &[]);
        assert!(began.elapsed() >= Duration::from_millis(30), "it waits for all of it");
        assert_eq!(region.wake(AT, u32::MAX), Ok(0));
    }
}

#[test]
fn what_cannot_be_waited_on_is_a_code() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        for offset in [1, 2, 3, 4097, u64::MAX] {
            refused(region.wait(offset, 0, 0), EINVAL, &["multiple of 4"]);
            refused(region.wake(offset, 1), EINVAL, &["multiple of 4"]);
        }
        for offset in [8192, 1 << 40, u64::MAX - 3] {
            refused(region.wait(offset, 0, 0), ERANGE, &["8192 bytes long"]);
            refused(region.wake(offset, 1), ERANGE, &["8192 bytes long"]);
        }
        let private = door.open(folder.join("file"), &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
        refused(private.wait(0, 1, 0), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        refused(private.wake(0, 1), EINVAL, &["MAPSHARE_COPY_ON_WRITE"]);
        File::options().write(true).open(folder.join("file")).unwrap().set_len(4096).unwrap();
        refused(region.wait(AT, 0, FOR_EVER), ENXIO, &["cut short"]);
        refused(region.wake(AT, 1), ENXIO, &["cut short"]);
        refused(region.wake(AT, 0), ENXIO, &["cut short"]);
    }
}

/// The partner has the second page alone mapped, for reading only.
#[test]
fn processes_meet_on_a_word_at_other_addresses_and_offsets() {
    if let Some(path) = role() {
        watchdog();
        let options = mapshare_options { offset: 4096, ..with(MAPSHARE_READ_ONLY) };
        let region = Door::C.open(&path, &options).unwrap();
        for round in 0..100 {
            tell("sleeping");
            while region.atomic(8, Do::<u32>::Load) == Ok(round) {
                region.wait(8, round, LONG).unwrap();
            }
        }
        tell("woken");
        listen();
        return;
    }
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        let path = folder.join("file");
        let mut partner =
            Partner::start(processes_meet_on_a_word_at_other_addresses_and_offsets, path.to_str().unwrap());
        let mut woken = 0;
        for round in 0..100 {
            partner.hears("sleeping");
            if round % 2 == 0 {
                // Once it is found asleep its sleep is ended; it then looks, finds the old number and sleeps again.
                eventually("it sleeps", || region.wake(AT, 1).unwrap() == 1);
                woken += 1;
            }
            assert_eq!(region.atomic(AT, Do::Add(1u32)), Ok(round));
            region.wake(AT, 1).unwrap();
        }
        partner.hears("woken");
        assert_eq!(woken, 50);
        partner.finish();
    }
}

#[test]
fn as_many_wake_as_were_asked_for() {
    const SLEEPERS: u32 = 4;
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        let returned = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..SLEEPERS {
                scope.spawn(|| {
                    region.wait(AT, 0, LONG).unwrap();
                    returned.fetch_add(1, Relaxed);
                });
            }
            for woken in 1..SLEEPERS {
                eventually("another one sleeps", || region.wake(AT, 1).unwrap() == 1);
                eventually("it returns", || returned.load(Relaxed) == woken.into());
            }
            assert_eq!(region.wake(AT, 0), Ok(0));
            assert_eq!(region.wake(AT + 4, u32::MAX), Ok(0), "on another word");
            eventually("the last one sleeps", || region.wake(AT, u32::MAX).unwrap() == 1);
        });
    }
}

/// As a waker that was killed between its store and its wake leaves things.
#[test]
fn a_change_without_a_wake_is_noticed() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| region.wait(AT, 0, LONG));
            eventually("it sleeps", || is_asleep(&region));
            region.atomic(AT, Do::Store(1u32)).unwrap();
            assert_eq!(sleeper.join().unwrap(), Ok(()));
        });
    }
}

/// Whether somebody of this process sleeps: then what needs the region alone is refused.
fn is_asleep(region: &Opened) -> bool {
    match region {
        Opened::C { token, .. } => code(token.protect(MAPSHARE_READ_WRITE)) == EBUSY,
        Opened::Rust { .. } => {
            // Rust borrows the region instead: that it sleeps shows by what the kernel says of its threads.
            std::fs::read_dir("/proc/self/task").expect("good").any(|task| {
                let call = std::fs::read_to_string(task.expect("good").path().join("syscall")).unwrap_or_default();
                let arguments: Vec<_> = call.split(' ').collect();
                arguments.first() == Some(&SYS_futex.to_string().as_str()) && arguments.get(2) == Some(&"0x9")
            })
        }
    }
}

#[test]
fn a_file_cut_short_under_a_sleeper_ends_its_sleep() {
    for door in DOORS {
        let folder = Folder::new();
        let region = open(door, &folder);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| region.wait(AT, 0, LONG));
            eventually("it sleeps", || is_asleep(&region));
            File::options().write(true).open(folder.join("file")).unwrap().set_len(4096).unwrap();
            refused(sleeper.join().unwrap(), ENXIO, &["cut short"]);
        });
    }
}

#[test]
fn while_a_call_sleeps_in_a_region_what_needs_it_alone_is_refused_at_once() {
    in_own_process(while_a_call_sleeps_in_a_region_what_needs_it_alone_is_refused_at_once, || {
        let folder = Folder::new();
        let region = open(Door::C, &folder);
        let token = region.token();
        thread::scope(|scope| {
            let sleeper = scope.spawn(move || token.wait(AT, 0, LONG));
            eventually("it sleeps", || is_asleep(&region));
            for _ in 0..1000 {
                refused(token.unmap(), EBUSY, &["sleeps in it"]);
                refused(token.protect(MAPSHARE_READ_ONLY), EBUSY, &["sleeps in it"]);
                refused(token.resize(4096), EBUSY, &["sleeps in it"]);
                refused(token.resize(1 << 30), EBUSY, &["sleeps in it"]);
            }
            assert_eq!(code(token.write(AT, &[1])), 0, "others go on");
            token.wake(AT, 1).unwrap();
            assert_eq!(sleeper.join().unwrap(), Ok(()));
            token.resize(4096).unwrap();
            token.unmap().unwrap();
        });
    });
}

extern "C" fn do_nothing(_signal: i32) {}

#[test]
fn a_signal_handler_ends_the_wait_even_one_that_restarts_calls() {
    in_own_process(a_signal_handler_ends_the_wait_even_one_that_restarts_calls, || {
        for flags in [0, SA_RESTART] {
            // SAFETY: all zeros is an action.
            let mut action: sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = do_nothing as *const () as usize;
            action.sa_flags = flags;
            // SAFETY: a handler that does nothing.
            assert_eq!(unsafe { sigaction(SIGUSR1, &action, std::ptr::null_mut()) }, 0);
            for door in DOORS {
                let folder = Folder::new();
                let region = open(door, &folder);
                let (over, this) = (AtomicBool::new(false), AtomicU64::new(0));
                thread::scope(|scope| {
                    let sleeper = scope.spawn(|| {
                        let _over = StopAtEnd(&over);
                        // SAFETY: it only asks.
                        this.store(unsafe { pthread_self() }, Relaxed);
                        region.wait(AT, 0, LONG)
                    });
                    eventually("the wait is over", || {
                        let thread = this.load(Relaxed);
                        if thread != 0 && !over.load(Relaxed) {
                            // SAFETY: the thread has not been joined.
                            unsafe { pthread_kill(thread, SIGUSR1) };
                        }
                        over.load(Relaxed)
                    });
                    refused(sleeper.join().unwrap(), EINTR, &["signal handler", "call again"]);
                });
            }
        }
    });
}
