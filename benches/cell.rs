//! A cell's publish and read, alone and beside a writer, against a seqlock: the least that a latest value can cost, which
//! lives through no death and starves readers.

mod common;

use common::files::{File, RawMapping};
use common::library::{Library, Token};
use common::machine::{cores_of_machine, pin, pin_somewhere};
use common::measure::{Comparison, compare};
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_POPULATE, MAPSHARE_READ_WRITE, mapshare_options};
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

const ROOM: usize = 1 << 20;
const RIVAL: usize = ROOM / 2;

/// One copy, and a version that is odd while it changes.
#[repr(C, align(64))]
struct Seqlock<const N: usize> {
    version: AtomicU64,
    value: [u8; N],
}

// As ours are, both are called through pointers.
type Write<const N: usize> = extern "C" fn(*mut Seqlock<N>, *const c_void) -> i32;
type Read<const N: usize> = extern "C" fn(*mut Seqlock<N>, *mut c_void) -> i32;

extern "C" fn write<const N: usize>(lock: *mut Seqlock<N>, value: *const c_void) -> i32 {
    // SAFETY: it stands in the mapping.
    let version = unsafe { &(*lock).version };
    let before = version.load(Ordering::Relaxed);
    version.store(before + 1, Ordering::Relaxed);
    fence(Ordering::Release);
    // SAFETY: as above.
    let to = unsafe { &raw mut (*lock).value };
    // SAFETY: as above; the version tells readers of the race.
    unsafe { std::ptr::copy_nonoverlapping(value.cast::<u8>(), to.cast(), N) };
    version.store(before + 2, Ordering::Release);
    0
}

extern "C" fn read<const N: usize>(lock: *mut Seqlock<N>, value: *mut c_void) -> i32 {
    // SAFETY: it stands in the mapping.
    let version = unsafe { &(*lock).version };
    // A busy writer starves a reader of large values.
    for _ in 0..64 {
        let before = version.load(Ordering::Acquire);
        // SAFETY: as above.
        let from = unsafe { &raw const (*lock).value };
        // SAFETY: as above; the version tells of the race.
        unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), value.cast(), N) };
        fence(Ordering::Acquire);
        if before & 1 == 0 && version.load(Ordering::Relaxed) == before {
            return 0;
        }
        std::hint::spin_loop();
    }
    1
}

struct Bench {
    library: Library,
    region: Token,
    mapping: RawMapping,
}

fn main() {
    pin_somewhere();
    let file = File::new("/dev/shm", ROOM);
    let library = Library::load();
    let options =
        mapshare_options { access: MAPSHARE_READ_WRITE, flags: MAPSHARE_POPULATE, ..mapshare_options::default() };
    let region = library.open(file.c_path(), &options);
    let bench = Bench { library, region, mapping: RawMapping::of(&file, ROOM) };
    let table = Table::new("Cell: a call, with nobody else about", "mapshare", "seqlock");
    bench.alone::<8>(&table, Goal::None, Goal::None);
    bench.alone::<64>(&table, Goal::Time(14.0), Goal::Time(8.0));
    bench.alone::<4096>(&table, Goal::None, Goal::None);
    let table = Table::new("Cell: a read beside a writer that does nothing else", "mapshare", "seqlock");
    bench.beside::<64>(&table, Goal::Ratio(2.0));
    bench.beside::<4096>(&table, Goal::None);
    bench.library.unmap(region);
}

impl Bench {
    fn make(&self, length: usize) {
        self.library.write_zeros(self.region, 0, ROOM as u64);
        self.library.check((self.library.cell_init)(self.region.0, 0, length as u64));
    }

    fn alone<const N: usize>(&self, table: &Table, publish_goal: Goal, read_goal: Goal) {
        self.make(N);
        let (publish, read_cell, region) =
            (black_box(self.library.cell_publish), black_box(self.library.cell_read), self.region.0);
        let (write, read) = (black_box(write::<N> as Write<N>), black_box(read::<N> as Read<N>));
        let lock = self.mapping.at(RIVAL).cast();
        let mut value = [7u8; N];
        let address: *mut c_void = value.as_mut_ptr().cast();
        let mut failed = 0;
        let publishing = compare(
            |calls| {
                for _ in 0..calls {
                    // SAFETY: the value has the bytes.
                    failed |= unsafe { publish(region, 0, black_box(address), N) };
                }
            },
            |calls| (0..calls).for_each(|_| assert_eq!(write(black_box(lock), black_box(address)), 0)),
        );
        let mut version = 0;
        let reading = compare(
            |calls| {
                for _ in 0..calls {
                    // SAFETY: the value has room for the bytes.
                    failed |= unsafe { read_cell(region, 0, black_box(address), N, &mut version) };
                }
            },
            |calls| (0..calls).for_each(|_| assert_eq!(read(black_box(lock), black_box(address)), 0)),
        );
        self.library.check(failed);
        table.row(&format!("publish {N} B"), &publishing, publish_goal);
        table.row(&format!("read {N} B"), &reading, read_goal);
    }

    fn beside<const N: usize>(&self, table: &Table, goal: Goal) {
        self.make(N);
        let (library, region) = (&self.library, &self.region);
        let lock = self.mapping.at(RIVAL).expose_provenance();
        let lock = || std::ptr::with_exposed_provenance_mut::<Seqlock<N>>(lock);
        let pairs: Vec<_> = (0..21)
            .map(|_| {
                let ours = beside(
                    || {
                        let mut value = [0u8; N];
                        // SAFETY: the value has room for the bytes.
                        let code = unsafe {
                            (library.cell_read)(
                                region.get(),
                                0,
                                black_box(&mut value).as_mut_ptr().cast(),
                                N,
                                null_mut(),
                            )
                        };
                        assert!(code == 0 || code == -libc::EAGAIN, "{code}");
                        code == 0
                    },
                    || {
                        let value = black_box([7u8; N]);
                        // SAFETY: the value has the bytes.
                        library.check(unsafe { (library.cell_publish)(region.get(), 0, value.as_ptr().cast(), N) });
                    },
                );
                let theirs = beside(
                    || {
                        let mut value = [0u8; N];
                        read::<N>(lock(), black_box(&mut value).as_mut_ptr().cast()) == 0
                    },
                    || {
                        let value = black_box([7u8; N]);
                        write::<N>(lock(), value.as_ptr().cast());
                    },
                );
                (ours, theirs)
            })
            .collect();
        table.row(&format!("read {N} B"), &Comparison::of(&pairs), goal);
    }
}

/// Nanoseconds for each read that gave a value.
fn beside(read: impl Fn() -> bool, write: impl Fn() + Sync) -> f64 {
    let (stop, started) = (AtomicBool::new(false), AtomicBool::new(false));
    let cores = cores_of_machine();
    pin(cores[0]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores[1 % cores.len()]);
            started.store(true, Ordering::Relaxed);
            while !stop.load(Ordering::Relaxed) {
                (0..16).for_each(|_| write());
            }
        });
        while !started.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let start = Instant::now();
        let mut reads = 0u64;
        while start.elapsed() < Duration::from_millis(15) {
            (0..64).for_each(|_| reads += u64::from(read()));
        }
        let nanoseconds = start.elapsed().as_nanos() as f64;
        stop.store(true, Ordering::Relaxed);
        nanoseconds / reads.max(1) as f64
    })
}
