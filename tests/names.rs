//! Names of shared memory: the same objects as everybody else's, and nobody's trap.

mod common;

use common::files::{Mounted, make_fifo};
use common::names::{Name, mode, path};
use common::process::{become_nobody, forked, is_root};
use common::*;
use libc::*;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

const RW: u32 = MAPSHARE_READ_WRITE;

fn flags(flags: u64, length: u64) -> mapshare_options {
    mapshare_options { flags: MAPSHARE_CREATE | flags, ..common::create(length) }
}

/// As another program opens a name.
fn open_shm(name: &str, flags: i32) -> OwnedFd {
    let name = CString::new(name).expect("no NUL inside");
    // SAFETY: a C string.
    let fd = unsafe { shm_open(name.as_ptr(), flags | O_CLOEXEC, 0o600) };
    assert!(fd >= 0, "shm_open: {}", std::io::Error::last_os_error());
    // SAFETY: opened just now.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[test]
fn shm_open_finds_what_mapshare_made_and_the_other_way_round() {
    for door in DOORS {
        let name = Name::new();
        let slashed = format!("/{}", name.text());
        let region = door.open_named(name.text(), &common::create(10_000)).unwrap();
        region.write(9_990, b"hello").unwrap();
        let theirs = fs::File::from(open_shm(&slashed, O_RDWR));
        let (mut bytes, info) = ([0; 5], region.info());
        std::os::unix::fs::FileExt::read_exact_at(&theirs, &mut bytes, 9_990).unwrap();
        assert_eq!((&bytes, theirs.metadata().unwrap().ino()), (b"hello", info.inode));
        assert_eq!((info.backing, info.length, info.file_length), (MAPSHARE_BACKING_NAMED, 10_000, 10_000));
        let name_of_c = CString::new(&*slashed).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { shm_unlink(name_of_c.as_ptr()) }, 0);
        refused(door.open_named(name.text(), &with(RW)), ENOENT, &[name.text(), "MAPSHARE_CREATE"]);

        let theirs = fs::File::from(open_shm(&slashed, O_RDWR | O_CREAT | O_EXCL));
        theirs.set_len(5000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&theirs, b"theirs", 0).unwrap();
        for spelled in [name.text(), &slashed] {
            let region = door.open_named(spelled, &with(RW)).unwrap();
            assert_eq!((region.length(), region.bytes(0, 6)), (5000, b"theirs".to_vec()));
        }
        let region = door.open_named(&slashed, &common::create(6000)).unwrap();
        assert_eq!((region.length(), region.bytes(0, 6)), (6000, b"theirs".to_vec()));
        refused(door.open_named(&slashed, &flags(MAPSHARE_EXCLUSIVE, 1)), EEXIST, &["MAPSHARE_EXCLUSIVE"]);
        door.unlink_named(&slashed).unwrap();
        assert!(!name.exists());
        assert_eq!(region.bytes(0, 6), b"theirs", "who has it open keeps it");
        refused(door.unlink_named(&slashed), ENOENT, &[name.text()]);
    }
}

#[test]
fn a_named_region_grows_and_follows_like_any_other() {
    for door in DOORS {
        let name = Name::new();
        let options = mapshare_options { reserve: 1 << 20, ..common::create(4096) };
        let mut one = door.open_named(name.text(), &options).unwrap();
        let mut other = door.open_named(name.text(), &with(RW)).unwrap();
        assert_eq!(mode(name.path()), 0o600);
        one.resize(100_000).unwrap();
        assert!(fs::metadata(name.path()).unwrap().blocks() * 512 >= 100_000, "the storage is reserved");
        assert!(other.refresh().unwrap());
        one.write(99_999, b"!").unwrap();
        assert_eq!(other.bytes(99_999, 1), b"!");
        let view = one.view(0, 10).unwrap();
        one.release(view);
        let private = door.open_named(name.text(), &with(MAPSHARE_COPY_ON_WRITE)).unwrap();
        private.write(99_999, b"?").unwrap();
        assert_eq!((one.bytes(99_999, 1), private.info().backing), (b"!".to_vec(), MAPSHARE_BACKING_NAMED));
        let fd = one.fd().unwrap();
        let by_fd = door.open_fd(fd, &with(0)).unwrap();
        assert_eq!((by_fd.info().backing, by_fd.info().inode), (MAPSHARE_BACKING_FD, one.info().inode));
        // SAFETY: ours.
        unsafe { close(fd) };
    }
}

