//! What an open region takes: bytes from the allocator, bytes of the process; and what calls take: nothing.

mod common;

use common::files::File;
use common::library::{Library, Token};
use common::machine;
use common::table::Table;
use mapshare::ffi::options::{MAPSHARE_READ_WRITE, mapshare_options, mapshare_region};
use mapshare::ffi::{access, open, region, view};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

const REGIONS: usize = 10_000;
const MOST_BYTES: f64 = 1024.0;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Counts what this program and the library that is linked into it allocate.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: passes everything on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed); // ORDER: Relaxed, a count of one thread
        BYTES.fetch_add(layout.size(), Ordering::Relaxed); // ORDER: Relaxed, as above
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed); // ORDER: Relaxed, as above
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn main() {
    machine::pin_somewhere();
    let file = File::new("/dev/shm", 4096);
    let options = mapshare_options { access: MAPSHARE_READ_WRITE, ..mapshare_options::default() };
    let limit = usize::try_from(machine::allow_many_files()).unwrap_or(usize::MAX);
    let regions = REGIONS.min(limit.saturating_sub(50));

    let table = Table::new(&format!("Memory: {regions} open regions of 4 KiB, none of them touched"), "value", "");
    of_open_regions(&table, &file, &options, regions);
    of_calls(&table, &file, &options);
}

fn of_open_regions(table: &Table, file: &File, options: &mapshare_options, regions: usize) {
    // In the library that is linked in, whose allocations the allocator above counts.
    let mut tokens = Vec::with_capacity(regions);
    open_linked(file, options, &mut tokens, 1); // what the first one sets up for all stays out
    let before = BYTES.load(Ordering::Relaxed); // ORDER: Relaxed, a count of one thread
    open_linked(file, options, &mut tokens, regions - 1);
    let bytes = BYTES.load(Ordering::Relaxed) - before; // ORDER: Relaxed, as above
    let per_region = bytes as f64 / (regions - 1) as f64;
    table.number("allocated per region, linked", per_region, "B", Some(MOST_BYTES));
    tokens.drain(..).for_each(|token| check(open::mapshare_unmap(token)));

    // In the shared library, whose memory only the C library and the kernel can tell of.
    let library = Library::load();
    let mut shared: Vec<Token> = Vec::with_capacity(regions);
    shared.push(library.open(file.c_path(), options));
    let (heap, resident) = (heap_in_use(), machine::status_kib("RssAnon"));
    let tables = machine::status_kib("VmPTE");
    shared.extend((1..regions).map(|_| library.open(file.c_path(), options)));
    let others = (regions - 1) as f64;
    let heap = heap_in_use().saturating_sub(heap) as f64 / others;
    let resident = 1024.0 * machine::status_kib("RssAnon").saturating_sub(resident) as f64 / others;
    let tables = 1024.0 * machine::status_kib("VmPTE").saturating_sub(tables) as f64 / others;
    table.number("C heap per region, shared library", heap, "B", Some(MOST_BYTES));
    table.number("private memory (RSS) per region, the same", resident, "B", Some(MOST_BYTES));
    table.number("page tables per region, the kernel's", tables, "B", None);
    shared.drain(..).for_each(|token| library.unmap(token));
}

fn of_calls(table: &Table, file: &File, options: &mapshare_options) {
    const CALLS: usize = 1000;
    let mut tokens = Vec::with_capacity(1);
    open_linked(file, options, &mut tokens, 1);
    let token = tokens[0];
    let mut buffer = [0u8; 64];
    let pointer = buffer.as_mut_ptr();
    let count = |what: &str, call: &mut dyn FnMut() -> i32| {
        check(call());
        let before = ALLOCATIONS.load(Ordering::Relaxed); // ORDER: Relaxed, a count of one thread
        (0..CALLS).for_each(|_| check(call()));
        let made = ALLOCATIONS.load(Ordering::Relaxed) - before; // ORDER: Relaxed, as above
        table.number(&format!("allocations per call of {what}"), made as f64 / CALLS as f64, "", Some(0.0));
    };
    // SAFETY: the buffer has 64 bytes.
    count("read", &mut || unsafe { access::mapshare_read(token, 8, pointer.cast(), 64) });
    // SAFETY: as above.
    count("write", &mut || unsafe { access::mapshare_write(token, 8, pointer.cast(), 64) });
    count("fill", &mut || access::mapshare_fill(token, 8, 64, 0xa5));
    count("copy", &mut || access::mapshare_copy(token, 8, token, 16, 64));
    count("length", &mut || i32::try_from(region::mapshare_length(token)).unwrap_or(-1).min(0));
    count("view and release", &mut || {
        let mut bytes = std::ptr::null_mut();
        // SAFETY: room for the address.
        check(unsafe { view::mapshare_view(token, 0, 64, &mut bytes) });
        view::mapshare_release(token, bytes)
    });
    // SAFETY: the buffer has 64 bytes; the call fails.
    let refused = || i32::from(unsafe { access::mapshare_read(token, 4096, pointer.cast(), 64) } == 0);
    count("a read that is refused", &mut || -refused());
    check(open::mapshare_unmap(token));
}

fn open_linked(file: &File, options: &mapshare_options, tokens: &mut Vec<*mut mapshare_region>, count: usize) {
    for _ in 0..count {
        let mut token = std::ptr::null_mut();
        // SAFETY: a C string, a whole struct, and room for the token.
        let code = unsafe { open::mapshare_open(file.c_path().as_ptr(), options, size_of_val(options), &mut token) };
        check(code);
        tokens.push(token);
    }
}

fn check(code: i32) {
    assert!(code >= 0, "{code}");
}

/// Bytes that are allocated from the C library, by whomever.
#[cfg(target_env = "gnu")]
fn heap_in_use() -> usize {
    // SAFETY: it only counts.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

#[cfg(not(target_env = "gnu"))]
fn heap_in_use() -> usize {
    0
}
