//! Two threads on one region, each on a core of its own, against the same with a region each, and against one thread
//! alone. A line that both write would show. What the machine itself does to two threads shows in the rows of memcpy.

mod common;

use common::files::{File, RawMapping};
use common::library::{self, Library, Token};
use common::machine;
use common::measure::Comparison;
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_POPULATE, MAPSHARE_READ_WRITE, mapshare_options};
use std::ffi::c_void;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// Few enough for a round to end before the scheduler interferes.
const CALLS: u64 = 1000;
const ROUNDS: usize = 2000;
/// As many rounds have to count, and so long they are waited for.
const ENOUGH: usize = 200;
const PATIENCE: Duration = Duration::from_secs(5);
const WITHIN: Goal = Goal::Ratio(1.05);

fn main() {
    let cores = machine::cores_of_machine();
    if cores.len() < 2 {
        println!("SKIPPED threads: this machine has one core.");
        return;
    }
    let cores = [cores[0], cores[1]];
    machine::pin(cores[0]);
    let library = Library::load();
    let file = File::new("/dev/shm", 8 * PAGE);
    let options =
        mapshare_options { access: MAPSHARE_READ_WRITE, flags: MAPSHARE_POPULATE, ..mapshare_options::default() };
    let (shared, own) = (library.open(file.c_path(), &options), library.open(file.c_path(), &options));
    let mapping = RawMapping::of(&file, 8 * PAGE);

    let table = Table::new("Threads: time of a call, per thread", "two threads", "rival");
    for length in [8, 64, 1024] {
        let calls = |regions: [Token; 2], writes| {
            [0, 1].map(|thread| Work {
                shared: library,
                region: regions[thread],
                offset: PAGE * (1 + 2 * thread),
                length,
                writes,
            })
        };
        for (name, writes) in [("read", false), ("write", true)] {
            let together = calls([shared, shared], writes);
            let apart = calls([shared, own], writes);
            let what = |rival: &str| format!("{name} {length} B, one region ({rival})");
            print(&table, &what("a region each"), compare(cores, &together, Some(&apart)), WITHIN);
            print(&table, &what("one thread"), compare(cores, &together, None), WITHIN);
        }
        let raw = [0, 1].map(|thread| Raw { from: mapping.at(PAGE * (1 + 2 * thread)).addr(), length });
        print(&table, &format!("  memcpy {length} B (one thread)"), compare(cores, &raw, None), Goal::None);
    }
    library.unmap(shared);
    library.unmap(own);
}

fn print(table: &Table, what: &str, comparison: Option<Comparison>, goal: Goal) {
    match comparison {
        Some(comparison) => table.row(what, &comparison, goal),
        None => println!("{what:44} not measured: the machine is too busy to run two threads at once"),
    }
}

/// What one thread does in a round.
trait Rounds: Sync {
    fn round(&self);
}

struct Work {
    shared: Library,
    region: Token,
    /// Each thread has bytes of its own, so that the bytes are no shared line.
    offset: usize,
    length: usize,
    writes: bool,
}

impl Rounds for Work {
    fn round(&self) {
        let mut buffer = Buffer::new();
        let buffer: *mut c_void = buffer.bytes.as_mut_ptr().cast();
        let (read, write) = (black_box(self.shared.read), black_box(self.shared.write));
        let mut failed = 0;
        for _ in 0..CALLS {
            failed |= if self.writes {
                // SAFETY: the buffer has the bytes.
                unsafe { write(self.region.0, self.offset as u64, buffer, self.length) }
            } else {
                // SAFETY: the buffer has the bytes.
                unsafe { read(self.region.0, self.offset as u64, buffer, self.length) }
            };
        }
        self.shared.check(failed);
    }
}

/// Bytes that do not begin at the same place of a page as those of the region; see access.rs for the reason.
#[repr(C, align(4096))]
struct Buffer {
    before: [u8; PAGE / 2],
    bytes: [u8; PAGE / 2],
}

impl Buffer {
    fn new() -> Buffer {
        Buffer { before: [0xa5; PAGE / 2], bytes: [0xa5; PAGE / 2] }
    }
}

struct Raw {
    from: usize,
    length: usize,
}

impl Rounds for Raw {
    fn round(&self) {
        let mut buffer = Buffer::new();
        let (memcpy, from) = (black_box(library::memcpy()), std::ptr::with_exposed_provenance(self.from));
        for _ in 0..CALLS {
            // SAFETY: the mapping has the bytes, and the buffer room for them.
            unsafe { memcpy(buffer.bytes.as_mut_ptr().cast(), from, self.length) };
        }
    }
}

/// Rounds of two threads at once, taking turns with rounds of a rival: two other threads, or the first one alone. Rounds
/// in which the scheduler kept the threads apart do not count.
fn compare<W: Rounds>(cores: [usize; 2], ours: &[W; 2], rival: Option<&[W; 2]>) -> Option<Comparison> {
    let mut pairs = Vec::with_capacity(ROUNDS);
    let start = Instant::now();
    while pairs.len() < ENOUGH && start.elapsed() < PATIENCE {
        pairs.extend(some_rounds(cores, ours, rival));
    }
    (pairs.len() >= ENOUGH).then(|| Comparison::of(&pairs))
}

fn some_rounds<W: Rounds>(cores: [usize; 2], ours: &[W; 2], rival: Option<&[W; 2]>) -> Vec<(f64, f64)> {
    let gate = Gate::default();
    let run = |thread: usize| {
        machine::pin(cores[thread]);
        let mut spans = Vec::with_capacity(2 * ROUNDS);
        for _ in 0..ROUNDS {
            gate.pass();
            spans.push(timed(|| ours[thread].round()));
            gate.pass();
            spans.push(match rival {
                Some(rival) => timed(|| rival[thread].round()),
                None if thread == 0 => timed(|| ours[0].round()),
                None => timed(|| ()),
            });
        }
        spans
    };
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| run(1));
        (run(0), second.join().expect("the thread measured"))
    });
    let nanoseconds = |(start, end): (Instant, Instant)| (end - start).as_nanos() as f64;
    let together = |a: (Instant, Instant), b: (Instant, Instant)| {
        let common = a.1.min(b.1).saturating_duration_since(a.0.max(b.0)).as_nanos() as f64;
        common >= 0.9 * nanoseconds(a).max(nanoseconds(b))
    };
    let mean = |a, b| (nanoseconds(a) + nanoseconds(b)) / 2.0 / CALLS as f64;
    first
        .chunks_exact(2)
        .zip(second.chunks_exact(2))
        .filter(|(a, b)| together(a[0], b[0]) && (rival.is_none() || together(a[1], b[1])))
        .map(|(a, b)| {
            let alone = nanoseconds(a[1]) / CALLS as f64;
            (mean(a[0], b[0]), if rival.is_some() { mean(a[1], b[1]) } else { alone })
        })
        .collect()
}

fn timed(work: impl FnOnce()) -> (Instant, Instant) {
    let start = Instant::now();
    work();
    (start, Instant::now())
}

/// Lets two threads through together.
#[derive(Default)]
struct Gate {
    arrivals: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        // ORDER: Relaxed, nothing but time depends on it.
        let last_of_this_pass = self.arrivals.fetch_add(1, Ordering::Relaxed) | 1;
        let mut turns = 0;
        // ORDER: Relaxed, as above.
        while self.arrivals.load(Ordering::Relaxed) <= last_of_this_pass {
            turns += 1;
            if turns % 10_000 == 0 {
                // The other one is not running.
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}
