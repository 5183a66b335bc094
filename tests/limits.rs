//! Exhausted limits are codes, nothing leaks, and many regions fit.

mod common;

use common::c::{self, Token};
use common::process::{become_nobody, limit, mappings, open_descriptors};
use common::*;
use libc::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

const RW: u32 = MAPSHARE_READ_WRITE;

/// Counts what is allocated.
struct Counting;

thread_local! {
    /// How often this thread has allocated; the harness's own thread does so at times.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn descriptors_that_have_run_out_are_emfile() {
    in_own_process(descriptors_that_have_run_out_are_emfile, || {
        let folder = Folder::new();
        let path = folder.file("file", 4096);
        for door in DOORS {
            let region = door.open(&path, &with(RW)).unwrap();
            let old = limit(RLIMIT_NOFILE, 64);
            let mut taken = Vec::new();
            while let Ok(file) = fs::File::open("/dev/null") {
                taken.push(file);
            }
            let names = ["file", "new"];
            for name in names {
                refused(door.open(folder.join(name), &common::create(8192)), EMFILE, &["descriptors"]);
            }
            refused(door.open_fd(0, &with(0)), EMFILE, &["descriptors"]);
            refused(region.fd(), EMFILE, &["descriptors"]);
            // What is open goes on.
            region.write(0, b"on").unwrap();
            for spare in 1..3 {
                taken.pop();
                let result = door.open(folder.join("new"), &common::create(8192));
                assert!([0, EMFILE].contains(&code(result)), "{spare} descriptors to spare");
                let _ = fs::remove_file(folder.join("new"));
            }
            drop(taken);
            limit(RLIMIT_NOFILE, old);
            assert_eq!((folder.names(), files::length_of(&path)), (vec!["file".to_owned()], 4096));
        }
    });
}

#[test]
fn address_space_that_has_run_out_is_enomem() {
    const GIB: u64 = 1 << 30;
    in_own_process(address_space_that_has_run_out_is_enomem, || {
        let folder = Folder::new();
        let path = folder.file("file", 4096);
        limit(RLIMIT_AS, 2 * GIB);
        for door in DOORS {
            let words = ["address space", "RLIMIT_AS"];
            let reserving = mapshare_options { reserve: 3 * GIB, ..with(RW) };
            refused(door.open(&path, &reserving), ENOMEM, &words);
            let new = mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_SPARSE, ..common::create(3 * GIB) };
            refused(door.open(folder.join("new"), &new), ENOMEM, &words);
            refused(door.open(&path, &new), ENOMEM, &words);
            assert_eq!((folder.names(), files::length_of(&path)), (vec!["file".to_owned()], 4096));
            let mut region = door.open(&path, &mapshare_options { flags: MAPSHARE_SPARSE, ..with(RW) }).unwrap();
            refused(region.resize(3 * GIB), ENOMEM, &["address space"]);
            assert_eq!((region.length(), files::length_of(&path)), (4096, 4096));
            files::set_length(&path, 3 * GIB);
            refused(region.refresh(), ENOMEM, &["address space"]);
            assert_eq!(region.length(), 4096);
            files::set_length(&path, 4096);
            region.write(0, b"on").unwrap();
        }
    });
}

#[test]
fn a_limit_on_file_lengths_is_enospc_and_no_signal() {
    in_own_process(a_limit_on_file_lengths_is_enospc_and_no_signal, || {
        let folder = Folder::new();
        limit(RLIMIT_FSIZE, 65536);
        for door in DOORS {
            let path = folder.file("file", 4096);
            for flags in [MAPSHARE_CREATE, MAPSHARE_CREATE | MAPSHARE_SPARSE] {
                let options = mapshare_options { flags, ..common::create(65537) };
                for path in [&path, &folder.join("new")] {
                    refused(door.open(path, &options), ENOSPC, &["65537", "RLIMIT_FSIZE"]);
                }
                let mut region = door.open(&path, &mapshare_options { reserve: 1 << 20, flags, ..with(RW) }).unwrap();
                for length in [65537, 1 << 20, 2 << 20] {
                    refused(region.resize(length), ENOSPC, &["RLIMIT_FSIZE"]);
                    assert_eq!((region.length(), files::length_of(&path)), (4096, 4096));
                }
                region.resize(65536).unwrap();
                region.fill(0, 65536, 1).unwrap();
                files::set_length(&path, 100); // the region does not know
                let _ = region.resize(5000);
                region.resize(4096).unwrap();
            }
            assert_eq!(folder.names(), ["file"]);
        }
    });
}

#[test]
fn a_limit_on_locked_memory_is_enomem_and_changes_nothing() {
    in_own_process(a_limit_on_locked_memory_is_enomem_and_changes_nothing, || {
        let folder = Folder::new();
        become_nobody();
        for allowed in [0, 65536] {
            limit(RLIMIT_MEMLOCK, allowed);
            for door in DOORS {
                let path = folder.file("file", 4096);
                let locked =
                    |length| mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_LOCKED, ..common::create(length) };
                let words = ["lock", "RLIMIT_MEMLOCK"];
                refused(door.open(folder.join("new"), &locked(1 << 20)), ENOMEM, &words);
                assert_eq!(folder.names(), ["file"]);
                refused(door.open(&path, &locked(1 << 20)), ENOMEM, &words);
                assert_eq!(files::length_of(&path), 4096, "a failed open leaves the file as it was");
                if allowed == 0 {
                    continue;
                }
                for reserve in [1 << 20, 0] {
                    let mut region = door.open(&path, &mapshare_options { reserve, ..locked(4096) }).unwrap();
                    assert!(region.info().resident >= 4096);
                    refused(region.resize(1 << 20), ENOMEM, &["RLIMIT_MEMLOCK"]);
                    assert_eq!((region.length(), files::length_of(&path)), (4096, 4096), "reserve {reserve}");
                }
            }
        }
    });
}