#[test]
fn names_are_one_part_of_a_path() {
    let name = Name::new();
    let longest = name.with("x".repeat(255 - name.text().len()));
    let odd = name.with("with space,\u{e4},\n,*");
    let raw = [name.text().as_bytes(), b"\xff\xfe"].concat();
    for door in DOORS {
        for bad in ["", "/", "//", "a/b", "/a/b", "//a", "a/", ".", "..", "/.", "/..", "../etc", "/dev/shm/a"] {
            refused(door.open_named(bad, &common::create(4096)), EINVAL, &[&format!("'{bad}'"), "shared memory"]);
            refused(door.unlink_named(bad), EINVAL, &[&format!("'{bad}'")]);
        }
        refused(door.open_named("", &with(0)), EINVAL, &["is empty"]);
        refused(door.open_named("/", &with(0)), EINVAL, &["is only a slash"]);
        for bad in ["//", "a/b", "/a/", "//a"] {
            refused(door.sweep_named(bad), EINVAL, &["slash"]);
        }
        for long in [&*format!("{longest}x"), &*format!("/{longest}x"), &*"x".repeat(5000)] {
            let bytes = long.trim_start_matches('/').len().to_string();
            refused(door.open_named(long, &common::create(4096)), ENAMETOOLONG, &[&bytes, "255"]);
            refused(door.unlink_named(long), ENAMETOOLONG, &[&bytes]);
            refused(door.sweep_named(long), ENAMETOOLONG, &[&bytes]);
        }
        for good in [longest.as_ref(), format!("/{longest}").as_ref(), odd.as_ref(), OsStr::from_bytes(&raw)] {
            let region = door.open_named(good, &common::create(1)).unwrap();
            assert_eq!(region.length(), 1);
            door.unlink_named(good).unwrap();
        }
        assert_eq!(name.all(), [""; 0]);
    }
    for name in ["a\0b", "\0"] {
        refused(Door::Rust.open_named(name, &common::create(1)), EINVAL, &["NUL"]);
        refused(Door::Rust.sweep_named(name), EINVAL, &["NUL"]);
    }
    // SAFETY: NULL is refused; as the two below.
    let opened = unsafe {
        mapshare::ffi::named::mapshare_open_named(std::ptr::null(), std::ptr::null(), 0, std::ptr::null_mut())
    };
    // SAFETY: see above.
    let unlinked = unsafe { mapshare::ffi::named::mapshare_unlink_named(std::ptr::null()) };
    // SAFETY: see above.
    let swept = unsafe { mapshare::ffi::named::mapshare_sweep_named(std::ptr::null()) };
    assert_eq!((opened, unlinked, swept), (-EINVAL, -EINVAL, i64::from(-EINVAL)));
    assert!(c::last_error().contains("'prefix' is NULL"), "{}", c::last_error());
}

#[test]
fn what_is_no_shared_memory_is_refused_and_stays_as_it_is() {
    let name = Name::new();
    let [link, dangling, fifo, directory, socket] =
        ["link", "dangling", "fifo", "directory", "socket"].map(|end| name.with(end));
    let folder = Folder::new();
    let target = folder.file("target", 4096);
    symlink(&target, path(&link)).unwrap();
    symlink(folder.join("nothing"), path(&dangling)).unwrap();
    make_fifo(&path(&fifo));
    fs::set_permissions(path(&fifo), PermissionsExt::from_mode(0o1600)).unwrap(); // marked, but for what it is
    fs::create_dir(path(&directory)).unwrap();
    let listener = UnixListener::bind(path(&socket)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let all = name.all();
    for door in DOORS {
        for (name, code, words) in [
            (&link, ELOOP, "symbolic link"),
            (&dangling, ELOOP, "symbolic link"),
            (&fifo, ENODEV, "FIFO"),
            (&directory, ENODEV, "directory"),
            (&socket, ENODEV, "socket"),
        ] {
            for access in [0, RW] {
                refused(door.open_named(name, &with(access)), code, &[name, words]);
                let unlink_last = mapshare_options { flags: MAPSHARE_UNLINK_LAST, ..with(access) };
                refused(door.open_named(name, &unlink_last), code, &[name, words]);
            }
            refused(door.open_named(name, &common::create(4096)), code, &[name, words]);
            refused(door.open_named(name, &flags(MAPSHARE_UNLINK_LAST, 4096)), code, &[name, words]);
            refused(door.open_named(name, &flags(MAPSHARE_EXCLUSIVE, 4096)), EEXIST, &[name]);
            refused(door.unlink_named(name), code, &[name, words]);
        }
        assert_eq!(door.sweep_named(name.text()), Ok(0));
        assert_eq!((name.all(), folder.names()), (all.clone(), vec!["target".to_owned()]));
    }
    assert!(listener.accept().is_err(), "nobody connected");
}

/// Shares a code of a forked child: 0 when it does not fail.
fn as_nobody(call: impl FnOnce() -> Outcome) -> (i32, String) {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let ended = forked(|| {
        become_nobody();
        let (code, text) = call().err().map_or((0, String::new()), |failure| (failure.code, failure.text));
        std::io::Write::write_all(&mut writer, text.as_bytes()).expect("the parent reads");
        code
    });
    drop(writer);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).expect("it is text");
    (ended, text)
}

