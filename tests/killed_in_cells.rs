//! A process that is killed at any instruction of any operation on a cell leaves it to the others, at once, and with the
//! old value or the new one.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::cells::{cell_bytes, pattern};
use common::kills::{A_NAP, AT_ONCE, Sleeper, Told};
use common::steps::{Kills, Late, kill_at_every_instruction};
use common::*;
use std::cell::Cell;
use std::time::{Duration, Instant};

const AT: u64 = 64;
/// Several lines, and not all of the last one.
const LENGTH: usize = 200;
const LONG: i64 = 20_000_000_000;

fn open(door: Door, folder: &Folder) -> Opened {
    let region = door.open(folder.join("file"), &create(AT + cell_bytes(LENGTH as u64))).unwrap();
    region.init_cell(AT, LENGTH as u64).unwrap();
    region
}

fn each_alone<F: Fn()>(test: F, body: impl Fn(&Opened, &Folder)) {
    in_own_process(test, || {
        for door in common::kills::DOORS {
            let folder = Folder::new();
            body(&open(door, &folder), &folder);
        }
    });
}

/// What is published as that version.
fn value(version: u64) -> Vec<u8> {
    if version == 0 { vec![0; LENGTH] } else { pattern(version, LENGTH) }
}

/// The version that stands there, whose value is whole.
fn read(region: &Opened) -> u64 {
    let (version, found) = region.read_cell(AT, LENGTH).unwrap();
    assert_eq!(found, value(version));
    version
}

fn publish_next(region: &Opened) -> u64 {
    let version = read(region) + 1;
    region.publish(AT, &value(version)).unwrap();
    version
}

/// A survivor does each operation; the version that it found.
fn survive(region: &Opened) -> u64 {
    let found = read(region);
    region.publish(AT, &value(found + 1)).unwrap();
    assert_eq!(read(region), found + 1);
    region.wait_cell(AT, found, 0).unwrap();
    refused(region.wait_cell(AT, found + 1, 0), libc::ETIMEDOUT, &[]);
    found
}

/// Kills in publishing the version that `prepare` gives; what was told is whether it is out.
fn killed_in_publishing(name: &str, region: &Opened, prepare: impl Fn() -> u64) -> Told {
    let (mut told, last) = (Told::default(), Cell::new(0));
    let after = |place| {
        let begun = Instant::now();
        let found = survive(region);
        assert!((last.get()..=last.get() + 1).contains(&found), "{found} after {}", last.get());
        told.add(place, found > last.get());
        Late::than(AT_ONCE, begun)
    };
    let publish = |value: &Vec<u8>| drop(region.publish(AT, value));
    let before = || last.set(read(region));
    let places = kill_at_every_instruction(|| value(prepare()), publish, before, after);
    println!("{name}: {places} places");
    assert!(places > 50);
    told
}

#[test]
fn killed_in_publish() {
    each_alone(killed_in_publish, |region, _| {
        killed_in_publishing("publish", region, || publish_next(region) + 1).changed_once(false, true);
    });
}

#[test]
fn killed_in_a_processs_first_publish() {
    each_alone(killed_in_a_processs_first_publish, |region, _| {
        // The way through a first call is another one each time.
        killed_in_publishing("first publish", region, || read(region) + 1).changed(false, true);
    });
}

/// Dies in publishing, with the writers' lock.
fn die_publishing(region: &Opened) {
    let died = common::process::forked(|| {
        publish_next(region);
        region.lock(AT + 64, 0).unwrap();
        region.write(AT + 128 + 256 * ((read(region) + 1) % 16), &[0xEE; LENGTH / 2]).unwrap();
        0
    });
    assert_eq!(died, 0);
}

#[test]
fn killed_in_taking_over_from_a_dead_writer() {
    each_alone(killed_in_taking_over_from_a_dead_writer, |region, _| {
        let prepare = || {
            let version = publish_next(region);
            die_publishing(region);
            version + 2
        };
        killed_in_publishing("taking over", region, prepare).changed(false, true);
    });
}

/// Kills a child that only looks: the cell's bytes stay as they are.
fn killed_in_looking(name: &str, region: &Opened, other: &Opened, operation: impl Fn(&Opened)) {
    let bytes = || region.bytes(AT, cell_bytes(LENGTH as u64) as usize);
    let before = Cell::new(bytes());
    let after = |_| {
        assert!(before.replace(Vec::new()) == bytes());
        let begun = Instant::now();
        survive(region);
        let late = Late::than(AT_ONCE, begun);
        before.set(bytes());
        late
    };
    let places = kill_at_every_instruction(|| read(other), |_| operation(other), || {}, after);
    println!("{name}: {places} places");
    assert!(places > 50);
}

