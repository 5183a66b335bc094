//! What the kernel refuses comes out under its own code, and nothing was made: rights, seals, running programs, sick disks.

mod common;

use common::process::{Refusal, become_nobody, forked, refuse};
use common::*;
use libc::*;
use std::fs;

/// Since Linux 6.5; not in libc yet.
const SYS_CACHESTAT: i64 = 451;

/// Codes that need a sick system: the kernel's answer is forged.
#[test]
fn what_the_kernel_refuses_is_told_with_its_code() {
    in_own_process(what_the_kernel_refuses_is_told_with_its_code, || {
        let folder = Folder::new();
        let path = folder.file("a", 4096);
        let create = common::create(4096);
        let opens: [(&str, i64, i32, i32); 13] = [
            ("openat", SYS_openat, ENFILE, ENFILE),
            ("openat", SYS_openat, EMFILE, EMFILE),
            ("openat", SYS_openat, EIO, EIO),
            ("openat", SYS_openat, EPERM, EPERM),
            ("openat", SYS_openat, ETXTBSY, ETXTBSY),
            ("openat", SYS_openat, EROFS, EROFS),
            ("mmap", SYS_mmap, ENOMEM, ENOMEM),
            ("mmap", SYS_mmap, EPERM, EPERM),
            ("mmap", SYS_mmap, ENODEV, ENODEV),
            ("mmap", SYS_mmap, EAGAIN, ENOMEM),
            ("fallocate", SYS_fallocate, EDQUOT, ENOSPC),
            ("fallocate", SYS_fallocate, EFBIG, ENOSPC),
            ("fallocate", SYS_fallocate, EIO, EIO),
        ];
        for door in DOORS {
            for (call, number, given, expected) in opens {
                let result = forked(|| {
                    // malloc must not need a new mapping meanwhile
                    refuse(number, None, Refusal::Errno(given));
                    let mut result = code(door.open(folder.join("new"), &create));
                    if !["openat", "mmap"].contains(&call) || result == expected {
                        let there = code(door.open(&path, &mapshare_options { length: 8192, ..create }));
                        result = if there == expected { result } else { there };
                    }
                    result
                });
                assert_eq!(result, expected, "{door:?}: {call} says {given}");
            }
            for (call, number, given) in [
                ("msync", SYS_msync, EIO),
                ("msync", SYS_msync, ENOSPC),
                ("cachestat", SYS_CACHESTAT, EIO),
                ("mincore", SYS_mincore, EAGAIN),
                ("mprotect", SYS_mprotect, ENOMEM),
                ("fcntl", SYS_fcntl, EMFILE),
                ("fallocate", SYS_fallocate, EPERM),
            ] {
                let result = forked(|| {
                    let mut region = door.open(&path, &with(MAPSHARE_READ_WRITE)).unwrap();
                    refuse(number, None, Refusal::Errno(given));
                    if call == "mincore" {
                        refuse(SYS_CACHESTAT, None, Refusal::Errno(ENOSYS));
                    }
                    match call {
                        "msync" => code(region.flush(0, 0, 0)),
                        "cachestat" | "mincore" => code(region.try_info()),
                        "mprotect" => code(region.protect(MAPSHARE_READ_ONLY)),
                        "fcntl" => code(region.fd()),
                        _ => code(region.resize(9000)),
                    }
                });
                assert_eq!(result, given, "{door:?}: {call} says {given}");
            }
        }
        assert_eq!((folder.names(), files::length_of(&path)), (vec!["a".to_owned()], 4096), "and nothing was made");
    });
}

#[test]
fn a_running_program_is_etxtbsy_and_a_read_only_file_system_is_erofs() {
    in_own_process(a_running_program_is_etxtbsy_and_a_read_only_file_system_is_erofs, || {
        let folder = Folder::new();
        let program = folder.join("cat");
        fs::copy("/bin/cat", &program).unwrap();
        let mut running = std::process::Command::new(&program).stdin(std::process::Stdio::piped()).spawn().unwrap();
        for door in DOORS {
            refused(door.open(&program, &with(MAPSHARE_READ_WRITE)), ETXTBSY, &["cat'", "program"]);
            assert_eq!(code(door.open(&program, &with(MAPSHARE_COPY_ON_WRITE))), 0);
        }
        drop(running.stdin.take());
        running.wait().unwrap();

        let place = folder.join("mounted");
        fs::create_dir(&place).unwrap();
        let Some(mounted) = files::Mounted::new("tmpfs", &place, "size=1m") else { return };
        fs::write(mounted.join("a"), [1; 4096]).unwrap();
        mounted.make_read_only();
        for door in DOORS {
            for path in ["a", "new"] {
                refused(door.open(mounted.join(path), &common::create(4096)), EROFS, &["read-only"]);
            }
            assert_eq!(code(door.open(mounted.join("a"), &with(MAPSHARE_READ_ONLY))), 0);
        }
    });
}