#[test]
fn nobody_creates_into_what_another_user_has_planted() {
    if !is_root() {
        return skip("two users are needed, which takes root");
    }
    in_own_process(nobody_creates_into_what_another_user_has_planted, || {
        for door in DOORS {
            let name = Name::new();
            let (of_root, planted, private) = (name.with("root"), name.with("planted"), name.with("private"));
            let open = |name: &String, options: mapshare_options| door.open_named(name, &options).map(drop);
            let all_may = mapshare_options { mode: 0o666, ..common::create(4096) };
            drop(door.open_named(&of_root, &all_may).unwrap());
            fs::set_permissions(path(&of_root), PermissionsExt::from_mode(0o666)).unwrap();
            drop(door.open_named(&private, &common::create(4096)).unwrap());
            assert_eq!(as_nobody(|| open(&planted, all_may)).0, 0);
            assert_eq!(as_nobody(|| open(&planted, common::create(8192))).0, 0, "one's own");
            fs::set_permissions(path(&planted), PermissionsExt::from_mode(0o666)).unwrap();

            // Root creates, and somebody was there before.
            refused(
                open(&planted, common::create(4096)),
                EACCES,
                &["65534", "0o666", "user 0", "MAPSHARE_CREATE", &planted],
            );
            refused(open(&planted, flags(MAPSHARE_UNLINK_LAST, 4096)), EEXIST, &[]);
            refused(open(&planted, flags(MAPSHARE_EXCLUSIVE, 4096)), EEXIST, &[]);
            assert_eq!(fs::metadata(path(&planted)).unwrap().len(), 8192, "it was not touched");
            // To open what is there is a choice.
            assert_eq!((code(open(&planted, with(RW))), code(open(&planted, with(0)))), (0, 0));
            // Root's is taken, where root lets one.
            assert_eq!(as_nobody(|| open(&of_root, common::create(4096))).0, 0);
            let (code, text) = as_nobody(|| open(&private, with(0)));
            assert_eq!(code, EACCES, "{text}");
            // In /dev/shm names are their owners' to remove.
            let (code, text) = as_nobody(|| door.unlink_named(&of_root));
            assert!(code == EACCES && text.contains(&of_root) && text.contains("owner"), "{code} {text}");
            assert!(names::exists(&of_root));
        }
    });
}

#[test]
fn full_shared_memory_is_a_code_of_open_and_leaves_nothing() {
    in_own_process(full_shared_memory_is_a_code_of_open_and_leaves_nothing, || {
        let Some(mounted) = Mounted::new("tmpfs", "/dev/shm".as_ref(), "size=1m,mode=1777") else { return };
        for door in DOORS {
            for extra in [0, MAPSHARE_UNLINK_LAST, MAPSHARE_EXCLUSIVE] {
                let free = mounted.free();
                refused(door.open_named("new", &flags(extra, 2 << 20)), ENOSPC, &["new'", "2097152", "full"]);
                assert_eq!((mounted.names(), mounted.free()), (vec![], free));
                let region = door.open_named("new", &flags(extra, free)).unwrap();
                region.fill(0, free, 7).unwrap();
                assert_eq!(mounted.free(), 0);
                door.unlink_named("new").unwrap();
            }
        }
    });
}

