//! mapshare_open and mapshare_unmap of a small file against what a program without the library does: open, fstat, mmap,
//! munmap, close; and mapshare_unmap alone against munmap alone.

mod common;

use common::files::File;
use common::library::{Library, Token};
use common::machine;
use common::measure::{compare, compare_timed, time};
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE, mapshare_options};
use std::ffi::{CStr, c_int, c_void};
use std::hint::black_box;
use std::io::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LENGTH: usize = 4096;
/// Open and unmap together, as a multiple of the calls without the library.
const OPEN: Goal = Goal::Ratio(1.5);
/// Unmap alone, above munmap.
const UNMAP: Goal = Goal::Above(2000.0);

fn main() {
    machine::pin_somewhere();
    let library = Library::load();
    let table = Table::new("Open and unmap, 4 KiB", "mapshare", "raw calls");
    for directory in ["/dev/shm", "/tmp"] {
        let file = File::new(directory, LENGTH);
        for (name, access) in [("read-only", MAPSHARE_READ_ONLY), ("read-write", MAPSHARE_READ_WRITE)] {
            let options = mapshare_options { access, ..mapshare_options::default() };
            let comparison = compare(
                |calls| (0..calls).for_each(|_| library.unmap(library.open(file.c_path(), &options))),
                |calls| (0..calls).for_each(|_| open_and_close(file.c_path(), access)),
            );
            table.row(&format!("open + unmap, {name}, {directory}"), &comparison, OPEN);
        }
    }

    let file = File::new("/dev/shm", LENGTH);
    let ours = |calls| unmap_ours(&library, &file, calls);
    let with_close = |calls| unmap_raw(&file, calls, true);
    let raw = |calls| unmap_raw(&file, calls, false);
    table.row("unmap alone (munmap)", &compare_timed(ours, raw), UNMAP);
    table.row("unmap alone (munmap, close)", &compare_timed(ours, with_close), Goal::None);
    // The barrier that unmap needs interrupts the cores that run other threads of the process; so does munmap itself.
    beside_a_busy_thread(std::hint::spin_loop, || {
        table.row("unmap beside a thread (munmap)", &compare_timed(ours, raw), UNMAP);
        table.row("unmap beside a thread (munmap, close)", &compare_timed(ours, with_close), Goal::None);
    });
    let options = mapshare_options { access: MAPSHARE_READ_ONLY, ..mapshare_options::default() };
    let region = library.open(file.c_path(), &options);
    let read = || {
        let (region, mut byte) = (&region, [0u8; 1]);
        // SAFETY: the buffer has one byte.
        library.check(unsafe { (library.read)(region.0, 0, byte.as_mut_ptr().cast(), 1) });
    };
    beside_a_busy_thread(read, || {
        table.row("unmap beside one that reads (munmap)", &compare_timed(ours, raw), UNMAP);
    });
    library.unmap(region);
}

fn unmap_ours(library: &Library, file: &File, calls: u64) -> Duration {
    let options = mapshare_options { access: MAPSHARE_READ_WRITE, ..mapshare_options::default() };
    // Few at a time, so that the descriptors suffice.
    in_batches(calls, |batch| {
        let regions: Vec<Token> = (0..batch).map(|_| library.open(file.c_path(), &options)).collect();
        for region in &regions {
            let mut byte = [0u8; 1];
            // SAFETY: the buffer has one byte.
            library.check(unsafe { (library.read)(region.0, 0, byte.as_mut_ptr().cast(), 1) });
        }
        time(|| regions.iter().for_each(|region| library.unmap(*region)))
    })
}

fn unmap_raw(file: &File, calls: u64, close_too: bool) -> Duration {
    in_batches(calls, |batch| {
        let mapped: Vec<_> = (0..batch).map(|_| open_and_map(file.c_path(), MAPSHARE_READ_WRITE)).collect();
        for (_, address) in &mapped {
            // SAFETY: the page is mapped.
            black_box(unsafe { address.cast::<u8>().read_volatile() });
        }
        let taken = time(|| {
            for (fd, address) in &mapped {
                unmap(*address);
                if close_too {
                    close(*fd);
                }
            }
        });
        if !close_too {
            mapped.iter().for_each(|(fd, _)| close(*fd));
        }
        taken
    })
}

fn in_batches(calls: u64, mut batch: impl FnMut(u64) -> Duration) -> Duration {
    const MOST: u64 = 256;
    (0..calls).step_by(MOST as usize).map(|done| batch(MOST.min(calls - done))).sum()
}

/// Does `work` while a thread on another core does `busy` over and over.
fn beside_a_busy_thread(busy: impl Fn() + Sync, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let other_core = machine::cores_of_machine()[0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            machine::pin(other_core);
            // ORDER: Relaxed, only that it stops some time.
            while !stop.load(Ordering::Relaxed) {
                busy();
            }
        });
        work();
        stop.store(true, Ordering::Relaxed); // ORDER: Relaxed, as above
    });
}

fn open_and_close(path: &CStr, access: u32) {
    let (fd, address) = open_and_map(path, access);
    unmap(address);
    close(fd);
}

fn open_and_map(path: &CStr, access: u32) -> (c_int, *mut c_void) {
    let (mode, protection) = match access {
        MAPSHARE_READ_WRITE => (libc::O_RDWR, libc::PROT_READ | libc::PROT_WRITE),
        _ => (libc::O_RDONLY, libc::PROT_READ),
    };
    // SAFETY: a C string.
    let fd = unsafe { libc::open(path.as_ptr(), mode | libc::O_CLOEXEC) };
    assert!(fd >= 0, "open: {}", Error::last_os_error());
    // SAFETY: all zeros is a value of it.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: room for the answer.
    let result = unsafe { libc::fstat(fd, &mut status) };
    assert_eq!(result, 0, "fstat: {}", Error::last_os_error());
    let length = status.st_size as usize;
    // SAFETY: a new mapping; nothing is replaced.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
    assert_ne!(address, libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
    (fd, address)
}

fn unmap(address: *mut c_void) {
    // SAFETY: `open_and_map` mapped it, and nobody uses it any more.
    let result = unsafe { libc::munmap(address, LENGTH) };
    assert_eq!(result, 0, "munmap: {}", Error::last_os_error());
}

fn close(fd: c_int) {
    // SAFETY: `open_and_map` opened it.
    unsafe { libc::close(fd) };
}
