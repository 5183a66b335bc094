//! Range locks inside one process: whom they exclude, how long they wait, and what is refused.

mod common;

use common::c::Token;
use common::process::{become_nobody, eventually, is_in_call, limit, open_descriptors, thread_id};
use common::*;
use libc::*;
use std::fs;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

const SHARED: u32 = MAPSHARE_LOCK_SHARED;
const EXCLUSIVE: u32 = MAPSHARE_LOCK_EXCLUSIVE;
/// Longer than any test lasts.
const LONG: i64 = 3_600_000_000_000;

/// A region of two pages at a path of its own.
fn opened(door: Door, folder: &Folder) -> Opened {
    door.open(folder.join("file"), &create(8192)).expect("a new region")
}

/// What `body` gives on another thread.
fn elsewhere<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(body).join().expect("it does not panic"))
}

/// Whether another thread could have the lock; it gives it back.
fn is_free(region: &Opened, offset: u64, length: u64, mode: u32) -> bool {
    elsewhere(|| match code(region.lock_range(offset, length, mode, 0)) {
        0 => {
            region.unlock_range(offset, length).expect("just taken");
            true
        }
        ETIMEDOUT => false,
        other => panic!("the code {other}"),
    })
}

#[test]
fn an_exclusive_lock_stands_alone_and_shared_ones_together() {
    for door in DOORS {
        let folder = Folder::new();
        let region = opened(door, &folder);
        region.lock_range(100, 50, EXCLUSIVE, 0).unwrap();
        for (offset, length) in [(100, 50), (149, 1), (0, 101), (0, 0), (0, 8192), (120, 0)] {
            assert!(!is_free(&region, offset, length, EXCLUSIVE), "{door:?} {offset} {length}");
            assert!(!is_free(&region, offset, length, SHARED), "{door:?} {offset} {length}");
        }
        for (offset, length) in [(0, 100), (150, 1), (150, 0)] {
            assert!(is_free(&region, offset, length, EXCLUSIVE), "{door:?} {offset} {length}");
        }
        region.unlock_range(100, 50).unwrap();
        assert!(is_free(&region, 0, 0, EXCLUSIVE));
        region.lock_range(100, 50, SHARED, 0).unwrap();
        assert!(is_free(&region, 0, 0, SHARED) && !is_free(&region, 0, 0, EXCLUSIVE), "{door:?}");
        region.unlock_range(100, 50).unwrap();
    }
}

#[test]
fn a_length_of_zero_locks_what_the_file_grows_by() {
    for door in DOORS {
        let folder = Folder::new();
        let mut region =
            door.open(folder.join("file"), &mapshare_options { reserve: 1 << 20, ..create(4096) }).unwrap();
        region.lock_range(4096, 0, EXCLUSIVE, 0).unwrap();
        region.resize(20_000).unwrap();
        assert!(!is_free(&region, 19_999, 1, SHARED) && is_free(&region, 0, 4096, EXCLUSIVE), "{door:?}");
        region.unlock_range(4096, 0).unwrap();
        assert!(is_free(&region, 0, 20_000, EXCLUSIVE), "{door:?}");
    }
}

#[test]
fn locks_count_from_the_regions_place_in_the_file() {
    for door in DOORS {
        let folder = Folder::new();
        let whole = opened(door, &folder);
        let page = page();
        let options = mapshare_options { offset: page, ..with(MAPSHARE_READ_WRITE) };
        files::set_length(&folder.join("file"), 2 * page + 100);
        let part = door.open(folder.join("file"), &options).unwrap();
        part.lock_range(10, 5, EXCLUSIVE, 0).unwrap();
        assert!(is_free(&whole, 10, 5, EXCLUSIVE), "{door:?}");
        assert!(!is_free(&whole, page + 14, 1, SHARED), "{door:?}");
        part.unlock_range(10, 5).unwrap();
    }
}

