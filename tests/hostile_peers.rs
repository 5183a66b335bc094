//! A peer that writes whatever it likes into a lock, a cell or a queue: whoever uses it gets answers or codes, in time,
//! stays alive, and touches nothing beside the object.
//!
//! MAPSHARE_HOSTILE_SECONDS makes it longer (2, for each kind of object), MAPSHARE_SEED repeats one, more or less.
//! `make sanitize` runs this file under AddressSanitizer.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::forks::Forked;
use common::header::{functions, header, name};
use common::hostile::{Adversary, MAKING};
use common::process::eventually;
use common::random::{Random, seed};
use common::victim::{Kind, Place, Victim, all_codes};
use common::*;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long calls wait.
const TIMEOUT_NS: i64 = 200_000;
const QUEUE: u64 = 200;
const PLACES: [Place; 2] = [Place::Front, Place::Back];

fn seconds() -> u64 {
    std::env::var("MAPSHARE_HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Ends this process when it hangs.
fn watchdog() {
    // SAFETY: no memory is passed.
    unsafe { libc::alarm(seconds() as u32 + 30) };
}

/// The holders' words that an adversary knows: of one who lives, a thread of his that does not, and one who is dead.
fn holders(victim: u64, own: u64) -> Vec<u64> {
    vec![victim, victim ^ 3, own, own ^ 3, own ^ 5 << 40]
}

/// Runs `attack` in a process of its own, which is a participant of the file and stays one until it is killed.
fn adversary(path: &Path, victim: &Victim, attack: impl FnOnce(u64)) -> Forked {
    let (offset, parent) = (victim.kind.region(), std::process::id());
    let mut adversary = Forked::start(|mut parent_hears| {
        watchdog();
        // SAFETY: no memory is passed.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        assert_eq!(std::os::unix::process::parent_id(), parent);
        let region = Door::C.open(path, &with(MAPSHARE_READ_WRITE)).expect("good");
        region.init_mutex(offset).expect("good");
        region.lock(offset, 0).expect("good");
        let own = u64::from_le_bytes(region.bytes(offset + 8, 8).try_into().expect("8 bytes"));
        parent_hears.tell(1);
        attack(own);
        0
    });
    assert_eq!(adversary.hear(), 1);
    adversary
}

type Counts = BTreeMap<(&'static str, i32), u64>;

/// One uses an object of that kind for a time in which another writes into it.
fn meet(kind: Kind, place: Place, seed: u64, time: Duration) -> Counts {
    let folder = Folder::new();
    let path = folder.join("file");
    let mut victim = Victim::new(Door::C, &path, kind, place, Random::new(seed));
    // Behind what the victim has mapped.
    OpenOptions::new().write(true).open(&path).unwrap().set_len(kind.region() + page()).unwrap();
    let (first, number) = (victim.address(), victim.holder());
    let adversary = adversary(&path, &victim, |own| {
        // An identity that is good may speak of a larger object, and then that one is used: where that has no room.
        let forges = place == Place::Back;
        let mut adversary = Adversary::new(kind, first, holders(number, own), forges, Random::new(seed ^ 1));
        loop {
            adversary.strike();
        }
    });
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..50 {
            victim.round(TIMEOUT_NS);
        }
        victim.check_beside();
    }
    adversary.kill();
    victim.end()
}

fn meet_all<F: Fn()>(test: F, kinds: &[Kind]) {
    in_own_process(test, || {
        watchdog();
        let seed = seed();
        let mut counts = Counts::new();
        let time = Duration::from_secs(seconds()) / (PLACES.len() * kinds.len()) as u32;
        for (number, kind) in kinds.iter().enumerate() {
            for place in PLACES {
                for (what, count) in meet(*kind, place, seed + 2 * number as u64, time) {
                    *counts.entry(what).or_default() += count;
                }
            }
        }
        say(&format!("{counts:?}"));
        // Otherwise little was tried.
        for function in counts.keys().map(|(function, _)| function) {
            assert!(counts.contains_key(&(function, 0)), "{function} never went well");
        }
        let damaged = counts.iter().any(|((_, code), _)| *code == libc::EBADMSG);
        assert!(damaged, "nothing was found damaged");
    });
}

#[test]
fn nobody_is_harmed_by_what_stands_in_a_lock() {
    meet_all(nobody_is_harmed_by_what_stands_in_a_lock, &[Kind::Mutex]);
}

#[test]
fn nobody_is_harmed_by_what_stands_in_a_cell() {
    meet_all(nobody_is_harmed_by_what_stands_in_a_cell, &[8, 100, 5000].map(Kind::Cell));
}

#[test]
fn nobody_is_harmed_by_what_stands_in_a_queue() {
    meet_all(nobody_is_harmed_by_what_stands_in_a_queue, &[0, 1, 2, 3].map(|flags| Kind::Queue(QUEUE, flags)));
}

/// A word that changes all the time, faster than anyone can look twice, makes no call last longer than it may.
fn spin(kind: Kind, word: u64, value: impl Fn(u64, u64, u64) -> u64) {
    let folder = Folder::new();
    let path = folder.join("file");
    let mut victim = Victim::new(Door::C, &path, kind, Place::Back, Random::new(1));
    OpenOptions::new().write(true).open(&path).unwrap().set_len(kind.region() + page()).unwrap();
    let (first, number) = (victim.address(), victim.holder());
    let adversary = adversary(&path, &victim, |own| {
        let adversary = Adversary::new(kind, first, vec![own], false, Random::new(1));
        loop {
            adversary.spin(word, 1 << 20, &|count| value(number, own, count));
        }
    });
    let seen = victim.region.bytes(victim.offset + word, 8);
    eventually("the other one is at it", || victim.region.bytes(victim.offset + word, 8) != seen);
    let end = Instant::now() + Duration::from_millis(10);
    while Instant::now() < end {
        victim.round(TIMEOUT_NS);
        victim.init();
    }
    adversary.kill();
    victim.check_beside();
    victim.end();
}

fn spin_all<F: Fn()>(test: F, kind: Kind) {
    in_own_process(test, || {
        for word in kind.words() {
            // Participants that are dead, threads of the victim that do not exist, a maker who is another one each time,
            // cursors that run away, and something and nothing.
            spin(kind, *word, |_, _, count| (count | 1) << 32 | 1);
            spin(kind, *word, |victim, _, count| victim & !0xffff_ffff | (count & 0xfff_ffff));
            spin(kind, *word, |_, _, count| MAKING | count as u32 as u64);
            spin(kind, *word, |_, _, count| 8 * count);
            spin(kind, *word, |_, own, count| if count % 2 == 0 { 0 } else { own });
        }
    });
}

#[test]
fn a_lock_that_changes_all_the_time_holds_nobody_up() {
    spin_all(a_lock_that_changes_all_the_time_holds_nobody_up, Kind::Mutex);
}

#[test]
fn a_cell_that_changes_all_the_time_holds_nobody_up() {
    spin_all(a_cell_that_changes_all_the_time_holds_nobody_up, Kind::Cell(8));
}

#[test]
fn a_queue_that_changes_all_the_time_holds_nobody_up() {
    spin_all(a_queue_that_changes_all_the_time_holds_nobody_up, Kind::Queue(QUEUE, 0));
}

/// What the header says of a function's codes; where it names those of another function, these as well.
fn documented(comments: &[(String, String)], function: &str) -> String {
    let (comment, _) = comments
        .iter()
        .find(|(_, declaration)| name(declaration) == function)
        .unwrap_or_else(|| panic!("{function} is in the header"));
    let words = comment.replace("\n *", " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let referred = ["codes of ", "others of "].iter().filter_map(|before| words.split_once(before));
    let others: String = referred
        .map(|(_, after)| after.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().expect("text"))
        .map(|other| documented(comments, other))
        .collect();
    words + &others
}

#[test]
fn the_codes_that_are_met_here_are_those_of_the_manual() {
    let comments = functions(&header());
    for (function, codes) in all_codes() {
        let said = documented(&comments, &format!("mapshare_{function}"));
        for code in codes {
            let name = errno_name(*code);
            assert!(said.contains(&format!("-{name}")), "mapshare_{function} does not tell of -{name}");
        }
    }
}

fn errno_name(code: i32) -> &'static str {
    macro_rules! names {
        ($($name:ident)*) => { [$((libc::$name, stringify!($name))),*] };
    }
    let names = names!(EINVAL ERANGE EEXIST EBADMSG EPROTONOSUPPORT EBUSY ETIMEDOUT EPERM EAGAIN EPIPE EMSGSIZE);
    names.iter().find(|(number, _)| *number == code).expect("a code of the list").1
}
