//! mapshare_read, mapshare_write and mapshare_fill against memcpy and memset, called through pointers, on a raw mapping
//! of the same file.
//!
//! `cargo bench --bench access` has the region's bytes start on a page and the buffer's in the middle of one;
//! `-- alignments` adds others; `-- 4096 65536` measures those lengths only.
//!
//! Decision: the two sides do not start at the same place of a page. A processor that compares the low twelve bits of
//! addresses first then takes a load for one of the bytes just stored, or not, as the addresses of the run have it: 64
//! bytes took 2.2 ns in one run and 7.3 ns in the next.

mod common;

use common::files::{File, RawMapping};
use common::library::{self, Library, Token};
use common::machine;
use common::measure::compare;
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_POPULATE, MAPSHARE_READ_WRITE, mapshare_options};
use std::ffi::c_void;
use std::hint::black_box;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Lengths, and what the call may cost beside memcpy.
const LENGTHS: [(usize, Goal); 17] = [
    (8, Goal::RatioAndTime(2.0, 4.0)),
    (64, Goal::RatioAndTime(2.0, 4.0)),
    (256, Goal::Ratio(1.6)),
    (512, Goal::Ratio(1.2)),
    (KIB, Goal::Ratio(1.2)),
    (2 * KIB, Goal::Ratio(1.2)),
    (4 * KIB, Goal::Ratio(1.03)),
    (16 * KIB, Goal::Ratio(1.03)),
    (64 * KIB, Goal::Ratio(1.03)),
    (128 * KIB, Goal::Ratio(1.03)),
    (256 * KIB, Goal::Ratio(1.03)),
    (512 * KIB, Goal::Ratio(1.03)),
    (MIB, Goal::Ratio(0.91)),
    (4 * MIB, Goal::Ratio(0.91)),
    (16 * MIB, Goal::Ratio(0.91)),
    (64 * MIB, Goal::Ratio(0.91)),
    (256 * MIB, Goal::Ratio(0.91)),
];

/// Where the bytes begin behind a page boundary: in the region, in the buffer.
const USUAL: (usize, usize) = (0, 2048);
const ALIGNMENTS: [(usize, usize); 6] = [(0, 0), (0, 2064), (16, 2048), (1, 2048), (0, 2049), (61, 2051)];

struct Bench {
    shared: Library,
    region: Token,
    mapping: RawMapping,
    buffer: RawMapping,
    table: Table,
}

fn main() {
    machine::pin_somewhere();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let lengths = LENGTHS.iter().filter(|(length, _)| chosen.is_empty() || chosen.contains(length));
    let room = lengths.clone().map(|(length, _)| length + 4 * KIB).max().unwrap_or(4 * KIB);

    let file = File::new("/dev/shm", room);
    let library = Library::load();
    let options =
        mapshare_options { access: MAPSHARE_READ_WRITE, flags: MAPSHARE_POPULATE, ..mapshare_options::default() };
    let bench = Bench {
        shared: library,
        region: library.open(file.c_path(), &options),
        mapping: RawMapping::of(&file, room),
        buffer: RawMapping::anonymous(room),
        table: Table::new("Access: a call through the shared library", "mapshare", "memcpy"),
    };
    for (length, goal) in lengths {
        bench.read(*length, USUAL, *goal);
        bench.write(*length, USUAL, *goal);
        bench.fill(*length, Goal::None);
        bench.rep_movsb(*length);
        if arguments.iter().any(|argument| argument == "alignments") {
            for alignment in ALIGNMENTS {
                bench.read(*length, alignment, Goal::None);
                bench.write(*length, alignment, Goal::None);
            }
        }
    }
    bench.shared.unmap(bench.region);
}

