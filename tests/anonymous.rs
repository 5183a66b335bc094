//! Anonymous memory: made whole, shared with children, gone with its last user.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod common;

use common::c::{self, Token};
use common::process::{Refusal, forked, limit, open_descriptors, refuse};
use common::*;
use libc::*;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const RW: u32 = MAPSHARE_READ_WRITE;

fn new(length: u64) -> mapshare_options {
    mapshare_options { access: RW, length, ..Default::default() }
}

fn file_of(region: &Opened) -> File {
    // SAFETY: a descriptor that the call has just made.
    File::from(unsafe { OwnedFd::from_raw_fd(region.fd().unwrap()) })
}

#[test]
fn anonymous_memory_is_zeros_of_its_length_and_says_what_it_is() {
    for door in DOORS {
        for length in [1, page() - 1, page(), page() + 1, 1 << 20] {
            let region = door.open_anonymous(&new(length)).unwrap();
            assert!(region.bytes(0, length as usize).iter().all(|byte| *byte == 0));
            region.fill(0, length, 0xA5).unwrap();
            refused(region.write(length, b"x"), ERANGE, &[&length.to_string()]);
            let info = region.info();
            assert_eq!((info.length, info.file_length, info.offset), (length, length, 0));
            assert_eq!((info.access, info.backing, info.views), (RW, MAPSHARE_BACKING_ANONYMOUS, 0));
            assert_eq!(info.seals & 0x1f, 0, "not sealed yet");
            region.flush(0, 0, 0).unwrap();
            let file = file_of(&region);
            let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            assert!(link.to_str().unwrap().starts_with("/memfd:mapshare"), "{link:?}");
        }
    }
}

#[test]
fn anonymous_memory_is_reserved_unless_it_is_sparse() {
    for door in DOORS {
        for (flags, all) in [(0, true), (MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, true), (MAPSHARE_SPARSE, false)] {
            let region = door.open_anonymous(&mapshare_options { flags, ..new(1 << 20) }).unwrap();
            assert_eq!(file_of(&region).metadata().unwrap().blocks() * 512 >= 1 << 20, all, "{flags:#x}");
        }
    }
}

/// With the kernel's count of cached pages, and without it.
#[test]
fn info_counts_what_is_in_memory_and_is_quick_about_a_huge_sparse_region() {
    in_own_process(info_counts_what_is_in_memory_and_is_quick_about_a_huge_sparse_region, || {
        const SYS_CACHESTAT: i64 = 451;
        // SAFETY: no memory is passed; the kernel refuses the null pointers where it has the call.
        let has_cachestat = unsafe { syscall(SYS_CACHESTAT, -1, 0, 0, 0) } == -1
            && ![Some(ENOSYS), Some(EPERM)].contains(&std::io::Error::last_os_error().raw_os_error());
        let written = |region: &Opened, length: u64| {
            for at in [0, length / 2, length - 1] {
                region.write(at, b"x").unwrap();
            }
        };
        for door in DOORS {
            let small = door.open_anonymous(&mapshare_options { flags: MAPSHARE_SPARSE, ..new(1 << 20) }).unwrap();
            written(&small, 1 << 20);
            assert_eq!(small.info().resident, 3 * page());
            let by_page = forked(|| {
                refuse(SYS_CACHESTAT, None, Refusal::Errno(ENOSYS));
                i32::try_from(small.info().resident / page()).unwrap()
            });
            assert_eq!(by_page, 3);
            if !has_cachestat {
                skip("cachestat(2) came with Linux 6.5");
                continue;
            }
            let huge = door.open_anonymous(&mapshare_options { flags: MAPSHARE_SPARSE, ..new(1 << 40) }).unwrap();
            assert!(huge.info().resident <= page(), "opening brings in no more");
            written(&huge, 1 << 40);
            assert_eq!(huge.info().resident, 3 * page()); // under the watchdog
            let reserved = door.open_anonymous(&new(1 << 20)).unwrap();
            assert_eq!(reserved.info().resident, 1 << 20, "its pages are there, though nobody has touched them");
        }
    });
}