#[test]
fn a_second_lock_on_the_same_bytes_is_edeadlk_on_the_same_thread() {
    for door in DOORS {
        let folder = Folder::new();
        let (region, other) = (opened(door, &folder), opened(door, &folder));
        region.lock_range(100, 50, SHARED, 0).unwrap();
        for mode in [SHARED, EXCLUSIVE] {
            for (offset, length) in [(100, 50), (149, 1), (0, 0), (90, 11)] {
                let words = ["50 bytes", "offset 100 of the region"];
                refused(region.lock_range(offset, length, mode, -1), EDEADLK, &words);
            }
        }
        refused(other.lock_range(120, 1, EXCLUSIVE, -1), EDEADLK, &["another region of the same file"]);
        other.lock_range(120, 1, SHARED, -1).expect("shared locks of two regions stand together");
        region.lock_range(150, 10, EXCLUSIVE, 0).expect("its neighbour");
        refused(other.lock_range(150, 1, SHARED, -1), EDEADLK, &["another region"]);
        for (region, offset, length) in [(&region, 100, 50), (&region, 150, 10), (&other, 120, 1)] {
            region.unlock_range(offset, length).unwrap();
        }
        region.lock_range(0, 0, EXCLUSIVE, 0).unwrap();
        region.unlock_range(0, 0).unwrap();
    }
}

#[test]
fn a_lock_is_freed_whole_and_by_its_own_thread_only() {
    for door in DOORS {
        let folder = Folder::new();
        let (region, other) = (opened(door, &folder), opened(door, &folder));
        refused(region.unlock_range(0, 1), EPERM, &["no range of 1 bytes at offset 0"]);
        region.lock_range(0, 100, EXCLUSIVE, 0).unwrap();
        for (offset, length) in [(0, 99), (1, 99), (0, 0), (u64::MAX, u64::MAX)] {
            refused(region.unlock_range(offset, length), EPERM, &["same offset and length"]);
        }
        refused(other.unlock_range(0, 100), EPERM, &[]);
        refused(elsewhere(|| region.unlock_range(0, 100)), EPERM, &["thread"]);
        assert!(!is_free(&region, 99, 1, SHARED), "{door:?}: it is still held");
        region.unlock_range(0, 100).unwrap();
        refused(region.unlock_range(0, 100), EPERM, &[]);
    }
}

#[test]
fn the_end_of_a_thread_frees_its_locks_and_descriptors() {
    in_own_process(the_end_of_a_thread_frees_its_locks_and_descriptors, || {
        for door in DOORS {
            let folder = Folder::new();
            let region = opened(door, &folder);
            let before = open_descriptors();
            for _ in 0..20 {
                elsewhere(|| region.lock_range(0, 0, EXCLUSIVE, 0)).expect("the former thread's lock has gone");
            }
            // A scope tells of a thread's end before its destructors have run.
            eventually("the descriptors are closed", || open_descriptors() == before);
            if let Opened::C { token, .. } = region {
                token.unmap().expect("no lock is out");
            }
        }
    });
}

#[test]
fn locks_that_are_out_and_waits_for_them_keep_a_region_from_being_unmapped() {
    in_own_process(locks_that_are_out_and_waits_for_them_keep_a_region_from_being_unmapped, || {
        let folder = Folder::new();
        let before = open_descriptors();
        let region = c::open(&folder.join("file"), &create(8192)).unwrap();
        region.lock_range(0, 10, SHARED, 0).unwrap();
        region.lock_range(10, 10, EXCLUSIVE, 0).unwrap();
        refused(region.unmap(), EBUSY, &["2 lock(s)"]);
        refused(elsewhere(|| region.unmap()), EBUSY, &["2 lock(s)"]);
        region.unlock_range(0, 10).unwrap();
        let waiter = AtomicI32::new(0);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                waiter.store(thread_id(), Ordering::Relaxed);
                let result = region.lock_range(10, 1, SHARED, LONG);
                assert_eq!((code(result), code(region.unlock_range(10, 1))), (0, 0));
            });
            eventually("it waits", || is_in_call(waiter.load(Ordering::Relaxed), SYS_ppoll));
            refused(region.unmap(), EBUSY, &["sleeps"]);
            refused(region.protect(MAPSHARE_READ_ONLY), EBUSY, &["sleeps"]);
            refused(region.resize(100), EBUSY, &["sleeps"]);
            region.write(0, b"goes on").expect("what does not need the region alone");
            region.unlock_range(10, 10).unwrap();
            waits.join().expect("it got the lock");
        });
        region.unmap().unwrap();
        assert_eq!(open_descriptors(), before, "and the descriptors of both threads are closed");
        refused(region.lock_range(0, 1, SHARED, 0), EBADF, &["token"]);
        refused(region.unlock_range(0, 1), EBADF, &["token"]);
    });
}

