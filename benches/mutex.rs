//! mapshare_mutex_lock and _unlock, alone, between two who want nothing else, and after the owner's death, against a robust
//! mutex of the C library that processes share.

mod common;

use common::files::{File, RawMapping};
use common::library::{Library, Token};
use common::machine;
use common::measure::{Comparison, compare};
use common::table::{Goal, Table};
use mapshare::ffi::options::{MAPSHARE_POPULATE, MAPSHARE_READ_WRITE, mapshare_options};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    contended(&table, &library, region, Robust(robust));
    after_death(&table, &library, region, Robust(robust));
    library.unmap(region);
}

/// Of the C library.
#[derive(Clone, Copy)]
struct Robust(*mut libc::pthread_mutex_t);
// SAFETY: it is made for many threads.
unsafe impl Sync for Robust {}

impl Robust {
    fn lock(&self) -> i32 {
        // SAFETY: a mutex that `make_robust` has made.
        unsafe { libc::pthread_mutex_lock(self.0) }
    }

    fn unlock(&self) -> i32 {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.0) }
    }

    fn recover(&self) -> i32 {
        // SAFETY: as above; this thread has it.
        unsafe { libc::pthread_mutex_consistent(self.0) }
    }
}

/// Two threads on a core each that lock and unlock as fast as they can: nanoseconds for one of either.
fn contended(table: &Table, library: &Library, region: Token, robust: Robust) {
    let (region, robust) = (&region, &robust);
    let ours = || {
        let locked = (library.mutex_lock)(region.get(), 64, -1);
        library.check(locked | (library.mutex_unlock)(region.get(), 64));
    };
    let theirs = || assert_eq!((robust.lock(), robust.unlock()), (0, 0));
    let pairs: Vec<_> = (0..21).map(|_| (two_at_once(ours), two_at_once(theirs))).collect();
    table.row("wanted by two all the time", &Comparison::of(&pairs), Goal::Ratio(1.0));
}

fn two_at_once(turn: impl Fn() + Sync) -> f64 {
    let cores = machine::cores_of_machine();
    let (stop, turns, turn) = (&AtomicBool::new(false), &AtomicU64::new(0), &turn);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for core in [cores[0], cores[1 % cores.len()]] {
            scope.spawn(move || {
                machine::pin(core);
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    (0..16).for_each(|_| turn());
                    done += 16;
                }
                turns.fetch_add(done, Ordering::Relaxed);
            });
        }
        std::thread::sleep(Duration::from_millis(20));
        stop.store(true, Ordering::Relaxed);
    });
    start.elapsed().as_nanos() as f64 / turns.load(Ordering::Relaxed) as f64
}

/// From the reaping of an owner who was killed to the lock in the next one's hands, who waits in the call.
fn after_death(table: &Table, library: &Library, region: Token, robust: Robust) {
    let (region, robust) = (&region, &robust);
    let ours = || {
        let code = (library.mutex_lock)(region.get(), 64, -1);
        assert_eq!(code, 1, "the owner has died");
        library.check((library.mutex_recover)(region.get(), 64));
        library.check((library.mutex_unlock)(region.get(), 64));
    };
    let theirs = || {
        assert_eq!(robust.lock(), libc::EOWNERDEAD);
        assert_eq!((robust.recover(), robust.unlock()), (0, 0));
    };
    let lock = || library.check((library.mutex_lock)(region.get(), 64, -1));
    let pairs: Vec<_> =
        (0..21).map(|_| (killed(lock, ours), killed(|| assert_eq!(robust.lock(), 0), theirs))).collect();
    table.row("the owner is killed: until the next has it", &Comparison::of(&pairs), Goal::Time(10_000_000.0));
}

/// A child takes the lock; a thread waits for it; the child is killed. Nanoseconds from the child's end to the thread's.
fn killed(lock: impl Fn(), take_over: impl Fn() + Sync) -> f64 {
    // SAFETY: this process has no other thread now.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        lock();
        // SAFETY: stops this process, which the parent waits for.
        unsafe { libc::raise(libc::SIGSTOP) };
        std::process::abort();
    }
    let mut status = 0;
    // SAFETY: room for the status; returns once the child has stopped.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, libc::WUNTRACED) }, child);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            take_over();
            Instant::now()
        });
        // So that it is asleep; it does no harm if it is not.
        std::thread::sleep(Duration::from_millis(3));
        // SAFETY: it is our child.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        let end = Instant::now();
        let taken = waiter.join().expect("it took the lock");
        taken.saturating_duration_since(end).as_nanos().max(1) as f64
    })
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