#[test]
fn the_mode_bars_other_users_and_no_memory_is_executable() {
    for door in DOORS {
        for (mode, expected) in [(0, 0o600), (0o644, 0o644), (0o777, 0o666)] {
            let region = door.open_anonymous(&mapshare_options { mode, ..new(1) }).unwrap();
            assert_eq!(file_of(&region).metadata().unwrap().permissions().mode() & 0o777, expected);
        }
        refused(door.open_anonymous(&mapshare_options { mode: 0o1000, ..new(1) }), EINVAL, &["mode"]);
    }
}

#[test]
fn what_makes_no_sense_for_anonymous_memory_is_einval() {
    for door in DOORS {
        for access in [MAPSHARE_READ_ONLY, MAPSHARE_COPY_ON_WRITE] {
            let options = mapshare_options { access, ..new(4096) };
            refused(door.open_anonymous(&options), EINVAL, &["anonymous memory", "MAPSHARE_READ_WRITE"]);
        }
        refused(door.open_anonymous(&new(0)), EINVAL, &["length is 0"]);
        refused(door.open_anonymous(&mapshare_options { offset: page(), ..new(4096) }), EINVAL, &["offset"]);
        refused(door.open_anonymous(&mapshare_options { reserve: 10, ..new(4096) }), EINVAL, &["reserve"]);
    }
    refused(c::open_anonymous(&mapshare_options { flags: 1 << 40, ..new(1) }), EINVAL, &["flags"]);
    refused(c::open_anonymous(&mapshare_options { access: 3, ..new(1) }), EINVAL, &["access"]);
    // SAFETY: NULL is refused.
    let result = unsafe { mapshare::ffi::open::mapshare_open_anonymous(&new(1), 40, std::ptr::null_mut()) };
    assert_eq!(result, -EINVAL);
}

/// Without a check the kernel would hand out all it has and then end programs.
#[test]
fn more_than_the_machine_has_is_a_code_at_once_and_leaves_nothing() {
    in_own_process(more_than_the_machine_has_is_a_code_at_once_and_leaves_nothing, || {
        for door in DOORS {
            drop(door.open_anonymous(&new(1)).unwrap()); // makes room for tokens, which stays
            let before = (open_descriptors(), process::mappings());
            for length in [1 << 45, 1 << 60, i64::MAX as u64, u64::MAX] {
                let failure = door.open_anonymous(&new(length)).err().expect("no machine has that");
                assert!([ENOMEM, ENOSPC].contains(&failure.code), "{length}: {}", failure.text);
            }
            let mut region = door.open_anonymous(&mapshare_options { reserve: 1 << 46, ..new(4096) }).unwrap();
            refused(region.resize(1 << 45), ENOMEM, &["35184372084736", "memory and swap"]);
            assert_eq!((region.length(), region.info().file_length), (4096, 4096));
            region.resize(1 << 20).unwrap();
            drop(region);
            assert_eq!((open_descriptors(), process::mappings()), before);
        }
    });
}

#[test]
fn limits_are_codes() {
    in_own_process(limits_are_codes, || {
        for door in DOORS {
            let before = limit(RLIMIT_FSIZE, 1 << 20);
            assert_eq!(before, 1 << 20);
            refused(door.open_anonymous(&new(2 << 20)), ENOSPC, &["RLIMIT_FSIZE"]);
            limit(RLIMIT_FSIZE, RLIM_INFINITY);
            let open = open_descriptors();
            limit(RLIMIT_NOFILE, 3);
            refused(door.open_anonymous(&new(1)), EMFILE, &["RLIMIT_NOFILE"]);
            limit(RLIMIT_NOFILE, 1024);
            assert_eq!(open_descriptors(), open);
        }
    });
}

