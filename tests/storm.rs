//! The storm: processes that read, write, fill, copy and hold views while another truncates, extends, punches holes and
//! fills the file system. No signal, named codes only, and whatever succeeds has the right bytes.
//!
//! MAPSHARE_STORM_SECONDS makes it longer (3), MAPSHARE_SEED repeats one.
//!
//! How bytes are known to be right. Each page has one thread that writes it, under a number that is odd meanwhile; every
//! byte says by its value to which page, place and generation it belongs. The breaker counts before and after all that
//! it does, so that a number that is even and the same before and after means: nothing was broken meanwhile.
//! - Always: in a page that nobody wrote meanwhile every byte is its generation's, or zero: the breaker's work.
//! - When nothing was broken since a write succeeded: the page is whole, in the mapping and in the file.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::c::{self, Token};
use common::files::Mounted;
use common::process::{Partner, in_own_process, listen, role, tell};
use common::random::{Random, seed};
use common::*;
use faults::*;
use libc::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const WORKERS: u64 = 2;
const THREADS: u64 = 2;
/// Pages that are written whole, page N by thread N modulo the number of threads; then one for each thread to fill, and
/// one to copy to.
const PAGES: u64 = 32;
const SCRATCH: u64 = WORKERS * THREADS;
const ALL_PAGES: u64 = PAGES + 2 * SCRATCH;

