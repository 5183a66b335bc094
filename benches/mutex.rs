//! mapshare_mutex_lock and _unlock, with nobody else about, against a robust mutex of the C library that processes share.

mod common;

use common::files::{File, RawMapping};
use common::library::Library;
use common::machine;
use common::measure::compare;
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_POPULATE, MAPSHARE_READ_WRITE, mapshare_options};
use std::hint::black_box;
use std::mem::MaybeUninit;

fn main() {
    machine::pin_somewhere();
    let file = File::new("/dev/shm", 4096);
    let library = Library::load();
    let options =
        mapshare_options { access: MAPSHARE_READ_WRITE, flags: MAPSHARE_POPULATE, ..mapshare_options::default() };
    let region = library.open(file.c_path(), &options);
    let mapping = RawMapping::of(&file, 4096);
    let robust = mapping.at(1024).cast::<libc::pthread_mutex_t>();
    make_robust(robust);
    library.write_zeros(region, 64, 64);
    library.check((library.mutex_init)(region.0, 64));

    let (lock, unlock, token) = (black_box(library.mutex_lock), black_box(library.mutex_unlock), region.0);
    let mut failed = 0;
    let comparison = compare(
        |calls| {
            for _ in 0..calls {
                failed |= lock(token, 64, -1);
                failed |= unlock(token, 64);
            }
        },
        |calls| {
            for _ in 0..calls {
                // SAFETY: a mutex that `make_robust` has made.
                black_box(unsafe { libc::pthread_mutex_lock(robust) });
                // SAFETY: as above.
                black_box(unsafe { libc::pthread_mutex_unlock(robust) });
            }
        },
    );
    library.check(failed);
    let table = Table::new("Mutex: a lock and an unlock", "mapshare", "pthread");
    table.row("uncontended, robust, shared", &comparison, Goal::Ratio(0.85));
    library.unmap(region);
}

fn make_robust(mutex: *mut libc::pthread_mutex_t) {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: room for the attributes.
    assert_eq!(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) }, 0);
    // SAFETY: initialised above, as for the two that follow.
    let shared = unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) };
    // SAFETY: as above.
    let robust = unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) };
    assert_eq!((shared, robust), (0, 0));
    // SAFETY: the mapping has room for it there, aligned.
    assert_eq!(unsafe { libc::pthread_mutex_init(mutex, attributes.as_ptr()) }, 0);
}
