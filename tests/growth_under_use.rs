//! One thread resizes, refreshes and protects while others read, write and hold views: nothing torn, nothing moves
//! within the reserve, no signal, named codes only.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::c::{self, Token};
use common::process::in_own_process;
use common::random::{Random, seed};
use common::*;
use faults::*;
use libc::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const RW: u32 = MAPSHARE_READ_WRITE;
const SMALLEST: u64 = 10_000;
const RESERVE: u64 = 200_000;
const LARGEST: u64 = 400_000;

/// Bytes repeat after so many: copies keep to multiples of it.
const PERIOD: u64 = 61;

/// What may stand at an offset, if it is not zero: a byte that says where it belongs, by one of four writers. Threads'
/// writes mix byte by byte, so that more than a byte need not be of one piece.
fn byte_for(offset: u64, writer: u64) -> u8 {
    (((offset % PERIOD + 1) << 2) | (writer % 4)) as u8
}

#[track_caller]
fn check_bytes(bytes: impl IntoIterator<Item = u8>, start: u64) {
    for (offset, byte) in (start..).zip(bytes) {
        assert!(byte == 0 || byte >> 2 == byte_for(offset, 0) >> 2, "{byte:#x} does not belong at {offset}");
    }
}

/// How often each call gave each code.
#[derive(Default)]
struct Counts(BTreeMap<(&'static str, i32), u64>);

impl Counts {
    fn note<T>(&mut self, call: &'static str, allowed: &[i32], outcome: &Outcome<T>) {
        let code = outcome.as_ref().err().map_or(0, |failure| failure.code);
        assert!(code == 0 || allowed.contains(&code), "{call}: {}", outcome.as_ref().err().unwrap().text);
        *self.0.entry((call, code)).or_default() += 1;
    }
}

const ACCESS: [i32; 4] = [ERANGE, EACCES, ENXIO, EBUSY];

/// Reads and writes, and holds views for a while.
fn use_it(region: Token, random: &mut Random, reserve: u64, counts: &mut Counts) {
    let length = 1 + random.below(5000);
    let offset = random.below(reserve);
    let mut bytes = vec![0; length as usize];
    match random.below(8) {
        0..=2 => {
            let outcome = region.read(offset, &mut bytes);
            counts.note("read", &ACCESS, &outcome);
            if outcome.is_ok() {
                check_bytes(bytes, offset);
            }
        }
        3..=4 => {
            let writer = random.next();
            (offset..).zip(&mut bytes).for_each(|(offset, byte)| *byte = byte_for(offset, writer));
            counts.note("write", &ACCESS, &region.write(offset, &bytes));
        }
        5 => counts.note("fill", &ACCESS, &region.fill(offset, length, 0)),
        6 => {
            let from = offset % PERIOD + random.below(reserve / PERIOD) * PERIOD;
            counts.note("copy", &ACCESS, &region.copy_from(offset, region, from, length));
        }
        _ => {
            // Views pin the length and the address; while one is out, its bytes are there.
            let view = region.view(offset, length);
            counts.note("view", &ACCESS, &view);
            let Ok(view) = view else { return };
            let base = view.addr() - offset as usize;
            for _ in 0..3 {
                check_bytes((0..length as usize).map(|at| peek(view.wrapping_add(at))), offset);
                let second = region.view(0, 8);
                counts.note("view", &ACCESS, &second);
                if let Ok(second) = second {
                    assert_eq!(second.addr(), base, "while a view is out, nothing moves");
                    region.release(second).unwrap();
                }
            }
            counts.note("release", &[], &region.release(view)); // nobody cuts the file under a view
        }
    }
}

/// The storm for some time: `largest` is how far it is resized.
fn grow_under_use(name: &str, largest: u64, protect: bool) {
    let folder = Folder::new();
    let path = folder.join(name);
    let seed = seed();
    let region = c::open(&path, &mapshare_options { reserve: RESERVE, ..create(SMALLEST) }).unwrap();
    let base = region.view(0, 8).unwrap();
    region.release(base).unwrap();
    let base = base.addr();
    let within_reserve = largest <= RESERVE;
    let mut wanted = vec![("read", 0), ("write", 0), ("fill", 0), ("copy", 0), ("view", 0), ("release", 0)];
    wanted.extend([("resize", 0), ("refresh", 0), ("read", ERANGE)]);
    if protect {
        wanted.extend([("protect", 0), ("write", EACCES)]);
    }
    let all = Mutex::new(Counts::default());
    let missing = || wanted.iter().find(|want| !all.lock().unwrap().0.contains_key(want));
    // On a busy machine once more, until everything has happened.
    for round in 0..20 {
        let end = Instant::now() + Duration::from_millis(1500);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let all = &all;
                scope.spawn(move || {
                    let (mut random, mut counts) = (Random::new(seed + thread + 1000 * round), Counts::default());
                    while Instant::now() < end {
                        use_it(region, &mut random, largest, &mut counts);
                        if within_reserve && let Ok(view) = region.view(0, 8) {
                            assert_eq!(view.addr(), base, "within the reserve no address changes");
                            region.release(view).unwrap();
                        }
                    }
                    let mut all = all.lock().unwrap();
                    counts.0.into_iter().for_each(|(key, count)| *all.0.entry(key).or_default() += count);
                });
            }
            let (mut random, mut counts) = (Random::new(seed + 100 + 1000 * round), Counts::default());
            while Instant::now() < end {
                match random.below(if protect { 8 } else { 6 }) {
                    0..=3 => {
                        let length = SMALLEST + random.below(largest - SMALLEST);
                        counts.note("resize", &[EBUSY, EACCES], &region.resize(length));
                    }
                    4 => counts.note("refresh", &[EBUSY], &region.refresh()),
                    5 => counts.note("info", &[], &region.info()),
                    6 => counts.note("protect", &[EBUSY], &region.protect(MAPSHARE_READ_ONLY)),
                    _ => counts.note("protect", &[EBUSY], &region.protect(RW)),
                }
            }
            region.protect(RW).unwrap_or_else(|failure| assert_eq!(failure.code, EBUSY));
            let mut all = all.lock().unwrap();
            counts.0.into_iter().for_each(|(key, count)| *all.0.entry(key).or_default() += count);
        });
        if missing().is_none() {
            break;
        }
    }
    assert_eq!(missing(), None, "never happened: {:?}", all.lock().unwrap().0);
    assert_eq!(region.info().unwrap().views, 0);
    region.unmap().unwrap();
}

