//! A process that is killed at any instruction of any operation on a lock leaves it to the others, at once.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::kills::{A_LOOK, AT_ONCE, Sleeper, Told};
use common::process::eventually;
use common::steps::{Late, kill_at_every_instruction};
use common::*;
use std::time::Instant;

const AT: u64 = 64;
const LONG: i64 = 20_000_000_000;

fn open(folder: &Folder) -> Opened {
    let region = Door::C.open(folder.join("file"), &common::create(4096)).unwrap();
    region.init_mutex(AT).unwrap();
    region.lock(AT, 0).unwrap();
    region.unlock(AT).unwrap();
    region
}

/// A survivor does each operation; whether it was told of a death.
fn survive(region: &Opened) -> bool {
    let died = region.lock(AT, AT_ONCE.as_nanos() as i64).expect("never stuck");
    if died {
        region.recover(AT).unwrap();
    }
    region.unlock(AT).unwrap();
    assert_eq!(region.lock(AT, 0), Ok(false));
    region.unlock(AT).unwrap();
    died
}

/// Kills at every instruction; with what was told, there may be a change once.
fn killed<T>(name: &str, region: &Opened, prepare: impl Fn() -> T, operation: impl Fn(&T), (from, to): (bool, bool)) {
    let mut told = Told::default();
    let places = kill_at_every_instruction(prepare, operation, || {}, |place| told.add(place, survive(region)));
    assert!(places > 50, "{name}: {places} instructions");
    println!("{name}: {places} places");
    told.changed_once(from, to);
}

#[test]
fn killed_in_lock() {
    in_own_process(killed_in_lock, || {
        let folder = Folder::new();
        let region = open(&folder);
        let warm = || {
            region.lock(AT, LONG).unwrap();
            region.unlock(AT).unwrap();
        };
        killed("lock", &region, warm, |()| drop(region.lock(AT, LONG)), (false, true));
    });
}

#[test]
fn killed_in_a_processs_first_lock() {
    in_own_process(killed_in_a_processs_first_lock, || {
        let folder = Folder::new();
        let region = open(&folder);
        killed("first lock", &region, || {}, |()| drop(region.lock(AT, LONG)), (false, true));
    });
}

#[test]
fn killed_in_unlock() {
    in_own_process(killed_in_unlock, || {
        let folder = Folder::new();
        let region = open(&folder);
        let hold = || assert_eq!(region.lock(AT, LONG), Ok(false));
        killed("unlock", &region, hold, |()| drop(region.unlock(AT)), (true, false));
    });
}

/// Leaves the lock as one who has died with it.
fn die_with(region: &Opened) {
    assert_eq!(common::process::forked(|| i32::from(region.lock(AT, LONG).unwrap())), 0);
}

#[test]
fn killed_in_recover() {
    in_own_process(killed_in_recover, || {
        let folder = Folder::new();
        let region = open(&folder);
        let hold = || {
            die_with(&region);
            assert_eq!(region.lock(AT, LONG), Ok(true));
        };
        // It has the lock before and after.
        killed("recover", &region, hold, |()| drop(region.recover(AT)), (true, true));
    });
}

#[test]
fn killed_in_taking_over_from_the_dead() {
    in_own_process(killed_in_taking_over_from_the_dead, || {
        let folder = Folder::new();
        let region = open(&folder);
        let dead = || die_with(&region);
        killed("taking over", &region, dead, |()| drop(region.lock(AT, LONG)), (true, true));
    });
}

#[test]
fn killed_in_init() {
    in_own_process(killed_in_init, || {
        let folder = Folder::new();
        let region = open(&folder);
        let mut was_made = Told::default();
        let after = |place| {
            let made = region.init_mutex(AT);
            if let Err(failure) = &made {
                assert_eq!(failure.code, libc::EEXIST, "{failure:?}");
            }
            was_made.add(place, made.is_err());
            assert!(!survive(&region));
            region.fill(AT, 64, 0).unwrap();
        };
        region.fill(AT, 64, 0).unwrap();
        let places = kill_at_every_instruction(|| {}, |()| drop(region.init_mutex(AT)), || {}, after);
        println!("init: {places} places");
        was_made.changed_once(false, true);
    });
}

#[test]
fn killed_in_waiting() {
    in_own_process(killed_in_waiting, || {
        let folder = Folder::new();
        let region = open(&folder);
        let join = || refused(region.lock(AT, 1), libc::ETIMEDOUT, &[]);
        let after = |_| {
            region.unlock(AT).unwrap();
            assert!(!survive(&region));
            region.lock(AT, 0).unwrap();
        };
        region.lock(AT, 0).unwrap();
        let places = kill_at_every_instruction(join, |()| drop(region.lock(AT, 300_000)), || {}, after);
        println!("waiting: {places} places");
    });
}

#[test]
fn killed_in_unlock_while_others_sleep() {
    in_own_process(killed_in_unlock_while_others_sleep, || {
        let folder = Folder::new();
        let region = open(&folder);
        let sleeper = Sleeper::start(|| {
            let died = region.lock(AT, LONG).unwrap();
            if died {
                region.recover(AT).unwrap();
            }
            region.unlock(AT).unwrap();
            u8::from(died)
        });
        let mut told = Told::default();
        let before = || {
            sleeper.sleep(false);
            eventually("somebody waits", || region.owner(AT).unwrap().waiters == 1);
        };
        let after = |place| {
            let freed = Instant::now();
            told.add(place, sleeper.wakes() == 1);
            let late = Late::than(A_LOOK, freed);
            assert!(!survive(&region));
            late
        };
        let hold = || assert_eq!(region.lock(AT, LONG), Ok(false));
        let places = kill_at_every_instruction(hold, |()| drop(region.unlock(AT)), before, after);
        println!("unlock while others sleep: {places} places");
        // The way through the operation is another one when the sleeper has waited long.
        told.changed(true, false);
        assert!(!survive(&region));
    });
}