#[test]
fn a_dropped_region_frees_the_locks_of_all_threads() {
    let folder = Folder::new();
    let (region, other) = (opened(Door::Rust, &folder), opened(Door::Rust, &folder));
    region.lock_range(0, 10, EXCLUSIVE, 0).unwrap();
    assert!(!is_free(&other, 0, 10, SHARED));
    drop(region);
    other.lock_range(0, 10, EXCLUSIVE, 0).expect("gone with its region");
}

#[test]
fn time_that_passes_is_etimedout_and_tells_of_the_holder() {
    for door in DOORS {
        let folder = Folder::new();
        let region = opened(door, &folder);
        region.lock_range(0, 10, SHARED, 0).unwrap();
        elsewhere(|| {
            for timeout in [0, 1, 3_000_000] {
                let result = region.lock_range(0, 1, EXCLUSIVE, timeout);
                refused(result, ETIMEDOUT, &["1 bytes", "offset 0", "locked shared", "another holder"]);
            }
            region.lock_range(10, 1, EXCLUSIVE, i64::MIN).expect("free, so there is nothing to wait for");
        });
        let file = fs::File::options().write(true).read(true).open(folder.join("file")).unwrap();
        let classic = flock { l_type: F_WRLCK as i16, l_whence: 0, l_start: 100, l_len: 1, l_pid: 0 };
        // SAFETY: the struct is whole.
        assert_eq!(unsafe { fcntl(file.as_raw_fd(), F_SETLK, &classic) }, 0);
        let name = format!("exclusively by process {}", std::process::id());
        refused(region.lock_range(0, 0, SHARED, 0), EDEADLK, &[]);
        refused(region.lock_range(100, 0, SHARED, 0), ETIMEDOUT, &["0 bytes", &name]);
    }
}

#[test]
fn a_lock_that_becomes_free_goes_to_who_waits() {
    for door in DOORS {
        let folder = Folder::new();
        let region = opened(door, &folder);
        for timeout in [-1, LONG] {
            let waiter = AtomicI32::new(0);
            region.lock_range(0, 10, EXCLUSIVE, 0).unwrap();
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| {
                    waiter.store(thread_id(), Ordering::Relaxed);
                    code(region.lock_range(9, 1, EXCLUSIVE, timeout))
                });
                eventually("it waits", || is_in_call(waiter.load(Ordering::Relaxed), SYS_ppoll));
                region.unlock_range(0, 10).unwrap();
                assert_eq!(waits.join().unwrap(), 0, "{door:?}");
            });
        }
    }
}