impl Bench {
    fn read(&self, length: usize, (offset, behind): (usize, usize), goal: Goal) {
        let (read, region, offset) = (black_box(self.shared.read), self.region.0, black_box(offset));
        let (memcpy, from, to) = (black_box(library::memcpy()), self.mapping.at(offset), self.buffer.at(behind));
        let length = black_box(length);
        let mut failed = 0;
        let comparison = compare(
            |calls| {
                for _ in 0..calls {
                    // SAFETY: the buffer has the bytes.
                    failed |= unsafe { read(region, offset as u64, to, length) };
                }
            },
            |calls| repeat(calls, || black_box(copy(memcpy, to, from, length))),
        );
        self.shared.check(failed);
        self.table.row(&what("read", length, (offset, behind)), &comparison, goal);
    }

    fn write(&self, length: usize, (offset, behind): (usize, usize), goal: Goal) {
        let (write, region, offset) = (black_box(self.shared.write), self.region.0, black_box(offset));
        let (memcpy, to, from) = (black_box(library::memcpy()), self.mapping.at(offset), self.buffer.at(behind));
        let length = black_box(length);
        let mut failed = 0;
        let comparison = compare(
            |calls| {
                for _ in 0..calls {
                    // SAFETY: the buffer has the bytes.
                    failed |= unsafe { write(region, offset as u64, from, length) };
                }
            },
            |calls| repeat(calls, || black_box(copy(memcpy, to, from, length))),
        );
        self.shared.check(failed);
        self.table.row(&what("write", length, (offset, behind)), &comparison, goal);
    }

    fn fill(&self, length: usize, goal: Goal) {
        let (fill, region) = (black_box(self.shared.fill), self.region.0);
        let (memset, to) = (black_box(library::memset()), self.mapping.at(0));
        let length = black_box(length);
        let mut failed = 0;
        let comparison = compare(
            |calls| {
                for _ in 0..calls {
                    // SAFETY: any arguments may be passed.
                    failed |= unsafe { fill(region, 0, length as u64, 0xa5) };
                }
            },
            |calls| {
                repeat(calls, || {
                    // SAFETY: the mapping has the bytes.
                    black_box(unsafe { memset(to, 0xa5, length) })
                })
            },
        );
        self.shared.check(failed);
        self.table.row(&format!("{} (memset)", what("fill", length, USUAL)), &comparison, goal);
        // The bytes of before, for what comes next.
        copy(library::memcpy(), self.mapping.at(USUAL.0), self.buffer.at(USUAL.1), length);
    }

    /// What the machine has to offer beside memcpy, for the lengths that are meant to beat it.
    #[cfg(target_arch = "x86_64")]
    fn rep_movsb(&self, length: usize) {
        if length < MIB {
            return;
        }
        let (memcpy, from, to) = (black_box(library::memcpy()), self.mapping.at(USUAL.0), self.buffer.at(USUAL.1));
        let comparison = compare(
            |calls| {
                repeat(calls, || {
                    // SAFETY: both sides have the bytes and do not overlap.
                    unsafe {
                        std::arch::asm!(
                            "rep movsb",
                            inout("rcx") length => _,
                            inout("rdi") to => _,
                            inout("rsi") from => _,
                            options(nostack, preserves_flags),
                        );
                    }
                })
            },
            |calls| repeat(calls, || black_box(copy(memcpy, to, from, length))),
        );
        self.table.row(&format!("  rep movsb instead, {}", size(length)), &comparison, Goal::None);
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn rep_movsb(&self, _length: usize) {}
}

#[inline(always)]
fn repeat<R>(calls: u64, mut call: impl FnMut() -> R) {
    for _ in 0..calls {
        call();
    }
}

#[inline(always)]
fn copy(memcpy: library::Memcpy, to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void {
    // SAFETY: both sides have the bytes, in different mappings.
    unsafe { memcpy(to, from, length) }
}

fn what(call: &str, length: usize, (offset, behind): (usize, usize)) -> String {
    let alignment = if (offset, behind) == USUAL { String::new() } else { format!(" at +{offset}, buffer +{behind}") };
    format!("{call} {}{alignment}", size(length))
}

fn size(length: usize) -> String {
    match length {
        0..KIB => format!("{length} B"),
        KIB..MIB => format!("{} KiB", length / KIB),
        _ => format!("{} MiB", length / MIB),
    }
}
