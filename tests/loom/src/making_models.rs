//! How an object comes to be, under the model checker: one makes it, nobody sees half of it, and one who dies at it is
//! replaced.
//!
//! Bounds: two who make one cell and one who attaches, once each; two forced switches. LOOM_MAX_PREEMPTIONS overrides
//! them. Those of the bytes that stay zeros are no steps. In a model no time passes, so that nobody loses patience.

use super::cell::protocol::{self as cell, Slots};
use super::explore::{at_each_access, explore};
use super::failure::{Failure, Result};
use super::objects::{parts_of_cell, read};
use super::user::{Sleeps, User};
use crate::error::Problem;
use crate::mem::heap::Parts;
use crate::threads as thread;

const NOT_MADE: Result<()> = Err(Failure::Is(Problem::NotMade));
const EXISTS: Result<()> = Err(Failure::Is(Problem::Exists));

/// The first user of zeros.
fn zeros() -> User {
    User::first(&Parts { wholes: &[0..16], halves: &[16..24], ..parts_of_cell() }, Sleeps::ForAWhile)
}

fn make(user: &User) -> Result<()> {
    cell::init(user, 16)
}

/// Finds no cell, or a whole one.
fn attach(user: &User) -> Result<()> {
    let attached = Slots::attach(user).map(drop);
    assert!(attached == NOT_MADE || attached == Ok(()), "{attached:?}");
    if attached == Ok(()) {
        assert_eq!(read(user), Some((0, 0)));
    }
    attached
}

#[test]
fn nobody_sees_half_of_it() {
    explore(Some(3), || {
        let user = zeros();
        let looker = user.other(2);
        let looker = thread::spawn(move || [attach(&looker), attach(&looker)]);
        assert_eq!(make(&user), Ok(()));
        let looks = looker.join().expect("no panic");
        assert!(looks != [Ok(()), NOT_MADE], "it went away");
    });
}

#[test]
fn of_two_who_make_it_one_does() {
    explore(Some(2), || {
        let user = zeros();
        let other = user.other(2);
        let other = thread::spawn(move || make(&other));
        let results = [make(&user), other.join().expect("no panic")];
        assert!(results.contains(&Ok(())) && results.contains(&EXISTS), "{results:?}");
        assert_eq!(attach(&user), Ok(()));
    });
}

#[test]
fn one_who_is_killed_while_he_makes_it_is_replaced() {
    at_each_access(Some(2), |accesses| {
        let user = zeros();
        let doomed = user.other(2);
        let doomed = thread::spawn(move || {
            doomed.doom(accesses);
            (make(&doomed), doomed.die())
        });
        let made = make(&user);
        let (others, was_killed) = doomed.join().expect("no panic");
        assert!(matches!((&others, &made), (Ok(()), Err(_)) | (Err(_), Ok(()))), "{others:?}, {made:?}");
        assert!(made == Ok(()) || made == EXISTS);
        assert_eq!(attach(&user), Ok(()));
        was_killed
    });
}