extern "C" fn count_signal(_signal: c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

static SIGNALS: AtomicI32 = AtomicI32::new(0);

/// One signal for a thread that waits; where it strikes is left to chance.
#[test]
fn a_signal_ends_the_wait_with_eintr_wherever_it_strikes() {
    in_own_process(a_signal_ends_the_wait_with_eintr_wherever_it_strikes, || {
        // SAFETY: a sigaction of zeros is valid.
        let mut action: sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count_signal as *const () as usize;
        action.sa_flags = SA_RESTART;
        // SAFETY: the handler only counts.
        assert_eq!(unsafe { sigaction(SIGUSR1, &action, std::ptr::null_mut()) }, 0);
        for door in DOORS {
            let folder = Folder::new();
            let region = opened(door, &folder);
            region.lock_range(0, 10, EXCLUSIVE, 0).unwrap();
            for round in 0..300u32 {
                let waiter = AtomicI32::new(0);
                std::thread::scope(|scope| {
                    let waits = scope.spawn(|| {
                        waiter.store(thread_id(), Ordering::Relaxed);
                        region.lock_range(5, 1, SHARED, -1)
                    });
                    eventually("it waits", || is_in_call(waiter.load(Ordering::Relaxed), SYS_ppoll));
                    (0..round * 100).for_each(|_| std::hint::spin_loop());
                    // SAFETY: the thread lives: it waits for us.
                    unsafe { syscall(SYS_tgkill, std::process::id(), waiter.load(Ordering::Relaxed), SIGUSR1) };
                    refused(waits.join().unwrap(), EINTR, &["signal handler"]);
                });
            }
            region.unlock_range(0, 10).unwrap();
        }
        assert_eq!(SIGNALS.load(Ordering::Relaxed), 600, "each was delivered");
    });
}

#[test]
fn ranges_outside_are_erange_for_every_number() {
    for door in DOORS {
        let folder = Folder::new();
        let region = opened(door, &folder);
        for (offset, length) in
            [(8193, 0), (8192, 1), (0, 8193), (1, u64::MAX), (u64::MAX, 0), (u64::MAX, 1), (1 << 62, 0), (0, 1 << 62)]
        {
            for mode in [SHARED, EXCLUSIVE] {
                refused(region.lock_range(offset, length, mode, -1), ERANGE, &["8192", "nothing was done"]);
            }
        }
        region.lock_range(8192, 0, EXCLUSIVE, 0).expect("all that the file grows by");
        region.unlock_range(8192, 0).unwrap();
        files::set_length(&folder.join("file"), 9000);
        let larger = door.open(folder.join("file"), &mapshare_options { reserve: 9000, ..create(8192) }).unwrap();
        larger.lock_range(8191, 809, EXCLUSIVE, 0).expect("growth is taken over");
        larger.unlock_range(8191, 809).unwrap();
        assert_eq!(larger.length(), 9000);
    }
}

#[test]
fn locks_end_below_byte_two_to_the_62_of_the_file() {
    let folder = Folder::new();
    let Ok(file) =
        fs::File::options().create(true).truncate(true).read(true).write(true).open("/dev/shm/.mapshare-end")
    else {
        return skip("no /dev/shm");
    };
    fs::remove_file("/dev/shm/.mapshare-end").unwrap();
    drop(folder);
    if file.set_len((1 << 62) + 8192).is_err() {
        return skip("/dev/shm has no files that long");
    }
    for door in DOORS {
        let options = mapshare_options { offset: (1 << 62) - 4096, length: 8192, ..with(MAPSHARE_READ_WRITE) };
        let region = door.open_fd(file.as_raw_fd(), &options).unwrap();
        for (offset, length) in [(4096, 0), (4096, 1), (0, 4097), (4095, 2), (8192, 0)] {
            refused(region.lock_range(offset, length, EXCLUSIVE, 0), ERANGE, &["4611686018427387904"]);
        }
        for (offset, length) in [(0, 4096), (4095, 0), (4095, 1)] {
            region.lock_range(offset, length, EXCLUSIVE, 0).unwrap();
            region.unlock_range(offset, length).unwrap();
        }
    }
}

#[test]
fn an_exclusive_lock_needs_a_region_for_shared_writing() {
    in_own_process(an_exclusive_lock_needs_a_region_for_shared_writing, || {
        let folder = Folder::new();
        let foreign = folder.file_with("foreign", &[1; 100]);
        let file = fs::File::options().read(true).write(true).open(&foreign).unwrap();
        for door in DOORS {
            let mut writable = opened(door, &folder);
            for access in [MAPSHARE_READ_ONLY, MAPSHARE_COPY_ON_WRITE] {
                let region = door.open(folder.join("file"), &with(access)).unwrap();
                refused(region.lock_range(0, 1, EXCLUSIVE, 0), EACCES, &["exclusive", "MAPSHARE_READ_WRITE"]);
                region.lock_range(0, 1, SHARED, 0).unwrap();
                assert!(!is_free(&writable, 0, 1, EXCLUSIVE) && is_free(&writable, 0, 1, SHARED), "{door:?}");
            }
            writable.protect(MAPSHARE_READ_ONLY).unwrap();
            refused(writable.lock_range(1, 1, EXCLUSIVE, 0), EACCES, &["exclusive"]);
        }
        fs::set_permissions(&foreign, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        become_nobody();
        for door in DOORS {
            let region = door.open_fd(file.as_raw_fd(), &with(MAPSHARE_READ_WRITE)).unwrap();
            refused(region.lock_range(0, 1, SHARED, 0), EACCES, &["anew", "permissions"]);
        }
    });
}

#[test]
fn modes_that_mean_nothing_are_einval() {
    let folder = Folder::new();
    let region: Token = c::open(&folder.join("file"), &create(10)).unwrap();
    for mode in [0, 3, u32::MAX] {
        refused(region.lock_range(0, 1, mode, 0), EINVAL, &["mode", "MAPSHARE_LOCK_EXCLUSIVE (2)"]);
    }
    region.unmap().unwrap();
}

#[test]
fn what_the_system_cannot_give_is_a_code_and_leaves_nothing_behind() {
    in_own_process(what_the_system_cannot_give_is_a_code_and_leaves_nothing_behind, || {
        for door in DOORS {
            let folder = Folder::new();
            let region = opened(door, &folder);
            let descriptors = open_descriptors();
            let few = limit(RLIMIT_NOFILE, 3);
            refused(region.lock_range(0, 1, SHARED, 0), EMFILE, &["descriptors"]);
            limit(RLIMIT_NOFILE, few.max(100));
            assert_eq!(open_descriptors(), descriptors);
            for (given, expected) in
                [(EINVAL, EOPNOTSUPP), (EOPNOTSUPP, EOPNOTSUPP), (ENOSYS, EOPNOTSUPP), (ENOLCK, ENOLCK)]
            {
                let result = process::forked(|| {
                    process::refuse(SYS_fcntl, None, process::Refusal::Errno(given));
                    code(region.lock_range(0, 1, SHARED, -1))
                });
                assert_eq!(result, expected, "{door:?}: fcntl says {given}");
            }
            let result = process::forked(|| {
                process::refuse(SYS_openat, None, process::Refusal::Errno(ENOENT));
                code(region.lock_range(0, 1, SHARED, -1))
            });
            assert_eq!(result, EOPNOTSUPP, "{door:?}: no /proc");
            region.lock_range(0, 1, SHARED, 0).expect("afterwards all is well");
        }
    });
}

#[test]
fn a_read_only_file_system_and_memory_files_can_be_locked() {
    files::on_small_tmpfs(a_read_only_file_system_and_memory_files_can_be_locked, |mounted| {
        fs::write(mounted.join("a"), [1; 100]).unwrap();
        mounted.make_read_only();
        for door in DOORS {
            // SAFETY: a C string.
            let memory = unsafe { memfd_create(c"sealed".as_ptr(), MFD_ALLOW_SEALING | MFD_CLOEXEC) };
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { ftruncate(memory, 100) }, 0);
            let region = door.open(mounted.join("a"), &with(MAPSHARE_READ_ONLY)).unwrap();
            region.lock_range(0, 0, SHARED, 0).unwrap();
            let region = door.open_fd(memory, &with(MAPSHARE_READ_WRITE)).unwrap();
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { fcntl(memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK) }, 0);
            region.lock_range(0, 0, EXCLUSIVE, 0).unwrap();
            assert!(!is_free(&region, 0, 1, SHARED));
            region.unlock_range(0, 0).unwrap();
        }
    });
}