fn seconds() -> u64 {
    std::env::var("MAPSHARE_STORM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// The byte at a place of a page in its generation; never zero.
fn byte_for(page: u64, generation: u64, at: usize) -> u8 {
    let mixed = (page << 32 ^ generation).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left((at % 61) as u32);
    ((mixed as u8) ^ (at >> 6) as u8) | 1
}

/// A page of a generation: the number of its state, the generation, then bytes.
fn page_of(page: u64, state: u64, generation: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..common::page() as usize).map(|at| byte_for(page, generation, at)).collect();
    bytes[..8].copy_from_slice(&state.to_ne_bytes());
    bytes[8..16].copy_from_slice(&generation.to_ne_bytes());
    bytes
}

/// What all processes look at that is never broken: how often the breaker began or ended something, and for each page
/// its state (odd while it is written) and its generation.
struct Board(&'static [AtomicU64]);

impl Board {
    fn new(path: &Path) -> Board {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let length = common::page() as usize;
        // SAFETY: a new mapping of a file that nobody changes otherwise.
        let address =
            unsafe { mmap(std::ptr::null_mut(), length, PROT_READ | PROT_WRITE, MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(address, MAP_FAILED);
        // SAFETY: mapped for ever, aligned, and all patterns are numbers.
        Board(unsafe { std::slice::from_raw_parts(address.cast(), length / 8) })
    }

    fn breaks(&self) -> &AtomicU64 {
        &self.0[0]
    }

    fn state(&self, page: u64) -> &AtomicU64 {
        &self.0[8 + page as usize]
    }

    fn generation(&self, page: u64) -> &AtomicU64 {
        &self.0[100 + page as usize]
    }

    /// The number of now, if nothing is being broken.
    fn quiet(&self) -> Option<u64> {
        Some(self.breaks().load(SeqCst)).filter(|number| number % 2 == 0)
    }

    fn still(&self, quiet: Option<u64>) -> bool {
        quiet.is_some() && self.quiet() == quiet
    }
}

extern "C" fn a_signal(signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {
    let text = if signal == SIGBUS { "a SIGBUS reached the process\n" } else { "a SIGSEGV reached the process\n" };
    // SAFETY: async-signal-safe, as the next.
    unsafe { write(2, text.as_ptr().cast(), text.len()) };
    // SAFETY: see above.
    unsafe { _exit(99) };
}

/// One thread of a worker.
struct Thread<'a> {
    region: Token,
    board: &'a Board,
    file: &'a File,
    random: Random,
    /// 0 .. WORKERS * THREADS.
    number: u64,
    /// For each own page: the number of breaks when it was last written whole.
    written: BTreeMap<u64, u64>,
    counts: BTreeMap<String, u64>,
}

impl Thread<'_> {
    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// Whether it succeeded; else the code is a named one.
    fn good<T>(&mut self, call: &str, outcome: &Outcome<T>) -> bool {
        let (code, text) = outcome.as_ref().err().map_or((0, ""), |failure| (failure.code, &failure.text));
        let name = match code {
            0 => "good",
            ENXIO => "ENXIO",
            ENOSPC => "ENOSPC",
            ERANGE if call != "release" => "ERANGE",
            _ => panic!("{call} gave {code}: {text}"),
        };
        self.count(&format!("{call}:{name}"));
        code == 0
    }

    fn own_page(&mut self) -> u64 {
        self.number + SCRATCH * self.random.below(PAGES / SCRATCH)
    }

    /// The page's bytes as the file has them: fewer where it ends inside the page.
    fn in_file(&self, page: u64) -> Vec<u8> {
        let mut bytes = vec![0; common::page() as usize];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], page * common::page() + done as u64) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(error) => panic!("reading the file: {error}"),
            }
        }
        bytes.truncate(done);
        bytes
    }

    /// After a success under a number of breaks: if nothing was broken, the file has these bytes, and the region too;
    /// those that the file has at all, since a file that ends inside a page raises no error there. Whether it has all.
    fn check(&mut self, what: &str, page: u64, bytes: &[u8], quiet: Option<u64>) -> bool {
        let file = self.in_file(page);
        let mut read = vec![0; bytes.len()];
        let outcome = self.region.read(page * common::page(), &mut read);
        let there = file.len();
        if self.good("read", &outcome) && self.board.still(quiet) {
            assert!(
                read[..there] == bytes[..there],
                "{what}: a success, and the region has other bytes in page {page}"
            );
        }
        if !self.board.still(quiet) {
            return false;
        }
        assert_ne!(there, 0, "{what}: a success, and the file ends before page {page}");
        assert!(file == bytes[..there], "{what}: a success, and the file has other bytes in page {page}");
        self.count("strict");
        there == bytes.len()
    }

    /// Writes an own page: by a call, or through a view.
    fn write_page(&mut self, by_view: bool) {
        let page = self.own_page();
        let start = page * common::page();
        self.written.remove(&page);
        let state = self.board.state(page).fetch_add(1, SeqCst) + 1;
        let generation = self.board.generation(page).fetch_add(1, SeqCst) + 1;
        let bytes = page_of(page, state + 1, generation);
        let quiet = self.board.quiet();
        let good = if by_view {
            let view = self.region.view(start, common::page());
            self.good("view", &view) && {
                let view = view.unwrap();
                bytes.iter().enumerate().for_each(|(at, byte)| poke(view.wrapping_add(at), *byte));
                let released = self.region.release(view);
                self.good("release", &released)
            }
        } else {
            let outcome = self.region.write(start, &bytes);
            self.good("write", &outcome)
        };
        if good {
            let whole = self.check(if by_view { "view" } else { "write" }, page, &bytes, quiet);
            self.board.state(page).fetch_add(1, SeqCst);
            if let (true, Some(number)) = (whole, quiet) {
                self.written.insert(page, number);
            }
        } else {
            // Half of it may be there: nobody knows, until it is written again.
            self.written.remove(&page);
            self.board.state(page).fetch_add(1, SeqCst);
            self.count("given-up");
            self.blank(page);
        }
    }

    /// After a write that failed the page may have any of two generations. Marks it so.
    fn blank(&mut self, page: u64) {
        self.board.state(page).fetch_or(1, SeqCst);
        self.board.state(page).fetch_add(1, SeqCst);
        self.board.generation(page).fetch_or(1 << 40, SeqCst);
    }

    /// Reads any page, by a call or through a view.
    fn read_page(&mut self, by_view: bool) {
        let page = self.random.below(PAGES);
        let start = page * common::page();
        let board = self.board;
        let (state, generation) = (board.state(page).load(SeqCst), board.generation(page).load(SeqCst));
        let mut bytes = vec![0; common::page() as usize];
        let good = if by_view {
            let (before, length) = (self.random.below(3).min(page), 1 + self.random.below(3));
            let view = self.region.view(start - before * common::page(), (before + length) * common::page());
            if !self.good("view", &view) {
                return;
            }
            let view = view.unwrap();
            let shown = view.wrapping_add((before * common::page()) as usize);
            bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = peek(shown.wrapping_add(at)));
            let released = self.region.release(view);
            self.good("release", &released);
            true // with zeros in the place of what is lost
        } else {
            let outcome = self.region.read(start, &mut bytes);
            self.good("read", &outcome)
        };
        let unchanged = (board.state(page).load(SeqCst), board.generation(page).load(SeqCst)) == (state, generation);
        if !good || !unchanged || state % 2 == 1 || generation >= 1 << 40 {
            return;
        }
        let expected = page_of(page, state, generation);
        let wrong = bytes.iter().zip(&expected).position(|(byte, right)| byte != right && *byte != 0);
        assert_eq!(wrong, None, "page {page}, generation {generation}: {} at that place", bytes[wrong.unwrap_or(0)]);
        self.count("checked");
        let written = self.written.get(&page).copied();
        if written.is_some() && self.board.still(written) && !by_view {
            assert!(bytes == expected, "an own page, and nothing was broken since");
            self.count("strict");
        }
    }

    fn fill_scratch(&mut self) {
        let page = PAGES + self.number;
        let byte = 1 + self.random.below(255);
        let quiet = self.board.quiet();
        let outcome = self.region.fill(page * common::page(), common::page(), byte as u32);
        if self.good("fill", &outcome) {
            self.check("fill", page, &vec![byte as u8; common::page() as usize], quiet);
        }
    }

    fn copy_to_scratch(&mut self) {
        let (from, to) = (self.own_page(), PAGES + SCRATCH + self.number);
        let quiet = self.written.get(&from).copied();
        let outcome = self.region.copy_from(to * common::page(), self.region, from * common::page(), common::page());
        if self.good("copy", &outcome) && self.board.still(quiet) {
            let (state, generation) = (self.board.state(from).load(SeqCst), self.board.generation(from).load(SeqCst));
            self.check("copy", to, &page_of(from, state, generation), quiet);
        }
    }

    fn run(mut self, end: Instant) -> BTreeMap<String, u64> {
        while Instant::now() < end {
            match self.random.below(12) {
                0..=1 => self.write_page(false),
                2 => self.write_page(true),
                3..=5 => self.read_page(false),
                6..=7 => self.read_page(true),
                8 => self.fill_scratch(),
                9 => self.copy_to_scratch(),
                _ => {
                    let refreshed = self.region.refresh();
                    self.good("refresh", &refreshed);
                }
            }
        }
        self.counts
    }
}

