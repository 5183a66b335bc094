//! File systems and surroundings that miss something: no unnamed files, no reserving, no /proc.

mod common;

use common::files::{Mounted, on_file_system, on_small_tmpfs};
use common::process::{Refusal, forked, refuse, watchdog};
use common::words::Do;
use common::*;
use libc::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const MIB: u64 = 1 << 20;

fn flags(flags: u64, length: u64) -> mapshare_options {
    mapshare_options { flags, ..common::create(length) }
}

/// File systems that miss something, played by a filter on system calls.
#[test]
fn file_systems_without_unnamed_files_renaming_or_reserving_serve_too() {
    let test = file_systems_without_unnamed_files_renaming_or_reserving_serve_too;
    on_small_tmpfs(test, |mounted| {
        let unnamed = (SYS_openat, Some((2, O_TMPFILE.unsigned_abs())));
        let rename = (SYS_renameat2, None);
        let reserve = (SYS_fallocate, None);
        let missing: [&[_]; 5] = [
            &[(unnamed, EOPNOTSUPP)],
            &[(unnamed, EISDIR)],
            &[(unnamed, EOPNOTSUPP), (rename, EINVAL)],
            &[(reserve, EOPNOTSUPP)],
            &[(unnamed, EOPNOTSUPP), (rename, EINVAL), (reserve, EOPNOTSUPP)],
        ];
        for door in DOORS {
            for missing in missing {
                let free = mounted.free();
                let result = forked(|| {
                    for ((number, bits), errno) in missing {
                        refuse(*number, *bits, Refusal::Errno(*errno));
                    }
                    let path = mounted.join("file");
                    let region = door.open(&path, &common::create(100_000)).unwrap();
                    assert_eq!(mounted.names(), ["file"]);
                    assert!(files::storage_of(&path) >= 100_000, "the space is reserved");
                    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                    let exclusive = flags(MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, 1);
                    assert_eq!(code(door.open(&path, &exclusive)), EEXIST);
                    symlink("target", mounted.join("link")).unwrap();
                    assert_eq!(code(door.open(mounted.join("link"), &common::create(10))), 0);
                    assert_eq!(mounted.names(), ["file", "link", "target"]);
                    region.write(0, b"kept").unwrap();
                    assert_eq!(code(door.open(&path, &common::create(200_000))), 0);
                    assert_eq!(files::read_at(&path, 0, 5), b"kept\0");
                    let used = mounted.free();
                    assert_eq!(code(door.open(mounted.join("more"), &common::create(4 * MIB))), ENOSPC);
                    assert_eq!(code(door.open(&path, &common::create(4 * MIB))), ENOSPC);
                    assert_eq!(files::length_of(&path), 200_000, "the failure left the file as it was");
                    assert_eq!(
                        (mounted.names(), mounted.free()),
                        (vec!["file".into(), "link".into(), "target".into()], used)
                    );
                    for name in mounted.names() {
                        fs::remove_file(mounted.join(&name)).unwrap();
                    }
                    let last = flags(MAPSHARE_CREATE | MAPSHARE_UNLINK_LAST, 100_000);
                    let (one, other) = (door.open(&path, &last).unwrap(), door.open(&path, &last).unwrap());
                    drop(one);
                    assert_eq!(mounted.names(), ["file"]);
                    drop(other);
                    assert!(mounted.names().is_empty(), "it went with its last user");
                    0
                });
                assert_eq!(result, 0, "{door:?} without {missing:?}");
                assert_eq!(mounted.free(), free);
            }
        }
    });
}

