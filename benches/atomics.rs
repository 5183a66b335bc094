//! mapshare_atomic_* against the same operation of the processor on a raw mapping of the same file.

mod common;

use common::files::{File, RawMapping};
use common::library::Library;
use common::machine;
use common::measure::compare;
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_POPULATE, MAPSHARE_READ_WRITE, mapshare_options};
use std::ffi::c_int;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// What a call may cost beside the instruction, in nanoseconds.
const BESIDE: f64 = 5.0;

fn main() {
    machine::pin_somewhere();
    let file = File::new("/dev/shm", 4096);
    let library = Library::load();
    let options =
        mapshare_options { access: MAPSHARE_READ_WRITE, flags: MAPSHARE_POPULATE, ..mapshare_options::default() };
    let region = library.open(file.c_path(), &options);
    let mapping = RawMapping::of(&file, 4096);
    // SAFETY: the mapping has the bytes, and they are accessed by atomics only.
    let word = unsafe { AtomicU64::from_ptr(mapping.at(64).cast()) };
    let table = Table::new("Atomics: a call through the shared library", "mapshare", "instruction");

    let row = |what: &str, ours: &dyn Fn(u64) -> c_int, rival: &dyn Fn(u64) -> u64| {
        let mut failed = 0;
        let comparison = compare(
            |calls| (0..calls).for_each(|call| failed |= ours(call)),
            |calls| {
                for call in 0..calls {
                    black_box(rival(call));
                }
            },
        );
        library.check(failed);
        table.row(what, &comparison, Goal::Above(BESIDE));
    };
    let (token, mut before) = (region.0, 0u64);
    let before = &raw mut before;
    let load = black_box(library.atomic_load);
    let store = black_box(library.atomic_store);
    let add = black_box(library.atomic_add);
    let compare_swap = black_box(library.atomic_compare_swap);
    // SAFETY: room for a number, in each.
    row("load", &|_| unsafe { load(token, 64, before) }, &|_| word.load(SeqCst));
    row("store", &|call| store(token, 64, call), &|call| {
        word.store(call, SeqCst);
        call
    });
    // SAFETY: as above.
    row("add", &|_| unsafe { add(token, 64, 1, before) }, &|_| word.fetch_add(1, SeqCst));
    row(
        "compare_swap, which swaps",
        &|call| {
            word_is(word, call);
            // SAFETY: as above.
            unsafe { compare_swap(token, 64, call, call + 1, before) }
        },
        &|call| {
            word_is(word, call);
            word.compare_exchange(call, call + 1, SeqCst, SeqCst).unwrap_or(0)
        },
    );
    library.unmap(region);
}

/// The number that the swap before has left, or the first of a round.
fn word_is(word: &AtomicU64, number: u64) {
    if number == 0 {
        word.store(0, SeqCst);
    }
}