#[test]
fn a_kill_at_any_step_leaves_no_name_or_one_that_a_sweep_takes() {
    use common::process::{Refusal, refuse};
    in_own_process(a_kill_at_any_step_leaves_no_name_or_one_that_a_sweep_takes, || {
        for call in [SYS_fallocate, SYS_mmap, SYS_linkat, SYS_fchmod, SYS_fcntl, SYS_mlock] {
            let name = Name::new();
            let died = forked(|| {
                let all = flags(MAPSHARE_UNLINK_LAST | MAPSHARE_LOCKED, 65536);
                refuse(call, None, Refusal::Kill);
                code(Door::C.open_named(name.text(), &all))
            });
            assert_eq!((died, name.all()), (-SIGSYS, vec![]), "killed in system call {call}");
        }
        // Leaving: before its own lock is gone, and between the lock and the removal.
        for call in [SYS_close, SYS_unlinkat, SYS_munmap] {
            let name = Name::new();
            let died = forked(|| {
                let region = Door::C.open_named(name.text(), &flags(MAPSHARE_UNLINK_LAST, 65536)).unwrap();
                refuse(call, None, Refusal::Kill);
                drop(region);
                0
            });
            assert_eq!((died, name.all().len()), (-SIGSYS, 1), "killed in system call {call}");
            assert_eq!((Door::C.sweep_named(name.text()), name.all()), (Ok(1), vec![]));
        }
    });
}

#[test]
fn descriptors_are_close_on_exec_and_none_stays_behind() {
    in_own_process(descriptors_are_close_on_exec_and_none_stays_behind, || {
        let open_now = || -> BTreeSet<i32> {
            let entries = fs::read_dir("/proc/self/fd").unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
        };
        let name = Name::new();
        let (before, inherited) = (process::open_descriptors(), open_now());
        for door in DOORS {
            for extra in [0, MAPSHARE_UNLINK_LAST] {
                let region = door.open_named(name.text(), &flags(extra, 4096)).unwrap();
                let again = door.open_named(name.text(), &with(0)).unwrap();
                for fd in open_now().difference(&inherited) {
                    // SAFETY: it only asks.
                    let fd_flags = unsafe { fcntl(*fd, F_GETFD) };
                    assert!(fd_flags == -1 || fd_flags & FD_CLOEXEC != 0, "descriptor {fd}");
                }
                refused(door.open_named(name.text(), &flags(MAPSHARE_EXCLUSIVE, 1)), EEXIST, &[]);
                refused(door.open_named(name.text(), &flags(0, u64::MAX)), ENOSPC, &[]);
                drop((region, again));
                let _ = door.unlink_named(name.text());
            }
            refused(door.open_named(name.text(), &with(0)), ENOENT, &[]);
            assert_eq!(door.sweep_named(name.text()), Ok(0));
            assert_eq!(process::open_descriptors(), before);
        }
        // Without descriptors each call says so, and nothing is made.
        let spare = fs::File::open("/dev/null").unwrap();
        process::limit(RLIMIT_NOFILE, spare.as_raw_fd().unsigned_abs().into());
        for extra in [0, MAPSHARE_UNLINK_LAST] {
            refused(Door::C.open_named(name.text(), &flags(extra, 4096)), EMFILE, &[]);
        }
        process::limit(RLIMIT_NOFILE, 100);
        assert_eq!(name.all(), [""; 0]);
    });
}

#[test]
fn without_proc_names_serve_and_only_unlink_last_is_a_code() {
    in_own_process(without_proc_names_serve_and_only_unlink_last_is_a_code, || {
        let name = Name::new();
        let Some(_proc) = Mounted::new("tmpfs", "/proc".as_ref(), "size=4k") else { return };
        for door in DOORS {
            refused(door.open_named(name.text(), &flags(MAPSHARE_UNLINK_LAST, 4096)), EOPNOTSUPP, &[name.text()]);
            assert_eq!(name.all(), [""; 0]);
            let region = door.open_named(name.text(), &common::create(4096)).unwrap();
            assert_eq!((region.length(), door.sweep_named(name.text())), (4096, Ok(0)));
            door.unlink_named(name.text()).unwrap();
        }
    });
}