#[test]
fn killed_in_read() {
    each_alone(killed_in_read, |region, _| {
        publish_next(region);
        killed_in_looking("read", region, region, |other| drop(other.read_cell(AT, LENGTH)));
    });
}

#[test]
fn killed_in_looking_by_one_who_may_only_read() {
    in_own_process(killed_in_looking_by_one_who_may_only_read, || {
        let folder = Folder::new();
        let region = open(Door::C, &folder);
        let reader = Door::C.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
        killed_in_looking("read", &region, &reader, |other| drop(other.read_cell(AT, LENGTH)));
        killed_in_looking("wait", &region, &reader, |other| drop(other.wait_cell(AT, u64::MAX, 300_000)));
    });
}

#[test]
fn killed_in_waiting() {
    each_alone(killed_in_waiting, |region, _| {
        let after = |_| {
            let begun = Instant::now();
            survive(region);
            Late::than(AT_ONCE, begun)
        };
        let wait = |version: &u64| drop(region.wait_cell(AT, *version, 300_000));
        let places = kill_at_every_instruction(|| read(region), wait, || {}, after);
        println!("waiting: {places} places");
    });
}

#[test]
fn killed_in_init() {
    each_alone(killed_in_init, |region, _| {
        let mut was_made = Told::default();
        // What stood in the slots before is of no interest.
        let clear = || {
            region.fill(AT, 128, 0).unwrap();
            region.fill(AT + 128, cell_bytes(LENGTH as u64) - 128, 0xEE).unwrap();
        };
        let after = |place| {
            let begun = Instant::now();
            let read = region.read_cell(AT, LENGTH);
            let made = region.init_cell(AT, LENGTH as u64);
            match &made {
                Ok(()) => refused(read, libc::EBADMSG, &[]),
                Err(failure) => assert_eq!((failure.code, read), (libc::EEXIST, Ok((0, value(0)))), "{failure:?}"),
            }
            was_made.add(place, made.is_err());
            assert_eq!(survive(region), 0);
            let late = Late::than(AT_ONCE, begun);
            clear();
            late
        };
        clear();
        let init = |_: &()| drop(region.init_cell(AT, LENGTH as u64));
        let places = kill_at_every_instruction(|| {}, init, || {}, after);
        println!("init: {places} places");
        was_made.changed_once(false, true);
    });
}

/// Kills a publisher while a reader sleeps, who has the region from `reader`: at every instruction, or, where he has slept
/// long, once the value is out. A survivor's value reaches him within `limit`.
fn killed_while_a_reader_sleeps(region: &Opened, reader: &Opened, long: bool, limit: Duration) {
    let sleeper = Sleeper::start(|| {
        let version = read(reader);
        reader.wait_cell(AT, version, LONG).unwrap();
        (read(reader) - version) as u8
    });
    let (mut told, last) = (Told::default(), Cell::new(0));
    let before = || {
        sleeper.sleep(long);
        last.set(read(region));
    };
    let after = |place| {
        let begun = Instant::now();
        let is_out = read(region) > last.get();
        told.add(place, is_out);
        if !is_out {
            publish_next(region);
        }
        assert_eq!(sleeper.wakes(), 1);
        // Nobody but the dead one would have woken it.
        (Late::than(if is_out { A_NAP } else { limit }, begun), is_out)
    };
    let publish = |value: &Vec<u8>| drop(region.publish(AT, value));
    let kills = Kills { prepare: || value(publish_next(region) + 1), operation: publish, before, after };
    let places = if long { kills.once_it_is_done(50) } else { kills.at_every_instruction() };
    println!("while a reader sleeps: {places} places");
    told.changed(false, true);
}

#[test]
fn killed_in_publish_while_a_reader_sleeps() {
    each_alone(killed_in_publish_while_a_reader_sleeps, |region, _| {
        killed_while_a_reader_sleeps(region, region, false, AT_ONCE);
    });
}

#[test]
fn killed_in_publish_while_a_reader_takes_its_longest_nap() {
    each_alone(killed_in_publish_while_a_reader_takes_its_longest_nap, |region, _| {
        killed_while_a_reader_sleeps(region, region, true, AT_ONCE);
    });
}

#[test]
fn killed_in_publish_while_one_sleeps_who_may_only_read() {
    each_alone(killed_in_publish_while_one_sleeps_who_may_only_read, |region, folder| {
        let reader = Door::C.open(folder.join("file"), &with(MAPSHARE_READ_ONLY)).unwrap();
        killed_while_a_reader_sleeps(region, &reader, false, A_NAP);
    });
}