/// Opens well and badly in many ways.
fn open_in_every_way(folder: &Folder, door: Door) {
    let path = folder.join("file");
    let huge = mapshare_options { reserve: 1 << 60, ..common::create(65536) };
    let all = MAPSHARE_CREATE | MAPSHARE_LOCKED | MAPSHARE_POPULATE | MAPSHARE_HUGE_PAGES;
    let mut region = door.open(&path, &mapshare_options { flags: all, ..common::create(8192) }).expect("it works");
    let view = region.view(10, 10).expect("it works");
    let fd = region.fd().expect("it works");
    drop(door.open_fd(fd, &with(MAPSHARE_COPY_ON_WRITE)).expect("it works"));
    assert!(door.open_fd(fd, &huge).is_err());
    // SAFETY: ours.
    unsafe { close(fd) };
    assert!(region.resize(1 << 20).is_err(), "a view is out");
    region.release(view);
    region.fill(0, 8192, 1).expect("it works");
    drop(region);
    let mut moving = door.open(&path, &with(RW)).expect("it works");
    moving.resize(1 << 20).expect("it works");
    moving.resize(4096).expect("it works");
    drop(moving);
    for (path, options) in [
        (path.clone(), huge),
        (folder.join("new"), huge),
        (folder.join("missing"), with(0)),
        (folder.join("missing/new"), common::create(1)),
        (folder.path().into(), with(0)),
        (path.clone(), mapshare_options { length: 1 << 40, ..with(0) }),
        (path.clone(), mapshare_options { offset: 1, ..with(0) }),
        (path.clone(), mapshare_options { flags: MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, ..common::create(1) }),
        (folder.join("new"), common::create(0)),
        ("/dev/null".into(), with(0)),
        ("/proc/self/maps".into(), with(0)),
    ] {
        assert!(door.open(&path, &options).is_err(), "{}", path.display());
    }
}

#[test]
fn nothing_leaks_in_a_thousand_good_and_bad_opens() {
    in_own_process(nothing_leaks_in_a_thousand_good_and_bad_opens, || {
        let folder = Folder::new();
        for door in DOORS {
            open_in_every_way(&folder, door); // whatever is allocated once
            let before = (open_descriptors(), mappings(), BYTES.load(Ordering::Relaxed));
            for _ in 0..100 {
                open_in_every_way(&folder, door);
            }
            let after = (open_descriptors(), mappings(), BYTES.load(Ordering::Relaxed));
            assert_eq!((before.0, before.1), (after.0, after.1), "descriptors and mappings");
            assert!(after.2 < before.2 + 4096, "memory: {} bytes before, {} after", before.2, after.2);
            assert_eq!(folder.names(), ["file"]);
        }
    });
}

#[test]
fn ten_thousand_regions_are_open_at_once_for_less_than_1_kib_each() {
    in_own_process(ten_thousand_regions_are_open_at_once_for_less_than_1_kib_each, || {
        let folder = Folder::new();
        let path = folder.file("file", 4096);
        let allowed = limit(RLIMIT_NOFILE, 10_100);
        let count = 10_000.min(allowed - 100);
        if count < 10_000 {
            skip(&format!("{count} regions instead of 10,000: RLIMIT_NOFILE is {allowed}, and this is not root"));
        }
        let mut regions: Vec<Token> = Vec::with_capacity(count as usize);
        let before = BYTES.load(Ordering::Relaxed);
        for _ in 0..count {
            regions.push(c::open(&path, &with(RW)).unwrap());
        }
        let each = (BYTES.load(Ordering::Relaxed) - before) / count;
        assert!(each < 1024, "{each} bytes for each region");
        for (index, region) in regions.iter().enumerate() {
            region.write(index as u64 % 4096, &[index as u8]).unwrap();
        }
        for region in &regions {
            region.unmap().unwrap();
        }
        assert!(regions.iter().all(|region| code(region.length()) == EBADF));
        // And their places are used again.
        let before = BYTES.load(Ordering::Relaxed);
        let again: Vec<_> = (0..100).map(|_| c::open(&path, &with(0)).unwrap()).collect();
        assert!(again.iter().all(|token| !regions.contains(token)), "no token comes twice");
        again.iter().for_each(|token| token.unmap().unwrap());
        assert!(BYTES.load(Ordering::Relaxed) < before + 65536);
    });
}

#[test]
fn accesses_allocate_nothing() {
    in_own_process(accesses_allocate_nothing, || {
        let folder = Folder::new();
        for door in DOORS {
            let region = door.open(folder.join("file"), &common::create(65536)).unwrap();
            let other = door.open(folder.join("other"), &common::create(65536)).unwrap();
            let mut buffer = [1u8; 4096];
            let round = |buffer: &mut [u8]| {
                region.write(5, buffer).unwrap();
                region.read(7, buffer).unwrap();
                region.fill(0, 60_000, 3).unwrap();
                region.copy_from(0, &other, 100, 5000).unwrap();
                region.copy_from(0, &region, 100, 5000).unwrap();
                region.flush(0, 0, MAPSHARE_FLUSH_ASYNC).unwrap();
                region.advise(0, 0, MAPSHARE_ADVISE_NORMAL).unwrap();
                assert_eq!(region.length(), 65536);
            };
            round(&mut buffer);
            let before = ALLOCATIONS.get();
            for _ in 0..100 {
                round(&mut buffer);
            }
            assert_eq!(ALLOCATIONS.get(), before, "{door:?}");
            drop(std::hint::black_box(vec![1u8; 10]));
            assert_ne!(ALLOCATIONS.get(), before, "the counter counts");
        }
    });
}