#[test]
fn resizing_within_the_reserve_tears_and_moves_nothing() {
    in_own_process(resizing_within_the_reserve_tears_and_moves_nothing, || grow_under_use("within", RESERVE, false));
}

#[test]
fn resizing_beyond_the_reserve_tears_nothing() {
    in_own_process(resizing_beyond_the_reserve_tears_nothing, || grow_under_use("beyond", LARGEST, false));
}

#[test]
fn protecting_meanwhile_gives_codes_and_no_signal() {
    in_own_process(protecting_meanwhile_gives_codes_and_no_signal, || grow_under_use("protect", LARGEST, true));
}

#[test]
fn two_threads_that_resize_and_refresh_agree() {
    in_own_process(two_threads_that_resize_and_refresh_agree, || {
        let folder = Folder::new();
        let path = folder.join("file");
        let region = c::open(&path, &mapshare_options { reserve: RESERVE, ..create(SMALLEST) }).unwrap();
        let other = c::open(&path, &mapshare_options { reserve: RESERVE, ..with(RW) }).unwrap();
        let end = Instant::now() + Duration::from_millis(700);
        let seed = seed();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                scope.spawn(move || {
                    let mut random = Random::new(seed + thread);
                    let mine = if thread == 1 { other } else { region };
                    while Instant::now() < end {
                        let length = SMALLEST + random.below(LARGEST - SMALLEST);
                        let mut bytes = [0; 800];
                        match random.below(4) {
                            0 => mine.resize(length).unwrap(),
                            1 => drop(mine.refresh().unwrap()),
                            // The other may have cut what this one still thinks it has.
                            2 => assert!([0, ERANGE, ENXIO].contains(&code(mine.read(length, &mut bytes)))),
                            _ => assert!([0, ERANGE, ENXIO].contains(&code(mine.fill(length, 800, 0)))),
                        }
                    }
                });
            }
        });
        for token in [region, other] {
            token.refresh().unwrap();
            assert_eq!(token.length().unwrap(), files::length_of(&path));
            token.fill(0, token.length().unwrap(), 1).unwrap();
            token.unmap().unwrap();
        }
    });
}

