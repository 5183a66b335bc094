//! Nobody waits for a lock for long because others are faster.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::forks::Forked;
use common::process::eventually;
use common::words::Do;
use common::*;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const AT: u64 = 64;
const LONGEST_WAIT: u64 = 1024;
const STOP: u64 = 2048;

/// Takes the lock over and over and gives nobody a chance outside of it; the longest wait, in nanoseconds, and how often.
fn contend(region: &Opened, timeout_ns: i64) -> (u64, u64) {
    let (mut longest, mut times) = (Duration::ZERO, 0);
    let mut begun = Instant::now();
    while region.atomic(STOP, Do::<u64>::Load).unwrap() == 0 {
        match region.lock(AT, timeout_ns) {
            Ok(died) => assert!(!died),
            Err(failure) => {
                assert_eq!(failure.code, libc::ETIMEDOUT, "{failure:?}");
                continue;
            }
        }
        longest = longest.max(begun.elapsed());
        times += 1;
        for _ in 0..100 {
            region.atomic(3072, Do::<u64>::Add(1)).unwrap();
        }
        region.unlock(AT).unwrap();
        begun = Instant::now();
    }
    (longest.max(begun.elapsed()).as_nanos() as u64, times)
}

fn eight_contend(timeouts_ns: [i64; 8]) {
    let folder = Folder::new();
    let region = Door::C.open(folder.join("file"), &common::create(4096)).unwrap();
    region.init_mutex(AT).unwrap();
    let contender = |(number, timeout_ns)| {
        let region = &region;
        Forked::start(move |mut parent| {
            parent.tell(1);
            parent.listen();
            let (longest, times) = contend(region, timeout_ns);
            region.write(LONGEST_WAIT + number * 16, &[longest.to_ne_bytes(), times.to_ne_bytes()].concat()).unwrap();
            0
        })
    };
    let mut contenders: Vec<_> = (0u64..8).zip(timeouts_ns).map(contender).collect();
    for contender in &mut contenders {
        contender.hear();
    }
    contenders.iter_mut().for_each(|contender| contender.say(1));
    // How long they contend: what is measured is the waits.
    std::thread::sleep(Duration::from_secs(4));
    region.atomic(STOP, Do::Store(1u64)).unwrap();
    assert_eq!(contenders.into_iter().map(Forked::end).collect::<Vec<_>>(), [0; 8]);
    let number = |at| u64::from_ne_bytes(region.bytes(at, 8).try_into().unwrap());
    let results: Vec<_> =
        (0..8).map(|of| (number(LONGEST_WAIT + of * 16) / 1_000_000, number(LONGEST_WAIT + of * 16 + 8))).collect();
    for (&(longest_ms, times), timeout) in results.iter().zip(timeouts_ns) {
        // Who gives up does not wait.
        assert!(timeout >= 0 || longest_ms < 1000 && times > 0, "longest wait in ms, and times: {results:?}");
    }
}

#[test]
fn no_one_of_eight_processes_waits_for_a_second() {
    in_own_process(no_one_of_eight_processes_waits_for_a_second, || eight_contend([-1; 8]));
}

#[test]
fn those_that_only_try_do_not_keep_a_waiter_out() {
    let test = those_that_only_try_do_not_keep_a_waiter_out;
    in_own_process(test, || eight_contend([0, -1, 0, 1_000_000, 0, 0, -1, 0]));
}

/// Whether the lock says since when somebody has waited who has waited long.
fn is_promised(region: &Opened) -> bool {
    region.atomic(AT + 32, Do::<u64>::Load).unwrap() != 0
}

#[test]
fn who_frees_a_lock_does_not_get_it_again_before_one_who_has_waited_long() {
    const ROUNDS: usize = 20;
    for door in DOORS {
        let folder = Folder::new();
        let region = door.open(folder.join("file"), &common::create(4096)).unwrap();
        region.init_mutex(AT).unwrap();
        let mut in_order = 0;
        for _ in 0..ROUNDS {
            let got_it = Mutex::new(Vec::new());
            region.lock(AT, -1).unwrap();
            std::thread::scope(|scope| {
                let wait = |number| {
                    assert_eq!(region.lock(AT, -1), Ok(false));
                    got_it.lock().unwrap().push(number);
                    region.unlock(AT).unwrap();
                };
                scope.spawn(move || wait(1));
                eventually("somebody has waited long", || is_promised(&region));
                scope.spawn(move || wait(2));
                std::thread::yield_now();
                region.unlock(AT).unwrap();
                region.lock(AT, -1).unwrap();
                got_it.lock().unwrap().push(3);
                region.unlock(AT).unwrap();
            });
            in_order += usize::from(got_it.into_inner().unwrap()[0] == 1);
        }
        // Where the first one does not come to run for some milliseconds, it may be another's turn.
        assert!(in_order > ROUNDS / 2, "{in_order} of {ROUNDS}");
    }
}

#[test]
fn a_lock_that_is_kept_for_one_who_is_dead_is_anybodys_soon() {
    let test = a_lock_that_is_kept_for_one_who_is_dead_is_anybodys_soon;
    in_own_process(test, || {
        for door in DOORS {
            let folder = Folder::new();
            let region = door.open(folder.join("file"), &common::create(4096)).unwrap();
            region.init_mutex(AT).unwrap();
            region.lock(AT, -1).unwrap();
            let waiter = Forked::start(|_| region.lock(AT, -1).is_ok().into());
            eventually("it has waited long", || is_promised(&region));
            waiter.kill();
            assert!(is_promised(&region));
            region.unlock(AT).unwrap();
            eventually("one that only tries has it", || region.lock(AT, 0) == Ok(false));
            assert!(!is_promised(&region), "the next ones are not kept waiting");
            region.unlock(AT).unwrap();
            assert_eq!(region.lock(AT, 0), Ok(false));
            region.unlock(AT).unwrap();
        }
    });
}