/// A worker process: opens the file, and lets its threads loose.
fn worker() {
    let lines: Vec<String> = (0..4).map(|_| listen()).collect();
    let [path, board, number, seed] = &lines[..] else { panic!("four lines") };
    let (number, seed): (u64, u64) = (number.parse().unwrap(), seed.parse().unwrap());
    // SAFETY: no memory is passed.
    unsafe { alarm(seconds() as u32 + 40) };
    install_handler(a_signal, SA_ONSTACK);
    // SAFETY: all zeros is a sigaction.
    let mut action: sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (a_signal as *const () as usize, SA_SIGINFO | SA_ONSTACK);
    // SAFETY: a handler of that kind.
    assert_eq!(unsafe { sigaction(SIGSEGV, &action, std::ptr::null_mut()) }, 0);

    let file = File::options().read(true).write(true).open(path).unwrap();
    let board = Board::new(Path::new(board));
    let length = ALL_PAGES * common::page();
    let region = loop {
        let options = mapshare_options { length, ..with(MAPSHARE_READ_WRITE) };
        match c::open(Path::new(path), &options) {
            Ok(region) => break region,
            Err(failure) => assert_eq!(failure.code, ENXIO, "the file is short just now"),
        }
    };
    let end = Instant::now() + Duration::from_secs(seconds());
    let all = Mutex::new(BTreeMap::<String, u64>::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (all, board, file) = (&all, &board, &file);
            let thread = Thread {
                region,
                board,
                file,
                random: Random::new(seed + 10 * number + thread),
                number: number * THREADS + thread,
                written: BTreeMap::new(),
                counts: BTreeMap::new(),
            };
            scope.spawn(move || {
                let counts = thread.run(end);
                let mut all = all.lock().unwrap();
                counts.into_iter().for_each(|(what, count)| *all.entry(what).or_default() += count);
            });
        }
    });
    let counts = all.into_inner().unwrap();
    let faults = region.info().unwrap().faults;
    tell(&format!("faults={faults}"));
    region.unmap().unwrap();
    let line: Vec<String> = counts.iter().map(|(what, count)| format!("{what}={count}")).collect();
    tell(&line.join(" "));
}