#[test]
fn a_child_shares_the_memory_both_ways_and_outlives_its_parents_region() {
    in_own_process(a_child_shares_the_memory_both_ways_and_outlives_its_parents_region, || {
        for door in DOORS {
            let mut region = door.open_anonymous(&mapshare_options { reserve: 1 << 20, ..new(4096) }).unwrap();
            region.write(0, b"parent").unwrap();
            let result = forked(|| {
                assert_eq!(region.bytes(0, 6), b"parent");
                region.write(100, b"child").unwrap();
                // It grows for the parent as well.
                region.resize(10_000).unwrap();
                region.write(9_999, b"!").unwrap();
                // The child of a child has it too.
                assert_eq!(forked(|| i32::from(region.bytes(100, 5) != b"child")), 0);
                0
            });
            assert_eq!(result, 0);
            assert_eq!(region.bytes(100, 5), b"child");
            assert_eq!(region.bytes(9_999, 1), b"!", "growth is taken over");
        }
        // A child that goes on after its parent has unmapped.
        let region = c::open_anonymous(&new(4096)).unwrap();
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        assert_eq!(unsafe { pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: this process has one thread.
        let child = unsafe { fork() };
        if child == 0 {
            // SAFETY: ours. The pipe's end says that the parent has unmapped.
            unsafe { close(ends[1]) };
            let mut byte = 0u8;
            // SAFETY: room for one byte.
            unsafe { read(ends[0], (&raw mut byte).cast(), 1) };
            let good = region.write(0, b"alone").is_ok() && region.unmap().is_ok();
            // SAFETY: ends the child at once.
            unsafe { _exit(i32::from(!good)) };
        }
        region.unmap().unwrap();
        refused(region.unmap(), EBADF, &[]);
        for end in ends {
            // SAFETY: ours.
            unsafe { close(end) };
        }
        assert_eq!(process::wait_for(child), 0);
    });
}

#[test]
fn every_descriptor_is_closed_by_exec() {
    in_own_process(every_descriptor_is_closed_by_exec, || {
        let numbers = || -> Vec<i32> {
            let entries = std::fs::read_dir("/proc/self/fd").unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
        };
        let inherited = numbers();
        let (one, other) = sockets::pair(SOCK_SEQPACKET);
        let region = c::open_anonymous(&new(4096)).unwrap();
        region.send(one.as_raw_fd(), RW).unwrap();
        let again = c::receive(other.as_raw_fd(), &with(RW)).unwrap();
        let fd = region.fd().unwrap();
        let opened: Vec<Token> = (0..3).map(|_| c::open_fd(fd, &with(RW)).unwrap()).collect();
        let added: Vec<i32> = numbers().into_iter().filter(|number| !inherited.contains(number)).collect();
        assert!(added.len() >= 7, "two sockets, five regions, and one more: {added:?}");
        for number in added {
            // SAFETY: it only asks.
            let flags = unsafe { fcntl(number, F_GETFD) };
            assert!([FD_CLOEXEC, -1].contains(&flags), "descriptor {number} (-1: the list's own): {flags}");
        }
        let seen = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
        assert!(seen.contains(" 0 -> ") && !seen.contains("memfd"), "{seen}");
        for region in opened.into_iter().chain([region, again]) {
            region.unmap().unwrap();
        }
        // SAFETY: ours.
        unsafe { close(fd) };
    });
}

#[test]
fn an_unrelated_process_can_get_the_memory_through_proc_and_by_pidfd() {
    if let Some(role) = process::role().filter(|role| role != "alone") {
        let [pid, fd] = [0, 1].map(|index| role.split(' ').nth(index).unwrap().parse::<i32>().unwrap());
        let region = Door::C.open(format!("/proc/{pid}/fd/{fd}"), &with(RW)).unwrap();
        region.write(0, b"by path").unwrap();
        // SAFETY: these calls pass no memory.
        let pidfd = unsafe { syscall(SYS_pidfd_open, pid, 0) };
        // SAFETY: as above.
        let got = unsafe { syscall(SYS_pidfd_getfd, pidfd, fd, 0) };
        if got < 0 {
            process::tell(&format!("pidfd_getfd: {}", std::io::Error::last_os_error()));
            return;
        }
        let region = Door::C.open_fd(got as i32, &with(RW)).unwrap();
        region.write(100, b"by pidfd").unwrap();
        process::tell("both");
        return;
    }
    let region = Door::C.open_anonymous(&new(4096)).unwrap();
    let file = file_of(&region);
    // SAFETY: it lets any process look into this one, where the system asks for that (Yama); where not, it is refused.
    unsafe { prctl(PR_SET_PTRACER, u64::MAX) };
    let role = format!("{} {}", std::process::id(), file.as_raw_fd());
    let test = an_unrelated_process_can_get_the_memory_through_proc_and_by_pidfd;
    let mut partner = process::Partner::start(test, &role);
    match partner.hear().as_deref() {
        Some("both") => assert_eq!(region.bytes(100, 8), b"by pidfd"),
        Some(other) => skip(other),
        None => panic!("the partner failed"),
    }
    assert_eq!(region.bytes(0, 7), b"by path");
    partner.finish();
}
