//! Threads that read, write, copy, resize, view and unmap at random: every answer is a success or a named code.
//!
//! `make sanitize` runs this file under ThreadSanitizer and AddressSanitizer. MAPSHARE_THREADS_SECONDS makes it longer.

mod common;

use common::c::{self, Token};
use common::*;
use libc::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const THREADS: u64 = 8;
const PLACES: usize = 6;
const LARGEST: u64 = 300_000;

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Mostly inside a region, sometimes far outside.
    fn offset(&mut self) -> u64 {
        match self.below(50) {
            0 => self.next(),
            1 => u64::MAX - self.below(10),
            _ => self.below(LARGEST),
        }
    }
}

/// Tokens that any thread may use, keep, close or replace.
type Places = Mutex<[Token; PLACES]>;

fn seconds() -> u64 {
    std::env::var("MAPSHARE_THREADS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

fn options(random: &mut Random) -> mapshare_options {
    let reserve = [0, LARGEST, 2 * LARGEST][random.below(3) as usize];
    if random.below(3) == 0 {
        return mapshare_options { reserve, ..with(MAPSHARE_COPY_ON_WRITE) };
    }
    mapshare_options { reserve, ..common::create(1 + random.below(LARGEST / 2)) }
}

/// Each place has a file of its own: to cut one short under another region would be a SIGBUS, as with plain mmap.
fn file(folder: &Folder, place: usize) -> PathBuf {
    folder.join(&place.to_string())
}

/// One call of a random kind, with the codes that it may give.
fn step(random: &mut Random, places: &Places, folder: &Folder, views: &mut Vec<(Token, usize)>) -> (&'static str, i32) {
    let tokens = *places.lock().expect("it works");
    let place = random.below(PLACES as u64) as usize;
    let region = tokens[place];
    let (offset, length) = (random.offset(), random.below(5000));
    let mut buffer = vec![random.next() as u8; length as usize];
    let (name, allowed, result): (_, &[i32], _) = match random.below(20) {
        0..=3 => ("read", &[EBADF, ERANGE], code(region.read(offset, &mut buffer))),
        4..=6 => ("write", &[EBADF, ERANGE, EACCES], code(region.write(offset, &buffer))),
        7 => ("fill", &[EBADF, ERANGE, EACCES], code(region.fill(offset, length, 7))),
        8..=9 => {
            let from = tokens[random.below(PLACES as u64) as usize];
            let from_offset = random.offset();
            ("copy", &[EBADF, ERANGE, EACCES], code(region.copy_from(offset, from, from_offset, length)))
        }
        10 => {
            let to = [1 + random.below(LARGEST), random.below(3 * LARGEST)][random.below(2) as usize];
            ("resize", &[EBADF, EINVAL, EACCES, EBUSY], code(region.resize(to)))
        }
        11 => ("refresh", &[EBADF, EBUSY], code(region.refresh())),
        12..=13 => {
            let view = region.view(offset, length);
            if let Ok(pointer) = view {
                views.push((region, pointer.addr()));
            }
            ("view", &[EBADF, ERANGE, EINVAL], code(view))
        }
        14..=15 => match views.pop() {
            None => return ("nothing", 0),
            Some((region, pointer)) => {
                ("release", &[], code(region.release(std::ptr::without_provenance_mut(pointer))))
            }
        },
        16 => {
            let access = random.below(3) as u32;
            ("protect", &[EBADF, EINVAL, EACCES, EBUSY], code(region.protect(access)))
        }
        17 => ("info", &[EBADF], code(region.info())),
        18 => ("flush", &[EBADF, ERANGE, EINVAL], code(region.flush(offset, 0, MAPSHARE_FLUSH_ASYNC))),
        _ => {
            let result = code(region.unmap());
            if result == 0 {
                let opened = c::open(&file(folder, place), &options(random)).expect("it works");
                places.lock().expect("it works")[place] = opened;
            }
            ("unmap", &[EBADF, EBUSY], result)
        }
    };
    assert!(result == 0 || allowed.contains(&result), "{name} gave {result}: {}", c::last_error());
    (name, result)
}

#[test]
fn threads_at_random_get_successes_and_named_codes_only() {
    let seed = std::env::var("MAPSHARE_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) * 0x9E37_79B9 + 1);
    eprintln!("seed {seed}; set MAPSHARE_SEED to repeat");
    let folder = Folder::new();
    let mut random = Random(seed);
    let first = std::array::from_fn(|place| {
        folder.file(&place.to_string(), 1000);
        c::open(&file(&folder, place), &options(&mut random)).unwrap()
    });
    let places: Places = Mutex::new(first);
    let end = Instant::now() + Duration::from_secs(seconds());
    let counts = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (places, folder, counts) = (&places, &folder, &counts);
            scope.spawn(move || {
                let mut random = Random(seed ^ (thread + 1) << 40);
                let mut views = Vec::new();
                let mut own = BTreeMap::<(&str, i32), u64>::new();
                while Instant::now() < end {
                    *own.entry(step(&mut random, places, folder, &mut views)).or_default() += 1;
                }
                for (region, pointer) in views {
                    region.release(std::ptr::without_provenance_mut(pointer)).unwrap();
                }
                for (call, count) in own {
                    *counts.lock().unwrap().entry(call).or_default() += count;
                }
            });
        }
    });
    for token in places.into_inner().unwrap() {
        let _ = token.unmap();
    }
    let counts: BTreeMap<(&str, i32), u64> = counts.into_inner().unwrap();
    for name in ["read", "write", "fill", "copy", "resize", "refresh", "view", "release", "protect", "info", "unmap"] {
        let good = counts.get(&(name, 0)).copied().unwrap_or(0);
        assert!(good > 0, "{name} never succeeded, so that nothing was tested: {counts:?}");
    }
    for (name, failure) in [("unmap", EBUSY), ("read", ERANGE)] {
        assert!(counts.contains_key(&(name, failure)), "{name} never gave {failure}: {counts:?}");
    }
    assert!(counts.keys().any(|(_, code)| *code == EBADF), "no token was ever stale: {counts:?}");
}