/// Breaks what the workers use, at random, until they are through.
fn breaker(path: &Path, filler: Option<&Path>, board: &Board, mut random: Random, end: Instant) -> u64 {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let length = ALL_PAGES * common::page();
    let mut broken = 0;
    let mut full = false;
    let mut act = |random: &mut Random, kind: u64| {
        board.breaks().fetch_add(1, SeqCst);
        let (first, pages) = (random.below(ALL_PAGES), 1 + random.below(10));
        match kind {
            0 => file.set_len(first * common::page()).unwrap(),
            1 => file.set_len(random.below(length)).unwrap(),
            2..=4 => file.set_len(length).unwrap(),
            5 => {
                let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
                let (start, count) = ((first * common::page()) as i64, (pages * common::page()) as i64);
                // SAFETY: no memory is passed.
                let result = unsafe { fallocate(file.as_raw_fd(), mode, start, count) };
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            }
            _ => match filler {
                Some(filler) if full => {
                    std::fs::remove_file(filler).unwrap();
                    full = false;
                }
                Some(filler) => {
                    fill_up(filler);
                    full = true;
                }
                None => {}
            },
        }
        board.breaks().fetch_add(1, SeqCst);
    };
    while Instant::now() < end {
        let kind = random.below(7);
        act(&mut random, kind);
        broken += 1;
        // Sometimes at once again, sometimes after a while in which the workers get something whole.
        let pause = Duration::from_micros(random.below(4) * random.below(800));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            std::thread::yield_now();
        }
    }
    act(&mut random, 2);
    broken
}

fn storm(start: impl Fn() -> Partner, at: &dyn Fn(&str) -> PathBuf, board: PathBuf, fills: bool, codes: &[&str]) {
    let seed = seed();
    // SAFETY: no memory is passed.
    unsafe { alarm(seconds() as u32 + 60) };
    files::set_length(&board, common::page());
    let (path, filler) = (at("file"), at("filler"));
    files::set_length(&path, ALL_PAGES * common::page());
    let mut workers: Vec<Partner> = (0..WORKERS).map(|_| start()).collect();
    for (number, worker) in workers.iter_mut().enumerate() {
        for line in [path.display().to_string(), board.display().to_string(), number.to_string(), seed.to_string()] {
            worker.say(&line);
        }
    }
    let end = Instant::now() + Duration::from_secs(seconds());
    let filler = fills.then_some(filler.as_path());
    let broken = breaker(&path, filler, &Board::new(&board), Random::new(seed ^ 0xb4ea), end);
    let mut counts = BTreeMap::<String, u64>::new();
    for mut worker in workers {
        for _ in 0..2 {
            let line = worker.hear().unwrap_or_else(|| panic!("a worker died; seed {seed}"));
            for pair in line.split(' ') {
                let (what, count) = pair.split_once("=").unwrap_or_else(|| panic!("a worker says: {line:?}"));
                *counts.entry(what.to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
        }
        worker.finish();
    }
    say(&format!("{broken} breaks; {counts:?}"));
    for what in ["read", "write", "fill", "copy", "view", "release", "refresh"] {
        assert!(counts.contains_key(&format!("{what}:good")), "{what} never succeeded: {counts:?}");
    }
    for what in ["strict", "checked", "faults", "read:ENXIO", "write:ENXIO", "release:ENXIO"].iter().chain(codes) {
        assert!(counts.contains_key(*what), "{what} never happened, so that nothing was tested: {counts:?}");
    }
    let full = counts.keys().find(|what| what.ends_with("ENOSPC"));
    assert!(fills || full.is_none(), "{full:?}, and nobody filled this file system");
}

#[test]
fn no_signal_and_right_bytes_on_a_memory_file_system_that_is_full_at_times() {
    if role().as_deref() == Some("worker") {
        return worker();
    }
    let test = no_signal_and_right_bytes_on_a_memory_file_system_that_is_full_at_times;
    in_own_process(test, || {
        let (folder, board) = (Folder::new(), Folder::new());
        let Some(mount) = Mounted::new("tmpfs", folder.path(), "size=2m") else { return };
        let start = || Partner::start(test, "worker");
        storm(start, &|name| mount.join(name), board.join("board"), true, &["write:ENOSPC"]);
    });
}

#[test]
fn no_signal_and_right_bytes_on_a_disk_that_is_full_at_times() {
    if role().as_deref() == Some("worker") {
        return worker();
    }
    let test = no_signal_and_right_bytes_on_a_disk_that_is_full_at_times;
    in_own_process(test, || {
        let board = Folder::new();
        let Some(disk) = Ext4::new(6) else { return };
        let start = || Partner::start(test, "worker");
        storm(start, &|name| disk.join(name), board.join("board"), true, &["write:ENOSPC"]);
    });
}

#[test]
fn no_signal_and_right_bytes_on_the_file_system_of_temporary_files() {
    if role().as_deref() == Some("worker") {
        return worker();
    }
    let test = no_signal_and_right_bytes_on_the_file_system_of_temporary_files;
    in_own_process(test, || {
        let (folder, board) = (Folder::new(), Folder::new());
        let start = || Partner::start(test, "worker");
        storm(start, &|name| folder.join(name), board.join("board"), false, &[]);
    });
}
