//! The cell under the model checker: no reader sees a value that nobody published, or an older one than before.
//!
//! Bounds: two slots, values of two words, one or two writers who publish up to three versions in all, one reader who
//! reads twice; at most so many forced switches as each model says (none says: all orders). LOOM_MAX_PREEMPTIONS
//! overrides them. The lock is a model's own; the library's is in lock_word_loom.rs.
//!
//! loom 0.7 overlooks orders in which a load comes before another thread's load and store of that word, when in its first
//! run it came after them; so those who only look are spawned, and begin last there.

use super::cell::protocol::Slots;
use super::explore::{at_each_access, explore};
use super::failure::Failure;
use super::objects::{cell, publish, read};
use super::user::Sleeps::{ForAWhile, UntilWoken};
use super::user::User;
use crate::threads as thread;

/// Reads twice; versions do not go back.
fn read_twice(user: &User) {
    let mut last = 0;
    for _ in 0..2 {
        if let Some((version, number)) = read(user) {
            assert_eq!(version, number);
            assert!(version >= last);
            last = version;
        }
    }
}

#[test]
fn readers_see_whole_values_of_their_version_in_order() {
    explore(Some(3), || {
        let writer = cell(ForAWhile);
        let reader = writer.other(2);
        let reader = thread::spawn(move || read_twice(&reader));
        (1..4).for_each(|number| assert_eq!(publish(&writer, number), Ok(number)));
        reader.join().expect("no panic");
        assert_eq!(read(&writer), Some((3, 3)));
    });
}

#[test]
fn writers_take_turns() {
    explore(Some(2), || {
        let user = cell(ForAWhile);
        let reader = user.other(3);
        let writers = [1, 2].map(|number| {
            let user = user.other(number);
            thread::spawn(move || publish(&user, number.into()))
        });
        let reader = thread::spawn(move || read(&reader));
        let versions = writers.map(|writer| writer.join().expect("no panic").expect("nobody has died"));
        assert!(versions == [1, 2] || versions == [2, 1]);
        let (version, number) = read(&user).expect("no writer is left");
        assert_eq!((version, versions[number as usize - 1]), (2, 2));
        if let Some((version, number)) = reader.join().expect("no panic").filter(|(version, _)| *version > 0) {
            assert_eq!(versions[number as usize - 1], version);
        }
    });
}

#[test]
fn who_waits_for_a_newer_version_is_woken() {
    explore(None, || {
        let user = cell(UntilWoken);
        let writer = user.other(2);
        let writer = thread::spawn(move || publish(&writer, 7));
        assert_eq!(Slots::attach(&user).and_then(|cell| cell.wait(0, None)), Ok(1));
        assert_eq!(read(&user), Some((1, 7)));
        assert_eq!(writer.join().expect("no panic"), Ok(1));
    });
}

/// One may find the first value just before he sleeps, and leave the other to sleep on what he has announced.
#[test]
fn two_who_wait_for_newer_versions_are_both_woken() {
    explore(Some(2), || {
        let user = cell(UntilWoken);
        let waiting = [(2, 0), (3, 1)].map(|(participant, seen)| {
            let user = user.other(participant);
            thread::spawn(move || Slots::attach(&user).and_then(|cell| cell.wait(seen, None)))
        });
        (1..3).for_each(|number| assert_eq!(publish(&user, number), Ok(number)));
        let versions = waiting.map(|waiting| waiting.join().expect("no panic"));
        assert!(matches!(versions, [Ok(1 | 2), Ok(2)]));
    });
}

#[test]
fn a_writer_who_is_killed_leaves_the_last_value_or_his() {
    at_each_access(Some(2), |accesses| {
        let user = cell(ForAWhile);
        assert_eq!(publish(&user, 1), Ok(1));
        let (reader, doomed) = (user.other(2), user.other(3));
        let doomed = thread::spawn(move || {
            doomed.doom(accesses);
            let published = publish(&doomed, 2);
            assert!(matches!(published, Ok(2) | Err(Failure::Access)));
            (published.is_ok(), doomed.die())
        });
        let reader = thread::spawn(move || read_twice(&reader));
        let (published, was_killed) = doomed.join().expect("no panic");
        let (last, number) = read(&user).expect("no writer is left");
        assert!(last == number && (last == 2 || last == 1 && !published));
        assert_eq!(publish(&user, last + 1), Ok(last + 1));
        assert_eq!(read(&user), Some((last + 1, last + 1)));
        reader.join().expect("no panic");
        was_killed
    });
}