#[test]
fn a_file_system_that_cannot_reserve_gets_zeros() {
    on_file_system(a_file_system_that_cannot_reserve_gets_zeros, "ramfs", "mode=777", |mounted| {
        for door in DOORS {
            let path = mounted.join("file");
            let mut region = door.open(&path, &common::create(100_000)).unwrap();
            assert!(region.bytes(0, 100_000).iter().all(|byte| *byte == 0));
            region.write(99_999, b"!").unwrap();
            region.resize(200_000).unwrap();
            assert_eq!((region.length(), region.bytes(99_999, 2)), (200_000, b"!\0".to_vec()));
            let sparse = door.open(&path, &flags(MAPSHARE_CREATE | MAPSHARE_SPARSE, 300_000)).unwrap();
            assert_eq!(sparse.length(), 300_000);
            drop((region, sparse));
            fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn a_process_without_proc_creates_files_too() {
    in_own_process(a_process_without_proc_creates_files_too, || {
        let folder = Folder::new();
        // An empty directory over /proc, as in a bare chroot.
        let Some(_over) = Mounted::new("tmpfs", Path::new("/proc"), "size=4k") else { return };
        for door in DOORS {
            let region = door.open(folder.join("file"), &common::create(4096));
            assert_eq!(region.map(|region| region.length()), Ok(4096));
            fs::remove_file(folder.join("file")).unwrap();
            // Its users would be counted through /proc.
            let mut options = common::create(4096);
            options.flags |= MAPSHARE_UNLINK_LAST;
            refused(door.open(folder.join("gone"), &options), EOPNOTSUPP, &["gone'", "/proc", "mount it"]);
            assert!(folder.names().is_empty());
        }
    });
}

/// Without a way to reserve, zeros are written: never over what another process has stored meanwhile.
#[test]
fn processes_that_extend_one_file_at_once_lose_no_byte_where_nothing_can_be_reserved() {
    const PROCESSES: u64 = 8;
    const SLOT: u64 = 65_536;
    let test = processes_that_extend_one_file_at_once_lose_no_byte_where_nothing_can_be_reserved;
    in_own_process(test, || {
        let folder = Folder::new();
        for round in 0..20 {
            let path = folder.file(&round.to_string(), 1);
            let mut ends = [0; 2];
            // SAFETY: room for two descriptors.
            assert_eq!(unsafe { pipe(ends.as_mut_ptr()) }, 0);
            let children: Vec<_> = (0..PROCESSES)
                .map(|slot| {
                    // SAFETY: this process has one thread.
                    let child = unsafe { fork() };
                    if child == 0 {
                        watchdog();
                        refuse(SYS_fallocate, None, Refusal::Errno(EOPNOTSUPP));
                        // SAFETY: ours. The pipe's end is the start signal.
                        unsafe { close(ends[1]) };
                        let mut byte = 0u8;
                        // SAFETY: room for one byte.
                        unsafe { read(ends[0], (&raw mut byte).cast(), 1) };
                        let region = Door::C.open(&path, &common::create(PROCESSES * SLOT)).unwrap();
                        region.write(PROCESSES * SLOT - 1 - slot, &[b'0' + slot as u8]).unwrap();
                        // SAFETY: ends the child at once.
                        unsafe { _exit(0) };
                    }
                    child
                })
                .collect();
            for end in ends {
                // SAFETY: ours.
                unsafe { close(end) };
            }
            for child in children {
                assert_eq!(common::process::wait_for(child), 0);
            }
            let written = files::read_at(&path, PROCESSES * SLOT - PROCESSES, PROCESSES as usize);
            assert_eq!(String::from_utf8_lossy(&written), "76543210", "round {round}");
        }
    });
}

/// Without membarrier each call has a fence of its own, and nobody's wake-up is lost.
#[test]
fn locks_cells_and_queues_serve_without_membarrier_too() {
    const ROUNDS: u64 = 2000;
    let test = locks_cells_and_queues_serve_without_membarrier_too;
    in_own_process(test, || {
        for (door, errno) in DOORS.into_iter().zip([ENOSYS, EPERM]) {
            let result = forked(|| {
                refuse(SYS_membarrier, None, Refusal::Errno(errno));
                let folder = Folder::new();
                let region = &door.open(folder.join("file"), &common::create(1 << 17)).unwrap();
                region.init_mutex(64).unwrap();
                region.init_cell(4096, 8).unwrap();
                region.init_queue(8192, 256, 0).unwrap();
                let count = move || {
                    for _ in 0..ROUNDS {
                        assert_eq!(region.lock(64, -1), Ok(false));
                        let counted = region.atomic(0, Do::<u64>::Load).unwrap();
                        region.atomic(0, Do::Store(counted + 1)).unwrap();
                        region.unlock(64).unwrap();
                    }
                };
                std::thread::scope(|scope| {
                    scope.spawn(count);
                    scope.spawn(count);
                    scope.spawn(move || {
                        let mut producer = region.producer(8192).unwrap();
                        (0..ROUNDS).for_each(|number| producer.push(&number.to_ne_bytes(), -1).unwrap());
                        producer.close().unwrap();
                    });
                    let mut consumer = region.consumer(8192).unwrap();
                    for number in 0..ROUNDS {
                        assert_eq!(consumer.pop(-1).unwrap(), number.to_ne_bytes());
                        region.publish(4096, &number.to_ne_bytes()).unwrap();
                    }
                    consumer.close().unwrap();
                });
                assert_eq!(region.atomic(0, Do::<u64>::Load), Ok(2 * ROUNDS));
                assert_eq!(region.read_cell(4096, 8).unwrap(), (ROUNDS, (ROUNDS - 1).to_ne_bytes().to_vec()));
                0
            });
            assert_eq!(result, 0, "{door:?} without membarrier: errno {errno}");
        }
    });
}