#[test]
fn unmap_while_calls_are_under_way_leaves_success_or_ebadf() {
    in_own_process(unmap_while_calls_are_under_way_leaves_success_or_ebadf, || {
        let folder = Folder::new();
        let page = page();
        let path = folder.join("file");
        let (rounds, length) = (150, 64 * page);
        c::open(&path, &create(length)).unwrap().unmap().unwrap();
        let current = Counter::new();
        current.set(c::open(&path, &with(RW)).unwrap().0 as usize);
        let done = Counter::new();
        let seen = [0, 1].map(|_| Counter::new());
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (current, done, seen) = (&current, &done, &seen);
                scope.spawn(move || {
                    let mut bytes = vec![0; 64 * page as usize];
                    while done.get() == 0 {
                        let region = Token(current.get() as u64);
                        let outcome = match thread {
                            0 => region.read(0, &mut bytes),
                            1 => region.fill(0, length, 0x11),
                            2 => region.copy_from(0, region, length / 2, length / 2),
                            _ => region.view(0, length).and_then(|view| {
                                assert!([0, 0x11].contains(&peek(view)));
                                region.release(view)
                            }),
                        };
                        let code = code(outcome);
                        assert!([0, EBADF].contains(&code), "{code}: {}", c::last_error());
                        seen[usize::from(code != 0)].add();
                    }
                });
            }
            let mut round = 0;
            while round < rounds || seen.iter().any(|count| count.get() < 20) {
                round += 1;
                let region = Token(current.get() as u64);
                while code(region.unmap()) == EBUSY {
                    std::thread::yield_now(); // a view is out
                }
                refused(region.unmap(), EBADF, &[]);
                std::thread::yield_now();
                current.set(c::open(&path, &with(RW)).unwrap().0 as usize);
            }
            done.set(1);
        });
        Token(current.get() as u64).unmap().unwrap();
    });
}

#[test]
fn stale_tokens_under_truncation_are_codes_on_eight_threads() {
    in_own_process(stale_tokens_under_truncation_are_codes_on_eight_threads, || {
        let folder = Folder::new();
        let page = page();
        let path = folder.join("file");
        let length = 16 * page;
        let open = || c::open(&path, &mapshare_options { reserve: 32 * page, ..create(length) }).unwrap().0 as usize;
        let current = Counter::new();
        current.set(open());
        let end = Instant::now() + Duration::from_millis(1500);
        let seen = Mutex::new(BTreeMap::<i32, u64>::new());
        let seed = seed();
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (current, seen) = (&current, &seen);
                let path = &path;
                scope.spawn(move || {
                    let mut random = Random::new(seed + thread);
                    let (mut own, mut bytes) = (BTreeMap::<i32, u64>::new(), vec![0; length as usize]);
                    let mut old = Vec::new();
                    while Instant::now() < end {
                        let region = Token(current.get() as u64);
                        let outcome = match (thread, random.below(6)) {
                            (0, _) => {
                                // The token of now goes stale while calls fault in it.
                                let outcome = region.unmap();
                                if outcome.is_ok() {
                                    old.push(region);
                                    files::set_length(path, length);
                                    current.set(open());
                                }
                                outcome
                            }
                            (1, _) => {
                                files::set_length(path, random.below(17) * page);
                                Ok(())
                            }
                            (_, 0) => region.read(0, &mut bytes),
                            (_, 1) => region.fill(random.below(length), page, 1),
                            (_, 2) => region.copy_from(0, region, 4 * page, 8 * page),
                            (_, 3) => region.refresh().map(drop),
                            (_, 4) => region.flush(0, page, MAPSHARE_FLUSH_ASYNC),
                            (_, _) => region.view(0, 8 * page).and_then(|view| {
                                for number in 0..8 {
                                    peek(view.wrapping_add(number * page as usize));
                                }
                                region.release(view)
                            }),
                        };
                        let code = code(outcome);
                        let named = [0, EBADF, EBUSY, ENXIO, ERANGE].contains(&code);
                        assert!(named, "thread {thread}: {code}: {}", c::last_error());
                        *own.entry(code).or_default() += 1;
                    }
                    for token in old {
                        assert_eq!(code(token.read(0, &mut [0])), EBADF);
                        assert_eq!(code(token.unmap()), EBADF);
                    }
                    own.into_iter().for_each(|(code, count)| *seen.lock().unwrap().entry(code).or_default() += count);
                });
            }
        });
        let seen = seen.into_inner().unwrap();
        for code in [0, EBADF, ENXIO] {
            assert!(seen.contains_key(&code), "{code} never came: {seen:?}");
        }
        Token(current.get() as u64).unmap().unwrap();
    });
}