#[test]
fn seals_are_eperm() {
    for door in DOORS {
        let sealed = |seals: i32| {
            // SAFETY: a C string.
            let fd = unsafe { memfd_create(c"sealed".as_ptr(), MFD_ALLOW_SEALING | MFD_CLOEXEC) };
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { ftruncate(fd, 8192) }, 0);
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { fcntl(fd, F_ADD_SEALS, seals) }, 0);
            fd
        };
        let (no_write, no_growth, no_shrinking) = (sealed(F_SEAL_WRITE), sealed(F_SEAL_GROW), sealed(F_SEAL_SHRINK));
        refused(door.open_fd(no_write, &with(MAPSHARE_READ_WRITE)), EPERM, &["seal"]);
        assert_eq!(code(door.open_fd(no_write, &with(MAPSHARE_COPY_ON_WRITE))), 0);
        refused(door.open_fd(no_growth, &common::create(8193)), EPERM, &["seal"]);
        let mut region = door.open_fd(no_growth, &with(MAPSHARE_READ_WRITE)).unwrap();
        refused(region.resize(8193), EPERM, &["seal"]);
        assert_eq!((region.length(), region.info().seals), (8192, F_SEAL_GROW.unsigned_abs()));
        assert_eq!(code(region.resize(4096)), 0);
        let mut region = door.open_fd(no_shrinking, &with(MAPSHARE_READ_WRITE)).unwrap();
        refused(region.resize(8191), EPERM, &["seal"]);
        assert_eq!((region.length(), region.info().file_length), (8192, 8192));
        for fd in [no_write, no_growth, no_shrinking] {
            // SAFETY: ours.
            unsafe { close(fd) };
        }
    }
}

#[test]
fn permissions_are_the_users_own() {
    use std::os::unix::fs::PermissionsExt;
    in_own_process(permissions_are_the_users_own, || {
        let folder = Folder::new();
        let path = |name: &str, mode| {
            let path = folder.file_with(name, &[7; 4096]);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (readable, closed, writable) = (path("r", 0o444), path("c", 0o000), path("w", 0o222));
        fs::create_dir(folder.join("shut")).unwrap();
        fs::write(folder.join("shut/file"), [1; 10]).unwrap();
        fs::set_permissions(folder.join("shut"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::create_dir(folder.join("fixed")).unwrap();
        fs::set_permissions(folder.join("fixed"), fs::Permissions::from_mode(0o555)).unwrap();
        become_nobody();
        for door in DOORS {
            let words = ["permission", "MAPSHARE_READ_WRITE"];
            refused(door.open(&readable, &with(MAPSHARE_READ_WRITE)), EACCES, &words);
            refused(door.open(&readable, &common::create(8192)), EACCES, &words);
            assert_eq!(code(door.open(&readable, &with(MAPSHARE_READ_ONLY))), 0);
            assert_eq!(code(door.open(&readable, &with(MAPSHARE_COPY_ON_WRITE))), 0);
            for access in [MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE, MAPSHARE_COPY_ON_WRITE] {
                refused(door.open(&closed, &with(access)), EACCES, &["c'"]);
                refused(door.open(&writable, &with(access)), EACCES, &["w'"]);
                refused(
                    door.open(folder.join("shut/file"), &with(access)),
                    EACCES,
                    &["shut/file'", "directories on its path"],
                );
            }
            refused(door.open(folder.join("fixed/new"), &common::create(1)), EACCES, &["fixed/new'"]);
            refused(
                door.open(folder.join("shut/new"), &common::create(1)),
                EACCES,
                &["shut/new'", "directories on its path"],
            );
        }
        assert_eq!(files::length_of(&readable), 4096);
    });
}
